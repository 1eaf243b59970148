"""Countdown, TinyZero's problem: make a target from given numbers with ``+ - * /``, using each number once.

Problems are generated, or read from a copy of the public data set. Train and held-out problems never meet:
a hash of the sorted numbers and the target decides the split, so neither another order of the numbers, nor
another seed, nor another generator (the pretraining corpus) can carry a held-out problem over.
"""

from __future__ import annotations

import random
from collections.abc import Hashable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from reckon.core.errors import DataError
from reckon.core.records import Problem, Verdict
from reckon.core.seeds import seed_for
from reckon.tasks.answer import final_answer
from reckon.tasks.base import Task, TaskConfig
from reckon.tasks.expression import NotArithmetic, evaluate
from reckon.tasks.generate import generate, held_out
from reckon.tasks.source import read_rows, require_split

HELDOUT_ONE_IN = 10
_GENERATED = {"train": 4000, "heldout": 400}
_MAX_SOLVABLE_NUMBERS = 6


def is_heldout(nums: Sequence[int], target: int) -> bool:
    """Whether the problem, in any order of its numbers, belongs to the held-out split (one in ten does)."""
    return held_out(f"countdown:{sorted(nums)}:{target}", HELDOUT_ONE_IN)


def solve(nums: Sequence[int], target: int, max_value: int) -> str | None:
    """An expression that makes ``target`` from all of ``nums``, e.g. ``( 8 / 1 ) * 3``, or None.

    Every intermediate value is a whole number in 0..max_value. The search is exhaustive under that rule; its
    cost grows steeply with the count of numbers (4 numbers: a fraction of a millisecond, 6: some ten).
    """
    text = _makeable(nums, max_value).get(target)
    return text.removeprefix("( ").removesuffix(" )") if text else None


def random_problem(rng: random.Random, n: int, max_number: int, max_value: int) -> tuple[list[int], int]:
    """``n`` random numbers in 1..max_number (at most ``max_value``) and a random target they can make.

    The target is uniform over the values in 1..max_value that :func:`solve` can reach with these numbers.
    """
    while True:
        nums = [rng.randint(1, max_number) for _ in range(n)]
        targets = _targets(tuple(sorted(nums)), max_value)
        if targets:
            return nums, rng.choice(targets)


@lru_cache(maxsize=1 << 14)
def _targets(nums: tuple[int, ...], max_value: int) -> tuple[int, ...]:
    return tuple(sorted(value for value in _makeable(nums, max_value) if value > 0))


def _makeable(nums: Sequence[int], max_value: int) -> dict[int, str]:
    """Every value that all of ``nums`` together can make, with one expression for each.

    Dynamic programming over subsets, written as bit masks: what a subset makes is what the two halves of some
    division of it make, joined by one operation.
    """
    everything = (1 << len(nums)) - 1
    made: list[dict[int, str]] = [{} for _ in range(everything + 1)]
    for index, number in enumerate(nums):
        made[1 << index][number] = str(number)
    for subset in range(1, everything + 1):
        left = (subset - 1) & subset
        while left:
            right = subset ^ left
            if left > right:
                _join(made[left], made[right], max_value, made[subset])
            left = (left - 1) & subset
    return made[everything]


def _join(left: dict[int, str], right: dict[int, str], max_value: int, made: dict[int, str]) -> None:
    for a, a_text in left.items():
        for b, b_text in right.items():
            for value, sign in _results(max(a, b), min(a, b)):
                if value <= max_value and value not in made:
                    first, second = (a_text, b_text) if a >= b else (b_text, a_text)
                    made[value] = f"( {first} {sign} {second} )"


def _results(high: int, low: int) -> Iterator[tuple[int, str]]:
    yield high + low, "+"
    yield high - low, "-"
    yield high * low, "*"
    if low and high % low == 0:
        yield high // low, "/"


class CountdownTask(Task):
    """``Make 24 from 3, 8, 1.`` Gold is ``{"nums": [3, 8, 1], "target": 24}``."""

    kind = "countdown"

    class Config(TaskConfig):
        """Settings.

        Attributes:
            numbers: how many numbers a generated problem has; a list mixes them evenly.
            max_number: generated numbers are 1..max_number.
            max_value: generated targets are 1..max_value, and can be reached through values in 0..max_value.
            seed: decides which problems are generated and in which order; never in which split they fall.
            train_problems, heldout_problems: the most of each; unset: 4000 and 400 generated ones, or all of
                a file's.
            path: a JSONL or parquet file with the columns ``nums`` and ``target``, read instead of generating.
        """

        numbers: tuple[Literal[3, 4], ...] = Field(default=(3,), min_length=1)
        max_number: int = Field(default=12, ge=1)
        max_value: int = Field(default=99, ge=1, le=10_000)
        seed: int = 0
        train_problems: int | None = Field(default=None, ge=1)
        heldout_problems: int | None = Field(default=None, ge=1)
        path: str | None = None

        @field_validator("numbers", mode="before")
        @classmethod
        def _one_or_several(cls, value: Any) -> Any:
            return tuple(value) if isinstance(value, list) else (value,) if isinstance(value, int) else value

        @model_validator(mode="after")
        def _numbers_fit(self) -> CountdownTask.Config:
            if self.max_number > self.max_value:
                raise ValueError("max_number must not exceed max_value")
            return self

    def __init__(self, config: CountdownTask.Config | None = None) -> None:
        super().__init__(config)
        self._problems: dict[str, list[Problem]] = {}

    def problems(self, split: str) -> Sequence[Problem]:
        """See :meth:`Task.problems`. Raises ConfigError if there are not as many different problems as asked."""
        require_split(split)
        if split not in self._problems:
            limit = self.config.train_problems if split == "train" else self.config.heldout_problems
            if self.config.path is None:
                found = self._generate(split, limit or _GENERATED[split])
            else:
                found = self._load(split, Path(self.config.path))[:limit]
            self._problems[split] = found
        return self._problems[split]

    def _generate(self, split: str, wanted: int) -> list[Problem]:
        config = self.config
        rng = random.Random(seed_for("countdown", config.seed, split))

        def draw() -> tuple[Hashable, bool, Problem]:
            nums, target = random_problem(rng, rng.choice(config.numbers), config.max_number, config.max_value)
            return (tuple(sorted(nums)), target), is_heldout(nums, target), _problem(nums, target)

        return generate(draw, split, wanted)

    def _load(self, split: str, path: Path) -> list[Problem]:
        rows = [_checked(row, where) for where, row in read_rows(path, ("nums", "target"))]
        chosen = (_problem(*row) for row in rows if is_heldout(*row) == (split == "heldout"))
        found = list({problem.id: problem for problem in chosen}.values())
        if not found:
            raise DataError(
                f"none of the {len(rows)} rows falls into the {split} split",
                where=str(path),
                fix=f"Use a larger file: a hash puts one row in {HELDOUT_ONE_IN} into heldout, the others into train",
            )
        return found

    def verify(self, problem: Problem, response: str) -> Verdict:
        """1 if the answer uses exactly the given numbers, each once, and its value is exactly the target.

        ``extracted`` is the expression without whitespace.
        """
        answer, reason = final_answer(response)
        if answer is None:
            return Verdict(0.0, reason)
        try:
            expression = evaluate(answer)
        except NotArithmetic as error:
            return Verdict(0.0, str(error))
        if sorted(expression.numbers) != sorted(problem.gold["nums"]):
            return Verdict(0.0, "wrong numbers", expression.text)
        if expression.value != problem.gold["target"]:
            return Verdict(0.0, "wrong value", expression.text)
        return Verdict(1.0, "correct", expression.text)

    def _solution(self, problem: Problem) -> str | None:
        nums, target = problem.gold["nums"], problem.gold["target"]
        return solve(nums, target, self.config.max_value) if len(nums) <= _MAX_SOLVABLE_NUMBERS else None

    def gold_response(self, problem: Problem) -> str | None:
        """None if no solution stays within ``max_value``, which only a problem from a file can lack."""
        solution = self._solution(problem)
        return _response(f"{solution} = {problem.gold['target']}", solution) if solution else None

    def bad_responses(self, problem: Problem) -> list[str]:
        nums, target = problem.gold["nums"], problem.gold["target"]
        answers = [f"{target} + 0", " + ".join(str(number) for number in nums[1:])]
        if len(nums) > 1:
            answers.append(str(target))
        solution = self._solution(problem)
        if solution:
            reused = f"{nums[0]} - {nums[0]}"
            answers += [f"{solution} + {reused}", f"{solution} = {target}", f"{solution} + 0", f"{solution} + 1"]
            answers += [f"{solution} ** 1", f"({solution}) // 1", f"({solution}", f"{solution}, {solution}"]
        return [_response("a guess", answer) for answer in answers]


def _problem(nums: list[int], target: int) -> Problem:
    return Problem(
        id=f"countdown:{'-'.join(str(number) for number in nums)}:{target}",
        question=f"Make {target} from {', '.join(str(number) for number in nums)}.",
        gold={"nums": nums, "target": target},
    )


def _response(thought: str, answer: str) -> str:
    return f"<think> {thought} </think> <answer> {answer} </answer>"


def _checked(row: dict[str, Any], where: str) -> tuple[list[int], int]:
    nums, target = row["nums"], row["target"]
    if not isinstance(nums, list) or not nums or any(type(number) is not int or number < 0 for number in nums):
        raise DataError("'nums' must be a list of whole numbers, none negative", where=where)
    if type(target) is not int:
        raise DataError("'target' must be a whole number", where=where)
    return nums, target
