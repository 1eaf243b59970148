"""From the finished responses of a tree to the one that is the answer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

from reckon.search.base import Aggregate, Node, Rule, Tree


def aggregated(scores: Sequence[float], aggregate: Aggregate) -> float:
    """The scores of a path's steps as one number in [0, 1]; 0 where there are none.

    Which way is best depends on how the scorer was trained: Math-Shepherd took the least (arXiv 2312.08935), Snell et
    al. the last (arXiv 2408.03314).
    """
    if not scores:
        return 0.0
    if aggregate == "last":
        return scores[-1]
    if aggregate == "min":
        return min(scores)
    return math.prod(scores) if aggregate == "prod" else fmean(scores)


def value(node: Node, aggregate: Aggregate) -> float:
    """What the path that ends with a node is ranked by."""
    return aggregated(node.path_scores(), aggregate)


def choose(tree: Tree, rule: Rule, aggregate: Aggregate) -> Node | None:
    """The end of the response chosen; None if no response was finished.

    - ``vote``: of the most frequent answer (self-consistency, arXiv 2203.11171);
    - ``weighted``: of the answer with the largest sum of scores (weighted best-of-n, arXiv 2206.02336);
    - ``best``: the response with the highest score (best-of-n).

    Responses without an answer have no say unless none has one. Of equal answers the response with the highest score
    is given, and every tie goes to what was found first.
    """
    finished = tree.finished()
    candidates = [node for node in finished if node.answer is not None] or finished
    if not candidates:
        return None
    values = {node.id: value(node, aggregate) for node in candidates}
    if rule != "best":
        groups: dict[str, list[Node]] = {}
        for node in candidates:
            groups.setdefault(node.id if node.answer is None else f"={node.answer}", []).append(node)
        weight = {name: _weight([values[node.id] for node in group], rule) for name, group in groups.items()}
        candidates = groups[max(groups, key=weight.__getitem__)]
    return max(candidates, key=lambda node: values[node.id])


def _weight(values: Sequence[float], rule: Rule) -> float:
    return len(values) if rule == "vote" else math.fsum(values)
