"""Worked numbers by hand. FIX-A is one group of four: rewards 1, 0, 0, 0 and lengths 2, 4, 3, 1."""

from __future__ import annotations

import itertools
import math
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from reckon.algorithms import ops

REWARD = torch.tensor([1.0, 0.0, 0.0, 0.0])
LENGTH = torch.tensor([2, 4, 3, 1])
GROUP = torch.zeros(4, dtype=torch.long)

GROUPED: list[ops.AdvantageKind] = ["group_mean", "group_std", "group_std_sample", "leave_one_out", "length_weighted"]
COMPARED: list[ops.AdvantageKind] = ["batch_mean", *GROUPED]

lengths = st.lists(st.integers(1, 9), min_size=1, max_size=8)


def double(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def rows(length: list[int]) -> Tensor:
    return torch.repeat_interleave(torch.arange(len(length)), torch.tensor(length))


def noise(count: int, seed: int) -> Tensor:
    return torch.rand(count, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def close(found: Tensor, expected: list[float], digits: float = 1e-6) -> None:
    torch.testing.assert_close(found, double(expected), atol=digits, rtol=0)


# ------------------------------------------------------------------------------------------- of sequences


@pytest.mark.parametrize(
    ("kind", "epsilon", "expected"),
    [
        ("none", 0, [1, 0, 0, 0]),
        ("batch_mean", 0, [0.75, -0.25, -0.25, -0.25]),
        ("group_mean", 0, [0.75, -0.25, -0.25, -0.25]),
        ("group_std", 0, [1.732051, -0.577350, -0.577350, -0.577350]),
        ("group_std_sample", 0, [1.5, -0.5, -0.5, -0.5]),
        ("group_std_sample", 1e-6, [1.499997, -0.499999, -0.499999, -0.499999]),
        ("group_std_sample", 1e-4, [0.75 / 0.5001, -0.25 / 0.5001, -0.25 / 0.5001, -0.25 / 0.5001]),
        ("leave_one_out", 0, [1, -1 / 3, -1 / 3, -1 / 3]),
        ("length_weighted", 0, [0.8, -0.2, -0.2, -0.2]),
    ],
)
def test_the_fixture(kind: ops.AdvantageKind, epsilon: float, expected: list[float]) -> None:
    close(ops.sequence_advantage(REWARD, GROUP, kind, epsilon=epsilon, length_N=LENGTH), expected)


def test_the_std_of_the_fixture() -> None:
    mean = ops.sequence_advantage(REWARD, GROUP, "group_mean")
    for kind, std in (("group_std", 0.4330127), ("group_std_sample", 0.5)):
        advantage = ops.sequence_advantage(REWARD, GROUP, kind, epsilon=0)  # type: ignore[arg-type]
        assert (mean / advantage)[0].item() == pytest.approx(std, abs=1e-7)
    assert round(ops.sequence_advantage(REWARD, GROUP, "group_std_sample", epsilon=1e-4)[0].item(), 4) == 1.4997


@pytest.mark.parametrize(("sampled", "greedy", "expected"), [(1, 0, 1), (0, 1, -1), (1, 1, 0), (0, 0, 0)])
def test_a_sample_is_compared_with_the_greedy_answer(sampled: float, greedy: float, expected: float) -> None:
    advantage = ops.sequence_advantage(double([sampled]), GROUP[:1], "greedy", baseline=double([greedy]))
    assert advantage.tolist() == [expected]


def test_every_sequence_has_a_greedy_baseline_of_its_own() -> None:
    close(ops.sequence_advantage(REWARD, GROUP, "greedy", baseline=double([0, 1, 0, 1])), [1, -1, 0, -1])


@pytest.mark.parametrize("kind", ["constant", "ema"])
def test_a_number_is_subtracted(kind: ops.AdvantageKind) -> None:
    close(ops.sequence_advantage(REWARD, GROUP, kind, baseline=0.4), [0.6, -0.4, -0.4, -0.4])


def test_the_length_weighted_baseline_balances_tokens_not_sequences() -> None:
    advantage = ops.sequence_advantage(REWARD, GROUP, "length_weighted", length_N=LENGTH)
    assert (LENGTH * advantage).sum().item() == pytest.approx(0, abs=1e-12)
    assert advantage.sum().item() == pytest.approx(0.2)
    with pytest.raises(ValueError, match="needs the lengths"):
        ops.sequence_advantage(REWARD, GROUP, "length_weighted")


def test_the_std_lifts_groups_that_are_nearly_equal() -> None:
    # Division by the std scales a group by 1 / sqrt(p (1 - p)): 2.0 at p = .5, 3.33 at .1, 7.14 at .02.
    for right, size, scale in ((1, 2, 2.0), (1, 10, 10 / 3), (1, 50, 50 / 7)):
        reward = double([1.0] * right + [0.0] * (size - right))
        group = torch.zeros(size, dtype=torch.long)
        by_std = ops.sequence_advantage(reward, group, "group_std", epsilon=0)
        close(by_std / ops.sequence_advantage(reward, group, "group_mean"), [scale] * size)


def test_an_enumerated_policy_tells_the_baselines_apart() -> None:
    # A policy that picks the rewarded action with p = 0.3, in all 16 groups of four; the true gradient is p (1 - p).
    p = 0.3
    mean: dict[str, float] = dict.fromkeys(["none", *GROUPED[:-1]], 0.0)
    square, mixed = dict(mean), 0.0
    for actions in itertools.product([0.0, 1.0], repeat=4):
        reward = double(list(actions))
        chance = math.prod(p if action else 1 - p for action in actions)
        mixed += chance * (len(set(actions)) > 1)
        for kind in mean:
            advantage = ops.sequence_advantage(reward, GROUP, kind, epsilon=0)  # type: ignore[arg-type]
            gradient = (advantage * (reward - p)).mean().item()
            mean[kind] += chance * gradient
            square[kind] += chance * gradient**2
    # A group with k right has gradient std_k^2 / std, where std_1 = std_3 = sqrt(3) / 4 and std_2 = 1 / 2.
    one_or_three, two = 4 * p * (1 - p) ** 3 + 4 * p**3 * (1 - p), 6 * p**2 * (1 - p) ** 2
    by_std = one_or_three * math.sqrt(3) / 4 + two / 2
    closed = {
        "none": 0.21,
        "group_mean": 0.75 * 0.21,
        "leave_one_out": 0.21,
        "group_std": by_std,
        "group_std_sample": by_std * math.sqrt(0.75),
    }
    assert mean == pytest.approx(closed, abs=1e-12)
    assert {kind: round(value, 6) for kind, value in closed.items()} == {
        "none": 0.21, "group_mean": 0.1575, "leave_one_out": 0.21, "group_std": 0.343264, "group_std_sample": 0.297275,
    }  # fmt: skip
    assert mixed == pytest.approx(0.7518, abs=1e-12)
    assert mean["group_std_sample"] / mixed == pytest.approx(0.395418, abs=1e-6)
    variance = {kind: square[kind] - mean[kind] ** 2 for kind in mean}
    printed = {"none": 0.025725, "group_mean": 0.008859, "leave_one_out": 0.01575, "group_std_sample": 0.029752}
    assert {kind: variance[kind] for kind in printed} == pytest.approx(printed, abs=1e-6)


@pytest.mark.parametrize("kind", COMPARED)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@given(size=st.integers(1, 40), value=st.floats(-3, 3, allow_nan=False))
@settings(max_examples=40, deadline=None)
def test_equal_rewards_give_exactly_zero(kind: ops.AdvantageKind, dtype: torch.dtype, size: int, value: float) -> None:
    reward, group = torch.full((size,), value, dtype=dtype), torch.zeros(size, dtype=torch.long)
    advantage = ops.sequence_advantage(reward, group, kind, epsilon=0, length_N=torch.arange(size) + 1)
    assert torch.equal(advantage, torch.zeros(size, dtype=torch.float64))


@pytest.mark.parametrize("kind", COMPARED)
def test_rewards_that_differ_by_rounding_are_equal(kind: ops.AdvantageKind) -> None:
    # In float32, 0.1 + 0.2 is not 0.3; and seven times 0.1 centre to -7e-9 with a std of 8e-9, a quotient near -1.
    reward = torch.tensor([0.1 + 0.2, 0.3, 0.7 - 0.4]) + torch.tensor([0.0, 3e-8, -3e-8])
    assert reward.unique().numel() > 1
    advantage = ops.sequence_advantage(reward, GROUP[:3], kind, epsilon=0, length_N=LENGTH[:3])
    assert torch.count_nonzero(advantage) == 0


@pytest.mark.parametrize("kind", COMPARED)
def test_a_group_of_one_teaches_nothing(kind: ops.AdvantageKind) -> None:
    group = torch.zeros(3, dtype=torch.long) if kind == "batch_mean" else torch.tensor([4, 0, 2])
    reward = torch.ones(3) if kind == "batch_mean" else torch.tensor([1.0, 0.0, 5.0])
    assert torch.count_nonzero(ops.sequence_advantage(reward, group, kind, length_N=LENGTH[:3])) == 0


@pytest.mark.parametrize("kind", GROUPED)
@given(sizes=st.lists(st.integers(1, 6), min_size=1, max_size=4), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_groups_never_mix_and_order_does_not_matter(kind: ops.AdvantageKind, sizes: list[int], seed: int) -> None:
    group = rows(sizes)
    reward, length = noise(len(group), seed), torch.randint(1, 9, (len(group),))
    together = ops.sequence_advantage(reward, group, kind, length_N=length)
    for number, size in enumerate(sizes):
        mine = group == number
        alone = ops.sequence_advantage(reward[mine], GROUP.new_zeros(size), kind, length_N=length[mine])
        torch.testing.assert_close(together[mine], alone)
    order = torch.randperm(len(group), generator=torch.Generator().manual_seed(seed))
    shuffled = ops.sequence_advantage(reward[order], group[order], kind, length_N=length[order])
    torch.testing.assert_close(shuffled, together[order])


@given(values=st.lists(st.floats(-5, 5), min_size=2, max_size=9), shift=st.floats(-3, 3), scale=st.floats(0.5, 4))
@settings(max_examples=50, deadline=None)
def test_shifts_cancel_and_the_std_takes_out_the_scale(values: list[float], shift: float, scale: float) -> None:
    reward, group = double(values), torch.zeros(len(values), dtype=torch.long)
    if reward.max() - reward.min() < 1e-3:
        return
    for kind in GROUPED:
        length = torch.arange(len(values)) + 1
        before = ops.sequence_advantage(reward, group, kind, epsilon=0, length_N=length)
        after = ops.sequence_advantage(scale * reward + shift, group, kind, epsilon=0, length_N=length)
        torch.testing.assert_close(after, before if "std" in kind else scale * before, atol=1e-6, rtol=1e-6)
        if kind != "length_weighted":
            assert before.sum().item() == pytest.approx(0, abs=1e-9)
    others = ops.sequence_advantage(reward, group, "leave_one_out")
    size = len(values)
    torch.testing.assert_close(others, size / (size - 1) * ops.sequence_advantage(reward, group, "group_mean"))


def test_every_kind_is_there_and_nothing_is_of_nothing() -> None:
    empty = torch.zeros(0)
    for kind in get_args(ops.AdvantageKind):
        found = ops.sequence_advantage(empty, empty.long(), kind, length_N=empty.long())
        assert found.dtype == torch.float64
        assert found.shape == (0,)


# --------------------------------------------------------------------------------------- dead groups, whitening


def test_live_groups_make_up_for_dead_ones() -> None:
    reward = double([1, 1, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 0, 0, 0])
    group = torch.arange(4).repeat_interleave(4)
    # Not 16 / 7 = 2.29, samples over right samples, which is 1 whatever the groups where wrong is -1 (verl).
    assert ops.live_group_scale(reward, group) == 2.0
    assert ops.live_group_scale(2 * reward - 1, group) == 2.0
    assert ops.live_group_scale(reward[4:12], group[4:12]) == 0.0
    # Group numbers that do not occur are no groups; groups of one have no signal.
    assert ops.live_group_scale(double([1, 0, 1]), torch.tensor([9, 9, 4])) == 2.0
    assert ops.live_group_scale(double([0.1] * 7), torch.zeros(7, dtype=torch.long)) == 0.0


def test_advantages_are_weighed_by_the_difficulty_of_their_prompt() -> None:
    """w(0.25) = 0.4 + 1.1 / (1 + e^-5) = 1.492638, w(0.75) = 0.4 + 1.1 / 2 = 0.95, w(1) = 0.4 + 1.1 / (1 + e^2.5)."""
    group = torch.arange(3).repeat_interleave(4)
    right = double([1, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0])
    advantage = ops.sequence_advantage(right, group, "group_mean")
    weight = ops.difficulty_weight(advantage, right == 1, group)
    hard, half, w1 = 1.492638, 0.95, 0.4 + 1.1 / (1 + math.exp(2.5))
    expected = double([hard, half, half, half, half, half, half, hard, w1, w1, w1, w1])
    torch.testing.assert_close(weight, expected, atol=1e-6, rtol=0)


@given(st.lists(st.booleans(), min_size=2, max_size=9))
def test_the_rarer_the_answer_the_more_it_counts(right: list[bool]) -> None:
    right_N, group = torch.tensor(right), torch.zeros(len(right), dtype=torch.long)
    weight = ops.difficulty_weight(2 * right_N.double() - 1, right_N, group)
    assert ((weight > 0.4) & (weight < 1.5)).all()
    rare = sum(right) < len(right) - sum(right)
    if len(set(right)) == 2 and sum(right) != len(right) - sum(right):
        assert bool(weight[right_N].max() > weight[~right_N].max()) == rare


def test_whitening_of_reinforce_plus_plus() -> None:
    penalty = 0.1 * double([0.1, 0.2, 0.0, -0.1, 0.3])
    row = torch.tensor([0, 0, 1, 1, 1])
    raw = double([1, 0])[row] - ops.suffix_sum(penalty, row)
    close(raw, [0.97, 0.98, -0.02, -0.02, -0.03], 1e-12)
    assert raw.mean().item() == pytest.approx(0.376, abs=1e-12)
    assert raw.std(correction=0).item() == pytest.approx(0.489105, abs=1e-6)
    close(ops.whiten(raw), [1.214462, 1.234908, -0.809642, -0.809642, -0.830087])
    close(ops.whiten(raw, sample=True), [1.086248, 1.104535, -0.724165, -0.724165, -0.742452])


def test_whitening_by_tokens_is_not_whitening_by_sequences() -> None:
    reward = double([1, 0, 0, 0, 1, 1, 1, 0])
    group = torch.arange(2).repeat_interleave(4)
    row = rows([2, 4, 3, 1, 1, 1, 1, 1])
    centred = ops.sequence_advantage(reward, group, "group_mean")
    tokens = centred[row]
    assert tokens.mean().item() == pytest.approx(-0.5 / 14, abs=1e-12)
    assert round(-0.5 / 14, 6) == -0.035714
    assert tokens.std(correction=0).item() == pytest.approx(0.410326, abs=1e-6)
    first = torch.tensor([0, 2, 6, 9, 10, 11, 12, 13])
    close(ops.whiten(tokens)[first], [1.914854] + [-0.522233] * 3 + [0.696311] * 3 + [-1.740777])
    close(ops.whiten(centred), [1.732051] + [-0.577350] * 3 + [0.577350] * 3 + [-1.732051])


def test_whitening_counts_live_tokens_alone() -> None:
    value = double([3, 100, 1, -100, 2])
    live = torch.tensor([True, False, True, False, True])
    white = ops.whiten(value, live)
    torch.testing.assert_close(white[live], ops.whiten(value[live]))
    assert torch.count_nonzero(white[~live]) == 0
    assert torch.count_nonzero(ops.whiten(value, torch.zeros(5, dtype=torch.bool))) == 0


@pytest.mark.parametrize("sample", [False, True])
@given(count=st.integers(0, 40), value=st.floats(-3, 3))
@settings(max_examples=30, deadline=None)
def test_whitening_of_equal_values_is_exactly_zero(sample: bool, count: int, value: float) -> None:
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        white = ops.whiten(torch.full((count,), value, dtype=dtype), sample=sample)
        assert torch.equal(white, torch.zeros(count).double())


@given(seed=st.integers(0, 99), count=st.integers(2, 30), shift=st.floats(-5, 5))
@settings(max_examples=30, deadline=None)
def test_whitening_ignores_shifts_and_copies(seed: int, count: int, shift: float) -> None:
    value = noise(count, seed)
    white = ops.whiten(value)
    assert white.mean().item() == pytest.approx(0, abs=1e-9)
    assert (white**2).mean().item() == pytest.approx(1)
    torch.testing.assert_close(ops.whiten(value + shift), white)
    torch.testing.assert_close(ops.whiten(value.repeat(2)), white.repeat(2))


def test_what_is_not_a_number_stays_visible() -> None:
    assert ops.whiten(double([1, math.nan, 2])).isnan().all()
    assert ops.sequence_advantage(double([1, math.nan]), GROUP[:2], "group_std").isnan().all()


# ---------------------------------------------------------------------------------------------- of tokens


@given(length=lengths, seed=st.integers(0, 99), decay=st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_suffix_sums_are_those_of_a_loop(length: list[int], seed: int, decay: float) -> None:
    row = rows(length)
    value = noise(len(row), seed) - 0.5
    decay_N = noise(len(length), seed + 1)
    for given_decay, of in ((decay, [decay] * len(length)), (decay_N, decay_N.tolist())):
        expected = torch.zeros_like(value)
        for t in range(len(row)):
            for i in range(t, len(row)):
                if row[i] == row[t]:
                    expected[t] += of[int(row[t])] ** (i - t) * value[i]
        torch.testing.assert_close(ops.suffix_sum(value, row, given_decay), expected)


def test_a_suffix_sum_of_nothing_is_nothing() -> None:
    assert ops.suffix_sum(torch.zeros(0), torch.zeros(0, dtype=torch.long)).shape == (0,)


@pytest.mark.parametrize(
    ("lam", "advantage"),
    [
        (1.0, [0.8, 0.6, 0.5, 0.2]),
        (0.95, [0.737225, 0.5655, 0.49, 0.2]),
        (0.8, [0.5744, 0.468, 0.46, 0.2]),
        (0.0, [0.2, 0.1, 0.3, 0.2]),
    ],
)
def test_gae_closed_forms(lam: float, advantage: list[float]) -> None:
    value, row = double([0.2, 0.4, 0.5, 0.8]), torch.zeros(4, dtype=torch.long)
    found = ops.gae(double([0, 0, 0, 1]), value, row, lam)
    close(found, advantage, 1e-12)
    if lam == 1:
        close(found + value, [1, 1, 1, 1], 1e-12)


def test_whitened_gae() -> None:
    found = ops.gae(double([0, 0, 0, 1]), double([0.2, 0.4, 0.5, 0.8]), torch.zeros(4, dtype=torch.long), 1.0)
    close(ops.whiten(found, sample=True), [1.1, 0.3, -0.1, -1.3])
    close(ops.whiten(found), [1.270171, 0.346410, -0.115470, -1.501111])


@given(length=lengths, seed=st.integers(0, 99), lam=st.floats(0, 1), gamma=st.floats(0.5, 1))
@settings(max_examples=60, deadline=None)
def test_gae_is_the_double_sum_and_sequences_never_mix(length: list[int], seed: int, lam: float, gamma: float) -> None:
    row = rows(length)
    reward, value = noise(len(row), seed), noise(len(row), seed + 1)
    together = ops.gae(reward, value, row, lam, gamma)
    own_lam = noise(len(length), seed + 2)
    by_sequence = ops.gae(reward, value, row, own_lam, gamma)
    for number in range(len(length)):
        mine = row == number
        r, v = reward[mine].tolist(), [*value[mine].tolist(), 0.0]
        delta = [r[t] + gamma * v[t + 1] - v[t] for t in range(len(r))]
        for found, lam_n in ((together[mine], lam), (by_sequence[mine], own_lam[number].item())):
            expected = [
                sum((gamma * lam_n) ** (i - t) * delta[i] for i in range(t, len(delta))) for t in range(len(delta))
            ]
            torch.testing.assert_close(found, double(expected))


def test_returns_with_lambda_one_are_the_reward_on_every_token() -> None:
    row = rows([3, 1, 5])
    value = noise(9, 0)
    reward = ops.at_last_token(double([1, 0, 0.5]), row)
    torch.testing.assert_close(ops.gae(reward, value, row, 1.0) + value, double([1, 0, 0.5])[row])


def test_a_decaying_reward_never_reaches_early_tokens() -> None:
    # Why VC-PPO gives the critic lambda = 1: 0.95 leaves 0.00592 of a reward 100 tokens ahead, 5.3e-23 of one 1000.
    for ahead, share in ((100, 0.00592), (1000, 5.3e-23)):
        row = torch.zeros(ahead + 1, dtype=torch.long)
        reward = ops.at_last_token(double([1]), row)
        first = ops.gae(reward, torch.zeros_like(reward), row, 0.95)[0].item()
        assert first == pytest.approx(0.95**ahead)
        assert first == pytest.approx(share, rel=1e-2)


def test_lambda_follows_the_length() -> None:
    length = torch.tensor([1, 10, 20, 40, 100, 400, 1000, 10000])
    close(ops.length_adaptive_lambda(length, 0.05), [0, 0, 0, 0.5, 0.8, 0.95, 0.98, 0.998], 1e-12)
    assert ops.length_adaptive_lambda(torch.tensor([2]), 1.0).item() == 0.5


def test_a_value_lands_on_the_last_token() -> None:
    assert ops.at_last_token(double([1, 2, 3]), rows([2, 1, 3])).tolist() == [0, 1, 2, 0, 0, 3]
