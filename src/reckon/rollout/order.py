"""Which problems a step asks: epochs that are shuffles, from which solved problems can be taken out."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, zip_longest
from typing import Any, Protocol

from reckon.core.errors import DataError
from reckon.core.records import Problem
from reckon.core.seeds import seed_for
from reckon.tasks.base import Task
from reckon.tasks.mix import MixTask


class Order(Protocol):
    """Which problems each step asks. Where problems leave, steps must come one after the other."""

    def at(self, step: int, count: int) -> list[Problem]:
        """The problems of step ``step`` (1-based): ``count`` different ones, or all if there are fewer."""

    def queue(self, step: int, count: int) -> Iterator[Problem]:
        """The problems of :meth:`at`, then all others, in a shuffle of the step's own."""

    def leave(self, ids: Iterable[str]) -> None:
        """Take these problems out from the next epoch on. If that leaves fewer than a step asks for, all return."""

    def save(self) -> dict[str, Any]:
        """Its history, as JSON-ready data."""

    def load(self, saved: dict[str, Any]) -> None:
        """Continue from what :meth:`save` gave."""


def order_of(task: Task, seed: int, steps: int) -> Order:
    """The order in which a stage of ``steps`` steps asks the task's training problems. Raises DataError for none."""
    return MixedOrder(task, seed, steps) if isinstance(task, MixTask) else ProblemOrder(task.problems("train"), seed)


class ProblemOrder(Order):
    """Problems by step. An epoch is a shuffle that is a function of (seed, epoch), less the problems that have left.

    It is as many whole steps as its problems fill; what is left over has its turn in another epoch's shuffle. While no
    problem leaves, the problems of a step are a function of (seed, step) and need no history.
    """

    def __init__(self, problems: Sequence[Problem], seed: int) -> None:
        if not len(problems):
            raise DataError("the task has no training problems", fix="Check the task's path and its settings")
        self._problems, self._seed = problems, seed
        self._epoch, self._first = 0, 1  # the epoch of the last step asked for, and the step that began it
        self._gone, self._leaving = set[str](), set[str]()
        self._shuffle: tuple[int, list[Problem]] = (-1, [])

    def at(self, step: int, count: int) -> list[Problem]:
        epochs, place = divmod(step - self._first, max(1, (len(self._problems) - len(self._gone)) // count))
        if epochs > 0 and self._leaving:
            self._gone |= self._leaving
            self._leaving = set()
            if len(self._problems) - len(self._gone) < count:
                self._gone = set()
        self._epoch, self._first = self._epoch + epochs, step - place
        if self._shuffle[0] != self._epoch:
            self._shuffle = self._epoch, self._shuffled("order", self._epoch)
        return self._shuffle[1][place * count : (place + 1) * count]

    def queue(self, step: int, count: int) -> Iterator[Problem]:
        first = self.at(step, count)
        yield from first
        asked = {problem.id for problem in first}
        yield from (problem for problem in self.refill(step) if problem.id not in asked)

    def refill(self, step: int) -> list[Problem]:
        """All problems that have not left, in a shuffle of the step's own."""
        return self._shuffled("refill", step)

    def leave(self, ids: Iterable[str]) -> None:
        self._leaving |= set(ids) & {problem.id for problem in self._problems}

    def save(self) -> dict[str, Any]:
        gone, leaving = sorted(self._gone), sorted(self._leaving)
        return {"epoch": self._epoch, "first": self._first, "gone": gone, "leaving": leaving}

    def load(self, saved: dict[str, Any]) -> None:
        self._epoch, self._first = saved["epoch"], saved["first"]
        self._gone, self._leaving = set(saved["gone"]), set(saved["leaving"])
        self._shuffle = (-1, [])

    def _shuffled(self, *purpose: str | int) -> list[Problem]:
        order = list(range(len(self._problems)))
        random.Random(seed_for(self._seed, *purpose)).shuffle(order)
        problems = (self._problems[index] for index in order)
        return [problem for problem in problems if problem.id not in self._gone]


class MixedOrder(Order):
    """The problems of a mix by step: of each part that has begun its share, each in an order of its own."""

    def __init__(self, task: MixTask, seed: int, steps: int) -> None:
        self._parts, self._steps = task.config.parts, steps
        self._orders = [
            ProblemOrder(member.problems("train"), seed_for(seed, "part", index))
            for index, member in enumerate(task.members)
        ]

    def at(self, step: int, count: int) -> list[Problem]:
        counts = self._counts(step, count)
        return [p for order, own in zip(self._orders, counts, strict=True) if own for p in order.at(step, own)]

    def queue(self, step: int, count: int) -> Iterator[Problem]:
        first = self.at(step, count)
        yield from first
        asked = {problem.id for problem in first}
        begun = [order for order, own in zip(self._orders, self._counts(step, count), strict=True) if own]
        turns = chain.from_iterable(zip_longest(*(order.refill(step) for order in begun)))
        yield from (problem for problem in turns if problem is not None and problem.id not in asked)

    def leave(self, ids: Iterable[str]) -> None:
        leaving = list(ids)
        for order in self._orders:
            order.leave(leaving)

    def save(self) -> dict[str, Any]:
        return {"parts": [order.save() for order in self._orders]}

    def load(self, saved: dict[str, Any]) -> None:
        for order, own in zip(self._orders, saved["parts"], strict=True):
            order.load(own)

    def _counts(self, step: int, count: int) -> list[int]:
        """How many of ``count`` problems each part asks: its share, rounded so that they add up (largest remainder)."""
        shares = [part.share if step > part.begin * self._steps else 0.0 for part in self._parts]
        exact = [count * share / sum(shares) for share in shares]
        counts = [int(each) for each in exact]
        by_remainder = sorted(range(len(exact)), key=lambda part: counts[part] - exact[part])
        for part in by_remainder[: count - sum(counts)]:
            counts[part] += 1
        return counts
