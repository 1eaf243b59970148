"""Judging a program that reads its standard input and prints: one run per test."""

from __future__ import annotations

import re
from math import isfinite

from reckon.sandbox.limits import Limits
from reckon.sandbox.program import Program, Ran
from reckon.tasks.code.extract import Code
from reckon.tasks.code.gold import ProgramGold
from reckon.tasks.code.judging import ENDED, Judged, Reason, Steps, crashed, last_line

_NUMBER = re.compile(r"[-+]?(?:[0-9]{1,30}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})(?:[eE][-+]?[0-9]{1,3})?")
_SYNTAX = re.compile(r"(?:SyntaxError|IndentationError|TabError)\b")


def judge_program(gold: ProgramGold, code: Code, limits: Limits, *, every_test: bool) -> Steps[Judged]:
    """What becomes of an answer.

    Args:
        every_test: run all tests though the first has failed.
    """
    longest = max(len(output.encode()) for _, output in gold.tests)
    if longest > 1024 * limits.output_kb:
        return Judged("unusable tests", None, {"why": f"an output has {longest} bytes; raise sandbox.limits.output_kb"})
    programs = [Program(code.solution, stdin=given, limits=limits) for given, _ in gold.tests]
    ran = yield programs[:1]
    passed = [_passes(ran[0], gold, 0)]
    if (every_test or passed[0]) and len(programs) > 1 and ran[0].status != "failed to start":
        ran += yield programs[1:]
        passed = [_passes(one, gold, number) for number, one in enumerate(ran)]
    for one in ran:
        if one.status == "failed to start":
            return crashed(one)
    passes = "".join("01"[one] for one in passed).ljust(len(gold.tests), "-")
    seconds = sum(one.seconds for one in ran)
    denied = sorted({what for one in ran for what in one.denied})
    if all(passed):
        return Judged("correct", passes, {"denied": denied}, seconds)
    number = passed.index(False)
    last = last_line(ran[number].stderr)
    return Judged(
        _reason(ran[number]), passes, {"failed": f"test {1 + number}", "error": last, "denied": denied}, seconds
    )


def same_output(expected: str, printed: str, float_tolerance: float | None = None) -> bool:
    """Whether a program printed what it should: the same words in the same lines.

    Blanks at either end of a line, how many stand between two words, and empty lines at the end make no difference.

    Args:
        float_tolerance: two numbers are the same word if they differ by no more than this, relative to the expected one
            or, where that is below 1, absolutely. None: only if they are spelt alike.
    """
    wanted, got = _lines(expected), _lines(printed)
    return len(wanted) == len(got) and all(
        len(a) == len(b) and all(_same(*words, float_tolerance) for words in zip(a, b, strict=True))
        for a, b in zip(wanted, got, strict=True)
    )


def normal_output(printed: str) -> str:
    """Of all outputs that are the same one, this is equal for all (but for numbers within a tolerance)."""
    return "\n".join(" ".join(words) for words in _lines(printed))


def _lines(text: str) -> list[list[str]]:
    return [line.split() for line in text.rstrip().split("\n")]


def _same(wanted: str, got: str, tolerance: float | None) -> bool:
    if wanted == got:
        return True
    if tolerance is None or not (_NUMBER.fullmatch(wanted) and _NUMBER.fullmatch(got)):
        return False
    a, b = float(wanted), float(got)
    return isfinite(a) and abs(a - b) <= tolerance * max(1.0, abs(a))


def _passes(ran: Ran, gold: ProgramGold, number: int) -> bool:
    # Whatever it printed: one that crashes has not answered, least of all where nothing was to be printed.
    if ran.status != "exited" or ran.exit_code != 0:
        return False
    return same_output(gold.tests[number][1], ran.stdout, gold.float_tolerance)


def _reason(ran: Ran) -> Reason:
    if ran.status != "exited":
        return ENDED[ran.status]
    if ran.exit_code == 0:
        return "wrong"
    if "Traceback" not in ran.stderr and not _SYNTAX.search(ran.stderr):
        return "exited early"
    return "syntax error" if _SYNTAX.match(last_line(ran.stderr)) else "raised"
