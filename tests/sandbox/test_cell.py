"""One process that programs are forked from: what it starts with, and when it ends."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from reckon.core.errors import ReckonError
from reckon.sandbox.cell import Cell
from reckon.sandbox.program import Program, Ran


@pytest.fixture
def cell() -> Iterator[Cell]:
    with contextlib.closing(Cell(False)) as found:
        yield found


def run(cell: Cell, source: str) -> Ran:
    return cell.run(Program(source), landlock=False, seccomp=False)


def test_a_program_has_no_descriptor_of_a_caller_that_has_many() -> None:
    """One that had the connection could tell the caller what became of it, and of the next program."""
    with contextlib.ExitStack() as opened:
        for _ in range(100):
            opened.enter_context(open(os.devnull, "rb"))
        cell = opened.enter_context(contextlib.closing(Cell(False)))
        source = """
import os
for fd in range(3, 2000):
    try:
        os.fstat(fd)
        print(fd)
    except OSError:
        pass
"""
        assert run(cell, source).stdout == ""


def test_without_its_waiting_child_it_takes_no_job(cell: Cell) -> None:
    """It would run a program of which the caller hears that it has failed to start."""
    assert run(cell, "print(1)").stdout == "1\n"
    zygote = cell._process
    children = Path(f"/proc/{zygote.pid}/task/{zygote.pid}/children")
    if not children.exists():
        pytest.skip("there is no /proc to find the child in")
    deadline = time.monotonic() + 10
    while not (waiting := children.read_text().split()):
        assert time.monotonic() < deadline
    os.kill(int(waiting[0]), signal.SIGKILL)
    assert zygote.wait(10) == 1
    assert run(cell, "print(2)").status == "failed to start"


def test_one_that_cannot_be_started_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(ReckonError, match="No such file"):
        Cell(False)
    assert not list(tmp_path.iterdir())
