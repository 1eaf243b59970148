"""Procedural puzzles of the package ``reasoning-gym`` (arXiv 2505.24760), about a hundred sets, one per task.

The sets pay partial rewards of their own: some by the length of the answer, some a little for any. Here an answer is
right if its set scores it exactly 1, and wrong otherwise. :mod:`reckon.tasks.reasoning_gym.soundness` says which
scorers are not believed.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from pydantic import Field

from reckon.core.errors import ConfigError
from reckon.core.records import Problem, Verdict
from reckon.core.seeds import seed_for
from reckon.sandbox.limits import Limits
from reckon.sandbox.pool import Outcome, shared_pool
from reckon.tasks.answer import final_answer
from reckon.tasks.base import Task, TaskConfig
from reckon.tasks.reasoning_gym.soundness import ANY_ORDER, EXACT, FORMS, REFUSED, objection, same
from reckon.tasks.source import SPLITS, require_split

PACKAGE = "reasoning-gym==0.1.25"
_SCORE = "reckon.tasks.reasoning_gym.gym:score"
_LIMITS = Limits(timeout_s=20.0, memory_mb=4096)
"""A worker first makes the item again, for which some sets need seconds."""
_SEEDS = 2**31
"""Seeds lie below this: a set adds an item's index to its seed, and some hand the sum to numpy."""


class ReasoningGymTask(Task):
    """One set. Gold is ``{"split": "train", "index": 3, "answer": "42"}``; some sets have no answer, only a scorer."""

    kind = "reasoning_gym"

    class Config(TaskConfig):
        """Settings. For several sets, use a mix of tasks.

        Attributes:
            name: the set.
            level: of the set's curriculum, from 0; unset: the set's own defaults.
            params: the set's own settings, laid over these.
            seed: decides which items are made.
            train_problems, heldout_problems: how many items are made of each. Repeated questions are dropped, and
                those of the training split that the held-out split has.
        """

        name: str
        level: int | None = Field(default=None, ge=0)
        params: dict[str, Any] = Field(default={})
        seed: int = 0
        train_problems: int = Field(default=1000, ge=1)
        heldout_problems: int = Field(default=100, ge=1)

    def __init__(self, config: ReasoningGymTask.Config) -> None:
        super().__init__(config)
        self._gym = _import_gym()
        _require_sound(config, self._gym)
        for split in SPLITS:
            self._open(split)
        self._problems: dict[str, list[Problem]] = {}

    def problems(self, split: str) -> Sequence[Problem]:
        """See :meth:`Task.problems`. Raises ConfigError if the set cannot make any."""
        require_split(split)
        if split not in self._problems:
            seen = {problem.id for problem in self.problems("heldout")} if split == "train" else set()
            found: list[Problem] = []
            for problem in self._made(split):
                if problem.id not in seen:
                    seen.add(problem.id)
                    found.append(problem)
            if not found:
                raise ConfigError(
                    f"the set {self.config.name!r} has no {split} problem that is not a held-out one",
                    where="task",
                    fix="Set task.params so that it can make more different ones, or lower task.heldout_problems",
                )
            self._problems[split] = found
        return self._problems[split]

    def _made(self, split: str) -> list[Problem]:
        found = []
        data, form = self._open(split), FORMS.get(self.config.name)
        for index in range(len(data)):
            item = data[index]
            question, answer = str(item["question"]), item["answer"]
            text = str(answer).strip()
            if answer is not None and (not text or (form is not None and not form.fullmatch(text))):
                continue  # Its gold answer would be refused.
            name = hashlib.blake2b(question.encode(), digest_size=8).hexdigest()
            gold = {"split": split, "index": index, "answer": None if answer is None else str(answer)}
            found.append(Problem(f"reasoning_gym:{self.config.name}:{name}", question, gold))
        return found

    def _open(self, split: str) -> Any:
        settings = self._set(split)
        try:
            return self._gym.open_set(**settings)
        except Exception as error:
            where = f"task (reasoning_gym, {self.config.name})"
            raise ConfigError(f"the set refuses its settings: {error}", where=where, fix="Check task.params") from error

    def _set(self, split: str) -> dict[str, Any]:
        config = self.config
        return {
            "name": config.name,
            "size": config.train_problems if split == "train" else config.heldout_problems,
            "seed": seed_for("reasoning_gym", config.seed, split) % _SEEDS,
            "level": config.level,
            "params": config.params,
        }

    def verify(self, problem: Problem, response: str) -> Verdict:
        """1 if the set scores the answer exactly 1. ``detail`` has its score.

        Absent: the scorer hung or died, or the item cannot be made again.
        """
        return self.verify_all([(problem, response)])[0]

    def verify_all(self, asked: Sequence[tuple[Problem, str]]) -> list[Verdict]:
        verdicts: dict[int, Verdict] = {}
        jobs: dict[int, dict[str, Any]] = {}
        for place, (problem, response) in enumerate(asked):
            answer, reason = final_answer(response)
            if answer is None or (reason := objection(self.config.name, answer, problem.gold["answer"])):
                verdicts[place] = Verdict(0.0, reason)
            elif self.config.name in EXACT:
                right = same(answer, problem.gold["answer"], self.config.name in ANY_ORDER)
                verdicts[place] = Verdict(float(right), "correct" if right else "wrong", answer)
            else:
                item = {"index": problem.gold["index"], "question": problem.question}
                jobs[place] = {"set": self._set(problem.gold["split"]), **item, "answer": answer}
        for place, outcome in shared_pool(_SCORE, limits=_LIMITS).map(jobs).items():
            verdicts[place] = _verdict(outcome, jobs[place]["answer"])
        return [verdicts[place] for place in range(len(asked))]

    def gold_response(self, problem: Problem) -> str | None:
        answer = problem.gold["answer"]
        return None if answer is None else f"<think> It can be worked out. </think> <answer>{answer}</answer>"

    def bad_responses(self, problem: Problem) -> list[str]:
        answer = problem.gold["answer"]
        if answer is None:
            return []
        answers = (f"{answer} or something else", f"I think that it is {answer}", "nan", "zzz")
        return [f"<think> a guess </think> <answer>{text}</answer>" for text in answers]


def _verdict(outcome: Outcome, answer: str) -> Verdict:
    if outcome.status != "ok":
        return Verdict(None, outcome.status, answer, seconds=outcome.seconds)
    found = outcome.value
    if "lost" in found:
        return Verdict(None, "the item cannot be made again", answer, seconds=outcome.seconds)
    if "raised" in found:
        return Verdict(0.0, "unreadable answer", answer, {"raised": found["raised"]}, outcome.seconds)
    right = found["score"] == 1
    return Verdict(float(right), "correct" if right else "wrong", answer, {"score": found["score"]}, outcome.seconds)


def _import_gym() -> ModuleType:
    try:
        from reckon.tasks.reasoning_gym import gym
    except ImportError as error:
        raise ConfigError(
            f"the package reasoning-gym cannot be imported ({error})",
            where="task (reasoning_gym)",
            fix=f"Run: pip install {PACKAGE} (one of its requirements, pycosat, is built with a C compiler)",
        ) from error
    return gym


def _require_sound(config: ReasoningGymTask.Config, gym: ModuleType) -> None:
    if config.name in REFUSED:
        raise ConfigError(f"the set {config.name!r} cannot be used: {REFUSED[config.name]}", where="task.name")
    usable = [name for name in gym.names() if name not in REFUSED]
    if config.name not in usable:
        raise ConfigError(f"reasoning-gym has no set {config.name!r}{_nearest(config.name, usable)}", where="task.name")
    known = [name for name in gym.parameters(config.name) if name not in ("size", "seed")]
    for name in config.params:
        if name not in known:
            what = f"the set {config.name!r} has no parameter {name!r}{_nearest(name, known)}"
            raise ConfigError(what, where="task.params", fix=f"It has: {', '.join(known)}")
    if config.level is not None and not gym.has_levels(config.name):
        raise ConfigError(f"the set {config.name!r} has no curriculum", where="task.level", fix="Leave out task.level")


def _nearest(word: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
