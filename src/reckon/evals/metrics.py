"""What an evaluation says: pass@1, pass@k and cons@k with honest intervals, and paired comparisons. numpy only.

A sample *passes* when its verdict scores 1. Verdicts with an absent score are left out of every figure here
(the runner counts them). Every figure is a mean over problems, never over pooled samples: a problem asked
64 times says less about the next problem than 64 problems asked once.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from reckon.core.errors import DataError
from reckon.core.records import Rollout, Verdict

Floats = NDArray[np.float64]

Z95 = NormalDist().inv_cdf(0.975)

_DOUBT = 1.5
"""Pulls the estimated share of the variance between problems towards 1, with this weight; found by simulation."""

Judged = Mapping[str, Sequence[Verdict]]
"""The verdicts that carry a score, by problem id."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value and its 95% interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """How much the second of two evaluations passes more often than the first, on the problems of both.

    Attributes:
        value: mean difference in pass@1, with its 95% interval ``low`` to ``high``.
        problems: the number of problems in both.
        detectable: the smallest true difference that this comparison would call significant (5%, two-sided)
            four times out of five. 0 where every problem came out the same, which tells nothing of it.
    """

    value: float
    low: float
    high: float
    problems: int
    detectable: float


def judged(rollouts: Iterable[Rollout]) -> dict[str, list[Verdict]]:
    """Group the verdicts that carry a score by problem, problems in order of appearance."""
    groups: dict[str, list[Verdict]] = {}
    for rollout in rollouts:
        if rollout.verdict is not None and rollout.verdict.score is not None:
            groups.setdefault(rollout.problem.id, []).append(rollout.verdict)
    return groups


def passes(verdict: Verdict) -> bool:
    """Full marks. Partial credit shapes a reward, it does not solve a problem."""
    return verdict.score is not None and verdict.score >= 1.0


def pass_at_k(n: int, c: int, k: int) -> float:
    """Chance that k of n samples, c of them passing, drawn without replacement, contain one that passes.

    ``1 - C(n-c, k) / C(n, k)``, unbiased for the chance with k fresh samples (arXiv 2107.03374, eq. 1).
    """
    if not 0 <= c <= n or not 1 <= k <= n:
        raise ValueError(f"pass@k needs 0 <= c <= n and 1 <= k <= n, got n={n}, c={c}, k={k}")
    return 1.0 - math.prod(1.0 - k / i for i in range(n - c + 1, n + 1))


def mean_pass_at_k(groups: Judged, k: int) -> float | None:
    """pass@k averaged over the problems with at least k judged samples; None if there is none."""
    values = [pass_at_k(len(group), sum(map(passes, group)), k) for group in groups.values() if len(group) >= k]
    return float(np.mean(values)) if values else None


def pass_at_1(groups: Judged) -> Estimate:
    """pass@1 with the interval of :func:`clustered`.

    Raises:
        DataError: no sample was judged.
    """
    if not groups:
        raise DataError(
            "no sample has a score",
            why="A pass rate of nothing would read as zero",
            fix="Look at the verdicts' reasons in the samples file: the verifier failed on every response",
        )
    samples = np.array([len(group) for group in groups.values()], dtype=np.float64)
    return clustered(_pass_rates(groups), samples, trust=1.5)


def clustered(values: Floats, samples: Floats, *, weights: Floats | None = None, trust: float = 1.0) -> Estimate:
    """The mean of one value in [0, 1] per problem, with a 95% interval for new problems of the same kind.

    The interval is Wilson's with an effective number of samples, ``problems / share``. ``share`` is the share of
    the variance ``p (1 - p)`` that lies between problems: 1 when the samples of a problem all agree (each
    problem counts once), 1/n when they are as good as independent. It is estimated from the spread of the values, and
    can be trusted only as far as several problems show the rarer outcome, so it is pulled towards 1. At 0 or 1, where
    there is no spread to see, this leaves one sample per problem. docs/evaluation.md has the formulas, and how often
    the interval holds the truth in simulations.

    Args:
        values: [Q] pass rates, or whatever else the problems' samples come to: pass@k, the score of a vote...
        samples: [Q] how many samples each is made of.
        weights: [Q] how much each problem counts in the mean, positive; None: all the same.
        trust: the power of the number of problems with the rarer outcome that weighs their spread. Values of many
            samples pile up at one end and show less of their spread than pass rates, for which it is 1.5.
    """
    if weights is None:
        weights = np.ones_like(values)
    p = min(1.0, float(weights @ values / weights.sum()))
    return wilson(p, _participation(weights) / _between_share(values, samples, weights, p, trust))


def _between_share(values: Floats, samples: Floats, weights: Floats, p: float, trust: float) -> float:
    count = len(values)
    if count == 1 or values.max() == 0.0 or values.min() == 1.0:
        return 1.0
    squares = weights**2 / (weights**2).sum()
    spread = float(squares @ (values - p) ** 2) * count / (count - 1)
    share = min(1.0, max(float(squares @ (1.0 / samples)), spread / (p * (1.0 - p))))
    evidence: float = min(_participation(weights * values), _participation(weights * (1.0 - values))) ** trust
    return (evidence * share + _DOUBT) / (evidence + _DOUBT)


def _participation(weights: Floats) -> float:
    """How many entries carry the sum: 1 if a single one does, all of them if they are equal."""
    return float(weights.sum() ** 2 / (weights**2).sum())


def same_problems(rates: Floats, samples: Floats) -> Estimate | None:
    """The mean pass rate with a 95% interval for these very problems asked again: the noise of sampling alone.

    The variance is ``sum_q p_q (1 - p_q) / (n_q - 1) / Q^2``, unbiased within each problem. Where the samples of every
    problem agree, the interval allows for as many exceptions as could be missed 5% of the time. None if a problem was
    asked once, which says nothing of how often it would be solved.

    Args:
        rates: [Q] the share of a problem's samples that pass.
        samples: [Q] how many those are.
    """
    if samples.min() < 2:
        return None
    value = float(rates.mean())
    half = Z95 * math.sqrt(float((rates * (1.0 - rates) / (samples - 1.0)).sum())) / len(rates)
    if half == 0.0:
        unseen = 1.0 - 0.05 ** (1.0 / float(samples.sum()))
        return Estimate(value, value - unseen * value, value + unseen * (1.0 - value))
    return Estimate(value, max(0.0, value - half), min(1.0, value + half))


def _pass_rates(groups: Judged) -> Floats:
    return np.array([sum(map(passes, group)) / len(group) for group in groups.values()])


def wilson(p: float, n: float) -> Estimate:
    """Wilson's score interval (1927) of a proportion p of n samples; n need not be whole."""
    shrink = Z95**2 / n
    centre = (p + shrink / 2.0) / (1.0 + shrink)
    half = math.sqrt(shrink * (p * (1.0 - p) + shrink / 4.0)) / (1.0 + shrink)
    return Estimate(p, max(0.0, min(p, centre - half)), min(1.0, max(p, centre + half)))


def g_pass_at_k(n: int, c: int, k: int, tau: float) -> float:
    """Chance that at least ``ceil(tau k)`` of k samples pass, drawn without replacement from n of which c do.

    G-Pass@k (arXiv 2412.13147, eq. 4); with tau = 1 all k must, which is how a model is judged that is asked often.
    """
    if not 0 <= c <= n or not 1 <= k <= n or not 0.0 < tau <= 1.0:
        raise ValueError(f"G-Pass@k needs 0 <= c <= n, 1 <= k <= n and 0 < tau <= 1, got {n=}, {c=}, {k=}, {tau=}")
    # Binary fractions make tau * k a hair more than whole now and then.
    least = max(1, math.ceil(tau * k - 1e-9))
    ways = sum(math.comb(c, passing) * math.comb(n - c, k - passing) for passing in range(least, min(c, k) + 1))
    return ways / math.comb(n, k)


def mean_g_pass_at_k(n: int, c: int, k: int) -> float:
    """mG-Pass@k: G-Pass@k averaged over tau from 0.5 to 1, ``2 / k * sum_{i = ceil(k / 2) + 1}^{k} G-Pass@k_{i / k}``.

    arXiv 2412.13147, eq. 6. Of k = 1 there is nothing to average; it is the pass rate then.
    """
    if k == 1:
        return g_pass_at_k(n, c, 1, 1.0)
    passing = range(math.ceil(k / 2) + 1, k + 1)
    return 2.0 / k * sum(g_pass_at_k(n, c, k, i / k) for i in passing)


def cons_at_k(verdicts: Sequence[Verdict], k: int) -> float:
    """Expected score of a majority vote among k samples drawn from ``verdicts`` without replacement. Exact.

    Samples vote by ``extracted``. Those without an answer take a place in the draw but cast no vote. A tie is
    broken at random, so each of m tied answers counts 1/m. A draw without any vote scores 0. The winning answer
    is worth the share of its samples that pass.
    """
    if not 1 <= k <= len(verdicts):
        raise ValueError(f"cons@k needs 1 <= k <= {len(verdicts)} samples, got {k}")
    votes = Counter(verdict.extracted for verdict in verdicts if verdict.extracted is not None)
    right = Counter(verdict.extracted for verdict in verdicts if passes(verdict) and verdict.extracted is not None)
    counts = tuple(sorted(votes.values()))
    worth = sum(
        passed / votes[answer] * _win_chance(votes[answer], counts, len(verdicts), k)
        for answer, passed in right.items()
    )
    # What rounding errors leave of a certain vote would pass for a spread between problems.
    return round(worth, 10)


def mean_cons_at_k(groups: Judged, k: int) -> float | None:
    """cons@k averaged over the problems with at least k judged samples.

    None if there is no such problem, or if a passing verdict does not say what was extracted: the task then
    does not tell answers apart, and a vote would count right samples as silent.
    """
    if any(passes(verdict) and verdict.extracted is None for group in groups.values() for verdict in group):
        return None
    values = [cons_at_k(group, k) for group in groups.values() if len(group) >= k]
    return float(np.mean(values)) if values else None


@lru_cache(maxsize=4096)
def _win_chance(count: int, counts: tuple[int, ...], n: int, k: int) -> float:
    """Chance that an answer given ``count`` times wins the vote of k of n samples, ties shared evenly.

    ``counts`` are the votes of every answer, this one included. Drawing k of n is keeping each sample by a coin
    of any bias, given that k were kept; under the coins the answers' votes are independent binomials, and the
    chance of a total is a coefficient of the product of their generating functions. Of two answers that tie with m
    rivals one wins with chance 1/(m+1), which is the integral of y^m over [0, 1]: each rival's term at the tie is
    marked by y, and a Gauss-Legendre rule integrates the polynomial in y exactly. The coefficient is read off the
    values at the roots of unity, for all numbers of votes ``top`` that may win and all nodes of the rule at once.

    Legend: U roots of unity in the upper half plane, P pairs of a top and a node.
    """
    bias = (k + 0.5) / (n + 1.0)
    rivals = Counter(counts)
    rivals[count] -= 1
    rest = n - count
    pairs = [
        (top, y, weight)
        for top in range(max(1, k - rest), min(count, k) + 1)
        for y, weight in _unit_quadrature(_most_ties(rivals, top, k) // 2 + 1)
    ]
    top_P, y_P, weight_P = (np.array(column) for column in zip(*pairs, strict=True))
    # An odd number of points, more than the degree: all but the first stand for a conjugate too.
    points = rest + 1 | 1
    turns_U = np.arange(points // 2 + 1)
    root_UJ = np.exp(2j * np.pi / points * np.outer(turns_U, np.arange(max(counts) + 1)))
    value_UP = np.exp(-2j * np.pi / points * np.outer(turns_U, k - top_P)) * _binomial(count, bias)[top_P] * weight_P
    value_UP[1:] *= 2.0
    value_UP *= ((1.0 - bias + bias * root_UJ[:, 1]) ** (n - sum(counts)))[:, None]
    for votes, answers in rivals.items():
        term_UJ = _binomial(votes, bias) * root_UJ[:, : votes + 1]
        fewer_UP = term_UJ.cumsum(axis=1)[:, np.minimum(top_P - 1, votes)]
        tied_UP = term_UJ[:, np.minimum(top_P, votes)] * np.where(top_P <= votes, y_P, 0.0)
        value_UP *= (fewer_UP + tied_UP) ** answers
    return float(value_UP.real.sum() / points / _binomial(n, bias)[k])


def _most_ties(rivals: Mapping[int, int], top: int, k: int) -> int:
    """How many rivals can have ``top`` votes of k each, beside the answer that has as many."""
    return min(sum(answers for votes, answers in rivals.items() if votes >= top), (k - top) // top)


@lru_cache(maxsize=4096)
def _binomial(n: int, p: float) -> Floats:
    """Chances of 0..n successes in n trials of probability p, 0 < p < 1."""
    logs = [
        math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) + i * math.log(p) + (n - i) * math.log1p(-p)
        for i in range(n + 1)
    ]
    return np.exp(np.array(logs, dtype=np.float64))


@lru_cache(maxsize=64)
def _unit_quadrature(points: int) -> list[tuple[float, float]]:
    """Nodes and weights on [0, 1] that integrate polynomials up to degree ``2 * points - 1`` exactly."""
    nodes, weights = np.polynomial.legendre.leggauss(points)
    return [((float(x) + 1.0) / 2.0, float(w) / 2.0) for x, w in zip(nodes, weights, strict=True)]


def paired_difference(before: Iterable[Rollout], after: Iterable[Rollout]) -> PairedDifference:
    """How much more often ``after`` passes than ``before``, problem by problem, with a 95% t-interval.

    Pairing removes the spread between easy and hard problems, which is most of the uncertainty of either value.
    When all differences are equal there is no spread to estimate; the interval then allows for as many
    unseen exceptions as could be missed 5% of the time (the rule of three).

    Raises:
        DataError: the two evaluations have no judged problem, or only one, in common.
    """
    first, second = judged(before), judged(after)
    common = [problem for problem in first if problem in second]
    if len(common) < 2:
        raise DataError(
            f"the two evaluations have {len(common)} judged problems in common",
            why="A paired difference needs at least two",
            fix="Evaluate both models on the same task, split and problems",
        )
    before_rates, after_rates = (_pass_rates({key: groups[key] for key in common}) for groups in (first, second))
    return paired(after_rates - before_rates)


def paired(differences: Floats) -> PairedDifference:
    """The mean of one difference per problem, two problems or more; see :func:`paired_difference`."""
    value, count = float(differences.mean()), len(differences)
    error = float(differences.std(ddof=1)) / math.sqrt(count)
    critical = t_quantile(0.975, count - 1)
    low, high = value - critical * error, value + critical * error
    if np.ptp(differences) == 0.0:
        unseen = 1.0 - 0.05 ** (1.0 / count)
        low, high = value - unseen * (1.0 + value), value + unseen * (1.0 - value)
    detectable = (critical + t_quantile(0.8, count - 1)) * error
    return PairedDifference(value, max(-1.0, low), min(1.0, high), count, detectable)


@lru_cache(maxsize=256)
def t_quantile(probability: float, freedom: int) -> float:
    """Quantile of Student's t with a whole number of degrees of freedom, 0.5 <= probability < 1, by bisection."""
    low, high = 0.0, 1.0
    while t_cdf(high, freedom) < probability:
        low, high = high, 2.0 * high
    for _ in range(60):
        middle = (low + high) / 2.0
        low, high = (middle, high) if t_cdf(middle, freedom) < probability else (low, middle)
    return (low + high) / 2.0


def t_cdf(t: float, freedom: int) -> float:
    """P(T <= t) for t >= 0, closed form for whole degrees of freedom (Abramowitz and Stegun 26.7.3, 26.7.4)."""
    angle = math.atan(t / math.sqrt(freedom))
    odd = freedom % 2
    j = np.arange(1, (freedom - 2) // 2 + 1)
    series = 1.0 + float(np.cumprod(math.cos(angle) ** 2 * (2 * j - 1 + odd) / (2 * j + odd)).sum())
    if not odd:
        return 0.5 + math.sin(angle) * series / 2.0
    if freedom == 1:
        return 0.5 + angle / math.pi
    return 0.5 + (angle + math.sin(angle) * math.cos(angle) * series) / math.pi
