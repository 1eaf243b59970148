"""The report of a pipeline: what came out, from which stages, out of which data, and at what cost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reckon.report.answer import points, status
from reckon.report.examples import examples_of
from reckon.report.findings import diagnose, pass_at_1
from reckon.report.graph import layout
from reckon.report.load import Row, RunFiles, number, numbers, read_run
from reckon.report.offline import offline_page
from reckon.report.record import about, columns, rerun, warnings
from reckon.report.viewer import clipped
from reckon.tasks.reflection import HAN_WORDS, LATIN_WORDS

SCRIPTS = ("dom.js", "charts.js", "curves.js", "answers.js", "parts.js", "graph.js", "pipeline.js")
STYLES = ("report.css", "pipeline.css")

TRAINS = ("rl", "pretrain", "sft", "reward")
GENERATES = ("rl", "pretrain")
"""Kinds of stages that train, and those among them that are measured by sampling: these have a report of their own."""

SOURCES = ("model", "models", "data", "path")
"""Settings that name what a stage reads; the last part of the dotted name, numbers left out."""

UNKNOWN = "?"
"""The kind of a stage whose records cannot be read."""

COLUMNS = ("step", "reward", "accuracy", "loss", "tokens", "entropy", "tokens_right", "tokens_wrong")
"""Columns of metrics.jsonl that the page draws."""


@dataclass
class StageFiles:
    """A stage as far as its folder tells.

    Attributes:
        config: its recipe, with the names of stages in it.
        inputs: what it reads, by setting: ``from`` which stage, ``path``, ``digest``; of its recipe until it starts.
        manifest: {} unless it is finished.
        state: ``finished``, ``begun`` or ``waiting``.
        run: its metrics and events; None for stages that do not train, or have not begun.
    """

    name: str
    folder: Path
    config: Row
    inputs: dict[str, Row]
    manifest: Row
    state: str
    run: RunFiles | None = None
    figures: Row = field(default_factory=dict)

    @property
    def kind(self) -> str:
        return clipped(str(self.manifest.get("kind") or self.config.get("kind") or UNKNOWN), 20)

    @property
    def sources(self) -> list[str]:
        """The stages that it reads from."""
        return list(dict.fromkeys(str(each["from"]) for each in self.inputs.values() if each.get("from")))


def read_stages(run: RunFiles) -> list[StageFiles]:
    """The stages of the recipe, or where that cannot be read, those that have a folder."""
    config = run.info.get("config")
    config = config if isinstance(config, dict) else {}
    folders = {path.name.partition("-")[2]: path for path in sorted(run.path.glob("stages/*-*")) if path.is_dir()}
    listed = config.get("stages")
    if not isinstance(listed, dict):
        listed = dict.fromkeys(folders, config)
    found: list[StageFiles] = []
    for number_, (name, settings) in enumerate(listed.items(), 1):
        folder = folders.get(str(name), run.path / "stages" / f"{number_:02d}-{name}")
        settings = settings if isinstance(settings, dict) else {}
        found.append(_read_stage(run, str(name), folder, settings, [stage.name for stage in found]))
    return found


def _read_stage(run: RunFiles, name: str, folder: Path, config: Row, earlier: list[str]) -> StageFiles:
    begun, finished = ((folder / file).exists() for file in ("stage.yaml", "manifest.json"))
    manifest = run.mapping(folder / "manifest.json") if finished else {}
    record = manifest or (run.mapping(folder / "stage.yaml") if begun else {})
    inputs = record.get("inputs")
    inputs = inputs if isinstance(inputs, dict) else _planned(config, earlier)
    inputs = {setting: each for setting, each in inputs.items() if isinstance(each, dict)}
    for each in inputs.values():
        if each.get("from") not in earlier:
            each["from"] = None
    state = "finished" if manifest else "begun" if begun or finished or folder.is_dir() else "waiting"
    figures = manifest.get("figures")
    stage = StageFiles(
        clipped(name, 60), folder, config, inputs, manifest, state, figures=figures if isinstance(figures, dict) else {}
    )
    if stage.kind in TRAINS and folder.is_dir():
        stage.run = read_run(run.path, folder.name)
        if not stage.run.metrics and state == "begun":
            stage.run = None
        else:
            run.notes += [note for note in stage.run.notes if note not in run.notes]
    return stage


def _planned(config: Row, earlier: list[str]) -> dict[str, Row]:
    """What a recipe names as sources, as the record of a stage that has begun would have it."""
    return {
        setting: {"from": value if value in earlier else None, "path": value, "digest": None}
        for setting, value in _leaves(config)
        if isinstance(value, str) and next((w for w in reversed(setting.split(".")) if not w.isdigit()), "") in SOURCES
    }


def _leaves(tree: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else None
    if items is None:
        yield prefix, tree
        return
    for key, value in items:
        yield from _leaves(value, f"{prefix}.{key}" if prefix else str(key))


def collect_pipeline(run: RunFiles, stages: list[StageFiles], now: float) -> dict[str, Any]:
    """Everything the page shows, as JSON-ready data. ``now`` is in unix seconds."""
    tables = [table for stage in stages if stage.kind == "evaluate" and (table := _table(run, stage))]
    ended = status(run, now, _last_written(stages))
    costs = [_cost(stage, tables, now) for stage in stages]
    total = sum(cost["seconds"] or 0 for cost in costs)
    for cost in costs:
        cost["share"] = cost["seconds"] / total if total and cost["seconds"] is not None else None
    return {
        "run": about(run),
        "status": ended,
        "answer": headline(tables, stages),
        "stages": [_shown(run, s, cost, ended["state"]) for s, cost in zip(stages, costs, strict=True)],
        "graph": layout({stage.name: stage.sources for stage in stages}),
        "tables": tables,
        "ledgers": [ledger for stage in stages if stage.kind == "curate" and (ledger := _ledger(run, stage))],
        "examples": [
            examples for stage in stages if (examples := examples_of(run, stage.name, stage.kind, stage.folder))
        ],
        "curves": [_curves(stage) for stage in stages if stage.run is not None],
        "findings": [finding for stage in stages for finding in _findings(stage)],
        "warnings": warnings(run),
        "self_checks": {"latin": LATIN_WORDS, "han": HAN_WORDS},
        "rerun": rerun(run),
        "notes": run.notes,
        "built": now,
    }


def render_pipeline(data: Mapping[str, Any]) -> str:
    """The page with ``data`` in it."""
    title = f"{data['run']['name']}. {data['answer']['word']}: {data['answer']['says']}"
    return offline_page("pipeline.html", STYLES, SCRIPTS, title, data)


# ---------------------------------------------------------------------------------------------- what came out


def headline(tables: list[Row], stages: list[StageFiles]) -> Row:
    """Did the last model of the last table gain over its first one? The sentence, and the figures of every set.

    ``word`` is Yes where the paired 95% interval of every set lies above zero, In part where that of some does, No
    where none does and one lies below, else No gain shown; Cannot say without two models.
    """
    if not tables:
        done = sum(stage.state == "finished" for stage in stages)
        says = f"no table of models has been made; {done} of {len(stages)} stages are finished."
        return {"verdict": "unknown", "word": "Cannot say", "says": says, "sets": []}
    table = tables[-1]
    first, last = table["models"][0], table["models"][-1]
    before, after = table["cells"][first], table["cells"][last]
    sets = [
        {"task": task, "before": before[task]["pass@1"], "after": after[task]["pass@1"], "gain": after[task]["gain"]}
        for task in table["tasks"]
        if task in before and task in after
    ]
    measured = [each for each in sets if each["gain"]]
    if not measured:
        says = f"the table has one model, {last}." if first == last else f"{last} and {first} have no set in common."
        return {"verdict": "unknown", "word": "Cannot say", "says": says, "sets": []}
    up = [each["task"] for each in measured if each["gain"]["low"] > 0]
    down = [each["task"] for each in measured if each["gain"]["high"] < 0]
    verdict, word = (
        ("yes", "Yes")
        if len(up) == len(measured)
        else ("unclear", "In part")
        if up
        else ("no", "No")
        if down
        else ("unclear", "No gain shown")
    )
    gains = ", ".join(f"{each['task']} {points(each['gain']['value'])}" for each in measured)
    says = f"{last} gained over {first} on {len(up)} of {len(measured)} held-out sets"
    says += f" and lost on {', '.join(down)}" if down else ""
    return {"verdict": verdict, "word": word, "says": f"{says} (points of pass@1: {gains}).", "sets": sets}


def _table(run: RunFiles, stage: StageFiles) -> Row | None:
    """Models by tasks of an ``evaluate`` stage."""
    path = stage.folder / "results.json"
    rows = run.mapping(path).get("rows") if path.exists() else None
    cells: dict[str, dict[str, Row]] = {}
    tasks: dict[str, None] = {}
    for row in rows if isinstance(rows, list) else []:
        if not isinstance(row, dict) or pass_at_1(row) is None:
            run.notes.append(f"{path.relative_to(run.path)} has a row without pass@1, left out here.")
            continue
        model, task = _name(row.get("model")), _name(row.get("task"))
        tasks[task] = None
        cells.setdefault(model, {})[task] = {
            "pass@1": _interval(row.get("pass@1")),
            "gain": _interval(row.get("gain")),
            **{
                key: number(row.get(key))
                for key in ("format", "han", "mean_tokens", "truncated", "problems", "samples")
            },
        }
    if not cells:
        return None
    return {"stage": stage.name, "models": list(cells), "tasks": list(tasks), "cells": cells}


def _name(value: Any) -> str:
    """A model or task in a word: of a path the last part."""
    return clipped(str(value).rstrip("/").rpartition("/")[2] or str(value), 60)


def _interval(value: Any) -> Row | None:
    found = {key: number(value.get(key)) for key in ("value", "low", "high")} if isinstance(value, dict) else {}
    return found if found and None not in found.values() else None


# --------------------------------------------------------------------------------------------- stage by stage


def _shown(run: RunFiles, stage: StageFiles, cost: Row, ended: str) -> Row:
    """A stage as the graph and the list of stages show it."""
    makes = "model" if stage.kind in (*TRAINS, "merge") else "results" if stage.kind == "evaluate" else "data"
    rows = number(stage.figures.get("rows"))
    state = ("running" if ended == "running" else "stopped") if stage.state == "begun" else stage.state
    report = stage.folder / "report.html"
    return {
        "name": clipped(stage.name, 60),
        "kind": stage.kind,
        "state": state,
        "makes": makes,
        "flows": f"{rows:,.0f} rows" if rows is not None and makes == "data" else makes,
        "result": _result(stage),
        "reads": [
            {
                "setting": clipped(setting, 60),
                "from": each.get("from"),
                "what": _name(each.get("from") or each.get("path")),
            }
            for setting, each in stage.inputs.items()
        ],
        "report": report.relative_to(run.path).as_posix() if report.is_file() else None,
        **cost,
    }


def _result(stage: StageFiles) -> str:
    """What a stage came to, in a few words."""
    figures, evals = stage.figures, stage.run.evals if stage.run else []
    ends = evals[:1] + evals[-1:] if evals else []
    if stage.kind in GENERATES:
        shares = [value for row in ends if (value := pass_at_1(row)) is not None]
        return f"pass@1 {' to '.join(f'{100 * value:.1f}%' for value in shares)}" if shares else ""
    if stage.kind in ("sft", "reward"):
        key, form = ("loss", "{:.3f}") if stage.kind == "sft" else ("accuracy", "{:.1%}")
        values = [number(each.get("value")) for row in ends if isinstance(each := row.get(key), dict)]
        ways = [form.format(value) for value in values if value is not None]
        return f"held-out {key} {' to '.join(ways)}" if ways else ""
    rows, right, read = (number(figures.get(key)) for key in ("rows", "right", "read"))
    if stage.kind == "sample" and rows and right is not None:
        return f"{right / rows:.1%} right"
    if stage.kind == "curate" and rows is not None and read is not None:
        return f"{rows:,.0f} of {read:,.0f} rows"
    return ""


def _last_written(stages: list[StageFiles]) -> float | None:
    """When a file in the folder of the stage at work was last written: sampling writes no events."""
    begun = [stage.folder for stage in stages if stage.state == "begun" and stage.folder.is_dir()]
    return max((path.stat().st_mtime for folder in begun for path in folder.rglob("*")), default=None)


def _cost(stage: StageFiles, tables: list[Row], now: float) -> Row:
    """Wall time in seconds, and tokens generated and trained on; None where it is not known."""
    started, ended = number(stage.manifest.get("started")), number(stage.manifest.get("ended"))
    seconds = ended - started if started is not None and ended is not None else None
    if stage.run is not None:
        # A manifest has the time of the session that finished the stage only.
        worked = number(status(stage.run, now)["seconds"])
        seconds = worked if seconds is None else max(seconds, worked or 0.0)
    generated, trained = (number(stage.figures.get(key)) for key in ("generated_tokens", "trained_tokens"))
    if stage.run is not None and not stage.manifest:
        generated, trained = (sum(numbers(stage.run.metrics, key)) for key in ("generated_tokens", "update_tokens"))
        generated = generated if stage.kind == "rl" else 0
    for table in tables:
        if table["stage"] == stage.name:
            cells = [cell for tasks in table["cells"].values() for cell in tasks.values()]
            asked = [(cell["mean_tokens"] or 0) * (cell["problems"] or 0) * (cell["samples"] or 0) for cell in cells]
            generated = round(sum(asked))
    return {"seconds": seconds, "generated": generated, "trained": trained}


def _curves(stage: StageFiles) -> Row:
    assert stage.run is not None
    drawn = [{key: row.get(key) for key in COLUMNS} for row in stage.run.metrics]
    return {"stage": stage.name, "kind": stage.kind, "metrics": columns(drawn), "evals": stage.run.evals}


def _findings(stage: StageFiles) -> Iterable[Row]:
    """What the checks of a training run found in a stage of reinforcement learning."""
    if stage.run is None or stage.kind != "rl":
        return
    for finding in diagnose(stage.run.metrics, stage.run.evals):
        if finding.state == "found":
            yield {"stage": stage.name, "name": finding.name, "evidence": finding.evidence, "remedy": finding.remedy}


def _ledger(run: RunFiles, stage: StageFiles) -> Row | None:
    """What became of the rows of a ``curate`` stage."""
    path = stage.folder / "ledger.json"
    ledger = run.mapping(path) if path.exists() else {}
    operations = ledger.get("operations")
    entries = [each for each in operations if isinstance(each, dict)] if isinstance(operations, list) else []
    if not entries:
        return None
    return {
        "stage": stage.name,
        "operations": [
            {
                "operation": clipped(str(each.get("operation")), 60),
                "in": number(each.get("in")),
                "out": number(each.get("out")),
                "dropped": _counts(each.get("dropped")),
            }
            for each in entries
        ],
        "inputs": _flows(ledger.get("inputs"), entries[-1]),
        "tasks": _flows(ledger.get("tasks"), entries[-1]),
    }


def _counts(value: Any) -> dict[str, float | None]:
    items = value.items() if isinstance(value, dict) else ()
    return {clipped(str(why), 120): number(count) for why, count in items}


def _flows(value: Any, last: Row) -> dict[str, Row]:
    """Rows in and out by source or task; {} where what came out no longer says which it is of, as pairs do."""
    items = value.items() if isinstance(value, dict) else ()
    flows = {
        _name(name): {key: number(flow.get(key)) for key in ("in", "out")}
        for name, flow in items
        if isinstance(flow, dict)
    }
    return flows if any(flow["out"] for flow in flows.values()) or not last.get("out") else {}
