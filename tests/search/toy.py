"""A language model in a page: letters for tokens, and a function that says what comes next."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from reckon.core.records import Problem, Verdict
from reckon.core.seeds import seed_for
from reckon.engine.base import Completion, Engine, Request, Sampling
from reckon.models.steps import StepRule
from reckon.models.template import PromptTemplate
from reckon.rollout.sample import Sampler
from reckon.search.base import Method, Path, StepScorer, Tree
from reckon.search.searcher import Searcher
from reckon.tasks.base import Task

END = "\0"
STEPS = StepRule(separators=(";",))
PROMPT = "Q: {question} A:"

Policy = Callable[[str, random.Random], str]
"""From the prompt and what was written to the next piece of text; ``END`` ends the response."""


class Letters:
    """A tokenizer: a token is a code point, and 0 ends a text."""

    chat_template = None

    def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
        return {"input_ids": [ord(letter) for letter in text]}

    def decode(self, ids: Sequence[int], skip_special_tokens: bool, clean_up_tokenization_spaces: bool) -> str:
        return "".join(chr(id_) for id_ in ids if id_ or not skip_special_tokens)


class ToyEngine(Engine):
    """Writes what a policy says. A piece depends on the request's seed and how far it is, not on its batch mates.

    Args:
        max_running: requests at a time, the others wait.
        max_context: tokens of prompt and response.
    """

    def __init__(self, policy: Policy, max_running: int = 1000, max_context: int = 100_000) -> None:
        self.version, self.policy, self.max_running, self.max_context = 0, policy, max_running, max_context
        self.sampled = 0
        self.requests: list[Request] = []
        self.cancelled: list[int] = []
        self._running: list[tuple[Request, Completion]] = []
        self._pieces: dict[int, str] = {}

    def submit(self, requests: Sequence[Request]) -> None:
        assert all(request.sampling.max_new_tokens > 0 for request in requests)
        assert all(len(one.prompt_ids) + one.sampling.max_new_tokens <= self.max_context for one in requests)
        self.requests += requests
        self._running += [(request, Completion(request.id)) for request in requests]
        self._pieces |= {request.id: "" for request in requests}

    def poll(self) -> list[Completion]:
        ended = {one.id: one for request, one in self._running[: self.max_running] if self._next(request, one)}
        self._running = [one for one in self._running if one[0].id not in ended]
        return list(ended.values())

    def cancel(self, ids: Sequence[int]) -> list[Completion]:
        self.cancelled += ids
        self._running = [one for one in self._running if one[0].id not in ids]
        return []

    def score(self, prompts: Any, responses: Any, temperature: float = 1.0) -> list[list[float]]:
        raise AssertionError("no search asks for this")

    def _next(self, request: Request, completion: Completion) -> bool:
        """Whether the next token ends the request."""
        said = completion.token_ids
        piece = self._pieces[request.id]
        if not piece:
            text = "".join(map(chr, [*request.prompt_ids, *said]))
            piece = self.policy(text, random.Random(seed_for(request.seed, len(said))))
        said.append(ord(piece[0]))
        completion.logp.append(-0.5)
        self._pieces[request.id] = piece[1:]
        self.sampled += 1
        tail = "".join(map(chr, said[-max(map(len, request.sampling.stop), default=0) :]))
        stopped = said[-1] in request.sampling.stop_ids or tail.endswith(request.sampling.stop)
        completion.finish = "stop" if stopped else "length"
        return stopped or len(said) == request.sampling.max_new_tokens


class Guess(Task):
    """The answer is what stands between ``=`` and the end, and right if it is the gold."""

    kind = "guess"

    def problems(self, split: str) -> list[Problem]:
        return [problem(number) for number in range(4)]

    def verify(self, problem: Problem, response: str) -> Verdict:
        _, said, answer = response.rpartition("=")
        return Verdict(float(answer == problem.gold), "", answer) if said else Verdict(0.0, "no answer")


class Scored(StepScorer):
    """Scores by the text up to each step's end; reads every letter of prompt and response."""

    def __init__(self, rule: Callable[[str], float]) -> None:
        self.tokens, self.rule = 0, rule
        self.calls: list[int] = []

    def score(self, paths: Sequence[Path]) -> list[list[float]]:
        self.calls.append(len(paths))
        self.tokens += sum(len(path.prompt_ids) + len(path.token_ids) for path in paths)
        return [[self.rule("".join(map(chr, path.token_ids[:end]))) for end in path.ends] for path in paths]


def problem(number: int = 0, gold: Any = "a") -> Problem:
    return Problem(f"p{number}", f"q{number}?", gold)


def searcher(
    method: Method, engine: Engine, scorer: StepScorer | None = None, task: Task | None = None, most: int = 60
) -> Searcher:
    sampling = Sampling(max_new_tokens=most, stop_ids=(0,))
    sampler = Sampler(task or Guess(), engine, Letters(), PromptTemplate(PROMPT), sampling)
    return Searcher(sampler, method, scorer, STEPS)


def grown(
    method: Method,
    policy: Policy,
    budget: int,
    rule: Callable[[str], float] | None = None,
    most: int = 60,
    asked: Problem | None = None,
    task: Task | None = None,
    seed: int = 0,
) -> Tree:
    """The tree that a method grows with a policy and a rule of scoring."""
    search = searcher(method, ToyEngine(policy), Scored(rule) if rule else None, task, most)
    tree = search.plant(asked or problem(), budget, seed)
    search.grow([tree])
    return tree


def texts(tree: Tree) -> list[str]:
    """The responses that were finished, without the sign that ends them."""
    return ["".join(map(chr, node.path_ids())).removesuffix(END) for node in tree.finished()]
