import csv
import json
import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reckon.core.errors import ConfigError, DataError
from reckon.core.records import Problem
from reckon.tasks.check import check_task
from reckon.tasks.choice import ChoiceTask, read_option

Config = ChoiceTask.Config
OPTIONS = ["iron", "glass", "10^{-4} eV", "A mixed alloy"]
PROBLEM = Problem("choice:x", "Which is a metal?", {"options": OPTIONS, "answer": "A"})
TASK = ChoiceTask(Config(heldout="unused"))

GPQA = {
    "Question": "Which is a metal?",
    "Correct Answer": "iron",
    "Incorrect Answer 1": "glass",
    "Incorrect Answer 2": "wood",
    "Incorrect Answer 3": "salt",
    "Subdomain": "Chemistry",
}
MMLU = {"question": "Which is a metal?", "choices": ["glass", "iron", "wood"], "answer": 1}
ARC = {
    "question": "Which is a metal?",
    "choices": {"text": ["glass", "wood", "iron"], "label": ["1", "2", "3"]},
    "answerKey": "3",
}


def answer(text: str) -> str:
    return f"<think> hm, (B)? </think> <answer>{text}</answer>"


def write(folder: Path, rows: Sequence[dict[str, Any]], name: str = "heldout.jsonl") -> str:
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(folder / name)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("B", 1),
        ("b", 1),
        (" (B) ", 1),
        ("B.", 1),
        ("B!", 1),
        ("B) glass", 1),
        ("B. Glass.", 1),
        ("(B) glass", 1),
        ("B: glass", 1),
        ("Option B", 1),
        ("glass", 1),
        ("  GLASS.", 1),
        ("\\boxed{B}", 1),
        ("$\\text{(B)}$", 1),
        ("**B**", 1),
        ("\\boxed{\\text{B}}", 1),
        ("10^{-4} eV", 2),
        ("$10^{-4}$ eV", 2),
        ("C) $10^{-4}$ eV", 2),
        ("A mixed alloy", 3),
        ("D) A mixed alloy", 3),
    ],
)
def test_answers_that_name_one_option(text: str, place: int) -> None:
    assert read_option(text, OPTIONS) == place


@pytest.mark.parametrize(
    "text",
    [
        *("", "E", "(E)", "AB", "A, B", "A and B", "A or B", "A/B", "(A)(B)", "A. B.", "A B", "not A", "A?", "А", "Ⓐ"),
        *("A) glass", "A. glass", "A) iron or glass", "A) iron, not glass", "iron or glass", "irons", "A because", "0"),
        *("A) B) iron", "A" * 10_000, "the answer", "none of them", "all", "A" + " " * 6000, "1", "A mixed"),
    ],
)
def test_all_else_names_none(text: str) -> None:
    assert read_option(text, OPTIONS) is None


def test_a_letter_is_a_letter_even_where_an_option_is_one() -> None:
    assert read_option("A", ["B", "A", "O"]) == 0
    assert read_option("A) B", ["B", "A", "O"]) == 0
    assert read_option("O", ["B", "A", "O"]) == 2


def test_a_text_that_two_options_have_names_none_but_either_letter_is_right() -> None:
    twice = Problem("x", "?", {"options": ["iron", "Iron.", "glass"], "answer": "A"})
    assert read_option("iron", ["iron", "Iron.", "glass"]) is None
    assert [TASK.verify(twice, answer(letter)).score for letter in "ABC"] == [1.0, 1.0, 0.0]


@pytest.mark.parametrize(
    ("response", "score", "reason", "extracted"),
    [
        (answer("A"), 1.0, "correct", "A"),
        (answer("B"), 0.0, "wrong", "B"),
        (answer("A or B"), 0.0, "not one option", None),
        (answer("A") + answer("A"), 0.0, "several thoughts", None),
        (answer("A") + " <answer> A </answer>", 0.0, "several answers", None),
        ("<think> <answer>A</answer> </think> So \\boxed{A}.", 1.0, "correct", "A"),
        ("<think> \\boxed{B} </think> So it is \\boxed{A}.", 1.0, "correct", "A"),
        ("<think> B </think> Iron conducts.\n\n**Answer:** (A)", 1.0, "correct", "A"),
        ("<think> B </think> The answer is A.", 1.0, "correct", "A"),
        ("Iron conducts. Answer: A", 1.0, "correct", "A"),
        ("<think> A </think> Answer: A!", 1.0, "correct", "A"),
        ("<think> A </think> Answer: A or B", 0.0, "not one option", None),
        ("<think> A </think> Answer: A... or B", 0.0, "not one option", None),
        ("<think> A </think> Answer: A? No, B.", 0.0, "not one option", None),
        ("<think> A </think> Answer: A\nor B", 0.0, "not one option", None),
        ("<think> A </think> I like iron.", 0.0, "no answer", None),
        ("<think> it is \\boxed{A}", 0.0, "unfinished thinking", None),
        ("<think> it is A </think> <think> \\boxed{A}", 0.0, "unfinished thinking", None),
    ],
)
def test_verdicts(response: str, score: float, reason: str, extracted: str | None) -> None:
    verdict = TASK.verify(PROBLEM, response)
    assert (verdict.score, verdict.reason, verdict.extracted) == (score, reason, extracted)


@given(st.text())
@settings(deadline=None, max_examples=50)
def test_no_text_raises(text: str) -> None:
    for response in (text, answer(text), f"<think> </think> Answer: {text}"):
        assert TASK.verify(PROBLEM, response).score in (0.0, 1.0)


@pytest.mark.parametrize("row", [GPQA, MMLU, {**MMLU, "answer": "B"}, {**MMLU, "options": MMLU["choices"]}, ARC])
def test_published_columns(tmp_path: Path, row: dict[str, Any]) -> None:
    (problem,) = ChoiceTask(Config(heldout=write(tmp_path, [row]))).problems("heldout")
    options, right = problem.gold["options"], problem.gold["answer"]
    assert options["ABCD".index(right)] == "iron"
    assert {"iron", "glass", "wood"} <= {*options}
    listed = "\n".join(f"{letter}) {option}" for letter, option in zip("ABCD", options, strict=False))
    assert problem.question == f"Which is a metal?\n\n{listed}\n\nAnswer with the letter of the right option."


def test_csv_and_parquet(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    row = {**GPQA, "Question": "Which is\na metal, say?"}
    with (tmp_path / "gpqa.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(row))
        writer.writeheader()
        writer.writerow(row)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([row]), tmp_path / "gpqa.parquet")
    texts = [
        ChoiceTask(Config(heldout=str(tmp_path / name))).problems("heldout")[0] for name in ("gpqa.csv", "gpqa.parquet")
    ]
    assert texts[0] == texts[1]
    assert texts[0].question.startswith("Which is\na metal, say?\n\nA) ")


def rows(count: int, first: int = 0) -> list[dict[str, Any]]:
    return [{**GPQA, "Question": f"Which is metal {number}?"} for number in range(first, first + count)]


def test_options_are_shuffled_by_the_seed(tmp_path: Path) -> None:
    path = write(tmp_path, rows(60))
    first, again, other = (ChoiceTask(Config(heldout=path, seed=seed)).problems("heldout") for seed in (0, 0, 1))
    assert first == again
    assert first != other
    assert [problem.id for problem in first] == [problem.id for problem in other]
    places = [problem.gold["answer"] for problem in first]
    assert {*places} == {*"ABCD"}
    assert max(places.count(letter) for letter in "ABCD") < 30


def test_a_question_of_the_held_out_split_is_not_trained_on(tmp_path: Path) -> None:
    config = Config(heldout=write(tmp_path, rows(5)), train=write(tmp_path, rows(7, first=3), "train.jsonl"))
    task = ChoiceTask(config)
    assert len(task.problems("heldout")) == 5
    assert [problem.question[:17] for problem in task.problems("train")] == [
        f"Which is metal {n}?" for n in range(5, 10)
    ]
    assert len(ChoiceTask(config.model_copy(update={"train_problems": 2})).problems("train")) == 2


def test_without_training_questions(tmp_path: Path) -> None:
    task = ChoiceTask(Config(heldout=write(tmp_path, rows(2))))
    with pytest.raises(ConfigError, match=r"no training questions.*Set task\.train"):
        task.problems("train")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": "?"}, "not the columns of questions with options: text"),
        ({**MMLU, "answer": 3}, "the answer 3 is none of the options"),
        ({**MMLU, "answer": "D"}, "the answer 'D' is none of the options"),
        ({**MMLU, "choices": ["iron"], "answer": 0}, "2 to 10 options"),
        ({**MMLU, "choices": ["iron", " ", "x"]}, "each with text"),
        ({**GPQA, "Correct Answer": None}, "each with text"),
        ({**MMLU, "choices": [str(number) for number in range(11)]}, "2 to 10 options"),
    ],
)
def test_bad_rows(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as error:
        ChoiceTask(Config(heldout=write(tmp_path, [row]))).problems("heldout")
    assert "heldout.jsonl:1" in str(error.value)
    assert message in str(error.value)


def test_no_file_and_no_rows(tmp_path: Path) -> None:
    for name in ("none.csv", "none.jsonl"):
        with pytest.raises(DataError, match="cannot read"):
            ChoiceTask(Config(heldout=str(tmp_path / name))).problems("heldout")
    with pytest.raises(DataError, match="no questions"):
        ChoiceTask(Config(heldout=write(tmp_path, []))).problems("heldout")


def test_the_hub_is_asked_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load(*names: str, split: str) -> list[dict[str, Any]]:
        asked.append((*names, split))
        if len(asked) > 1:
            raise PermissionError("gated")
        return [GPQA]

    module = types.ModuleType("datasets")
    module.load_dataset = load  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", module)
    config = Config(hub="Idavidrein/gpqa", subset="gpqa_diamond", heldout="train")
    assert len(ChoiceTask(config).problems("heldout")) == 1
    assert asked == [("Idavidrein/gpqa", "gpqa_diamond", "train")]
    with pytest.raises(DataError, match=r"Idavidrein/gpqa: .*gated.*log in"):
        ChoiceTask(config).problems("heldout")


def test_the_self_check_passes(tmp_path: Path) -> None:
    config = Config(heldout=write(tmp_path, rows(6)), train=write(tmp_path, [*rows(6, 10), MMLU, ARC], "train.jsonl"))
    report = check_task(ChoiceTask(config), problems=4, deadline_s=30)
    assert report.failures == []
    assert report.golds == 8
