"""Statistics over training seeds: what another run of the same recipe would give. Few seeds make wide intervals.

The seeds of two methods are pairs: a seed fixes the order of the problems and the samples of the first evaluation, so
that what it adds to both cancels in their difference.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reckon.evals.metrics import t_cdf, t_quantile


@dataclass(frozen=True, slots=True)
class SeedMean:
    """A mean over seeds with its 95% t-interval; both ends are None where there is no spread to estimate."""

    value: float
    low: float | None
    high: float | None


def over_seeds(values: Sequence[float]) -> SeedMean:
    """``mean +- t(0.975, n - 1) * sd / sqrt(n)`` of one value per seed, sd with ddof 1.

    One seed, or seeds that all agree, show no spread: the interval is absent then, not zero.
    """
    mean = float(np.mean(values))
    error = _standard_error(values)
    if error == 0.0:
        return SeedMean(mean, None, None)
    half = t_quantile(0.975, len(values) - 1) * error
    return SeedMean(mean, mean - half, mean + half)


def p_value(differences: Sequence[float]) -> float | None:
    """Two-sided p of Student's t-test that the mean of one difference per seed is zero; None without any spread."""
    error = _standard_error(differences)
    if error == 0.0:
        return None
    return 2.0 * (1.0 - t_cdf(abs(float(np.mean(differences))) / error, len(differences) - 1))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down adjustment (1979) of one family of tests, in the order given; tests without a p count too.

    Calling those below 0.05 significant is wrong about any of them at most 5% of the time.
    """
    adjusted: list[float | None] = [None] * len(p_values)
    known = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    least = 0.0
    for rank, (p, index) in enumerate(known):
        least = max(least, min(1.0, (len(p_values) - rank) * p))
        adjusted[index] = least
    return adjusted


def _standard_error(values: Sequence[float]) -> float:
    """Of the mean; 0 for a single value, and where all are equal."""
    if np.ptp(values) == 0.0:
        return 0.0
    return float(np.std(values, ddof=1)) / math.sqrt(len(values))
