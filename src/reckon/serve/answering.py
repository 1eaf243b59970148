"""Requests to responses: whole or as events, given up when the client goes or the time is over."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

from fastapi import Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from reckon.serve.backend import Backend
from reckon.serve.metrics import Metrics
from reckon.serve.refusal import Refusal
from reckon.serve.schema import ChatAsk, TextAsk
from reckon.serve.settings import Settings
from reckon.serve.wire import Json, Whole

_LOG = logging.getLogger("reckon.serve")

_T = TypeVar("_T")


class Pieces:
    """The pieces of one response, made by a task of its own, which ends with :meth:`stop`."""

    def __init__(self, backend: Backend, ask: ChatAsk | TextAsk, settings: Settings, metrics: Metrics) -> None:
        self._queue: asyncio.Queue[Json | Refusal | None] = asyncio.Queue()
        self._metrics, self._seconds = metrics, settings.request_s
        self._task = asyncio.create_task(self._run(backend.answer(ask)))

    async def each(self, seconds: float | None = None) -> AsyncIterator[Json | None]:
        """The pieces in turn, and None whenever there was none for so long. Raises Refusal."""
        while True:
            try:
                piece = await asyncio.wait_for(self._queue.get(), seconds)
            except TimeoutError:
                yield None
                continue
            if isinstance(piece, Refusal):
                raise piece
            if piece is None:
                return
            yield piece

    async def stop(self) -> None:
        """End the work, if it has not ended."""
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _run(self, pieces: AsyncIterator[Json]) -> None:
        start, begun = time.perf_counter(), False
        try:
            async with asyncio.timeout(self._seconds):
                async for piece in pieces:
                    if not begun and _says_something(piece):
                        begun = True
                        self._metrics.first.add(time.perf_counter() - start)
                    if "usage" in piece:
                        self._metrics.spent(piece["usage"])
                        self._metrics.whole.add(time.perf_counter() - start)
                    self._queue.put_nowait(piece)
        except Refusal as refusal:
            self._queue.put_nowait(refusal)
        except TimeoutError:
            self._queue.put_nowait(Refusal(504, f"the response took more than {self._seconds:g} s", code="timeout"))
        except Exception:
            _LOG.exception("a request failed")
            self._queue.put_nowait(Refusal(500, "the server failed; its log says more"))
        self._queue.put_nowait(None)


class Answering:
    """Asks a backend and words its answers."""

    def __init__(self, backend: Backend, settings: Settings, metrics: Metrics) -> None:
        self._backend, self._settings, self._metrics = backend, settings, metrics

    async def whole(self, ask: ChatAsk | TextAsk, request: Request) -> Response:
        """The response in one piece."""
        pieces = Pieces(self._backend, ask, self._settings, self._metrics)
        whole = Whole("chat" if isinstance(ask, ChatAsk) else "text")

        async def collect() -> None:
            async for piece in pieces.each():
                if piece is not None:
                    whole.add(piece)

        try:
            await unless_gone(request, collect())
        finally:
            await pieces.stop()
        return JSONResponse(whole.json())

    async def stream(self, ask: ChatAsk | TextAsk, request: Request) -> Response:
        """The response as events. What goes wrong before the first event or sign of life is an error of HTTP."""
        pieces = Pieces(self._backend, ask, self._settings, self._metrics)
        try:
            told = await unless_gone(request, _with_first(pieces.each(self._settings.keep_alive_s)))
        except BaseException:
            await pieces.stop()
            raise
        return EventStream(pieces, _events(told, ask.wants_usage))


class EventStream(StreamingResponse):
    """Server-sent events, one for each piece, and a comment now and then while there is none."""

    def __init__(self, pieces: Pieces, events: AsyncIterator[str]) -> None:
        self._pieces = pieces
        headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}
        super().__init__(events, media_type="text/event-stream", headers=headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._pieces.stop()


async def _events(pieces: AsyncIterator[Json | None], usage: bool) -> AsyncIterator[str]:
    try:
        async for piece in pieces:
            if piece is None:
                yield ": keep-alive\n\n"
            elif usage:
                yield _event({"usage": None, **piece})
            elif "usage" not in piece:
                yield _event(piece)
    except Refusal as refusal:
        yield _event(refusal.body())
        return
    yield "data: [DONE]\n\n"


async def _with_first(pieces: AsyncIterator[_T]) -> AsyncIterator[_T]:
    """The same, when the first of them is there."""
    first = await anext(pieces)

    async def all_of_them() -> AsyncIterator[_T]:
        yield first
        async for piece in pieces:
            yield piece

    return all_of_them()


def _event(data: Json) -> str:
    return f"data: {json.dumps(data, ensure_ascii=False, separators=(',', ':'))}\n\n"


async def unless_gone(request: Request, work: Coroutine[Any, Any, _T]) -> _T:
    """The result of ``work``, which is cancelled if the client goes; the refusal then reaches nobody."""

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    task, left = asyncio.ensure_future(work), asyncio.ensure_future(gone())
    try:
        await asyncio.wait({task, left}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise Refusal(499, "the client has gone")
        return task.result()
    finally:
        task.cancel()
        left.cancel()
        await asyncio.wait({task, left})


def _says_something(piece: Json) -> bool:
    """Whether there is text in a piece."""
    told = [choice.get("delta", choice) for choice in piece["choices"]]
    return any(one.get(name) for one in told for name in ("content", "reasoning_content", "text"))
