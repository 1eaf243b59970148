"""From verdicts to the one number the optimiser sees: a weighted sum, refused if a wrong answer could pay more."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from pydantic import Field, model_validator

from reckon.core.config import Strict
from reckon.core.errors import ConfigError
from reckon.core.records import Rollout
from reckon.models.template import opens_thinking
from reckon.rewards.parts import (
    Cosine,
    Group,
    GroupLength,
    LanguagePart,
    Overlong,
    Part,
    RepetitionPart,
    TargetLength,
)
from reckon.rewards.rules import accuracy, format_reward, repeated_tokens, tag_reward


class TokenRepetition(Strict):
    """A penalty on single tokens (:func:`.rules.repeated_tokens`): ``weight`` is what each token of an n-gram of ``n``
    tokens costs that the response has had before."""

    weight: float = Field(gt=0)
    n: int = Field(40, ge=1)


class RewardSpec(Strict):
    """The reward: a weighted sum of parts.

    Every right answer must earn more than any wrong one, with every part at its worst for the one and at its best for
    the other; weights that do not see to that are refused with a ConfigError unless ``allow_dominated`` is set. (R1
    gives accuracy and format equal weights.)

    Attributes:
        accuracy: weight of the verdict's score.
        format: weight of the strict form (:func:`.rules.format_reward`).
        tags: weight of the share of the form's tags that are there (:func:`.rules.tag_reward`).
        model: weight of a reward model's score, which takes the place of accuracy where a prompt has no answer that
            could be verified. Nothing is known of its range, so such prompts are outside the rule above.
        language, overlong, repetition, length, cosine, target: see :mod:`.parts`; None is without.
        token_repetition: paid by single tokens, beside the reward and outside the rule above.
        summary: form allows a summary between the thinking and the answer (R1's readable form).
        signed: accuracy lies in [-1, 1] instead: a wrong answer pays -1 (DAPO, VAPO).
    """

    accuracy: float = Field(default=1.0, ge=0)
    format: float = Field(default=0.1, ge=0)
    tags: float = Field(default=0.0, ge=0)
    model: float = Field(default=1.0, gt=0)
    language: LanguagePart | None = None
    overlong: Overlong | None = None
    repetition: RepetitionPart | None = None
    length: GroupLength | None = None
    cosine: Cosine | None = None
    target: TargetLength | None = None
    token_repetition: TokenRepetition | None = None
    summary: bool = False
    signed: bool = False
    allow_dominated: bool = False

    @model_validator(mode="after")
    def _right_beats_wrong(self) -> RewardSpec:
        right, wrong = self.bounds(right=True)[0], self.bounds(right=False)[1]
        if right <= wrong and not self.allow_dominated:
            raise ConfigError(
                f"a right answer could earn {right:g} and a wrong one {wrong:g}",
                where="reward",
                why="What pays a wrong answer as much as a right one would be learned instead of answering",
                fix="Lower the weights besides accuracy, raise reward.accuracy, or set reward.allow_dominated: true",
            )
        return self

    def bounds(self, right: bool) -> tuple[float, float]:
        """The least and the most that a right answer can earn, or a wrong one: every part at its own extreme."""
        lowest = {name: part.bounds(right)[0] for name, part in self._parts()}
        highest = {name: part.bounds(right)[1] for name, part in self._parts()}
        answer = {"accuracy": self._signed(float(right))}
        return self._total(answer | lowest), self._total(answer | highest | {"format": 1.0, "tags": 1.0})

    def score_group(
        self,
        rollouts: Sequence[Rollout],
        limit: int,
        *,
        step: int = 1,
        target: int | None = None,
        model_scores: Sequence[float | None] | None = None,
    ) -> list[Rollout]:
        """The responses to one prompt, rewarded: with their ``reward``, its ``parts`` before weighting, and
        ``token_rewards`` where single tokens are paid. The ones given are left as they are.

        Those that nobody could judge have no reward and no parts, and the others are compared without them.

        Args:
            limit: most tokens that a response could have had.
            step: of training, 1-based.
            target: the tokens that the prompt asked for (:meth:`.parts.TargetLength.draw`).
            model_scores: what a reward model says of each, None where it cannot say. The verdicts then have no say.
        """
        scores = [accuracy(rollout.verdict) for rollout in rollouts] if model_scores is None else model_scores
        known = {place: score for place, score in enumerate(scores) if score is not None}
        rewarded = [replace(rollout, reward=None, parts={}, token_rewards=None) for rollout in rollouts]
        if known:
            judged = [rewarded[place] for place in known]
            group = Group(judged, list(known.values()) if model_scores is None else None, limit, step, target)
            for rollout, parts in zip(judged, self._values(group, list(known.values())), strict=True):
                rollout.parts, rollout.reward = parts, self._total(parts)
                self._pay_tokens(rollout)
        return rewarded

    def _values(self, group: Group, scores: Sequence[float]) -> list[dict[str, float]]:
        """Every part of every rollout of the group, before weighting."""
        answers = [(rollout, opens_thinking(rollout.prompt)) for rollout in group.rollouts]
        columns: dict[str, list[float]] = (
            {"model": list(scores)} if group.scores is None else {"accuracy": [self._signed(s) for s in group.scores]}
        )
        columns["format"] = [format_reward(opened, r.response, self.summary) for r, opened in answers]
        if self.tags:
            columns["tags"] = [tag_reward(opened, r.response) for r, opened in answers]
        for name, part in self._parts():
            if (values := part.values(group)) is not None:
                columns[name] = values
        return [{name: values[place] for name, values in columns.items()} for place in range(len(group.rollouts))]

    def _pay_tokens(self, rollout: Rollout) -> None:
        if self.token_repetition is not None:
            repeated = repeated_tokens(rollout.response_ids, self.token_repetition.n)
            rollout.token_rewards = [-self.token_repetition.weight * again for again in repeated]
            rollout.parts["token_repetition"] = -float(sum(repeated))

    def _signed(self, score: float) -> float:
        return 2 * score - 1 if self.signed else score

    def _parts(self) -> Iterator[tuple[str, Part]]:
        """The optional parts in use, by name."""
        for name in RewardSpec.model_fields:
            if isinstance(part := getattr(self, name), Part):
                yield name, part

    def _total(self, parts: Mapping[str, float]) -> float:
        """The weighted sum. Rounded once, so that it never falls when a part rises."""
        weights = {"accuracy": self.accuracy, "format": self.format, "tags": self.tags, "model": self.model}
        weights |= {name: part.weight for name, part in self._parts()}
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
