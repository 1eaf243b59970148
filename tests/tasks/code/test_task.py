import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from reckon.core.errors import ConfigError, DataError
from reckon.core.records import Problem, Rollout
from reckon.sandbox.program import Program, Ran, Sandbox
from reckon.sandbox.proof import Proof
from reckon.tasks.check import check_task
from reckon.tasks.code import CodeTask
from reckon.tasks.code import task as module
from tests.tasks.code.attacks import ROW

Make = Callable[..., tuple[CodeTask, list[Problem]]]
SUM = {
    "id": "sum",
    "question": "Add two numbers.",
    "tests": [{"input": "1 2\n", "output": "3\n"}],
    "reference": "print(sum(map(int, input().split())))",
}
RIGHT = "```python\ndef double(x):\n    return x + x\n```"
WRONG = "```python\ndef double(x):\n    return x\n```"


class Counting:
    """A sandbox that counts the programs that it hands on, or fails instead."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox, self.tier, self.programs, self.fails = sandbox, sandbox.tier, 0, False

    def run(self, program: Program) -> Ran:
        return self.run_all([program])[0]

    def run_all(self, programs: Sequence[Program]) -> list[Ran]:
        self.programs += len(programs)
        failed = Ran("failed to start", None, "", "no processes left", 0.0)
        return [failed] * len(programs) if self.fails else self.sandbox.run_all(programs)

    def close(self) -> None:
        pass


@pytest.fixture
def counting(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Counting:
    found = Counting(sandbox)
    monkeypatch.setattr(module, "open_sandbox", lambda config, preload: found)
    return found


def rows(count: int) -> list[dict[str, Any]]:
    return [{**SUM, "id": number, "question": f"Add {number}."} for number in range(count)]


def write(path: Path, found: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in found))
    return str(path)


def test_a_hash_of_the_question_holds_out_one_in_ten(tmp_path: Path, sandbox: Sandbox) -> None:
    task = CodeTask(CodeTask.Config(path=write(tmp_path / "a.jsonl", rows(300))))
    train, heldout = ({problem.question for problem in task.problems(split)} for split in ("train", "heldout"))
    assert len(train | heldout) == 300
    assert not train & heldout
    assert 15 <= len(heldout) <= 45
    # Under other names, and among other rows, they stay where they are.
    fewer = [{**row, "id": f"x{row['id']}"} for row in rows(100)]
    task = CodeTask(CodeTask.Config(path=write(tmp_path / "b.jsonl", fewer)))
    assert {problem.question for problem in task.problems("heldout")} <= heldout


def test_a_file_of_its_own_for_the_heldout_split(tmp_path: Path, sandbox: Sandbox) -> None:
    files = {"path": write(tmp_path / "a.jsonl", rows(30)), "heldout_path": write(tmp_path / "b.jsonl", [ROW, SUM])}
    task = CodeTask(CodeTask.Config(**files))
    assert len(task.problems("train")) == 30
    assert [problem.id for problem in task.problems("heldout")] == ["code:double", "code:sum"]
    task = CodeTask(CodeTask.Config(heldout_path=files["heldout_path"]))
    with pytest.raises(DataError, match=r"no training problems.*task\.path"):
        task.problems("train")
    with pytest.raises(ConfigError, match="no split"):
        task.problems("test")


def test_settings() -> None:
    with pytest.raises(ValueError, match="set path or heldout_path"):
        CodeTask.Config()
    with pytest.raises(ValueError, match="score"):
        CodeTask.Config(path="x", score="most")  # type: ignore[arg-type]


def test_verdicts_are_in_order_whatever_the_problems(task_of: Make) -> None:
    task, [double, add] = task_of([ROW, SUM])
    asked = [
        *((double, RIGHT), (add, "```python\nprint(3)\n```"), (double, "no"), (add, "```python\nprint(4)\n```")),
        *((double, WRONG), (Problem("x", "?", {"kind": "riddle"}), RIGHT), (add, "")),
    ]
    verdicts = task.verify_all(asked)
    assert [verdict.score for verdict in verdicts] == [1, 1, 0, 0, 0, None, 0]
    assert [task.verify(*one) for one in asked] == verdicts
    assert [verdict.reason for verdict in verdicts[2:]] == [
        "no answer",
        "wrong",
        "wrong",
        "unusable tests",
        "no answer",
    ]
    assert verdicts[2].detail == {"why": "no code"}
    assert task.verify_all([]) == []


def test_no_text_raises_or_scores(task_of: Make) -> None:
    task, problems = task_of([ROW, SUM])
    texts = ["", "\x00", "\ud800", "```python\n\x00\n```", "```python\nreturn '\ud800'\n```", "<answer>", "```" * 1000]
    texts += [
        "```python\nprint(\x00)\ndef double(x): return x + x\n```",
        "```python\n# coding: utf-7\nprint(3)\n1/0\n```",
    ]
    texts += [f"```python\nreturn {'(' * 5000}x{')' * 5000}  # print\n```", f"```python\nprint({'-' * 30_000}3)\n```"]
    asked = [(problem, text) for problem in problems for text in texts]
    assert {verdict.score for verdict in task.verify_all(asked)} == {0}


def test_verdicts_survive_the_record(task_of: Make) -> None:
    task, [double] = task_of([ROW])
    rollout = Rollout("code", double, 0, "", [], WRONG, [], [], "stop", 0, verdict=task.verify(double, WRONG))
    row = json.loads(json.dumps(rollout.to_dict()))
    again = Rollout.from_dict(row)
    assert again.verdict == rollout.verdict
    assert task.verify(again.problem, WRONG) == rollout.verdict


def test_the_tests_of_a_problem_are_recorded_once(counting: Counting, task_of: Make) -> None:
    task, [double] = task_of([ROW])
    task.verify_all([(double, RIGHT), (double, WRONG), (double, "none")])
    # Recorded, and played back with the reference's answers. Then two answers are run; those that are the reference's
    # need no second run, in which the tests look at the others.
    assert counting.programs == 2 + 1 + 2
    task.verify(double, RIGHT)
    assert counting.programs == 5 + 1


def test_a_sandbox_that_fails_says_nothing_of_the_answer(counting: Counting, task_of: Make) -> None:
    task, problems = task_of([ROW, SUM])
    counting.fails = True
    asked = [(problem, RIGHT + "\n```python\nprint(3)\ndef double(x): return 1\n```") for problem in problems]
    for _ in range(2):
        for verdict in task.verify_all(asked):
            assert (verdict.score, verdict.reason, verdict.detail["why"]) == (None, "crashed", "no processes left")
    counting.fails = False
    assert [verdict.score for verdict in task.verify_all(asked)] == [0, 1]
    counting.fails = True
    assert task.verify(problems[0], RIGHT).score is None


def test_a_score_by_difficulty_needs_pass_rates(tmp_path: Path, sandbox: Sandbox) -> None:
    path = write(tmp_path / "a.jsonl", [{**SUM, "pass_rates": [0.5]}, {**SUM, "id": "other"}])
    task = CodeTask(CodeTask.Config(heldout_path=path, score="difficulty"))
    with pytest.raises(DataError, match="code:other: the problem has no pass_rates"):
        task.problems("heldout")


def test_the_self_check_finds_the_task_sound(tmp_path: Path, sandbox: Sandbox) -> None:
    function = {**ROW, "task_id": "double"}
    files = {"path": write(tmp_path / "a.jsonl", [function]), "heldout_path": write(tmp_path / "b.jsonl", [SUM])}
    report = check_task(CodeTask(CodeTask.Config(**files)), deadline_s=5)
    assert report.failures == []
    assert (report.problems, report.golds) == (2, 2)


@pytest.mark.parametrize(("tier", "cautions"), [(1, ["tier 1"]), (2, []), (3, [])])
def test_a_weak_sandbox_is_to_be_said(
    task_of: Make, monkeypatch: pytest.MonkeyPatch, tier: int, cautions: list[str]
) -> None:
    task, _ = task_of([SUM])
    monkeypatch.setattr(module, "prove", lambda: Proof(tier, ()))
    found = task.cautions()
    assert [words in said for words, said in zip(cautions, found, strict=True)] == [True] * len(cautions)
