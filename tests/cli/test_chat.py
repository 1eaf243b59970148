from __future__ import annotations

import io

import pytest

from reckon.cli.chat import Answer, Screen, command
from reckon.core.errors import ConfigError
from tests.serve.serving import Scripted, native, serving

TEXT = " <think> 8 - 1 = 7, 不对, 🙂 </think> <answer> 8 * 3 </answer>"


def as_bytes(ids: list[int]) -> str:
    return bytes(ids).decode(errors="replace")


def shown(text: str, capsys: pytest.CaptureFixture[str], fold: bool = False) -> str:
    answer = Answer(as_bytes, thinking=False, screen=Screen(fold))
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


def ask(url: str, lines: str, monkeypatch: pytest.MonkeyPatch, **more: object) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(lines))
    defaults = {"temperature": 1.0, "top_p": 1.0, "max_new_tokens": 100, "stop": None, "seed": 0, "fold": False}
    command(url, **{**defaults, **more})  # type: ignore[arg-type]


def test_a_server_is_told_what_was_said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Scripted()
    with serving(native(engine)) as url:
        ask(url, "Make 24 from 3, 8, 1.\nAgain?\n/quit\n", monkeypatch)
    answer = "8 - 3 = 5, no. 3 * 8 = 24, yes.\n<answer> 1 * 3 * 8 </answer>\n"
    assert capsys.readouterr().out == answer * 2
    assert len(engine.seen[1].prompt_ids) > len(engine.seen[0].prompt_ids) + 10


def test_a_servers_thinking_can_be_folded(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as url:
        ask(url, "Make 24 from 3, 8, 1.\n", monkeypatch, fold=True, max_new_tokens=30)
    told = capsys.readouterr()
    assert told.out.startswith("(thought for ")
    assert "tokens)\n<answer>" in told.out


def test_a_server_sets_its_own_limits_unless_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving() as url:
        ask(url, "Make 24 from 3, 8, 1.\n", monkeypatch, max_new_tokens=None)
        assert "answer" in capsys.readouterr().out
        with pytest.raises(ConfigError, match=r"refuses: .*context holds"):
            ask(url, "Make 24 from 3, 8, 1.\n", monkeypatch, max_new_tokens=10**6)
        with pytest.raises(ConfigError, match="--device: a server decides this"):
            ask(url, "", monkeypatch, device="cuda")


def test_a_server_that_is_not_there_is_the_users_to_correct(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="does not answer"):
        ask("http://127.0.0.1:9/v1", "Hello?\n", monkeypatch)
