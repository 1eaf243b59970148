import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from reckon.core.errors import ConfigError, DataError
from reckon.data.curate.contamination import Decontaminate
from reckon.tasks.countdown import CountdownTask
from tests.data.curate.rows import ids, row

LONG = "Tom has 12 red and 7 blue marbles and gives 5 of them to Ann. How many are left?"
SHORT = "Make 24 from 3, 8, 1."


@pytest.fixture
def heldout(tmp_path: Path) -> str:
    path = tmp_path / "heldout.jsonl"
    path.write_text("".join(json.dumps({"q": question}) + "\n" for question in (LONG, SHORT)))
    return str(path)


@pytest.mark.parametrize(
    ("question", "match"),
    [
        (SHORT, SHORT),
        ("  make 24  from 3,8,1", SHORT),
        ("Ｍake ２4 from 3，8，1。", SHORT),
        ("Make 25 from 3, 8, 1.", None),
        ("Make 24 from 3, 81.", None),
        ("Make 24 from 3, 8, - 1.", None),
        ("Make 2.4 from 3, 8, 1.", None),
        (LONG.upper(), LONG),
        (LONG.replace("12", "13"), LONG),
        (LONG.replace("12", "13").replace("5 of", "6 of"), None),
        ("How many are left?", None),
    ],
)
def test_a_held_out_question_is_found_and_numbers_count(heldout: str, question: str, match: str | None) -> None:
    sifted = Decontaminate(path=heldout, column="q").apply([row("a", question=question)], seed=0)
    assert [drop.match for drop in sifted.dropped] == ([match] if match else [])
    assert len(sifted.kept) == (match is None)


def test_ten_words_in_a_row_are_found_in_a_response_too_and_reported(heldout: str) -> None:
    other = "Make 9 from 4, 5."
    rows = [
        row("a", f"<think> It is like: {LONG[:60]} </think>", question=other),
        row("b", LONG[:20], question=other),
        row("c", question=SHORT),
    ]
    sifted = Decontaminate(path=heldout, column="q").apply(rows, seed=0)
    assert ids(sifted.kept) == ["b"]
    assert [(drop.row["id"], drop.why, drop.match) for drop in sifted.dropped] == [
        ("a", "shares 10 words with a held-out question", LONG),
        ("c", "asks a held-out question", SHORT),
    ]
    assert ids(Decontaminate(path=heldout, column="q", n=None).apply(rows, seed=0).kept) == ["a", "b"]


def test_the_held_out_problems_of_a_task() -> None:
    settings = {"train_problems": 20, "heldout_problems": 20}
    task = CountdownTask(CountdownTask.Config(**settings))
    operation = Decontaminate(task={"kind": "countdown", **settings})
    assert operation.task == {"kind": "countdown", **task.config.model_dump(mode="json")}, "with all its settings"
    train, heldout = ([problem.question for problem in task.problems(split)] for split in ("train", "heldout"))
    sifted = operation.apply([row(f"r{n}", question=q) for n, q in enumerate(train + heldout)], seed=0)
    assert [r["question"] for r in sifted.kept] == train
    assert [drop.match for drop in sifted.dropped] == heldout


def test_what_cannot_be_compared_with(tmp_path: Path, heldout: str) -> None:
    with pytest.raises(ValidationError, match="either task or path"):
        Decontaminate()
    with pytest.raises(ValidationError, match="either task or path"):
        Decontaminate(path=heldout, task={"kind": "countdown"})
    with pytest.raises(ConfigError, match="did you mean 'countdown'"):
        Decontaminate(task={"kind": "countdwn"})
    with pytest.raises(DataError, match="no column 'question'"):
        Decontaminate(path=heldout).apply([row("a")], seed=0)
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(DataError, match="no held-out question"):
        Decontaminate(path=str(tmp_path / "empty.jsonl")).apply([row("a")], seed=0)
    (tmp_path / "bad.jsonl").write_text('{"question": 3}\n')
    with pytest.raises(DataError, match=r"bad\.jsonl:1: the question is not text"):
        Decontaminate(path=str(tmp_path / "bad.jsonl")).apply([row("a")], seed=0)
