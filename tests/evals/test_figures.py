"""Figures of one generation: denominators, votes of equal answers, and by simulation what their intervals promise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from reckon.core.errors import DataError
from reckon.core.records import Problem, Rollout, Verdict
from reckon.evals import metrics
from reckon.evals.figures import figures, labelled, merged
from reckon.tasks.base import Task
from reckon.tasks.math import MathTask


def sample(
    problem: str, number: int, score: float | None, answer: str | None = "A", tokens: int = 10, **parts: float
) -> Rollout:
    return Rollout(
        task="toy",
        problem=Problem(problem, "?", None),
        sample=number,
        prompt="",
        prompt_ids=[],
        response="x",
        response_ids=[],
        logp=[],
        finish="length" if tokens == 99 else "stop",
        seed=0,
        verdict=Verdict(score, extracted=answer),
        parts=parts,
        usage={"response": tokens} if tokens else {},
    )


def many(rows: Sequence[Sequence[float | None]]) -> list[Rollout]:
    answers = {1.0: "right", 0.0: "wrong", None: None}
    return [sample(f"p{q}", i, s, answers[s]) for q, row in enumerate(rows) for i, s in enumerate(row)]


def test_every_figure_says_how_many_problems_are_behind_it() -> None:
    found = figures(many([[1, 1, 0, 0], [1, 0, None, None], [None] * 4]))
    assert {name: figure.problems for name, figure in found.items() if name.startswith("pass@")} == {
        "pass@1": 2,
        "pass@2": 2,
        "pass@4": 1,
    }
    assert found["pass@1"].value == 0.5, "a missing sample is neither wrong nor weighs the others up"
    assert found["pass@4"].value == 1.0
    assert found["pass@2"].value == pytest.approx((5 / 6 + 1) / 2)


def test_no_draw_larger_than_the_samples_scores_anything() -> None:
    names = figures(many([[1, 0, 0], [0, 0, 0]]))
    assert [name for name in names if name.startswith("pass@")] == ["pass@1", "pass@2", "pass@3"]


def test_g_pass_and_its_mean_by_hand() -> None:
    found = figures(many([[1, 1, 1, 0]]))
    assert found["g-pass@2 of 0.5"].value == 1.0, "one of two, and three of four pass"
    assert found["g-pass@2 of 1"].value == pytest.approx(0.5), "both of two: C(3, 2) / C(4, 2)"
    assert found["g-pass@4 of 0.75"].value == 1.0
    assert found["g-pass@4 of 1"].value == 0.0
    assert found["mg-pass@4"].value == pytest.approx(2 / 4 * (1.0 + 0.0)), "i = 3 and 4"


def test_g_pass_with_tau_of_one_kth_is_pass_at_k() -> None:
    for n, c, k in ((8, 3, 4), (10, 1, 5), (6, 6, 2)):
        assert metrics.g_pass_at_k(n, c, k, 1 / k) == pytest.approx(metrics.pass_at_k(n, c, k))
    with pytest.raises(ValueError, match="tau"):
        metrics.g_pass_at_k(4, 1, 2, 0.0)


def test_choices_by_score_are_over_problems_all_of_whose_samples_have_one() -> None:
    rollouts = [sample("a", i, float(i == 1), "AB"[i], rm=float(i)) for i in range(2)]
    rollouts += [sample("b", 0, 0.0, rm=9.0), sample("b", 1, 1.0)]
    found = figures(rollouts)
    assert (found["best@2 by rm"].value, found["best@2 by rm"].problems) == (1.0, 1)
    assert (found["vote@2 by rm"].value, found["vote@2 by rm"].problems) == (1.0, 1)
    assert found["best@2 by brevity"].problems == 2


def test_what_a_task_counts_itself_is_weighed_by_how_much_there_is_to_do() -> None:
    def counted(problem: str, number: int, *done: bool) -> Rollout:
        one = sample(problem, number, float(all(done)))
        return replace(one, verdict=Verdict(float(all(done)), detail={"figures": {"parts": list(done), "none": []}}))

    rollouts = [counted("a", 0, True, False, True), counted("a", 1, True, True, True), counted("b", 0, False)]
    found = figures([*rollouts, sample("c", 0, 1.0), replace(counted("d", 0, True), verdict=Verdict(None))])
    # a: 5 of 6, and three to do for each response; b: 0 of 1.
    assert found["parts"].value == pytest.approx((3 * 5 / 6 + 1 * 0) / 4)
    assert found["parts"].problems == 2, "c says nothing of parts, and d was not judged"
    assert "none" not in found
    label = [replace(rollout, parts={"label": 1.0}) for rollout in rollouts]
    assert "parts" not in figures(labelled(label)), "who published the verdicts did not count them"


@pytest.mark.parametrize("own", [[True], {"parts": True}, {"parts": [0.5]}])
def test_what_a_task_counts_itself_is_lists_of_yes_and_no(own: object) -> None:
    wrong = replace(sample("a", 7, 1.0), verdict=Verdict(1.0, detail={"figures": own}))
    with pytest.raises(DataError, match="problem a, sample 7"):
        figures([wrong])


def test_a_failed_request_does_not_change_what_is_chosen_by() -> None:
    rollouts = [sample("a", 0, 1.0, tokens=3), replace(sample("a", 1, 0.0, tokens=9), response="")]
    failed = replace(sample("a", 2, None, tokens=0), finish="error", response="")
    assert figures(rollouts)["best@2 by brevity"].value == 1.0
    assert figures([*rollouts, failed])["best@2 by brevity"].value == 1.0, "still by tokens"


def test_no_votes_where_the_task_does_not_extract() -> None:
    found = figures([sample("a", 0, 1.0, None), sample("a", 1, 0.0, None)])
    assert not [name for name in found if name.startswith(("cons", "vote"))]


def test_truncation_and_tokens_are_of_all_responses_judged_or_not() -> None:
    rollouts = [sample("a", 0, 1.0, tokens=10), sample("a", 1, None, tokens=99), sample("b", 0, 0.0, tokens=20)]
    found = figures(rollouts)
    assert (found["tokens"].value, found["tokens"].problems) == (pytest.approx((54.5 + 20) / 2), 2)
    assert found["truncated"].value == pytest.approx(0.25)
    assert figures([sample("a", 0, 1.0, tokens=10)])["tokens"].low is None
    assert figures([sample(name, 0, 1.0, tokens=10) for name in "ab"])["tokens"].low is None, "no spread"
    assert "tokens" not in figures([sample("a", 0, 1.0, tokens=0)]), "nobody counted"


def test_nothing_judged_is_an_error() -> None:
    with pytest.raises(DataError, match="not one of 2 samples has a score"):
        figures(many([[None, None]]))


def test_published_verdicts_take_the_place_of_ours_and_answers_stay() -> None:
    rollouts = [sample("a", 0, 1.0, "7", label=0.0), sample("a", 1, 1.0, "7")]
    (only,) = labelled(rollouts)
    assert only.verdict == Verdict(0.0, extracted="7")
    assert rollouts[0].verdict == Verdict(1.0, extracted="7")


def test_equal_answers_vote_together() -> None:
    # Votes count what was extracted, never the texts (where every one is different), and equal forms are one.
    math = MathTask(MathTask.Config())
    written = ["\\frac{1}{2}", "0.5", "3", "3"]
    rollouts = [sample("a", i, float(i < 2), answer) for i, answer in enumerate(written)]
    rollouts = [replace(rollout, problem=Problem("a", "?", "1/2")) for rollout in rollouts]
    assert figures(rollouts)["cons@4"].value == 0.0
    alike = merged(rollouts, math)
    assert [r.verdict and r.verdict.extracted for r in alike] == [written[0], written[0], "3", "3"]
    assert figures(alike)["cons@4"].value == pytest.approx(0.5)


def test_a_task_without_an_equivalence_of_its_own_compares_texts() -> None:
    class Plain(Task):
        kind = "plain"

        def problems(self, split: str) -> Sequence[Problem]:
            return []

        def verify(self, problem: Problem, response: str) -> Verdict:
            return Verdict(0.0)

    rollouts = [sample("a", 0, 1.0, "0.5"), sample("a", 1, 0.0, "1/2"), sample("a", 2, 0.0, None)]
    assert merged(rollouts, Plain()) == rollouts


# ---------------------------------------------------------------------------------------------- by simulation

REPEATS = 1000
LEVELS = ((0.5, 0.5), (0.6, 2.4), (2.0, 1.0))
"""Beta distributions of the problems' pass rates: half hopeless or sure, hard, and easy."""


@pytest.mark.parametrize("k", [1, 4, 8])
@pytest.mark.parametrize("level", LEVELS)
def test_pass_at_k_is_unbiased_and_its_interval_holds_for_new_problems(k: int, level: tuple[float, float]) -> None:
    problems, n = 100, 16
    rng = np.random.default_rng(k)
    a, b = level
    # E[1 - (1 - p)^k] for p ~ Beta(a, b).
    truth = 1.0 - float(np.prod([(b + i) / (a + b + i) for i in range(k)]))
    table = np.array([metrics.pass_at_k(n, c, k) for c in range(n + 1)])
    values = table[rng.binomial(n, rng.beta(a, b, (REPEATS, problems)))]
    bias, error = float(values.mean()) - truth, float(values.std()) / (REPEATS * problems) ** 0.5
    assert abs(bias) < 4 * error
    trust = 1.5 if k == 1 else 1.0
    found = [metrics.clustered(row, np.full(problems, float(n)), trust=trust) for row in values]
    assert 0.93 <= np.mean([one.low <= truth <= one.high for one in found]) <= 0.97


@pytest.mark.parametrize(("problems", "a", "b", "n"), [(30, 0.2, 0.01, 64), (50, 1.0, 0.05, 64), (30, 20.0, 20.0, 16)])
def test_the_interval_of_pass_at_1_where_little_is_to_be_seen(problems: int, a: float, b: float, n: int) -> None:
    """Two problems in the set that ever fail, and problems that are nearly all alike."""
    rng = np.random.default_rng(problems + n)
    rates = rng.binomial(n, rng.beta(a, b, (REPEATS, problems))) / n
    found = [metrics.clustered(row, np.full(problems, float(n)), trust=1.5) for row in rates]
    assert 0.93 <= np.mean([one.low <= a / (a + b) <= one.high for one in found]) <= 0.975


@pytest.mark.parametrize(("problems", "a", "b"), [(30, 1.0, 1.0), (100, 3.0, 1.0), (540, 4.0, 1.0)])
@pytest.mark.parametrize("n", [1, 4])
def test_the_interval_of_a_share_of_unequal_problems(problems: int, a: float, b: float, n: int) -> None:
    """Instructions: 1 to 4 to a problem, more likely followed the more of them there are."""
    rng = np.random.default_rng(problems + n)
    truth = sum(m * a / (a + b / m) for m in range(1, 5)) / 10
    hits = 0
    for _ in range(REPEATS):
        asked = rng.integers(1, 5, problems)
        done = rng.binomial(asked * n, rng.beta(a, b / asked)) / (asked * n)
        one = metrics.clustered(done, asked.astype(float) * n, weights=asked.astype(float), trust=1.5)
        hits += one.low <= truth <= one.high
    assert 930 <= hits <= 970


def test_equal_weights_change_nothing() -> None:
    values, samples = np.array([0.0, 0.25, 1.0, 0.5]), np.array([4.0, 4.0, 2.0, 8.0])
    plain = metrics.clustered(values, samples)
    assert metrics.clustered(values, samples, weights=np.full(4, 3.0)) == plain


@pytest.mark.parametrize("all_of_them", [0.0, 1.0])
def test_unequal_weights_at_the_ends_leave_one_sample_per_problem_at_most(all_of_them: float) -> None:
    weights = np.array([0.1, 0.7, 1 / 3, 2.9, 1.3, 0.2, 0.6])
    found = metrics.clustered(np.full(7, all_of_them), np.full(7, 64.0), weights=weights)
    effective = weights.sum() ** 2 / (weights**2).sum()
    assert found.value == all_of_them
    assert found.high - found.low == pytest.approx(3.8415 / (effective + 3.8415), abs=1e-4)


@pytest.mark.parametrize("n", [2, 8, 64])
def test_the_interval_for_the_same_problems_holds_their_known_rates(n: int) -> None:
    rng = np.random.default_rng(n)
    rates = rng.beta(0.6, 0.6, 100)
    passed = rng.binomial(n, rates, (REPEATS, 100)) / n
    found = [metrics.same_problems(row, np.full(100, float(n))) for row in passed]
    assert 0.93 <= np.mean([one.low <= rates.mean() <= one.high for one in found if one]) <= 0.97


def test_the_same_problems_need_two_samples_and_unanimity_leaves_a_doubt() -> None:
    assert metrics.same_problems(np.array([1.0, 0.0]), np.array([1.0, 1.0])) is None
    sure = metrics.same_problems(np.ones(10), np.full(10, 8.0))
    assert sure is not None
    assert (sure.low, sure.high) == (pytest.approx(0.05 ** (1 / 80)), 1.0)


def test_a_fixed_benchmark_tells_less_of_new_problems() -> None:
    rng = np.random.default_rng(3)
    rows = (rng.random((30, 64)) < rng.beta(0.4, 0.4, (30, 1))).astype(float)
    figure = figures(many(rows.tolist()))["pass@1"]
    assert figure.low is not None
    assert figure.high is not None
    assert figure.same_low is not None
    assert figure.same_high is not None
    assert figure.high - figure.low > 4 * (figure.same_high - figure.same_low)


@pytest.mark.parametrize(("problems", "n"), [(30, 4), (100, 8)])
def test_the_paired_comparison_of_equal_models_is_rarely_significant(problems: int, n: int) -> None:
    rng = np.random.default_rng(n)
    rates = rng.beta(0.5, 0.5, (REPEATS, problems))
    found = map(metrics.paired, (rng.binomial(n, rates) - rng.binomial(n, rates)) / n)
    alarms = np.mean([not one.low <= 0.0 <= one.high for one in found])
    # 5%, and what 1,000 repeats may show of it 99 times out of 100.
    assert alarms <= 0.05 + 2.33 * (0.05 * 0.95 / REPEATS) ** 0.5


def test_the_paired_comparison_finds_what_it_says_it_could() -> None:
    rng = np.random.default_rng(5)
    gain, n = 0.1, 8
    rates = rng.beta(2.0, 2.0, (REPEATS, 100)) * (1.0 - gain)
    found = [metrics.paired(row) for row in (rng.binomial(n, rates + gain) - rng.binomial(n, rates)) / n]
    power = np.mean([one.low > 0.0 for one in found])
    assert np.mean([one.detectable for one in found]) <= gain
    assert power >= 0.8
