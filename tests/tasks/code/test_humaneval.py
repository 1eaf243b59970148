"""HumanEval: solutions pass, stubs and solutions with one token changed do not."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from reckon.core.records import Problem, Verdict
from reckon.sandbox.config import SandboxConfig
from reckon.sandbox.limits import Limits
from reckon.sandbox.program import Sandbox
from reckon.tasks.code import CodeTask
from tests.tasks.code.mutants import mutant

DATA = Path(os.environ.get("RECKON_DATA", Path(__file__).parents[4] / "shared" / "data")) / "humaneval" / "test.jsonl"
pytestmark = pytest.mark.skipif(not DATA.is_file(), reason=f"HumanEval is not at {DATA}")

SURVIVORS = {
    # Equivalent: no call that the problem allows can tell these from the solution.
    *(18, 32, 35, 39, 95, 99, 111, 123, 129, 137, 153, 159),
    # The tests are weak: none of their calls tells. docs/code-tasks.md says why.
    *(10, 31, 64, 68, 118),
}
"""The problems whose mutant passes all tests, as it does when ``check`` is simply run on it."""


@pytest.fixture(scope="module")
def task(sandbox: Sandbox) -> CodeTask:
    # Sandboxes are shared by a process; that there is one is what the fixture is for.
    assert sandbox.tier >= 2
    limits = Limits(timeout_s=5, output_kb=256)
    return CodeTask(CodeTask.Config(heldout_path=str(DATA), sandbox=SandboxConfig(limits=limits)))


@pytest.fixture(scope="module")
def problems(task: CodeTask) -> Sequence[Problem]:
    return task.problems("heldout")


def block(code: str) -> str:
    return f"<think> hm </think>\n```python\n{code}\n```"


def solution(problem: Problem) -> str:
    return f"{problem.gold['prompt']}{problem.gold['reference']}"


def stub(problem: Problem) -> str:
    return f"def {problem.gold['entry_point']}(*args, **kwargs):\n    pass"


def changed(problem: Problem) -> str:
    return mutant(solution(problem), problem.gold["entry_point"], problem.id)[1]


def judged(task: CodeTask, problems: Sequence[Problem], responses: Sequence[str]) -> dict[int, Verdict]:
    verdicts = task.verify_all(list(zip(problems, responses, strict=True)))
    return {int(problem.id.rpartition("/")[2]): verdict for problem, verdict in zip(problems, verdicts, strict=True)}


def scores(verdicts: dict[int, Verdict], score: float) -> set[int]:
    return {number for number, verdict in verdicts.items() if verdict.score == score}


def test_a_few(task: CodeTask, problems: Sequence[Problem]) -> None:
    numbers = {0, 32, 33, 38, 53, 106, 151, 153}
    few = [problem for problem in problems if int(problem.id.rpartition("/")[2]) in numbers]
    for right in (solution, lambda problem: problem.gold["reference"]):
        assert scores(judged(task, few, [block(right(problem)) for problem in few]), 1) == numbers
    assert scores(judged(task, few, [block(stub(problem)) for problem in few]), 0) == numbers
    assert scores(judged(task, few, [block(changed(problem)) for problem in few]), 1) == {32, 153}


@pytest.mark.slow
def test_all(task: CodeTask, problems: Sequence[Problem]) -> None:
    assert len(problems) == 164
    golds = judged(task, problems, [task.gold_response(problem) or "" for problem in problems])
    assert scores(golds, 1) == set(range(164))
    assert {verdict.reason for verdict in golds.values()} == {"correct"}
    stubs = judged(task, problems, [block(stub(problem)) for problem in problems])
    assert scores(stubs, 0) == set(range(164))
    mutants = judged(task, problems, [block(changed(problem)) for problem in problems])
    assert scores(mutants, 1) == SURVIVORS
    assert scores(mutants, 0) == set(range(164)) - SURVIVORS
