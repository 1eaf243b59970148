"""The thread of a :class:`reckon.sandbox.pool.Pool` that talks with its keeper."""

from __future__ import annotations

import itertools
import json
import os
import select
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from reckon.core.errors import ReckonError
from reckon.sandbox.keeper import DONE, FAILED, JOB, OK, READY, START_LIMIT_S, TIMED_OUT

_GRACE_S = 5.0
"""For a keeper to have left, or to have said that it could not start."""


@dataclass(frozen=True)
class Outcome:
    """What became of a job.

    Attributes:
        status: ``crashed`` is everything but a result in time: it raised, died, or had too much to say.
        value: the result, JSON data; None unless the status is ``ok``.
        detail: why there is no result.
        seconds: wall clock since the worker was given the job.
    """

    status: Literal["ok", "timed out", "crashed"]
    value: Any = None
    detail: str = ""
    seconds: float = 0.0


class Request:
    """The jobs of one call.

    Attributes:
        jobs: those that the keeper does not have.
        future: the outcomes of all, in the order of the arguments. Once it is cancelled, no more jobs are begun.
    """

    def __init__(self, arguments: Iterable[Any]) -> None:
        self.jobs = deque(Job(self, place, json.dumps(argument).encode()) for place, argument in enumerate(arguments))
        self.future: Future[list[Outcome]] = Future()
        self._outcomes = [Outcome("crashed")] * len(self.jobs)
        self._missing = len(self.jobs)

    def settle(self, place: int, outcome: Outcome) -> None:
        self._outcomes[place] = outcome
        self._missing -= 1
        if not self._missing and self.future.set_running_or_notify_cancel():
            self.future.set_result(self._outcomes)

    def fail(self, error: BaseException) -> None:
        if self.future.set_running_or_notify_cancel():
            self.future.set_exception(error)


@dataclass(slots=True, eq=False)
class Job:
    """One argument of a request, as JSON.

    Attributes:
        losses: how often the keeper died while it had this job.
    """

    request: Request
    place: int
    argument: bytes
    losses: int = 0


class Dispatcher(threading.Thread):
    """Starts a keeper when there are jobs, and another when that one is lost."""

    def __init__(self, function: str, settings: str, ahead: int) -> None:
        """
        Args:
            settings: the keeper's, as JSON.
            ahead: how many jobs the keeper may have.
        """
        super().__init__(name=f"pool of {function}", daemon=True)
        self._function, self._settings, self._ahead = function, settings, ahead
        self._new: deque[Request] = deque()
        self._requests: deque[Request] = deque()
        self._sent: dict[int, Job] = {}
        self._numbers = itertools.count(1)
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(self._wake, False)
        self._closing = False
        self._keeper: subprocess.Popen[bytes] | None = None
        self._in = self._out = -1
        self._ready = False
        self._start_by = 0.0
        self._failures = 0
        self._unread, self._unsent = bytearray(), bytearray()

    # ------------------------------------------------------------------------------- from other threads

    def take(self, request: Request) -> None:
        """See to these jobs. Fair to other requests: each in turn gets a job to a worker."""
        self._new.append(request)
        self._ring()

    def close(self) -> None:
        """Leave; returns when all processes are gone."""
        self._closing = True
        self._ring()
        self.join()

    def abandon(self) -> None:
        """In a forked child, where this thread is not: let go of the pipes, which are the parent's."""
        os.close(self._woken)
        os.close(self._wake)
        if self._keeper is not None:
            self._keeper.returncode = 0  # not this process's to wait for
            self._close_pipes(self._keeper)

    def _ring(self) -> None:
        with suppress(BlockingIOError):
            os.write(self._wake, b"\0")

    # ------------------------------------------------------------------------------- in this thread

    def run(self) -> None:
        while not self._closing:
            try:
                self._turn()
            except Exception as error:
                self._stop()
                self._fail(error)
        self._stop()
        self._requests.extend(self._new)
        self._fail(ReckonError("the pool was closed", where=self._function))
        os.close(self._woken)
        os.close(self._wake)

    def _turn(self) -> None:
        """Send what can be sent, wait until something happens, and see what."""
        while self._new:
            self._requests.append(self._new.popleft())
        if self._requests and self._keeper is None:
            self._start()
        if self._ready:
            self._load()
        poll = select.poll()
        poll.register(self._woken, select.POLLIN)
        if self._keeper is not None:
            poll.register(self._out, select.POLLIN)
            if self._unsent:
                poll.register(self._in, select.POLLOUT)
        starting = self._keeper is not None and not self._ready
        patience = max(0.0, self._start_by - time.monotonic()) * 1000 if starting else None
        events = [fd for fd, _ in poll.poll(patience)]
        if self._woken in events:
            with suppress(BlockingIOError):
                os.read(self._woken, 1 << 12)
        if self._in in events:
            self._send()
        if self._out in events:
            self._receive()
        if starting and not self._ready and not events:
            self._not_started(f"it was not ready after {START_LIMIT_S:g} s")

    def _start(self) -> None:
        paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
        # One core per worker: libraries that bring threads of their own would fight over them, and not survive a fork.
        environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-P", "-m", "reckon.sandbox.keeper", self._function, self._settings]
        try:
            keeper = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            self._not_started(str(error))
            return
        assert keeper.stdin is not None
        assert keeper.stdout is not None
        self._keeper, self._in, self._out = keeper, keeper.stdin.fileno(), keeper.stdout.fileno()
        os.set_blocking(self._in, False)
        os.set_blocking(self._out, False)
        self._start_by = time.monotonic() + START_LIMIT_S + _GRACE_S

    def _load(self) -> None:
        """Jobs for the keeper, one of each request in turn."""
        while self._requests and len(self._sent) < self._ahead:
            request = self._requests.popleft()
            if request.future.cancelled():
                continue
            job, number = request.jobs.popleft(), next(self._numbers)
            self._sent[number] = job
            self._unsent += JOB.pack(number, len(job.argument)) + job.argument
            if request.jobs:
                self._requests.append(request)

    def _send(self) -> None:
        try:
            del self._unsent[: os.write(self._in, self._unsent)]
        except BlockingIOError:
            pass
        except BrokenPipeError:
            self._unsent.clear()  # the keeper is gone, as the other pipe will say

    def _receive(self) -> None:
        data = os.read(self._out, 1 << 18)
        self._unread += data
        at = 0
        while len(self._unread) >= at + DONE.size:
            number, status, seconds, length = DONE.unpack_from(self._unread, at)
            begin = at + DONE.size
            if len(self._unread) < begin + length:
                break
            at = begin + length
            payload = bytes(self._unread[begin:at])
            if status == READY:
                self._ready = True
            elif status == FAILED:
                self._not_started(payload.decode("utf-8", "replace"))
                return
            else:
                self._failures = 0
                job = self._sent.pop(number)
                job.request.settle(job.place, _outcome(status, payload, seconds))
        del self._unread[:at]
        if not data:
            self._lost()

    def _lost(self) -> None:
        """The keeper died."""
        if not self._ready:
            self._not_started("it ended before it was ready")
            return
        self._stop()
        for job in self._take_back():
            job.losses += 1
            if job.losses < 2:
                self._again(job)
            else:
                job.request.settle(job.place, Outcome("crashed", detail="the keeper of its worker died, twice"))

    def _not_started(self, why: str) -> None:
        """There are no workers, which is no word on any job: try once more."""
        self._stop()
        for job in self._take_back():
            self._again(job)
        self._failures += 1
        if self._failures == 2:
            self._failures = 0
            self._fail(
                ReckonError(
                    f"worker processes cannot be started: {why}",
                    where=self._function,
                    why="Nothing can be judged without them",
                    fix="Check that the function can be imported and that memory and processes are not used up",
                )
            )

    def _take_back(self) -> list[Job]:
        jobs = list(reversed(self._sent.values()))
        self._sent.clear()
        return jobs

    def _again(self, job: Job) -> None:
        job.request.jobs.appendleft(job)
        if job.request not in self._requests:
            self._requests.appendleft(job.request)

    def _fail(self, error: BaseException) -> None:
        for request in {*self._requests, *(job.request for job in self._take_back())}:
            request.fail(error)
        self._requests.clear()

    def _stop(self) -> None:
        """No keeper, and nothing of its."""
        if self._keeper is not None:
            self._keeper.terminate()
            self._close_pipes(self._keeper)
            try:
                self._keeper.wait(_GRACE_S)
            except subprocess.TimeoutExpired:
                self._keeper.kill()
                self._keeper.wait()
        self._keeper, self._ready = None, False
        self._in = self._out = -1
        self._unread.clear()
        self._unsent.clear()

    @staticmethod
    def _close_pipes(keeper: subprocess.Popen[bytes]) -> None:
        for pipe in (keeper.stdin, keeper.stdout):
            if pipe is not None:
                pipe.close()


def _outcome(status: int, payload: bytes, seconds: float) -> Outcome:
    if status == OK:
        try:
            return Outcome("ok", json.loads(payload), seconds=seconds)
        except (ValueError, RecursionError) as error:
            return Outcome("crashed", detail=f"the result cannot be read: {error}"[:200], seconds=seconds)
    return Outcome(
        "timed out" if status == TIMED_OUT else "crashed", detail=payload.decode("utf-8", "replace"), seconds=seconds
    )
