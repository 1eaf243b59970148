"""One response under way: its text, its thinking kept to a budget, and where it ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from reckon.engine.base import Completion, Request, Sampling
from reckon.serve.prompt import Prompt
from reckon.serve.text import Decode, Splitter, State, StopText, Tags, TextStream

ANSWER_SHARE, ANSWER_ROOM = 4, 1024
"""Of a response with a thinking budget, a quarter, at most 1024 tokens, is kept for the answer."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What was asked for one response.

    Attributes:
        max_tokens: thinking and answer.
        budget: tokens of thinking, tags included; None if it has no bound of its own.
        stops: strings that end the answer and are not part of it. Thinking is not searched for them.
        split: tell thinking from the answer; else all text is one.
    """

    prompt: Prompt
    max_tokens: int
    temperature: float
    top_p: float
    stops: tuple[str, ...]
    end_ids: tuple[int, ...]
    seed: int
    budget: int | None = None
    split: bool = True


@dataclass(slots=True)
class Delta:
    """What new tokens bring of the thinking and of the answer."""

    thinking: str = ""
    answer: str = ""


class Choice:
    """Follows one response through one or more requests to an engine.

    A budget ends a request. If the response is still thinking then, the end of the thinking is put there as tokens and
    a second request goes on from it; else the second goes on from where the first ended. Any engine can do that.

    Attributes:
        tokens, logp: of the response so far, thinking and forced tokens included; a forced token's logp is 0. ``logp``
            is filled as requests end.
        finish: why it ended; None while it is under way.
    """

    def __init__(self, plan: Plan, tags: Tags, decode: Decode, closing: Sequence[int]) -> None:
        self.tokens: list[int] = []
        self.logp: list[float] = []
        self.finish: Literal["stop", "length"] | None = None
        self._plan, self._tags = plan, tags
        self._text: Splitter | _Plain = Splitter(tags, decode, plan.prompt.state) if plan.split else _Plain(decode)
        self._stop = StopText(plan.stops)
        self._forced = [*closing, *tags.closing]
        self._budget = self._fitting_budget()
        self._start = 0

    @property
    def thought(self) -> int:
        """Tokens that went into thinking."""
        return self._text.thought

    def begin(self) -> Delta:
        """What is known before the first request: nothing, or the end of thinking that may not take place."""
        if self._budget is not None and self._budget <= len(self._forced) and self._text.state != "answer":
            return self._close()
        return Delta()

    def request(self, id_: int) -> Request:
        """The next request to the engine."""
        self._start = len(self.tokens)
        limit = self._plan.max_tokens - len(self.tokens)
        if self._budget is not None and self._text.state != "answer":
            limit = min(limit, self._budget - len(self._forced) - len(self.tokens))
        plan = self._plan
        sampling = Sampling(limit, plan.temperature, plan.top_p, stop_ids=plan.end_ids)
        return Request(id_, [*plan.prompt.ids, *self.tokens], sampling, plan.seed)

    def feed(self, tokens: Sequence[int]) -> Delta:
        """Take new tokens of the request that is under way."""
        delta = Delta()
        # One by one where the tokens up to a stop string must be counted.
        for part in ([token] for token in tokens) if self._plan.stops else [list(tokens)]:
            if self.finish is None:
                self.tokens += part
                self._add(delta, *self._text.feed(part))
                if self._stop.stopped:
                    self.finish = "stop"
        return delta

    def end(self, completion: Completion) -> Delta:
        """The request has ended; if ``finish`` is None now, the next one is to be made."""
        self.logp += completion.logp[: len(self.tokens) - self._start]
        if self.finish is not None:
            return Delta()
        if completion.finish == "length" and len(self.tokens) < self._plan.max_tokens:
            return Delta() if self._text.state == "answer" else self._close()
        self.finish = "stop" if completion.finish == "stop" else "length"
        delta = Delta()
        self._add(delta, *self._text.rest())
        delta.answer += self._stop.rest()
        return delta

    def _add(self, delta: Delta, thinking: str, answer: str) -> None:
        delta.thinking += thinking
        delta.answer += self._stop.feed(answer)

    def _close(self) -> Delta:
        """Put the end of the thinking there."""
        opening = self._tags.opening if self._text.state == "undecided" else ()
        forced = [*opening, *(self._forced if self.tokens else self._tags.closing)]
        if len(self.tokens) + len(forced) >= self._plan.max_tokens:
            self.finish = "length"
            return Delta()
        self.tokens += forced
        self.logp += [0.0] * len(forced)
        delta = Delta()
        self._add(delta, *self._text.feed(forced))
        return delta

    def _fitting_budget(self) -> int | None:
        """The budget, where there is one, with room left for an answer."""
        plan = self._plan
        if plan.budget is None:
            return None
        return min(plan.budget, plan.max_tokens - min(ANSWER_ROOM, max(1, plan.max_tokens // ANSWER_SHARE)))


class _Plain:
    """Takes all text for the answer."""

    state: State = "answer"
    thought = 0

    def __init__(self, decode: Decode) -> None:
        self._text = TextStream(decode)

    def feed(self, tokens: Sequence[int]) -> tuple[str, str]:
        return "", self._text.feed(tokens)

    def rest(self) -> tuple[str, str]:
        return "", self._text.rest()
