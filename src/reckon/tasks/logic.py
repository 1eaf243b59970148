"""Knights and knaves (Smullyan): knights always tell the truth, knaves always lie. Who is what?

Every puzzle has exactly one solution, which is checked by trying all assignments. A hash of the puzzle *up to
renaming* decides its split: a held-out puzzle is never a known one with other names.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations, product
from typing import Any, Literal

from pydantic import Field, field_validator

from reckon.core.records import Problem, Verdict
from reckon.core.seeds import seed_for
from reckon.tasks.answer import final_answer
from reckon.tasks.base import Task, TaskConfig
from reckon.tasks.generate import generate, held_out
from reckon.tasks.source import require_split

NAMES = (
    *("Anna", "Bert", "Carl", "Dora", "Emil", "Fred", "Gina", "Hugo"),
    *("Iris", "Jack", "Kate", "Leon", "Mara", "Nils", "Olga", "Paul"),
)
ROLES = {True: "knight", False: "knave"}
RULES = (
    "On an island live knights, who always tell the truth, and knaves, who always lie. {puzzle} "
    "Answer in this form, naming everyone: {form}"
)

_GENERATED = {"train": 4000, "heldout": 400}
_BREAKS = re.compile(r"[\s.,:;!*()-]+")
_CLAIM = r"(?:and )?([a-z]+) (?:is (?:a )?)?(knight|knave)"
_CLAIMS = re.compile(rf"{_CLAIM}(?: {_CLAIM})*")
_ONE_CLAIM = re.compile(_CLAIM)
_MAX_CHARACTERS_PER_PERSON = 60

Assignment = tuple[bool, ...]
"""For each person, whether they are a knight."""


@dataclass(frozen=True, slots=True)
class Statement:
    """What somebody says, of people by their number.

    Attributes:
        kind: ``is``: each of ``people`` is what ``knights`` says; ``same``: the two are of one kind (``knights`` is
            ``(True,)``) or of two (``(False,)``).
    """

    kind: Literal["is", "same"]
    people: tuple[int, ...]
    knights: Assignment

    def holds(self, assignment: Assignment) -> bool:
        if self.kind == "same":
            a, b = self.people
            return (assignment[a] == assignment[b]) == self.knights[0]
        return all(assignment[person] == knight for person, knight in zip(self.people, self.knights, strict=True))

    def text(self, names: Sequence[str]) -> str:
        if self.kind == "same":
            a, b = self.people
            return f"{names[a]} and {names[b]} are {'' if self.knights[0] else 'not '}the same"
        claims = zip(self.people, self.knights, strict=True)
        return " and ".join(f"{names[person]} is a {ROLES[knight]}" for person, knight in claims)

    def renamed(self, order: Sequence[int]) -> Statement:
        """The statement with person p as number ``order[p]``; the two that it speaks of in ascending order."""
        people = [order[person] for person in self.people]
        if self.kind == "same":
            return Statement(self.kind, tuple(sorted(people)), self.knights)
        pairs = sorted(zip(people, self.knights, strict=True))
        return Statement(self.kind, tuple(person for person, _ in pairs), tuple(knight for _, knight in pairs))


Puzzle = tuple[Statement, ...]
"""What each person says, in their order."""


def consistent(puzzle: Puzzle, assignment: Assignment) -> bool:
    """Whether every knight's statement holds and every knave's does not."""
    return all(said.holds(assignment) == knight for said, knight in zip(puzzle, assignment, strict=True))


def solutions(puzzle: Puzzle) -> list[Assignment]:
    """All assignments under which the puzzle is consistent."""
    return [assignment for assignment in assignments(len(puzzle)) if consistent(puzzle, assignment)]


def assignments(people: int) -> Iterator[Assignment]:
    """All ways to be knights and knaves."""
    return product((True, False), repeat=people)


@lru_cache(maxsize=1 << 14)
def is_heldout(puzzle: Puzzle) -> bool:
    """Whether the puzzle, under any names and in any order of its people, is held out (one in ten is)."""
    forms = []
    for order in permutations(range(len(puzzle))):
        said = {order[person]: statement.renamed(order) for person, statement in enumerate(puzzle)}
        forms.append(repr([(one.kind, one.people, one.knights) for _, one in sorted(said.items(), key=lambda i: i[0])]))
    return held_out(f"logic:{min(forms)}", one_in=10)


def random_puzzle(rng: random.Random, people: int) -> tuple[Puzzle, Assignment]:
    """A random puzzle with exactly one solution, and that solution."""
    while True:
        puzzle = tuple(_random_statement(rng, speaker, people) for speaker in range(people))
        found = solutions(puzzle)
        if len(found) == 1:
            return puzzle, found[0]


def _random_statement(rng: random.Random, speaker: int, people: int) -> Statement:
    """About another person (three in five), about whether two are the same, or about two people."""
    draw = rng.random()
    if draw < 0.6:
        other = rng.choice([person for person in range(people) if person != speaker])
        return Statement("is", (other,), (rng.random() < 0.5,))
    a, b = rng.sample(range(people), 2)
    if draw < 0.8:
        return Statement("same", (a, b), (rng.random() < 0.5,))
    return Statement("is", (a, b), (rng.random() < 0.5, rng.random() < 0.5))


def puzzle_text(puzzle: Puzzle, names: Sequence[str]) -> str:
    """The question, e.g. ``Anna says Bert is a knave. Bert says Anna and Bert are the same. Who is what?``"""
    said = [f"{name} says {statement.text(names)}." for name, statement in zip(names, puzzle, strict=True)]
    return " ".join([*said, "Who is what?"])


def answer_text(assignment: Assignment, names: Sequence[str]) -> str:
    """An answer, e.g. ``Anna knight, Bert knave``."""
    return ", ".join(f"{name} {ROLES[knight]}" for name, knight in zip(names, assignment, strict=True))


class LogicTask(Task):
    """``Anna says Bert is a knave. ... Who is what?`` Gold is ``{"Anna": "knight", "Bert": "knave"}``."""

    kind = "logic"

    class Config(TaskConfig):
        """Settings.

        Attributes:
            people: how many people a puzzle has; a list mixes them evenly.
            rules: whether the question explains the rules and the form of the answer. The micro models know both from
                their pretraining; others should be told.
            seed: decides which problems are generated and in which order; never in which split they fall.
            train_problems, heldout_problems: how many of each.
        """

        people: tuple[Literal[2, 3, 4, 5], ...] = Field(default=(2, 3), min_length=1)
        rules: bool = False
        seed: int = 0
        train_problems: int = Field(default=_GENERATED["train"], ge=1)
        heldout_problems: int = Field(default=_GENERATED["heldout"], ge=1)

        @field_validator("people", mode="before")
        @classmethod
        def _one_or_several(cls, value: Any) -> Any:
            return tuple(value) if isinstance(value, list) else (value,) if isinstance(value, int) else value

    def problems(self, split: str) -> Sequence[Problem]:
        """See :meth:`Task.problems`. Raises ConfigError if there are not as many different problems as asked."""
        require_split(split)
        config = self.config
        wanted = config.train_problems if split == "train" else config.heldout_problems
        rng = random.Random(seed_for("logic", config.seed, split))

        def draw() -> tuple[str, bool, Problem]:
            puzzle, solution = random_puzzle(rng, rng.choice(config.people))
            names = rng.sample(NAMES, len(puzzle))
            question = puzzle_text(puzzle, names)
            return question, is_heldout(puzzle), self._problem(question, names, solution)

        return generate(draw, split, wanted)

    def _problem(self, question: str, names: Sequence[str], solution: Assignment) -> Problem:
        roles = {name: ROLES[knight] for name, knight in zip(names, solution, strict=True)}
        name = f"logic:{question.removesuffix(' Who is what?')}"
        if self.config.rules:
            form = ", ".join(f"{person} knight-or-knave" for person in names)
            question = RULES.format(puzzle=question, form=form)
        return Problem(name, question, roles)

    def verify(self, problem: Problem, response: str) -> Verdict:
        """1 if the answer gives everyone, once and in any order, the right role.

        Read are claims such as ``Anna knight`` or ``Anna is a knight``, in any case, with punctuation or ``and``
        between them; anything else makes the answer unreadable. ``extracted`` has the people in the puzzle's order.
        """
        answer, reason = final_answer(response)
        if answer is None:
            return Verdict(0.0, reason)
        roles = _read_roles(answer, problem.gold)
        if roles is None:
            return Verdict(0.0, "not one role for each")
        right = roles == problem.gold
        extracted = ", ".join(f"{name} {roles[name]}" for name in problem.gold)
        return Verdict(float(right), "correct" if right else "wrong", extracted)

    def gold_response(self, problem: Problem) -> str | None:
        roles = ", ".join(f"{name} {role}" for name, role in problem.gold.items())
        return f"<think> Only one way fits. </think> <answer> {roles} </answer>"

    def bad_responses(self, problem: Problem) -> list[str]:
        other = {"knight": "knave", "knave": "knight"}
        right = [f"{name} {role}" for name, role in problem.gold.items()]
        wrong = [f"{name} {other[role]}" for name, role in problem.gold.items()]
        answers = [", ".join(claims) for claims in (wrong, wrong[:1] + right[1:], right[1:], right + wrong[:1])]
        answers += [", ".join([*right, right[0]]), f"{', '.join(right)}, Zoe knave", f"not {', '.join(right)}"]
        answers += [", ".join(right).replace("kn", "not a kn"), f"{', '.join(right)} or {', '.join(wrong)}"]
        answers += [" ".join(problem.gold.values()), "everyone is a knight or a knave"]
        return [f"<think> a guess </think> <answer> {answer} </answer>" for answer in answers]


def _read_roles(answer: str, gold: dict[str, str]) -> dict[str, str] | None:
    """The role of each of the people of ``gold`` as the answer gives them, or None unless it gives exactly those."""
    if len(answer) > _MAX_CHARACTERS_PER_PERSON * len(gold) or not answer.isascii():
        return None
    plain = _BREAKS.sub(" ", answer.lower()).strip()
    if not _CLAIMS.fullmatch(plain):
        return None
    claims = _ONE_CLAIM.findall(plain)
    names = {name.lower(): name for name in gold}
    if sorted(name for name, _ in claims) != sorted(names):
        return None
    return {names[name]: role for name, role in claims}
