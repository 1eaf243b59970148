"""From scored responses to what a reward model learns from: pairs, labels or judgements. Each is the last operation."""

from __future__ import annotations

from itertools import product
from typing import Literal

from pydantic import Field

from reckon.core.seeds import seed_for
from reckon.core.store import Row
from reckon.data.curate.base import Dropped, Operation, Sifted, by_problem, is_right, keeping, shuffled
from reckon.rollout.judge import judge_examples


class Pairs(Operation):
    """Of each problem, pairs of a better and a worse response; what is in no pair is dropped.

    As a reward model would otherwise learn that longer is better, pairs are chosen so that the chosen responses are in
    all about as long as the rejected ones (DeepSeek-R1 balanced its preference pairs by length): one after the other,
    each time the pair of the problem that brings the difference of the totals nearest to nothing. Problems come in a
    seeded order; no response is in two pairs.

    Attributes:
        min_difference: least difference of the scores (R1: over 1 on its judge's scale).
        max: most pairs of each problem.
    """

    kind: Literal["pairs"] = "pairs"
    min_difference: float = Field(0.5, gt=0)
    max: int = Field(1, ge=1)

    @property
    def needs(self) -> tuple[str, ...]:
        return ("score", "tokens")

    def sift(self, rows: list[Row], seed: int) -> Sifted:
        groups = by_problem(rows)
        found: dict[tuple[str, str], list[Row]] = {key: [] for key in groups}
        paired: set[str] = set()
        balance = 0
        for key in sorted(groups, key=lambda key: seed_for(seed, "curate", self.kind, *key)):
            free = shuffled(groups[key], seed, self.kind)
            while len(found[key]) < self.max and (pair := self._best(free, balance)):
                found[key].append(_pair(*pair))
                balance += pair[0]["tokens"] - pair[1]["tokens"]
                paired |= {row["id"] for row in pair}
                free = [row for row in free if row["id"] not in paired]
        kept = [pair for pairs in found.values() for pair in pairs]
        return Sifted(kept, [Dropped(row, "in no pair") for row in rows if row["id"] not in paired])

    def _best(self, rows: list[Row], balance: int) -> tuple[Row, Row] | None:
        """The pair after which the total difference of lengths is smallest; the first of equals."""
        allowed = [(a, b) for a, b in product(rows, rows) if a["score"] - b["score"] >= self.min_difference]
        return min(allowed, key=lambda pair: abs(balance + pair[0]["tokens"] - pair[1]["tokens"]), default=None)


def _pair(chosen: Row, rejected: Row) -> Row:
    return {
        "id": f"{chosen['id']} > {rejected['id']}",
        "task": chosen["task"],
        "question": chosen["question"],
        "chosen": chosen["response"],
        "rejected": rejected["response"],
        "chosen_score": chosen["score"],
        "rejected_score": rejected["score"],
    }


class Labels(Operation):
    """Each response with a label: 1 if its score is at least ``threshold``, else 0."""

    kind: Literal["labels"] = "labels"
    threshold: float

    @property
    def needs(self) -> tuple[str, ...]:
        return ("score",)

    def sift(self, rows: list[Row], seed: int) -> Sifted:
        columns = ("id", "task", "question", "response")
        return Sifted(
            [{name: row[name] for name in columns} | {"label": int(row["score"] >= self.threshold)} for row in rows],
            [],
        )


class Judgements(Operation):
    """Each response as a lesson for a chain-of-thought reward model: what the verifier found, and its verdict.

    The question of such a row is :func:`reckon.rollout.judge.judge_question`. As many right responses as wrong ones are
    kept, chosen at random, so that the judge learns no inclination.
    """

    kind: Literal["judgements"] = "judgements"

    @property
    def needs(self) -> tuple[str, ...]:
        return ("score", "gold", "reason")

    def sift(self, rows: list[Row], seed: int) -> Sifted:
        sides = [[row for row in rows if is_right(row) == right] for right in (True, False)]
        count = min(map(len, sides))
        chosen = [row for side in sides for row in shuffled(side, seed, self.kind)[:count]]
        taken = keeping(rows, chosen, "more of its verdict")
        return Sifted(list(judge_examples(taken.kept)), taken.dropped)
