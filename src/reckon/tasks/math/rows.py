"""Questions and gold answers from the layouts in which math data sets are published.

A source is a file (``.jsonl``, ``.json``, ``.parquet``) or a data set of the Hugging Face hub, ``owner/name:split`` or
``owner/name:config:split``.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reckon.core.errors import ConfigError, DataError
from reckon.tasks.math.extract import final_answer
from reckon.tasks.source import read_rows

QUESTION_COLUMNS = ("problem", "question", "Problem", "Question", "prompt", "query")
GOLD_COLUMNS = (
    "answer",
    "final_answer",
    "gold",
    "gold_answer",
    "expected_answer",
    "ground_truth",
    "Answer",
    "target",
    "solution",
)

_SUFFIXES = (".jsonl", ".json", ".parquet")
_HUB = re.compile(r"(?P<name>[\w.-]+/[\w.-]+)(?::(?P<config>[\w.-]+))?:(?P<split>[\w.-]+)")

Row = tuple[str, dict[str, Any]]


def rows(source: str) -> Iterator[Row]:
    """The rows of a source, each with the place it came from.

    Raises:
        ConfigError: the source is no file of a known kind and no data set's name.
        DataError: it cannot be read.
    """
    path = Path(source)
    if path.suffix == ".json":
        return _array(path)
    if path.suffix in _SUFFIXES:
        return read_rows(path, _parquet_columns(path) if path.suffix == ".parquet" else ())
    if match := _HUB.fullmatch(source):
        return _hub_rows(match["name"], match["config"], match["split"])
    raise ConfigError(
        "not a source of problems",
        where=source,
        fix=f"Give a file ({', '.join(_SUFFIXES)}) or a data set of the hub as owner/name:split",
    )


def column(row: dict[str, Any], wanted: str | None, known: tuple[str, ...], where: str) -> str:
    """The name of the column to read: the wanted one, or the first known one that the row has. Raises DataError."""
    found = wanted if wanted in row else next((name for name in known if name in row), None) if wanted is None else None
    if found is None:
        missing = repr(wanted) if wanted else "of the names known: " + ", ".join(known)
        raise DataError(
            f"the row has no column {missing} (it has: {', '.join(row)})",
            where=where,
            fix="Name it: task.question or task.gold",
        )
    return found


def gold_text(value: Any) -> str:
    """A gold answer as text: what follows ``####``, or is in the last box of a solution; a list's items; a number.

    Empty for what cannot be one: nothing, or a number that is not finite (``1e400``, ``NaN``).
    """
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if isinstance(value, list):
        return ", ".join(gold_text(item) for item in value)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    text = str(value).strip()
    if "####" in text:
        return text.rpartition("####")[2].strip()
    if "\\boxed" in text or "\\fbox" in text:
        return final_answer(text).text or ""
    return text


def _parquet_columns(path: Path) -> list[str]:
    import pyarrow
    import pyarrow.parquet

    try:
        return list(pyarrow.parquet.read_schema(path).names)
    except (OSError, pyarrow.ArrowInvalid) as error:
        raise DataError(f"cannot read the problems: {error}", where=str(path), fix="Check the task's path") from error


def _array(path: Path) -> Iterator[Row]:
    """A JSON file that holds one list of rows."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"cannot read the problems: {error}", where=str(path), fix="Check the task's path") from error
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise DataError("the file is not a JSON list of objects", where=str(path), fix="Use .jsonl for one per line")
    for number, row in enumerate(found):
        yield f"{path}, row {number}", row


def _hub_rows(name: str, config: str | None, split: str) -> Iterator[Row]:
    try:
        from datasets import load_dataset

        found = load_dataset(name, config, split=split)
    except Exception as error:
        raise DataError(
            f"cannot fetch the data set from the hub ({error})",
            where=name,
            fix="Go online, or name a file in its place (task.heldout or task.path)",
        ) from error
    for number, row in enumerate(found):
        yield f"{name} {split}, row {number}", row
