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
        info: run.yaml.
        stage: the last stage folder that has metrics or evaluations; the report is about this stage.
        metrics: one row per optimiser step, in order; of a step written twice (a resume) the later row.
        evals: the ``eval`` events of the stage on one task and split, in order of step.
        notes: what was missing or unreadable, in sentences for the reader of the report.
    """

    path: Path
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
            except (AttributeError, KeyError, TypeError):
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


def read_run(path: Path) -> RunFiles:
    """Read a run folder. Raises DataError if ``path`` is not one."""
    if not any((path / name).exists() for name in ("run.yaml", "events.jsonl", "stages")):
        raise DataError(
            "not a run folder",
            where=str(path),
            why="It holds neither run.yaml nor events.jsonl nor stages.",
            fix="Give the folder that `reckon run --out` made",
        )
    run = RunFiles(path.resolve())
    path = run.path
    run.info = _mapping(run, path / "run.yaml")
    if (path / "lineage.json").exists():  # written last: its absence is nothing to remark on
        stages = _mapping(run, path / "lineage.json").get("stages") or []
        run.lineage = [row for row in stages if isinstance(row, dict)]
    run.events = run.rows(path / "events.jsonl")
    measured = [folder for folder in sorted(path.glob("stages/*")) if (folder / "metrics.jsonl").is_file()]
    run.stage = measured[-1] if measured else next(iter(sorted(path.glob("stages/*"), reverse=True)), None)
    if len(measured) > 1:
        run.notes.append(f"This run has {len(measured)} stages with metrics; the report shows {measured[-1].name}.")
    if run.stage is not None:
        run.metrics = _latest_by_step(run.rows(run.stage / "metrics.jsonl"))
    run.evals = _evals(run)
    return run


def _evals(run: RunFiles) -> list[Row]:
    """The stage's evaluations on the task and split of its first one."""
    rows = [event for event in run.events if event.get("event") == "eval"]
    if run.stage is not None:
        prefix = f"stages/{run.stage.name}/"
        rows = [row for row in rows if not row.get("samples_file") or str(row["samples_file"]).startswith(prefix)]
    if not rows:
        return []
    about = (rows[0].get("task"), rows[0].get("split"))
    return _latest_by_step(row for row in rows if (row.get("task"), row.get("split")) == about)


def _latest_by_step(rows: Iterable[Row]) -> list[Row]:
    latest = {int(row["step"]): row for row in rows if number(row.get("step")) is not None}
    return [latest[step] for step in sorted(latest)]


def _mapping(run: RunFiles, path: Path) -> Row:
    """A YAML or JSON file whose top level is a mapping; {} with a note where it is not."""
    if not path.is_file():
        run.notes.append(f"{path.name} is missing.")
        return {}
    try:
        text = path.read_text(encoding="utf-8")
        found = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError) as error:
        run.notes.append(f"{path.name} could not be read: {error}")
        return {}
    return found if isinstance(found, dict) else {}


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
