"""Operations on all responses to one problem: repeated ones, too many, and problems of the wrong difficulty."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from reckon.core.store import Row
from reckon.data.curate.base import Dropped, Scoped, Sifted, by_problem, is_right, keeping, shuffled


class Dedup(Scoped):
    """Of responses to one problem that differ at most in case and spaces, the first."""

    kind: Literal["dedup"] = "dedup"

    def sift(self, rows: list[Row], seed: int) -> Sifted:
        first: dict[tuple[str, str, str], str] = {}
        sifted = Sifted([], [])
        for row in rows:
            key = (row["task"], row["problem"], " ".join(row["response"].casefold().split()))
            if first.setdefault(key, row["id"]) == row["id"]:
                sifted.kept.append(row)
            else:
                sifted.dropped.append(Dropped(row, "said before", first[key]))
        return sifted


class Cap(Scoped):
    """At most ``max`` responses to each problem.

    Attributes:
        prefer: which stay: ``random`` ones, as short ones would teach to think less, or the ``shortest``, for teaching
            just that (shortest rejection sampling, Kimi k1.5, arXiv 2501.12599, sec. 2.4); the first of equal ones.
    """

    kind: Literal["cap"] = "cap"
    max: int = Field(ge=1)
    prefer: Literal["random", "shortest"] = "random"

    @property
    def needs(self) -> tuple[str, ...]:
        return ("tokens",) if self.prefer == "shortest" else ()

    def sift(self, rows: list[Row], seed: int) -> Sifted:
        chosen: list[Row] = []
        for group in by_problem(rows).values():
            best = (
                sorted(group, key=lambda row: row["tokens"])
                if self.prefer == "shortest"
                else shuffled(group, seed, self.kind)
            )
            chosen += best[: self.max]
        return keeping(rows, chosen, "enough of the problem")


class PassRate(Scoped):
    """Problems that were solved sometimes: those whose share of right responses lies in [low, high].

    Light-R1 kept 0.25 to 0.625 (arXiv 2503.10460). A share of 0 may also mean that the gold answer is wrong. Must come
    before operations that choose by score, which would leave nothing to count.
    """

    kind: Literal["pass_rate"] = "pass_rate"
    low: float = Field(0.0, ge=0, le=1)
    high: float = Field(1.0, ge=0, le=1)

    @model_validator(mode="after")
    def _possible(self) -> PassRate:
        if self.low > self.high:
            raise ValueError("low must not exceed high")
        return self

    @property
    def needs(self) -> tuple[str, ...]:
        return ("score",)

    def sift(self, rows: list[Row], seed: int) -> Sifted:
        share = {key: sum(map(is_right, group)) / len(group) for key, group in by_problem(rows).items()}
        sifted = Sifted([], [])
        for row in rows:
            rate = share[row["task"], row["problem"]]
            if self.low <= rate <= self.high:
                sifted.kept.append(row)
            else:
                sifted.dropped.append(Dropped(row, "solved too rarely" if rate < self.low else "solved too often"))
        return sifted
