"""A worker of a :class:`reckon.sandbox.pool.Pool`: calls the function on one job after the other, and may die of it.

Its keeper (:mod:`reckon.sandbox.keeper`) trusts nothing that it does.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import struct
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

TASK = struct.Struct(">8sI")
"""From the keeper: the job's nonce and the length of its JSON."""
REPLY = struct.Struct(">8sBI")
"""To the keeper: the job's nonce, flags, and the length of what follows: the result as JSON, or words."""
RAISED, RETIRE = 1, 2
"""Flags: there is no result, and the words say why; the worker must not be used again."""
HELLO = bytes(8)
"""The nonce of the first message, that the worker is ready."""

LINUX = sys.platform == "linux"
PDEATHSIG, SUBREAPER = 1, 36
"""Options of prctl(2): die with the parent; be the parent of orphaned descendants."""


def prctl(option: int, value: int) -> None:
    if LINUX:
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def describe(error: BaseException) -> str:
    """An exception in at most 250 characters, whatever its ``__str__`` does."""
    kind = type(error).__name__
    try:
        return f"{kind}: {error}"[:250]
    except BaseException:
        return kind


def write(fd: int, data: bytes) -> None:
    """All of it, on a descriptor that blocks."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def work(function: Callable[[Any], Any], tasks: int, replies: int, memory: int, output: int) -> None:
    """The life of a worker: one job after the other, until its keeper goes.

    Args:
        memory: bytes of address space.
        output: bytes of a result.
    """
    keeper, me = os.getppid(), os.getpid()
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    os.setsid()
    prctl(SUBREAPER, 1)
    prctl(PDEATHSIG, signal.SIGKILL)
    if LINUX:
        if os.getppid() != keeper:
            return
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (memory if hard < 0 else min(memory, hard),) * 2)
        # When the machine's memory runs out, a worker can be spared, the trainer cannot.
        with suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")
    write(replies, REPLY.pack(HELLO, 0, 0))
    with open(tasks, "rb") as stream:
        while len(head := stream.read(TASK.size)) == TASK.size:
            nonce, length = TASK.unpack(head)
            flags, payload = _run(function, stream.read(length), output)
            if os.getpid() != me:  # the job forked, and this is the copy
                return
            signal.setitimer(signal.ITIMER_REAL, 0)
            if _has_children() or threading.active_count() > 1:
                flags |= RETIRE
            write(replies, REPLY.pack(nonce, flags, len(payload)) + payload)


def _run(function: Callable[[Any], Any], argument: bytes, output: int) -> tuple[int, bytes]:
    """Flags, and the result as JSON or why there is none."""
    try:
        payload = json.dumps(function(json.loads(argument))).encode()
    except MemoryError as error:
        return RAISED | RETIRE, describe(error).encode("utf-8", "replace")
    except BaseException as error:
        return RAISED, describe(error).encode("utf-8", "replace")
    if len(payload) > output:
        return RAISED, b"the result is larger than %d KiB" % (output >> 10)
    return 0, payload


def _has_children() -> bool:
    """Whether the job left a process behind, a detached one included, since this process is a subreaper."""
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return False
    return True
