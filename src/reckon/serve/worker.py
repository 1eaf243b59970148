"""One thread that drives an engine for everybody: requests in from an event loop, tokens out to it."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from reckon.core.errors import ReckonError
from reckon.serve.refusal import Refusal

if TYPE_CHECKING:
    from reckon.engine.base import Completion, Engine, Request

_LOG = logging.getLogger("reckon.serve")


@dataclass(slots=True)
class News:
    """What has become of a request since the last time.

    Attributes:
        tokens: new ones.
        completion: of a request that has ended.
        error: why a request was given up.
    """

    tokens: list[int]
    completion: Completion | None = None
    error: Refusal | None = None


Sink = Callable[[News], None]


class Worker:
    """Runs ``engine`` in a thread of its own; every other method is for the event loop that called :meth:`start`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._orders: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._sinks: dict[int, Sink] = {}
        self._next = 0
        self._fresh: dict[int, list[int]] = {}
        self._live: set[int] = set()
        self._alive = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._engine.on_token = lambda id_, token: self._fresh.setdefault(id_, []).append(token)
        self._thread.start()
        self._alive = True

    async def stop(self) -> None:
        """End the thread; requests under way get no more news."""
        self._sinks.clear()
        self._orders.put(None)
        await asyncio.to_thread(self._thread.join)

    @property
    def alive(self) -> bool:
        """Whether there is a thread that works."""
        return self._alive

    def submit(self, make: Callable[[int], Request], sink: Sink) -> int:
        """Queue the request that ``make`` makes of a new id; ``sink`` is called in the loop with all its news."""
        id_, self._next = self._next, self._next + 1
        request = make(id_)
        self._sinks[id_] = sink
        self._orders.put(lambda: self._submit(request))
        if not self._alive:
            self._loop.call_soon(self._abandon)
        return id_

    def end(self, id_: int) -> None:
        """End a request now; the news of its end comes as of any other."""
        self._orders.put(lambda: self._end(id_))

    def cancel(self, ids: Sequence[int]) -> None:
        """End these requests, those that have not ended; there is no more news of them."""
        wanted = [id_ for id_ in ids if self._sinks.pop(id_, None) is not None]
        if wanted:
            self._orders.put(lambda: self._cancel(wanted))

    # --------------------------------------------------------------------------------------------- in the thread

    def _run(self) -> None:
        try:
            while self._obey():
                self._step()
        finally:
            self._loop.call_soon_threadsafe(self._abandon)

    def _step(self) -> None:
        try:
            completions = {completion.id: completion for completion in self._engine.poll()}
        except Exception as error:
            _LOG.exception("the engine failed")
            self._give_up(error)
            return
        self._live.difference_update(completions)
        news = {id_: News(tokens) for id_, tokens in self._fresh.items()}
        for id_, completion in completions.items():
            news.setdefault(id_, News([])).completion = completion
        self._fresh.clear()
        self._send(news)

    def _obey(self) -> bool:
        """Carry out all orders; wait for one where there is nothing else to do. False: it is over."""
        while True:
            try:
                order = self._orders.get(block=not self._live)
            except Empty:
                return True
            if order is None:
                return False
            order()

    def _submit(self, request: Request) -> None:
        try:
            self._engine.submit([request])
        except ReckonError as error:
            self._send({request.id: News([], error=Refusal(400, str(error)))})
        except Exception as error:
            _LOG.exception("the engine did not take a request")
            self._send({request.id: News([], error=_failed(error))})
        else:
            self._live.add(request.id)

    def _end(self, id_: int) -> None:
        for completion in self._engine.cancel([id_]):
            self._live.discard(id_)
            self._send({id_: News([], completion)})

    def _cancel(self, ids: Sequence[int]) -> None:
        self._engine.cancel(ids)
        self._live.difference_update(ids)

    def _give_up(self, error: Exception) -> None:
        """End everything after a failure in the middle of a step, whose requests nobody can vouch for."""
        ids, self._live = self._live, set()
        self._fresh.clear()
        self._engine.cancel(list(ids))
        self._send({id_: News([], error=_failed(error)) for id_ in ids})

    def _send(self, news: dict[int, News]) -> None:
        if news:
            self._loop.call_soon_threadsafe(self._deliver, news)

    # ----------------------------------------------------------------------------------------------- in the loop

    def _deliver(self, news: dict[int, News]) -> None:
        for id_, one in news.items():
            ended = one.completion is not None or one.error is not None
            sink = self._sinks.pop(id_, None) if ended else self._sinks.get(id_)
            if sink is not None:
                sink(one)

    def _abandon(self) -> None:
        """There is no thread any more, so nothing becomes of any request."""
        self._alive = False
        self._deliver({id_: News([], error=Refusal(500, "the engine has stopped")) for id_ in list(self._sinks)})


def _failed(error: Exception) -> Refusal:
    return Refusal(500, f"the engine failed ({type(error).__name__})")
