from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reckon.cli.chat import Answer, TextStream, ThoughtStream

TEXT = " <think> 8 - 1 = 7, 不对, 🙂 </think> <answer> 8 * 3 </answer>"


def as_bytes(ids: list[int]) -> str:
    return bytes(ids).decode(errors="replace")


@settings(deadline=None)
@given(st.text(max_size=20))
def test_text_comes_whole_from_single_bytes(text: str) -> None:
    stream = TextStream(as_bytes)
    pieces = [stream.feed(byte) for byte in text.encode(errors="replace")]
    assert "".join(pieces) + stream.rest() == text.encode(errors="replace").decode()
    assert all(piece == "\ufffd" or "\ufffd" not in piece for piece in pieces) or "\ufffd" in text


def test_an_unfinished_character_is_shown_at_the_end() -> None:
    stream = TextStream(as_bytes)
    assert [stream.feed(byte) for byte in "a🙂".encode()[:3]] == ["a", "", ""]
    assert stream.rest() == "\ufffd"


@settings(deadline=None)
@given(st.lists(st.integers(1, 12)), st.booleans())
def test_thinking_is_told_from_the_answer_however_it_is_cut(cuts: list[int], opened: bool) -> None:
    text = TEXT.replace(" <think>", "") if opened else TEXT
    stream = ThoughtStream(opened)
    pieces, left = [], text
    for cut in [*cuts, len(text)]:
        pieces += stream.feed(left[:cut])
        left = left[cut:]
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


def shown(text: str, capsys: pytest.CaptureFixture[str], fold: bool = False) -> str:
    answer = Answer(as_bytes, thinking=False, fold=fold)
    for byte in text.encode():
        answer.on_token(0, byte)
    answer.end()
    return capsys.readouterr().out


def test_a_pipe_gets_plain_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(TEXT, capsys) == TEXT + "\n"


def test_a_terminal_gets_dimmed_thinking(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    out = shown("<think>no</think>yes", capsys)
    assert out.replace("\x1b[0m\x1b[2m", "") == "\x1b[2m<think>no</think>\x1b[0myes\n"


def test_folded_thinking_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown("<think>abc</think>yes", capsys, fold=True) == "(thought for 11 tokens)\nyes\n"
    assert shown("<think>abc", capsys, fold=True) == "(thought for 3 tokens)\n\n"


def test_escapes_of_the_model_do_not_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert "\x1b" not in shown("red \x1b[31m \x07 text", capsys)
