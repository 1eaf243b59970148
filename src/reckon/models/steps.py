"""Where the steps of a response end: what process rewards score and what a search branches at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import Field, field_validator

from reckon.core.config import Strict

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class StepRule(Strict):
    """A step ends with the token that completes one of the separators, which belongs to it, or after so many tokens.

    Attributes:
        separators: texts; a blank line by default, as in Math-Shepherd's successors.
        max_tokens: of a step; None: as many as it takes.
    """

    separators: tuple[str, ...] = ("\n\n",)
    max_tokens: int | None = Field(None, ge=1)

    @field_validator("separators")
    @classmethod
    def _not_empty(cls, separators: tuple[str, ...]) -> tuple[str, ...]:
        if "" in separators:
            raise ValueError("an empty separator would end a step at every token")
        return separators


MICRO_STEPS = StepRule(separators=(",",), max_tokens=24)
"""The steps of the micro models' traces: one equation each, ``11 + 12 = 23,``. What is said of an attempt (``no.``) is
the beginning of the step after it, and the answer is a step of its own."""


def step_ends(token_ids: Sequence[int], tokenizer: PreTrainedTokenizerBase, rule: StepRule) -> list[int]:
    """The token counts at which the steps of a response end, ascending; the last is all of it, [] if it is empty."""
    # A character takes at most four tokens (the bytes of UTF-8), so this many hold any separator whole.
    window = 4 * max(map(len, rule.separators), default=0) + 4
    ends: list[int] = []
    start = 0
    for end in range(1, len(token_ids) + 1):
        tail = tokenizer.decode(
            list(token_ids[max(start, end - window) : end]),
            skip_special_tokens=False,
            clean_up_tokenization_spaces=False,
        )
        full = rule.max_tokens is not None and end - start >= rule.max_tokens
        if full or end == len(token_ids) or any(separator in tail for separator in rule.separators):
            ends.append(end)
            start = end
    return ends
