"""Rollouts made by rule instead of sampled: the same on every machine, so that training on them can be compared.

Sampling would multiply a rounding difference into another response; these only pass it on.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from reckon.core.records import FinishReason, Problem, Role, Rollout
from reckon.core.seeds import seed_for
from reckon.data.micro import Attempt, attempt
from reckon.rewards.spec import RewardSpec
from reckon.rollout.collect import Collection
from reckon.rollout.sample import Sampler

ROLES: tuple[Role, ...] = ("policy", "policy", "policy", "policy", "greedy", "anchor", "anchor")
"""The responses to each prompt, in the order that the sampler gives them."""

LIMIT = 64
"""The token limit that rewards are told of."""


class Replay:
    """A source of rollouts: random Countdown attempts, a right one among those of most prompts, judged for real."""

    def __init__(self, sampler: Sampler, reward: RewardSpec, prompts: int = 2) -> None:
        self.sampler, self.reward, self.prompts = sampler, reward, prompts

    def collect(self, step: int, check: Callable[[], None]) -> Collection:
        """The rollouts of a step; their log-probs are those of the engine's weights."""
        rollouts = [rollout for k in range(self.prompts) for rollout in self._group(random.Random(seed_for(step, k)))]
        prompts, responses = [r.prompt_ids for r in rollouts], [r.response_ids for r in rollouts]
        for rollout, logp in zip(rollouts, self.sampler.engine.score(prompts, responses), strict=True):
            rollout.logp = logp
        return Collection(rollouts)

    def save(self) -> dict[str, Any]:
        """Nothing: a step's rollouts are a function of its number and the weights."""
        return {}

    def load(self, saved: dict[str, Any]) -> None:
        """Nothing to remember."""

    def _group(self, rng: random.Random) -> list[Rollout]:
        numbers = [rng.randint(1, 12) for _ in range(3)]
        tries = [attempt(rng, numbers, 99) for _ in ROLES]
        target = rng.choice(tries).value
        question = f"Make {target} from {', '.join(map(str, numbers))}."
        problem = Problem(f"{'-'.join(map(str, numbers))}:{target}", question, {"nums": numbers, "target": target})
        group = [self._rollout(rng, problem, tried, role) for tried, role in zip(tries, ROLES, strict=True)]
        return self.reward.score_group(group, LIMIT)

    def _rollout(self, rng: random.Random, problem: Problem, tried: Attempt, role: Role) -> Rollout:
        tokenizer = self.sampler.tokenizer
        prompt, prompt_ids = self.sampler.template.render(problem.question, tokenizer)
        form = rng.choice([" <think> {} </think> <answer> {} </answer>", " {} no. <answer> {} </answer>"])
        response = form.format(", ".join(tried.steps), tried.expression)
        ids = [*tokenizer(response)["input_ids"], tokenizer.eos_token_id]
        finish: FinishReason = "length" if rng.random() < 0.2 else "stop"
        rollout = Rollout("countdown", problem, 0, prompt, prompt_ids, response, ids, [], finish, 0, role=role)
        rollout.verdict = self.sampler.task.verify(problem, response)
        return rollout
