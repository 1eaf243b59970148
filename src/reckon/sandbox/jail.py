"""The jail on this machine: untrusted programs, each in a process of its own that can do nothing but compute."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from reckon.core.errors import ConfigError, ReckonError
from reckon.sandbox.cell import Cell
from reckon.sandbox.program import Program, Ran
from reckon.sandbox.proof import TIERS, prove


class LocalSandbox:
    """Runs programs on this machine, several at a time. Safe to use from any thread, and after a fork.

    Attributes:
        tier: what binds the programs; see :data:`reckon.sandbox.proof.TIERS`.
        workers: how many run at a time.
    """

    def __init__(self, tier: int | None = None, workers: int | None = None, preload: Path | None = None) -> None:
        """Raises ConfigError if the tier does not hold here.

        Args:
            tier: the strongest that proves itself here, if None.
            workers: as many as there are processors, if None.
            preload: the file of a trusted module that needs the standard library alone. It is imported once, before
                any program and outside the bonds, and found by programs that import its name. A file of that name that
                they bring along, for sandboxes that preload nothing, is left out. All programs can read the module.
        """
        proof = prove()
        self.tier = proof.tier if tier is None else tier
        if self.tier not in TIERS:
            raise ConfigError(f"There is no tier {tier} of the sandbox", where="tier", fix="Choose 1, 2 or 3")
        if self.tier > proof.tier:
            raise ConfigError(
                f"Tier {tier} of the sandbox does not hold on this machine: {proof.missing(self.tier)}",
                where="sandbox",
                why="Programs could do what the tier forbids",
                fix=f"Use tier {proof.tier}, or a machine whose kernel allows more",
            )
        self.workers = workers or os.cpu_count() or 1
        self._preload = preload and preload.absolute()  # a zygote starts elsewhere
        self._cells = set[Cell]()
        self._idle = list[Cell]()
        self._start()
        _everywhere.add(self)
        self._finalizer = weakref.finalize(self, _close_all, self._cells)

    def _start(self) -> None:
        self._lock = threading.Lock()
        self._places = threading.BoundedSemaphore(self.workers)

    def run(self, program: Program) -> Ran:
        """Runs a program to its end, whatever it does; waits for a free place first.

        What fails to start is tried once more, in a new cell: that is the machine's failure, never the program's, and
        what ended one idle cell (memory that ran out, say) may have ended the others.
        """
        with self._places:
            with self._lock:
                idle = self._idle.pop() if self._idle else None
            ran = self._run(program, idle or self._opened())
            return self._run(program, self._opened()) if ran.status == "failed to start" else ran

    def _opened(self) -> Cell:
        cell = Cell("namespaces" in TIERS[self.tier], self._preload)
        self._cells.add(cell)
        if not self._finalizer.alive:  # checked now: what is closed while a cell starts does not know of it
            self._drop(cell)
            raise ReckonError("The sandbox is closed", where="sandbox")
        return cell

    def _run(self, program: Program, cell: Cell) -> Ran:
        if self._preload and self._preload.name in program.files:
            others = {path: text for path, text in program.files.items() if path != self._preload.name}
            program = replace(program, files=others)
        layers = TIERS[self.tier]
        try:
            ran = cell.run(program, landlock="landlock" in layers, seccomp="seccomp" in layers)
        except BaseException:  # Ctrl-C, say: the program must not go on
            self._drop(cell)
            raise
        if ran.status == "failed to start":
            self._drop(cell)
        else:
            with self._lock:
                self._idle.append(cell)
        return ran

    def _drop(self, cell: Cell) -> None:
        cell.close()
        self._cells.discard(cell)

    def run_all(self, programs: Sequence[Program]) -> list[Ran]:
        """Runs programs side by side; results in the order of the programs."""
        with ThreadPoolExecutor(self.workers) as threads:
            return list(threads.map(self.run, programs))

    def close(self) -> None:
        """Ends whatever still runs. Happens at the end of the process too."""
        self._finalizer()

    def forget(self) -> None:
        """In a forked copy of the process: its own processes are to be started."""
        for cell in self._cells:
            cell.forget()
        self._cells.clear()
        self._idle.clear()
        self._start()


_everywhere: weakref.WeakSet[LocalSandbox] = weakref.WeakSet()


def _close_all(cells: set[Cell]) -> None:
    for cell in list(cells):
        cell.close()
    cells.clear()


def _forget_all() -> None:
    for sandbox in list(_everywhere):
        sandbox.forget()


os.register_at_fork(after_in_child=_forget_all)
