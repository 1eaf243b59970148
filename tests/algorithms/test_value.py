from __future__ import annotations

import pytest
import torch

from reckon.algorithms.base import Outputs
from reckon.algorithms.batch import Batch
from reckon.algorithms.value import ValueRegression
from tests.algorithms.by_hand import attempt


def regression(algorithm: ValueRegression, value: list[float], forced: bool = False) -> tuple[float, list[float]]:
    """Loss and gradient on two tokens and one, whose old values are .5 and whose returns are 1."""
    sampled = [True, False] if forced else None
    batch = Batch.of([attempt("a", 2, 1.0, sampled=sampled), attempt("b", 1, 1.0)])
    batch.value_S, batch.return_S = torch.full((3,), 0.5), torch.ones(3)
    algorithm.weigh(batch)
    value_S = torch.tensor(value, requires_grad=True)
    loss, logged = algorithm.objective(Outputs(value_S=value_S), batch, {})
    loss.backward()
    assert logged == {}
    assert value_S.grad is not None
    return loss.item(), value_S.grad.tolist()


def test_the_loss_is_the_mean_over_tokens() -> None:
    loss, gradient = regression(ValueRegression(), [0.9, 0.4, 1.3])
    assert loss == pytest.approx((0.01 + 0.36 + 0.09) / 6)
    assert gradient == pytest.approx([-0.1 / 3, -0.6 / 3, 0.3 / 3])


def test_a_value_that_went_too_far_is_held_whatever_its_way() -> None:
    # From .5 to .9 where 1 is right: .5 max(.1^2, .3^2) = .045, without a gradient.
    loss, gradient = regression(ValueRegression(clip=0.2), [0.9, 0.6, 0.6])
    assert loss == pytest.approx((0.045 + 0.08 + 0.08) / 3)
    assert gradient == pytest.approx([0, -0.4 / 3, -0.4 / 3])


def test_forced_tokens_are_not_regressed() -> None:
    loss, gradient = regression(ValueRegression(), [0.9, 50.0, 1.3], forced=True)
    assert loss == pytest.approx((0.01 + 0.09) / 4)
    assert gradient == pytest.approx([-0.1 / 2, 0, 0.3 / 2])


def test_masked_sequences_need_no_forward_pass() -> None:
    batch = Batch.of([attempt("a", 2, 1.0), attempt("b", 1, 1.0)])
    batch.mask(torch.tensor([True, False]))
    algorithm = ValueRegression()
    algorithm.weigh(batch)
    assert algorithm.active(batch).tolist() == [False, True]
