"""Which problems a step asks: epochs that are shuffles, from which solved problems can be taken out."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from reckon.core.errors import DataError
from reckon.core.records import Problem
from reckon.core.seeds import seed_for


class ProblemOrder:
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
        """The problems of step ``step`` (1-based): ``count`` different ones, or all if there are fewer.

        Where problems leave, steps must come one after the other: they leave when a step begins a new epoch.
        """
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
        """The problems of :meth:`at`, then all others, in a shuffle of the step's own."""
        first = self.at(step, count)
        yield from first
        asked = {problem.id for problem in first}
        yield from (problem for problem in self._shuffled("refill", step) if problem.id not in asked)

    def leave(self, ids: Iterable[str]) -> None:
        """Take these problems out from the next epoch on. If that leaves fewer than a step asks for, all return."""
        self._leaving.update(ids)

    def save(self) -> dict[str, Any]:
        """Its history, as JSON-ready data."""
        gone, leaving = sorted(self._gone), sorted(self._leaving)
        return {"epoch": self._epoch, "first": self._first, "gone": gone, "leaving": leaving}

    def load(self, saved: dict[str, Any]) -> None:
        """Continue from what :meth:`save` gave."""
        self._epoch, self._first = saved["epoch"], saved["first"]
        self._gone, self._leaving = set(saved["gone"]), set(saved["leaving"])
        self._shuffle = (-1, [])

    def _shuffled(self, *purpose: str | int) -> list[Problem]:
        order = list(range(len(self._problems)))
        random.Random(seed_for(self._seed, *purpose)).shuffle(order)
        problems = (self._problems[index] for index in order)
        return [problem for problem in problems if problem.id not in self._gone]
