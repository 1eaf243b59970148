"""The command from end to end, with the shipped model on a few problems."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from reckon.cli import search
from reckon.cli.search import CURVES, FIGURE, SETTINGS, TREES
from reckon.core.config import load_yaml
from reckon.core.errors import ConfigError, DataError, Interrupted
from reckon.core.store import read_jsonl
from reckon.search.searcher import Searcher

STEPS = ("--set", 'steps.separators=[","]', "--set", "steps.max_tokens=24")


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """The command takes over the signals of the process; give them back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def reckon(*arguments: object) -> Result:
    app = typer.Typer()
    app.command()(search.command)
    return CliRunner().invoke(app, [*map(str, arguments)])


def options(out: Path, method: str = "beam", budget: int = 96, problems: int = 4) -> list[object]:
    shared = ["micro", "--task", "countdown", "--problems", problems, "--out", out, "--max-new-tokens", 100, *STEPS]
    return [*shared, "--method", method, "--budget", budget, "--scorer", "oracle"]


def found(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.exception
    row: dict[str, Any] = json.loads(result.stdout)
    return row


def tokens(folder: Path) -> list[list[tuple[str, list[int]]]]:
    """The tokens of every node of every tree."""
    return [[(node["id"], node["token_ids"]) for node in tree["nodes"]] for tree in read_jsonl(folder / TREES)]


@pytest.fixture(scope="module")
def beam(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("searches") / "beam"
    return out, found(reckon(*options(out), "--json"))


def test_accuracy_at_the_budget_and_below(beam: tuple[Path, dict[str, Any]]) -> None:
    out, row = beam
    assert row["problems"] == 4
    points = row["methods"]["beam, oracle"]["points"]
    assert [point["budget"] for point in points] == [6, 12, 24, 48, 96]
    assert all(0 < point["generated"] <= point["budget"] for point in points)
    assert [sum(len(ids) for _, ids in tree) for tree in tokens(out)] == [96] * 4
    assert json.loads((out / CURVES).read_text()) == row
    assert (out / FIGURE).read_text().startswith("<svg")
    settings = load_yaml(out / SETTINGS)
    assert (settings["search"]["beams"], settings["scorer"], settings["budget"]) == (8, "oracle", 96)


def test_the_same_command_goes_on_and_repeats(
    beam: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(search, "PROBLEMS_PER_CHUNK", 2)
    grow, calls = Searcher.grow, 0

    def interrupted(self: Searcher, *arguments: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise Interrupted("stopped")
        grow(self, *arguments)

    monkeypatch.setattr(Searcher, "grow", interrupted)
    assert isinstance(reckon(*options(tmp_path)).exception, Interrupted)
    assert len(read_jsonl(tmp_path / TREES)) == 2
    again = found(reckon(*options(tmp_path), "--json"))
    assert tokens(tmp_path) == tokens(beam[0]), "a tree does not depend on what was grown beside it"
    assert again["methods"]["beam, oracle"]["points"] == beam[1]["methods"]["beam, oracle"]["points"]
    before = (tmp_path / TREES).read_bytes()
    found(reckon(*options(tmp_path), "--json"))
    assert (tmp_path / TREES).read_bytes() == before


def test_other_settings_are_refused(beam: tuple[Path, dict[str, Any]]) -> None:
    refused = reckon(*options(beam[0], budget=97)).exception
    assert isinstance(refused, ConfigError)
    assert "budget is 96 there and 97 here" in str(refused)
    refused = reckon(*options(beam[0]), "--set", "search.width=2").exception
    assert isinstance(refused, ConfigError)
    assert "'width': 2" in str(refused)


def test_searches_are_compared_without_a_model(beam: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    rebase = tmp_path / "rebase"
    found(reckon(*options(rebase, "rebase"), "--json"))
    out = tmp_path / "both"
    row = found(reckon("--replay", beam[0], "--replay", rebase, "--out", out, "--json"))
    assert list(row["methods"]) == ["beam, oracle", "rebase, oracle"]
    assert row["methods"]["beam, oracle"] == beam[1]["methods"]["beam, oracle"]
    assert row["best"] == [], "an oracle is no choice"
    again = shutil.copytree(beam[0], tmp_path / "again")
    twice = found(reckon("--replay", beam[0], "--replay", again, "--json"))
    assert twice["runs"] == 2
    shown = reckon("--replay", beam[0], "--replay", rebase)
    assert "oracle" in shown.stdout
    fewer = tmp_path / "fewer"
    found(reckon(*options(fewer, "vote", problems=3), "--json"))
    assert isinstance(reckon("--replay", beam[0], "--replay", fewer).exception, DataError)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "needs a model"),
        (["micro"], "--task KIND"),
        (["micro", "--task", "countdown"], "--out DIR"),
        (["micro", "--replay", "x"], "exclude each other"),
        (["micro", "--task", "countdown", "--method", "beem", "--out", "x"], "did you mean 'beam'? Use one of"),
        (["micro", "--task", "countdown", "--method", "beam", "--out", "x"], "needs a scorer"),
        (["micro", "--task", "countdown", "--scorer", "oracle", "--reference", "x", "--out", "x"], "has a reference"),
        (["micro", "--task", "countdown", "--set", "engine.kind=vlm", "--out", "x"], "did you mean vllm"),
        (["micro", "--task", "countdown", "--set", "search.shown=1", "--out", "x"], "unknown key shown"),
        (["micro", "--task", "countdown", "--set", "optim.lr=1", "--out", "x"], "not a part of a search"),
    ],
)
def test_what_cannot_be_done_is_said(
    arguments: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    refused = reckon(*arguments).exception
    assert isinstance(refused, ConfigError)
    assert says in str(refused)
    assert list(tmp_path.iterdir()) == []


def test_another_model_is_no_scorer(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    asked = ["micro", "--task", "countdown", "--method", "beam", "--scorer", "micro", "--out", tmp_path / "x"]
    refused = reckon(*asked).exception
    assert isinstance(refused, DataError)
    assert "not a reward model" in str(refused)
    assert "loss: process" in str(refused)
    assert "MISSING" not in "".join(capfd.readouterr())


def test_revisions_need_no_settings(tmp_path: Path) -> None:
    asked = ["micro", "--task", "countdown", "--method", "revise", "--problems", 2, "--out", tmp_path, "--json"]
    assert found(reckon(*asked))["methods"]["revise"]["points"][-1]["generated"] == 1024


def test_searches_are_named_by_what_tells_them_apart(beam: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    narrow = tmp_path / "narrow"
    found(reckon(*options(narrow), "--set", "search.width=2", "--json"))
    row = found(reckon("--replay", beam[0], "--replay", narrow, "--json"))
    assert list(row["methods"]) == ["beam, oracle, width 4", "beam, oracle, width 2"]
