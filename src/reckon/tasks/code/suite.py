"""The tests of a function, taken apart, and recorded with the reference solution."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reckon.sandbox.limits import Limits
from reckon.sandbox.program import Program, Ran
from reckon.tasks.code.gold import FunctionGold
from reckon.tasks.code.judging import Judged, Steps, crashed, last_line

INSIDE = Path(__file__).with_name("inside.py")
"""The file of :mod:`reckon.tasks.code.inside`, which programs bring along; a sandbox may have it preloaded."""
INSIDE_FILE = {INSIDE.name: INSIDE.read_text(encoding="utf-8")}

_CHECK_OUTPUT_KB = 16 * 1024
_CHARACTERS_PER_CALL = 128
_RUNS_TEXT = {"eval", "exec", "compile", "__import__"}


@dataclass(frozen=True)
class Suite:
    """A function's tests, ready to be played back.

    Attributes:
        gold: where they are from.
        source: ``check(candidate, __tests__)``, with each test in a ``with __tests__(number)``.
        calls: of each of them, the arguments of the calls that it makes, as JSON.
        right: the reference's answers to all calls, which pass.
    """

    gold: FunctionGold
    source: str
    calls: tuple[tuple[str, ...], ...]
    right: tuple[str, ...]

    @property
    def tests(self) -> list[int]:
        """The numbers of those that call the function; the others test nothing."""
        return [number for number, calls in enumerate(self.calls) if calls]

    @property
    def asked(self) -> list[str]:
        """The arguments of all calls."""
        return [asked for calls in self.calls for asked in calls]

    def played(self, answers: Sequence[str | None], limits: Limits) -> Program:
        """The program that runs the tests with these answers to the calls; None to a call fails its test."""
        answer = iter(answers)
        recorded = [[(asked, next(answer)) for asked in calls] for calls in self.calls]
        return _checker(self.gold, self.source, recorded, limits)


def record(gold: FunctionGold, limits: Limits) -> Steps[Suite | Judged]:
    """The tests, recorded; or why they cannot be used.

    They are played back once with the reference's own answers, which must pass: a test that asks for something else
    each time, or that the reference fails, would call right answers wrong.
    """
    try:
        source, count = separated(gold.tests)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return _unusable(str(error))
    [ran] = yield [_checker(gold, source, None, limits)]
    found = tests_found(ran, count)
    if found is None:
        return _unended(ran)
    answers = [answer for test in found for _, answer in test["calls"]]
    calls = tuple(tuple(asked for asked, _ in test["calls"]) for test in found)
    suite = Suite(gold, source, calls, tuple(answers))
    failure = _failure(found) or ("" if answers else "no test calls the function")
    if not failure and sum(map(len, answers)) > room_for_answers(len(answers), limits):
        failure = f"the right answers take more than {limits.output_kb} KiB (sandbox.limits.output_kb)"
    if failure:
        return _unusable(failure)
    [ran] = yield [suite.played(answers, limits)]
    again = tests_found(ran, count)
    if again is None:
        return _unended(ran)
    failure = _failure(again)
    return _unusable(failure) if failure else suite


def separated(source: str) -> tuple[str, int]:
    """The tests one by one: ``check(candidate, __tests__)`` with each in a ``with __tests__(number):``, and how many.

    A test is a statement of ``check`` that asserts, with the statements since the one before it that does.

    Raises:
        SyntaxError: the source is no Python.
        ValueError: it defines no such function, asserts nothing, or runs text as code, which a candidate could write.
    """
    tree = ast.parse(source)
    risky = sorted({node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} & _RUNS_TEXT)
    if risky:
        raise ValueError(f"they use {risky[0]}, which could run an answer as code")
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    check = next((node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "check"), None)
    if check is None or len(check.args.args) != 1:
        raise ValueError("they define no check(candidate)")
    helpers = {node.name for node in functions if node is not check and _has_assert(node)}
    blocks: list[list[ast.stmt]] = [[]]
    for statement in check.body:
        blocks[-1].append(statement)
        calls = [node.func for node in ast.walk(statement) if isinstance(node, ast.Call)]
        helped = any(isinstance(called, ast.Name) and called.id in helpers for called in calls)
        if not isinstance(statement, ast.FunctionDef) and (_has_assert(statement) or helped):
            blocks.append([])
    if len(blocks) == 1:
        raise ValueError("they assert nothing")
    check.args.args.append(ast.arg("__tests__"))
    check.body = [
        ast.With([ast.withitem(ast.Call(ast.Name("__tests__"), [ast.Constant(number)], []))], block)
        for number, block in enumerate(blocks[:-1])
    ]
    return ast.unparse(ast.fix_missing_locations(tree)), len(blocks) - 1


def tests_found(ran: Ran, count: int) -> list[dict[str, Any]] | None:
    """Of each test its ``error`` (empty: it passed) and its ``calls``; None if the tests were not all done."""
    try:
        found: list[dict[str, Any]] = json.loads(ran.stdout)["tests"] if ran.status == "exited" else []
    except ValueError:
        return None
    return found if len(found) == count else None


def room_for_answers(calls: int, limits: Limits) -> int:
    """How many characters the answers may have, together."""
    return 1024 * limits.output_kb - _CHARACTERS_PER_CALL * (calls + 1)


def _has_assert(node: ast.AST) -> bool:
    return any(isinstance(inner, ast.Assert) for inner in ast.walk(node))


def _checker(gold: FunctionGold, source: str, recorded: Any, limits: Limits) -> Program:
    room = 1024 * limits.output_kb
    return Program(
        source="from inside import check\n\ncheck()\n",
        stdin=json.dumps({"entry": gold.entry_point, "recorded": recorded, "room": room}),
        files={**INSIDE_FILE, "reference.py": gold.prompt + gold.reference, "tests.py": source},
        limits=limits.model_copy(update={"output_kb": _CHECK_OUTPUT_KB}),
    )


def _failure(found: Sequence[Mapping[str, Any]]) -> str:
    errors = ((number, test["error"]) for number, test in enumerate(found, 1) if test["error"])
    return next((f"the reference fails test {number}: {last_line(error)}" for number, error in errors), "")


def _unusable(why: str) -> Judged:
    return Judged("unusable tests", None, {"why": why})


def _unended(ran: Ran) -> Judged:
    if ran.status == "failed to start":
        return crashed(ran)
    return _unusable(f"the reference does not get through them: {last_line(ran.stderr) or ran.status}")
