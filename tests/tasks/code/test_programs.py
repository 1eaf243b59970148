from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reckon.core.records import Problem, Verdict
from reckon.sandbox.config import SandboxConfig
from reckon.sandbox.limits import Limits
from reckon.tasks.code import CodeTask
from reckon.tasks.code.programs import normal_output, same_output

Make = Callable[..., tuple[CodeTask, list[Problem]]]
LIMITS = Limits(timeout_s=1, output_kb=64)


@pytest.mark.parametrize(
    ("expected", "printed", "same"),
    [
        ("1 2\n", "1 2", True),
        ("1 2", "1 2\n\n \n", True),
        ("1 2\n3", " 1   2 \r\n3", True),
        ("", "", True),
        ("", "\n", True),
        ("1 2", "1\n2", False),
        ("1\n2", "1 2", False),
        ("1\n\n2", "1\n2", False),
        ("1", "1.0", False),
        ("1", "01", False),
        ("1", "1 1", False),
        ("1", "", False),
        ("", "0", False),
        ("Yes", "yes", False),
        ("a\u2028b", "a\nb", False),
    ],
)
def test_outputs_are_compared_word_by_word(expected: str, printed: str, same: bool) -> None:
    assert same_output(expected, printed) is same
    assert (normal_output(expected) == normal_output(printed)) is same


@pytest.mark.parametrize(
    ("expected", "printed", "same"),
    [
        ("0.5", "0.5000001", True),
        ("0.5", "0.51", False),
        ("1000000", "1000000.5", True),
        ("1000000", "1000002", False),
        ("0", "1e-7", True),
        ("-1.5", "1.5", False),
        (".5", "5E-1", True),
        ("nan", "nan", True),
        ("1", "nan", False),
        ("1", "inf", False),
        ("1e999", "7", False),
        ("1", "1_0", False),
        ("1", "0x1", False),
        ("x 0.5", "y 0.5", False),
    ],
)
def test_numbers_within_a_tolerance(expected: str, printed: str, same: bool) -> None:
    assert same_output(expected, printed, 1e-6) is same


@given(st.text(), st.text())
def test_comparing_never_raises(expected: str, printed: str) -> None:
    same_output(expected, printed, 0.1)
    assert same_output(expected, expected)


ROW = {
    "id": "sum",
    "question": "Add two numbers.",
    "tests": [{"input": f"{a} {b}\n", "output": f"{a + b}\n"} for a, b in [(1, 2), (0, 0), (5, -7)]],
    "reference": "print(sum(map(int, input().split())))",
}
SILENT = {**ROW, "tests": [{"input": "1 2\n", "output": ""}]}


def judged(make: Make, code: str, row: dict[str, Any] = ROW, **settings: Any) -> Verdict:
    task, [problem] = make([row], sandbox=SandboxConfig(limits=LIMITS), **settings)
    return task.verify(problem, f"```python\n{code}\n```")


@pytest.mark.parametrize(
    "code",
    [
        "print(sum(map(int, input().split())))",
        "import sys\na, b = map(int, sys.stdin.buffer.read().split())\nsys.stdout.write(f'{a + b}')",
        "a, b = open(0).read().split()\nprint(int(a) + int(b))\nraise SystemExit",
        "print(sum(map(int, input().split())))\nexit()",
        "def main():\n    print(sum(map(int, input().split())))\n    quit()\n\nmain()",
        "import sys\nprint('debug', file=sys.stderr)\nprint(sum(map(int, sys.stdin.readline().split())))",
    ],
)
def test_right_programs(task_of: Make, code: str) -> None:
    verdict = judged(task_of, code)
    assert (verdict.score, verdict.reason) == (1.0, "correct")
    assert verdict.detail.items() >= {"passed": 3, "tests": 3, "passes": "111"}.items()


@pytest.mark.parametrize(
    ("code", "reason", "passes"),
    [
        ("print(3)", "wrong", "100"),
        ("print(0)", "wrong", "0--"),
        ("print('PASS')\nimport os\nos._exit(0)", "wrong", "0--"),
        ("print(sum(map(int, input().split())))\n1 / 0", "raised", "0--"),
        ("print(1", "syntax error", "0--"),
        ("while True: pass\nprint(1)", "timed out", "0--"),
        ("print(sum(map(int, input().split())))\nimport os\nos.abort()", "killed", "0--"),
        ("print(sum(map(int, input().split())))\nimport os\nos._exit(3)", "exited early", "0--"),
        ("print('3' * 10**6)", "too much output", "0--"),
        ("print(open('/etc/passwd').read())", "raised", "0--"),
    ],
)
def test_wrong_programs(task_of: Make, code: str, reason: str, passes: str) -> None:
    verdict = judged(task_of, code)
    assert (verdict.score, verdict.reason, verdict.detail["passes"]) == (0.0, reason, passes)


def test_where_tests_pay_one_by_one_all_are_run(task_of: Make) -> None:
    verdict = judged(task_of, "print(0)", score="fraction")
    assert (verdict.score, verdict.detail["passes"]) == (pytest.approx(1 / 3), "010")


def test_a_program_that_crashes_has_not_printed_nothing(task_of: Make) -> None:
    assert judged(task_of, "print(end='')", SILENT).score == 1
    for code in ("print(1 / 0)", "raise ValueError('print')", "import os; print(end=''); os.abort()"):
        assert judged(task_of, code, SILENT).score == 0


def test_an_output_that_no_program_could_print(task_of: Make) -> None:
    verdict = judged(task_of, "print('x' * 10**5)", {**ROW, "tests": [{"input": "", "output": "x" * 10**5}]})
    assert (verdict.score, verdict.reason) == (None, "unusable tests")
    assert verdict.detail == {"why": "an output has 100000 bytes; raise sandbox.limits.output_kb"}


def test_a_tolerance_is_the_rows(task_of: Make) -> None:
    row = {**ROW, "tests": [{"input": "1", "output": "0.333333"}]}
    assert judged(task_of, "print(1 / 3)", row).score == 0
    assert judged(task_of, "print(1 / 3)", {**row, "float_tolerance": 1e-5}).score == 1
