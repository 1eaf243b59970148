"""What a sandbox and the process that forks its programs say to each other: lines of JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


class _Line:
    """One message."""

    def encode(self) -> bytes:
        return json.dumps(vars(self)).encode() + b"\n"


@dataclass(frozen=True)
class Setup(_Line):
    """What a zygote is told at its start.

    Attributes:
        namespaces: live in namespaces of its own, and give each child a process namespace of its own.
        scratch: without namespaces, the folder in which programs run.
    """

    namespaces: bool
    scratch: str


@dataclass(frozen=True)
class Job(_Line):
    """What a waiting child is told of its program, and tells its zygote, which never sees the program itself."""

    landlock: bool
    seccomp: bool
    timeout_s: float
    memory_mb: int


@dataclass(frozen=True)
class Report(_Line):
    """What a zygote says of one program, and with the status ``ready`` of itself.

    Attributes:
        status: ``exited``, ``killed``, ``timed out``, ``stopped`` (as its caller asked) or ``failed to start``.
        code: exit code, or minus the signal's number.
        refused: what was refused, in words.
    """

    status: str
    code: int | None = None
    seconds: float = 0.0
    refused: tuple[str, ...] = ()
    detail: str = ""


STOP = b"stop\n"
"""Kills the program that runs."""


def decoded(line: bytes) -> dict[str, Any]:
    """The fields of a message."""
    fields: dict[str, Any] = json.loads(line)
    return fields
