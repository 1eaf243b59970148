"""Connections that neither send nor read in time, which uvicorn would keep for ever."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

from reckon.serve.settings import Settings

GRACE_S = 1.0
"""A connection this young may have sent a request that there was no time to look at."""


def guarded(settings: Settings) -> type[asyncio.Protocol]:
    """uvicorn's protocol, with limits on waiting for a client.

    A connection whose next request does not arrive whole (line and headers) in time is closed, and so is the oldest of
    those that have not sent one yet when there are too many. A client that stops reading is cut off, which ends the
    work for it.
    """
    silent: dict[_Guarded, float] = {}

    class Guarded(_Guarded):
        limits = settings
        waiting = silent

    return Guarded


class _Guarded(H11Protocol):
    limits: Settings
    waiting: dict[_Guarded, float]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._header_timer: asyncio.TimerHandle | None = None
        self._stall_timer: asyncio.TimerHandle | None = None
        self._await_header()
        while len(self.waiting) > self.limits.silent:
            oldest, since = next(iter(self.waiting.items()))
            if self.loop.time() - since < GRACE_S:
                break
            oldest._got_header()
            oldest.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._got_header()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._look()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stall_timer = self.loop.call_later(self.limits.stalled_s, self.transport.abort)

    def resume_writing(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None
        super().resume_writing()

    def _look(self) -> None:
        """Mind whether a request is under way or the next one is awaited."""
        if self.transport.is_closing() or (self.cycle is not None and not self.cycle.response_complete):
            self._got_header()
        elif self._header_timer is None:
            self._await_header()

    def _await_header(self) -> None:
        self.waiting[self] = self.loop.time()
        self._header_timer = self.loop.call_later(self.limits.header_s, self.transport.abort)

    def _got_header(self) -> None:
        self.waiting.pop(self, None)
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None
