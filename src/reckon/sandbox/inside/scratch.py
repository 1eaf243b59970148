"""The folder of untrusted programs: how much is in it, and how to empty it whatever it holds."""

from __future__ import annotations

import contextlib
import os
from itertools import count

MOST_ENTRIES = 1000
"""How many files and folders a program may have."""
_ENDLESS = 1 << 62
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def size(folder: str) -> int:
    """Bytes on disk below a folder, deleted files aside. More entries than allowed count as endless."""
    total, entries, waiting = 0, 0, [folder]
    while waiting:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as listing:
            for entry in listing:
                entries += 1
                if entries > MOST_ENTRIES:
                    return _ENDLESS
                with contextlib.suppress(OSError):
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
    return total


def remove(folder: str) -> None:
    """Removes a folder and all below it. Nothing where there is none."""
    with contextlib.suppress(FileNotFoundError):
        _own(folder)
        fd = os.open(folder, _FOLDER)
        try:
            empty(fd)
        finally:
            os.close(fd)
        os.rmdir(folder)


def empty(folder: int) -> None:
    """Removes all below an open folder, however deep and whatever its modes. Follows no symbolic link.

    Folders within folders first move up to the top, so that no path grows longer than the system allows.
    """
    _own(folder)
    while names := set(os.listdir(folder)):
        free = (name for name in map(str, count()) if name not in names)
        for name in names:
            if not _unlinked(name, folder):
                inner = _open(name, folder)
                try:
                    for entry in os.listdir(inner):
                        if not _unlinked(entry, inner):
                            _own(entry, inner)  # a folder that moves is written to
                            os.rename(entry, next(free), src_dir_fd=inner, dst_dir_fd=folder)
                finally:
                    os.close(inner)
                os.rmdir(name, dir_fd=folder)


def _unlinked(name: str, folder: int) -> bool:
    """Removes what is no folder; false if it is one."""
    try:
        os.unlink(name, dir_fd=folder)
    except (IsADirectoryError, PermissionError):  # which of the two depends on the system
        return False
    return True


def _open(name: str, folder: int) -> int:
    _own(name, folder)
    return os.open(name, _FOLDER, dir_fd=folder)


def _own(name: str | int, folder: int | None = None) -> None:
    """The right to read and write a folder of one's own. Root has it, and would follow a link here."""
    if os.geteuid() != 0:
        os.chmod(name, 0o700, dir_fd=folder)
