"""The command as a user types it, on the micro model."""

from __future__ import annotations

import json
import shlex
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from reckon.run.compare import Comparison, Failed

PAGE = Path(__file__).resolve().parents[2] / "docs" / "comparison.md"


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """The command takes over signals; put them back."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


def commands() -> dict[str, list[str]]:
    """The commands of the documentation by their --out, without the word `reckon`."""
    lines = [
        line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("reckon compare-methods")
    ]
    split = [shlex.split(line)[1:] for line in lines]
    return {words[words.index("--out") + 1]: words for words in split}


def reckon(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit code of a command."""
    from reckon.cli import main

    monkeypatch.setattr(sys, "argv", ["reckon", *arguments])
    with pytest.raises(SystemExit) as leave:
        main()
    return int(leave.value.code or 0)


def test_the_small_command_of_the_docs_compares_and_then_finds_all_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    command, out = commands()["runs/tiny"], Path("runs/tiny")
    assert reckon([*command, "--json"], monkeypatch) == 0
    assert json.loads(capsys.readouterr().out) == {"out": str(out), "report": f"{out}/report.html", "failed": []}
    data = json.loads((out / "comparison.json").read_text())
    seeds = {name: sorted(row["runs"]) for name, row in data["methods"].items()}
    assert seeds == {"grpo": ["0", "1"], "rloo": ["0", "1"]}
    for method in data["methods"].values():
        assert method["measures"]["tokens"]["value"] >= data["tokens"]
        assert method["measures"]["steps"]["value"] == 2
    assert "algorithm.advantage" in data["different"]
    assert not {"seed", "preset", "max_generated_tokens"} & set(data["different"])

    assert reckon(command, monkeypatch) == 0
    printed = capsys.readouterr().out
    assert "4 of 4 runs are finished already" in printed
    assert "started" not in printed
    assert "runs/tiny/report.html" in printed

    assert reckon([*command, "--set", "optim.lr=0.5"], monkeypatch) == 2
    assert "optim.lr: 0.0002 -> 0.5" in capsys.readouterr().err


def test_the_large_command_of_the_docs_can_be_planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    planned: list[str] = []
    monkeypatch.setattr(Comparison, "execute", lambda self, runs, stop, note: planned.extend(map(str, runs)) or [])
    assert reckon(commands()["runs/methods"], monkeypatch) == 0
    assert len(planned) == len(set(planned)) == 10 * 3


def test_a_failed_run_is_an_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    monkeypatch.setattr(Comparison, "execute", lambda self, runs, stop, note: [Failed(runs[0], 3, "no such model")])
    arguments = ["compare-methods", "grpo", "--seeds", "1", "--tokens", "10", "--out", str(out), "--json"]
    assert reckon(arguments, monkeypatch) == 3
    printed = capsys.readouterr()
    assert json.loads(printed.out) == {"out": str(out), "report": None, "failed": [f"{out}/runs/grpo/seed-0"]}
    assert "1 of 1 runs failed" in printed.err


def test_a_comparison_that_cannot_be_run_is_one_error_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reckon(["compare-methods", "gropo", "--tokens", "10", "--out", str(tmp_path / "x")], monkeypatch) == 2
    assert "did you mean grpo" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
