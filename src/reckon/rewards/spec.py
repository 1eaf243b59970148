"""From rule rewards to the one number the optimiser sees: a weighted sum, refused if a wrong answer could pay more."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import Field, model_validator

from reckon.core.config import Strict
from reckon.core.errors import ConfigError
from reckon.core.records import Rollout
from reckon.models.template import opens_thinking
from reckon.rewards.rules import Script, accuracy, format_reward, language, repetition, soft_overlong, target_script


class LanguagePart(Strict):
    """The language consistency part: its weight, and the script the thinking should be written in; ``prompt`` stands
    for that of the question (:func:`reckon.rewards.rules.target_script`)."""

    weight: float = Field(gt=0)
    script: Script | Literal["prompt"]


class Overlong(Strict):
    """DAPO's soft overlong punishment (:func:`reckon.rewards.rules.soft_overlong`): its weight, and over which share of
    the token limit, the last one, it grows from nothing to full."""

    weight: float = Field(1.0, gt=0)
    share: float = Field(gt=0, le=1)


class RepetitionPart(Strict):
    """A penalty on what a response says again (:func:`reckon.rewards.rules.repetition`): its weight, and the length in
    words from which on saying something again is repetition."""

    weight: float = Field(gt=0)
    n: int = Field(10, ge=1)


class RewardSpec(Strict):
    """The reward: a weighted sum of parts, of which ``accuracy``, ``format`` and ``language`` lie in [0, 1],
    ``overlong`` and ``repetition`` in [-1, 0], and ``model`` anywhere.

    Every right answer must earn more than any wrong one, whatever the form and length of both; weights that do not see
    to that are refused with a ConfigError unless ``allow_dominated`` is set. (R1 gives accuracy and format equal
    weights.)

    Attributes:
        model: weight of a reward model's score, which takes the place of accuracy where a prompt has no answer that
            could be verified. Nothing is known of its range, so such prompts are outside the rule above.
        summary: form allows a summary between the thinking and the answer (R1's readable form).
        signed: accuracy lies in [-1, 1] instead: a wrong answer pays -1 (DAPO, VAPO).
    """

    accuracy: float = Field(default=1.0, ge=0)
    format: float = Field(default=0.1, ge=0)
    model: float = Field(default=1.0, gt=0)
    language: LanguagePart | None = None
    overlong: Overlong | None = None
    repetition: RepetitionPart | None = None
    summary: bool = False
    signed: bool = False
    allow_dominated: bool = False

    @model_validator(mode="after")
    def _right_beats_wrong(self) -> RewardSpec:
        right = self._total({"accuracy": 1.0, "overlong": -1.0, "repetition": -1.0})
        wrong = self._total({"accuracy": -1.0 if self.signed else 0.0, "format": 1.0, "language": 1.0})
        if right <= wrong and not self.allow_dominated:
            raise ConfigError(
                f"a right answer could earn {right:g} and a wrong one {wrong:g}",
                where="reward",
                why="What pays a wrong answer as much as a right one would be learned instead of answering",
                fix="Lower the weights besides accuracy, raise reward.accuracy, or set reward.allow_dominated: true",
            )
        return self

    def score(
        self, rollout: Rollout, limit: int, model_score: float | None = None
    ) -> tuple[float | None, dict[str, float]]:
        """The reward of a rollout and its parts before weighting; (None, {}) if nobody could judge it.

        Args:
            limit: most tokens that the response could have had.
            model_score: what a reward model says of the response. The verdict then has no say.
        """
        parts = {}
        if model_score is not None:
            parts["model"] = model_score
        elif (right := accuracy(rollout.verdict)) is not None:
            parts["accuracy"] = 2 * right - 1 if self.signed else right
        else:
            return None, {}
        parts["format"] = format_reward(opens_thinking(rollout.prompt), rollout.response, self.summary)
        if self.language is not None:
            script = self.language.script
            asked = target_script(rollout.problem.question) if script == "prompt" else script
            parts["language"] = language(rollout.response, asked)
        if self.overlong is not None:
            parts["overlong"] = soft_overlong(len(rollout.response_ids), limit, self.overlong.share * limit)
        if self.repetition is not None:
            parts["repetition"] = -repetition(rollout.response, self.repetition.n)
        return self._total(parts), parts

    def _total(self, parts: Mapping[str, float]) -> float:
        """The weighted sum. Rounded once, so that it never falls when a part rises."""
        weights = {
            "accuracy": self.accuracy,
            "format": self.format,
            "model": self.model,
            "language": self.language.weight if self.language else 0.0,
            "overlong": self.overlong.weight if self.overlong else 0.0,
            "repetition": self.repetition.weight if self.repetition else 0.0,
        }
        return math.fsum(weights[name] * value for name, value in parts.items())


def group_spread(group: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Standard deviation (population) of each part over the rollouts of one group, absent ones left out.

    Where accuracy has no spread but another part has, the group teaches form only.
    """
    spread = {}
    for name in dict.fromkeys(name for parts in group for name in parts):
        values = [parts[name] for parts in group if name in parts]
        mean = math.fsum(values) / len(values)
        spread[name] = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values))
    return spread
