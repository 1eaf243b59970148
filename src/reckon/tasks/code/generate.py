"""Making the tests of a problem from several solutions of it, of which most are right.

Kimi k1.5 (arXiv 2501.12599) draws 50 inputs of a problem and takes for the right output what at least 7 of 10
submissions print; it keeps the problem if that leaves enough tests (40 of 50), and at least 9 of the 10 submissions
pass all of them. DeepSeek-R1 (arXiv 2501.12948) likewise keeps inputs on which right submissions agree, and then
chooses tests that wrong ones fail: :func:`breaking`.
"""

from __future__ import annotations

import ast
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from reckon.core.config import Strict
from reckon.sandbox.limits import Limits
from reckon.sandbox.program import Program, Sandbox
from reckon.tasks.code.extract import Code
from reckon.tasks.code.functions import answering, read_answers
from reckon.tasks.code.gold import FunctionGold, Gold, ProgramGold
from reckon.tasks.code.inside import decode, encode
from reckon.tasks.code.programs import normal_output


class Agreement(Strict):
    """When a test, and a problem, is kept. The defaults are k1.5's.

    Attributes:
        agree: the share of the solutions that must give the same output.
        valid: the share of the inputs that must become tests.
        passing: the share of the solutions that must pass all tests.
    """

    agree: float = Field(default=0.7, gt=0.5, le=1)
    valid: float = Field(default=0.8, gt=0, le=1)
    passing: float = Field(default=0.9, gt=0, le=1)


K15 = Agreement()


@dataclass(frozen=True)
class Generated:
    """Tests, or why there are none.

    Attributes:
        gold: the problem's, with these tests; None if the problem is not kept.
        why: why it is not.
        tests: how many inputs became tests.
        dropped: each other input, and why.
        passing: of each solution, whether it passes all tests.
    """

    gold: Gold | None
    why: str
    tests: int
    dropped: list[tuple[Any, str]]
    passing: list[bool]


def function_tests(
    prompt: str,
    entry_point: str,
    solutions: Sequence[str],
    inputs: Sequence[Sequence[Any]],
    sandbox: Sandbox,
    limits: Limits,
    rule: Agreement = K15,
) -> Generated:
    """Tests of a function: asserts on what it returns.

    Args:
        prompt: the function up to its body.
        solutions: whole functions.
        inputs: lists of arguments.
    """
    room = 1024 * limits.output_kb
    asked = [json.dumps(encode([list(arguments), {}], room)) for arguments in inputs]
    programs = [answering(entry_point, [one], Code("", solution), limits) for solution in solutions for one in asked]
    answers = [read_answers(ran.stdout, 1)[0][0] for ran in sandbox.run_all(programs)]
    found = _agreed(inputs, _rows([_returned(answer) for answer in answers], len(inputs)), rule)
    if found.why:
        return found.generated(None)
    asserts = [f"    assert candidate(*{inputs[place]!r}) == {output}\n" for place, output in found.kept.items()]
    reference = f"\n\n{solutions[found.passing.index(True)]}"
    tests = "def check(candidate):\n" + "".join(asserts)
    return found.generated(FunctionGold(prompt=prompt, entry_point=entry_point, reference=reference, tests=tests))


def program_tests(
    solutions: Sequence[str], inputs: Sequence[str], sandbox: Sandbox, limits: Limits, rule: Agreement = K15
) -> Generated:
    """Tests of a program: what it prints.

    Args:
        solutions: whole programs.
        inputs: texts for their standard input.
    """
    ran = sandbox.run_all([Program(solution, stdin=given, limits=limits) for solution in solutions for given in inputs])
    outputs = [normal_output(one.stdout) if one.status == "exited" and one.exit_code == 0 else None for one in ran]
    found = _agreed(inputs, _rows(outputs, len(inputs)), rule)
    if found.why:
        return found.generated(None)
    tests = tuple((inputs[place], output) for place, output in found.kept.items())
    return found.generated(ProgramGold(tests=tests, reference=solutions[found.passing.index(True)]))


def breaking(passes: Sequence[str]) -> list[int]:
    """The fewest tests, nearly, that wrong solutions fail as surely as they fail all tests: R1's choice of tests.

    The test that the most solutions fail comes first, then the one that the most of those left fail, and so on.

    Args:
        passes: of each wrong solution, the verdict's ``passes``, of verdicts with every test run.
    """
    left = [row for row in passes if "0" in row]
    chosen: list[int] = []
    while left:
        chosen.append(max(range(len(left[0])), key=lambda test: sum(row[test] == "0" for row in left)))
        left = [row for row in left if row[chosen[-1]] == "1"]
    return chosen


@dataclass(frozen=True)
class _Agreed:
    """What came of the outputs: the agreed one of each input kept, by the input's place."""

    why: str
    kept: dict[int, str]
    dropped: list[tuple[Any, str]]
    passing: list[bool]

    def generated(self, gold: Gold | None) -> Generated:
        return Generated(gold, self.why, len(self.kept), self.dropped, self.passing)


def _agreed(inputs: Sequence[Any], outputs: Sequence[Sequence[str | None]], rule: Agreement) -> _Agreed:
    """
    Args:
        outputs: of each solution, its output for each input; None where it gave none.
    """
    kept: dict[int, str] = {}
    dropped: list[tuple[Any, str]] = []
    solutions = len(outputs)
    for place, given in enumerate(inputs):
        counts = Counter(row[place] for row in outputs if row[place] is not None)
        output, most = counts.most_common(1)[0] if counts else (None, 0)
        if output is not None and most >= rule.agree * solutions - 1e-9:
            kept[place] = output
        else:
            failed = solutions - counts.total()
            dropped.append((given, f"{most} of {solutions} solutions agree, {failed} give no output"))
    passing = [all(row[place] == output for place, output in kept.items()) for row in outputs]
    why = ""
    if not kept or len(kept) < rule.valid * len(inputs) - 1e-9:
        why = f"only {len(kept)} of {len(inputs)} inputs became tests"
    elif sum(passing) < rule.passing * solutions - 1e-9:
        why = f"only {sum(passing)} of {solutions} solutions pass all tests"
    return _Agreed(why, kept, dropped, passing)


def _rows(outputs: list[str | None], inputs: int) -> list[list[str | None]]:
    return [outputs[start : start + inputs] for start in range(0, len(outputs), inputs)]


def _returned(answer: str | None) -> str | None:
    """What was returned, as Python; None if nothing was, or nothing that a test can be equal to."""
    try:
        returned = repr(decode(json.loads(answer or "")["returned"]))
        return returned if ast.literal_eval(returned) == ast.literal_eval(returned) else None
    except (ValueError, KeyError, TypeError, SyntaxError, RecursionError, MemoryError, ArithmeticError):
        return None
