"""What a search grows: a tree of steps, whose paths from the root are (partial) responses to one problem.

A step is a stretch of a response that ends where the step rule says (:class:`reckon.models.steps.StepRule`), or all
that was left of a response. Every node is kept with its tokens, so that smaller budgets and other ways to choose an
answer can be worked out later without the model.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Protocol

from reckon.core.config import Strict
from reckon.core.records import FinishReason, Problem, Verdict

Aggregate = Literal["last", "min", "prod", "mean"]
"""How the scores of a path's steps become one: the last, the least, their product, their mean."""

Rule = Literal["vote", "weighted", "best"]
"""How one of the finished responses is chosen; see :mod:`reckon.search.choose`."""


@dataclass(frozen=True, slots=True)
class Path:
    """One (partial) response to a problem, as scorers see it.

    Attributes:
        prompt_ids: what the model was shown.
        token_ids: of the response.
        text: of the response, without special tokens.
        ends: the token counts at which its steps end, ascending; the last one is all of it.
        finish: why the response ended; None while it can be continued.
        logp: of each token (nats) at the sampling temperature; 0 for those that were put there and not sampled.
        scores: one number in [0, 1] per step end, as far as they have been scored.
        verdict: of a finished response, once it was judged.
    """

    problem: Problem
    prompt_ids: Sequence[int]
    token_ids: Sequence[int]
    text: str
    ends: Sequence[int]
    finish: FinishReason | None = None
    logp: Sequence[float] = ()
    scores: Sequence[float] = ()
    verdict: Verdict | None = None

    @property
    def finished(self) -> bool:
        """Whether this is a whole response."""
        return self.finish in ("stop", "length")


class StepScorer(Protocol):
    """What says how promising a (partial) response is: a process reward model, a rule, an oracle.

    Attributes:
        tokens: how many tokens it has read so far, over all calls.
    """

    tokens: int

    def score(self, paths: Sequence[Path]) -> list[list[float]]:
        """For each path one number in [0, 1] per step end; each depends on its own path alone."""


@dataclass(slots=True)
class Node:
    """A step, and with its ancestors the path that ends with it.

    Attributes:
        id: the numbers of the children taken from the root on, such as ``3.0.1``; the root's is empty. The tokens' seed
            is a hash of it and of the tree's, so they depend on no other node but the ancestors.
        token_ids: its own; the first ``forced`` were put there, the others sampled.
        logp: of each of them (nats); 0 for a forced one.
        text: of them, special tokens included; empty where :func:`reckon.search.grow.replay` cut them off.
        kept: how many tokens of its parent's path it goes on from: all, unless some were taken back.
        prompt_ids: what the model was shown, where that was not the problem's own prompt.
        ends: token counts of the path at which this node's steps end; ``scores`` has one number for each, or none.
        finish: None if a step ended here that can be continued; ``cancelled`` if the budget ended in mid-step.
        verdict, answer: of a finished response; equal answers (by the task's reading) are the same string.
        prefill: prompt and response tokens to be read before its own, counted once for siblings of one round.
        scored: tokens that the scorer read for it.
    """

    id: str
    parent: Node | None
    token_ids: list[int] = field(default_factory=list)
    logp: list[float] = field(default_factory=list)
    text: str = ""
    forced: int = 0
    kept: int = 0
    prompt_ids: list[int] | None = None
    ends: list[int] = field(default_factory=list)
    finish: FinishReason | None = None
    scores: list[float] = field(default_factory=list)
    verdict: Verdict | None = None
    answer: str | None = None
    prefill: int = 0
    scored: int = 0
    children: list[Node] = field(default_factory=list, repr=False)

    @property
    def generated(self) -> int:
        """Tokens sampled for this node."""
        return len(self.token_ids) - self.forced

    @property
    def finished(self) -> bool:
        """Whether its path is a whole response."""
        return self.finish in ("stop", "length")

    @property
    def open(self) -> bool:
        """Whether its path can be continued."""
        return self.finish is None

    @property
    def length(self) -> int:
        """Response tokens of its path."""
        return self.kept + len(self.token_ids)

    def lineage(self) -> list[Node]:
        """Its ancestors from the root's child on, and itself."""
        nodes: list[Node] = []
        node = self
        while node.parent is not None:
            nodes.append(node)
            node = node.parent
        return nodes[::-1]

    def path_ids(self) -> list[int]:
        """The response tokens of its path."""
        ids: list[int] = []
        for node in self.lineage():
            ids[node.kept :] = node.token_ids
        return ids

    def path_logp(self) -> list[float]:
        """The log-probability of each of them."""
        logp: list[float] = []
        for node in self.lineage():
            logp[node.kept :] = node.logp
        return logp

    def path_sampled(self) -> list[bool]:
        """Whether each of them was sampled."""
        sampled: list[bool] = []
        for node in self.lineage():
            sampled[node.kept :] = [False] * node.forced + [True] * node.generated
        return sampled

    def path_ends(self) -> list[int]:
        """The step ends of its path; a step that was taken back in part has none."""
        ends: list[int] = []
        for node in self.lineage():
            ends = [end for end in ends if end <= node.kept] + node.ends
        return ends

    def path_scores(self) -> list[float]:
        """The scores of those steps."""
        scores: dict[int, float] = {}
        for node in self.lineage():
            scores = {end: score for end, score in scores.items() if end <= node.kept}
            scores |= zip(node.ends, node.scores, strict=False)
        return list(scores.values())


@dataclass(frozen=True, slots=True)
class Order:
    """What a strategy asks for: one more child of a node.

    Attributes:
        whole: sampled to the end of the response rather than of the step.
        until: texts that end it as well.
        limit: the most response tokens its path may have.
        without: this text, which the parent ends with, is taken back first, with whatever shares a token with it.
        forced: this text is put there before anything is sampled.
        attempts: whole responses to show as earlier answers before the question is asked again, as ``question`` where
            that is given: the latest that fit into half of the context, which is then the limit; where none fits, the
            problem's own prompt is shown. The parent is the root.
    """

    parent: Node
    whole: bool = False
    until: tuple[str, ...] = ()
    limit: int | None = None
    without: str = ""
    forced: str = ""
    attempts: tuple[Node, ...] = ()
    question: str = ""


@dataclass(slots=True)
class Tree:
    """All that was generated for one problem.

    Attributes:
        prompt, prompt_ids: the problem as the model is shown it.
        budget: the most tokens that may be generated.
        limit: the most tokens of a response.
        seed: of all sampling.
        seconds: by the clock, a share of what all trees took that were grown side by side.
        nodes: all but the root, in the order in which they were asked for and paid.
    """

    problem: Problem
    prompt: str
    prompt_ids: list[int]
    budget: int
    limit: int
    seed: int
    seconds: float = 0.0
    root: Node = field(default_factory=lambda: Node("", None))
    nodes: list[Node] = field(default_factory=list)

    @property
    def generated(self) -> int:
        """Tokens generated; never more than the budget."""
        return sum(node.generated for node in self.nodes)

    @property
    def left(self) -> int:
        """What is left of the budget."""
        return self.budget - self.generated

    def finished(self) -> list[Node]:
        """The ends of the whole responses."""
        return [node for node in self.nodes if node.finished]

    def shown(self, node: Node) -> list[int]:
        """The prompt that the path of a node answers."""
        while node.prompt_ids is None and node.parent is not None:
            node = node.parent
        return self.prompt_ids if node.prompt_ids is None else node.prompt_ids

    def attach(self, parent: Node) -> Node:
        """A new node, the last of its parent's children."""
        number = str(len(parent.children))
        node = Node(f"{parent.id}.{number}" if parent.id else number, parent, kept=parent.length)
        parent.children.append(node)
        self.nodes.append(node)
        return node


Growth = Generator[Sequence[Order], list[Node], None]
"""A strategy at work on one tree: it asks for nodes, and is sent them, judged and scored, when all of them are there.

The orders of a round are served and paid in the order given. When the budget ends, so does the growth.
"""


class Method(Strict):
    """A way to search.

    Attributes:
        choose: how one of the finished responses becomes the answer.
        aggregate: how the scores of a path's steps become the one it is ranked by.
    """

    kind: ClassVar[str]
    ranks: ClassVar[bool] = True
    """Whether it looks at scores while it grows the tree."""

    choose: Rule = "weighted"
    aggregate: Aggregate = "last"

    @property
    def needs_scorer(self) -> bool:
        """Whether it cannot do without scores."""
        return self.ranks or self.choose != "vote"

    @property
    def anytime(self) -> bool:
        """Whether it does not look at the budget, so that a search with a smaller one is the beginning of this one."""
        return True

    @abstractmethod
    def grow(self, tree: Tree) -> Growth:
        """Grow a tree. Most methods never have enough, and begin anew until the budget ends."""
