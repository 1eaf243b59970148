"""FIX-A is one group of four: rewards 1, 0, 0, 0 and lengths 2, 4, 3, 1."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reckon.algorithms import ops

ROW = torch.tensor([0, 0, 1, 1, 1, 1, 2, 2, 2, 3])
ADVANTAGE = torch.tensor([0.75, -0.25, -0.25, -0.25])
FIRST = torch.tensor([0, 2, 6, 9])


@pytest.mark.parametrize(
    ("kind", "loss", "weights"),
    [
        ("sequence_mean", 0.0, [0.09375, -0.015625, -0.0208333, -0.0625]),
        ("token_mean", 0.05, [0.075, -0.025, -0.025, -0.025]),
        ("constant", 0.03125, [0.046875, -0.015625, -0.015625, -0.015625]),
        ("sequence_sum", 0.125, [0.1875, -0.0625, -0.0625, -0.0625]),
    ],
)
def test_the_fixture(kind: ops.AggregationKind, loss: float, weights: list[float]) -> None:
    weight = ops.token_weights(ROW, 4, kind, constant=4)
    assert (weight * -ADVANTAGE[ROW]).sum().item() == pytest.approx(loss, abs=1e-6)
    torch.testing.assert_close((weight * ADVANTAGE[ROW])[FIRST], torch.tensor(weights), atol=1e-6, rtol=0)


def test_a_mean_per_sequence_dilutes_long_answers() -> None:
    # Two wrong answers with advantage -.5 and 10 or 100 tokens: -.05 and -.005 for each token.
    row = torch.repeat_interleave(torch.arange(2), torch.tensor([10, 100]))
    per_token = -0.5 * 2 * ops.token_weights(row, 2, "sequence_mean")
    assert (per_token[0].item(), per_token[-1].item()) == pytest.approx((-0.05, -0.005))
    assert len(ops.token_weights(row, 2, "constant", constant=100).unique()) == 1


def test_the_constant_is_a_length_and_the_batch_is_averaged() -> None:
    whole = ops.token_weights(ROW, 4, "constant", constant=4)
    torch.testing.assert_close(ops.token_weights(ROW, 4, "constant", constant=8), whole / 2)
    # Twice the sequences do not double the gradient.
    twice = ops.token_weights(torch.cat([ROW, ROW + 4]), 8, "constant", constant=4)
    assert twice.sum().item() == pytest.approx(whole.sum().item())
    with pytest.raises(ValueError, match="generation budget"):
        ops.token_weights(ROW, 4, "constant")


def test_forced_tokens_weigh_nothing_and_a_row_of_them_is_not_counted() -> None:
    sampled = torch.tensor([True, True, False, True, True, True, False, False, False, True])
    expected = {
        "sequence_mean": [1 / 6, 1 / 6, 0, *[1 / 9] * 3, 0, 0, 0, 1 / 3],
        "token_mean": [1 / 6, 1 / 6, 0, *[1 / 6] * 3, 0, 0, 0, 1 / 6],
        "constant": [1 / 12, 1 / 12, 0, *[1 / 12] * 3, 0, 0, 0, 1 / 12],
        "sequence_sum": [1 / 3, 1 / 3, 0, *[1 / 3] * 3, 0, 0, 0, 1 / 3],
    }
    for kind, weights in expected.items():
        weight = ops.token_weights(ROW, 4, kind, sampled_S=sampled, constant=4)  # type: ignore[arg-type]
        torch.testing.assert_close(weight, torch.tensor(weights))


def test_masked_answers_leave_the_denominator() -> None:
    # A truncated answer of four tokens beside one of two: the mean is over the two tokens left, not over six.
    row, sampled = torch.tensor([0, 0, 0, 0, 1, 1]), torch.tensor([False] * 4 + [True] * 2)
    assert ops.token_weights(row, 2, "token_mean", sampled_S=sampled).sum().item() == 1


@given(length=st.lists(st.integers(1, 9), min_size=1, max_size=8), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_means_add_up_to_one_and_a_batch_without_loss_to_zero(length: list[int], seed: int) -> None:
    row = torch.repeat_interleave(torch.arange(len(length)), torch.tensor(length))
    sampled = torch.rand(len(row), generator=torch.Generator().manual_seed(seed)) < 0.7
    for kind in ("sequence_mean", "token_mean"):
        weight = ops.token_weights(row, len(length), kind, sampled_S=sampled)  # type: ignore[arg-type]
        assert weight.sum().item() == pytest.approx(float(sampled.any()))
        assert torch.count_nonzero(weight[~sampled]) == 0


def test_sums_over_sequences() -> None:
    value = torch.arange(10.0, requires_grad=True)
    assert ops.sequence_sum(value, ROW, 4).tolist() == [1, 14, 21, 9]
    live = torch.tensor([True, False] * 5)
    total = ops.sequence_sum(value, ROW, 4, live)
    assert total.tolist() == [0, 6, 14, 0]
    total.sum().backward()
    assert value.grad is not None
    assert value.grad.bool().tolist() == live.tolist()
