"""Judging a function by asserts that it never meets (HumanEval's format).

The calls that the tests make are recorded once, with the reference solution (:mod:`reckon.tasks.code.suite`). A
candidate is made the same calls in a process of its own; then the tests are run in another, where its answers are
played back to them. So it shares no process with the tests, never sees an expected value, and what it prints is worth
what an answer is worth.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from reckon.sandbox.limits import Limits
from reckon.sandbox.program import Program, Ran
from reckon.tasks.code.extract import Code
from reckon.tasks.code.inside import TOO_LONG
from reckon.tasks.code.judging import ENDED, Judged, Reason, Steps, crashed, last_line
from reckon.tasks.code.suite import INSIDE_FILE, Suite, room_for_answers, tests_found

_SYNTAX = ("SyntaxError", "IndentationError", "TabError")


def judge_function(suite: Suite, code: Code, limits: Limits) -> Steps[Judged]:
    """What becomes of an answer: one run of its code, and one of the tests unless it is clear what they would say."""
    [ran] = yield [answering(suite.gold.entry_point, suite.asked, code, limits)]
    if ran.status == "failed to start":
        return crashed(ran)
    answers, error = read_answers(ran.stdout, len(suite.asked))
    refused = next((answer for answer in answers if answer and answer.startswith('{"refused"')), "")
    facts = {"error": last_line(error), "refused": last_line(refused), "denied": sorted(ran.denied)}
    if tuple(answers) == suite.right:
        return Judged("correct", "1" * len(suite.tests), facts, ran.seconds)
    if not any(answers):
        return Judged(_reason(ran, answers, error), "0" * len(suite.tests), facts, ran.seconds)
    [checked] = yield [suite.played(answers, limits)]
    found = tests_found(checked, len(suite.calls))
    seconds = ran.seconds + checked.seconds
    if found is None:
        if checked.status in ("exited", "failed to start"):
            return crashed(checked)
        # The tests end with the reference's answers, so it is these that keep them from ending.
        facts["failed"] = "the tests do not end with these answers"
        return Judged(ENDED[checked.status], "0" * len(suite.tests), facts, seconds)
    errors = [last_line(found[number]["error"]) for number in suite.tests]
    passes = "".join("0" if error else "1" for error in errors)
    if "0" not in passes:
        return Judged("correct", passes, facts, seconds)
    facts["failed"] = next(f"test {place}: {error}" for place, error in enumerate(errors, 1) if error)
    return Judged(_reason(ran, answers, error), passes, facts, seconds)


def answering(entry_point: str, asked: Sequence[str], code: Code, limits: Limits) -> Program:
    """The program that makes the calls, one by one, and prints the answers."""
    room = room_for_answers(len(asked), limits)
    return Program(
        source="from inside import answer\n\nanswer()\n",
        stdin=json.dumps({"entry": entry_point, "calls": list(asked), "room": room}),
        files={**INSIDE_FILE, "prelude.py": code.prelude, "solution.py": code.solution},
        limits=limits,
    )


def read_answers(stdout: str, calls: int) -> tuple[list[str | None], str]:
    """The answer to each call, and what kept the code from being run: untrusted text, which is not parsed here."""
    answers: list[str | None] = [None] * calls
    error = ""
    for line in stdout.split("\n"):
        head, _, text = line.partition(" ")
        if head == "error":
            error = error or text[:300]
        elif head.isdecimal() and len(head) <= 9 and int(head) < calls and answers[int(head)] is None:
            answers[int(head)] = text
    return answers, error


def _reason(ran: Ran, answers: Sequence[str | None], error: str) -> Reason:
    if error:
        return "syntax error" if error.startswith(_SYNTAX) else "raised"
    if None in answers:
        return ENDED[ran.status]
    return "too much output" if json.dumps({"refused": TOO_LONG}) in answers else "wrong"
