from __future__ import annotations

import json
import os
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from reckon.core.errors import ConfigError, DataError
from reckon.tasks.check import check_task
from reckon.tasks.math import MathTask, verify_all

DATA = Path(os.environ.get("RECKON_DATA", Path(__file__).parents[4] / "shared" / "data"))
ROWS = [{"question": f"What is {n} + {n}?", "answer": str(2 * n)} for n in range(40)]
GOLDS = (
    r"\frac{1}{2}",
    "(1,2)",
    r"\{1,2\}",
    "x>2",
    "B",
    r"\text{odd}",
    "Yes",
    r"25\%",
    "1011_2",
    r"2\sqrt{3}",
    "12",
    "3:30 PM",
)


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def task(**settings: Any) -> MathTask:
    return MathTask(MathTask.Config(**settings))


def test_a_hash_holds_a_share_out(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", ROWS)
    shared = task(path=path, heldout_one_in=4)
    train, heldout = shared.problems("train"), shared.problems("heldout")
    assert len(train) + len(heldout) == len(ROWS)
    assert 4 <= len(heldout) <= 16
    turned = task(path=write(tmp_path / "b.jsonl", ROWS[::-1]), heldout_one_in=4)
    assert {problem.id for problem in turned.problems("heldout")} == {problem.id for problem in heldout}


def test_a_second_source_is_held_out(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a.jsonl", ROWS[:30]), write(tmp_path / "b.jsonl", ROWS[30:])
    both = task(path=first, heldout=second)
    assert [len(both.problems(split)) for split in ("train", "heldout")] == [30, 10]
    alone = task(heldout=second)
    assert len(alone.problems("heldout")) == 10
    with pytest.raises(ConfigError, match=r"no source for the train split"):
        alone.problems("train")


def test_a_question_is_one_problem_however_often_it_is_listed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", ROWS * 3)
    assert len(task(heldout=path).problems("heldout")) == len(ROWS)


@pytest.mark.parametrize("gold", ["", "proof", "notfound", "9" * 3000])
def test_golds_that_cannot_be_judged(tmp_path: Path, gold: str) -> None:
    path = write(tmp_path / "a.jsonl", [*ROWS, {"question": "Prove it.", "answer": gold}])
    with pytest.raises(DataError, match=r"1 problems cannot be used.*a\.jsonl:41"):
        task(heldout=path).problems("heldout")
    assert len(task(heldout=path, unjudgeable="leave out").problems("heldout")) == len(ROWS)


def test_two_golds_of_one_question(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [*ROWS, {**ROWS[0], "answer": "1"}])
    with pytest.raises(DataError, match="another one before"):
        task(heldout=path).problems("heldout")
    assert len(task(heldout=path, unjudgeable="leave out").problems("heldout")) == len(ROWS) - 1


def test_kinds_from_a_column(tmp_path: Path) -> None:
    rows = [{"question": "?", "answer": "3:30", "sort": "time"}, {"question": "??", "answer": "3:30", "sort": "ratio"}]
    clock, ratio = task(heldout=write(tmp_path / "a.jsonl", rows), kind_column="sort").problems("heldout")
    asked = [
        (clock, r"\boxed{3:30 PM}"),
        (ratio, r"\boxed{3:30 PM}"),
        (clock, r"\boxed{1:10}"),
        (ratio, r"\boxed{1:10}"),
    ]
    assert [verdict.score for verdict in task().verify_all(asked)] == [1, 0, 0, 1]
    with pytest.raises(DataError, match="no kind of answer 'sum'"):
        task(heldout=write(tmp_path / "b.jsonl", [{**rows[0], "sort": "sum"}]), kind_column="sort").problems("heldout")


def test_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load_dataset(*arguments: Any, **named: Any) -> list[dict[str, Any]]:
        asked.append((arguments, named))
        return ROWS

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))
    assert len(task(heldout="openai/gsm8k:main:test").problems("heldout")) == len(ROWS)
    assert asked == [(("openai/gsm8k", "main"), {"split": "test"})]


def test_the_task_checks_itself(tmp_path: Path) -> None:
    rows = [{"problem": f"Problem {n}", "answer": gold} for n, gold in enumerate(GOLDS)]
    report = check_task(task(path=write(tmp_path / "a.jsonl", rows), heldout_one_in=2), problems=2, deadline_s=5)
    assert report.failures == []


SETS = {
    "gsm8k/train.jsonl": 7473,
    "gsm8k/test.jsonl": 1319,
    "aime24/test.jsonl": 30,
    "amc23/test.jsonl": 40,
    "minerva_math/test.jsonl": 272,
    "olympiadbench/test.jsonl": 675,
    "cmath/test.jsonl": 600,
    "math_samples/math100x8.jsonl": 100,
}


@pytest.mark.parametrize("name", SETS)
def test_published_sets(name: str) -> None:
    """Read as they are; every gold verifies against itself, and none of the task's bad responses does."""
    path = DATA / name
    if not path.exists():
        pytest.skip(f"no {path}: set RECKON_DATA")
    published = task(heldout=str(path))
    problems = published.problems("heldout")
    assert len(problems) == SETS[name]
    golds = published.verify_all([(problem, published.gold_response(problem) or "") for problem in problems])
    assert {verdict.score for verdict in golds} == {1.0}
    bad = [(problem, text) for problem in problems[::20] for text in published.bad_responses(problem)]
    assert [
        (one, verdict) for one, verdict in zip(bad, published.verify_all(bad), strict=True) if verdict.score != 0
    ] == []


def test_retypeset_golds() -> None:
    """A gold in other mark-up is still right, so that the self-check is not a comparison of strings."""
    path = DATA / "olympiadbench" / "test.jsonl"
    if not path.exists():
        pytest.skip(f"no {path}: set RECKON_DATA")
    golds = [problem.gold for problem in task(heldout=str(path)).problems("heldout")]

    def retypeset(gold: str) -> str:
        for old, new in (("\\frac", "\\dfrac "), ("(", "\\left( "), (")", " \\right)"), (",", ",\\ "), ("+", " + {}")):
            gold = gold.replace(old, new)
        return f"\\displaystyle {gold.replace('$', '')}"

    verdicts = verify_all([(f"\\boxed{{{retypeset(gold)}}}", gold, None) for gold in golds])
    wrong = [gold for gold, verdict in zip(golds, verdicts, strict=True) if verdict.score != 1]
    assert [gold for gold in wrong if "where $b$ is an arbitrary integer" not in gold] == []
