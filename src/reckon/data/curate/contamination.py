"""Keeping what a model is evaluated on out of what it is trained on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from reckon.core.errors import DataError
from reckon.core.store import Row
from reckon.data.curate.base import Dropped, Operation, Sifted
from reckon.rewards.rules import words
from reckon.tasks.registry import build_task, resolved
from reckon.tasks.source import read_rows

Words = tuple[str, ...]


class Decontaminate(Operation):
    """Drop rows that have a held-out question in them.

    Two tests, both on :func:`reckon.rewards.rules.words`, numbers included: the row asks a held-out question word for
    word; or question or response share ``n`` words in a row with one (DeepSeek-R1 drops by 10-grams, arXiv 2501.12948).
    The first is needed because a question of fewer than n words has no n-gram. Paraphrases pass both, as R1 admits.

    The match of a dropped row is the held-out question.

    Attributes:
        task: the held-out problems of this task (``kind`` and settings), or
        path: the questions in this file, JSON lines or parquet,
        column: under this name.
        n: None does the first test only, for questions that are all made after one pattern.
    """

    kind: Literal["decontaminate"] = "decontaminate"
    task: dict[str, Any] | None = None
    path: str | None = None
    column: str = "question"
    n: int | None = Field(10, ge=2)

    @field_validator("task")
    @classmethod
    def _complete(cls, task: dict[str, Any] | None) -> dict[str, Any] | None:
        return None if task is None else resolved(build_task(task, "decontaminate.task"))

    @model_validator(mode="after")
    def _one(self) -> Decontaminate:
        if (self.task is None) == (self.path is None):
            raise ValueError("either task or path says what is held out")
        return self

    def sift(self, rows: list[Row], seed: int) -> Sifted:
        """Raises DataError if there is nothing held out, as no row could then be found guilty."""
        questions = self._questions()
        whole = {tuple(words(question)): question for question in reversed(questions)}
        grams = {gram: question for units, question in whole.items() for gram in _grams(units, self.n)}
        sifted = Sifted([], [])
        for row in rows:
            asked = tuple(words(row["question"]))
            if asked in whole:
                sifted.dropped.append(Dropped(row, "asks a held-out question", whole[asked]))
                continue
            texts = (asked, words(row["response"])) if grams else ()
            shared = next((grams[gram] for text in texts for gram in _grams(text, self.n) if gram in grams), None)
            if shared is None:
                sifted.kept.append(row)
            else:
                sifted.dropped.append(Dropped(row, f"shares {self.n} words with a held-out question", shared))
        return sifted

    def _questions(self) -> list[str]:
        if self.task is not None:
            found = [problem.question for problem in build_task(self.task).problems("heldout")]
        else:
            found = [_text(row[self.column], where) for where, row in read_rows(Path(str(self.path)), (self.column,))]
        if not found:
            raise DataError(
                "there is no held-out question here",
                where=self.path or "decontaminate.task",
                why="There would be nothing to compare with",
            )
        return found


def _grams(units: list[str] | Words, n: int | None) -> Iterator[Words]:
    """Every n words in a row; nothing for None."""
    for start in range(len(units) - n + 1 if n else 0):
        yield tuple(units[start : start + (n or 0)])


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise DataError("the question is not text", where=where)
    return value
