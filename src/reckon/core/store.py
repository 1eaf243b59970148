"""Files that are whole or invisible: atomic writes, appended JSON lines, checkpoints and the lock of a run.

A file or folder is built under a temporary name (``.name.<random>.tmp``) beside its target, brought to the disk
and renamed, so a kill or a full disk at any moment leaves the previous state. Every function here raises
DataError, with the path and the system's reason, where the disk refuses.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import math
import os
import re
import secrets
import shutil
import socket
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from reckon.core.errors import ConfigError, DataError, ReckonError

Row = dict[str, Any]

MANIFEST = "manifest.json"
_CHECKPOINT = re.compile(r"step-\d{6,}")
_FULL = {code: os.strerror(code) for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)}


# ------------------------------------------------------------------------------------------- whole files


def write_text(path: Path, text: str) -> None:
    """Replace ``path`` by a UTF-8 file with this text; makes the folder if need be."""
    _write_bytes(path, _encoded(text))


def write_json(path: Path, value: Any) -> None:
    """Replace ``path`` by strict JSON; numbers that are not finite become null."""
    write_text(path, _json(value, indent=1) + "\n")


def _write_bytes(path: Path, data: bytes) -> None:
    with _disk(path, len(data)):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _temporary(path)
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)


def _json(value: Any, indent: int | None = None) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent)
    except ValueError:
        return json.dumps(_finite(value), ensure_ascii=False, allow_nan=False, indent=indent)


def _encoded(text: str) -> bytes:
    # Half of a surrogate pair, which hostile text may hold, has no UTF-8; its escape is also what JSON wants.
    return text.encode(errors="backslashreplace")


def _finite(value: Any) -> Any:
    """The same data with null for NaN and the infinities, which JSON cannot hold."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return value


# -------------------------------------------------------------------------------------------- JSON lines


class Rows(list[Row]):
    """The rows of a file. ``torn`` counts unfinished last lines that were dropped: 0 or 1."""

    torn: int = 0


def append_jsonl(path: Path, rows: Iterable[Row]) -> None:
    """Append one JSON object per line, strict as in :func:`write_json`: all rows or, if the disk refuses, none.

    A torn last line, left by a writer that was killed, is removed first. The rows survive a kill at once and a
    power cut once the system has written them out; waiting for that at every step would cost more than it saves.
    """
    data = _encoded("".join(_json(row) + "\n" for row in rows))
    with _disk(path, len(data)):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b", buffering=0) as file:
            end = _mend(file.fileno())
            try:
                view = memoryview(data)
                while view:
                    view = view[file.write(view) :]
            except OSError:
                os.ftruncate(file.fileno(), end)
                raise


def write_jsonl(path: Path, rows: Iterable[Row]) -> None:
    """Replace ``path`` by one JSON object per line, strict as in :func:`write_json`."""
    write_text(path, "".join(_json(row) + "\n" for row in rows))


def _mend(fd: int) -> int:
    """Make an open JSONL file end in a line break; returns its length in bytes."""
    end = os.fstat(fd).st_size
    if end == 0 or os.pread(fd, 1, end - 1) == b"\n":
        return end
    start, tail = end, b""
    while start > 0 and b"\n" not in tail:
        size = min(start, 1 << 16)
        start -= size
        tail = os.pread(fd, size, start) + tail
    last = tail[tail.rfind(b"\n") + 1 :]
    if _row(last) is not None:
        return end + os.pwrite(fd, b"\n", end)
    os.ftruncate(fd, end - len(last))
    return end - len(last)


def read_jsonl(path: Path) -> Rows:
    """All rows of a JSON lines file.

    An unfinished last line (no line break, not a JSON object) is what a killed writer leaves: it is dropped and
    counted. Raises DataError, with file and line, if any other line is not a JSON object.
    """
    rows = Rows()
    for _, row in _lines(path):
        if row is None:
            rows.torn += 1
        else:
            rows.append(row)
    return rows


def truncate_jsonl(path: Path, keep: Callable[[Row], bool]) -> int:
    """Keep the rows for which ``keep`` is true, byte for byte, and return how many lines went.

    A resumed run drops what was written after its checkpoint. A file that is not there has no rows.
    """
    if not path.exists():
        return 0
    lines = list(_lines(path))
    kept = [line for line, row in lines if row is not None and keep(row)]
    if len(kept) < len(lines):
        _write_bytes(path, b"".join(line + b"\n" for line in kept))
    return len(lines) - len(kept)


def _lines(path: Path) -> Iterator[tuple[bytes, Row | None]]:
    """The raw lines and their rows; the row of a torn last line is None. Blank lines are left out."""
    try:
        with path.open("rb") as file:
            for number, raw in enumerate(file, 1):
                line = raw.rstrip(b"\r\n")
                if not line.strip():
                    continue
                row = _row(line)
                if row is None and raw.endswith(b"\n"):
                    raise DataError(
                        "this line is not a JSON object",
                        where=f"{path}:{number}",
                        why="The file is damaged, or not JSON lines.",
                        fix="Restore the file, or delete the line to go on without it.",
                    )
                yield line, row
    except OSError as error:
        raise DataError(f"cannot read this file: {error.strerror}", where=str(path)) from None


def _row(line: bytes) -> Row | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


# ----------------------------------------------------------------------------------------------- digests


def file_digest(path: Path) -> str:
    """sha256 (hex) of a file's contents."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"cannot read this file: {error.strerror}", where=str(path)) from None


def folder_digest(path: Path) -> str:
    """sha256 (hex) of the relative names and contents of all files below a folder."""
    if not path.is_dir():
        raise DataError("there is no such folder", where=str(path))
    total = hashlib.sha256()
    for name in _names(path):
        total.update(f"{name}\0{file_digest(path / name)}\n".encode())
    return total.hexdigest()


def _names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


# --------------------------------------------------------------------------------------- whole folders


@contextlib.contextmanager
def publish(folder: Path) -> Iterator[Path]:
    """Yields an empty folder to fill; at the end it becomes ``folder``, with a manifest of its files' sha256.

    A folder published there before is replaced; any other is refused with DataError. If the body raises or the
    process dies, nothing of the new folder can be seen.
    """
    if folder.exists() and not (folder / MANIFEST).is_file():
        raise DataError(
            f"this exists and has no {MANIFEST}",
            where=str(folder),
            why="It was not written by Reckon, so it is not replaced.",
            fix="Move it away or choose another place.",
        )
    with _disk(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = _temporary(folder)
        temporary.mkdir()
    try:
        with _disk(folder):
            yield temporary
            files = {}
            for name in _names(temporary):
                _sync_file(temporary / name)
                files[name] = {"sha256": file_digest(temporary / name), "size": (temporary / name).stat().st_size}
            for inner in temporary.rglob("*/"):
                _sync_folder(inner)
            write_json(temporary / MANIFEST, {"files": files})
            old = _temporary(folder)
            if folder.exists():
                folder.rename(old)
            temporary.rename(folder)
            _sync_folder(folder.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)


def verify_manifest(folder: Path) -> list[str]:
    """What is wrong with a published folder, one sentence each; [] if every listed file is as it was written."""
    try:
        files = json.loads((folder / MANIFEST).read_bytes())["files"]
        listed = [(str(name), int(entry["size"]), str(entry["sha256"])) for name, entry in files.items()]
    except FileNotFoundError:
        return [f"{MANIFEST} is missing"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return [f"{MANIFEST} is unreadable"]
    problems = []
    for name, size, sha256 in listed:
        path = folder / name
        if not path.is_file():
            problems.append(f"{name} is missing")
        elif path.stat().st_size != size:
            problems.append(f"{name} has {path.stat().st_size} bytes instead of {size}")
        elif file_digest(path) != sha256:
            problems.append(f"{name} has changed since it was written")
    return problems


def latest_checkpoint(folder: Path, warn: Callable[[str], None] = warnings.warn) -> Path | None:
    """The newest intact ``step-NNNNNN`` in ``folder``; ``warn`` is told of each damaged one that was skipped."""
    for path in reversed(_checkpoints(folder)):
        problems = verify_manifest(path)
        if not problems:
            return path
        warn(f"{path} is damaged and was skipped: {'; '.join(problems)}.")
    return None


def prune(folder: Path, keep: int) -> None:
    """Remove all but the newest ``keep`` (at least 1) checkpoints of a folder."""
    for path in _checkpoints(folder)[: -max(keep, 1)]:
        with _disk(path):
            # Renamed first, so that it disappears at once and not file by file.
            shutil.rmtree(path.rename(_temporary(path)))


def sweep(folder: Path) -> None:
    """Remove what killed writers left under temporary names, at any depth.

    Only the holder of the run's lock may call this: it does not ask whether a writer is still at work.
    """
    for path in list(folder.rglob(".*.????????.tmp")):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _checkpoints(folder: Path) -> list[Path]:
    found = [path for path in folder.glob("step-*") if path.is_dir() and _CHECKPOINT.fullmatch(path.name)]
    return sorted(found, key=lambda path: int(path.name.removeprefix("step-")))


# ---------------------------------------------------------------------------------------------- the lock


class RunLock:
    """One process per run directory: ``with RunLock(folder / "lock"): ...``.

    Raises ConfigError on entry if another process holds the lock, naming it. The kernel frees the lock when the
    process ends, however it ends; the file stays and means nothing by itself. A POSIX record lock is used and
    not ``flock``, because worker processes forked by a killed run would go on holding the latter.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> RunLock:
        with _disk(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                holder = os.read(self._fd, 200).decode(errors="replace").strip()
                os.close(self._fd)
                if error.errno not in (errno.EACCES, errno.EAGAIN):
                    raise
                raise ConfigError(
                    f"locked by {holder or 'another process'}",
                    where=str(self.path.parent),
                    why="Two processes writing one run would spoil it.",
                    fix="Wait for that process, stop it, or choose another folder with --out.",
                ) from None
            since = time.strftime("%Y-%m-%d %H:%M:%S")
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"pid {os.getpid()} on {socket.gethostname()} since {since}\n".encode(), 0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)


# ---------------------------------------------------------------------------------------------- the disk


@contextlib.contextmanager
def _disk(path: Path, needed: int | None = None) -> Iterator[None]:
    """Turns a refusal of the disk into DataError. ``needed``: bytes about to be written, if known."""
    try:
        yield
    except ReckonError:
        raise
    except OSError as error:
        full = error.errno in _FULL
        raise _refused(path, error.strerror or str(error), needed, full) from error
    except Exception as error:
        # Some writers (safetensors) wrap the system's error in a type of their own, with its words.
        reason = next((words for words in _FULL.values() if words in str(error)), None)
        if reason is None:
            raise
        raise _refused(path, reason, needed, full=True) from error


def _refused(path: Path, reason: str, needed: int | None, full: bool) -> DataError:
    why = "What was there before is intact."
    if full:
        free = next(shutil.disk_usage(place).free for place in (path, *path.parents) if os.path.exists(place))
        need = "" if needed is None else f", {needed} bytes needed"
        why = f"{free} bytes free{need}; what was there before is intact."
    fix = "Free some space" if full else "Check the folder's permissions"
    return DataError(
        f"cannot write: {reason}",
        where=str(path),
        why=why,
        fix=f"{fix} or choose another place, then run the same command again.",
    )


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")


def _sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
