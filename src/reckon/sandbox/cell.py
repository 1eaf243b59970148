"""One process that programs are forked from, as its caller sees it: start it, run programs one by one, end it."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import cast

from reckon.core.errors import ReckonError
from reckon.sandbox.inside import scratch
from reckon.sandbox.inside.interpreter import SCRIPT
from reckon.sandbox.inside.messages import STOP, Job, Report, Setup, decoded
from reckon.sandbox.inside.watch import SETUP_S
from reckon.sandbox.program import Program, Ran, Status

_START_S = 30.0
_GRACE_S = 5.0
"""How long after its last deadline a zygote may still take to answer."""

_BOOT = (
    "import sys; root, setup, preload = sys.argv[1:]; sys.path.append(root); "
    "from reckon.sandbox.inside.zygote import main; sys.path.remove(root); main(setup, preload)"
)

_SIGNS = {
    "MemoryError": "memory",
    "RuntimeError: can't start new thread": "threads",
    "PermissionError: [Errno 13]": "files",
    "OSError: [Errno 24]": "open files",
    "OSError: [Errno 27]": "disk",
    "OSError: [Errno 28]": "disk",
}
"""How a traceback's last line begins, by what was refused."""


class Cell:
    """A zygote. One program at a time, from any thread.

    Attributes:
        usable: false once it is closed or has failed; then every program fails to start.
    """

    def __init__(self, namespaces: bool, preload: Path | None = None) -> None:
        """``namespaces``: in its own. ``preload``: see :class:`reckon.sandbox.jail.LocalSandbox`.

        Raises ReckonError, which says why, where it does not start.
        """
        self._scratch = "" if namespaces else tempfile.mkdtemp(prefix="reckon-jail-")
        setup = Setup(namespaces, self._scratch).encode().decode()
        ours, theirs = socket.socketpair()
        root = str(Path(__file__).parents[2])
        options = ["-s", "-S", "-P", "-B", "-X", "utf8", "-c", _BOOT]
        command = [sys.executable, *options, root, setup, str(preload or "")]
        try:
            with theirs:
                self._process = subprocess.Popen(
                    command,
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    # The order of sets is to be the same in every run; one pool of memory: threads are to cost no room.
                    env={"PYTHONHASHSEED": "0", "MALLOC_ARENA_MAX": "1"},
                    cwd="/",
                    start_new_session=True,
                )
        except OSError as error:
            ours.close()
            scratch.remove(self._scratch)
            raise _not_started(str(error)) from error
        self._control = ours
        self._streams: _Streams | None = None
        self._heard = b""
        self.usable = True
        report = self._hear(time.monotonic() + _START_S)
        if report is None or report.status != "ready":
            self.close()
            raise _not_started(report.detail if report else "no answer")

    def run(self, program: Program, *, landlock: bool, seccomp: bool) -> Ran:
        """Runs a program to its end, with these filters."""
        limits = program.limits
        job = Job(landlock, seccomp, limits.timeout_s, limits.memory_mb)
        self._streams = streams = _Streams(program)
        report = None
        with contextlib.suppress(OSError), contextlib.closing(streams):
            socket.send_fds(self._control, [job.encode()], streams.theirs)
            streams.release()
            report = self._attend(streams, time.monotonic() + SETUP_S + limits.timeout_s + _GRACE_S)
        if report is None:
            self.close()
            return Ran("failed to start", None, "", "the process that runs programs has ended", 0.0)
        return _ran(report, streams)

    def _attend(self, streams: _Streams, deadline: float) -> Report | None:
        """Feeds and reads the streams until the zygote reports; None if it never does."""
        poll, control, told = select.poll(), self._control.fileno(), False
        poll.register(control, select.POLLIN)
        for fd, event in streams.open():
            poll.register(fd, event)
        while (left := deadline - time.monotonic()) > 0:
            for fd, _ in poll.poll(left * 1000):
                if fd == control:
                    report = self._hear(deadline)
                    streams.drain()
                    return report
                if not streams.serve(fd):
                    poll.unregister(fd)
            if streams.full and not told:
                told = True
                self._control.sendall(STOP)
        return None

    def _hear(self, deadline: float) -> Report | None:
        """The next line of the zygote; None if it has ended or the deadline passes."""
        while b"\n" not in self._heard:
            self._control.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                part = self._control.recv(1 << 16)
            except OSError:
                return None
            if not part:
                return None
            self._heard += part
        line, _, self._heard = self._heard.partition(b"\n")
        return Report(**decoded(line))

    def close(self) -> None:
        """Ends the process and what runs in it. More than once is no harm."""
        if not self.usable:
            return
        self.usable = False
        with contextlib.suppress(OSError):
            self._control.shutdown(socket.SHUT_RDWR)  # heard even if a forked copy of this process holds it too
        self._control.close()
        try:
            self._process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._scratch:
            scratch.remove(self._scratch)

    def forget(self) -> None:
        """For a forked copy of the caller: lets go of the original's connection, and pipes that a program waits for."""
        self.usable = False
        self._control.close()
        if self._streams:
            self._streams.close()


def _not_started(why: str) -> ReckonError:
    return ReckonError(
        f"A process to run untrusted programs in does not start: {why}",
        where="sandbox",
        why="No program can be run so",
    )


class _Streams:
    """The pipes to and from a program."""

    def __init__(self, program: Program) -> None:
        script = {SCRIPT: program.source, **program.files}
        files = json.dumps(script).encode()
        self._input = memoryview(struct.pack("=Q", len(files)) + files + program.stdin.encode("utf-8", "surrogatepass"))
        self._most = program.limits.output_kb << 10
        (stdin, self._stdin), (self._stdout, stdout), (self._stderr, stderr) = os.pipe(), os.pipe(), os.pipe()
        self.theirs = [stdin, stdout, stderr]
        self.read = {self._stdout: bytearray(), self._stderr: bytearray()}
        self._ours = [self._stdin, *self.read]
        self.full = False
        for fd in self._ours:
            os.set_blocking(fd, False)

    def close(self) -> None:
        """Closes what is open of either end."""
        self.release()
        while self._ours:
            os.close(self._ours.pop())

    def release(self) -> None:
        """Closes the ends that are the program's."""
        while self.theirs:
            os.close(self.theirs.pop())

    def open(self) -> list[tuple[int, int]]:
        """Our ends, each with what it waits for."""
        return [(self._stdin, select.POLLOUT), *((fd, select.POLLIN) for fd in self.read)]

    def serve(self, fd: int) -> bool:
        """Writes or reads what can be now; false when there will be no more."""
        return self._feed() if fd == self._stdin else self._collect(fd)

    def _feed(self) -> bool:
        try:
            self._input = self._input[os.write(self._stdin, self._input[: 1 << 16]) :]
        except BlockingIOError:
            return True
        except OSError:  # the program reads no more
            self._input = self._input[:0]
        if not self._input:
            self._ours.remove(self._stdin)
            os.close(self._stdin)
        return bool(self._input)

    def _collect(self, fd: int) -> bool:
        part = os.read(fd, 1 << 16)
        kept = self.read[fd]
        self.full |= len(kept) + len(part) > self._most
        kept += part[: self._most - len(kept)]
        return bool(part)

    def drain(self) -> None:
        """Reads what is left in the pipes of a program that has ended."""
        for fd in self.read:
            with contextlib.suppress(BlockingIOError):
                while not self.full and self._collect(fd):
                    pass


def _ran(report: Report, streams: _Streams) -> Ran:
    stdout, stderr = (bytes(kept).decode("utf-8", "replace") for kept in streams.read.values())
    if report.status == "failed to start":
        return Ran("failed to start", None, "", report.detail, 0.0)
    status = cast(Status, "too much output" if streams.full else report.status)
    last = stderr.rstrip().rpartition("\n")[2]
    signs = [refused for sign, refused in _SIGNS.items() if last.startswith(sign)]
    denied = tuple(dict.fromkeys([*report.refused, *signs]))
    return Ran(status, report.code if status in ("exited", "killed") else None, stdout, stderr, report.seconds, denied)
