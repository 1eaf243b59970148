import itertools
from typing import Any

import pytest
from pydantic import ValidationError

from reckon.data.curate.base import Operation
from reckon.data.curate.filters import (
    Correct,
    Finished,
    Format,
    Judged,
    Language,
    Length,
    NoCode,
    Paragraphs,
    Repetition,
    Score,
)
from tests.data.curate.rows import row, thought


def why(operation: Operation, **columns: Any) -> str | None:
    """The reason for which one row is dropped; None if it stays as it is."""
    given = row("a", **columns)
    sifted = operation.apply([given], seed=0)
    if sifted.kept:
        assert sifted.kept == [given]
        assert sifted.dropped == []
        return None
    [dropped] = sifted.dropped
    assert dropped.row == given
    return dropped.why


@pytest.mark.parametrize(
    ("operation", "score", "reason"),
    [
        (Correct(), 1.0, None),
        (Correct(), 0.99, "wrong"),
        (Correct(), None, "no score"),
        (Judged(), 0.0, None),
        (Judged(), None, "no score"),
        (Score(min=0.5), 0.5, None),
        (Score(min=0.5), 0.4, "score below 0.5"),
        (Score(min=-1), None, "no score"),
    ],
)
def test_by_score(operation: Operation, score: float | None, reason: str | None) -> None:
    assert why(operation, score=score) == reason


@pytest.mark.parametrize(
    ("finish", "reason"),
    [("stop", None), ("length", "ended by length"), ("error", "ended by error"), (None, "no finish")],
)
def test_finished(finish: str | None, reason: str | None) -> None:
    assert why(Finished(), finish=finish) == reason


@pytest.mark.parametrize(
    ("limits", "tokens", "reason"),
    [
        ({"min": 5, "max": 10}, 5, None),
        ({"min": 5, "max": 10}, 10, None),
        ({"min": 5, "max": 10}, 4, "too short"),
        ({"min": 5, "max": 10}, 11, "too long"),
        ({"min": 5}, 10_000, None),
        ({"max": 5}, 0, None),
        ({"max": 5}, None, "no tokens"),
    ],
)
def test_length(limits: dict[str, int], tokens: int | None, reason: str | None) -> None:
    assert why(Length(**limits), tokens=tokens) == reason


def test_format_knows_what_the_prompt_opened_and_whether_a_summary_may_stand() -> None:
    plain, opened = "<think> a </think> <answer> b </answer>", "a </think> <answer> b </answer>"
    summed = "<think> a </think> a. <answer> b </answer>"
    assert why(Format(), response=plain) is None
    assert why(Format(), response=opened) == "wrong form"
    assert why(Format(), response=opened, prompt="Assistant: <think>\n") is None
    assert why(Format(), response=summed) == "wrong form"
    assert why(Format(summary=True), response=summed) is None
    assert why(Format(summary=True), response=plain) is None
    assert why(Format(), response=plain, prompt=None) == "no prompt"


@pytest.mark.parametrize(
    ("settings", "text", "reason"),
    [
        ({}, "8 * 3 = 24, yes.", None),
        ({}, "8 * 3 = 24, 对。", "another language"),
        ({}, "8 * 3 = 24, 对。 yes.", "mixed language"),
        ({}, "да, yes.", "mixed language"),
        ({}, "да.", "another language"),
        ({}, "8 * 3 = 24", None),
        ({}, "", None),
        ({"min": 0.5}, "yes, 对。", None),
        ({"min": 0.6}, "yes, 对。", "mixed language"),
        ({"script": "han"}, "对。", None),
    ],
)
def test_language(settings: dict[str, Any], text: str, reason: str | None) -> None:
    assert why(Language(**settings), response=thought(text)) == reason


def test_language_asks_the_question_for_its_script() -> None:
    assert why(Language(), response=thought("对。"), question="用 3, 8, 1 得到 24。") is None
    assert why(Language(), response=thought("yes."), question="Answer in Chinese: say hello.") == "another language"


def test_repetition_is_of_n_words_and_the_limit_is_kept() -> None:
    # a b a b a b: of 5 pairs 3 are repetitions.
    assert why(Repetition(max=0.59, n=2), response="a b a b a b") == "repeats itself"
    assert why(Repetition(max=0.61, n=2), response="a b a b a b") is None
    assert why(Repetition(max=0.0, n=10), response=thought("1 + 1 = 2, " * 2)) is None
    assert why(Repetition(max=0.0), response=thought("1 + 1 = 2, " * 3)) == "repeats itself"


def test_code_counts_in_the_thinking_only() -> None:
    assert why(NoCode(), response=thought("so ```print(1)```")) == "code in the thinking"
    assert why(NoCode(), response="<think> so </think> ```print(1)``` <answer> 1 </answer>") is None


def test_paragraphs_are_parted_by_blank_lines() -> None:
    two = thought("one two three\nfour\n \nfive six")
    assert why(Paragraphs(max_words=4), response=two) is None
    assert why(Paragraphs(max_words=3), response=two) == "long paragraph"
    assert why(Paragraphs(max_words=3), response="<think> a </think> b c d e f") is None
    assert why(Paragraphs(max_words=3), response=thought("不对不对")) == "long paragraph"


def test_a_filter_may_be_limited_to_some_tasks_and_keeps_the_order() -> None:
    rows = [row("a", score=0.0), row("b", task="general", score=0.0), row("c"), row("d", task="general", score=None)]
    sifted = Correct(tasks=("countdown",)).apply(rows, seed=0)
    assert sifted.kept == rows[1:]
    assert [(drop.row["id"], drop.why) for drop in sifted.dropped] == [("a", "wrong")]


def test_every_row_comes_out_or_is_listed() -> None:
    texts = ["", "<think>", thought("对 yes"), thought("a b " * 30), "```", "</think></think>", "<answer>\n\n</answer>"]
    rows = [
        row(f"r{number}", response=text, score=score, finish=finish, tokens=tokens)
        for number, (text, score, finish, tokens) in enumerate(
            itertools.product(texts, (None, 0.0, 0.5, 1.0), ("stop", None), (0, 50, None))
        )
    ]
    operations = [Correct(), Judged(), Score(min=0.3), Finished(), Format(), Language(), Repetition(max=0.2)]
    for operation in [*operations, Length(min=1, max=9), NoCode(), Paragraphs(max_words=5)]:
        sifted = operation.apply(rows, seed=0)
        assert sorted([*sifted.kept, *(drop.row for drop in sifted.dropped)], key=lambda r: r["id"]) == sorted(
            rows, key=lambda r: r["id"]
        )
        assert all(drop.why for drop in sifted.dropped)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Length(min=5, max=4),
        lambda: Language(min=0.0),
        lambda: Language(script="greek"),
        lambda: Repetition(max=1.0),
        lambda: Paragraphs(max_words=0),
        lambda: Score(),
        lambda: Correct(tasks=["a"], min=2),
    ],
)
def test_settings_that_make_no_sense(make: Any) -> None:
    with pytest.raises(ValidationError):
        make()
