from __future__ import annotations

import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from reckon.algorithms import ops


def double(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize(
    ("ratio", "advantage", "low", "high", "dual", "value", "active"),
    [
        (1.5, 1, 0.2, 0.2, None, 1.2, False),
        (0.5, 1, 0.2, 0.2, None, 0.5, True),
        (1.5, -1, 0.2, 0.2, None, -1.5, True),
        (0.5, -1, 0.2, 0.2, None, -0.8, False),
        # clip-higher
        (1.25, 1, 0.2, 0.2, None, 1.2, False),
        (1.25, 1, 0.2, 0.28, None, 1.25, True),
        # the range of DeepSeek-R1, [-9, 11], whose lower side no ratio reaches
        (12.0, 1, 10, 10, None, 11.0, False),
        (12.0, -1, 10, 10, None, -12.0, True),
        (0.01, -1, 10, 10, None, -0.01, True),
        (0.01, 1, 10, 10, None, 0.01, True),
        # dual clip, which leaves positive advantages alone
        (5.0, -1, 0.2, 0.2, None, -5.0, True),
        (5.0, -1, 0.2, 0.2, 3.0, -3.0, False),
        (2.0, -1, 0.2, 0.2, 3.0, -2.0, True),
        (5.0, 1, 0.2, 0.2, 3.0, 1.2, False),
        (0.5, -1, 0.2, 0.2, 3.0, -0.8, False),
        # a side that is open
        (5.0, 1, 0.2, None, None, 5.0, True),
        (0.5, -1, None, 0.2, None, -0.5, True),
        (5.0, 1, None, 0.2, None, 1.2, False),
        (5.0, 1, None, None, None, 5.0, True),
        # GSPO's narrow range around a geometric mean
        (math.exp(0.1), 1, 3e-4, 4e-4, None, 1.0004, False),
        (math.exp(0.1), -1, 3e-4, 4e-4, None, -1.105171, True),
    ],
)
def test_clip_truth_table(
    ratio: float, advantage: float, low: float, high: float, dual: float | None, value: float, active: bool
) -> None:
    ratio_S = double([ratio]).requires_grad_()
    gain, clipped = ops.clipped_surrogate(ratio_S, double([advantage]), low, high, dual)
    gain.sum().backward()
    assert gain.item() == pytest.approx(value, abs=1e-6)
    assert clipped.item() is not active
    assert ratio_S.grad is not None
    assert ratio_S.grad.item() == (advantage if active else 0)


def test_a_symmetric_clip_binds_where_the_policy_explores() -> None:
    # From a probability of .01 a token may rise to .012 only; from .9 to 1.08, that is, it is never held.
    for before, after, held in ((0.01, 0.0121, True), (0.01, 0.0119, False), (0.9, 1.0, False)):
        ratio = ops.importance_ratio(double([after]).log(), double([before]).log())
        assert ops.clipped_surrogate(ratio, double([1]), 0.2, 0.2)[1].item() is held


@given(
    ratio=st.floats(0.01, 9),
    advantage=st.floats(-3, 3),
    low=st.none() | st.floats(0.05, 0.9),
    high=st.none() | st.floats(0.05, 2),
    dual=st.none() | st.floats(3.5, 6),
)
@settings(max_examples=200, deadline=None)
def test_clipped_is_where_the_gradient_vanishes(
    ratio: float, advantage: float, low: float | None, high: float | None, dual: float | None
) -> None:
    assume(advantage == 0 or abs(advantage) > 1e-6)
    ratio_S = double([ratio]).requires_grad_()
    gain, clipped = ops.clipped_surrogate(ratio_S, double([advantage]), low, high, dual)
    gain.sum().backward()
    assert ratio_S.grad is not None
    assert clipped.item() is (advantage != 0 and ratio_S.grad.item() == 0)
    # Without the dual clip it never exceeds the plain product; with it, never falls below the floor.
    assert gain.item() <= max(ratio * advantage, (dual or 0) * advantage if advantage < 0 else -math.inf)


# ---------------------------------------------------------------------------------------------------- CISPO


def test_cispo_caps_the_weight_and_drops_no_token() -> None:
    ratio = double([1.349859, 0.904837, 5.0])
    logp = double([-1, -2, -3]).requires_grad_()
    gain, clipped = ops.cispo(logp, ratio, double([1, 1, 1]), None, 1.0)
    gain.sum().backward()
    assert logp.grad is not None
    assert logp.grad.tolist() == pytest.approx([1.349859, 0.904837, 2.0])
    assert gain.tolist() == pytest.approx([-1.349859, -1.809674, -6.0])
    assert clipped.tolist() == [False, False, True]
    # PPO would keep the gradient of one token of the three.
    ratio = ratio.requires_grad_()
    ops.clipped_surrogate(ratio, double([1, 1, 1]), 0.2, 0.2)[0].sum().backward()
    assert ratio.grad is not None
    assert (ratio.grad * ratio).tolist() == pytest.approx([0, 0.904837, 0])


def test_cispo_has_no_gradient_through_the_ratio() -> None:
    logp, old = double([-1, -2]).requires_grad_(), double([-1.5, -1.9])
    ratio = ops.importance_ratio(logp, old)
    ops.cispo(logp, ratio, double([2, -3]), 0.5, 0.2)[0].sum().backward()
    assert logp.grad is not None
    assert logp.grad.tolist() == pytest.approx([2 * 1.2, -3 * math.exp(-0.1)])


def test_cispo_on_policy_is_reinforce_and_the_lower_side_can_be_held() -> None:
    advantage, logp = double([1, -0.5]), double([-1, -2])
    gain, clipped = ops.cispo(logp, double([1, 1]), advantage, 0.2, 0.2)
    assert torch.equal(gain, advantage * logp)
    assert not clipped.any()
    assert ops.cispo(logp, double([0.1, 1]), advantage, 0.2, 0.2)[1].tolist() == [True, False]


# -------------------------------------------------------------------------------------------- mirror descent

TAU = 0.1
ROW = torch.tensor([0, 0, 1])
ADVANTAGE = double([0.5, 0.5, -0.5])
"""Rewards 1 and 0 less their mean, on sequences of two tokens and of one."""


def test_mirror_descent_of_two_sequences() -> None:
    # log(pi / pi_old) of the sequences is .2 and -.1, so the coefficient of grad log pi is (r - mean) - tau x.
    old = double([-1, -2, -3])
    logp = (old + double([0.05, 0.15, -0.1])).requires_grad_()
    gain, clipped = ops.mirror_descent(logp, old, ADVANTAGE, ROW, TAU)
    gain.sum().backward()
    assert logp.grad is not None
    assert logp.grad.tolist() == pytest.approx([0.48, 0.48, -0.49], abs=1e-12)
    assert not clipped.any()
    # A log pi(y) - tau / 2 x^2: the square of the sequence's sum, not the sum of its tokens' squares.
    assert gain[:2].sum().item() == pytest.approx(0.5 * (-2.8) - 0.05 * 0.2**2, abs=1e-12)
    assert gain[2].item() == pytest.approx(-0.5 * (-3.1) - 0.05 * 0.1**2, abs=1e-12)


def test_mirror_descent_is_the_squared_surrogate_up_to_two_tau() -> None:
    old = double([-1, -2, -3])
    logp = (old + double([0.05, 0.15, -0.1])).requires_grad_()
    x = double([0, 0]).index_add(0, ROW, logp - old)
    surrogate = ((double([0.5, -0.5]) - TAU * x) ** 2).mean()
    assert surrogate.item() == pytest.approx(0.23525, abs=1e-12)
    surrogate.backward()
    assert logp.grad is not None
    expected, logp.grad = -logp.grad / (2 * TAU), None
    (ops.mirror_descent(logp, old, ADVANTAGE, ROW, TAU)[0].sum() / 2).backward()
    torch.testing.assert_close(logp.grad, expected)


def test_mirror_descent_starts_as_reinforce_and_rests_where_the_ratio_is_earned() -> None:
    old = double([-1, -2, -3])
    for shift, expected in (([0.0, 0, 0], ADVANTAGE.tolist()), ([2.0, 3.0, -5.0], [0.0, 0, 0])):
        logp = (old + double(shift)).requires_grad_()
        ops.mirror_descent(logp, old, ADVANTAGE, ROW, TAU)[0].sum().backward()
        assert logp.grad is not None
        assert logp.grad.tolist() == pytest.approx(expected, abs=1e-12)


def test_mirror_descent_leaves_forced_tokens_out_of_the_square() -> None:
    live = torch.tensor([True, False, True])
    old = double([-1, -2, -3])
    logp = (old + double([0.2, 7.0, -0.1])).requires_grad_()
    (ops.mirror_descent(logp, old, ADVANTAGE, ROW, TAU, live)[0] * live).sum().backward()
    assert logp.grad is not None
    assert logp.grad.tolist() == pytest.approx([0.48, 0, -0.49], abs=1e-12)
