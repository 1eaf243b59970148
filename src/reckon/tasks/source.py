"""Reading a task's problems from files. Every fault is a DataError that names the file and the line."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from reckon.core.errors import ConfigError, DataError

SPLITS = ("train", "heldout")


def require_split(split: str) -> None:
    """Raises ConfigError unless ``split`` is one that tasks have."""
    if split not in SPLITS:
        raise ConfigError(f"a task has no split {split!r}", fix=f"Use one of: {', '.join(SPLITS)}")


def read_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of a ``.parquet`` file or of JSON lines (``.gz`` too), each with the place it came from.

    Args:
        columns: those that are needed; none: all that there are.

    Raises:
        DataError: the file cannot be read, a line is not a JSON object, or a column is missing.
    """
    rows = _parquet_rows(path, columns) if path.suffix == ".parquet" else _json_rows(path)
    try:
        for where, row in rows:
            missing = [column for column in columns if column not in row]
            if missing:
                raise DataError(f"the row has no column {missing[0]!r} (it has: {', '.join(row)})", where=where)
            yield where, row
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read the problems: {error}", where=str(path), fix="Check its path") from error


def _json_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            where = f"{path}:{number}"
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise DataError(f"the line is not JSON ({error})", where=where) from error
            if not isinstance(row, dict):
                raise DataError("the line is not a JSON object", where=where)
            yield where, row


def _parquet_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            present = [column for column in columns if column in file.schema_arrow.names]
            number = 0
            for batch in file.iter_batches(columns=present or None):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path}, row {number}", row
    except pyarrow.ArrowInvalid as error:
        raise DataError(f"not a parquet file ({error})", where=str(path)) from error
