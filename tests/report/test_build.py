"""The page as text: whole, closed to the network, and with hostile text where it cannot act."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from reckon.core.errors import DataError
from reckon.report.build import build_report
from reckon.report.offline import embedded


@pytest.fixture(scope="module")
def page(finished: Path) -> str:
    return build_report(finished).read_text(encoding="utf-8")


def data_of(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def test_hostile_text_stays_inside_the_data_block(page: str) -> None:
    tags = re.findall(r"<\s*/?\s*script\b[^>]*>", page)
    assert tags == ['<script type="application/json" id="data">', "</script>", "<script>", "</script>"]
    assert "<img" not in page
    assert "<!--" not in page
    assert not re.search("[\x00-\x08\x0b-\x1f\u2028\u2029\u202e\ud800-\udfff]", page)
    assert "pwned" in json.dumps(data_of(page))


def test_it_is_closed_to_the_network(page: str) -> None:
    allowed = page.replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?://|@import|url\(|<link|<iframe|\bsrc=|\bfetch\(|XMLHttpRequest", allowed)
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    rules = dict(rule.split(" ", 1) for rule in policy[1].split("; "))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert re.fullmatch(r"'sha256-[\w+/]{43}='", rules["script-src"])
    assert re.fullmatch(r"'sha256-[\w+/]{43}='", rules["style-src"])


def test_the_script_never_parses_html(page: str) -> None:
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", page)


def test_it_answers_and_it_is_small(page: str) -> None:
    data = data_of(page)
    assert data["answer"]["verdict"] == "yes"
    assert data["notes"] == []
    assert data["status"]["state"] == "done"
    assert len(data["pass_at_k"]["before"]) == 4
    assert data["skipped"] == [9, 41]
    assert "reckon run r1-zero" in data["rerun"]["command"]
    assert len(page.encode()) < 4_000_000


def test_embedded_data_survives_the_round_trip() -> None:
    hostile = {"a": "</script><!--&\u2028\u2029", "b": [float("nan"), float("inf"), 1.5], "c": Path("x")}
    text = embedded(hostile)
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == {"a": hostile["a"], "b": [None, None, 1.5], "c": "x"}


@pytest.mark.parametrize("status", [None, "interrupted", "crashed", "failed"])
def test_an_unfinished_run_is_reported_as_such(small: Path, status: str | None) -> None:
    events = (small / "events.jsonl").read_text().splitlines(keepends=True)[:-1]
    if status:
        events.append(json.dumps({"event": "run_end", "step": 3, "time": 1.76e9, "status": status}) + "\n")
    (small / "events.jsonl").write_text("".join(events) + '{"event": "ev')
    data = data_of(build_report(small).read_text(encoding="utf-8"))
    assert data["status"]["state"] == (status or "killed")
    assert "events.jsonl is unfinished" in " ".join(data["notes"])


@pytest.mark.parametrize(
    "missing", ["run.yaml", "events.jsonl", "stages", "stages/01-train/metrics.jsonl", "stages/01-train/evals"]
)
def test_any_part_may_be_missing(small: Path, missing: str) -> None:
    path = small / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert data_of(build_report(small).read_text(encoding="utf-8"))["notes"]


def test_evaluations_outside_the_run_folder_are_not_read(small: Path) -> None:
    text = (small / "events.jsonl").read_text()
    (small / "events.jsonl").write_text(text.replace("stages/01-train/evals/", "stages/01-train/../../../"))
    data = data_of(build_report(small).read_text(encoding="utf-8"))
    assert data["pairs"] is None
    assert "outside the run folder" in " ".join(data["notes"])


def test_a_run_with_nothing_but_its_config(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("recipe: r1-zero\n")
    data = data_of(build_report(tmp_path).read_text(encoding="utf-8"))
    assert data["answer"]["word"] == "Cannot say"
    assert data["rollouts"]["note"] == "No rollouts were recorded."
    with pytest.raises(DataError):
        build_report(tmp_path / "absent")


def test_it_does_not_import_torch() -> None:
    code = "import reckon.report.build, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_command_prints_the_path(small: Path) -> None:
    import typer

    from reckon.cli.report import report

    app = typer.Typer()
    app.command()(report)
    printed = CliRunner().invoke(app, [str(small), "--json"])
    assert json.loads(printed.output) == {"report": str(small / "report.html")}
