"""The optional parts of a reward, one class each: its settings, its value for every response, and within what bounds.

The formulas are in :mod:`.rules` and :mod:`.lengths`.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import Field, model_validator

from reckon.core.config import Strict
from reckon.core.records import Rollout
from reckon.core.seeds import seed_for
from reckon.rewards.lengths import Ends, cosine_reward, group_lengths, soft_overlong, target_exact, target_max
from reckon.rewards.rules import Script, language, repetition, target_script


@dataclass(frozen=True)
class Group:
    """The responses to one prompt that could be judged, and what they were to keep to.

    Attributes:
        rollouts: of which one at least.
        scores: of each, by its verdict; None where a reward model has the say, and nobody knows what is right.
        limit: most tokens that a response could have had.
        step: of training, 1-based.
        target: the tokens that the prompt asked for, if it asked.
    """

    rollouts: Sequence[Rollout]
    scores: Sequence[float] | None
    limit: int
    step: int
    target: int | None

    @property
    def lengths(self) -> list[int]:
        return [len(rollout.response_ids) for rollout in self.rollouts]


class Part(Strict, ABC):
    """A part of the reward: its weight, and a number for each response."""

    weight: float = Field(gt=0)

    def bounds(self, right: bool) -> tuple[float, float]:
        """Between what its value lies for a right answer, or for a wrong one, before weighting. Here: a penalty."""
        return -1.0, 0.0

    @abstractmethod
    def values(self, group: Group) -> list[float] | None:
        """The value of each rollout of the group, before weighting; None where the part does not apply."""


class LanguagePart(Part):
    """Language consistency (:func:`.rules.language`): ``script`` is the one that the thinking should be written in;
    ``prompt`` stands for that of the question (:func:`.rules.target_script`)."""

    script: Script | Literal["prompt"]

    def bounds(self, right: bool) -> tuple[float, float]:
        return 0.0, 1.0

    def values(self, group: Group) -> list[float]:
        return [
            language(r.response, target_script(r.problem.question) if self.script == "prompt" else self.script)
            for r in group.rollouts
        ]


class Overlong(Part):
    """DAPO's soft overlong punishment (:func:`.lengths.soft_overlong`): ``share`` is over which share of the token
    limit, the last one, it grows from nothing to full."""

    weight: float = Field(1.0, gt=0)
    share: float = Field(gt=0, le=1)

    def values(self, group: Group) -> list[float]:
        return [soft_overlong(length, group.limit, self.share * group.limit) for length in group.lengths]


class RepetitionPart(Part):
    """A penalty on what a response says again (:func:`.rules.repetition`): ``n`` is the length in words from which on
    saying something again is repetition."""

    n: int = Field(10, ge=1)

    def values(self, group: Group) -> list[float]:
        return [-repetition(rollout.response, self.n) for rollout in group.rollouts]


class GroupLength(Part):
    """Kimi k1.5's length reward (:func:`.lengths.group_lengths`), paid after the first ``after`` steps.

    The paper trains without it at first and with a constant weight from then on; it publishes neither number.
    """

    after: int = Field(0, ge=0)

    def bounds(self, right: bool) -> tuple[float, float]:
        return -0.5, 0.5 if right else 0.0

    def values(self, group: Group) -> list[float] | None:
        if group.scores is None or group.step <= self.after:
            return None
        return group_lengths(group.lengths, [score >= 1 for score in group.scores])


class Cosine(Part):
    """The cosine length reward (:func:`.lengths.cosine_reward`). The paper has no accuracy beside it.

    Attributes:
        right, wrong: what an answer without a token gets, and one that is as long as the limit allows.
        exceeded: what a response gets that reaches the limit, whatever it says.
    """

    weight: float = Field(1.0, gt=0)
    right: Ends = (2.0, 1.0)
    wrong: Ends = (-10.0, 0.0)
    exceeded: float = -10.0

    def bounds(self, right: bool) -> tuple[float, float]:
        found = (*(self.right if right else self.wrong), self.exceeded)
        return min(found), max(found)

    def values(self, group: Group) -> list[float] | None:
        if group.scores is None:
            return None
        return [
            cosine_reward(score >= 1, length, group.limit, self.right, self.wrong, self.exceeded)
            for score, length in zip(group.scores, group.lengths, strict=True)
        ]


class TargetLength(Part):
    """L1's length control (:func:`.lengths.target_exact`, :func:`.lengths.target_max`).

    Every prompt asks for a number of tokens of its own, drawn anew at each step.

    Attributes:
        mode: ``exact`` costs every miss; ``max`` takes from right answers that come near the target or pass it.
        low, high: the bounds of the targets (published for exact: 100 to 4,000).
        alpha: what a token costs.
        delta: ``max`` alone: what a right answer keeps that is exactly as long as asked.
    """

    weight: float = Field(1.0, gt=0)
    mode: Literal["exact", "max"]
    low: int = Field(ge=1)
    high: int = Field(ge=1)
    alpha: float = Field(3e-4, gt=0)
    delta: float = Field(0.5, ge=0, le=1)

    @model_validator(mode="after")
    def _ordered(self) -> TargetLength:
        if self.low > self.high:
            raise ValueError(f"low = {self.low} is more than high = {self.high}")
        return self

    def draw(self, seed: int, step: int, problem: str) -> int:
        """The target of a problem at a step, uniform between the bounds: a function of the three."""
        return random.Random(seed_for(seed, "target length", step, problem)).randint(self.low, self.high)

    def request(self, target: int) -> str:
        """The words that a question ends with to ask for it."""
        return f" Think for {'maximum ' if self.mode == 'max' else ''}{target} tokens."

    def bounds(self, right: bool) -> tuple[float, float]:
        return (0.0, 0.0) if self.mode == "max" and not right else (-1.0, 0.0)

    def values(self, group: Group) -> list[float] | None:
        if group.target is None:
            return None
        if self.mode == "exact":
            return [target_exact(length, group.target, self.alpha) for length in group.lengths]
        if group.scores is None:
            return None
        return [
            target_max(score, length, group.target, self.alpha, self.delta)
            for score, length in zip(group.scores, group.lengths, strict=True)
        ]
