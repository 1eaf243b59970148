"""Collecting the groups of one training step: which problems, how many samples, what they earn, and which are kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from pydantic import Field, model_validator

from reckon.core.config import Strict
from reckon.core.errors import ConfigError, GateFailed
from reckon.core.records import Problem, Role, Rollout
from reckon.rewards.spec import RewardSpec
from reckon.rollout.judge import Scorer
from reckon.rollout.order import order_of
from reckon.rollout.sample import Sampler
from reckon.tasks.answer import final_answer

Group = list[Rollout]

HINT = " The answer is {answer}."
"""What rationalisation adds to a question."""

ANCHORS = 2
"""Samples of the anchor model for each prompt (J-BOND, arXiv 2407.14622, alg. 2)."""


class DynamicSampling(Strict):
    """DAPO's dynamic sampling (arXiv 2503.14476, eq. 11): train only on prompts with right and with wrong samples.

    Further rounds ask further problems until the step has ``prompts_per_step`` such prompts, or ``max_rounds`` rounds,
    the first included, are over and it goes on with fewer. No round asks more than ``prompts_per_step`` problems.
    """

    max_rounds: int = Field(10, ge=1)


class RolloutConfig(Strict):
    """What to sample at each step. The full distribution is sampled (no top-p): on-policy training requires it.

    Attributes:
        prompts_per_step, samples_per_prompt: their product is the batch; a group is the samples of one prompt.
        max_new_tokens: longer responses are cut off (finish ``length``) and judged as they are.
        stop: strings that end a response besides the model's end-of-text token.
        dynamic_sampling: keep only prompts with right and with wrong samples; None keeps all.
        drop_solved: a problem whose samples were all right leaves from the next epoch on (SRPO's history resampling,
            arXiv 2504.14286); when fewer than ``prompts_per_step`` would be left, all return.
        rationalise: where no sample was right, ask as many again with the answer in the prompt (STaR, arXiv
            2203.14465); the rollouts carry the prompt without it, as if it had not been there.
    """

    prompts_per_step: int = Field(32, ge=1)
    samples_per_prompt: int = Field(8, ge=1)
    max_new_tokens: int = Field(1024, ge=1)
    temperature: float = Field(1.0, gt=0)
    stop: tuple[str, ...] = ()
    dynamic_sampling: DynamicSampling | None = None
    drop_solved: bool = False
    rationalise: bool = False

    @model_validator(mode="after")
    def _possible(self) -> RolloutConfig:
        if self.dynamic_sampling and self.samples_per_prompt < 2:
            raise ValueError(
                "dynamic_sampling keeps prompts with right and wrong samples: samples_per_prompt must be at least 2"
            )
        if self.dynamic_sampling and self.rationalise:
            raise ValueError(
                "rationalise asks again where no sample was right, and dynamic_sampling keeps no such prompt: set one"
            )
        return self


@dataclass(frozen=True)
class Collection:
    """The rollouts of one step.

    Attributes:
        rollouts: to train on. Those of a prompt lie together: samples of the policy, then its greedy answer or those
            found with a hint, and the anchor's two last.
        dropped: generated for the step, but not for training.
    """

    rollouts: list[Rollout]
    dropped: list[Rollout] = field(default_factory=list)


class Rollouts:
    """The source of a reinforcement-learning stage: groups sampled from the current weights, judged and rewarded.

    Args:
        greedy: also take each prompt's greedy answer (role ``greedy``), ReMax's baseline.
        anchor: also take two samples of each prompt from this one (role ``anchor``).
        scorers: by kind of task, the reward model that rewards its responses in the place of the verifier.
        steps: of the whole stage; a part of a mix that begins late begins after its share of them.

    Raises:
        DataError: the task has no problems.
        ConfigError: rollouts are to be rationalised, but the task knows no gold response to make a hint of.
    """

    def __init__(
        self,
        sampler: Sampler,
        config: RolloutConfig,
        reward: RewardSpec,
        seed: int,
        *,
        greedy: bool = False,
        anchor: Sampler | None = None,
        scorers: Mapping[str, Scorer] | None = None,
        steps: int = 1,
    ) -> None:
        self.sampler, self.config, self.reward, self.seed, self.anchor = sampler, config, reward, seed, anchor
        self.scorers = scorers or {}
        self.greedy = replace(sampler, sampling=replace(sampler.sampling, temperature=0.0)) if greedy else None
        self.order = order_of(sampler.task, seed, steps)
        if config.rationalise and not any(map(self._hint, sampler.task.problems("train"))):
            raise ConfigError(
                f"the task {sampler.task.kind} has no gold responses",
                where="rollout.rationalise",
                why="There is nothing to make a hint of",
                fix="Give the task a gold_response, or set rollout.rationalise: false",
            )

    def collect(self, step: int, check: Callable[[], None]) -> Collection:
        """All rollouts of a step; those without a verdict have no reward.

        Raises GateFailed when no response could be judged at all, or when dynamic sampling kept no prompt: training on
        would be training on nothing.
        """
        asked = self._sample(step, check)
        kept = self._kept(asked, step)
        beside = self._beside(kept, step, check)
        if self.config.drop_solved:
            self.order.leave(name for name, group in asked.items() if all(map(_right, group)))
        return Collection(
            rollouts=[rollout for name, group in kept.items() for rollout in (*group, *beside[name])],
            dropped=[rollout for name, group in asked.items() if name not in kept for rollout in group],
        )

    def save(self) -> dict[str, Any]:
        """Which problems have left."""
        return self.order.save()

    def load(self, saved: dict[str, Any]) -> None:
        """Continue from what :meth:`save` gave."""
        self.order.load(saved)

    def _with_target(self, problem: Problem, step: int) -> Problem:
        """The problem as it is asked at a step: where the reward is about a length, with that in the question."""
        if (target := self.reward.target) is None:
            return problem
        return replace(problem, question=problem.question + target.request(target.draw(self.seed, step, problem.id)))

    def _sample(self, step: int, check: Callable[[], None]) -> dict[str, Group]:
        """The policy's samples by problem: one round, or with dynamic sampling as many as needed and allowed."""
        wanted, dynamic = self.config.prompts_per_step, self.config.dynamic_sampling
        queue = self.order.queue(step, wanted)
        asked: dict[str, Group] = {}
        count = wanted
        for _ in range(dynamic.max_rounds if dynamic else 1):
            problems = [self._with_target(problem, step) for problem in islice(queue, count)]
            asked |= self._ask(self.sampler, problems, self.config.samples_per_prompt, "policy", step, check)
            self._refuse_unjudged(asked, step)
            mixed = sum(map(_mixed, asked.values()))
            if mixed >= wanted or not problems:
                break
            # What is missing, at the rate seen so far in this step.
            count = min(wanted, math.ceil((wanted - mixed) * len(asked) / mixed)) if mixed else wanted
        return asked

    def _kept(self, asked: dict[str, Group], step: int) -> dict[str, Group]:
        """The groups to train on: with dynamic sampling the first mixed ones in the order they were asked in."""
        if self.config.dynamic_sampling is None:
            return asked
        mixed = [name for name, group in asked.items() if _mixed(group)]
        if not mixed:
            judged = [rollout for group in asked.values() for rollout in group if rollout.reward is not None]
            raise GateFailed(
                f"dynamic sampling found not one prompt with right and wrong answers among {len(asked)}; "
                f"{sum(map(_right, judged)) / len(judged):.1%} of the answers were right",
                where=f"step {step}, task {self.sampler.task.kind}",
                why="No group has an advantage, so no update was applied",
                fix="Use problems that the model solves sometimes, or raise rollout.samples_per_prompt or "
                "rollout.dynamic_sampling.max_rounds",
            )
        return {name: asked[name] for name in mixed[: self.config.prompts_per_step]}

    def _beside(self, kept: dict[str, Group], step: int, check: Callable[[], None]) -> dict[str, Group]:
        """What the algorithm needs beside the policy's samples, by problem."""
        problems = {name: group[0].problem for name, group in kept.items()}
        found: list[dict[str, Group]] = []
        if self.greedy is not None:
            found.append(self._ask(self.greedy, problems.values(), 1, "greedy", step, check))
        if self.config.rationalise:
            unsolved = [problems[name] for name, group in kept.items() if not any(map(_right, group))]
            hinted = {problem.id: self._hinted(problem, hint) for problem in unsolved if (hint := self._hint(problem))}
            asked, samples = [problems[name] for name in hinted], self.config.samples_per_prompt
            found.append(self._ask(self.sampler, asked, samples, "hinted", step, check, hinted))
        if self.anchor is not None:
            found.append(self._ask(self.anchor, problems.values(), ANCHORS, "anchor", step, check))
        return {name: [rollout for groups in found for rollout in groups.get(name, ())] for name in problems}

    def _ask(
        self,
        sampler: Sampler,
        problems: Iterable[Problem],
        samples: int,
        role: Role,
        step: int,
        check: Callable[[], None],
        shown: Mapping[str, Sequence[int]] | None = None,
    ) -> dict[str, Group]:
        """Judged and rewarded responses by problem, from seeds of their own for each role."""
        purpose = (self.seed, "rollout" if role == "policy" else role, step)
        rollouts = sampler.ask(list(problems), samples, purpose, role=role, shown=shown, check=check)
        scores = self._model_scores(rollouts)
        places: dict[str, list[int]] = {}
        for place, rollout in enumerate(rollouts):
            places.setdefault(rollout.problem.id, []).append(place)
        return {
            name: self.reward.score_group(
                [rollouts[place] for place in own],
                self.config.max_new_tokens,
                step=step,
                target=self.reward.target.draw(self.seed, step, name) if self.reward.target else None,
                model_scores=[scores[place] for place in own] if own[0] in scores else None,
            )
            for name, own in places.items()
        }

    def _model_scores(self, rollouts: Sequence[Rollout]) -> dict[int, float | None]:
        """By place in ``rollouts``: what a reward model says of those whose task has one, None where it cannot say."""
        scores: dict[int, float | None] = {}
        for kind, scorer in self.scorers.items():
            places = [place for place, rollout in enumerate(rollouts) if rollout.task == kind]
            scores |= dict(zip(places, scorer.score([rollouts[place] for place in places]), strict=True))
        return scores

    def _hinted(self, problem: Problem, hint: str) -> list[int]:
        """The prompt's token ids with the hint after the question."""
        return self.sampler.template.render(problem.question + hint, self.sampler.tokenizer)[1]

    def _hint(self, problem: Problem) -> str | None:
        """Words to add to the question: the answer of the gold response, or all of it if it has no answer block."""
        gold = self.sampler.task.gold_response(problem)
        return None if gold is None else HINT.format(answer=final_answer(gold)[0] or gold)

    def _refuse_unjudged(self, asked: dict[str, Group], step: int) -> None:
        rollouts = [rollout for group in asked.values() for rollout in group]
        if all(rollout.reward is None for rollout in rollouts):
            first, scored = rollouts[0].verdict, rollouts[0].task in self.scorers
            reason = "the reward model could not say" if scored or first is None else first.reason
            raise GateFailed(
                f"not one of {len(rollouts)} responses could be judged, e.g. {reason!r}",
                where=f"step {step}, task {self.sampler.task.kind}",
                why="No update was applied",
                fix=f"Look at what reward_models.{rollouts[0].task} says of a response"
                if scored
                else "Run `reckon check` to see what the verifier does",
            )


def _right(rollout: Rollout) -> bool:
    return rollout.verdict is not None and (rollout.verdict.score or 0.0) >= 1


def _mixed(group: Group) -> bool:
    """Whether some of those that could be judged are right and some are not. The reward has no say: a length penalty
    gives it spread where all are right (arXiv 2503.14476 filters on accuracy)."""
    return 0 < sum(map(_right, group)) < sum(rollout.reward is not None for rollout in group)
