"""From rule rewards to the one number the optimiser sees: a weighted sum, refused if form alone could pay."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from pydantic import Field, model_validator

from reckon.core.config import Strict
from reckon.core.errors import ConfigError
from reckon.core.records import Rollout
from reckon.models.template import opens_thinking
from reckon.rewards.rules import Script, accuracy, format_reward, language


class LanguagePart(Strict):
    """The language consistency part: its weight, and the script the thinking should be written in."""

    weight: float = Field(gt=0)
    script: Script


class RewardSpec(Strict):
    """The weights of the reward's parts, each of which lies in [0, 1].

    A wrong answer must not earn as much as a right one by its form alone; weights that would let it are refused
    with a ConfigError unless ``allow_dominated`` is set. (R1 gives accuracy and format equal weights.)
    """

    accuracy: float = Field(default=1.0, ge=0)
    format: float = Field(default=0.1, ge=0)
    language: LanguagePart | None = None
    allow_dominated: bool = False

    @model_validator(mode="after")
    def _right_beats_wrong(self) -> RewardSpec:
        others = self.format + (self.language.weight if self.language else 0.0)
        if others >= self.accuracy and not self.allow_dominated:
            raise ConfigError(
                f"the parts besides accuracy add up to {others:g}, not less than the accuracy weight {self.accuracy:g}",
                where="reward",
                why="A wrong answer in the right form could earn as much as a right one, and would be learned",
                fix="Lower the other weights, raise reward.accuracy, or set reward.allow_dominated: true",
            )
        return self

    def score(self, rollout: Rollout) -> tuple[float | None, dict[str, float]]:
        """The reward of a judged rollout and its parts before weighting; (None, {}) if its verdict is absent."""
        right = accuracy(rollout.verdict)
        if right is None:
            return None, {}
        parts = {"accuracy": right, "format": format_reward(opens_thinking(rollout.prompt), rollout.response)}
        total = self.accuracy * parts["accuracy"] + self.format * parts["format"]
        if self.language is not None:
            parts["language"] = language(rollout.response, self.language.script)
            total += self.language.weight * parts["language"]
        return total, parts


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
