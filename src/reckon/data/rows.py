"""The rows of a data set: a file, a folder with a training split, or a name on the Hugging Face hub."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reckon.core.errors import DataError
from reckon.tasks.source import read_rows

SUFFIXES = (".jsonl", ".json", ".parquet")

_HUB_NAME = re.compile(r"([\w.-]+/[\w.-]+)(?::([\w.-]+))?")


def rows_of(source: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every row with the place it came from, in the order of the files' names and of their lines.

    Args:
        source: a ``.jsonl``, ``.json`` (an array, or JSON lines) or ``.parquet`` file; a folder with files of these
            kinds whose names begin with ``train``, in it or in its ``data`` folder, or with a single file; or
            ``owner/name`` or ``owner/name:config`` for the ``train`` split of a data set on the hub.

    Raises:
        DataError: there is no such data, it is of another kind, or it cannot be read.
    """
    path = Path(source).expanduser()
    if not path.exists():
        # A path below an existing folder is a local one with a typo; asking the hub for it would only take time.
        name = _HUB_NAME.fullmatch(source)
        if name is None or path.parent.exists():
            raise DataError(
                "there is no such file or folder",
                where=source,
                fix="Give an existing one, or a data set on the Hugging Face hub: owner/name or owner/name:config",
            )
        yield from _hub_rows(name[1], name[2])
        return
    for file in _training_files(path) if path.is_dir() else [path]:
        yield from _file_rows(file)


def _training_files(folder: Path) -> list[Path]:
    """The files of the training split. Raises DataError when that is not plain from their names."""
    files = [file for place in (folder, folder / "data") for file in sorted(place.glob("*")) if _is_data(file)]
    training = [file for file in files if file.name.startswith("train")]
    if not training and len(files) == 1:
        return files
    if not training:
        found = ", ".join(file.name for file in files[:5]) or "no data file"
        raise DataError(
            f"the folder has no file whose name begins with 'train' (it has: {found})",
            where=str(folder),
            why="Reading whatever is there could train on test data",
            fix="Give the file itself",
        )
    return training


def _is_data(path: Path) -> bool:
    return path.name.endswith((*SUFFIXES, *(f"{suffix}.zst" for suffix in SUFFIXES)))


def _file_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    if path.suffix == ".parquet":
        yield from read_rows(path, _parquet_columns(path))
    elif path.suffix == ".json" and _begins_with_bracket(path):
        yield from _array_rows(path)
    elif path.suffix in SUFFIXES:
        yield from read_rows(path, ())
    else:
        cure = f"Unpack it first: zstd -d {path.name}" if path.suffix == ".zst" else "Convert the file to one of them"
        raise DataError(f"only {', '.join(SUFFIXES)} files can be read", where=str(path), fix=cure)


def _parquet_columns(path: Path) -> tuple[str, ...]:
    import pyarrow.parquet

    try:
        return tuple(pyarrow.parquet.read_schema(path).names)
    except (pyarrow.ArrowInvalid, OSError):
        return ()  # Reading its rows fails too, and says why.


def _begins_with_bracket(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(1024).lstrip().startswith(b"[")
    except OSError:
        return False  # Reading its rows fails too, and says why.


def _array_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"the file is not JSON ({error})", where=str(path)) from error
    for number, row in enumerate(rows, 1):
        where = f"{path}, row {number}"
        if not isinstance(row, dict):
            raise DataError("the row is not a JSON object", where=where)
        yield where, row


def _hub_rows(name: str, config: str | None) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        from datasets import load_dataset

        rows = load_dataset(name, config, split="train")
    except Exception as error:
        raise DataError(
            f"cannot fetch the data set from the hub ({error})",
            where=name,
            fix="Go online and check the name; a data set with several configs is owner/name:config",
        ) from error
    for number, row in enumerate(rows, 1):
        yield f"{name}, row {number}", row
