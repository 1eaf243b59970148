"""From samples to training data: a list of operations, each of which keeps, drops or rewrites rows.

A row is plain data with at least the text columns ``id`` (unique), ``task``, ``problem``, ``question`` and
``response``. Nothing is dropped without a reason: what goes in comes out or is listed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, Field

from reckon.core.errors import DataError
from reckon.core.store import Row
from reckon.data.curate.base import Dropped
from reckon.data.curate.contamination import Decontaminate
from reckon.data.curate.filters import (
    Correct,
    Finished,
    Format,
    Judged,
    Language,
    Length,
    NoCode,
    Paragraphs,
    Repetition,
    Score,
)
from reckon.data.curate.mixture import Limit, Mix
from reckon.data.curate.preferences import Judgements, Labels, Pairs
from reckon.data.curate.problems import Cap, Dedup, PassRate
from reckon.data.curate.rewrite import DropThinking, Summarise

AnyOperation = Annotated[
    Correct
    | Judged
    | Score
    | Finished
    | Format
    | Language
    | Repetition
    | Length
    | NoCode
    | Paragraphs
    | Dedup
    | Cap
    | PassRate
    | Summarise
    | DropThinking
    | Decontaminate
    | Mix
    | Limit
    | Pairs
    | Labels
    | Judgements,
    Field(discriminator="kind"),
]


def _in_order(operations: tuple[AnyOperation, ...]) -> tuple[AnyOperation, ...]:
    chose = ""
    for number, operation in enumerate(operations, 1):
        if isinstance(operation, Pairs | Labels | Judgements) and number < len(operations):
            raise ValueError(f"{operation.kind} makes rows of another form, so it must be the last operation")
        if isinstance(operation, PassRate) and chose:
            raise ValueError(f"pass_rate must come before {chose}, or it counts what that has left")
        chose = chose or (operation.kind if isinstance(operation, Correct | Score | Cap | Limit) else "")
    return operations


Operations = Annotated[tuple[AnyOperation, ...], AfterValidator(_in_order)]
"""Operations in the order in which they are applied, as a field of a recipe."""


@dataclass(frozen=True)
class Entry:
    """What one operation did, a line of the ledger.

    ``in_ == out + sum(dropped.values())``, but for ``pairs``, which makes one row of two.

    Attributes:
        operation: its kind.
        in_, out: rows before and after.
        dropped: how many rows by reason, the most frequent first.
    """

    operation: str
    in_: int
    out: int
    dropped: dict[str, int]


@dataclass(frozen=True)
class Curated:
    """The rows that are left, all that are not, each with the operation that dropped it, and the ledger."""

    rows: list[Row]
    dropped: list[tuple[str, Dropped]]
    ledger: list[Entry]


def apply(rows: Sequence[Row], operations: Sequence[AnyOperation], seed: int) -> Curated:
    """Apply the operations one after the other, as long as there are rows.

    Raises:
        DataError: no row has a column that an operation needs, or is of a task that it names; or an operation cannot
            read what it compares with.
    """
    tasks = {row["task"] for row in rows}
    left, dropped, ledger = list(rows), list[tuple[str, Dropped]](), list[Entry]()
    for operation in operations:
        if not left:
            break
        _check(operation, left, tasks)
        sifted = operation.apply(left, seed)
        reasons = Counter(drop.why for drop in sifted.dropped)
        ledger.append(Entry(operation.kind, len(left), len(sifted.kept), dict(reasons.most_common())))
        dropped += [(operation.kind, drop) for drop in sifted.dropped]
        left = sifted.kept
    return Curated(left, dropped, ledger)


def _check(operation: AnyOperation, rows: Sequence[Row], tasks: set[str]) -> None:
    columns = {name for row in rows for name in row}
    missing = [name for name in operation.needs if name not in columns]
    if missing:
        raise DataError(
            f"{operation.kind} needs the column {missing[0]!r}; the rows have {', '.join(sorted(columns))}",
            where="curation",
            fix="Curate files that `reckon` sampled, or leave the operation out",
        )
    unknown = [task for task in operation.scope if task not in tasks]
    if unknown:
        raise DataError(
            f"{operation.kind} is for the task {unknown[0]!r}, of which there are no rows; "
            f"there are rows of {', '.join(sorted(tasks))}",
            where="curation",
            fix="Name tasks by their kind, as in the column 'task'",
        )
