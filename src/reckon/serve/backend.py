"""Where responses come from, as the HTTP side sees it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from reckon.serve.schema import ChatAsk, ModelCard, TextAsk
from reckon.serve.wire import Json


@dataclass(frozen=True)
class SearchBounds:
    """What one search may ask for.

    Attributes:
        methods: by name.
        budget: tokens that it generates at most.
        samples: responses, or steps of them, that it samples at most.
    """

    methods: tuple[str, ...]
    budget: int
    samples: int


@dataclass(frozen=True)
class Bounds:
    """What a request may ask for, as far as that depends on where responses come from.

    Attributes:
        context: the most tokens of prompt and response; None if nobody knows.
        vocabulary: how many tokens there are; None if nobody knows.
        search: None if there is no search.
        keys: request keys beyond the schema's that mean something.
    """

    context: int | None = None
    vocabulary: int | None = None
    search: SearchBounds | None = None
    keys: frozenset[str] = frozenset()


class Backend(Protocol):
    """Answers requests that have passed every check against its ``bounds``."""

    bounds: Bounds

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
