"""Arithmetic: compute an expression whose parentheses and order of operations matter.

Expressions are generated as trees in which every value is a whole number in 0..max_value, so that each step of a
solution is one short sum. A hash of the expression decides its split.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from reckon.core.records import Problem, Verdict
from reckon.core.seeds import seed_for
from reckon.tasks.answer import final_answer
from reckon.tasks.base import Task, TaskConfig
from reckon.tasks.generate import generate, held_out
from reckon.tasks.source import require_split

_GENERATED = {"train": 4000, "heldout": 400}
_BINDS = {"+": 1, "-": 1, "*": 2, "/": 2}
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Sum:
    """An expression with the steps that compute it in the right order.

    Attributes:
        text: with spaces between all symbols, e.g. ``( 3 + 4 ) * 5``.
        steps: ``(a, sign, b, result)`` of each operation, e.g. ``(3, "+", 4, 7), (7, "*", 5, 35)``.
    """

    text: str
    value: int
    steps: tuple[tuple[int, str, int, int], ...] = ()
    binds: int = 3


def is_heldout(text: str) -> bool:
    """Whether the expression, however it is spaced, belongs to the held-out split (one in ten does)."""
    return held_out(f"arithmetic:{''.join(text.split())}", one_in=10)


def apply(sign: str, a: int, b: int, max_value: int) -> int | None:
    """``a sign b`` if it is a whole number in 0..max_value, else None."""
    if sign == "/":
        return a // b if b and a % b == 0 else None
    value = a + b if sign == "+" else a - b if sign == "-" else a * b
    return value if 0 <= value <= max_value else None


def random_sum(rng: random.Random, n: int, max_number: int, max_value: int) -> Sum:
    """An expression of ``n`` numbers in 1..max_number: a random tree, drawn again until all its values are allowed.

    Parentheses stand only where they are needed to keep the tree.
    """
    while True:
        found = _draw(rng, n, max_number, max_value)
        if found is not None:
            return found


def _draw(rng: random.Random, n: int, max_number: int, max_value: int) -> Sum | None:
    if n == 1:
        number = rng.randint(1, max_number)
        return Sum(str(number), number)
    size = rng.randint(1, n - 1)
    left, right = _draw(rng, size, max_number, max_value), _draw(rng, n - size, max_number, max_value)
    if left is None or right is None:
        return None
    sign = rng.choice("+-*/")
    value = apply(sign, left.value, right.value, max_value)
    if value is None:
        return None
    binds = _BINDS[sign]
    # Operators of one rank are read from the left, so an equal rank needs parentheses on the right alone.
    first = f"( {left.text} )" if left.binds < binds else left.text
    second = f"( {right.text} )" if right.binds <= binds else right.text
    steps = (*left.steps, *right.steps, (left.value, sign, right.value, value))
    return Sum(f"{first} {sign} {second}", value, steps, binds)


class ArithmeticTask(Task):
    """``Compute ( 3 + 4 ) * 5 - 6.`` Gold is the value, 29."""

    kind = "arithmetic"

    class Config(TaskConfig):
        """Settings.

        Attributes:
            numbers: how many numbers an expression has; a list mixes them evenly.
            max_number: the numbers are 1..max_number.
            max_value: every value on the way is a whole number in 0..max_value.
            seed: decides which problems are generated and in which order; never in which split they fall.
            train_problems, heldout_problems: how many of each.
        """

        numbers: tuple[Literal[2, 3, 4, 5, 6], ...] = Field(default=(3, 4), min_length=1)
        max_number: int = Field(default=12, ge=1)
        max_value: int = Field(default=99, ge=1, le=10_000)
        seed: int = 0
        train_problems: int = Field(default=_GENERATED["train"], ge=1)
        heldout_problems: int = Field(default=_GENERATED["heldout"], ge=1)

        @field_validator("numbers", mode="before")
        @classmethod
        def _one_or_several(cls, value: Any) -> Any:
            return tuple(value) if isinstance(value, list) else (value,) if isinstance(value, int) else value

        @model_validator(mode="after")
        def _numbers_fit(self) -> ArithmeticTask.Config:
            if self.max_number > self.max_value:
                raise ValueError("max_number must not exceed max_value")
            return self

    def problems(self, split: str) -> Sequence[Problem]:
        """See :meth:`Task.problems`. Raises ConfigError if there are not as many different problems as asked."""
        require_split(split)
        config = self.config
        wanted = config.train_problems if split == "train" else config.heldout_problems
        rng = random.Random(seed_for("arithmetic", config.seed, split))

        def draw() -> tuple[str, bool, Problem]:
            one = random_sum(rng, rng.choice(config.numbers), config.max_number, config.max_value)
            name = f"arithmetic:{one.text.replace(' ', '')}"
            return one.text, is_heldout(one.text), Problem(name, f"Compute {one.text}.", one.value)

        return generate(draw, split, wanted)

    def verify(self, problem: Problem, response: str) -> Verdict:
        """1 if the answer is one whole number, nothing else, and equal to the gold one."""
        answer, reason = final_answer(response)
        if answer is None:
            return Verdict(0.0, reason)
        if not _INTEGER.fullmatch(answer):
            return Verdict(0.0, "not a whole number")
        value = int(answer)
        right = value == problem.gold
        return Verdict(float(right), "correct" if right else "wrong", str(value))

    def gold_response(self, problem: Problem) -> str | None:
        return f"<think> The value is {problem.gold}. </think> <answer> {problem.gold} </answer>"

    def bad_responses(self, problem: Problem) -> list[str]:
        gold = problem.gold
        answers = [f"{gold + 1}", f"-{gold + 1}", f"{gold}.", f"{gold}.0", f"{gold} + 0", f"= {gold}", f"{gold} {gold}"]
        answers += [f"{gold} or {gold + 1}", f"{gold}e0", f"--{gold}", f"{gold}1", problem.question[8:-1]]
        return [f"<think> a guess </think> <answer> {answer} </answer>" for answer in answers]
