"""What an operation of a curation is: rows in, rows out, and a reason for every row that does not come out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from reckon.core.config import Strict
from reckon.core.seeds import seed_for
from reckon.core.store import Row
from reckon.rewards.rules import Script, target_script

AnyScript = Script | Literal["prompt"]
"""A script, or that of each row's question."""


@dataclass(frozen=True)
class Dropped:
    """A row that an operation dropped.

    Attributes:
        why: one of a few phrases, so that they can be counted.
        match: what the row was too much like, where that is the reason.
    """

    row: Row
    why: str
    match: str | None = None


@dataclass(frozen=True)
class Sifted:
    """What an operation made of its rows, in their order."""

    kept: list[Row]
    dropped: list[Dropped]


class Operation(Strict, ABC):
    """One step of a curation: a function of its settings, the rows and a seed.

    Row ids are unique; random choices hang on them and not on the order of the rows.
    """

    @property
    def needs(self) -> tuple[str, ...]:
        """Columns without which a row cannot be judged; a row where one is null is dropped for that."""
        return ()

    @property
    def scope(self) -> tuple[str, ...]:
        """Kinds of tasks whose rows the operation looks at, letting all others pass; () looks at every row."""
        return ()

    def apply(self, rows: Sequence[Row], seed: int) -> Sifted:
        """Keep or drop every row; the kept ones may be rewritten."""
        inside = [row for row in rows if not self.scope or row["task"] in self.scope]
        incomplete = [
            Dropped(row, f"no {column}")
            for row in inside
            if (column := next((column for column in self.needs if row.get(column) is None), None))
        ]
        without = {drop.row["id"] for drop in incomplete}
        sifted = self.sift([row for row in inside if row["id"] not in without], seed)
        if self.scope:
            place = {row["id"]: number for number, row in enumerate(rows)}
            passing = [row for row in rows if row["task"] not in self.scope]
            sifted = Sifted(sorted(passing + sifted.kept, key=lambda row: place[row["id"]]), sifted.dropped)
        return Sifted(sifted.kept, incomplete + sifted.dropped)

    @abstractmethod
    def sift(self, rows: list[Row], seed: int) -> Sifted:
        """:meth:`apply` for rows that have all that is needed."""


class Scoped(Operation):
    """An operation that may be limited to some tasks.

    Attributes:
        tasks: kinds of tasks whose rows it looks at; all others pass. Empty: every row.
    """

    tasks: tuple[str, ...] = ()

    @property
    def scope(self) -> tuple[str, ...]:
        return self.tasks


class Filter(Scoped):
    """An operation that looks at one row at a time."""

    @abstractmethod
    def fault(self, row: Row) -> str | None:
        """Why the row is dropped; None keeps it."""

    def sift(self, rows: list[Row], seed: int) -> Sifted:
        faults = [(row, self.fault(row)) for row in rows]
        return Sifted([row for row, why in faults if why is None], [Dropped(row, why) for row, why in faults if why])


def by_problem(rows: Iterable[Row]) -> dict[tuple[str, str], list[Row]]:
    """The rows of each problem of each task, in their order."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["task"], row["problem"]), []).append(row)
    return groups


def shuffled(rows: Iterable[Row], seed: int, purpose: str) -> list[Row]:
    """The rows in an order that is a function of seed, purpose and their ids alone."""
    return sorted(rows, key=lambda row: seed_for(seed, "curate", purpose, row["id"]))


def keeping(rows: Sequence[Row], chosen: Iterable[Row], why: str) -> Sifted:
    """The chosen ones of the rows, in the order of the rows; the others are dropped for one reason."""
    ids = {row["id"] for row in chosen}
    return Sifted(
        [row for row in rows if row["id"] in ids], [Dropped(row, why) for row in rows if row["id"] not in ids]
    )


def script_of(script: AnyScript, row: Row) -> Script:
    """The script that a row's thinking should be in."""
    return target_script(str(row["question"])) if script == "prompt" else script


def is_right(row: dict[str, Any]) -> bool:
    """Whether the row's score is that of a right answer."""
    return bool(row["score"] >= 1)
