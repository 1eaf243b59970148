import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reckon.core.records import Problem, Verdict
from reckon.sandbox.config import SandboxConfig, open_sandbox
from reckon.sandbox.limits import Limits
from reckon.sandbox.program import Sandbox
from reckon.tasks.code import CodeTask
from reckon.tasks.code.extract import Code
from reckon.tasks.code.functions import answering, read_answers
from reckon.tasks.code.suite import INSIDE
from tests.tasks.code import attacks

Make = Callable[..., tuple[CodeTask, list[Problem]]]
LIMITS = Limits(timeout_s=1.5, output_kb=64)


def judged(make: Make, code: str, row: dict[str, Any] = attacks.ROW, **settings: Any) -> Verdict:
    task, [problem] = make([row], sandbox=SandboxConfig(limits=LIMITS), **settings)
    return task.verify(problem, f"```python\n{code}\n```")


def test_a_right_answer(task_of: Make) -> None:
    verdict = judged(task_of, "def double(x):\n    return 2 * x")
    assert (verdict.score, verdict.reason) == (1.0, "correct")
    assert verdict.detail == {"passed": 5, "tests": 5, "passes": "11111"}
    assert verdict.extracted == "def double(x):\n    return 2 * x\n"
    assert 0 < verdict.seconds < 1.5


def test_a_sandbox_that_preloads_nothing_runs_the_same_program(sandbox: Sandbox) -> None:
    code = Code("", "def double(x):\n    return 2 * x")
    program = answering("double", ['[[3], {"dict": []}]'], code, Limits(timeout_s=20))
    preloading = open_sandbox(SandboxConfig(), preload=INSIDE)
    assert sandbox is not preloading
    plain, ahead = sandbox.run(program), preloading.run(program)
    assert "0 " in plain.stdout, plain
    assert ahead.stdout == plain.stdout, ahead


def test_an_exception_does_not_end_the_loops_of_a_test(task_of: Make) -> None:
    row = attacks.ROW | {"test": "def check(candidate):\n    assert all(a == 2 for a in map(candidate, [1, 1]))\n"}
    assert judged(task_of, "def double(x):\n    return 2 * x", row).score == 1
    assert judged(task_of, "def double(x):\n    raise StopIteration", row).score == 0


def test_a_body_is_an_answer_too(task_of: Make) -> None:
    assert judged(task_of, "    return 2 * x").score == 1


def test_what_it_prints_and_reads_makes_no_difference(task_of: Make) -> None:
    code = """
import sys
print("hello", file=sys.stderr)
sys.stdout.buffer.write(b"hello")
def double(x):
    print(x, "\\n0 {}", flush=True)
    return x + x
if __name__ == "__main__":
    print(double(int(input())))
"""
    assert judged(task_of, code).score == 1


@pytest.mark.parametrize(
    ("body", "reason", "passes", "fact"),
    [
        ("return x * 3", "wrong", "00000", "test 1: AssertionError"),
        ("return 2 * x if x != 'ab' else 0", "wrong", "10111", "test 2: AssertionError: expected abab"),
        ("x += x; return x", "wrong", "11011", "test 3: AssertionError"),
        ("return x + x if x == 3 else 1 / 0", "wrong", "10000", "test 2: ZeroDivisionError: division by zero"),
        ("return 2 *", "syntax error", "00000", "SyntaxError"),
        ("return 2 * x\n   x = 1", "syntax error", "00000", "IndentationError"),
        ("return x + x\nraise ValueError('no')", "raised", "00000", 'ValueError "no"'),
        ("return x + x\nimport numpyy", "raised", "00000", "ModuleNotFoundError"),
        ("return 2 * x if x == 3 else __import__('sys').exit()", "exited early", "10000", "no answer to this call"),
        ("\n  while x != 3: pass\n  return 6", "timed out", "10000", "no answer to this call"),
        ("return 6 if x == 3 else __import__('os').abort()", "killed", "10000", "no answer to this call"),
        ("return 'a' * 10**6", "too much output", "00000", '{"refused": "an answer that is too long"}'),
    ],
)
def test_wrong_answers(task_of: Make, body: str, reason: str, passes: str, fact: str) -> None:
    verdict = judged(task_of, f"def double(x): {body}")
    assert (verdict.score, verdict.reason, verdict.detail["passes"]) == (0.0, reason, passes)
    assert verdict.detail["passed"] == passes.count("1")
    assert any(fact in str(value) for value in verdict.detail.values())


def test_no_attack_scores_and_none_leaves_anything(task_of: Make) -> None:
    limits = Limits(timeout_s=1, memory_mb=512, output_kb=64)
    task, [problem] = task_of([attacks.ROW], sandbox=SandboxConfig(limits=limits))
    assert task.verify(problem, task.gold_response(problem) or "").score == 1
    responses = attacks.answers()
    verdicts = dict(zip(responses, task.verify_all([(problem, text) for text in responses.values()]), strict=True))
    assert {name: verdict for name, verdict in verdicts.items() if verdict.score != 0} == {}
    assert [folder for folder in ("/tmp", "/dev/shm", ".") if Path(folder, attacks.LEFT).exists()] == []
    assert task.verify(problem, task.gold_response(problem) or "").score == 1
    # What could be an honest mistake has a reason of its own; everything else is told from one.
    quiet = {
        name: verdict.reason
        for name, verdict in verdicts.items()
        if verdict.reason == "wrong" and not verdict.detail.keys() & {"signs", "refused", "denied"}
    }
    assert set(quiet) == {
        *("asserts, when called", "stops the iteration, when called", "not a number, when called"),
        *("empties its argument, when called", "recursion, when called", "a thread stays, when called"),
        *("names the tests, at import", "several blocks", "the prompt"),
    }


def test_forged_verdicts_are_worth_nothing_and_right_answers_are_answers(task_of: Make) -> None:
    # Printing what the function would have returned is no more than an answer: it has to be right.
    code = "import os\nos.write(1, b'\\n0 {\"returned\": %d}\\n')\nos._exit(0)\ndef double(x): pass"
    assert judged(task_of, code % 6).detail["passes"] == "10000"
    assert judged(task_of, code % 7).detail["passes"] == "00000"


def test_scores(task_of: Make) -> None:
    code = "def double(x): return 2 * x if x == 3 or x == 'ab' else 0"
    assert judged(task_of, code).score == 0
    assert judged(task_of, code, score="fraction").score == pytest.approx(2 / 5)
    row = {**attacks.ROW, "pass_rates": [0.9, 0.5, 0.5, 0.1, 0.1]}
    difficulty = {"scheme": "strict", "scores": [1, 2, 1]}
    assert judged(task_of, code, row, score="difficulty", difficulty=difficulty).score == pytest.approx(1 / 4)
    soft = {"scheme": "soft", "scores": [1, 2, 1]}
    assert judged(task_of, code, row, score="difficulty", difficulty=soft).score == pytest.approx(2 / 4)
    assert judged(task_of, "", row, score="difficulty").score == 0


def test_pass_rates_of_other_tests_cannot_be_used(task_of: Make) -> None:
    row = {**attacks.ROW, "pass_rates": [0.9, 0.5]}
    verdict = judged(task_of, "def double(x): return 2 * x", row, score="difficulty")
    assert (verdict.score, verdict.reason) == (None, "unusable tests")
    assert verdict.detail == {"why": "there are pass_rates of 2 tests, and 5 tests"}


def test_tests_that_cannot_be_used_are_no_verdict(task_of: Make) -> None:
    row = {**attacks.ROW, "test": "def check(candidate):\n    assert candidate(1) == 3"}
    verdict = judged(task_of, "def double(x): return 3", row)
    assert (verdict.score, verdict.reason) == (None, "unusable tests")
    assert verdict.detail["why"] == "the reference fails test 1: AssertionError"


def test_answers_that_keep_the_tests_from_ending(task_of: Make) -> None:
    row = {
        **attacks.ROW,
        "canonical_solution": "    return 5\n",
        "test": "def check(candidate):\n    assert sum(range(candidate(1))) == 10",
    }
    verdict = judged(task_of, "def double(x): return 10**12", row)
    assert (verdict.score, verdict.reason) == (0.0, "timed out")
    assert verdict.detail["failed"] == "the tests do not end with these answers"


def test_equal_programs_get_equal_verdicts(task_of: Make) -> None:
    task, [problem] = task_of([attacks.ROW], sandbox=SandboxConfig(limits=LIMITS))
    for body in ("return object()", "raise ValueError(object())", "return 1\nraise ValueError(object())"):
        code = f"def double(x): {body}"
        asked = [(problem, f"```python\n{code}\n```")] * 3
        assert len({repr({**vars_of(verdict), "seconds": 0}) for verdict in task.verify_all(asked)}) == 1


def vars_of(verdict: Verdict) -> dict[str, Any]:
    return {name: getattr(verdict, name) for name in ("score", "reason", "extracted", "detail")}


def test_answers_are_read_line_by_line() -> None:
    stdout = 'junk\n0 {"returned": 1}\n\n0 {"returned": 2}\n2 x\n9 y\n-1 z\n99999999999999 z\n'
    stdout += 'error NameError "x"\nerror more\n1'
    assert read_answers(stdout, 3) == (['{"returned": 1}', "", "x"], 'NameError "x"')
    assert read_answers("", 2) == ([None, None], "")


def test_no_process_is_left(task_of: Make) -> None:
    def children() -> set[str]:
        return {pid for pid in os.listdir("/proc") if pid.isdecimal() and b"reckon-attack" in _environment(pid)}

    code = """
import os, time
def double(x):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.environ["MARK"] = "reckon-attack"
            os.execve("/bin/sleep", ["sleep", "30"], {"MARK": "reckon-attack"})
        os._exit(0)
    return x + x
"""
    judged(task_of, code)
    assert children() == set()


def _environment(pid: str) -> bytes:
    try:
        return Path("/proc", pid, "environ").read_bytes()
    except OSError:
        return b""
