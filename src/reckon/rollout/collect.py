"""Collecting the groups of one training step: which problems, how many samples, and what they earn."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

from pydantic import Field

from reckon.core.config import Strict
from reckon.core.errors import DataError, GateFailed
from reckon.core.records import Problem, Rollout
from reckon.core.seeds import seed_for
from reckon.rewards.spec import RewardSpec
from reckon.rollout.sample import Sampler


class RolloutConfig(Strict):
    """What to sample at each step. The full distribution is sampled (no top-p): on-policy training requires it.

    Attributes:
        prompts_per_step, samples_per_prompt: their product is the batch; a group is the samples of one prompt.
        max_new_tokens: longer responses are cut off (finish ``length``) and judged as they are.
        stop: strings that end a response besides the model's end-of-text token.
    """

    prompts_per_step: int = Field(32, ge=1)
    samples_per_prompt: int = Field(8, ge=1)
    max_new_tokens: int = Field(1024, ge=1)
    temperature: float = Field(1.0, gt=0)
    stop: tuple[str, ...] = ()


class ProblemOrder:
    """Problems by step: each epoch is a shuffle that is a function of (seed, epoch), so a step needs no history."""

    def __init__(self, problems: Sequence[Problem], seed: int) -> None:
        if not len(problems):
            raise DataError("the task has no training problems", fix="Check the task's path and its settings")
        self._problems, self._seed = problems, seed
        self._epoch, self._order = -1, list[int]()

    def at(self, step: int, count: int) -> list[Problem]:
        """The problems of step ``step`` (1-based): ``count`` different ones, or all if there are fewer.

        An epoch is as many whole steps as the problems fill; what is left over has its turn in another epoch's shuffle.
        """
        epoch, place = divmod(step - 1, max(1, len(self._problems) // count))
        if epoch != self._epoch:
            self._epoch, self._order = epoch, list(range(len(self._problems)))
            random.Random(seed_for(self._seed, "order", epoch)).shuffle(self._order)
        return [self._problems[index] for index in self._order[place * count : (place + 1) * count]]


class Rollouts:
    """The source of a reinforcement-learning stage: groups sampled from the current weights, judged and rewarded."""

    def __init__(self, sampler: Sampler, config: RolloutConfig, reward: RewardSpec, seed: int) -> None:
        self.sampler, self.config, self.reward, self.seed = sampler, config, reward, seed
        self.order = ProblemOrder(sampler.task.problems("train"), seed)

    def collect(self, step: int, check: Callable[[], None]) -> list[Rollout]:
        """All rollouts of a step; those without a verdict have no reward.

        Raises GateFailed when no response could be judged at all: training on would be training on nothing.
        """
        problems = self.order.at(step, self.config.prompts_per_step)
        rollouts = self.sampler.ask(problems, self.config.samples_per_prompt, (self.seed, "rollout", step), check=check)
        rewarded = [self._reward(rollout) for rollout in rollouts]
        if all(rollout.reward is None for rollout in rewarded):
            verdict = rewarded[0].verdict
            raise GateFailed(
                f"not one of {len(rewarded)} responses could be judged, e.g. {verdict.reason if verdict else ''!r}",
                where=f"step {step}, task {self.sampler.task.kind}",
                why="No update was applied",
                fix="Run `reckon check` to see what the verifier does",
            )
        return rewarded

    def _reward(self, rollout: Rollout) -> Rollout:
        total, parts = self.reward.score(rollout)
        return replace(rollout, reward=total, parts=parts)
