"""The curate stage: files of samples in, a file of training data out, and a ledger of what became of every row."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from reckon.core.errors import DataError
from reckon.core.store import Row, read_jsonl, write_json, write_jsonl
from reckon.data.curate import AnyOperation, Curated, apply

DATA, DROPPED, LEDGER = "data.jsonl", "dropped.jsonl", "ledger.json"

_TEXT = ("id", "task", "problem", "question", "response")
_TYPES: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(_TEXT, (str,)),
    **dict.fromkeys(("gold", "prompt", "reason", "extracted", "finish", "model"), (str, type(None))),
    "score": (int, float, type(None)),
    "tokens": (int, type(None)),
    "sample": (int, type(None)),
}


def curate(inputs: Mapping[str, Path], operations: Sequence[AnyOperation], seed: int, folder: Path) -> dict[str, Any]:
    """Apply operations to the rows of JSON lines files and write what is left, what is not, and the ledger.

    Everything is a function of the inputs, so that an interrupted stage is simply done again. The files, each whole or
    not there, all rows of a file with the same columns, so that ``datasets.load_dataset("json", ...)`` opens them:

    - ``data.jsonl``: the rows that are left. Those with a response also have ``messages``, question and response as
      turns of a conversation.
    - ``dropped.jsonl``: all others, with ``dropped_by`` (the operation), ``why``, and ``match`` (what the row was too
      much like, or null).
    - ``ledger.json``: ``inputs`` and ``tasks`` (rows of each, in and out), and ``operations``: for each its name,
      ``in``, ``out`` and ``dropped`` by reason.

    Args:
        inputs: the files by name; the name becomes the column ``source`` of their rows. With several files it is also
            put before the ids, which need to be unique within a file only.

    Returns:
        figures for the stage's manifest: ``read``, ``rows`` and ``dropped``.

    Raises:
        DataError: a file cannot be read or is not of this form, or nothing is left; dropped rows and the ledger, which
            is also in the message, are there then.
    """
    rows = _read(inputs)
    curated = apply(rows, operations, seed)
    write_jsonl(folder / DROPPED, _uniform(_dropped_rows(curated)))
    write_json(folder / LEDGER, _ledger(rows, curated))
    if not curated.rows:
        raise DataError(
            f"no row of {len(rows)} is left:{_table(curated)}",
            where=str(folder),
            why="There is nothing to train on",
            fix=f"Look into {folder / DROPPED}, and loosen the operation that dropped too much",
        )
    write_jsonl(folder / DATA, _uniform(map(_with_messages, curated.rows)))
    return {"read": len(rows), "rows": len(curated.rows), "dropped": len(curated.dropped)}


def _read(inputs: Mapping[str, Path]) -> list[Row]:
    rows = [
        _checked(row, f"{path}, row {number}") | {"source": source}
        for source, path in inputs.items()
        for number, row in enumerate(read_jsonl(path), 1)
    ]
    if not rows:
        raise DataError("there are no rows to curate", where=", ".join(map(str, inputs.values())))
    if len(inputs) > 1:
        rows = [row | {"id": f"{row['source']}/{row['id']}"} for row in rows]
    twice = [name for name, count in Counter(row["id"] for row in rows).items() if count > 1]
    if twice:
        raise DataError(f"the id {twice[0]!r} occurs more than once", where=", ".join(map(str, inputs.values())))
    return _uniform(rows)


def _checked(row: Row, where: str) -> Row:
    missing = [name for name in _TEXT if name not in row]
    if missing:
        raise DataError(f"the row has no column {missing[0]!r} (it has: {', '.join(row)})", where=where)
    for name, types in _TYPES.items():
        value = row.get(name)
        sound = isinstance(value, types) and not isinstance(value, bool)
        if name in row and not (sound and (not isinstance(value, float) or math.isfinite(value))):
            raise DataError(f"{name!r} cannot be {json.dumps(value)[:60]}", where=where)
    if isinstance(row.get("score"), int):
        row = row | {"score": float(row["score"])}
    return row


def _uniform(rows: Iterable[Row]) -> list[Row]:
    """The rows with the columns of all, null where a row had none."""
    rows = list(rows)
    columns = dict.fromkeys(name for row in rows for name in row)
    return [{name: row.get(name) for name in columns} for row in rows]


def _with_messages(row: Row) -> Row:
    if "label" in row or "response" not in row:
        return row
    turns = (("user", row["question"]), ("assistant", row["response"]))
    return row | {"messages": [{"role": role, "content": content} for role, content in turns]}


def _dropped_rows(curated: Curated) -> list[Row]:
    return [
        drop.row | {"dropped_by": operation, "why": drop.why, "match": drop.match}
        for operation, drop in curated.dropped
    ]


def _ledger(rows: Sequence[Row], curated: Curated) -> dict[str, Any]:
    def flows(column: str) -> dict[str, dict[str, int]]:
        before, after = (Counter(row[column] for row in side if column in row) for side in (rows, curated.rows))
        return {name: {"in": count, "out": after[name]} for name, count in before.items()}

    return {
        "inputs": flows("source"),
        "tasks": flows("task"),
        "operations": [
            {"operation": entry.operation, "in": entry.in_, "out": entry.out, "dropped": entry.dropped}
            for entry in curated.ledger
        ],
    }


def _table(curated: Curated) -> str:
    lines = []
    for entry in curated.ledger:
        reasons = ", ".join(f"{count} {why}" for why, count in entry.dropped.items()) or "none"
        lines.append(f"\n  {entry.operation}: {entry.in_} in, {entry.out} out; dropped: {reasons}")
    return "".join(lines)
