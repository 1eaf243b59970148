"""Monte Carlo tree search over steps, with a scorer in the place of random playouts.

UCT: Kocsis and Szepesvari, "Bandit based Monte-Carlo planning", 2006. PUCT: Silver et al., arXiv 1712.01815.
Progressive widening: Coulom, "Computing Elo ratings of move patterns in the game of Go", 2007.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Literal

from pydantic import Field

from reckon.search.base import Growth, Method, Node, Order, Tree
from reckon.search.choose import value


class Mcts(Method):
    """Go down the tree by the rule, value the step that is reached, and tell every step on the way.

    A step is valued by its score when it is first reached. When it is reached again it is expanded: ``width`` next
    steps are sampled, and one of them is reached. Since they may all be bad, as many more are sampled after
    ``widening * width * e**2`` visits, e counting the expansions so far. A subtree in which all has ended is not
    entered again, since that would neither cost nor teach anything; where that is the whole tree, more first steps are
    sampled.

    Attributes:
        width: next steps sampled at an expansion; duplicates among them count as one.
        widening: how long a step makes do with the next steps it has.
        rule: ``uct`` or ``puct``, whose prior is the steps' likelihood, exp(mean log-prob), normalised over siblings.
        exploration: c of the rule; None: 0.3 for UCT, 1.25 for PUCT. UCB1's sqrt(2) suits playouts that end in 0 or 1;
            scores of siblings lie closer together, and so much exploration then hardly looks at them.
        first_play: PUCT's value of a step that was not reached yet. UCT reaches those first.
    """

    kind = "mcts"

    width: int = Field(4, ge=1)
    widening: float = Field(2.0, ge=0)
    rule: Literal["uct", "puct"] = "uct"
    exploration: float | None = Field(None, ge=0)
    first_play: float = Field(0.0, ge=0, le=1)

    def grow(self, tree: Tree) -> Growth:
        root = Place(tree.root, visits=1)
        while True:
            way = descend(root, self._worth, self._due)
            while way[-1].visits:
                way[-1].expand((yield [Order(way[-1].node)] * self.width))
                way += descend(way[-1], self._worth)[1:]
            back_up(way, value(way[-1].node, self.aggregate))

    def _due(self, place: Place) -> bool:
        """Whether a place is to be expanded when it is reached."""
        return place.visits > 0 and place.visits >= self.widening * self.width * place.expansions**2

    def _worth(self, place: Place, child: Place) -> float:
        if self.rule == "uct":
            c = 0.3 if self.exploration is None else self.exploration
            return uct(child.mean, place.visits, child.visits, c)
        c = 1.25 if self.exploration is None else self.exploration
        mean = child.mean if child.visits else self.first_play
        return puct(mean, child.prior, place.visits, child.visits, c)


def uct(mean: float, parent_visits: int, visits: int, c: float) -> float:
    """Mean value plus ``c sqrt(ln N / n)``; infinite for what was never visited."""
    return mean + c * math.sqrt(math.log(parent_visits) / visits) if visits else math.inf


def puct(mean: float, prior: float, parent_visits: int, visits: int, c: float) -> float:
    """Mean value plus ``c P sqrt(N) / (1 + n)``."""
    return mean + c * prior * math.sqrt(parent_visits) / (1 + visits)


@dataclass(slots=True)
class Place:
    """What the search knows of a node.

    Attributes:
        visits, total: how often the search came by, and the sum of the values it then found.
        expansions: how often its children became more.
        spent: whether nothing is left here to reach.
        children: without duplicates; none before the expansion.
    """

    node: Node
    prior: float = 1.0
    visits: int = 0
    total: float = 0.0
    expansions: int = 0
    spent: bool = False
    children: list[Place] = field(default_factory=list)

    @property
    def mean(self) -> float:
        return self.total / self.visits if self.visits else 0.0

    def expand(self, nodes: Sequence[Node]) -> None:
        """Add children, with priors over all there are."""
        self.expansions += 1
        known = {tuple(child.node.token_ids) for child in self.children}
        for node in nodes:
            if node.generated and tuple(node.token_ids) not in known:
                known.add(tuple(node.token_ids))
                self.children.append(Place(node))
        likelihoods = [math.exp(fmean(child.node.logp)) for child in self.children]
        for child, likelihood in zip(self.children, likelihoods, strict=True):
            child.prior = likelihood / sum(likelihoods)


def descend(
    place: Place, worth: Callable[[Place, Place], float], due: Callable[[Place], bool] = lambda place: False
) -> list[Place]:
    """The way down from a place to one that is due or has no children to go on to.

    It goes to the child worth most, the first of equals, among those that are not spent.
    """
    way = [place]
    while not due(way[-1]) and (choices := [child for child in way[-1].children if not child.spent]):
        way.append(max(choices, key=lambda child: worth(way[-1], child)))
    return way


def back_up(way: Sequence[Place], value: float) -> None:
    """Tell every place on the way of a value found at its end."""
    for place in reversed(way):
        place.visits += 1
        place.total += value
        place.spent = all(child.spent for child in place.children) if place.children else not place.node.open
