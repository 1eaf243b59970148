"""Prompts with instructions that a program can check (IFEval, arXiv 2311.07911).

The text that is judged is what follows the thinking, or the one ``<answer>`` block in it if there is one. It is judged
twice: *strictly*, as it stands, and *loosely*: an instruction is also followed if one of eight variants of the text
follows it: without the first line, the last, or both, each with and without asterisks.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from reckon.core.errors import DataError
from reckon.core.records import Problem, Verdict
from reckon.core.seeds import seed_for
from reckon.tasks.answer import ANSWER, END_ANSWER
from reckon.tasks.base import Task, TaskConfig
from reckon.tasks.generate import generate
from reckon.tasks.instructions.checks import Instruction, read_instruction
from reckon.tasks.instructions.prompts import random_prompt
from reckon.tasks.instructions.text import require_langdetect
from reckon.tasks.math.region import SEAM, after_thinking
from reckon.tasks.source import read_rows, require_split

_GENERATED = {"train": 2000, "heldout": 200}
_MAX_CHARACTERS = 100_000


class InstructionsTask(Task):
    """``Write a short note about a lake. Do not use any commas.``

    Gold is ``{"instructions": [{"id": "punctuation:no_comma", ...}], "example": "..."}``: the instructions with their
    parameters, and a response that follows all of them, unknown for published prompts.
    """

    kind = "instructions"

    class Config(TaskConfig):
        """Settings.

        Attributes:
            path: a file in IFEval's format (columns ``key``, ``prompt``, ``instruction_id_list``, ``kwargs``) to hold
                out instead of generated prompts. Training prompts are always generated.
            instructions: how many a generated prompt has; a list mixes them evenly.
            score: ``all``: 1 if all instructions are followed, else 0; ``share``: the share that is followed.
            reading: whether the score is of the ``strict`` or the ``loose`` reading.
            seed: decides which prompts are generated and in which order; never in which split they fall.
            train_problems, heldout_problems: the most of each; unset: 2000 and 200 generated ones, or all of a file's.
        """

        path: str | None = None
        instructions: tuple[Literal[1, 2, 3, 4], ...] = Field(default=(1, 2, 3), min_length=1)
        score: Literal["all", "share"] = "all"
        reading: Literal["strict", "loose"] = "strict"
        seed: int = 0
        train_problems: int | None = Field(default=None, ge=1)
        heldout_problems: int | None = Field(default=None, ge=1)

        @field_validator("instructions", mode="before")
        @classmethod
        def _one_or_several(cls, value: Any) -> Any:
            return tuple(value) if isinstance(value, list) else (value,) if isinstance(value, int) else value

    def __init__(self, config: InstructionsTask.Config | None = None) -> None:
        """Raises ConfigError where langdetect is missing."""
        super().__init__(config)
        require_langdetect()
        self._problems: dict[str, list[Problem]] = {}

    def problems(self, split: str) -> Sequence[Problem]:
        """See :meth:`Task.problems`. Raises DataError on an instruction or a parameter that is not known."""
        require_split(split)
        if split not in self._problems:
            limit = self.config.train_problems if split == "train" else self.config.heldout_problems
            if split == "heldout" and self.config.path is not None:
                self._problems[split] = _read(Path(self.config.path))[:limit]
            else:
                self._problems[split] = self._generate(split, limit or _GENERATED[split])
        return self._problems[split]

    def _generate(self, split: str, wanted: int) -> list[Problem]:
        rng = random.Random(seed_for("instructions", self.config.seed, split))

        def draw() -> tuple[str, bool, Problem]:
            prompt = random_prompt(rng, rng.choice(self.config.instructions))
            problem = _problem(f"instructions:{prompt.question}", prompt.question, prompt.instructions, prompt.example)
            return prompt.question, prompt.heldout, problem

        return generate(draw, split, wanted)

    def verify(self, problem: Problem, response: str) -> Verdict:
        """The score that ``score`` and ``reading`` ask for.

        ``detail`` has the ids of the ``instructions`` and, for the ``figures`` of an evaluation, IFEval's four: whether
        each is followed and whether all are, strictly and loosely. A response that is empty, or the prompt again,
        follows nothing.
        """
        instructions = _instructions(problem)
        text, reason = _judged(response)
        if not reason and " ".join(text.split()) == " ".join(problem.question.split()):
            reason = "the prompt again"
        if reason:
            strict = loose = [False] * len(instructions)
        else:
            variants = _variants(text)
            strict = [one.followed(text) for one in instructions]
            loose = [done or _any(one, variants) for one, done in zip(instructions, strict, strict=True)]
        counted = strict if self.config.reading == "strict" else loose
        share = sum(counted) / len(counted)
        score = share if self.config.score == "share" else float(share == 1)
        figures = {
            "prompt strict": [all(strict)],
            "prompt loose": [all(loose)],
            "instruction strict": strict,
            "instruction loose": loose,
        }
        detail = {"instructions": [one.id for one in instructions], "figures": figures}
        return Verdict(score, reason or ("followed" if share == 1 else "not followed"), detail=detail)

    def gold_response(self, problem: Problem) -> str | None:
        example = problem.gold["example"]
        return None if example is None else f"<think> Each in turn. </think> <answer>\n{example}\n</answer>"

    def bad_responses(self, problem: Problem) -> list[str]:
        example = problem.gold["example"]
        if example is None:
            return []
        inside = f"<think> {example} </think>"
        return [inside, f"{inside} <answer> </answer>", f"<think> {example}"]


def _judged(response: str) -> tuple[str, str]:
    """The text to be judged, or why there is none."""
    text, unfinished = after_thinking(response)
    if unfinished:
        return "", "unfinished thinking"
    opened, closed = text.count(ANSWER), text.count(END_ANSWER)
    if opened > 1 or closed > 1:
        return "", "several answers"
    if opened != closed:
        return "", "no answer"
    if opened:
        text = text.partition(ANSWER)[2].partition(END_ANSWER)[0]
    text = text.replace(SEAM, "\n").strip()
    if not text:
        return "", "no answer"
    return (text, "") if len(text) <= _MAX_CHARACTERS else ("", "too long")


def _variants(text: str) -> list[str]:
    lines = text.split("\n")
    cuts = ["\n".join(part).strip() for part in (lines, lines[1:], lines[:-1], lines[1:-1])]
    return [one for cut in cuts for one in (cut, cut.replace("*", "")) if one.strip()]


def _any(instruction: Instruction, variants: Sequence[str]) -> bool:
    return any(instruction.followed(one) for one in variants)


def _problem(name: str, question: str, instructions: Sequence[Instruction], example: str | None) -> Problem:
    told = [{"id": one.id, **one.model_dump(mode="json")} for one in instructions]
    return Problem(name, question, {"instructions": told, "example": example})


def _instructions(problem: Problem) -> list[Instruction]:
    return [
        read_instruction(told["id"], {key: value for key, value in told.items() if key != "id"}, where=problem.id)
        for told in problem.gold["instructions"]
    ]


def _read(path: Path) -> list[Problem]:
    found: dict[str, Problem] = {}
    for where, row in read_rows(path, ("key", "prompt", "instruction_id_list", "kwargs")):
        names, parameters = row["instruction_id_list"], row["kwargs"]
        if not isinstance(row["prompt"], str) or not row["prompt"].strip():
            raise DataError("'prompt' must be text", where=where)
        lists = isinstance(names, list) and isinstance(parameters, list) and 0 < len(names) == len(parameters)
        if not lists or not all(isinstance(one, dict) for one in parameters):
            raise DataError("'instruction_id_list' and 'kwargs' must be lists of one length", where=where)
        name = f"ifeval:{row['key']}"
        if name in found:
            raise DataError(f"the key {row['key']!r} is there twice", where=where)
        told = [read_instruction(str(one), given, where) for one, given in zip(names, parameters, strict=True)]
        found[name] = _problem(name, row["prompt"], told, None)
    if not found:
        raise DataError("the file has no prompts", where=str(path))
    return list(found.values())
