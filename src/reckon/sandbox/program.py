"""What runs untrusted code: a :class:`Program` goes in, a :class:`Ran` comes out of a :class:`Sandbox`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Literal, Protocol

from reckon.core.errors import DataError
from reckon.sandbox.inside.interpreter import SCRIPT
from reckon.sandbox.limits import Limits

Status = Literal["exited", "killed", "timed out", "too much output", "failed to start"]
"""How a program ended: by itself (whatever its exit code), by a signal, at its deadline, at its output limit, or never
begun. The last says nothing of the program: it is the machine's or the sandbox's failure, and no verdict follows."""


@dataclass(frozen=True)
class Program:
    """A Python program and what it is given.

    Attributes:
        source: its text, run as ``__main__``.
        stdin: what it reads on its standard input.
        files: text files of its own working folder, by relative path. Its source lies there too, as ``main.py``.
        limits: the wall clock from its first instruction, its address space, and how much it may print on stdout and
            on stderr.
    """

    source: str
    stdin: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = field(default_factory=lambda: Limits(timeout_s=10.0))

    def __post_init__(self) -> None:
        """Raises DataError for a file that would lie elsewhere, or in the source's place."""
        for path in self.files:
            parts = PurePosixPath(path).parts
            if not parts or path.startswith("/") or ".." in parts or parts == (SCRIPT,) or "\0" in path:
                raise DataError(
                    f"A program's file cannot be called {path!r}",
                    where="files",
                    fix=f"Give a relative path inside the program's folder, other than {SCRIPT}",
                )


@dataclass(frozen=True)
class Ran:
    """What became of a program.

    Attributes:
        exit_code: of a program that exited; that of one killed by a signal is minus the signal's number.
        stdout: what it printed, cut at the limit; bytes that are no UTF-8 become U+FFFD.
        stderr: likewise; of a program that failed to start, why.
        seconds: wall clock from its first instruction to its last.
        denied: what it tried and was refused, as far as the sandbox can tell: ``network``, ``memory``...
    """

    status: Status
    exit_code: int | None
    stdout: str
    stderr: str
    seconds: float
    denied: tuple[str, ...] = ()


class Sandbox(Protocol):
    """A place where untrusted programs run. Safe to use from any thread."""

    tier: int
    """3: namespaces, seccomp, Landlock and resource limits; 2: without namespaces; 1: resource limits only."""

    def run(self, program: Program) -> Ran:
        """Runs a program to its end, whatever it does."""
        ...

    def run_all(self, programs: Sequence[Program]) -> list[Ran]:
        """Runs programs side by side; results in the order of the programs."""
        ...

    def close(self) -> None:
        """Ends whatever still runs. Nothing runs after it."""
        ...
