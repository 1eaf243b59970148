"""The process that untrusted programs are forked from: an interpreter with the usual modules already imported.

It holds no program and reads none: of what its caller sends, the job and the program's standard streams go to a child
that waits for them, forked ahead while nobody waits for it. So every child starts from the same memory and finds
nothing of the others in it. The caller's socket is read by whoever is to act: by the child for a job, a line of JSON
with three descriptors; once the child has it, by the zygote, for a word to stop. The zygote answers with a line of
JSON. Standard library only.

The child binds itself before it reads the first byte of its program, which comes on its standard input before what
the program itself will read there.
"""

from __future__ import annotations

import _sitebuiltins
import builtins
import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import struct
import sys
from importlib.machinery import SourceFileLoader
from types import ModuleType
from typing import NoReturn

from reckon.sandbox.inside import interpreter, scratch
from reckon.sandbox.inside.bonds import OPEN_FILES, Bonds
from reckon.sandbox.inside.messages import Job, Report, Setup, decoded
from reckon.sandbox.inside.watch import READY, Watch

USUAL = (
    "abc array bisect cmath collections collections.abc contextlib copy dataclasses datetime decimal enum fractions "
    "functools heapq io itertools json math numbers operator random re statistics string struct sys time "
    "traceback types typing"
)
"""Modules that programs import most. (Not threading: what it does after a fork costs more than its import.)"""


def main(setup: str, preload: str) -> NoReturn:
    """Serves one caller until it hangs up. ``preload``: the path of a module to import ahead, if not empty.

    The caller is found on standard input, which no descriptors of its own can push beyond those a child closes.
    """
    control = socket.socket(fileno=os.dup(0))
    folder, source = Zygote(control, Setup(**json.loads(setup)), preload).serve()
    # Without the site module (-S) there are none.
    builtins.exit, builtins.quit = (_sitebuiltins.Quitter(name, "Ctrl-D (i.e. EOF)") for name in ("exit", "quit"))
    interpreter.run(source, folder)


class Zygote:
    """Runs one program at a time, each in a child."""

    def __init__(self, control: socket.socket, setup: Setup, preload: str) -> None:
        self._control, self._setup, self._preload = control, setup, preload

    def serve(self) -> tuple[str, bytes]:
        """Answers the caller. Returns in a child only, bound, with its folder and its program."""
        try:
            self._prepare()
            self._say(Report("ready"))
            while child := self._bonds.fork():
                measured = "" if self._setup.namespaces else self._bonds.folder
                watch = Watch(child, self._status, self._control, self._woken, measured)
                report = watch.watch()
                if report is None:
                    self._leave(watch.failure)
                self._say(report)
                self._bonds.clear()  # which may take long, and before which no other program begins
        except OSError as error:
            self._leave(str(error))
        return self._begin()

    def _prepare(self) -> None:
        os.umask(0o022)
        for name in USUAL.split():
            importlib.import_module(name)
        if self._preload:
            _import_file(self._preload)
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
            file.write("500")  # if memory runs out, it is to be the programs that go
        self._bonds = Bonds(self._setup)
        # Children speak there until their programs begin, each message one datagram.
        self._status, self._speaker = socket.socketpair(type=socket.SOCK_DGRAM)
        self._woken, wake = os.pipe()
        for fd in (self._woken, wake):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        os.environ.clear()
        interpreter.open_streams()
        gc.collect()
        gc.freeze()  # children write to as few shared pages as can be

    def _say(self, report: Report) -> None:
        with contextlib.suppress(OSError):  # that a caller has hung up is noticed by the next read
            self._control.sendall(report.encode())

    def _leave(self, failure: str = "") -> NoReturn:
        if failure:
            self._say(Report("failed to start", detail=failure))
        if self._setup.scratch:
            scratch.remove(self._setup.scratch)
        os._exit(bool(failure))

    def _begin(self) -> tuple[str, bytes]:
        """What the child does before its program begins. In the end it has the program's streams and nothing else."""
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._bonds.tie()
            job, streams = self._await_job()
            self._speaker.sendall(job.encode())
            for target, fd in enumerate(streams):
                os.dup2(fd, target)
            questions = self._bonds.lock_down(job)
            source = _receive()
        except BaseException as error:
            self._speaker.sendall(f"{type(error).__name__}: {error}".encode())
            os._exit(1)
        if questions is None:
            self._speaker.sendall(READY)
        else:
            socket.send_fds(self._speaker, [READY], [questions])
        for held in (self._control, self._status, self._speaker):
            held.detach()
        os.closerange(3, OPEN_FILES)
        return self._bonds.folder, source

    def _await_job(self) -> tuple[Job, list[int]]:
        """The next job of the caller, with its streams. If there will be none, the process ends."""
        while True:
            message, fds = b"", list[int]()
            with contextlib.suppress(ConnectionError):
                message, fds, _, _ = socket.recv_fds(self._control, 4096, 3)
            if not message:
                os._exit(0)
            if fds:  # else it is word to stop a program that had just ended
                return Job(**decoded(message.splitlines()[-1])), fds


def _import_file(path: str) -> None:
    """Imports a module by the name of its file. Its folder is not searched for others."""
    module = ModuleType(os.path.splitext(os.path.basename(path))[0])
    sys.modules[module.__name__] = module
    SourceFileLoader(module.__name__, path).exec_module(module)


def _receive() -> bytes:
    """Reads the program and writes its files. What the program will read itself stays in the pipe."""
    (length,) = struct.unpack("=Q", _read(8))
    files: dict[str, str] = json.loads(_read(length))
    for path, text in files.items():
        if folder := os.path.dirname(path):
            os.makedirs(folder, exist_ok=True)
        with open(path, "wb") as file:
            file.write(text.encode("utf-8", "surrogatepass"))
    return files[interpreter.SCRIPT].encode("utf-8", "surrogatepass")


def _read(length: int) -> bytes:
    parts = []
    while length:
        part = os.read(0, min(length, 1 << 20))
        if not part:
            raise EOFError("the program did not arrive")
        parts.append(part)
        length -= len(part)
    return b"".join(parts)
