"""Where responses come from, as the HTTP side sees it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from reckon.serve.schema import ChatAsk, ModelCard, TextAsk
from reckon.serve.wire import Json


class Backend(Protocol):
    """Answers requests that have passed every check.

    Attributes:
        context: the most tokens of prompt and response; None if nobody knows.
        vocabulary: how many tokens there are; None if nobody knows.
        keys: request keys beyond the schema's that mean something to it.
    """

    context: int | None
    vocabulary: int | None
    keys: frozenset[str]

    @property
    def load(self) -> tuple[int, int]:
        """Responses being generated, and waiting for that."""

    @property
    def healthy(self) -> bool:
        """Whether it can work."""

    async def start(self) -> None:
        """Get ready, in the event loop that will ask."""

    async def stop(self) -> None:
        """Let go of everything."""

    async def models(self) -> Sequence[ModelCard]:
        """What is served; a request may name any of them."""

    def answer(self, ask: ChatAsk | TextAsk) -> AsyncIterator[Json]:
        """The pieces of a response as :class:`reckon.serve.wire.Wire` makes them, the usage last.

        Raises :class:`reckon.serve.refusal.Refusal`. Closing the iterator, or cancelling its task, ends the work.
        """
