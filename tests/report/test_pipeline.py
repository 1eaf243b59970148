"""The report of a pipeline: of a real run of every kind of stage, whole and in pieces."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from reckon.report.build import build_report
from reckon.report.graph import layout
from reckon.report.pipeline import headline
from tests.report.conftest import HOSTILE
from tests.report.test_build import data_of
from tests.report.test_page import BROWSER, opened
from tests.report.tiny import reckon, tiny_pipeline

ZERO, SAMPLES, COLD, TABLE = "01-zero", "02-zero-samples", "03-cold", "08-table"


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_pipeline(tmp_path_factory.getbasetemp())


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(whole, tmp_path / "run"))


def shown(run: Path) -> dict[str, Any]:
    return data_of(build_report(run).read_text(encoding="utf-8"))


def states(data: dict[str, Any]) -> dict[str, str]:
    return {stage["name"]: stage["state"] for stage in data["stages"]}


@pytest.fixture(scope="module")
def data(whole: Path) -> dict[str, Any]:
    return shown(whole)


def test_every_stage_is_there_with_what_it_read_made_and_cost(data: dict[str, Any], whole: Path) -> None:
    assert data["notes"] == []
    assert data["status"]["state"] == "done"
    assert set(states(data).values()) == {"finished"}
    stages = {stage["name"]: stage for stage in data["stages"]}
    assert [stage["kind"] for stage in data["stages"]] == [
        "rl",
        "sample",
        "curate",
        "sft",
        "curate",
        "reward",
        "merge",
        "evaluate",
    ]
    assert [each["from"] for each in stages["cold-sft"]["reads"]] == [None, "cold"]
    assert [each["what"] for each in stages["mean"]["reads"]] == ["zero", "cold-sft"]
    assert stages["zero-samples"]["flows"] == "48 rows"
    assert stages["zero"]["flows"] == "model"
    rows = [json.loads(line) for line in (whole / "stages" / SAMPLES / "samples.jsonl").read_text().splitlines()]
    assert stages["zero-samples"]["generated"] == sum(row["tokens"] for row in rows)
    files = (whole / "stages" / TABLE / "samples").rglob("*.jsonl")
    asked = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    assert len(asked) == 4 * 2 * 6 * 2
    assert stages["table"]["generated"] == sum(len(row["response_ids"]) for row in asked)
    assert stages["cold-sft"]["trained"] > 0
    assert sum(stage["share"] for stage in data["stages"]) == pytest.approx(1)


def test_the_table_is_that_of_the_evaluate_stage(data: dict[str, Any], whole: Path) -> None:
    [table] = data["tables"]
    rows = json.loads((whole / "stages" / TABLE / "results.json").read_text())["rows"]
    assert table["models"] == ["base", "zero", "cold-sft", "mean"]
    assert table["tasks"] == ["even", "again"]
    for row in rows:
        cell = table["cells"][row["model"].rpartition("/")[2]][row["task"]]
        assert cell["pass@1"] == row["pass@1"]
        assert cell["mean_tokens"] == row["mean_tokens"]
    assert [each["task"] for each in data["answer"]["sets"]] == ["even", "again"]
    assert "mean gained over base on" in data["answer"]["says"]


def test_the_ledger_accounts_for_every_row(data: dict[str, Any]) -> None:
    cold, pairs = data["ledgers"]
    assert [entry["operation"] for entry in cold["operations"]] == ["correct", "dedup", "cap"]
    for entry in cold["operations"]:
        assert entry["in"] == entry["out"] + sum(entry["dropped"].values())
    assert cold["tasks"] == {"even": {"in": 48, "out": cold["operations"][-1]["out"]}}
    assert pairs["stage"] == "pairs"


def test_there_are_examples_of_what_was_made_and_what_was_dropped(data: dict[str, Any]) -> None:
    examples = {each["stage"]: each["items"] for each in data["examples"]}
    assert {"zero", "zero-samples", "cold", "pairs", "table"} <= examples.keys()
    assert {side["kind"] for item in examples["zero-samples"] for side in item["sides"]} == {"right", "wrong"}
    assert any(item.get("dropped") == "correct: wrong" for item in examples["cold"])
    assert [len(item["sides"]) for item in examples["table"]] == [4, 4]
    assert [side["head"] for side in examples["pairs"][0]["sides"]] == ["chosen, score 1.0", "rejected, score 0.0"]


def test_stages_that_are_measured_by_sampling_have_a_report_of_their_own(data: dict[str, Any], whole: Path) -> None:
    assert {stage["name"]: stage["report"] for stage in data["stages"] if stage["report"]} == {
        "zero": f"stages/{ZERO}/report.html"
    }
    own = data_of((whole / "stages" / ZERO / "report.html").read_text(encoding="utf-8"))
    assert own["run"]["name"] == "run, stage zero"
    assert own["run"]["task"] == "even"
    assert own["status"]["state"] == "done"
    assert own["metrics"]["step"] == [1, 2, 3]
    assert [row["step"] for row in own["evals"]] == [0, 3]
    assert [row["name"] for row in own["rerun"]["lineage"]] == [ZERO]


def test_curves_are_those_of_each_training_stage(data: dict[str, Any]) -> None:
    assert [(each["stage"], each["kind"]) for each in data["curves"]] == [
        ("zero", "rl"),
        ("cold-sft", "sft"),
        ("judge", "reward"),
    ]
    assert all("loss" in each["evals"][0] for each in data["curves"][1:])


# ------------------------------------------------------------------------------------------------- in pieces


def test_a_pipeline_that_stopped_says_where(run: Path) -> None:
    for folder in ("05-pairs", "06-judge", "07-mean", TABLE):
        shutil.rmtree(run / "stages" / folder)
    (run / "stages" / "04-cold-sft" / "manifest.json").unlink()
    rows = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    kept = [row for row in rows if row.get("stage") not in ("judge",) and row["event"] != "run_end"]
    kept.append(
        {"event": "run_end", "step": 2, "time": kept[-1]["time"], "status": "crashed", "error": "MemoryError: "}
    )
    (run / "events.jsonl").write_text("".join(json.dumps(row) + "\n" for row in kept))
    data = shown(run)
    expected = dict.fromkeys(("zero", "zero-samples", "cold"), "finished") | {"cold-sft": "stopped"}
    assert states(data) == expected | dict.fromkeys(("pairs", "judge", "mean", "table"), "waiting")
    assert data["status"]["state"] == "crashed"
    assert data["answer"]["says"].endswith("3 of 8 stages are finished.")
    # What has not begun is known from the recipe.
    assert [each["from"] for each in data["stages"][-1]["reads"]] == [None, "zero", "cold-sft", "mean"]


@pytest.mark.parametrize(
    "file",
    [
        "run.yaml",
        "events.jsonl",
        "lineage.json",
        f"stages/{ZERO}/manifest.json",
        f"stages/{ZERO}/metrics.jsonl",
        f"stages/{SAMPLES}/samples.jsonl",
        f"stages/{COLD}/stage.yaml",
        f"stages/{COLD}/ledger.json",
        f"stages/{COLD}/dropped.jsonl",
        f"stages/{TABLE}/results.json",
        f"stages/{TABLE}/samples/even/zero.jsonl",
    ],
)
@pytest.mark.parametrize("damage", ["missing", "torn", "other"])
def test_any_file_may_be_missing_torn_or_something_else(run: Path, file: str, damage: str) -> None:
    path = run / file
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:40] if damage == "torn" else b'{"a": [3, {"rows": null}]}\n[1]\n')
    data = shown(run)
    assert len(data["stages"]) == 8
    assert data["graph"]["columns"] > 2


def test_a_run_with_nothing_but_its_recipe(run: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    new.mkdir()
    shutil.copyfile(run / "run.yaml", new / "run.yaml")
    data = shown(new)
    assert set(states(data).values()) == {"waiting"}
    assert data["graph"] == shown(run)["graph"]


def test_hostile_text_stays_text(run: Path) -> None:
    path = run / "stages" / SAMPLES / "samples.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    hostile = [
        row | {"response": text, "task": text, "question": text} for row, text in zip(rows, HOSTILE, strict=False)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in hostile))
    page = build_report(run).read_text(encoding="utf-8")
    tags = re.findall(r"<\s*/?\s*script\b[^>]*>", page)
    assert tags == ['<script type="application/json" id="data">', "</script>", "<script>", "</script>"]
    assert not re.search("[\x00-\x08\x0b-\x1f\u2028\u2029\u202e\ud800-\udfff]", page)
    assert "pwned" in json.dumps(data_of(page))


def test_samples_outside_the_folder_of_the_stage_are_not_read(run: Path) -> None:
    path = run / "stages" / TABLE / "results.json"
    path.write_text(path.read_text().replace("samples/even/", f"../{TABLE}x/../../../../"))
    examples = {each["stage"]: each["items"] for each in shown(run)["examples"]}
    assert [item["note"] for item in examples["table"]] == ["again"]


def test_a_stage_alone_has_this_report_too(whole: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "curate.yaml"
    source = whole / "stages" / SAMPLES / "samples.jsonl"
    recipe.write_text(f"kind: curate\ndata: [{source}]\noperations: [{{kind: correct}}]\n")
    reckon("run", recipe, "--out", tmp_path / "out")
    data = data_of((tmp_path / "out" / "report.html").read_text(encoding="utf-8"))
    assert states(data) == {"curate": "finished"}
    assert data["ledgers"][0]["operations"][0]["in"] == 48


@pytest.mark.skipif(BROWSER is None, reason="no chromium or google-chrome on this machine")
def test_it_is_drawn_without_a_complaint(whole: Path, tmp_path: Path) -> None:
    dom, console = opened(build_report(whole), tmp_path)
    assert console == []
    assert "could not be drawn" not in dom
    assert dom.count('<g class="stage finished"') == 8
    assert dom.count('<figure class="chart') >= 8
    assert 'class="flow model"' in dom
    assert 'class="flow data"' in dom


@pytest.mark.skipif(BROWSER is None, reason="no chromium or google-chrome on this machine")
def test_a_run_that_has_just_begun_is_drawn(run: Path, tmp_path: Path) -> None:
    for name in ("stages", "events.jsonl"):
        path = run / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    dom, console = opened(build_report(run), tmp_path / "profile")
    assert console == []
    assert "could not be drawn" not in dom
    assert dom.count('<g class="stage waiting"') == 8


# ------------------------------------------------------------------------------------------- parts by hand


def gains(**sets: tuple[float, float]) -> list[dict[str, Any]]:
    """A table of two models in which the second gained so much, low and high."""
    estimate = {"value": 0.5, "low": 0.4, "high": 0.6}
    cells: dict[str, dict[str, Any]] = {"a": {}, "b": {}}
    for task, (low, high) in sets.items():
        gain = {"value": (low + high) / 2, "low": low, "high": high}
        cells["a"][task] = {"pass@1": estimate, "gain": None}
        cells["b"][task] = {"pass@1": estimate, "gain": gain}
    return [{"stage": "table", "models": ["a", "b"], "tasks": list(sets), "cells": cells}]


@pytest.mark.parametrize(
    ("table", "word", "says"),
    [
        (gains(x=(0.1, 0.3), y=(0.01, 0.03)), "Yes", "b gained over a on 2 of 2 held-out sets"),
        (gains(x=(0.1, 0.3), y=(-0.1, 0.1)), "In part", "on 1 of 2 held-out sets (points of pass@1: x +20.0, y +0.0)"),
        (gains(x=(0.1, 0.3), y=(-0.2, -0.1)), "In part", "on 1 of 2 held-out sets and lost on y"),
        (gains(x=(-0.3, -0.1), y=(-0.1, 0.1)), "No", "on 0 of 2 held-out sets and lost on x"),
        (gains(x=(-0.1, 0.3)), "No gain shown", "on 0 of 1 held-out sets (points of pass@1: x +10.0)"),
        ([], "Cannot say", "no table of models has been made; 0 of 0 stages are finished."),
    ],
)
def test_the_headline(table: list[dict[str, Any]], word: str, says: str) -> None:
    answer = headline(table, [])
    assert answer["word"] == word
    assert says in answer["says"]


def test_a_stage_stands_after_what_it_reads_and_what_comes_from_afar_has_a_track() -> None:
    graph = layout({"a": [], "b": ["a"], "c": ["b"], "d": ["a", "c"], "e": ["a"]})
    places = {node["stage"]: (node["column"], node["lane"]) for node in graph["nodes"]}
    assert [places[stage][0] for stage in "abcde"] == [0, 1, 2, 3, 1]
    assert len(set(places.values())) == 5
    assert graph["lines"] == [("a", "b"), ("b", "c"), ("c", "d"), ("a", "e")]
    assert graph["trunks"] == [{"stage": "a", "track": 0, "readers": ["d"]}]


def test_lines_on_one_track_are_never_beside_each_other() -> None:
    # a to c and c to e follow each other; a's line and b's run side by side.
    chain = {"a": [], "b": ["a"], "c": ["b", "a"], "d": ["c"], "e": ["d", "c"]}
    assert {trunk["stage"]: trunk["track"] for trunk in layout(chain)["trunks"]} == {"a": 0, "c": 0}
    chain = {"a": [], "b": ["a"], "c": ["b"], "d": ["c", "a", "b"]}
    assert {trunk["stage"]: trunk["track"] for trunk in layout(chain)["trunks"]} == {"b": 0, "a": 1}


def test_lines_that_need_not_cross_do_not() -> None:
    graph = layout({"a": [], "b": [], "c": [], "x": ["c"], "y": ["b"], "z": ["a"]})
    lanes = {node["stage"]: node["lane"] for node in graph["nodes"]}
    assert [lanes[stage] for stage in "abc"] == [lanes[stage] for stage in "zyx"]


def test_nothing_has_no_columns() -> None:
    assert layout({}) == {"columns": 0, "tracks": 0, "nodes": [], "lines": [], "trunks": []}
