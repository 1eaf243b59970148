from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reckon.serve.text import Cutter, Splitter, State, StopText, Tags, TextStream, ThoughtStream
from tests.serve.serving import TOKENIZER, ids

TEXT = " <think> 8 - 1 = 7, 不对, 🙂 </think> <answer> 8 * 3 </answer>"
NO_TAGS = Tags(frozenset(), frozenset(), (), ())


def as_bytes(tokens: list[int]) -> str:
    return bytes(tokens).decode(errors="replace")


def cut(text: bytes | list[int], cuts: list[int]) -> list[list[int]]:
    parts, left = [], list(text)
    for size in [*cuts, len(left)]:
        parts.append(left[:size])
        left = left[size:]
    return [part for part in parts if part]


@settings(deadline=None)
@given(st.text(max_size=20), st.lists(st.integers(1, 9)))
def test_text_comes_whole_however_its_bytes_are_cut(text: str, cuts: list[int]) -> None:
    data = text.encode(errors="replace")
    stream = TextStream(as_bytes)
    pieces = [stream.feed(part) for part in cut(data, cuts)]
    assert "".join(pieces) + stream.rest() == data.decode()
    assert "\ufffd" in text or not any("\ufffd" in piece for piece in pieces)


def test_an_unfinished_character_is_shown_at_the_end() -> None:
    stream = TextStream(as_bytes)
    assert [stream.feed([byte]) for byte in "a🙂".encode()[:3]] == ["a", "", ""]
    assert stream.rest() == "\ufffd"


def test_bytes_that_are_no_character_are_not_kept_back_for_ever() -> None:
    stream = TextStream(as_bytes)
    shown = "".join(stream.feed([0xFF]) for _ in range(100))
    assert len(shown) >= 96


@settings(deadline=None)
@given(st.lists(st.integers(1, 12)), st.booleans())
def test_thinking_is_told_from_the_answer_with_its_tags(cuts: list[int], opened: bool) -> None:
    text = TEXT.replace(" <think>", "") if opened else TEXT
    stream = ThoughtStream(opened)
    pieces, left = [], text
    for size in [*cuts, len(text)]:
        pieces += stream.feed(left[:size])
        left = left[size:]
    pieces += stream.rest()
    thinking = "".join(piece for is_thinking, piece in pieces if is_thinking)
    answer = "".join(piece for is_thinking, piece in pieces if not is_thinking)
    expected = text.partition(" <answer>")[0]
    assert thinking == (expected if opened else expected.removeprefix(" "))
    assert answer.strip() == "<answer> 8 * 3 </answer>"


def test_what_cannot_be_a_tag_is_not_kept_back() -> None:
    stream = ThoughtStream(False)
    assert stream.feed("a < b") == [(False, "a < b")]
    assert stream.feed(" <thi") == [(False, " ")]
    assert stream.feed("s>") == [(False, "<this>")]


def split(parts: list[list[int]], tags: Tags, decode: object, state: State = "undecided") -> tuple[str, str, int]:
    splitter = Splitter(tags, decode, state)  # type: ignore[arg-type]
    pieces = [splitter.feed(part) for part in parts] + [splitter.rest()]
    return "".join(thought for thought, _ in pieces), "".join(answer for _, answer in pieces), splitter.thought


MICRO = Tags.of(TOKENIZER)


def micro(tokens: list[int]) -> str:
    return str(TOKENIZER.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False))


@settings(deadline=None)
@given(st.lists(st.integers(1, 12)), st.sampled_from(["tokens", "text"]))
def test_a_response_is_split_the_same_however_it_comes(cuts: list[int], kind: str) -> None:
    thought, answer = "8 - 1 = 7, 不对, 🙂", "<answer> 8 * 3 </answer>"
    if kind == "tokens":
        tokens = ids(TEXT)
        counted = tokens.index(ids(" </think>")[0]) + 1
        assert split(cut(tokens, cuts), MICRO, micro) == (thought, answer, counted)
    else:
        counted = len(TEXT.partition("</think>")[0].encode()) + len("</think>")
        assert split(cut(TEXT.encode(), cuts), NO_TAGS, as_bytes) == (thought, answer, counted)


@pytest.mark.parametrize(
    ("text", "state", "expected"),
    [
        ("why </think> so", "thinking", ("why", "so")),
        ("\n\n<think>\nwhy\n</think>\n\nso ", "undecided", ("why", "so ")),
        ("so <think> x </think>", "undecided", ("", "so <think> x </think>")),
        ("a </think> b <think> c </think> d", "thinking", ("a", "b <think> c </think> d")),
        ("<think></think>so", "undecided", ("", "so")),
        ("<think> never  ends ", "undecided", ("never  ends", "")),
        ("<thin", "undecided", ("", "<thin")),
        ("a </thi", "thinking", ("a </thi", "")),
        ("<think> a </think> b", "answer", ("", "<think> a </think> b")),
        ("", "undecided", ("", "")),
    ],
)
def test_text_tags(text: str, state: State, expected: tuple[str, str]) -> None:
    parts = [[byte] for byte in text.encode()]
    assert split(parts, NO_TAGS, as_bytes, state)[:2] == expected


def test_where_tags_are_tokens_their_letters_are_text() -> None:
    spelled = [token for letter in "</think>" for token in ids(letter)]
    tokens = [*ids(" <think> say"), *spelled, *ids(" then </think> done")]
    assert split([tokens], MICRO, micro)[:2] == ("say</think> then", "done")


def test_an_answer_without_thinking_has_thought_nothing() -> None:
    assert split([ids(" 24")], MICRO, micro) == ("", "24", 0)


def test_tags_are_found_in_the_vocabulary() -> None:
    assert MICRO.close_ids == frozenset(ids(" </think>"))
    assert MICRO.opening == tuple(ids(" <think>"))


def test_text_that_was_cut_is_put_in_order() -> None:
    cutter = Cutter("undecided")
    pieces = [piece for part in (" <th", "ink> a ", "</", "think> b") for piece in cutter.feed(part)]
    assert pieces + cutter.rest() == [(True, "a"), (False, "b")]


@settings(deadline=None)
@given(st.text("ab.", max_size=12), st.lists(st.text("ab.", min_size=1, max_size=3), max_size=3), st.data())
def test_a_stop_string_ends_the_text_before_it(text: str, stops: list[str], data: st.DataObject) -> None:
    stream, shown, left = StopText(stops), "", text
    while left:
        size = data.draw(st.integers(1, len(left)))
        shown += stream.feed(left[:size])
        left = left[size:]
    shown += stream.rest()
    found = [end for end in range(len(text) + 1) if any(text[:end].endswith(stop) for stop in stops)]
    assert stream.stopped == bool(found)
    if not found:
        assert shown == text
    else:
        assert text.startswith(shown)
        assert not any(stop in shown for stop in stops)
        assert any(text[len(shown) :].startswith(stop) for stop in stops)
