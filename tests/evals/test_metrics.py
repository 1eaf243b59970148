"""Figures worked by hand, exact values by enumeration, and the coverage of the intervals by simulation."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reckon.core.errors import DataError
from reckon.core.records import Problem, Rollout, Verdict
from reckon.evals import metrics


def rollout(problem: str, score: float | None, extracted: str | None = None, sample: int = 0) -> Rollout:
    return Rollout(
        task="toy",
        problem=Problem(problem, "?", None),
        sample=sample,
        prompt="",
        prompt_ids=[],
        response="",
        response_ids=[],
        logp=[],
        finish="stop",
        seed=0,
        verdict=Verdict(score, extracted=extracted),
    )


def evaluation(passed: np.ndarray) -> list[Rollout]:
    """passed [Q, n] of 0 and 1."""
    return [rollout(f"p{q}", float(score), sample=i) for q, row in enumerate(passed) for i, score in enumerate(row)]


def verdicts(*pairs: tuple[str | None, float]) -> list[Verdict]:
    return [Verdict(score, extracted=answer) for answer, score in pairs]


@pytest.mark.parametrize(("k", "expected"), [(1, 0.3), (2, 0.533333), (5, 0.916667), (8, 1.0), (10, 1.0)])
def test_pass_at_k_worked_numbers(k: int, expected: float) -> None:
    assert metrics.pass_at_k(10, 3, k) == pytest.approx(expected, abs=5e-7)


@settings(deadline=None)
@given(st.integers(1, 8), st.data())
def test_pass_at_k_is_the_share_of_draws_with_a_pass(n: int, data: st.DataObject) -> None:
    c, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    draws = list(combinations([1] * c + [0] * (n - c), k))
    assert metrics.pass_at_k(n, c, k) == pytest.approx(sum(map(any, draws)) / len(draws), abs=1e-12)


def test_pass_at_k_refuses_more_draws_than_samples() -> None:
    with pytest.raises(ValueError, match="n=4"):
        metrics.pass_at_k(4, 1, 5)


def test_pass_at_k_is_averaged_over_problems_not_samples() -> None:
    groups = metrics.judged([*evaluation(np.array([[1, 1, 1, 1]])), rollout("other", 0.0), rollout("other", 0.0)])
    assert metrics.mean_pass_at_k(groups, 1) == 0.5
    assert metrics.mean_pass_at_k(groups, 4) == 1.0, "a problem with two samples says nothing about four"
    assert metrics.mean_pass_at_k(groups, 8) is None


def test_absent_verdicts_and_partial_credit() -> None:
    groups = metrics.judged([rollout("a", None), rollout("a", 0.5), rollout("a", 1.0), rollout("b", None)])
    assert list(groups) == ["a"]
    assert metrics.pass_at_1(groups).value == 0.5
    with pytest.raises(DataError, match="no sample has a score"):
        metrics.pass_at_1(metrics.judged([rollout("b", None)]))


def vote_by_enumeration(group: list[Verdict], k: int) -> float:
    total, draws = 0.0, list(combinations(group, k))
    for draw in draws:
        answers = [v.extracted for v in draw if v.extracted is not None]
        winners = {a for a in answers if answers.count(a) == max(map(answers.count, answers))}
        worth = [np.mean([v.score for v in group if v.extracted == winner]) for winner in winners]
        total += float(np.mean(worth)) if worth else 0.0
    return total / len(draws)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([("A", 1.0), ("B", 0.0), ("C", 0.0), ("D", 1.0), (None, 0.0)]), min_size=1, max_size=9))
def test_cons_at_k_equals_enumeration(pairs: list[tuple[str | None, float]]) -> None:
    group = verdicts(*pairs)
    for k in range(1, len(group) + 1):
        assert metrics.cons_at_k(group, k) == pytest.approx(vote_by_enumeration(group, k), abs=1e-9)


def win_by_coins(count: int, counts: list[int], n: int, k: int) -> float:
    """The chance that an answer wins, by a sum over all that its rivals and silence can get: exact, and slow."""
    rivals = list(counts)
    rivals.remove(count)

    def rest(place: int, top: int, left: int, ties: int) -> float:
        if place == len(rivals):
            silent = n - sum(counts)
            return math.comb(silent, left) / (ties + 1) if left <= silent else 0.0
        return sum(
            math.comb(rivals[place], votes) * rest(place + 1, top, left - votes, ties + (votes == top))
            for votes in range(min(rivals[place], top, left) + 1)
        )

    ways = sum(math.comb(count, top) * rest(0, top, k - top, 0) for top in range(1, min(count, k) + 1))
    return ways / math.comb(n, k)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=5), st.integers(0, 6), st.data())
def test_cons_at_k_equals_the_sum_over_all_counts(counts: list[int], silent: int, data: st.DataObject) -> None:
    n = sum(counts) + silent
    k, winner = data.draw(st.integers(1, n)), data.draw(st.integers(0, len(counts) - 1))
    pairs = [(str(i), float(i == winner)) for i, votes in enumerate(counts) for _ in range(votes)]
    group = verdicts(*pairs, *[(None, 0.0)] * silent)
    assert metrics.cons_at_k(group, k) == pytest.approx(win_by_coins(counts[winner], counts, n, k), abs=1e-9)


def test_cons_at_k_of_many_samples_and_of_certain_votes() -> None:
    many = verdicts(*[("A", 1.0)] * 600, *[("B", 0.0)] * 300, *[(f"C{i}", 0.0) for i in range(100)])
    assert [metrics.cons_at_k(many, k) for k in (999, 1000)] == [1.0, 1.0], "without a trace of rounding"
    assert metrics.cons_at_k(many, 1) == pytest.approx(0.6, abs=1e-9)
    assert metrics.cons_at_k(many, 2) == pytest.approx(0.6, abs=1e-9)
    (one,) = {metrics.clustered(np.full(8, metrics.cons_at_k(many, 1000)), np.full(8, 1000.0))}
    assert one.low == pytest.approx(8 / (8 + 3.8415), abs=1e-4), "problems count once, as they all agree"


def test_cons_at_k_worked_numbers() -> None:
    tie = verdicts(("A", 1.0), ("A", 1.0), ("B", 0.0), ("B", 0.0))
    assert metrics.cons_at_k(tie, 4) == pytest.approx(0.5)
    silent = verdicts(("A", 1.0), (None, 0.0), (None, 0.0), (None, 0.0))
    assert metrics.cons_at_k(silent, 4) == pytest.approx(1.0), "silence casts no vote"
    assert metrics.cons_at_k(silent, 1) == pytest.approx(0.25), "but it takes a place in the draw"
    # A fresh 60:40 vote of 5 is right .683 of the time; draws from many samples come close to it.
    many = verdicts(*[("A", 1.0)] * 1200, *[("B", 0.0)] * 800)
    assert metrics.cons_at_k(many, 5) == pytest.approx(0.683, abs=2e-3)


def test_no_vote_where_the_task_does_not_extract() -> None:
    assert metrics.mean_cons_at_k(metrics.judged([rollout("a", 1.0), rollout("a", 0.0)]), 2) is None


def simulated(rng: np.random.Generator, problems: int, samples: int, rate: float, alike: float) -> np.ndarray:
    """Beta-binomial samples [Q, n]; ``alike`` is the intraclass correlation."""
    spread = 1.0 / alike - 1.0
    chance = rng.beta(rate * spread, (1.0 - rate) * spread, (problems, 1))
    return (rng.random((problems, samples)) < chance).astype(float)


@pytest.mark.parametrize(
    ("problems", "samples", "rate", "alike"),
    [
        (5, 1, 0.3, 0.3),
        (10, 4, 0.3, 0.3),
        (10, 8, 0.5, 0.7),
        (30, 8, 0.1, 0.3),
        (64, 16, 0.9, 0.3),
        (100, 1, 0.05, 0.3),
    ],
)
def test_the_interval_of_pass_at_1_covers_the_truth(problems: int, samples: int, rate: float, alike: float) -> None:
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(1000):
        passed = simulated(rng, problems, samples, rate, alike)
        estimate = metrics.pass_at_1({str(q): [Verdict(s) for s in row] for q, row in enumerate(passed)})
        hits += estimate.low <= rate <= estimate.high
    assert 930 <= hits <= 980


@pytest.mark.parametrize("passed", [0.0, 1.0])
def test_the_interval_at_the_ends_counts_problems_not_samples(passed: float) -> None:
    estimate = metrics.pass_at_1(metrics.judged(evaluation(np.full((20, 64), passed))))
    assert estimate.value == passed
    assert estimate.high - estimate.low == pytest.approx(3.8415 / (20 + 3.8415), abs=1e-4), "Wilson with n = 20"


def test_more_samples_of_one_problem_do_not_make_a_benchmark() -> None:
    one = metrics.pass_at_1(metrics.judged(evaluation(np.tile([1.0, 0.0], (1, 500)))))
    assert one.high - one.low > 0.8


def test_paired_difference_worked_numbers() -> None:
    before = [*evaluation(np.array([[0, 0], [1, 0], [1, 1]])), rollout("only before", 1.0)]
    after = [*evaluation(np.array([[1, 0], [1, 1], [1, 1]])), rollout("only after", 0.0)]
    result = metrics.paired_difference(before, after)
    assert (result.problems, result.value) == (3, pytest.approx(1 / 3))
    # differences .5, .5, 0: sd .288675, standard error 1/6, t(.975, 2) = 4.302653, t(.8, 2) = 1.060660
    assert (result.low, result.high) == (pytest.approx(1 / 3 - 4.302653 / 6), pytest.approx(1.0))
    assert result.detectable == pytest.approx((4.302653 + 1.060660) / 6)


def test_paired_difference_without_spread_still_has_width() -> None:
    same = evaluation(np.zeros((50, 1)))
    result = metrics.paired_difference(same, same)
    assert result.value == 0.0
    assert result.high == -result.low == pytest.approx(1 - 0.05 ** (1 / 50))


def test_paired_difference_needs_common_problems() -> None:
    with pytest.raises(DataError, match="0 judged problems in common"):
        metrics.paired_difference([rollout("a", 1.0)], [rollout("b", 1.0)])


def test_paired_difference_false_alarms_and_power() -> None:
    rng = np.random.default_rng(2)
    alarms = found = 0
    for _ in range(1000):
        chance = rng.beta(0.4, 1.6, (20, 1))
        a, b, better = ((rng.random((20, 4)) < c).astype(float) for c in (chance, chance, np.minimum(1, chance + 0.2)))
        same = metrics.paired_difference(evaluation(a), evaluation(b))
        alarms += not same.low <= 0.0 <= same.high
        found += metrics.paired_difference(evaluation(a), evaluation(better)).low > 0.0
    assert alarms <= 60
    assert found >= 800


@pytest.mark.parametrize(
    ("freedom", "expected"), [(1, 12.7062), (2, 4.3027), (3, 3.1824), (4, 2.7764), (29, 2.0452), (100, 1.9840)]
)
def test_t_quantile_tables(freedom: int, expected: float) -> None:
    assert metrics.t_quantile(0.975, freedom) == pytest.approx(expected, abs=5e-5)
