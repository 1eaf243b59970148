from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reckon.search.rebase import balanced
from reckon.search.shares import largest_remainder


def test_worked_example_of_rebase() -> None:
    # softmax([.9, .5, .1] / .2) = [.866813, .117310, .015876]; times 8: [6.9345, .9385, .1270].
    assert balanced(8, [0.9, 0.5, 0.1], 0.2) == [7, 1, 0]


def test_rounding_each_share_would_exceed_the_budget() -> None:
    assert [round(8 / 3)] * 3 == [3, 3, 3]
    assert balanced(8, [0.5, 0.5, 0.5], 0.2) == [3, 3, 2]


def test_rounding_each_share_would_stop_a_small_budget() -> None:
    assert [round(2 / 5)] * 5 == [0] * 5
    assert balanced(2, [0.5] * 5, 0.2) == [1, 1, 0, 0, 0]


def test_no_weight_at_all_is_equal_weight() -> None:
    assert largest_remainder(5, [0.0, 0.0]) == [3, 2]


def test_very_different_scores_do_not_overflow() -> None:
    assert balanced(4, [0.0, 1.0], 1e-6) == [0, 4]


@given(
    budget=st.integers(0, 500),
    scores=st.lists(st.floats(0, 1), min_size=1, max_size=40),
    temperature=st.floats(1e-3, 10),
)
def test_shares_conserve_the_budget_and_follow_the_scores(budget: int, scores: list[float], temperature: float) -> None:
    shares = balanced(budget, scores, temperature)
    assert sum(shares) == budget
    assert min(shares) >= 0
    ranked = sorted(zip(scores, shares, strict=True))
    assert all(more[1] - less[1] >= -1 for less, more in pairwise(ranked)), "equal weights may differ by the rest"


@pytest.mark.parametrize("total", [0, 1, 7])
def test_weights_need_not_sum_to_one(total: int) -> None:
    assert largest_remainder(total, [10.0, 20.0]) == largest_remainder(total, [1 / 3, 2 / 3])
