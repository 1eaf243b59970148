"""Growing one tree within its budget, live or from what was recorded.

The rule of the budget: a tree is grown as if its nodes were generated one after another, each with what the budget
then has left, the last one cut off where it ends. They are in fact generated together wherever that comes to the same:
a node is started as soon as the budget has room for the longest that it and all before it can become. So the budget is
never exceeded, nothing depends on timing, and what grows from a smaller budget is the beginning of what grows from a
larger one, which is what :func:`replay` makes use of.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from reckon.core.errors import ConfigError, DataError
from reckon.search.base import Growth, Method, Node, Order, Tree


@dataclass(frozen=True, slots=True)
class Started:
    """A node to be generated now.

    Attributes:
        room: the most tokens that may be sampled for it; the budget cuts it off if ``most`` is more.
        most: the most it could have without a budget.
        first: whether it is the first child of its parent in this round.
    """

    node: Node
    order: Order
    room: int
    most: int
    first: bool


class Growing:
    """One tree and the strategy at work on it: what was asked for, what may start, what is under way.

    Args:
        most: the most tokens that an order can sample if the budget has no end.

    Attributes:
        round: the nodes of the orders that are being served.
        ended: whether the tree is all there.
    """

    def __init__(self, tree: Tree, method: Method, most: Callable[[Order], int]) -> None:
        self.tree = tree
        self.round: list[Node] = []
        self.ended = False
        self._growth: Growth = method.grow(tree)
        self._most = most
        self._waiting: deque[Order] = deque()
        self._reserved: dict[str, int] = {}
        self._left = tree.budget
        self._ask(lambda: next(self._growth))

    def start(self) -> list[Started]:
        """The nodes that may start now, in order; they are in the tree from now on."""
        started: list[Started] = []
        while self._waiting:
            most = self._most(self._waiting[0])
            if self._left == 0 or (most > self._left and self._reserved):
                break
            order, room = self._waiting.popleft(), min(most, self._left)
            first = all(other.parent is not order.parent for other in self.round)
            node = self.tree.attach(order.parent)
            self.round.append(node)
            self._reserved[node.id] = room
            self._left -= room
            started.append(Started(node, order, room, most, first))
        return started

    def fill(self, node: Node) -> None:
        """Take note that a node that was started has its tokens."""
        self._left += self._reserved.pop(node.id) - node.generated

    @property
    def complete(self) -> bool:
        """Whether all nodes of the round are there, as far as the budget goes."""
        return not self._reserved and (not self._waiting or self._left == 0)

    def advance(self) -> None:
        """Hand the complete round, judged and scored, to the strategy, which may ask for more."""
        nodes, self.round = self.round, []
        if self._waiting:
            self._growth.close()
            self.ended = True
        else:
            self._ask(lambda: self._growth.send(nodes))

    def _ask(self, ask: Callable[[], Sequence[Order]]) -> None:
        try:
            self._waiting.extend(ask())
        except StopIteration:
            self.ended = True


RECORDED = (
    "token_ids",
    "logp",
    "text",
    "forced",
    "kept",
    "prompt_ids",
    "ends",
    "finish",
    "scores",
    "verdict",
    "answer",
    "prefill",
    "scored",
)
"""What there is to know of a node beside its place in the tree."""


def replay(record: Tree, method: Method, budget: int) -> Tree:
    """The tree that ``method`` grows from a budget, out of a larger one that it has grown, without the model.

    Raises:
        ConfigError: the budget is larger than the record's, or smaller and the method plans by its budget.
        DataError: the record lacks a node: it was grown by another method or with other settings.
    """
    if budget > record.budget or (budget < record.budget and not method.anytime):
        reason = "has no more than that" if budget > record.budget else "is of a method that plans by its budget"
        raise ConfigError(
            f"cannot tell what a budget of {budget} tokens gives: the record of {record.budget} {reason}",
            where=record.problem.id,
            fix="Search with that budget",
        )
    tree = replace(record, budget=budget, root=replace(record.root, children=[]), nodes=[])
    known = {node.id: node for node in record.nodes}
    growing = Growing(tree, method, lambda order: sys.maxsize)
    while not growing.ended:
        for started in growing.start():
            if started.node.id not in known:
                raise DataError(
                    f"the record has no node {started.node.id}",
                    where=record.problem.id,
                    fix="Replay it with the method and settings that it was made with",
                )
            _copy(known[started.node.id], started.node, started.room)
            growing.fill(started.node)
        if growing.complete:
            growing.advance()
    return tree


def _copy(recorded: Node, node: Node, room: int) -> None:
    """Fill a node from its record, cut off after so many sampled tokens."""
    for name in RECORDED:
        setattr(node, name, getattr(recorded, name))
    if node.generated > room:
        length = node.forced + room
        node.token_ids, node.logp = node.token_ids[:length], node.logp[:length]
        node.text, node.ends, node.scores, node.scored = "", [], [], 0
        node.finish, node.verdict, node.answer = "cancelled", None, None
