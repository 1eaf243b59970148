"""The policy is [.5, .3, .2] over three tokens, the reference [.4, .4, .2]; means are over samples of the policy."""

from __future__ import annotations

import math
from typing import get_args

import pytest
import torch

from reckon.algorithms import ops

POLICY = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
REFERENCE = torch.tensor([0.4, 0.4, 0.2], dtype=torch.float64)

REVERSE = [0.098938, -0.093885, -0.005053]
"""The gradient of KL(pi || ref) to the logits."""


def penalty(kind: ops.KLKind) -> torch.Tensor:
    return ops.kl_penalty(POLICY.log(), REFERENCE.log(), kind)


@pytest.mark.parametrize(
    ("kind", "values", "mean", "variance"),
    [
        ("k1", [0.223144, -0.287682, 0], 0.0252672, 0.049086),
        ("k2", [0.024897, 0.041380, 0], 0.0248624, 0.000205),
        ("k3", [0.023144, 0.045651, 0], 0.0252672, 0.000255),
        ("k3_corrected", [0.023144, 0.045651, 0], 0.0252672, 0.000255),
    ],
)
def test_values(kind: ops.KLKind, values: list[float], mean: float, variance: float) -> None:
    found = penalty(kind)
    torch.testing.assert_close(found, torch.tensor(values).double(), atol=1e-6, rtol=0)
    first = (POLICY * found).sum().item()
    assert first == pytest.approx(mean, abs=1e-7)
    assert (POLICY * found**2).sum().item() - first**2 == pytest.approx(variance, abs=1e-6)


def test_k1_and_k3_estimate_the_divergence_and_k2_does_not() -> None:
    exact = (POLICY * (POLICY / REFERENCE).log()).sum().item()
    assert exact == pytest.approx(0.0252672, abs=1e-7)
    assert (REFERENCE * (REFERENCE / POLICY).log()).sum().item() == pytest.approx(0.0258154, abs=1e-7)
    for kind, same in (("k1", True), ("k2", False), ("k3", True)):
        mean = (POLICY * penalty(kind)).sum().item()  # type: ignore[arg-type]
        assert (abs(mean - exact) < 1e-12) is same


@pytest.mark.parametrize(
    ("kind", "gradient"),
    [("k1", [0, 0, 0]), ("k2", REVERSE), ("k3", [0.1, -0.1, 0]), ("k3_corrected", REVERSE)],
)
def test_gradients_as_a_loss(kind: ops.KLKind, gradient: list[float]) -> None:
    logits = POLICY.log().requires_grad_()
    (POLICY * ops.kl_penalty(logits.log_softmax(0), REFERENCE.log(), kind)).sum().backward()
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, torch.tensor(gradient).double(), atol=1e-6, rtol=0)


def test_gradient_of_k1_in_the_reward_is_exact() -> None:
    logits = POLICY.log().requires_grad_()
    (POLICY * penalty("k1") * logits.log_softmax(0)).sum().backward()
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, torch.tensor(REVERSE).double(), atol=1e-6, rtol=0)
    # The same by differentiating KL(pi || ref) itself, and the forward one by k3: pi - ref.
    logits = POLICY.log().requires_grad_()
    (logits.softmax(0) * (logits.log_softmax(0) - REFERENCE.log())).sum().backward()
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, torch.tensor(REVERSE).double(), atol=1e-6, rtol=0)


def test_k3_explodes_where_the_policy_is_far_below() -> None:
    logp, reference = torch.tensor([-6.0], dtype=torch.float64), torch.tensor([-1.0], dtype=torch.float64)
    found = [ops.kl_penalty(logp, reference, kind).item() for kind in ("k1", "k2", "k3")]
    assert found == pytest.approx([-5, 12.5, math.exp(5) - 6])
    assert round(found[2], 2) == 142.41


@pytest.mark.parametrize("kind", get_args(ops.KLKind))
def test_absurd_log_ratios_stay_finite_and_never_push_away(kind: ops.KLKind) -> None:
    logp = torch.tensor([-500.0, -0.0], requires_grad=True)
    found = ops.kl_penalty(logp, torch.tensor([0.0, -500.0]), kind)
    found.sum().backward()
    assert torch.isfinite(found).all()
    assert logp.grad is not None
    # Descending a penalty must not lower what is too low already; k1 cannot help it.
    assert logp.grad[0] <= (1 if kind == "k1" else 0)
    assert logp.grad[1] >= 0


@pytest.mark.parametrize("kind", ["k2", "k3", "k3_corrected"])
def test_penalties_are_never_negative_and_vanish_at_the_reference(kind: ops.KLKind) -> None:
    x = torch.linspace(-8, 8, 101, dtype=torch.float64)
    assert (ops.kl_penalty(x, torch.zeros_like(x), kind) >= 0).all()
    assert ops.kl_penalty(x, x, kind).abs().max() == 0


def test_the_coefficient_follows_the_target() -> None:
    assert ops.adapt_kl_coef(0.2, 0.12, 0.1, 256, 10_000) == pytest.approx(0.201024, abs=1e-9)
    assert ops.adapt_kl_coef(0.2, 9.0, 0.1, 256, 10_000) == pytest.approx(0.201024, abs=1e-9)
    assert ops.adapt_kl_coef(0.2, 0.0, 0.1, 256, 10_000) == pytest.approx(0.2 * (1 - 0.2 * 0.0256))
    assert ops.adapt_kl_coef(0.2, 0.1, 0.1, 256, 10_000) == pytest.approx(0.2)
