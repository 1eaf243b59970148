"""Filters on single rows: what was said of a response, how it ended, and how it reads."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, model_validator

from reckon.core.store import Row
from reckon.data.curate.base import AnyScript, Filter, is_right, script_of
from reckon.models.template import opens_thinking
from reckon.rewards.rules import format_reward, in_script, repetition, script_words, words
from reckon.tasks.answer import thinking

_BLANK_LINE = re.compile(r"\n\s*\n")


class Correct(Filter):
    """Right answers: a score of at least 1 (DeepSeek-R1, arXiv 2501.12948, sec. 2.3.3)."""

    kind: Literal["correct"] = "correct"

    @property
    def needs(self) -> tuple[str, ...]:
        return ("score",)

    def fault(self, row: Row) -> str | None:
        return None if is_right(row) else "wrong"


class Judged(Filter):
    """Responses that have a score, whichever."""

    kind: Literal["judged"] = "judged"

    @property
    def needs(self) -> tuple[str, ...]:
        return ("score",)

    def fault(self, row: Row) -> str | None:
        return None


class Score(Filter):
    """Responses with a score of at least ``min``."""

    kind: Literal["score"] = "score"
    min: float

    @property
    def needs(self) -> tuple[str, ...]:
        return ("score",)

    def fault(self, row: Row) -> str | None:
        return f"score below {self.min:g}" if row["score"] < self.min else None


class Finished(Filter):
    """Responses that ended by themselves, not cut off at the token limit or otherwise."""

    kind: Literal["finished"] = "finished"

    @property
    def needs(self) -> tuple[str, ...]:
        return ("finish",)

    def fault(self, row: Row) -> str | None:
        return None if row["finish"] == "stop" else f"ended by {row['finish']}"


class Format(Filter):
    """Responses in the form that the format reward pays for (:func:`reckon.rewards.rules.format_reward`).

    Attributes:
        summary: a summary may stand between thinking and answer.
    """

    kind: Literal["format"] = "format"
    summary: bool = False

    @property
    def needs(self) -> tuple[str, ...]:
        return ("prompt",)

    def fault(self, row: Row) -> str | None:
        good = format_reward(opens_thinking(row["prompt"]), row["response"], self.summary)
        return None if good else "wrong form"


class Language(Filter):
    """Thinking in one script; R1 drops mixed-language chains.

    Attributes:
        script: which.
        min: least share of the thinking's words in it. Thinking without words, sums alone say, mixes nothing and stays.
    """

    kind: Literal["language"] = "language"
    script: AnyScript = "prompt"
    min: float = Field(1.0, gt=0, le=1)

    def fault(self, row: Row) -> str | None:
        counts = script_words(row["response"])
        right = in_script(counts, script_of(self.script, row))
        if right >= self.min * counts.total():
            return None
        return "mixed language" if right else "another language"


class Repetition(Filter):
    """Responses that do not go in circles.

    Attributes:
        max: most of its n-grams that may have occurred before (:func:`reckon.rewards.rules.repetition`), a share.
    """

    kind: Literal["repetition"] = "repetition"
    max: float = Field(ge=0, lt=1)
    n: int = Field(10, ge=1)

    def fault(self, row: Row) -> str | None:
        return "repeats itself" if repetition(row["response"], self.n) > self.max else None


class Length(Filter):
    """Responses of ``min`` to ``max`` tokens."""

    kind: Literal["length"] = "length"
    min: int = Field(0, ge=0)
    max: int | None = Field(None, ge=1)

    @model_validator(mode="after")
    def _possible(self) -> Length:
        if self.max is not None and self.min > self.max:
            raise ValueError("min must not exceed max")
        return self

    @property
    def needs(self) -> tuple[str, ...]:
        return ("tokens",)

    def fault(self, row: Row) -> str | None:
        if row["tokens"] < self.min:
            return "too short"
        return "too long" if self.max is not None and row["tokens"] > self.max else None


class NoCode(Filter):
    """Thinking without code fences (R1)."""

    kind: Literal["no_code"] = "no_code"

    def fault(self, row: Row) -> str | None:
        return "code in the thinking" if "```" in thinking(row["response"]) else None


class Paragraphs(Filter):
    """Thinking whose paragraphs, parted by blank lines, are of at most ``max_words`` words; R1 drops long ones."""

    kind: Literal["paragraphs"] = "paragraphs"
    max_words: int = Field(ge=1)

    def fault(self, row: Row) -> str | None:
        longest = max(len(words(part)) for part in _BLANK_LINE.split(thinking(row["response"])))
        return "long paragraph" if longest > self.max_words else None
