"""From problems to trees: what strategies ask for is generated, judged and scored, for many problems side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from time import perf_counter

from reckon.core.errors import ConfigError, DataError
from reckon.core.records import FinishReason, Problem
from reckon.core.seeds import seed_for
from reckon.engine.base import Completion, Request
from reckon.models.steps import StepRule, step_ends
from reckon.models.template import response_text
from reckon.rollout.sample import Sampler
from reckon.search.base import Method, Node, Order, Path, StepScorer, Tree
from reckon.search.grow import Growing, Started
from reckon.search.methods import unscored
from reckon.search.shares import largest_remainder


@dataclass(frozen=True)
class Searcher:
    """Everything that turns problems into trees.

    Attributes:
        sampler: whose task, engine, template and sampling are searched with; ``max_new_tokens`` is the most that a
            whole response may have.
        steps: where steps end.
        scorer: scores the steps of all nodes; a method that needs none can do without.

    Raises:
        ConfigError: the method needs a scorer and there is none.
    """

    sampler: Sampler
    method: Method
    scorer: StepScorer | None = None
    steps: StepRule = field(default_factory=StepRule)

    def __post_init__(self) -> None:
        if self.scorer is None and self.method.needs_scorer:
            raise unscored(self.method)

    def plant(self, problem: Problem, budget: int, seed: int, shown: Sequence[int] | None = None) -> Tree:
        """A tree with nothing but its root; ``shown`` is a prompt to show instead of the problem's own.

        Raises ConfigError if the budget is not positive.
        """
        if budget < 1:
            raise ConfigError(f"a budget of {budget} tokens", where="search", fix="Give at least 1")
        prompt, prompt_ids = self.sampler.template.render(problem.question, self.sampler.tokenizer)
        tree = Tree(problem, prompt, prompt_ids, budget, self.sampler.sampling.max_new_tokens, seed)
        tree.root.prompt_ids = None if shown is None else list(shown)
        return tree

    def grow(self, trees: Sequence[Tree], check: Callable[[], None] | None = None) -> None:
        """Grow trees side by side, each until its budget or its method ends.

        A tree depends on the weights, its prompt, seed and budget alone.

        Args:
            check: called between decoding steps; may raise to abandon the work.
        """
        began = perf_counter()
        growing = [Growing(tree, self.method, partial(self._most, tree)) for tree in trees]
        running: dict[int, tuple[int, Started]] = {}
        changed, number = set(range(len(trees))), 0
        try:
            while changed or running:
                requests = []
                for place in sorted(changed):
                    for started in growing[place].start():
                        requests.append(self._request(number, trees[place], started))
                        running[number] = place, started
                        number += 1
                changed = set()
                for completion in self._generate(requests, check):
                    place, started = running.pop(completion.id)
                    self._fill(started, completion)
                    growing[place].fill(started.node)
                    changed.add(place)
                self._advance([growing[place] for place in sorted(changed) if growing[place].complete])
                changed = {place for place in changed if not growing[place].ended}
        finally:
            self.sampler.engine.cancel(list(running))
        for tree in trees:
            tree.seconds = (perf_counter() - began) / len(trees)

    def path(self, tree: Tree, node: Node) -> Path:
        """The response that ends with a node, as scorers see it."""
        return Path(
            problem=tree.problem,
            prompt_ids=tree.shown(node),
            token_ids=node.path_ids(),
            text=self._response(node),
            ends=node.path_ends(),
            finish=node.finish,
            logp=node.path_logp(),
            scores=node.path_scores(),
            verdict=node.verdict,
        )

    def _generate(self, requests: Sequence[Request], check: Callable[[], None] | None) -> list[Completion]:
        """Queue the requests and generate at least one token; what has ended."""
        if check is not None:
            check()
        empty = [Completion(request.id, finish="length") for request in requests if not request.sampling.max_new_tokens]
        self.sampler.engine.submit([request for request in requests if request.sampling.max_new_tokens])
        return empty or self.sampler.engine.poll()

    def _base(self, order: Order) -> tuple[int, list[int]]:
        """How many tokens of the parent's path an order goes on from, and those it puts after them."""
        kept = order.parent.length
        if order.without:
            own = list(order.parent.token_ids)
            start = self._decode(own).rindex(order.without)
            while len(self._decode(own)) > start:
                own.pop()
            kept = order.parent.kept + len(own)
        forced = self.sampler.tokenizer(order.forced, add_special_tokens=False)["input_ids"] if order.forced else []
        return kept, list(forced)

    def _prompt(self, tree: Tree, order: Order) -> list[int] | None:
        """The question after earlier answers: the latest, as many as fit into half of the context.

        None where there are none, or none fits: the tree's own prompt is then shown.
        """
        asked, tokenizer = tree.problem.question, self.sampler.tokenizer
        attempts = [(asked, self._response(one)) for one in order.attempts]
        for first in range(len(attempts)):
            ids = self.sampler.template.render_after(attempts[first:], order.question or asked, tokenizer)
            if len(ids) <= self.sampler.engine.max_context // 2:
                return ids
        return None

    def _most(self, tree: Tree, order: Order) -> int:
        """The most tokens that an order can sample."""
        kept, forced = self._base(order)
        room = self._limit(order, self._prompt(tree, order)) - kept - len(forced)
        step = None if order.whole else self.steps.max_tokens
        return max(0, room if step is None else min(room, step))

    def _limit(self, order: Order, prompt: Sequence[int] | None) -> int:
        """The most response tokens that the path of an order can have."""
        whole = self._longest(prompt)
        return whole if order.limit is None else min(whole, order.limit)

    def _longest(self, prompt: Sequence[int] | None) -> int:
        """The most tokens of a response; to a prompt with earlier answers, no more than the context has left."""
        whole = self.sampler.sampling.max_new_tokens
        return whole if prompt is None else min(whole, self.sampler.engine.max_context - len(prompt))

    def _request(self, number: int, tree: Tree, started: Started) -> Request:
        """The request that will fill a node; what is not sampled of it is put into it at once."""
        node, order = started.node, started.order
        kept, forced = self._base(order)
        node.prompt_ids = self._prompt(tree, order)
        node.kept, node.token_ids = kept, forced[: max(0, self._limit(order, node.prompt_ids) - kept)]
        node.forced = len(node.token_ids)
        prompt = [*tree.shown(node), *node.path_ids()]
        node.prefill = len(prompt) if started.first else 0
        begun, sampling = self._begun(node.path_ids()), self.sampler.sampling
        rests = [text[cut:] for text in sampling.stop for cut in range(1, len(text)) if begun.endswith(text[:cut])]
        stop = (*sampling.stop, *rests, *order.until, *(() if order.whole else self.steps.separators))
        sampling = replace(sampling, max_new_tokens=started.room, stop=stop)
        return Request(number, prompt, sampling, seed_for(tree.seed, "node", node.id))

    def _fill(self, started: Started, completion: Completion) -> None:
        """Give a node what was sampled for it."""
        node = started.node
        node.token_ids = node.token_ids + completion.token_ids
        node.logp = [0.0] * node.forced + completion.logp
        node.text = self._decode(node.token_ids)
        node.finish = self._finish(started, completion)
        if node.finish != "cancelled" and node.token_ids:
            whole, tokenizer = started.order.whole, self.sampler.tokenizer
            own = step_ends(node.token_ids, tokenizer, self.steps) if whole else [len(node.token_ids)]
            node.ends = [node.kept + end for end in own]

    def _finish(self, started: Started, completion: Completion) -> FinishReason | None:
        """How a node ends, which is also how its path does."""
        node, sampling = started.node, self.sampler.sampling
        if completion.finish == "stop":
            before = node.path_ids()[: -len(completion.token_ids)]
            begun, text = self._begun(before), self._decode(completion.token_ids)
            if completion.token_ids[-1] in sampling.stop_ids or any(
                stop in begun[max(0, len(begun) - len(stop) + 1) :] + text for stop in sampling.stop
            ):
                return "stop"
        elif completion.finish != "length" or started.room < started.most:
            return "cancelled"
        return "length" if node.length >= self._longest(node.prompt_ids) else None

    def _begun(self, ids: Sequence[int]) -> str:
        """The end of a text, as much of it as the beginning of a stop text can be that goes on in the next step."""
        longest = max(map(len, self.sampler.sampling.stop), default=1) - 1
        # A character takes at most four tokens.
        return self._decode(ids[-4 * longest :])[-longest:] if longest else ""

    def _advance(self, complete: Sequence[Growing]) -> None:
        """Judge and score the rounds that are complete, all together, and hand them over."""
        self._judge(complete)
        self._score(complete)
        for growing in complete:
            growing.advance()

    def _judge(self, complete: Sequence[Growing]) -> None:
        """Verdicts for the responses that ended in these rounds."""
        ended = [(growing.tree, node) for growing in complete for node in growing.round if node.finished]
        texts = [(tree.problem, self._response(node)) for tree, node in ended]
        for (tree, node), verdict in zip(ended, self.sampler.task.verify_all(texts), strict=True):
            node.verdict, node.answer = verdict, self._written(tree, verdict.extracted)

    def _written(self, tree: Tree, answer: str | None) -> str | None:
        """An answer as it was first written in this tree."""
        known = dict.fromkeys(node.answer for node in tree.nodes if node.answer is not None)
        if answer is None or answer in known:
            return answer
        task = self.sampler.task.member(tree.problem)
        return next((form for form in known if task.same_answer(tree.problem, form, answer)), answer)

    def _score(self, complete: Sequence[Growing]) -> None:
        """Scores for the steps that ended in these rounds."""
        ended = [(growing.tree, node) for growing in complete for node in growing.round if node.ends]
        if self.scorer is None or not ended:
            return
        paths = [self.path(tree, node) for tree, node in ended]
        before = self.scorer.tokens
        scores = self.scorer.score(paths)
        lengths = [len(path.prompt_ids) + len(path.token_ids) for path in paths]
        read = largest_remainder(self.scorer.tokens - before, lengths)
        for (tree, node), path, own, tokens in zip(ended, paths, scores, read, strict=True):
            if len(own) != len(path.ends) or not all(0 <= score <= 1 for score in own):
                raise DataError(
                    f"the scorer gave {own} for {len(path.ends)} steps",
                    where=f"{tree.problem.id}, node {node.id}",
                    why="Every step needs a number in [0, 1]",
                )
            node.scores, node.scored = own[-len(node.ends) :], tokens

    def _response(self, node: Node) -> str:
        """The text of a node's path, without special tokens."""
        return response_text(node.path_ids(), self.sampler.tokenizer)

    def _decode(self, ids: Sequence[int]) -> str:
        """The text of tokens, special ones included."""
        tokenizer = self.sampler.tokenizer
        return str(tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))
