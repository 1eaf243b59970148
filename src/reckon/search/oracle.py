"""Countdown's perfect process reward: is the target still within reach of what a trace has settled?

It works out what the model is asked to, so nothing is won by it: it bounds what a process reward model could be worth,
and tests that a search finds what there is.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import lru_cache
from itertools import combinations
from typing import Any

from reckon.core.errors import ConfigError
from reckon.core.records import Problem
from reckon.models.template import response_text
from reckon.search.base import Path
from reckon.tasks.answer import split
from reckon.tasks.countdown import CountdownTask
from reckon.tasks.expression import NotArithmetic, evaluate

Numbers = tuple[Fraction, ...]

_EQUATION = re.compile(r"(\d+)\s*([-+*/])\s*(\d+)\s*=\s*(\d+)", re.ASCII)
_WORD = re.compile(r"[^\W\d_]")


class CountdownOracle:
    """1 where the target can still be made, 0 where it cannot.

    A trace is a list of equations, each of two numbers that are there and are replaced by their result. One that does
    not go on with the attempt before it begins a new attempt from the given numbers, and so do words. One that is
    wrong, or about numbers that are not given either, spoils its attempt. When the thinking has ended the last attempt
    stands; of a whole response only the verdict counts.

    Args:
        tokenizer: of the model that writes the traces.

    Raises:
        ConfigError: a problem is not one of Countdown's.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokens = 0
        self._tokenizer = tokenizer
        self._task = CountdownTask()

    def score(self, paths: Sequence[Path]) -> list[list[float]]:
        return [[self._score(path, end) for end in path.ends] for path in paths]

    def _score(self, path: Path, end: int) -> float:
        nums, target = _countdown(path.problem)
        if path.finished and end == len(path.token_ids):
            return float(self._task.verify(path.problem, path.text).score == 1)
        return float(reachable(standing(response_text(list(path.token_ids[:end]), self._tokenizer), nums), target))


def standing(response: str, nums: Sequence[int]) -> Numbers:
    """The numbers that the last attempt of a trace has left, in ascending order; none if it is spoilt."""
    given = left = tuple(sorted(map(Fraction, nums)))
    trace, closed = split(response)
    after = 0
    for equation in _EQUATION.finditer(trace):
        going_on = () if _WORD.search(trace, after, equation.start()) else _settled(left, equation)
        left = going_on or _settled(given, equation)
        after = equation.end()
    return given if closed is None and _WORD.search(trace, after) else left


@lru_cache(maxsize=1 << 16)
def reachable(numbers: Numbers, target: int) -> bool:
    """Whether ``+ - * /`` can make the target from all of these numbers, each used once. Exact, and exhaustive."""
    if len(numbers) < 2:
        return numbers == (Fraction(target),)
    for pair in combinations(numbers, 2):
        rest = _without(numbers, pair)
        if any(reachable(tuple(sorted((*rest, value))), target) for value in _made(*pair)):
            return True
    return False


def _countdown(problem: Problem) -> tuple[list[int], int]:
    try:
        return problem.gold["nums"], problem.gold["target"]
    except (TypeError, KeyError) as error:
        raise ConfigError(
            f"the oracle knows Countdown alone, and {problem.id} is no problem of it",
            where="scorer",
            fix="Use another scorer",
        ) from error


def _made(low: Fraction, high: Fraction) -> Iterator[Fraction]:
    yield from (low + high, low - high, high - low, low * high)
    if high:
        yield low / high
    if low:
        yield high / low


def _settled(numbers: Numbers, equation: re.Match[str]) -> Numbers:
    """The numbers after an equation; none if it is wrong or about others."""
    a, sign, b, result = equation.groups()
    pair = Fraction(a), Fraction(b)
    try:
        right = evaluate(f"{a} {sign} {b}").value == int(result)
    except NotArithmetic:
        right = False
    if not right or Counter(pair) - Counter(numbers):
        return ()
    return tuple(sorted((*_without(numbers, pair), Fraction(result))))


def _without(numbers: Numbers, pair: tuple[Fraction, Fraction]) -> list[Fraction]:
    return list((Counter(numbers) - Counter(pair)).elements())
