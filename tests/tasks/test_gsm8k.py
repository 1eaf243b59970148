import json
import os
import sys
import time
import types
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reckon.core.errors import ConfigError, DataError
from reckon.core.records import Problem
from reckon.tasks.gsm8k import Gsm8kTask, read_number

DATA = Path(os.environ.get("RECKON_DATA", Path(__file__).parents[3] / "shared" / "data")) / "gsm8k"


def answer(text: str) -> str:
    return f"<think> hm </think> <answer>{text}</answer>"


def task_with(folder: Path, rows: list[dict[str, object]]) -> Gsm8kTask:
    for name in ("train", "test"):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Gsm8kTask(Gsm8kTask.Config(path=str(folder)))


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("18", 18),
        (" 18. ", 18),
        ("18.00", 18),
        ("18.50.", Fraction(37, 2)),
        ("$18", 18),
        ("-$18", -18),
        ("-18", -18),
        ("70,000", 70_000),
        ("$1,234,567.25", Fraction(4938269, 4)),
        ("007", 7),
    ],
)
def test_numbers_that_are_read(text: str, number: Fraction) -> None:
    assert read_number(text) == number


@pytest.mark.parametrize(
    "text",
    [
        *("", "-", "$", ".5", "18 dollars", "18%", "1/2", "1,00", "1,0000", ",100", "18,19", "18 19", "1e3", "9**9"),
        *("$$18", "--18", "+18", "18..", "x = 18", "１８", "٣", "1_000", "\\boxed{18}", "nan", "inf", "9" * 1000),
    ],
)
def test_texts_that_are_no_single_number(text: str) -> None:
    assert read_number(text) is None


@given(st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=-(10**9), max_value=10**9))
@settings(deadline=None)
def test_every_way_of_writing_a_number_is_the_same_number(value: object) -> None:
    assert read_number(f"{value:f}") == read_number(f"{value:,f}") == Fraction(str(value))


@given(st.text())
@settings(deadline=None)
def test_no_text_raises_or_scores(text: str) -> None:
    task = Gsm8kTask()
    problem = Problem("x", "", "123456789")
    assert task.verify(problem, text).score == 0.0
    assert task.verify(problem, answer(text)).score == 0.0


def test_verdicts() -> None:
    task = Gsm8kTask()
    problem = Problem("x", "How many?", "1,800")
    right = task.verify(problem, answer("$1800.00"))
    assert (right.score, right.reason, right.extracted) == (1.0, "correct", "1800")
    wrong = task.verify(problem, answer("18.5"))
    assert (wrong.score, wrong.reason, wrong.extracted) == (0.0, "wrong", "37/2")
    assert task.verify(problem, answer("1800 apples")).reason == "not a number"
    assert task.verify(problem, "1800").reason == "unfinished thinking"
    assert task.verify(problem, answer("1800") + answer("1800")).reason == "several thoughts"


def test_a_thousand_digits_are_judged_at_once() -> None:
    start = time.process_time()
    assert Gsm8kTask().verify(Problem("x", "", "18"), answer("9" * 10**6)).score == 0.0
    assert time.process_time() - start < 0.1


def test_an_unreadable_gold_is_absent_not_wrong(tmp_path: Path) -> None:
    task = task_with(tmp_path, [{"question": "q", "answer": "no mark"}, {"question": "q", "answer": "#### many"}])
    for problem in task.problems("train"):
        verdict = task.verify(problem, answer("18"))
        assert (verdict.score, verdict.reason) == (None, "unreadable gold")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "the train split is empty"),
        ([{"question": "q"}], "train.jsonl:1: the row has no column 'answer'"),
        ([{"question": "q", "answer": 18}], "train.jsonl:1: 'question' and 'answer' must be text"),
    ],
)
def test_bad_files(tmp_path: Path, rows: list[dict[str, object]], message: str) -> None:
    with pytest.raises(DataError) as error:
        task_with(tmp_path, rows).problems("train")
    assert message in str(error.value)


def test_missing_folder_and_unknown_split(tmp_path: Path) -> None:
    task = Gsm8kTask(Gsm8kTask.Config(path=str(tmp_path / "none")))
    with pytest.raises(DataError, match=r"none/test\.jsonl"):
        task.problems("heldout")
    with pytest.raises(ConfigError, match="no split 'test'"):
        task.problems("test")


def _fake_hub(monkeypatch: pytest.MonkeyPatch, load: object) -> None:
    module = types.ModuleType("datasets")
    module.load_dataset = load  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", module)


def test_without_a_path_the_hub_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load(*args: str, **settings: str) -> list[dict[str, str]]:
        asked.append((args, settings))
        return [{"question": "How many?", "answer": "Two.\n#### 2"}]

    _fake_hub(monkeypatch, load)
    assert Gsm8kTask().problems("heldout") == [Problem("gsm8k:test:0", "How many?", "2")]
    assert asked == [(("openai/gsm8k", "main"), {"split": "test"})]


def test_offline_is_a_data_error_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*args: str, **settings: str) -> None:
        raise ConnectionError("no route to host")

    _fake_hub(monkeypatch, load)
    with pytest.raises(DataError, match=r"no route to host.*task\.path"):
        Gsm8kTask().problems("train")


@pytest.mark.skipif(not DATA.is_dir(), reason=f"the GSM8K files are not at {DATA}")
def test_every_real_gold_is_read_and_scores_one() -> None:
    task = Gsm8kTask(Gsm8kTask.Config(path=str(DATA)))
    problems = task.problems("heldout")
    assert len(problems) == 1319
    assert len(task.problems("train")) == 7473
    assert len({problem.id for problem in problems}) == 1319
    for problem in problems:
        gold = task.gold_response(problem)
        assert gold is not None
        assert task.verify(problem, gold).score == 1.0, problem.id
        assert all(task.verify(problem, bad).score == 0.0 for bad in task.bad_responses(problem)), problem.id
