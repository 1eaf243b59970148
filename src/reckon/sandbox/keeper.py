"""The other end of a :class:`reckon.sandbox.pool.Pool`: a process that keeps its workers.

``python -m reckon.sandbox.keeper package.module:name SETTINGS`` is the keeper. It imports the function once and forks
workers from there, so that one that had to be killed is replaced in milliseconds and all share the module's memory. It
never runs the function. It reads jobs on stdin, gives each worker one at a time, kills what is over its deadline, and
writes what became of every job on stdout. It leaves, and takes all with it, when its parent closes the pipe or dies.

Keeper and workers are subreapers (Linux): whatever a job starts, however detached, becomes a child of its worker, and
of the keeper when that worker dies. Elsewhere only the worker's process group is killed.
"""

from __future__ import annotations

import gc
import importlib
import json
import math
import os
import resource
import select
import signal
import struct
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NoReturn

from reckon.sandbox.worker import HELLO, RAISED, REPLY, RETIRE, SUBREAPER, TASK, describe, prctl, work, write

JOB = struct.Struct(">QI")
"""From the pool to the keeper: the job's number and the length of the JSON that follows."""
DONE = struct.Struct(">QBdI")
"""From the keeper to the pool: the job's number, a status, seconds, and the length of what follows: JSON, or words."""
READY, FAILED, OK, CRASHED, TIMED_OUT = range(5)
"""Statuses. The first two are of the keeper itself: it has imported the function, or it cannot go on."""

START_LIMIT_S = 60.0
"""For the import, and for a fork: a machine that swaps is slow."""


def main() -> None:
    """Reads the command line and keeps workers until the pool goes."""
    function, settings = sys.argv[1], json.loads(sys.argv[2])
    # From here on, nothing that an import or a job prints reaches the pool or the terminal.
    jobs, outcomes = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(null, standard)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    prctl(SUBREAPER, 1)
    # The default action of SIGALRM ends an import that hangs, even if the pool is gone by then.
    signal.setitimer(signal.ITIMER_REAL, START_LIMIT_S)
    try:
        module, _, name = function.partition(":")
        target = getattr(importlib.import_module(module), name)
        if not callable(target):
            raise TypeError(f"{function} is no function")
    except BaseException as error:
        write(outcomes, _done(0, FAILED, 0.0, describe(error).encode("utf-8", "replace")))
        return
    signal.setitimer(signal.ITIMER_REAL, 0)
    # A worker's collections leave alone what is here now, so that its memory stays shared.
    gc.collect()
    gc.freeze()
    _Keeper(target, jobs, outcomes, **settings).run()


def _done(job: int, status: int, seconds: float, payload: bytes) -> bytes:
    return DONE.pack(job, status, seconds, len(payload)) + payload


@dataclass(slots=True)
class _Worker:
    """A worker as its keeper sees it.

    Attributes:
        tasks, replies: the keeper's ends of its pipes.
        left: how many more jobs it may have.
        deadline: when it must be done, or ready, on the monotonic clock; infinite if it is free.
        job: what it works on.
        nonce: what its next message must begin with; empty if none is due.
        clean: its last job is known to have left no process behind.
        fate: status and payload for its job, once it is doomed; no payload if how it dies says it all.
    """

    pid: int
    tasks: int
    replies: int
    left: int
    began: float
    deadline: float
    job: int | None = None
    nonce: bytes = HELLO
    clean: bool = False
    fate: tuple[int, bytes] | None = None
    unsent: bytes = b""
    unread: bytearray = field(default_factory=bytearray)


class _Keeper:
    """A loop around ``poll``: no thread, and nothing that waits for a worker's good will."""

    def __init__(
        self,
        function: Callable[[Any], Any],
        jobs: int,
        outcomes: int,
        *,
        workers: int,
        timeout_s: float,
        memory_mb: int,
        output_kb: int,
        recycle_after: int,
    ) -> None:
        self._function, self._count = function, workers
        self._timeout, self._memory, self._output = timeout_s, memory_mb << 20, output_kb << 10
        self._recycle_after = recycle_after
        self._in, self._out = jobs, outcomes
        self._signals, self._wake = os.pipe()
        self._unread, self._unsent = bytearray(), bytearray()
        self._jobs: deque[tuple[int, bytes]] = deque()
        self._workers: dict[int, _Worker] = {}
        self._free: list[_Worker] = []
        self._poll = select.poll()
        self._ears: dict[int, Callable[[], None]] = {}

    def run(self) -> NoReturn:
        for fd in (self._in, self._out, self._signals, self._wake):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        self._listen(self._in, self._on_jobs)
        self._listen(self._signals, self._on_signals)
        with suppress(AttributeError, OSError):  # needs Linux 5.3; else the end of the pipe tells
            self._listen(os.pidfd_open(os.getppid()), self._leave)
        self._send(0, READY, 0.0, b"")
        while True:
            self._hand_out()
            self._flush()
            for fd, _ in self._poll.poll(self._patience()):
                if fd in self._ears:
                    self._ears[fd]()
            self._enforce()

    def _enforce(self) -> None:
        """Kills the workers that are over their deadline. A reply that is here counts, however late it is read."""
        now = time.monotonic()
        for worker in self._workers.values():
            if worker.deadline <= now:
                self._hear(worker)
            if worker.deadline <= now:
                self._condemn(worker, TIMED_OUT, b"no result after %g s" % self._timeout)

    def _patience(self) -> int | None:
        """Milliseconds until the next deadline."""
        next_one = min((worker.deadline for worker in self._workers.values()), default=math.inf)
        return None if next_one == math.inf else max(0, math.ceil((next_one - time.monotonic()) * 1000))

    def _listen(self, fd: int, ear: Callable[[], None], events: int = select.POLLIN) -> None:
        self._ears[fd] = ear
        self._poll.register(fd, events)

    def _unlisten(self, fd: int) -> None:
        if self._ears.pop(fd, None):
            self._poll.unregister(fd)

    def _send(self, job: int, status: int, seconds: float, payload: bytes) -> None:
        self._unsent += _done(job, status, seconds, payload)

    def _flush(self) -> None:
        """Sends the pool as much as its pipe takes."""
        try:
            while self._unsent:
                del self._unsent[: os.write(self._out, self._unsent)]
        except BlockingIOError:
            self._listen(self._out, self._flush, select.POLLOUT)
        except BrokenPipeError:
            self._leave()
        else:
            self._unlisten(self._out)

    def _on_jobs(self) -> None:
        data = os.read(self._in, 1 << 18)
        if not data:
            self._leave()
        self._unread += data
        at = 0
        while len(self._unread) >= at + JOB.size:
            job, length = JOB.unpack_from(self._unread, at)
            begin = at + JOB.size
            if len(self._unread) < begin + length:
                break
            at = begin + length
            self._jobs.append((job, bytes(self._unread[begin:at])))
        del self._unread[:at]

    def _hand_out(self) -> None:
        """Gives every free worker a job, and forks workers while there are more jobs."""
        while self._jobs and self._free:
            worker = self._free.pop()
            if worker.fate is None:
                self._assign(worker, *self._jobs.popleft())
        if self._jobs:
            starting = sum(worker.nonce == HELLO for worker in self._workers.values())
            for _ in range(min(self._count - len(self._workers), len(self._jobs) - starting)):
                self._fork()

    def _assign(self, worker: _Worker, job: int, argument: bytes) -> None:
        worker.job, worker.nonce, worker.clean = job, os.urandom(8), False
        worker.unsent = TASK.pack(worker.nonce, len(argument)) + argument
        worker.began = time.monotonic()
        worker.deadline = worker.began + self._timeout
        self._feed(worker)

    def _feed(self, worker: _Worker) -> None:
        """Sends a worker as much of its job as its pipe takes."""
        try:
            worker.unsent = worker.unsent[os.write(worker.tasks, worker.unsent) :]
        except BlockingIOError:
            pass
        except BrokenPipeError:
            self._condemn(worker, CRASHED, b"")
            return
        if worker.unsent:
            self._listen(worker.tasks, lambda: self._feed(worker), select.POLLOUT)
        else:
            self._unlisten(worker.tasks)

    def _hear(self, worker: _Worker) -> None:
        """Reads from a worker. Anything but the one reply that is due is its end."""
        with suppress(BlockingIOError):
            data = os.read(worker.replies, 1 << 16)
            if not data:
                self._condemn(worker, CRASHED, b"")
            worker.unread += data
        if len(worker.unread) < REPLY.size:
            return
        nonce, flags, length = REPLY.unpack_from(worker.unread)
        missing = REPLY.size + length - len(worker.unread)
        if nonce != worker.nonce or length > self._output or missing < 0:
            self._condemn(worker, CRASHED, b"the worker wrote garbage to its keeper")
        elif missing == 0:
            self._on_reply(worker, flags, bytes(worker.unread[REPLY.size :]))

    def _on_reply(self, worker: _Worker, flags: int, payload: bytes) -> None:
        status = CRASHED if flags & RAISED else OK
        if flags & RETIRE:
            self._condemn(worker, status, payload)
            return
        if worker.job is not None:
            self._send(worker.job, status, time.monotonic() - worker.began, payload)
            worker.left -= 1
        worker.job, worker.nonce, worker.deadline, worker.clean = None, b"", math.inf, True
        worker.unread.clear()
        if worker.left:
            self._free.append(worker)
        else:
            self._condemn(worker, CRASHED, b"")

    def _condemn(self, worker: _Worker, status: int, payload: bytes) -> None:
        """Kills a worker. What became of its job is said when it has been waited for: nothing of it is left by then."""
        if worker.fate is None:
            worker.fate, worker.deadline = (status, payload), math.inf
            self._unlisten(worker.tasks)
            self._unlisten(worker.replies)
            if worker.pid in self._workers:
                os.kill(worker.pid, signal.SIGKILL)

    def _on_signals(self) -> None:
        if signal.SIGTERM in os.read(self._signals, 1 << 10):
            self._leave()
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                worker = self._workers.pop(ended[0], None)
                if worker is not None:
                    self._bury(worker, os.waitstatus_to_exitcode(ended[1]))

    def _bury(self, worker: _Worker, code: int) -> None:
        """What follows when a worker has died and been waited for."""
        if worker.fate is None:
            self._hear(worker)
        worker.fate = worker.fate or (CRASHED, b"")
        status, payload = worker.fate
        payload = payload or f"the worker {_death(code)}".encode()
        for fd in (worker.tasks, worker.replies):
            self._unlisten(fd)
            os.close(fd)
        if not worker.clean:
            with suppress(OSError):
                os.killpg(worker.pid, signal.SIGKILL)
            self._sweep()
        if worker.nonce == HELLO:
            self._give_up(f"a worker {_death(code)} while it started")
        if worker.job is not None:
            self._send(worker.job, status, time.monotonic() - worker.began, payload)

    def _sweep(self) -> None:
        """Kills and waits for whatever dead workers have left behind: the children that are not workers."""
        patience = time.monotonic() + 2.0  # one that the kernel holds must not hold up the others
        while (orphans := _children() - self._workers.keys()) and time.monotonic() < patience:
            for pid in orphans:
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.001)
            for pid in orphans:
                with suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)

    def _fork(self) -> None:
        """A new worker. It is given a job once it has said that it is ready."""
        tasks, to_worker = os.pipe()
        from_worker, replies = os.pipe()
        try:
            pid = os.fork()
        except OSError as error:
            for fd in (tasks, to_worker, from_worker, replies):
                os.close(fd)
            if not self._workers:
                self._give_up(describe(error))
            return  # with fewer workers, then
        if pid == 0:
            try:
                pipes = [fd for worker in self._workers.values() for fd in (worker.tasks, worker.replies)]
                for fd in {to_worker, from_worker, self._wake, self._out, *self._ears, *pipes}:
                    os.close(fd)
                work(self._function, tasks, replies, self._memory, self._output)
            finally:
                os._exit(1)
        os.close(tasks)
        os.close(replies)
        os.set_blocking(to_worker, False)
        os.set_blocking(from_worker, False)
        now = time.monotonic()
        worker = _Worker(pid, to_worker, from_worker, self._recycle_after, now, now + START_LIMIT_S)
        self._workers[pid] = worker
        self._listen(from_worker, lambda: self._hear(worker))

    def _give_up(self, words: str) -> NoReturn:
        """Tells the pool why there can be no workers, and leaves."""
        os.set_blocking(self._out, True)
        with suppress(BrokenPipeError):
            write(self._out, bytes(self._unsent) + _done(0, FAILED, 0.0, words.encode("utf-8", "replace")))
        self._leave()

    def _leave(self) -> NoReturn:
        for pid in self._workers:
            os.kill(pid, signal.SIGKILL)
        for pid in self._workers:
            os.waitpid(pid, 0)
        self._workers.clear()
        self._sweep()
        os._exit(0)


def _children() -> set[int]:
    """Pids of this process's children, those that nobody has waited for included; none where there is no /proc."""
    mine = set()
    with suppress(FileNotFoundError):
        for name in filter(str.isdecimal, os.listdir("/proc")):
            with suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
                # After the command's name, which may hold anything, come the state and the parent.
                if int(file.read().rpartition(b")")[2].split()[1]) == os.getpid():
                    mine.add(int(name))
    return mine


def _death(code: int) -> str:
    if code >= 0:
        return f"exited with {code}"
    with suppress(ValueError):
        return f"died of {signal.Signals(-code).name}"
    return f"died of signal {-code}"


if __name__ == "__main__":
    main()
