from typing import Any

import pytest

from reckon.sandbox.limits import Limits
from reckon.sandbox.program import Program, Ran, Sandbox
from reckon.tasks.code.gold import FunctionGold
from reckon.tasks.code.judging import Judged, run_rounds
from reckon.tasks.code.suite import Suite, record, separated

LIMITS = Limits(timeout_s=5)


def gold(tests: str, reference: str = "    return 2 * x\n", prompt: str = "def twice(x):\n") -> FunctionGold:
    return FunctionGold(prompt=prompt, entry_point="twice", reference=reference, tests=tests)


def recorded(sandbox: Sandbox, gold: FunctionGold, limits: Limits = LIMITS) -> Suite | Judged:
    return run_rounds(sandbox, [record(gold, limits)])[0]


@pytest.mark.parametrize(
    ("body", "tests"),
    [
        ("assert candidate(1) == 2", 1),
        ("assert candidate(1) == 2\nassert candidate(2) == 4", 2),
        ("x = candidate(1)\ny = 2\nassert x == y\nassert candidate(2)", 2),
        ("for x in range(3):\n    assert candidate(x) == 2 * x\nassert True", 2),
        ("import math\nif math.pi > 3:\n    assert candidate(1)", 1),
        ("def same(x, y):\n    assert candidate(x) == y\nsame(1, 2)\nsame(2, 4)", 2),
        ("try:\n    candidate(None)\n    assert False\nexcept TypeError:\n    pass", 1),
        ("assert candidate(1) == 2\nprint('done')", 1),
    ],
)
def test_tests_are_told_apart(body: str, tests: int) -> None:
    source, count = separated("def check(candidate):\n    " + body.replace("\n", "\n    "))
    assert count == tests
    assert source.count("with __tests__(") == tests
    assert compile(source, "tests.py", "exec")


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("def check(candidate):\n    pass", "assert nothing"),
        ("def check(candidate):\n    candidate(1)", "assert nothing"),
        ("assert twice(1) == 2", "define no check"),
        ("def check():\n    assert True", "define no check"),
        ("def check(candidate):\n    assert eval(candidate('1')) == 2", "use eval"),
        ("def check(candidate):\n    exec(candidate(1))\n    assert True", "use exec"),
        ("def check(candidate", "never closed"),
        ("def check(candidate):\n    assert " + "(" * 1000 + ")" * 1000, "too many nested parentheses"),
    ],
)
def test_tests_that_cannot_be_used(source: str, why: str) -> None:
    with pytest.raises((ValueError, SyntaxError), match=why):
        separated(source)


def test_the_calls_of_each_test_are_recorded(sandbox: Sandbox) -> None:
    tests = """
from random import randint

def helper(n):
    return n + 1

def check(candidate):
    assert True, "calls nothing"
    numbers = [1, 2]
    assert candidate(numbers) == numbers + numbers
    for _ in range(3):
        n = randint(0, 10**9)
        assert candidate(n) == n + n
    assert candidate(x=helper(1)) == 4
"""
    suite = recorded(sandbox, gold(tests))
    assert isinstance(suite, Suite)
    assert suite.tests == [1, 2, 3]
    assert [len(calls) for calls in suite.calls] == [0, 1, 3, 1]
    assert suite.asked[0] == '[[[1, 2]], {"dict": []}]'
    assert suite.asked[-1] == '[[], {"dict": [["x", 2]]}]'
    assert len(set(suite.asked)) == 5
    assert recorded(sandbox, gold(tests)) == suite


def test_a_name_in_the_tests_is_the_references(sandbox: Sandbox) -> None:
    suite = recorded(
        sandbox,
        gold(
            "def check(candidate):\n    assert candidate(1) == twice(1) == half(4)",
            prompt="half = lambda x: x // 2\ndef twice(x):\n",
        ),
    )
    assert isinstance(suite, Suite)


@pytest.mark.parametrize(
    ("tests", "reference", "why"),
    [
        (
            "assert candidate(1) == 2\n    assert candidate(1) == 3, 'off'",
            "    return 2 * x",
            "the reference fails test 2: AssertionError: off",
        ),
        ("assert candidate(1) == 2", "    return 2 *", "SyntaxError"),
        ("assert candidate(1) == 2", "    return y", "the reference fails test 1: NameError"),
        ("assert candidate(1) == 2", "    import os; os._exit(0)", "does not get through"),
        ("assert candidate(1) == 2", "    raise SystemExit", "does not get through"),
        ("assert True", "    return 2 * x", "no test calls the function"),
        ("assert candidate(lambda: 1)", "    return 1", "fails test 1: Refused: an object of type 'function'"),
        (
            "assert candidate(1).x",
            "    return type('T', (), {'x': 1})()",
            "fails test 1: Refused: an object of type 'T'",
        ),
        (
            "import time\n    assert candidate(time.perf_counter_ns())",
            "    return 1",
            "fails test 1: Refused: a call that was not made",
        ),
        ("return\n    assert candidate(1)", "    return 1", "no test calls the function"),
        ("assert candidate(2**18)", "    return 'a' * x", "fails test 1: Refused: an answer that is too long"),
        ("assert candidate(40_000) != candidate(40_001)", "    return 'a' * x", "answers take more than 64 KiB"),
    ],
)
def test_what_keeps_tests_from_being_used(sandbox: Sandbox, tests: str, reference: str, why: str) -> None:
    found = recorded(sandbox, gold(f"def check(candidate):\n    {tests}\n", reference))
    assert isinstance(found, Judged)
    assert (found.reason, found.passes) == ("unusable tests", None)
    assert why in found.facts["why"]


def test_a_reference_that_never_ends(sandbox: Sandbox) -> None:
    endless = gold("def check(candidate):\n    assert candidate(1)", "    while True: pass")
    found = recorded(sandbox, endless, Limits(timeout_s=0.5))
    assert isinstance(found, Judged)
    assert found.facts == {"why": "the reference does not get through them: timed out"}


class Broken:
    """A sandbox in which nothing starts."""

    tier = 3

    def run(self, program: Program) -> Ran:
        return Ran("failed to start", None, "", "no room at 0x7f12", 0.0)

    def run_all(self, programs: Any) -> list[Ran]:
        return [self.run(program) for program in programs]

    def close(self) -> None:
        pass


def test_a_sandbox_that_fails_says_nothing_of_the_tests() -> None:
    found = recorded(Broken(), gold("def check(candidate):\n    assert candidate(1)"))
    assert found == Judged("crashed", None, {"why": "no room at 0x"})
