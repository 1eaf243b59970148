"""What is asked and what a right answer is. A user's own task is a subclass of :class:`Task` in a plugin file."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from reckon.core.config import Strict
from reckon.core.records import Problem, Verdict


class TaskConfig(Strict):
    """The settings of a task; a task with settings of its own subclasses this inside itself as ``Config``."""


class Task(ABC):
    """Problems and a verifier.

    A subclass gives ``kind`` (its name in recipes), optionally a nested ``Config``, and the two methods.
    Construction is ``Task(config)``; subclasses that need set-up override ``__init__`` and call super.
    """

    kind: str
    Config: type[TaskConfig] = TaskConfig

    def __init__(self, config: Any = None) -> None:
        self.config: Any = config if config is not None else self.Config()

    @abstractmethod
    def problems(self, split: str) -> Sequence[Problem]:
        """All problems of a split (``train`` or ``heldout``), in an order that is a function of the config alone.

        Raises DataError when the data cannot be read.
        """

    @abstractmethod
    def verify(self, problem: Problem, response: str) -> Verdict:
        """Judge a response (the text after the prompt). Must not raise on any text, however hostile."""

    def verify_all(self, asked: Sequence[tuple[Problem, str]]) -> list[Verdict]:
        """The verdict on each of many responses, in their order: what :meth:`verify` says of it, and how long it took.

        A verifier that raises, whatever it is, gives an absent score. A task whose verifier has worker processes
        overrides this, so that they share the work.
        """
        return [_judged(self, problem, response) for problem, response in asked]

    def member(self, problem: Problem) -> Task:
        """The task whose problem this is: itself, unless it is several tasks in one."""
        return self

    def same_answer(self, problem: Problem, first: str, second: str) -> bool:
        """Whether two answers, as verdicts on responses to the problem say they were extracted, are one: they vote
        together. A task with several ways to write an answer, which ``extracted`` does not make one, overrides this."""
        return first == second

    def cautions(self) -> list[str]:
        """What whoever reads this task's figures should know, one sentence each; the report says it."""
        return []

    def gold_response(self, problem: Problem) -> str | None:
        """A response that must score 1, used by the task's self-check; None if the task has none."""
        return None

    def bad_responses(self, problem: Problem) -> list[str]:
        """Responses beyond the general ones that must score 0, used by the self-check."""
        return []


def _judged(task: Task, problem: Problem, response: str) -> Verdict:
    start = time.perf_counter()
    try:
        verdict = task.verify(problem, response)
        if not isinstance(verdict, Verdict):
            raise TypeError(f"verify must return a Verdict, not {type(verdict).__name__}")
    except (Exception, SystemExit) as error:  # a verifier that leaves would end the run without a word
        said = str(error)
        said = said if len(said) <= 200 else f"{said[:200]}..."
        verdict = Verdict(None, f"the verifier raised {type(error).__name__}: {said}")
    return replace(verdict, seconds=time.perf_counter() - start)
