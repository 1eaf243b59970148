"""A few rows of what each stage of a pipeline made, for the reader's eye: the first of each kind, never picked.

Texts leave here as those of :mod:`reckon.report.viewer` do: clipped, with control characters spelled out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterator
from pathlib import Path
from typing import Any

from reckon.core.records import Rollout
from reckon.report.load import Row, RunFiles, number
from reckon.report.viewer import clipped, kind_of, parted, visible

CHARACTERS = 3_000
GROUPS = 2
SAMPLES = 4
MOST = 8
"""Characters of a text, groups of rollouts, samples of a group, and rows of a file that are shown."""


def examples_of(run: RunFiles, name: str, kind: str, folder: Path) -> Row | None:
    """Examples of one stage: ``items`` of a ``question``, a ``note`` and one or more ``sides``; None without any."""
    items = list(_READERS[kind](run, folder)) if kind in _READERS and folder.is_dir() else []
    return {"stage": name, "kind": kind, "says": _SAYS[kind], "items": items} if items else None


def _samples(run: RunFiles, folder: Path) -> Iterator[Row]:
    rows = _firsts(run, folder / "samples.jsonl", lambda row: (row.get("task"), _kind(row.get("score"))))
    return (_item(row) for row in rows)


def _curated(run: RunFiles, folder: Path) -> Iterator[Row]:
    for row in _firsts(run, folder / "data.jsonl", lambda row: (row.get("task"), row.get("label"))):
        yield _item(row)
    for row in _firsts(run, folder / "dropped.jsonl", lambda row: (row.get("dropped_by"), row.get("why"))):
        match = f"; too much like: {row['match']}" if row.get("match") else ""
        yield _item(row) | {"dropped": clipped(f"{row.get('dropped_by')}: {row.get('why')}{match}", 300)}


def _rollouts(run: RunFiles, folder: Path) -> Iterator[Row]:
    files = sorted(folder.glob("rollouts/step-*.jsonl"))
    groups: dict[str, list[Rollout]] = {}
    for rollout in run.rollouts(files[-1]) if files else ():
        groups.setdefault(rollout.problem.id, []).append(rollout)
    for group in list(groups.values())[:GROUPS]:
        sides = [_side(f"sample {rollout.sample}", _row(rollout)) for rollout in group[:SAMPLES]]
        yield {
            "question": _text(group[0].problem.question),
            "note": f"step {files[-1].stem[5:].lstrip('0')}",
            "sides": sides,
        }


def _answers(run: RunFiles, folder: Path) -> Iterator[Row]:
    """The first problem of each task, and what each model said first, in the order of the table."""
    results = folder / "results.json"
    rows = run.mapping(results).get("rows") if results.exists() else None
    found: dict[str, Row] = {}
    for row in rows if isinstance(rows, list) else ():
        path = folder / str(row.get("samples_file")) if isinstance(row, dict) else None
        if path is None or not path.resolve().is_relative_to(folder.resolve()) or not path.is_file():
            continue
        first = next(_scan(run, path), None)
        if first is None:
            continue
        try:
            rollout = Rollout.from_dict(first)
        except (AttributeError, KeyError, TypeError, ValueError):
            continue
        task = visible(str(row.get("task")))
        item = found.setdefault(task, {"question": _text(rollout.problem.question), "note": task, "sides": []})
        item["sides"].append(_side(str(row.get("model")), _row(rollout)))
    return iter(found.values())


_READERS: dict[str, Callable[[RunFiles, Path], Iterator[Row]]] = {
    "sample": _samples,
    "curate": _curated,
    "rl": _rollouts,
    "pretrain": _rollouts,
    "evaluate": _answers,
}
_SAYS = {
    "sample": "The first right, wrong and unjudged response of each task.",
    "curate": "The first row kept of each task, and the first dropped for each reason.",
    "rl": "The first groups of the last step that was kept.",
    "pretrain": "The first groups of the last step that was kept.",
    "evaluate": "What each model first said to the first problem of each task.",
}


def _firsts(run: RunFiles, path: Path, key: Callable[[Row], Hashable]) -> list[Row]:
    """The first row of each kind, at most MOST."""
    found: dict[str, Row] = {}
    for row in _scan(run, path) if path.is_file() else ():
        found.setdefault(repr(key(row)), row)
        if len(found) == MOST:
            break
    return list(found.values())


def _scan(run: RunFiles, path: Path) -> Iterator[Row]:
    """The rows of a file that may be large, one at a time; those that cannot be read are counted in the notes."""
    bad = 0
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row = None
            if isinstance(row, dict):
                yield row
            else:
                bad += 1
    if bad:
        run.notes.append(f"{path.relative_to(run.path)} has lines that cannot be read, left out here: {bad}.")


def _row(rollout: Rollout) -> Row:
    """A rollout as a row of a samples file."""
    verdict = rollout.verdict
    return {
        "response": rollout.response,
        "score": verdict.score if verdict else None,
        "reason": verdict.reason if verdict else "",
        "finish": rollout.finish,
        "tokens": len(rollout.response_ids),
        "reward": rollout.reward,
        "kind": kind_of(rollout),
    }


def _item(row: Row) -> Row:
    """An example of a row of samples, pairs or labelled responses."""
    task = _short(row.get("task"))
    if "chosen" in row:
        sides = [
            _side(f"{name}, score {row.get(f'{name}_score')}", {"response": row.get(name)})
            for name in ("chosen", "rejected")
        ]
    else:
        label = number(row.get("label"))
        sides = [_side(_short(row.get("model")) if label is None else f"label {label:g}", row)]
    return {"question": _text(row.get("question")), "note": task, "sides": sides}


def _side(head: str, row: Row) -> Row:
    thinking, answer = parted(str(row.get("response") or ""))
    return {
        "head": clipped(head, 80),
        "thinking": _text(thinking),
        "answer": _text(answer),
        "kind": row.get("kind") or (_kind(row["score"]) if "score" in row else None),
        "reason": _short(row.get("reason")),
        "tokens": number(row.get("tokens")),
        "finish": _short(row.get("finish")),
        "reward": number(row.get("reward")),
    }


def _kind(score: Any) -> str:
    value = number(score)
    return "absent" if value is None else "right" if value >= 1 else "wrong"


def _text(text: Any) -> str:
    return clipped(str(text or ""), CHARACTERS)


def _short(text: Any) -> str:
    return clipped(str(text or ""), 80)
