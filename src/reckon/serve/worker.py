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
    """Runs ``engine`` in a thread of its own; every other method is for the event loop that called :meth:`start`.

    Args:
        max_running: requests that the engine generates at the same time.
        max_waiting: requests that may wait beside them.
    """

    def __init__(self, engine: Engine, max_running: int, max_waiting: int) -> None:
        self.max_running, self.max_waiting = max_running, max_waiting
        self._engine = engine
        self._orders: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._sinks: dict[int, Sink] = {}
        self._places = 0
        self._next = 0
        self._fresh: dict[int, list[int]] = {}
        self._live: set[int] = set()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._engine.on_token = lambda id_, token: self._fresh.setdefault(id_, []).append(token)
        self._thread.start()

    async def stop(self) -> None:
        """End the thread; requests under way get no more news."""
        self._sinks.clear()
        self._orders.put(None)
        await asyncio.to_thread(self._thread.join)

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def running(self) -> int:
        """Responses under way."""
        return min(self._places, self.max_running)

    @property
    def waiting(self) -> int:
        """Responses that wait for a place in the batch."""
        return self._places - self.running

    def reserve(self, count: int) -> None:
        """Take places for ``count`` responses, all or none. Raises Refusal if the server is full."""
        if count > self.max_running + self.max_waiting:
            raise Refusal(400, f"{count} responses are more than this server has places for", param="n")
        if self._places + count > self.max_running + self.max_waiting:
            raise Refusal(
                429,
                f"{self.waiting} responses wait already; try again later",
                code="overloaded",
                headers={"Retry-After": "1"},
            )
        self._places += count

    def release(self, count: int) -> None:
        """Give places back."""
        self._places -= count

    def submit(self, make: Callable[[int], Request], sink: Sink) -> int:
        """Queue the request that ``make`` makes of a new id; ``sink`` is called in the loop with all its news."""
        id_, self._next = self._next, self._next + 1
        request = make(id_)
        self._sinks[id_] = sink
        self._orders.put(lambda: self._submit(request))
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
        while self._obey():
            try:
                completions = {completion.id: completion for completion in self._engine.poll()}
            except Exception as error:
                _LOG.exception("the engine failed")
                self._give_up(error)
                continue
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
        refusal = Refusal(500, f"the engine failed ({type(error).__name__})")
        self._send({id_: News([], error=refusal) for id_ in ids})

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
