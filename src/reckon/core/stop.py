"""Ctrl-C and SIGTERM: a flag that every long loop looks at, never an exception in the middle of an update."""

from __future__ import annotations

import os
import signal
from types import FrameType

from reckon.core.errors import Interrupted


class Stop:
    """A request to stop. The first signal asks, the second one leaves at once with exit code 75.

    Loops that can last longer than a second call :meth:`check` where stopping loses nothing.
    """

    def __init__(self) -> None:
        self.signal: str | None = None

    def install(self) -> Stop:
        """Take over SIGINT and SIGTERM (main thread only)."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._handle)
        return self

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            os._exit(Interrupted.exit_code)
        self.signal = signal.Signals(number).name

    def __bool__(self) -> bool:
        return self.signal is not None

    def check(self) -> None:
        """Raises :class:`Interrupted` if a signal has arrived."""
        if self.signal is not None:
            raise Interrupted(f"stopped by {self.signal}", fix="Run the same command again to continue.")
