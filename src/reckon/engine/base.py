"""Who generates tokens. An engine takes requests and gives completions; it knows no task and no reward."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from reckon.core.records import FinishReason


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to sample one response.

    Attributes:
        temperature: 0 is greedy. Log-probabilities are always those of the tempered distribution
            (of the untempered one when greedy).
        top_p: nucleus sampling; 1 samples the full distribution, which on-policy training requires.
        stop: the response ends at the first token whose text completes one of these strings; the string is kept.
        stop_ids: token ids that end the response; the token is kept. The end-of-text id belongs here.
    """

    max_new_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    stop_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """One response to generate. ``id`` is the caller's; the tokens depend on ``seed``, never on batch mates."""

    id: int
    prompt_ids: Sequence[int]
    sampling: Sampling
    seed: int = 0


@dataclass(slots=True)
class Completion:
    """A finished (or cancelled) request. ``logp`` has one entry per token of ``token_ids``, in nats."""

    id: int
    token_ids: list[int] = field(default_factory=list)
    logp: list[float] = field(default_factory=list)
    finish: FinishReason = "stop"
    version: int = 0
    seconds: float = 0.0


class Engine(Protocol):
    """The border between training and generation.

    Implementations: :class:`reckon.engine.native.NativeEngine`, :class:`reckon.engine.vllm.VllmEngine`.

    An engine subclasses this and gives everything but :meth:`generate`.
    """

    version: int
    """Number of optimiser updates behind the weights being served."""

    max_context: int = sys.maxsize
    """Prompt and response tokens of one request, at most."""

    on_token: Callable[[int, int], None] | None = None
    """Called with (request id, token id) for every generated token while it is set, for streaming."""

    def submit(self, requests: Sequence[Request]) -> None:
        """Queue requests, all or none. Raises ConfigError if one can never fit (empty prompt, beyond the context)."""

    def poll(self) -> list[Completion]:
        """Generate at least one token for the running requests; return those that ended. Empty queue: []."""

    def cancel(self, ids: Sequence[int]) -> list[Completion]:
        """End these requests now; each comes back once with finish ``cancelled`` and the tokens it had.

        Ids that are not queued (any more) are passed over.
        """

    def score(
        self, prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]], temperature: float = 1.0
    ) -> list[list[float]]:
        """Log-probability (nats) of each response token given its prompt, teacher-forced."""

    def generate(
        self,
        requests: Sequence[Request],
        check: Callable[[], None] | None = None,
        on_token: Callable[[int, int], None] | None = None,
    ) -> list[Completion]:
        """Submit, poll until all are done, and return completions in the order of ``requests``.

        Requests submitted before must have been polled to their end. ``check`` is called between decoding steps and may
        raise to abandon the work (all requests are then cancelled).
        """
        self.submit(requests)
        done: dict[int, Completion] = {}
        self.on_token = on_token
        try:
            while len(done) < len(requests):
                if check is not None:
                    check()
                done.update((completion.id, completion) for completion in self.poll())
        finally:
            self.on_token = None
            self.cancel([request.id for request in requests if request.id not in done])
        return [done[request.id] for request in requests]
