"""Several tasks as one, for a stage that trains or samples on all of them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, zip_longest
from typing import Any

from pydantic import Field, model_validator

from reckon.core.config import Strict
from reckon.core.errors import DataError
from reckon.core.records import Problem, Verdict
from reckon.tasks.base import Task, TaskConfig


class Part(Strict):
    """One task of a mix.

    Attributes:
        task: its ``kind`` and settings.
        share: of a training step's prompts, relative to the other parts that have begun.
        begin: the part joins after this share of the stage's steps. DeepSeek-R1 gave its last stage general prompts in
            the last 400 of 1,700 steps only, because longer training on a reward model is hacked (arXiv 2501.12948).
    """

    task: dict[str, Any]
    share: float = Field(1.0, gt=0)
    begin: float = Field(0.0, ge=0, lt=1)


class MixTask(Task):
    """The problems of all parts; each is judged, and named in records, as its own task."""

    kind = "mix"

    class Config(TaskConfig):
        """Settings.

        Attributes:
            parts: the tasks and how often each is asked; at least one from the first step on.
        """

        parts: tuple[Part, ...] = Field(min_length=1)

        @model_validator(mode="after")
        def _begins(self) -> MixTask.Config:
            if all(part.begin > 0 for part in self.parts):
                raise ValueError("at least one part must begin at 0, or the first steps have nothing to ask")
            return self

    def __init__(self, config: MixTask.Config) -> None:
        from reckon.tasks.registry import build_task, resolved

        self.members = [build_task(part.task, f"task.parts.{index}.task") for index, part in enumerate(config.parts)]
        parts = zip(config.parts, self.members, strict=True)
        super().__init__(
            config.model_copy(
                update={"parts": tuple(part.model_copy(update={"task": resolved(task)}) for part, task in parts)}
            )
        )
        self._asked_by: dict[str, Task] = {}

    def problems(self, split: str) -> Sequence[Problem]:
        """Those of all parts in turn, so that any first few hold some of each.

        Raises DataError when two parts have a problem of the same id.
        """
        found = [task.problems(split) for task in self.members]
        for task, problems in zip(self.members, found, strict=True):
            for problem in problems:
                if self._asked_by.setdefault(problem.id, task) is not task:
                    raise DataError(
                        f"two parts of the mix have the problem {problem.id!r}",
                        where="task.parts",
                        fix="Give the parts different tasks, or different settings",
                    )
        turns = chain.from_iterable(zip_longest(*found))
        return [problem for problem in turns if problem is not None]

    def member(self, problem: Problem) -> Task:
        """The task that asks this problem."""
        for split in ("train", "heldout"):
            if problem.id in self._asked_by:
                break
            self.problems(split)
        if problem.id not in self._asked_by:
            raise DataError(f"no part of the mix asks {problem.id!r}", where="task.parts")
        return self._asked_by[problem.id]

    def verify(self, problem: Problem, response: str) -> Verdict:
        return self.member(problem).verify(problem, response)

    def verify_all(self, asked: Sequence[tuple[Problem, str]]) -> list[Verdict]:
        places: dict[int, list[int]] = {}
        for place, (problem, _) in enumerate(asked):
            places.setdefault(self.members.index(self.member(problem)), []).append(place)
        verdicts: dict[int, Verdict] = {}
        for member, own in places.items():
            verdicts.update(zip(own, self.members[member].verify_all([asked[place] for place in own]), strict=True))
        return [verdicts[place] for place in range(len(asked))]

    def cautions(self) -> list[str]:
        return [caution for member in self.members for caution in member.cautions()]

    def gold_response(self, problem: Problem) -> str | None:
        return self.member(problem).gold_response(problem)

    def bad_responses(self, problem: Problem) -> list[str]:
        return self.member(problem).bad_responses(problem)
