"""What searches were worth at every budget: accuracy against tokens, from recorded trees and without a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reckon.core.errors import DataError
from reckon.evals.metrics import Estimate, clustered, passes
from reckon.search.base import Method, Node, Rule, Tree
from reckon.search.choose import choose
from reckon.search.grow import replay
from reckon.search.sampler import cost

Floats = NDArray[np.float64]

RULES: tuple[Rule, ...] = ("vote", "weighted", "best")
HALVINGS = 4
"""A record is replayed with its budget, half of it, and so on, this often."""


@dataclass(frozen=True)
class Searched:
    """Searches of one method with one budget: trees by run, every run on the same problems in the same order.

    Runs differ by a seed: that of the model's training, or that of the search.

    Raises:
        DataError: the runs are not of the same problems.
    """

    label: str
    method: Method
    runs: Sequence[Sequence[Tree]]

    def __post_init__(self) -> None:
        if not self.problems or any([tree.problem.id for tree in run] != self.problems for run in self.runs):
            raise _other_problems(self.label)

    @property
    def problems(self) -> list[str]:
        """The ids of the problems."""
        return [tree.problem.id for tree in self.runs[0]]

    def budgets(self) -> list[int]:
        """The budgets that the record can tell of, in ascending order."""
        largest = min(tree.budget for run in self.runs for tree in run)
        halvings = HALVINGS if self.method.anytime else 0
        return sorted({max(1, largest >> halving) for halving in range(halvings + 1)})

    def at(self, budget: int) -> Point:
        """What the searches give with a budget."""
        trees = [[replay(tree, self.method, budget) for tree in run] for run in self.runs]
        costs = [cost(tree) for run in trees for tree in run]
        scored = any(node.scores for run in self.runs for tree in run for node in tree.nodes)
        return Point(
            budget=budget,
            right={rule: self._right(trees, rule) for rule in (RULES if scored else RULES[:1])},
            possible=_table(trees, lambda tree: any(map(_passes, tree.finished()))),
            unanswered=float(_table(trees, lambda tree: not tree.finished()).mean()),
            tokens={name: float(np.mean([each[name] for each in costs])) for name in costs[0]},
        )

    def _right(self, trees: Sequence[Sequence[Tree]], rule: Rule) -> Floats:
        def right(tree: Tree) -> bool:
            node = choose(tree, rule, self.method.aggregate)
            return node is not None and _passes(node)

        return _table(trees, right)


@dataclass(frozen=True)
class Point:
    """What searches gave with a budget. Shapes: R runs, P problems.

    Attributes:
        right: by rule of choice, [R, P]: whether the response chosen is right.
        possible: [R, P]: whether any finished response is, the most that any choice could give.
        unanswered: the share without a finished response, which counts as wrong.
        tokens: means over searches of what :func:`reckon.search.sampler.cost` counts.
    """

    budget: int
    right: Mapping[Rule, Floats]
    possible: Floats
    unanswered: float
    tokens: Mapping[str, float]


def curves(searches: Sequence[Searched]) -> dict[str, Any]:
    """Everything the table and the figure show, as JSON-ready data.

    ``methods`` has for each label its points in ascending order of budget, and the seconds by the clock that a problem
    took with the largest; ``best`` what one gets by the best method
    for each budget, each half of the problems using what was best on the other: the maximum over methods on the same
    problems would be too good. Methods with an oracle's scores take no part in it.

    Raises:
        DataError: the searches are not of the same problems.
    """
    if any(search.problems != searches[0].problems for search in searches):
        raise _other_problems(searches[0].label)
    points: dict[str, dict[int, Point]] = {}
    rules: dict[str, Rule] = {}
    seconds: dict[str, float] = {}
    for search in searches:
        points.setdefault(search.label, {}).update({budget: search.at(budget) for budget in search.budgets()})
        rules[search.label] = search.method.choose
        seconds[search.label] = float(np.mean([tree.seconds for run in search.runs for tree in run]))
    return {
        "problems": len(searches[0].problems),
        "runs": max(len(search.runs) for search in searches),
        "methods": {
            label: {
                "choose": rules[label],
                "seconds": seconds[label],
                "points": [_row(own[budget], rules[label]) for budget in sorted(own)],
            }
            for label, own in points.items()
        },
        "best": _best({label: own for label, own in points.items() if "oracle" not in label}, rules),
    }


def _row(point: Point, rule: Rule) -> dict[str, Any]:
    own = point.right[rule]
    return {
        "budget": point.budget,
        **point.tokens,
        "unanswered": point.unanswered,
        "accuracy": asdict(estimate(own)),
        "runs": own.mean(1).tolist(),
        "by_rule": {rule: float(right.mean()) for rule, right in point.right.items()},
        "possible": float(point.possible.mean()),
    }


def estimate(right_RP: Floats) -> Estimate:
    """Mean over runs and problems with the 95% interval for other problems of :func:`reckon.evals.metrics.clustered`.

    It says nothing of other runs, whose spread the runs' own means show.
    """
    runs, problems = right_RP.shape
    return clustered(right_RP.mean(0), np.full(problems, float(runs)))


def _best(points: Mapping[str, Mapping[int, Point]], rules: Mapping[str, Rule]) -> list[dict[str, Any]]:
    """The best method of each budget that several have, chosen on the other half of the problems."""
    found = []
    for budget in sorted({budget for own in points.values() for budget in own}):
        right = {label: own[budget].right[rules[label]] for label, own in points.items() if budget in own}
        if len(right) < 2:
            continue
        first = np.arange(next(iter(right.values())).shape[1]) % 2 == 0
        chosen = [_highest(right, half) for half in (~first, first)]
        mixed = np.where(first, right[chosen[0]], right[chosen[1]])
        found.append({"budget": budget, "accuracy": asdict(estimate(mixed)), "chosen": chosen})
    return found


def _highest(right: Mapping[str, Floats], problems: NDArray[np.bool_]) -> str:
    """The label with the highest accuracy on some problems, the first of equals."""
    return max(right, key=lambda label: float(right[label][:, problems].mean()))


def _table(trees: Sequence[Sequence[Tree]], says: Callable[[Tree], bool]) -> Floats:
    return np.array([[says(tree) for tree in run] for run in trees], dtype=np.float64)


def _passes(node: Node) -> bool:
    return node.verdict is not None and passes(node.verdict)


def _other_problems(label: str) -> DataError:
    return DataError(
        "the searches are not of the same problems",
        where=label,
        why="Their difference would be one of questions too",
        fix="Search with the same task, split and number of problems",
    )
