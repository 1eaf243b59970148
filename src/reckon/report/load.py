"""Reading a run folder as it is: whole, unfinished or broken. What cannot be read becomes a note, not an error."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from reckon.core.errors import DataError
from reckon.core.records import Rollout
from reckon.core.store import read_jsonl

Row = dict[str, Any]


@dataclass
class RunFiles:
    """What a run folder holds, as far as it could be read.

    Attributes:
        name: of its folder and, where the report is about one of several stages, that of the stage.
        info: run.yaml.
        events: those of the run; of one of several stages, its own and how the run began and ended around them.
        stage: the folder of the stage that the report is about.
        metrics: one row per optimiser step, in order; of a step written twice (a resume) the later row.
        evals: the ``eval`` events of the stage on one task and split, in order of step.
        notes: what was missing or unreadable, in sentences for the reader of the report.
    """

    path: Path
    name: str = ""
    info: Row = field(default_factory=dict)
    events: list[Row] = field(default_factory=list)
    lineage: list[Row] = field(default_factory=list)
    stage: Path | None = None
    metrics: list[Row] = field(default_factory=list)
    evals: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def rollouts(self, path: Path) -> list[Rollout]:
        """The readable records of a rollout file; the others are counted in the notes."""
        found, bad = [], 0
        for row in self.rows(path):
            try:
                found.append(Rollout.from_dict(row))
            except (AttributeError, KeyError, TypeError, ValueError):
                bad += 1
        if bad:
            self.notes.append(f"{path.relative_to(self.path)} has lines that are no rollouts, left out here: {bad}.")
        return found

    def rows(self, path: Path) -> list[Row]:
        """The objects of a JSON-lines file; an unreadable file gives a note and no rows."""
        if not path.is_file():
            self.notes.append(f"{path.relative_to(self.path)} is missing.")
            return []
        try:
            rows = read_jsonl(path)
        except DataError as error:
            self.notes.append(f"{path.relative_to(self.path)} is left out. {error}")
            return []
        if rows.torn:
            self.notes.append(f"The last line of {path.relative_to(self.path)} is unfinished and is left out.")
        return rows

    def mapping(self, path: Path) -> Row:
        """A YAML or JSON file whose top level is a mapping; {} with a note where it is not."""
        name = path.relative_to(self.path)
        if not path.is_file():
            self.notes.append(f"{name} is missing.")
            return {}
        try:
            text = path.read_text(encoding="utf-8")
            found = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
        except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
            self.notes.append(f"{name} could not be read: {error}")
            return {}
        return found if isinstance(found, dict) else {}


def read_run(path: Path, stage: str | None = None) -> RunFiles:
    """Read a run folder, with one of its stages.

    Args:
        stage: the name of the stage's folder; None: the last one that has metrics, else the last one.

    Raises:
        DataError: ``path`` is not a run folder, or has no such stage.
    """
    if not any((path / name).exists() for name in ("run.yaml", "events.jsonl", "stages")):
        raise DataError(
            "not a run folder",
            where=str(path),
            why="It holds neither run.yaml nor events.jsonl nor stages.",
            fix="Give the folder that `reckon run --out` made",
        )
    run = RunFiles(path.resolve(), path.resolve().name)
    path = run.path
    run.info = run.mapping(path / "run.yaml")
    if (path / "lineage.json").exists():  # written last: its absence is nothing to remark on
        stages = run.mapping(path / "lineage.json").get("stages") or []
        run.lineage = [row for row in stages if isinstance(row, dict)]
    run.events = run.rows(path / "events.jsonl")
    run.stage = _last_stage(path) if stage is None else path / "stages" / stage
    if run.stage is not None:
        if not run.stage.is_dir():
            raise DataError("there is no such stage", where=str(run.stage))
        run.metrics = _latest_by_step(run.rows(run.stage / "metrics.jsonl"))
        if stage is not None:
            _narrow(run, run.stage)
    run.evals = _evals(run)
    return run


def _last_stage(path: Path) -> Path | None:
    folders = sorted(path.glob("stages/*"))
    measured = [folder for folder in folders if (folder / "metrics.jsonl").is_file()]
    return next(reversed(measured or folders), None)


def _narrow(run: RunFiles, stage: Path) -> None:
    """Leave of a run of several stages what is about one of them, as if that were a run of its own."""
    name = stage.name.partition("-")[2]
    run.name = f"{run.name}, stage {name}"
    config = run.info.get("config")
    stages = config.get("stages") if isinstance(config, dict) else None
    if isinstance(stages, dict):
        run.info = {**run.info, "config": stages.get(name)}
    run.lineage = [row for row in run.lineage if row.get("name") == stage.name]
    own = [event for event in run.events if event.get("stage") == name]
    manifest = run.mapping(stage / "manifest.json") if (stage / "manifest.json").exists() else {}
    ended = number(manifest.get("ended"))
    times = numbers([*own, *run.metrics], "time")
    began = min(times, default=math.inf)
    around = [
        event
        for event in run.events
        if event.get("event") in ("resume", "run_end")
        and (time := number(event.get("time"))) is not None
        and began < time < (math.inf if ended is None else ended)
    ]
    run.events = [{"event": "run_start", "time": began}] if times else []
    run.events += sorted([*own, *around], key=lambda event: number(event.get("time")) or 0.0)
    if ended is not None:
        run.events.append({"event": "run_end", "time": ended, "status": "done"})


def _evals(run: RunFiles) -> list[Row]:
    """The stage's evaluations on the task and split of its first one."""
    rows = [event for event in run.events if event.get("event") == "eval"]
    if run.stage is not None:
        own = (None, run.stage.name.partition("-")[2])
        rows = [row for row in rows if row.get("stage") in own]
    if not rows:
        return []
    about = (rows[0].get("task"), rows[0].get("split"))
    return _latest_by_step(row for row in rows if (row.get("task"), row.get("split")) == about)


def _latest_by_step(rows: Iterable[Row]) -> list[Row]:
    latest = {int(row["step"]): row for row in rows if number(row.get("step")) is not None}
    return [latest[step] for step in sorted(latest)]


def number(value: Any) -> float | None:
    """``value`` as a finite float, or None: NaN, infinities, text and absent values draw nothing."""
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)


def numbers(rows: Iterable[Row], key: str) -> list[float]:
    """The finite values of a column, in order."""
    return [value for row in rows if (value := number(row.get(key))) is not None]


def spread(count: int) -> Iterator[int]:
    """The indices 0..count-1, first and last first, then ever finer midpoints: any prefix lies evenly."""
    seen: set[int] = set()
    parts = 1
    while len(seen) < count:
        for part in range(parts + 1):
            index = round(part * (count - 1) / parts)
            if index not in seen:
                seen.add(index)
                yield index
        parts *= 2
