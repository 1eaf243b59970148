"""The symbolic back end: what the workers of the shared pool run.

An elementary answer is decided by :mod:`~reckon.tasks.math.numeric`. What our grammar cannot write (integrals, limits,
cases) is left to Math-Verify, whose word is then checked: it rounds to six decimals, keeps only the right side of an
equation, and does integrals for the model.
"""

from __future__ import annotations

import logging
import re
from typing import Any

import math_verify  # here and not where it is used: the import would be on the clock of a worker's first job
from sympy import Basic, MatrixBase  # type: ignore[import-untyped]
from sympy.core.relational import Relational  # type: ignore[import-untyped]
from sympy.logic.boolalg import Boolean  # type: ignore[import-untyped]

from reckon.tasks.math.kinds import judge, says_words
from reckon.tasks.math.numeric import numerically_equal
from reckon.tasks.math.values import Undecided

_WORK = re.compile(
    r"\\(?:int|iint|iiint|oint|sum|prod|lim|limsup|liminf|max|min|sup|inf|gcd|det|arg|sin|cos|tan|cot|sec|csc|arcsin|arccos"
    r"|arctan|bigcup|bigcap)(?![a-zA-Z])|\\(?:operatorname|text|mathrm)\s*\{\s*(?:max|min|gcd|lcm|det|tr|rank)\s*\}"
)
_NOT_A_VALUE = re.compile(r"!|\^\s*\{?[^{}]*\^|\d{16}")


def compare(argument: dict[str, str]) -> dict[str, str]:
    """Judge one answer.

    Args:
        argument: ``gold`` and ``answer`` (canonical), ``raw_gold`` and ``raw_answer`` (as they stood), and ``kind``.

    Returns:
        ``reason``, as in a verdict, and ``by``: which layer decided.
    """
    try:
        judged = judge(argument["gold"], argument["answer"], argument["kind"], numerically_equal)
        if judged.reason != "unparsable gold":
            return {"reason": judged.reason, "by": "numeric" if judged.by == "exact" else judged.by}
    except Undecided:
        if not _WORK.search(argument["raw_gold"]):  # what the answer alone has beyond our reach does not make it right
            return {"reason": "wrong", "by": "undecided"}
    return {"reason": _math_verify(argument["raw_gold"], argument["raw_answer"]), "by": "math-verify"}


def _math_verify(gold: str, answer: str) -> str:
    """Math-Verify's word on two expressions, where it can be relied on."""
    logging.disable(logging.CRITICAL)
    if {match.group() for match in _WORK.finditer(answer)} - {match.group() for match in _WORK.finditer(gold)}:
        return "wrong"
    gold, answer = (text.strip(" $") for text in (gold, answer))
    if says_words(answer):  # it would drop them
        return "unparsable answer"
    if _NOT_A_VALUE.search(answer) and not _NOT_A_VALUE.search(gold):
        return "unparsable answer"
    config = [math_verify.LatexExtractionConfig(boxed_match_priority=0)]
    # Their timeouts are signals, which a worker's main thread only would get; the pool has a deadline of its own.
    parsed = [
        math_verify.parse(rf"\boxed{{{text}}}", config, fallback_mode="no_fallback", parsing_timeout=None)
        for text in (gold, answer)
    ]
    if not parsed[0] or not isinstance(parsed[0][0], Basic | MatrixBase):
        return "unparsable gold"
    if not parsed[1] or not isinstance(parsed[1][0], Basic | MatrixBase):
        return "unparsable answer"
    first, second = parsed[0][0], parsed[1][0]
    relations = [isinstance(value, Relational | Boolean) for value in (first, second)]
    if relations[0] != relations[1]:
        return "wrong"
    if not math_verify.verify(first, second, timeout_seconds=None):
        return "wrong"
    return "correct" if relations[0] or _close(first, second) else "wrong"


def _close(first: Any, second: Any) -> bool:
    """Whether two values that Math-Verify holds equal are so relatively, not just to six decimals."""
    try:
        values = [complex(value.evalf(30)) for value in (first, second)]
    except (TypeError, ValueError, AttributeError, OverflowError):
        return True  # no numbers
    return abs(values[0] - values[1]) <= 1e-9 * max(map(abs, values))
