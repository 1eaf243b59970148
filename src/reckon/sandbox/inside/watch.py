"""Watching one untrusted program from its start to its end, from outside."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time

from reckon.sandbox.inside import scratch
from reckon.sandbox.inside.bonds import DISK_MB
from reckon.sandbox.inside.filter import Questions
from reckon.sandbox.inside.messages import Job, Report, decoded

SETUP_S = 10.0
"""How long a child may take to bind itself and receive its program. The machine's time, not the program's."""
THREADS = 1000
"""How many threads a program may start in its life."""
_TICK_S = 0.05
"""How often a folder that no file system limits is measured."""

_NEVER = float("inf")

READY = b"ready"


class Watch:
    """Waits for a child to get a job, to begin, to end or to deserve its end, and answers its filter meanwhile.

    Args:
        child: the leader of a session of its own.
        status: on which the child says first its job, then :data:`READY`, with the descriptor of its filter's
            questions if it has one; or what went wrong.
        control: the caller; whatever it says to a child that has a job is a word to stop.
        woken: readable after a signal that a child has ended.
        folder: to be measured, if any.

    Attributes:
        failure: what kept the program from beginning; empty if nothing did.
    """

    def __init__(self, child: int, status: socket.socket, control: socket.socket, woken: int, folder: str) -> None:
        self._child, self._folder = child, folder
        self._status, self._control, self._woken = status, control, woken
        self._job: Job | None = None
        self._questions: Questions | None = None
        self.failure = ""
        self._end = ""
        self._started: float | None = None
        self._deadline = self._measuring = _NEVER
        self._disk = False
        self._code = 0
        self._poll = select.poll()
        for fd in (status.fileno(), woken):
            self._poll.register(fd, select.POLLIN)

    def watch(self) -> Report | None:
        """Returns when the child is gone; None if it never had a job, because there will be none or it failed."""
        self._status.setblocking(False)
        while not self._ended():
            for fd, event in self._poll.poll(self._patience() * 1000):
                if fd == self._status.fileno():
                    self._listen()
                elif fd == self._control.fileno():
                    with contextlib.suppress(ConnectionError):
                        self._control.recv(4096)
                    self._poll.unregister(fd)
                    self._kill("stopped")
                elif self._questions and fd == self._questions.fd:
                    if event & select.POLLIN:
                        self._questions.answer()
                    else:
                        self._poll.unregister(fd)
            now = time.monotonic()
            if now > self._deadline:
                self._kill("timed out")
            elif now > self._measuring:
                self._measuring = now + _TICK_S
                if scratch.size(self._folder) > DISK_MB << 20:
                    self._disk = True
                    self._kill("killed")
        self._listen()
        if self._started is None and self._code and not self.failure:
            self.failure = f"ended with {self._code} before its program began"
        return self._report() if self._job else None

    def _patience(self) -> float:
        """Seconds until something is due."""
        due = min(self._deadline, self._measuring) - time.monotonic()
        return min(max(0.0, due), 60.0) + 0.001

    def _listen(self) -> None:
        """Reads what the child has said of itself so far."""
        with contextlib.suppress(BlockingIOError):
            while True:
                said, fds, _, _ = socket.recv_fds(self._status, 4096, 1)
                now = time.monotonic()
                if said == READY and self._job:
                    self._started, self._deadline = now, now + self._job.timeout_s
                    for fd in fds:
                        self._questions = Questions(fd, THREADS)
                        self._poll.register(fd, select.POLLIN)
                elif self._job is None and said.startswith(b"{"):
                    self._job, self._deadline = Job(**decoded(said)), now + SETUP_S
                    self._measuring = now + _TICK_S if self._folder else _NEVER
                    self._poll.register(self._control.fileno(), select.POLLIN)
                else:
                    self.failure = said.decode(errors="replace")

    def _kill(self, reason: str) -> None:
        self._end = self._end or reason
        self._deadline = self._measuring = _NEVER
        os.kill(self._child, signal.SIGKILL)

    def _ended(self) -> bool:
        """Whether the child has ended. If so, what else is in its process group is killed."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self._woken, 4096):
                pass
        pid, status = os.waitpid(self._child, os.WNOHANG)
        if pid == 0:
            return False
        with contextlib.suppress(OSError):
            os.killpg(self._child, signal.SIGKILL)
        self._code = os.waitstatus_to_exitcode(status)
        return True

    def _report(self) -> Report:
        seconds = time.monotonic() - self._started if self._started is not None else 0.0
        refused = tuple(self._questions.refused) if self._questions else ()
        if self._questions:
            self._questions.close()
        if self._started is None and self._end != "stopped":
            return Report("failed to start", detail=self.failure)
        ended_itself = "killed" if self._code < 0 else "exited"
        end = self._end if self._end and self._code == -signal.SIGKILL else ended_itself
        return Report(end, self._code, seconds, refused + ("disk",) * self._disk)
