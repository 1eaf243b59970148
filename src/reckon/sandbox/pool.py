"""Killable workers for code of ours that reads hostile text: a parser that may hang, a verifier that may crash.

A :class:`Pool` calls one function, JSON in and JSON out, in processes of its own. What a job does (spin in C, ignore
signals, start daemons, crash, print a gigabyte) is its own end and nobody else's: its :class:`Outcome` says so, and no
process of it is left. Deadlines are kept by a third process (:mod:`reckon.sandbox.keeper`), so they hold even while
this one is busy. It is no jail: a job can read files and use the network.
"""

from __future__ import annotations

import atexit
import json
import os
import threading
from collections.abc import Iterable, Mapping
from typing import Any, Self, TypeVar
from weakref import WeakSet

from reckon.core.errors import ReckonError
from reckon.sandbox.dispatcher import Dispatcher, Outcome, Request
from reckon.sandbox.limits import Limits

__all__ = ["Outcome", "Pool", "shared_pool"]

Key = TypeVar("Key")

_LIMITS = Limits()
_AHEAD = 16
"""Jobs per worker that the keeper is given: it must not run out while this process has no time for it."""


class Pool:
    """Worker processes that call one function. Safe from any thread, from asyncio, and in a forked child.

    Nothing is started before the first job. A forked child makes processes of its own.

    Attributes:
        closed: it takes no more jobs.
    """

    def __init__(
        self,
        function: str,
        *,
        workers: int | None = None,
        limits: Limits = _LIMITS,
        recycle_after: int = 2000,
    ) -> None:
        """
        Args:
            function: ``package.module:name``. Its argument and its result are JSON data. The module must start no
                thread when it is imported: a thread does not survive the fork that makes a worker.
            workers: how many; None for one per core that this process may use.
            limits: of one job. ``output_kb`` bounds the result; what is printed is thrown away.
            recycle_after: how many jobs a worker may have before it is replaced.
        """
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        count = workers or cores or 1
        settings = {"workers": count, "recycle_after": recycle_after, **limits.model_dump()}
        self._function, self._settings, self._ahead = function, json.dumps(settings), _AHEAD * count
        self._dispatcher: Dispatcher | None = None
        self.closed = False
        self._lock = threading.Lock()
        _POOLS.add(self)

    def call(self, argument: Any) -> Outcome:
        """What becomes of one job.

        Raises:
            ReckonError: workers cannot be started, twice in a row; no word on the job.
        """
        return self._wait(self._submit([argument]))[0]

    def map(self, arguments: Mapping[Key, Any]) -> dict[Key, Outcome]:
        """What becomes of many jobs, shared among the workers, by key. Raises as :meth:`call`."""
        if not arguments:
            return {}
        return dict(zip(arguments, self._wait(self._submit(arguments.values())), strict=True))

    async def acall(self, argument: Any) -> Outcome:
        """:meth:`call` for a coroutine; the loop goes on."""
        import asyncio  # who has a coroutine has it already

        return (await asyncio.wrap_future(self._submit([argument]).future))[0]

    def close(self) -> None:
        """Ends the workers and all that they started. Calls that are still waiting get a ReckonError."""
        with self._lock:
            self.closed = True
            dispatcher, self._dispatcher = self._dispatcher, None
        if dispatcher is not None:
            dispatcher.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _submit(self, arguments: Iterable[Any]) -> Request:
        request = Request(arguments)
        with self._lock:
            if self.closed:
                raise ReckonError("the pool is closed", where=self._function)
            if self._dispatcher is None:
                self._dispatcher = Dispatcher(self._function, self._settings, self._ahead)
                self._dispatcher.start()
            self._dispatcher.take(request)
        return request

    def _wait(self, request: Request) -> list[Outcome]:
        try:
            return request.future.result()
        finally:
            request.future.cancel()  # of use only to who was interrupted: what is not begun is left out

    def _forget(self) -> None:
        """In a forked child: what was inherited belongs to the parent."""
        self._lock = threading.Lock()
        if self._dispatcher is not None:
            self._dispatcher.abandon()
            self._dispatcher = None


_POOLS: WeakSet[Pool] = WeakSet()
_SHARED: dict[tuple[Any, ...], Pool] = {}
_sharing = threading.Lock()


def shared_pool(
    function: str, *, workers: int | None = None, limits: Limits = _LIMITS, recycle_after: int = 2000
) -> Pool:
    """The pool that this process has for such calls, closed when it exits. Arguments as for :class:`Pool`."""
    key = (function, workers, limits, recycle_after)
    with _sharing:
        if key not in _SHARED or _SHARED[key].closed:
            _SHARED[key] = Pool(function, workers=workers, limits=limits, recycle_after=recycle_after)
        return _SHARED[key]


@atexit.register
def _close_all() -> None:
    for pool in list(_POOLS):
        pool.close()


def _forget_all() -> None:
    global _sharing
    _sharing = threading.Lock()
    for pool in list(_POOLS):
        pool._forget()


os.register_at_fork(after_in_child=_forget_all)
