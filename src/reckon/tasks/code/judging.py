"""Judging many answers at once: each judgement says which programs it needs run next, and all are run side by side."""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from reckon.sandbox.program import Program, Ran, Sandbox, Status

Result = TypeVar("Result")
Steps = Generator[list[Program], list[Ran], Result]
"""Yields programs to run, is sent what became of them, and returns its result."""

Reason = Literal[
    "correct",
    "wrong",
    "no answer",
    "too long",
    "syntax error",
    "raised",
    "exited early",
    "timed out",
    "killed",
    "too much output",
    "unusable tests",
    "crashed",
]

ENDED: dict[Status, Reason] = {
    "exited": "exited early",
    "timed out": "timed out",
    "killed": "killed",
    "too much output": "too much output",
    "failed to start": "crashed",
}
"""What to say of a program that did not give its answers."""

_ADDRESS = re.compile(r"0x[0-9a-fA-F]+")


@dataclass(frozen=True)
class Judged:
    """What became of an answer.

    Attributes:
        passes: of each test ``1`` (passed), ``0`` (failed) or ``-`` (not run, because another had failed); None if the
            answer could not be judged.
        facts: more for the verdict's detail, where empty ones are left out.
        seconds: how long its programs ran, together.
    """

    reason: Reason
    passes: str | None
    facts: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


def crashed(ran: Ran) -> Judged:
    """The sandbox failed, which says nothing of the answer."""
    return Judged("crashed", None, {"why": last_line(ran.stderr) or ran.status})


def last_line(text: str) -> str:
    """The last line of a traceback, say; short, and without addresses, which differ from one process to the next."""
    return _ADDRESS.sub("0x", text.strip().rpartition("\n")[2][:200])


def run_rounds(sandbox: Sandbox, steps: Sequence[Steps[Result]]) -> list[Result]:
    """The results, in order. A round runs what all that are unfinished asked for."""
    results: dict[int, Result] = {}
    wanted: dict[int, list[Program]] = {}

    def advance(place: int, ran: list[Ran] | None) -> None:
        try:
            wanted[place] = next(steps[place]) if ran is None else steps[place].send(ran)
        except StopIteration as stop:
            wanted.pop(place, None)
            results[place] = stop.value

    for place in range(len(steps)):
        advance(place, None)
    while wanted:
        round_ = dict(wanted)
        ran = iter(sandbox.run_all([program for programs in round_.values() for program in programs]))
        for place, programs in round_.items():
            advance(place, [next(ran) for _ in programs])
    return [results[place] for place in range(len(steps))]
