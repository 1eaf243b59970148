"""Asking problems and having the answers judged: the one way from a task and an engine to rollouts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from reckon.core.records import Problem, Role, Rollout, Verdict
from reckon.core.seeds import seed_for
from reckon.engine.base import Engine, Request, Sampling
from reckon.models.template import PromptTemplate, response_text
from reckon.tasks.base import Task


class Asker(Protocol):
    """Who gives judged responses to problems: :class:`Sampler`, over an engine;
    :class:`reckon.rollout.remote.RemoteSampler`, over a server; :class:`reckon.search.sampler.SearchSampler`."""

    @property
    def task(self) -> Task:
        """Whose problems are asked."""

    def ask(
        self,
        problems: Sequence[Problem],
        samples: int,
        purpose: tuple[str | int, ...],
        *,
        check: Callable[[], None] | None = None,
        done: Collection[tuple[str, int]] = (),
    ) -> list[Rollout]:
        """``samples`` responses to each problem, in the order of problems, then samples; see :meth:`Sampler.ask`."""


@dataclass(frozen=True)
class Sampler:
    """Everything that turns a problem into judged responses."""

    task: Task
    engine: Engine
    tokenizer: Any
    template: PromptTemplate
    sampling: Sampling

    def ask(
        self,
        problems: Sequence[Problem],
        samples: int,
        purpose: tuple[str | int, ...],
        *,
        role: Role = "policy",
        shown: Mapping[str, Sequence[int]] | None = None,
        check: Callable[[], None] | None = None,
        done: Collection[tuple[str, int]] = (),
    ) -> list[Rollout]:
        """Sample and judge ``samples`` responses to each problem, in the order of problems, then samples.

        A response depends on the weights, ``purpose`` (the name of its seed), its problem and its number alone.

        Args:
            role: what the rollouts are for.
            shown: for these problem ids, the prompt to show instead: with a hint in it, or worked examples before it.
                The rollouts carry the problem's own, and no log-probs, which would be those of another prompt.
            check: called between decoding steps; may raise to abandon the work.
            done: (problem id, sample) pairs to leave out.
        """
        shown = shown or {}
        prompts = {problem.id: self.template.render(problem.question, self.tokenizer) for problem in problems}
        asked = [(p, sample) for p in problems for sample in range(samples) if (p.id, sample) not in done]
        requests = [
            Request(
                number,
                shown.get(problem.id, prompts[problem.id][1]),
                self.sampling,
                seed_for(*purpose, problem.id, sample),
            )
            for number, (problem, sample) in enumerate(asked)
        ]
        completions = self.engine.generate(requests, check)
        rollouts = [
            Rollout(
                task=self.task.kind,
                problem=problem,
                sample=sample,
                prompt=prompts[problem.id][0],
                prompt_ids=prompts[problem.id][1],
                response=response_text(completion.token_ids, self.tokenizer),
                response_ids=completion.token_ids,
                logp=[] if problem.id in shown else completion.logp,
                finish=completion.finish,
                seed=request.seed,
                version=completion.version,
                role=role,
                seconds={"generate": completion.seconds},
            )
            for (problem, sample), request, completion in zip(asked, requests, completions, strict=True)
        ]
        return judge(rollouts, self.task)


def judge(rollouts: Sequence[Rollout], task: Task) -> list[Rollout]:
    """The rollouts with verdicts; the ones given are left as they are. A response that failed has an absent one."""
    asked = [rollout for rollout in rollouts if rollout.finish not in ("cancelled", "error")]
    verdicts = iter(task.verify_all([(rollout.problem, rollout.response) for rollout in asked]))
    judged = []
    for rollout in rollouts:
        failed = rollout.finish in ("cancelled", "error")
        verdict = rollout.verdict or Verdict(None, f"generation: {rollout.finish}") if failed else next(verdicts)
        seconds = {**rollout.seconds, "verify": verdict.seconds}
        kind = task.member(rollout.problem).kind
        judged.append(replace(rollout, task=kind, verdict=verdict, seconds=seconds))
    return judged
