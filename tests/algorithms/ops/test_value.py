from __future__ import annotations

import pytest
import torch
from torch import Tensor

from reckon.algorithms import ops


def double(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_half_the_square_of_the_error() -> None:
    value = double(0.9, -1).requires_grad_()
    loss = ops.value_loss(value, double(1, 1))
    loss.sum().backward()
    assert loss.tolist() == pytest.approx([0.005, 2])
    assert value.grad is not None
    assert value.grad.tolist() == pytest.approx([-0.1, -2])


@pytest.mark.parametrize(
    ("old", "new", "loss", "gradient"),
    [
        (0.5, 0.9, 0.045, 0.0),  # the right way, but too far: .5 max(.01, .09)
        (0.5, 0.6, 0.08, -0.4),
        (0.5, 0.1, 0.405, -0.9),  # the wrong way: the unclipped error is the larger
        (1.5, 1.1, 0.045, 0.0),
    ],
)
def test_clipping_takes_the_larger_error(old: float, new: float, loss: float, gradient: float) -> None:
    value = double(new).requires_grad_()
    found = ops.value_loss(value, double(1), double(old), 0.2)
    found.sum().backward()
    assert found.item() == pytest.approx(loss, abs=1e-9)
    assert value.grad is not None
    assert value.grad.item() == pytest.approx(gradient, abs=1e-9)


def test_clipping_needs_the_old_values() -> None:
    with pytest.raises(ValueError, match="before the update"):
        ops.value_loss(double(1), double(1), clip=0.2)


def test_explained_variance() -> None:
    returns = double(0, 1, 0, 1)
    assert ops.explained_variance(returns, returns) == 1
    assert ops.explained_variance(returns + 5, returns) == pytest.approx(1)
    assert ops.explained_variance(double(0.5, 0.5, 0.5, 0.5), returns) == 0
    assert ops.explained_variance(0.5 * returns, returns) == pytest.approx(0.75)
    assert ops.explained_variance(1 - returns, returns) == pytest.approx(-3)


def test_equal_returns_leave_nothing_to_explain() -> None:
    for count in (0, 1, 7):
        returns = torch.full((count,), 0.1)
        assert ops.explained_variance(torch.rand(count), returns) == 0.0
