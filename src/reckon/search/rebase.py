"""REBASE: reward-balanced search (Wu et al., arXiv 2408.00724, sec. 3.2)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pydantic import Field

from reckon.search.base import Growth, Method, Order, Tree
from reckon.search.choose import value
from reckon.search.shares import largest_remainder


class Rebase(Method):
    """Every partial response is continued, the better ones more often: a number of samples is shared out at each step.

    ``B`` samples begin. At each step those that ended are taken off B, and the rest is shared among the others by
    ``softmax(score / temperature)``. The paper rounds each share, which does not conserve B; here they are rounded by
    largest remainder. When all have ended, another search begins.

    Attributes:
        width: B at the start.
        temperature: T_b of the paper.
    """

    kind = "rebase"

    width: int = Field(8, ge=1)
    temperature: float = Field(0.2, gt=0)

    def grow(self, tree: Tree) -> Growth:
        while True:
            nodes = yield [Order(tree.root)] * self.width
            while open_ := [node for node in nodes if node.open]:
                scores = [value(node, self.aggregate) for node in open_]
                shares = balanced(len(open_), scores, self.temperature)
                nodes = yield [Order(node) for node, share in zip(open_, shares, strict=True) for _ in range(share)]


def balanced(budget: int, scores: Sequence[float], temperature: float) -> list[int]:
    """How many of ``budget`` samples go on from each node (eq. 1 of the paper): they always sum to ``budget``."""
    top = max(scores)
    return largest_remainder(budget, [math.exp((score - top) / temperature) for score in scores])
