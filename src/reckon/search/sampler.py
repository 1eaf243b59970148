"""Search where answers are wanted and not trees: as a sampler for evaluations and data, and for a single question."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from reckon.core.records import Problem, Rollout, Verdict
from reckon.core.seeds import seed_for
from reckon.engine.base import Engine, Sampling
from reckon.models.steps import StepRule
from reckon.models.template import PromptTemplate, response_text
from reckon.rollout.sample import Sampler
from reckon.search.base import Method, StepScorer, Tree
from reckon.search.choose import choose
from reckon.search.searcher import Searcher
from reckon.tasks.base import Task
from reckon.tasks.math.extract import final_answer
from reckon.tasks.math.kinds import display
from reckon.tasks.math.notation import tidy
from reckon.tasks.math.region import after_thinking


@dataclass(frozen=True)
class SearchSampler:
    """Asks problems as :class:`reckon.rollout.sample.Sampler` does, with a search in the place of each sample.

    Attributes:
        budget: the most generated tokens of a search.
    """

    searcher: Searcher
    budget: int

    @property
    def task(self) -> Task:
        """Whose problems are asked."""
        return self.searcher.sampler.task

    def ask(
        self,
        problems: Sequence[Problem],
        samples: int,
        purpose: tuple[str | int, ...],
        *,
        shown: Mapping[str, Sequence[int]] | None = None,
        check: Callable[[], None] | None = None,
        done: Collection[tuple[str, int]] = (),
    ) -> list[Rollout]:
        """Search ``samples`` times for an answer to each problem, in the order of problems, then samples.

        A rollout is the response that was chosen, and depends on the weights, ``purpose``, its problem and its number
        alone. Where no response was finished it is the longest one, with finish ``length``. What the search cost (see
        :func:`cost`) is in the verdict's ``detail["search"]``. The arguments are those of ``Sampler.ask``.
        """
        shown = shown or {}
        asked = [(p, sample) for p in problems for sample in range(samples) if (p.id, sample) not in done]
        trees = [
            self.searcher.plant(problem, self.budget, seed_for(*purpose, problem.id, sample), shown.get(problem.id))
            for problem, sample in asked
        ]
        self.searcher.grow(trees, check)
        return [self._rollout(tree, sample) for tree, (_, sample) in zip(trees, asked, strict=True)]

    def _rollout(self, tree: Tree, sample: int) -> Rollout:
        sampler, method = self.searcher.sampler, self.searcher.method
        found = choose(tree, method.choose, method.aggregate)
        node = found or max(tree.nodes, key=lambda node: node.length)
        ids = node.path_ids()
        text = response_text(ids, sampler.tokenizer)
        verdict = (found and found.verdict) or sampler.task.verify_all([(tree.problem, text)])[0]
        return Rollout(
            task=sampler.task.member(tree.problem).kind,
            problem=tree.problem,
            sample=sample,
            prompt=tree.prompt,
            prompt_ids=tree.prompt_ids,
            response=text,
            response_ids=ids,
            logp=node.path_logp() if tree.shown(node) == tree.prompt_ids else [],
            finish="stop" if node.finish == "stop" else "length",
            seed=tree.seed,
            version=sampler.engine.version,
            sampled=node.path_sampled(),
            verdict=replace(verdict, detail={**verdict.detail, "search": cost(tree)}),
            seconds={"generate": tree.seconds, "verify": verdict.seconds},
        )


def cost(tree: Tree) -> dict[str, int]:
    """What a tree cost, in tokens, and how many responses were finished for it.

    ``generated`` is the unit of every budget. ``prefill``: tokens read before others could be generated, once for all
    that a round generates after them; an engine that keeps prefixes reads fewer. ``scored``: tokens the scorer read.
    """
    return {
        "generated": tree.generated,
        "prefill": sum(node.prefill for node in tree.nodes),
        "scored": sum(node.scored for node in tree.nodes),
        "responses": len(tree.finished()),
    }


class _Open(Task):
    """A question whose right answer nobody here knows. Answers can still be read, and told apart."""

    kind = "open"

    def problems(self, split: str) -> Sequence[Problem]:
        return []

    def verify(self, problem: Problem, response: str) -> Verdict:
        found = final_answer(after_thinking(response)[0])
        return Verdict(None, found.reason, found.text and display(tidy(found.text)))


def answer(
    question: str,
    method: Method,
    budget: int,
    *,
    engine: Engine,
    tokenizer: Any,
    template: PromptTemplate,
    sampling: Sampling,
    scorer: StepScorer | None = None,
    steps: StepRule | None = None,
    seed: int = 0,
    check: Callable[[], None] | None = None,
) -> Rollout:
    """The answer that a search finds to a question, as :meth:`SearchSampler.ask` gives it; nobody judges it.

    Answers are what stands in a box, in an ``<answer>`` block or after "the answer is", and equal if they read the same
    as mathematics (:mod:`reckon.tasks.math`). Only ``submit``, ``poll`` and ``cancel`` of the
    engine are called.

    Args:
        method: of :func:`reckon.search.methods.build_method`.
        steps: where steps end; None: at blank lines.

    Raises:
        ConfigError: the budget is not positive, or the method needs a scorer and there is none.
    """
    sampler = Sampler(_Open(), engine, tokenizer, template, sampling)
    searcher = Searcher(sampler, method, scorer, steps or StepRule())
    problem = Problem("question", question, None)
    return SearchSampler(searcher, budget).ask([problem], 1, (seed, "answer"), check=check)[0]
