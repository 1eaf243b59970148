"""Requests that an engine can never serve are refused before any of them is queued."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from reckon.core.errors import ConfigError
from reckon.engine.base import Request


@dataclass(frozen=True)
class Limits:
    """What a model can take.

    Attributes:
        max_context: prompt and response tokens of one request.
        vocabulary: token ids are below this.
    """

    max_context: int
    vocabulary: int

    def validate(self, requests: Sequence[Request], queued: Collection[int]) -> None:
        """Raises ConfigError if one of the requests cannot be served, or has the id of another or of a queued one."""
        known = set(queued)
        for request in requests:
            self._validate(request)
            if request.id in known:
                raise ConfigError(f"request {request.id} is already queued", fix="Give every request an id of its own")
            known.add(request.id)

    def check_text(self, prompt_ids: Sequence[int], response_ids: Sequence[int]) -> None:
        """Raises ConfigError if the model cannot be asked for the log-probs of such a response."""
        self._check_prompt(prompt_ids, len(response_ids), "score")
        self._check_ids(response_ids, "score")

    def _validate(self, request: Request) -> None:
        sampling, where = request.sampling, f"request {request.id}"
        self._check_prompt(request.prompt_ids, sampling.max_new_tokens, where)
        if sampling.max_new_tokens < 1:
            raise ConfigError(f"max_new_tokens is {sampling.max_new_tokens}", where=where, fix="Ask for at least 1")
        if not 0 < sampling.top_p <= 1:
            raise ConfigError(f"top_p is {sampling.top_p}, outside (0, 1]", where=where, fix="1 samples everything")
        if not 0 <= sampling.temperature < float("inf"):
            raise ConfigError(f"temperature is {sampling.temperature}", where=where, fix="Give 0 (greedy) or more")
        if "" in sampling.stop:
            raise ConfigError("a stop string is empty", where=where, why="It would end every response at once")

    def _check_prompt(self, prompt_ids: Sequence[int], new_tokens: int, where: str) -> None:
        if len(prompt_ids) == 0:
            raise ConfigError("the prompt is empty", where=where, fix="Give at least one token")
        if len(prompt_ids) + new_tokens > self.max_context:
            raise ConfigError(
                f"a prompt of {len(prompt_ids)} tokens and {new_tokens} new ones exceed the context "
                f"of {self.max_context} tokens",
                where=where,
                fix="Shorten the prompt or lower max_new_tokens",
            )
        self._check_ids(prompt_ids, where)

    def _check_ids(self, ids: Sequence[int], where: str) -> None:
        if len(ids) > 0 and not 0 <= min(ids) <= max(ids) < self.vocabulary:
            raise ConfigError(
                f"token ids from {min(ids)} to {max(ids)}, but the model knows 0 to {self.vocabulary - 1}",
                where=where,
                fix="Use the model's own tokenizer",
            )
