"""Room for responses: so many are generated, so many wait, and what is beyond is refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from reckon.serve.refusal import Refusal


class Places:
    """Counts responses under way.

    Args:
        running: that are generated at the same time.
        waiting: that may wait beside them.
    """

    def __init__(self, running: int, waiting: int) -> None:
        self.running, self.waiting = running, waiting
        self._taken = 0

    @property
    def load(self) -> tuple[int, int]:
        """Responses being generated, and waiting for that."""
        running = min(self._taken, self.running)
        return running, self._taken - running

    @contextmanager
    def taken(self, count: int) -> Iterator[None]:
        """Places for ``count`` responses, all or none. Raises Refusal if the server is full."""
        if count > self.running + self.waiting:
            raise Refusal(400, f"{count} responses are more than this server has places for", param="n")
        if self._taken + count > self.running + self.waiting:
            message = f"{self._taken} responses are under way already; try again later"
            raise Refusal(429, message, code="overloaded", headers={"Retry-After": "1"})
        self._taken += count
        try:
            yield
        finally:
            self._taken -= count
