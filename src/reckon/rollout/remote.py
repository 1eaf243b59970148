"""Asking problems of a model behind a server, of which texts are seen and no tokens."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from reckon.core.records import Problem, Rollout, Verdict
from reckon.core.seeds import seed_for
from reckon.engine.base import Sampling
from reckon.engine.endpoint import Endpoint, Query, Reply
from reckon.models.template import CHAT, TEMPLATES, PromptTemplate
from reckon.rollout.sample import judge
from reckon.tasks.answer import END_THINK, THINK
from reckon.tasks.base import Task


@dataclass(frozen=True)
class RemoteSampler:
    """Asks problems as :class:`reckon.rollout.sample.Sampler` does, of a server.

    Attributes:
        template: as :class:`PromptTemplate` takes it. With ``chat`` the server applies its model's own template to the
            question; others make a text for the model to continue.
    """

    task: Task
    endpoint: Endpoint
    template: str
    sampling: Sampling

    def __post_init__(self) -> None:
        """Raises ConfigError if there is no such template."""
        PromptTemplate(self.template)

    def ask(
        self,
        problems: Sequence[Problem],
        samples: int,
        purpose: tuple[str | int, ...],
        *,
        check: Callable[[], None] | None = None,
        done: Collection[tuple[str, int]] = (),
    ) -> list[Rollout]:
        """Sample and judge as ``Sampler.ask`` does; responses are as reproducible as the server makes them.

        Reasoning that the server tells apart is put back before the response, in ``<think>`` tags, unclosed if the
        response ended in the midst of it. A request that failed for good is a rollout with finish ``error``, without a
        score. Rollouts carry no token ids; the counts that the server gives are in ``usage``.

        Raises ConfigError if nothing answers at the address, or it does not know the key or the model.
        """
        asked = [(p, sample) for p in problems for sample in range(samples) if (p.id, sample) not in done]
        queries = [
            Query(self._prompt(problem), self.sampling, seed_for(*purpose, problem.id, sample))
            for problem, sample in asked
        ]
        replies = self.endpoint.complete_all(queries, check=check)
        rollouts = [
            Rollout(
                task=self.task.kind,
                problem=problem,
                sample=sample,
                prompt=query.prompt if isinstance(query.prompt, str) else problem.question,
                prompt_ids=[],
                response=_text(reply),
                response_ids=[],
                logp=[],
                finish=reply.finish,
                seed=query.seed,
                seconds={"generate": reply.seconds},
                verdict=Verdict(None, f"generation: {reply.error}") if reply.finish == "error" else None,
                usage=_usage(reply),
            )
            for (problem, sample), query, reply in zip(asked, queries, replies, strict=True)
        ]
        return judge(rollouts, self.task)

    def _prompt(self, problem: Problem) -> str | list[dict[str, str]]:
        if self.template == CHAT:
            return [{"role": "user", "content": problem.question}]
        return TEMPLATES.get(self.template, self.template).format(question=problem.question)


def _text(reply: Reply) -> str:
    """The reasoning, if the server tells it apart, and what follows it, as one text."""
    if reply.reasoning is None:
        return reply.text
    cut = reply.finish == "length" and not reply.text
    return f"{THINK}{reply.reasoning}" + ("" if cut else f"{END_THINK}{reply.text}")


def _usage(reply: Reply) -> dict[str, int]:
    counts = {
        "prompt": reply.prompt_tokens,
        "response": reply.completion_tokens,
        "reasoning": reply.reasoning_tokens,
    }
    return {name: count for name, count in counts.items() if count is not None}
