"""Operations on the whole set: shares of its parts, and its size."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from reckon.core.store import Row
from reckon.data.curate.base import Dropped, Operation, Sifted, keeping, shuffled


class Mix(Operation):
    """Parts in given proportions, e.g. three rows of reasoning to one of general data, by taking fewer of the others.

    The part of which there is least, for its share, stays whole; of the others rows are chosen at random. If a part has
    no rows, no number of others is in proportion to it, and none is left.

    Attributes:
        by: the column that names a row's part.
        shares: of every part that is wanted, in relation to each other; rows of other parts are dropped.
    """

    kind: Literal["mix"] = "mix"
    by: Literal["task", "source"] = "source"
    shares: dict[str, Annotated[float, Field(gt=0)]] = Field(min_length=1)

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.by,)

    def sift(self, rows: list[Row], seed: int) -> Sifted:
        parts: dict[str, list[Row]] = {name: [] for name in self.shares}
        for row in rows:
            parts.setdefault(row[self.by], []).append(row)
        empty = next((name for name in self.shares if not parts[name]), None)
        if empty is not None:
            return Sifted([], [Dropped(row, f"no {empty} to mix it with") for row in rows])
        unit = min(len(parts[name]) / share for name, share in self.shares.items())
        sifted = Sifted([], [])
        for name, part in parts.items():
            if name in self.shares:
                count = max(1, round(unit * self.shares[name]))
                taken = keeping(part, shuffled(part, seed, self.kind)[:count], "more than its share")
                sifted.kept.extend(taken.kept)
                sifted.dropped.extend(taken.dropped)
            else:
                sifted.dropped.extend(Dropped(row, "not in the mix") for row in part)
        place = {row["id"]: number for number, row in enumerate(rows)}
        return Sifted(sorted(sifted.kept, key=lambda row: place[row["id"]]), sifted.dropped)


class Limit(Operation):
    """At most ``rows`` rows in all, chosen at random."""

    kind: Literal["limit"] = "limit"
    rows: int = Field(ge=1)

    def sift(self, rows: list[Row], seed: int) -> Sifted:
        return keeping(rows, shuffled(rows, seed, self.kind)[: self.rows], "over the limit")
