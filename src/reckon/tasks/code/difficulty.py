"""MiMo's test-difficulty-driven reward (arXiv 2505.07608, sec. 3): hard tests pay more than easy ones.

MiMo sorts the tests of a problem by how many sampled solutions pass each, groups them, and gives each group a score.
The paper leaves open how the groups are cut and what they score; both are settings here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

Scheme = Literal["strict", "soft"]


def difficulty_reward(passed: Sequence[bool], levels: Sequence[int], scores: Sequence[float], scheme: Scheme) -> float:
    """The reward of an answer, in [0, 1].

    ``strict``: a level's score is paid if all tests of it, and of every easier level, pass. ``soft``: a level's score
    is shared evenly among its tests, and paid for each that passes. Either way the sum is divided by that of all levels
    that have tests. Under ``soft`` a program that always prints the same earns what the tests it happens to pass are
    worth.

    Args:
        levels: of each test, from 0, the easiest.
        scores: of each level.
    """
    tests: dict[int, list[bool]] = {level: [] for level in sorted(set(levels))}
    for level, one in zip(levels, passed, strict=True):
        tests[level].append(one)
    earned = 0.0
    for level, results in tests.items():
        if scheme == "strict" and not all(results):
            break
        earned += scores[level] * sum(results) / len(results)
    return earned / sum(scores[level] for level in tests)


def levels_of(pass_rates: Sequence[float], levels: int) -> list[int]:
    """The level of each test, from 0, the easiest: the different pass rates are shared out evenly, in their order."""
    places = {rate: place for place, rate in enumerate(sorted(set(pass_rates), reverse=True))}
    return [levels * places[rate] // len(places) for rate in pass_rates]


def pass_rates(passes: Iterable[str]) -> list[float]:
    """Of each test, the share of solutions that pass it: what ``levels_of`` is given.

    Args:
        passes: of each solution, the verdict's ``passes``, of verdicts with every test run (``score: fraction``).

    Raises:
        ValueError: there are none, they are of different lengths, or a test was not run.
    """
    rows = list(passes)
    if not rows or any(set(row) - {"0", "1"} for row in rows):
        raise ValueError("pass rates need solutions, and every test of each run: sample them with score: fraction")
    return [column.count("1") / len(rows) for column in map("".join, zip(*rows, strict=True))]
