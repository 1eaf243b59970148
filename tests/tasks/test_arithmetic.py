import ast
import random

import pytest
from pydantic import ValidationError

from reckon.core.errors import ConfigError
from reckon.core.records import Problem
from reckon.tasks.arithmetic import ArithmeticTask, apply, is_heldout, random_sum
from reckon.tasks.check import check_task
from reckon.tasks.expression import evaluate

Config = ArithmeticTask.Config
PROBLEM = Problem("arithmetic:(3+4)*5-6", "Compute ( 3 + 4 ) * 5 - 6.", 29)
SUMS = [random_sum(random.Random(seed), 3 + seed % 3, 12, 99) for seed in range(300)]


def answer(text: str) -> str:
    return f"<think> hm </think> <answer>{text}</answer>"


def test_an_expression_is_worth_what_the_parser_says() -> None:
    """The parser knows nothing of the tree that the expression was written from."""
    for one in SUMS:
        assert evaluate(one.text).value == one.value


def test_steps_are_true_stay_in_range_and_end_in_the_value() -> None:
    for one in SUMS:
        assert len(one.steps) == len(evaluate(one.text).numbers) - 1
        assert all(apply(sign, a, b, 99) == result for a, sign, b, result in one.steps)
        assert one.steps[-1][3] == one.value


def test_parentheses_stand_only_where_they_change_the_tree() -> None:
    def reading(text: str) -> str:
        """The tree as Python reads it, which ranks these operators as the task does."""
        return ast.dump(ast.parse(text, mode="eval"))

    for one in SUMS:
        words = one.text.split()
        for start, word in enumerate(words):
            if word == "(":
                depths = [words[start : end + 1] for end in range(start, len(words)) if words[end] == ")"]
                end = start + next(len(span) for span in depths if span.count("(") == span.count(")")) - 1
                bare = " ".join(words[:start] + words[start + 1 : end] + words[end + 1 :])
                assert reading(bare) != reading(one.text), one.text


@pytest.mark.parametrize(
    ("sign", "a", "b", "value"),
    [
        ("+", 60, 39, 99),
        ("+", 60, 40, None),
        ("-", 3, 3, 0),
        ("-", 3, 4, None),
        ("*", 9, 11, 99),
        ("*", 10, 10, None),
        ("/", 8, 2, 4),
        ("/", 8, 3, None),
        ("/", 8, 0, None),
        ("/", 0, 8, 0),
    ],
)
def test_a_value_is_whole_and_in_range_or_none(sign: str, a: int, b: int, value: int | None) -> None:
    assert apply(sign, a, b, 99) == value


@pytest.mark.parametrize(
    ("text", "score", "reason"),
    [
        ("29", 1, "correct"),
        (" +29\n", 1, "correct"),
        ("029", 1, "correct"),
        ("28", 0, "wrong"),
        ("-29", 0, "wrong"),
        ("29.", 0, "not a whole number"),
        ("29.0", 0, "not a whole number"),
        ("35 - 6", 0, "not a whole number"),
        ("29 29", 0, "not a whole number"),
        ("= 29", 0, "not a whole number"),
        ("２９", 0, "not a whole number"),
        ("9" * 5000, 0, "not a whole number"),
    ],
)
def test_only_one_whole_number_is_read(text: str, score: float, reason: str) -> None:
    verdict = ArithmeticTask().verify(PROBLEM, answer(text))
    assert (verdict.score, verdict.reason) == (score, reason)


def test_what_was_read_is_reported_in_one_spelling() -> None:
    assert {ArithmeticTask().verify(PROBLEM, answer(text)).extracted for text in ("29", "+29", "029")} == {"29"}
    assert ArithmeticTask().verify(PROBLEM, "29").reason == "unfinished thinking"


def test_problems_are_as_many_as_asked_and_the_same_every_time() -> None:
    config = Config(numbers=3, train_problems=50, heldout_problems=20)
    train, heldout = (ArithmeticTask(config).problems(split) for split in ("train", "heldout"))
    assert (len(train), len(heldout)) == (50, 20)
    assert train == ArithmeticTask(config).problems("train")
    assert train != ArithmeticTask(config.model_copy(update={"seed": 1})).problems("train")
    assert not any(is_heldout(problem.question[8:-1]) for problem in train)
    assert all(is_heldout(problem.question[8:-1]) for problem in heldout)
    assert all(evaluate(problem.question[8:-1]).value == problem.gold for problem in train)


def test_the_split_never_changes() -> None:
    """Shipped models were pretrained without the held-out problems; another hash would leak them."""
    assert [n for n in range(1, 60) if is_heldout(f"( 3 + 4 ) * {n} - 6")] == [21, 44, 56]
    assert is_heldout("(3+4)*5-6") == is_heldout("( 3 + 4 ) * 5 - 6")


def test_asking_for_more_than_there_are() -> None:
    with pytest.raises(ConfigError, match=r"found only \d+ different train problems of the 30 asked for"):
        ArithmeticTask(Config(numbers=2, max_number=2, train_problems=30)).problems("train")


@pytest.mark.parametrize("settings", [{"numbers": 7}, {"numbers": []}, {"max_number": 100}, {"train_problems": 0}])
def test_impossible_settings_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Config(**settings)


def test_the_self_check_passes() -> None:
    report = check_task(ArithmeticTask(Config(train_problems=40, heldout_problems=10)), problems=8, deadline_s=30)
    assert report.failures == []
    assert report.golds == 16
