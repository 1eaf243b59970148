from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from reckon.algorithms import ops


def double(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_dpo_of_a_pair() -> None:
    margin = 0.1 * ((-10 + 12) - (-15 + 13))
    assert margin == pytest.approx(0.4)
    loss = ops.bradley_terry_loss(double(margin)).item()
    assert loss == pytest.approx(math.log1p(math.exp(-0.4)))
    assert round(loss, 6) == 0.513015


def test_dpo_of_equals_and_of_a_swapped_pair() -> None:
    assert ops.bradley_terry_loss(double(0)).item() == pytest.approx(0.693147, abs=1e-6)
    margin = double(1.3)
    assert (ops.bradley_terry_loss(-margin) - ops.bradley_terry_loss(margin)).item() == pytest.approx(1.3)


def test_dpo_without_a_temperature_has_no_gradient() -> None:
    log_ratio = double(2.0).requires_grad_()
    ops.bradley_terry_loss(0.0 * log_ratio).sum().backward()
    assert log_ratio.grad is not None
    assert log_ratio.grad.item() == 0


def test_losses_are_finite_far_out() -> None:
    assert ops.bradley_terry_loss(torch.tensor([-1000.0, 1000.0])).tolist() == [1000, 0]
    assert torch.isfinite(ops.nca_loss(torch.tensor([-1000.0]), torch.tensor([1000.0]))).all()


def test_nca_of_a_pair() -> None:
    loss = ops.nca_loss(double(0.2), double(-0.2)).item()
    assert loss == pytest.approx(1.5 * math.log1p(math.exp(-0.2)) + 0.5 * math.log1p(math.exp(0.2)))
    assert round(loss, 6) == 1.296278


def test_nca_charges_what_dpo_does_not_see() -> None:
    # The same margin, with both log-ratios lowered by one: DPO cannot tell, NCA can.
    assert ops.nca_loss(double(-0.8), double(-1.2)) > ops.nca_loss(double(0.2), double(-0.2))
    reward = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    ops.nca_loss(reward[:1], reward[1:]).sum().backward()
    assert reward.grad is not None
    assert reward.grad.tolist() == pytest.approx([-0.25, 0.25])


def test_a_label_is_a_comparison_with_zero() -> None:
    score = double(1.0, 1.0, -3.0)
    loss = ops.label_loss(score, double(1, 0, 0.5))
    beats, loses = ops.bradley_terry_loss(score), ops.bradley_terry_loss(-score)
    torch.testing.assert_close(loss, torch.stack([beats[0], loses[1], (beats[2] + loses[2]) / 2]))
    assert loss[0].item() == pytest.approx(0.313262, abs=1e-6)


def test_labels_do_not_change_the_precision_of_scores() -> None:
    assert ops.label_loss(torch.zeros(2), double(0, 1)).dtype == torch.float32
