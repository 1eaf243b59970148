from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from reckon.algorithms import ops


def double(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_the_best_of_four_of_three_outcomes() -> None:
    policy = double(0.5, 0.3, 0.2)
    best = ops.best_of_n(policy, 4)
    assert best.tolist() == pytest.approx([0.5**4, 0.8**4 - 0.5**4, 1 - 0.8**4], abs=1e-12)
    assert [round(share, 4) for share in best.tolist()] == [0.0625, 0.3471, 0.5904]
    divergence = (best * (best / policy).log()).sum().item()
    assert divergence == pytest.approx(0.559751, abs=1e-6)
    assert divergence <= math.log(4) - 3 / 4 == pytest.approx(0.636294, abs=1e-6)
    # The usual tilt by F^(n - 1) is another distribution where outcomes are few.
    tilted = policy * policy.cumsum(0) ** 3
    assert [round(share, 3) for share in (tilted / tilted.sum()).tolist()] == [0.15, 0.369, 0.481]


@given(weights=st.lists(st.floats(0.01, 1), min_size=1, max_size=6), n=st.integers(1, 9))
@settings(max_examples=60, deadline=None)
def test_the_best_of_n_is_the_published_product(weights: list[float], n: int) -> None:
    policy = double(*weights) / sum(weights)
    upto = policy.cumsum(0)
    below = upto - policy
    product = policy * upto ** (n - 1) * sum((below / upto) ** (i - 1) for i in range(1, n + 1))
    torch.testing.assert_close(ops.best_of_n(policy, n), product)
    assert ops.best_of_n(policy, n).sum().item() == pytest.approx(1)


def test_the_best_of_one_is_the_policy() -> None:
    torch.testing.assert_close(ops.best_of_n(double(0.5, 0.3, 0.2), 1), double(0.5, 0.3, 0.2))


@pytest.mark.parametrize(
    ("reward", "anchors", "worse"),
    [(0, [1, 1], True), (0, [1, 0], False), (0, [0, 0], False), (1, [1, 1], False), (0.2, [0.5, 0.3], True)],
)
def test_only_a_sample_worse_than_both_anchors_is_punished(reward: float, anchors: list[float], worse: bool) -> None:
    found = ops.bond_reward(double(reward), double(*anchors)[None])
    assert found.dtype == torch.float64
    assert found.item() == pytest.approx(-math.log(16) if worse else 0, abs=1e-12)


@pytest.mark.parametrize(
    ("share", "expected", "logarithm"),
    [(0.25, -1.560, -1.386), (0.5, -0.693147, -0.693147), (0.75, -0.173, -0.288)],
)
def test_the_mean_punishment_stands_for_the_log_of_the_rank(share: float, expected: float, logarithm: float) -> None:
    # Anchors are one of four equally likely rewards; the sample is no worse than a share of them.
    pairs = double(*range(4))[torch.tensor(list(itertools.product(range(4), repeat=2)))]
    sample = torch.full((16,), 4 * share - 1, dtype=torch.float64)
    mean = ops.bond_reward(sample, pairs).mean().item()
    assert mean == pytest.approx(-((1 - share) ** 2) * math.log(16), abs=1e-12)
    assert mean == pytest.approx(expected, abs=5e-4)
    assert math.log(share) == pytest.approx(logarithm, abs=5e-4)


def test_the_expected_best_of_two_of_four_scores() -> None:
    assert ops.expected_best_of(double(0.9, 0.1, 0.7, 0.4), 2) == pytest.approx(0.75, abs=1e-12)


@given(scores=st.lists(st.floats(-5, 5), min_size=1, max_size=7), data=st.data())
@settings(max_examples=40, deadline=None)
def test_the_expected_best_is_the_mean_over_all_subsets(scores: list[float], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(scores)))
    best = [max(subset) for subset in itertools.combinations(scores, k)]
    assert ops.expected_best_of(double(*scores), k) == pytest.approx(sum(best) / len(best), abs=1e-9)


@pytest.mark.parametrize("k", [0, 3])
def test_too_few_scores_are_refused(k: int) -> None:
    with pytest.raises(ValueError, match=f"best of {k} cannot be estimated from 2"):
        ops.expected_best_of(double(1, 2), k)
