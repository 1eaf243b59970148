"""Beam search with a process reward (Snell et al., arXiv 2408.03314, sec. 5.2), and DVTS, the same in several trees."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pydantic import Field

from reckon.search.base import Aggregate, Growth, Method, Node, Order, Tree
from reckon.search.choose import value
from reckon.search.shares import largest_remainder


class Beam(Method):
    """Keep the best ``beams / width`` partial responses and go on from each in ``width`` ways, until all have ended.

    A response that ends leaves its place in the beam, which grows narrower. With a width of 1 nothing is ever dropped:
    that is best-of-n, a step at a time. When the beam is empty, another search begins.

    Attributes:
        beams: N, steps sampled at a time.
        width: M, steps sampled from each partial response that is kept.
    """

    kind = "beam"

    beams: int = Field(8, ge=1)
    width: int = Field(4, ge=1)

    def grow(self, tree: Tree) -> Growth:
        while True:
            kept, places = [tree.root], self.beams
            while kept:
                children = yield _spread(kept, places)
                open_ = [child for child in children if child.open]
                places = len(open_)
                kept = _best(open_, -(-places // self.width), self.aggregate)


class Dvts(Method):
    """Diverse verifier tree search (Beeching, Tunstall and Rush, "Scaling test-time compute with open models", 2024).

    Independent trees, each a greedy search: of ``width`` next steps the best is kept. Beams of one search tend to
    become copies of each other where the budget is large; separate trees cannot. When all have ended, others begin.

    Attributes:
        trees: searched side by side.
        width: steps sampled from each tree's best.
    """

    kind = "dvts"

    trees: int = Field(4, ge=1)
    width: int = Field(4, ge=1)

    def grow(self, tree: Tree) -> Growth:
        while True:
            kept = [tree.root] * self.trees
            while kept:
                children = yield _spread(kept, self.width * len(kept))
                families = [children[start : start + self.width] for start in range(0, len(children), self.width)]
                best = [_best(family, 1, self.aggregate)[0] for family in families]
                kept = [node for node in best if node.open]


def _spread(parents: Sequence[Node], places: int) -> list[Order]:
    """So many orders, spread evenly over the parents."""
    counts = largest_remainder(places, [1.0] * len(parents))
    return [Order(parent) for parent, count in zip(parents, counts, strict=True) for _ in range(count)]


def _best(nodes: Iterable[Node], count: int, aggregate: Aggregate) -> list[Node]:
    """The nodes with the highest values, the first of equal ones first.

    Copies of a step are kept like any others: they are the more samples of what comes after it.
    """
    return sorted(nodes, key=lambda node: value(node, aggregate), reverse=True)[:count]
