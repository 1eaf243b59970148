"""Worked numbers by hand; the fixture is one group of four: rewards 1, 0, 0, 0 and lengths 2, 4, 3, 1."""

from __future__ import annotations

import itertools

import pytest
import torch

from reckon.algorithms import ops

REWARD = torch.tensor([1.0, 0.0, 0.0, 0.0])
GROUP = torch.zeros(4, dtype=torch.long)
ROW = torch.tensor([0, 0, 1, 1, 1, 1, 2, 2, 2, 3])


@pytest.mark.parametrize(
    ("kind", "epsilon", "expected"),
    [
        ("group_mean", 0, [0.75, -0.25, -0.25, -0.25]),
        ("group_std", 0, [1.732051, -0.577350, -0.577350, -0.577350]),
        ("group_std_sample", 0, [1.5, -0.5, -0.5, -0.5]),
        ("group_std_sample", 1e-4, [1.4997, -0.4999, -0.4999, -0.4999]),
        ("leave_one_out", 0, [1.0, -1 / 3, -1 / 3, -1 / 3]),
    ],
)
def test_advantage_of_the_fixture(kind: ops.AdvantageKind, epsilon: float, expected: list[float]) -> None:
    advantage = ops.group_advantage(REWARD, GROUP, kind, epsilon)
    torch.testing.assert_close(advantage, torch.tensor(expected, dtype=torch.float64), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("kind", ["group_mean", "group_std", "group_std_sample", "leave_one_out"])
def test_groups_never_mix(kind: ops.AdvantageKind) -> None:
    reward = torch.tensor([1.0, 0.0, 0.0, 0.0, 5.0, 5.0, 7.0])
    group = torch.tensor([0, 0, 0, 0, 1, 1, 1])
    both = ops.group_advantage(reward, group, kind)
    apart = [
        ops.group_advantage(reward[group == g], torch.zeros(int((group == g).sum()), dtype=torch.long), kind)
        for g in (0, 1)
    ]
    torch.testing.assert_close(both, torch.cat(apart))
    shuffle = torch.tensor([4, 0, 6, 2, 1, 5, 3])
    torch.testing.assert_close(ops.group_advantage(reward[shuffle], group[shuffle], kind), both[shuffle])


@pytest.mark.parametrize("kind", ["group_mean", "group_std", "group_std_sample", "leave_one_out"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("size", [1, 3, 7, 10, 16])
@pytest.mark.parametrize("value", [0.0, 0.1, 0.3, 0.7, 0.9, 1.0])
def test_equal_rewards_give_exactly_zero(kind: ops.AdvantageKind, dtype: torch.dtype, size: int, value: float) -> None:
    # In float32, seven rewards of 0.1 centre to -7e-9 with a std of 8e-9: a naive quotient is about -0.9.
    reward = torch.full((size,), value, dtype=dtype)
    advantage = ops.group_advantage(reward, torch.zeros(size, dtype=torch.long), kind, epsilon=0)
    assert torch.equal(advantage, torch.zeros(size, dtype=torch.float64))


def test_leave_one_out_is_unbiased_and_the_mean_baseline_is_not() -> None:
    # A policy that picks the rewarded action with p = 0.3; the true gradient is p (1 - p) = 0.21.
    p, expected = (
        0.3,
        {"group_mean": 0.1575, "leave_one_out": 0.21, "group_std": 0.343264, "group_std_sample": 0.297275},
    )
    for kind, value in expected.items():
        total = 0.0
        for actions in itertools.product([0.0, 1.0], repeat=4):
            reward = torch.tensor(actions, dtype=torch.float64)
            chance = torch.where(reward == 1, p, 1 - p).prod().item()
            advantage = ops.group_advantage(reward, GROUP, kind, epsilon=0)  # type: ignore[arg-type]
            total += chance * (advantage * (reward - p)).mean().item()
        assert total == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize(
    ("kind", "loss", "weights"),
    [
        ("sequence_mean", 0.0, [0.09375, -0.015625, -0.0208333, -0.0625]),
        ("token_mean", 0.05, [0.075, -0.025, -0.025, -0.025]),
        ("constant", 0.03125, [0.046875, -0.015625, -0.015625, -0.015625]),
        ("sequence_sum", 0.125, [0.1875, -0.0625, -0.0625, -0.0625]),
    ],
)
def test_aggregation_of_the_fixture(kind: ops.AggregationKind, loss: float, weights: list[float]) -> None:
    advantage = ops.group_advantage(REWARD, GROUP, "group_mean").float()
    weight = ops.token_weights(ROW, 4, kind, constant=4)
    assert (weight * -advantage[ROW]).sum().item() == pytest.approx(loss, abs=1e-6)
    first = torch.tensor([0, 2, 6, 9])
    torch.testing.assert_close((weight * advantage[ROW])[first], torch.tensor(weights), atol=1e-6, rtol=1e-5)


def test_forced_tokens_weigh_nothing_and_a_row_of_them_is_not_counted() -> None:
    sampled = torch.tensor([True, True, False, True, True, True, False, False, False, True])
    weight = ops.token_weights(ROW, 4, "sequence_mean", sampled_S=sampled)
    assert weight.sum().item() == pytest.approx(1)
    assert weight[~sampled].abs().sum() == 0
    assert weight[0].item() == pytest.approx(1 / (3 * 2))


@pytest.mark.parametrize(
    ("ratio", "advantage", "low", "high", "value", "active"),
    [
        (1.5, 1, 0.2, 0.2, 1.2, False),
        (0.5, 1, 0.2, 0.2, 0.5, True),
        (1.5, -1, 0.2, 0.2, -1.5, True),
        (0.5, -1, 0.2, 0.2, -0.8, False),
        (1.25, 1, 0.2, 0.2, 1.2, False),
        (1.25, 1, 0.2, 0.28, 1.25, True),
        (12.0, 1, 10, 10, 11.0, False),
        (12.0, -1, 10, 10, -12.0, True),
        (0.01, -1, 10, 10, -0.01, True),
    ],
)
def test_clip_truth_table(ratio: float, advantage: float, low: float, high: float, value: float, active: bool) -> None:
    ratio_S = torch.tensor([ratio], requires_grad=True)
    gain, clipped = ops.clipped_surrogate(ratio_S, torch.tensor([float(advantage)]), low, high)
    gain.sum().backward()
    assert gain.item() == pytest.approx(value)
    assert clipped.item() is not active
    assert ratio_S.grad is not None
    assert ratio_S.grad.item() == (advantage if active else 0)


def test_kl_values_and_gradients() -> None:
    policy, reference = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.4, 0.4, 0.2])
    values = {
        "k1": [0.223144, -0.287682, 0.0],
        "k2": [0.024897, 0.041380, 0.0],
        "k3": [0.023144, 0.045651, 0.0],
    }
    gradients = {"k1": [0, 0, 0], "k2": [0.098938, -0.093885, -0.005053], "k3": [0.1, -0.1, 0.0]}
    for kind, expected in values.items():
        penalty = ops.kl_penalty(policy.log(), reference.log(), kind)  # type: ignore[arg-type]
        torch.testing.assert_close(penalty, torch.tensor(expected), atol=1e-6, rtol=1e-4)
        logits = policy.log().requires_grad_()
        loss = (policy * ops.kl_penalty(logits.log_softmax(0), reference.log(), kind)).sum()  # type: ignore[arg-type]
        loss.backward()
        assert logits.grad is not None
        torch.testing.assert_close(logits.grad, torch.tensor(gradients[kind]).float(), atol=2e-6, rtol=1e-4)


def test_ratio_survives_absurd_log_ratios() -> None:
    ratio = ops.importance_ratio(torch.tensor([0.0, -500.0]), torch.tensor([-500.0, 0.0]))
    assert torch.isfinite(ratio).all()
