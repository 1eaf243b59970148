"""Whole responses, each sampled on its own: the base that every search has to beat, and often does not."""

from __future__ import annotations

from reckon.search.base import Growth, Method, Order, Rule, Tree

_ROUND = 64
"""Responses asked for at a time. A response depends on its number and the budget alone, so this changes no result."""


class _Independent(Method):
    ranks = False

    def grow(self, tree: Tree) -> Growth:
        while True:
            yield [Order(tree.root, whole=True)] * _ROUND


class Vote(_Independent):
    """Self-consistency (Wang et al., arXiv 2203.11171): the most frequent answer."""

    kind = "vote"

    choose: Rule = "vote"


class WeightedVote(_Independent):
    """The answer with the largest sum of scores (Li et al., arXiv 2206.02336): weighted best-of-n."""

    kind = "weighted-vote"

    choose: Rule = "weighted"


class BestOfN(_Independent):
    """The response with the highest score."""

    kind = "best-of-n"

    choose: Rule = "best"
