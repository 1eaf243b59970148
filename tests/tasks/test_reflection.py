import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reckon.tasks.reflection import HAN_WORDS, LATIN_WORDS, has_han, reflections


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("8 - 1 = 7, no. wait, 8 / 1 = 8, yes.", {"no": 1, "wait": 1}),
        ("Wait! WAIT, no", {"wait": 2, "no": 1}),
        (
            "Hmm, let me  try again. Actually, check.",
            {"hmm": 1, "let me try": 1, "again": 1, "actually": 1, "check": 1},
        ),
        ("none of the nodes awaits a checkpoint against it", {}),
        ("不对，等等。再试一次，检查，试试", {"不对": 1, "等等": 1, "再试": 1, "检查": 1, "试试": 1}),
        ("不对wait等等no", {"不对": 1, "wait": 1, "等等": 1, "no": 1}),
        ("", {}),
    ],
)
def test_counts(text: str, counts: dict[str, int]) -> None:
    assert reflections(text) == counts


def test_every_word_of_the_list_is_counted_under_its_own_name() -> None:
    for word in LATIN_WORDS + HAN_WORDS:
        assert reflections(f"a {word}, b") == {word: 1}


@given(st.text())
@settings(deadline=None)
def test_only_listed_words_are_counted(text: str) -> None:
    assert set(reflections(text)) <= set(LATIN_WORDS + HAN_WORDS)


def test_a_million_characters_take_little_time() -> None:
    start = time.process_time()
    reflections("let me " * 70_000 + " " * 500_000)
    assert time.process_time() - start < 1


def test_han() -> None:
    assert has_han("8 * 3 = 24 对")
    assert has_han("\U00020000")
    assert not has_han("8 × 3 = 24, ja, да, はい, 、。")
