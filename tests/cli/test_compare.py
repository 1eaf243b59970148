"""``reckon compare`` on small files of samples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from reckon.cli.compare import command
from reckon.core.errors import ConfigError, DataError
from reckon.core.store import append_jsonl
from reckon.evals.samples import SAMPLES
from reckon.evals.settings import SETTINGS

app = typer.Typer()
app.command()(command)


def table(path: Path, rights: list[list[bool]], **more: Any) -> Path:
    rows = [
        {"problem": f"Problem {n}?", "answer": "1", "responses": ["\\boxed{1}" if right else "no" for right in row]}
        | ({} if more.get("bare") else {"correct": row})
        for n, row in enumerate(rights)
    ]
    append_jsonl(path, rows)
    return path


def compare(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_difference_is_taken_by_problem(tmp_path: Path) -> None:
    worse = table(tmp_path / "worse.jsonl", [[False, False], [True, False], [True, True]])
    better = table(tmp_path / "better.jsonl", [[True, False], [True, True], [True, True]])
    result = compare(worse, better, "--json")
    assert result.exit_code == 0, result.exception
    row = json.loads(result.stdout)
    assert row["difference"]["value"] == pytest.approx(1 / 3)
    assert row["difference"]["problems"] == 3
    assert (row["significant"], row["settings"]) == (False, {})
    assert (row["before"]["pass@1"]["value"], row["after"]["pass@1"]["value"]) == (0.5, pytest.approx(5 / 6))
    text = compare(worse, better).stdout
    assert "No difference can be told from chance" in text
    assert f"one of {row['difference']['detectable']:.3f} would be found" in text


def test_problems_of_one_alone_are_left_out_and_counted(tmp_path: Path) -> None:
    short = table(tmp_path / "short.jsonl", [[True], [False]])
    long = table(tmp_path / "long.jsonl", [[True], [False], [True], [True], [True]])
    row = json.loads(compare(short, long, "--json").stdout)
    assert (row["difference"]["problems"], row["unpaired"], row["difference"]["value"]) == (2, 3, 0.0)
    text = compare(short, long).stdout
    assert "Not compared: 3 problems that only one of the two has judged" in text
    assert "would be found" not in text, "without any spread nobody knows what would be"


def test_samples_without_verdicts_are_judged_if_a_task_is_named(tmp_path: Path) -> None:
    bare = table(tmp_path / "bare.jsonl", [[True], [False]], bare=True)
    result = compare(bare, bare)
    assert isinstance(result.exception, ConfigError)
    assert "nothing says which samples are right" in str(result.exception)
    row = json.loads(compare(bare, bare, "--task", "math", "--json").stdout)
    assert row["before"]["pass@1"]["value"] == 0.5
    assert row["difference"]["value"] == 0.0


def test_different_problems_cannot_be_compared(tmp_path: Path) -> None:
    one = table(tmp_path / "one.jsonl", [[True]])
    result = compare(one, one)
    assert isinstance(result.exception, DataError)
    assert "1 judged problems in common" in str(result.exception)


def test_what_was_not_the_same_in_both_is_said(tmp_path: Path) -> None:
    for name, temperature in (("a", 0.6), ("b", 1.0)):
        folder = tmp_path / name
        folder.mkdir()
        table(folder / SAMPLES, [[True], [False]])
        (folder / SETTINGS).write_text(f"benchmark: {{temperature: {temperature}}}\nmade_with: {{reckon: {name}}}\n")
    row = json.loads(compare(tmp_path / "a", tmp_path / "b", "--json").stdout)
    assert row["settings"] == {"benchmark.temperature": [0.6, 1.0]}
    said = compare(tmp_path / "a", tmp_path / "b").stdout
    assert "Not the same in both: benchmark.temperature is 0.6 before and 1.0 after" in said
