"""Knights and knaves (Smullyan): knights always tell the truth, knaves always lie. Who is what?

Every puzzle has exactly one solution, which is checked by trying all assignments. A hash of the puzzle *up to
renaming* decides its split: a held-out puzzle is never a known one with other names. The full statements are those of
the puzzles that Logic-RL (arXiv 2502.14768) trains on, whose published files (arXiv 2410.23123) are read as well.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations, product
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from reckon.core.errors import DataError
from reckon.core.records import Problem, Verdict
from reckon.core.seeds import seed_for
from reckon.tasks.answer import final_answer
from reckon.tasks.base import Task, TaskConfig
from reckon.tasks.generate import generate, held_out
from reckon.tasks.source import read_rows, require_split

NAMES = (
    *("Anna", "Bert", "Carl", "Dora", "Emil", "Fred", "Gina", "Hugo"),
    *("Iris", "Jack", "Kate", "Leon", "Mara", "Nils", "Olga", "Paul"),
)
ROLES = {True: "knight", False: "knave"}
RULES = "On an island live knights, who always tell the truth, and knaves, who always lie."
FORM = "Answer in this form, naming everyone: {form}"

_GENERATED = {"train": 4000, "heldout": 400}
_MOST_ORDERED = 5
_TRUTHFUL = re.compile(r"(\w+?)s always tell the truth", re.IGNORECASE)
_NUMBER = re.compile(r"\(\d{1,2}\)|^\s*\d{1,2}[.)](?=\s)", re.MULTILINE)
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

    A claim is that a person of ``people`` is what ``knights`` says of them.

    Attributes:
        kind: ``is``: the one or two claims hold; ``same``: the two people are of one kind (``knights`` is ``(True,)``)
            or of two (``(False,)``); ``not``: the one claim does not hold; ``or``, ``if``, ``iff``: of two claims at
            least one holds, the second holds if the first does, they hold or fail together.
    """

    kind: Literal["is", "same", "not", "or", "if", "iff"]
    people: tuple[int, ...]
    knights: Assignment

    def holds(self, assignment: Assignment) -> bool:
        if self.kind == "same":
            a, b = self.people
            return (assignment[a] == assignment[b]) == self.knights[0]
        claims = [assignment[person] == knight for person, knight in zip(self.people, self.knights, strict=True)]
        match self.kind:
            case "is":
                return all(claims)
            case "not":
                return not claims[0]
            case "or":
                return any(claims)
            case "if":
                return claims[1] or not claims[0]
        return claims[0] == claims[1]

    def text(self, names: Sequence[str]) -> str:
        if self.kind == "same":
            a, b = self.people
            return f"{names[a]} and {names[b]} are {'' if self.knights[0] else 'not '}the same"
        verb = "is not a" if self.kind == "not" else "is a"
        claims = [f"{names[p]} {verb} {ROLES[knight]}" for p, knight in zip(self.people, self.knights, strict=True)]
        joint = {"or": " or ", "if": " then ", "iff": " if and only if "}.get(self.kind, " and ")
        return ("if " if self.kind == "if" else "") + joint.join(claims)

    def renamed(self, order: Sequence[int]) -> Statement:
        """What the statement says of person ``order[p]`` instead of p, in the one form that stands for its meaning.

        That is ``is``, ``same`` or ``or``, with the people in ascending order.
        """
        people = tuple(order[person] for person in self.people)
        match self.kind:
            case "same":
                return Statement("same", tuple(sorted(people)), self.knights)
            case "iff":
                return Statement("same", tuple(sorted(people)), (self.knights[0] == self.knights[1],))
            case "not":
                return Statement("is", people, (not self.knights[0],))
        knights = (not self.knights[0], self.knights[1]) if self.kind == "if" else self.knights
        pairs = sorted(zip(people, knights, strict=True))
        form: Literal["is", "or"] = "is" if self.kind == "is" else "or"
        return Statement(form, tuple(person for person, _ in pairs), tuple(knight for _, knight in pairs))


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
    if len(puzzle) > _MOST_ORDERED:
        return held_out(f"logic:{_invariant(puzzle)}", one_in=10)
    forms = []
    for order in permutations(range(len(puzzle))):
        said = {order[person]: statement.renamed(order) for person, statement in enumerate(puzzle)}
        forms.append(repr([(one.kind, one.people, one.knights) for _, one in sorted(said.items(), key=lambda i: i[0])]))
    return held_out(f"logic:{min(forms)}", one_in=10)


def _invariant(puzzle: Puzzle) -> list[str]:
    """A description of a puzzle that no order of its people changes; trying all orders of 8 would take a second.

    Each person is described by what they say and by what is said of them, and this as often as there are people, with
    the descriptions of the last time for names (colour refinement). Puzzles that differ may be described alike, which
    does no harm: they fall into one split.
    """
    said = [statement.renamed(range(len(puzzle))) for statement in puzzle]
    colours = [""] * len(puzzle)
    for _ in puzzle:
        claims: list[tuple[int, int, tuple[str, bool]]] = [
            (speaker, person, (one.kind, knight))
            for speaker, one in enumerate(said)
            for person, knight in zip(one.people, one.knights * (2 if one.kind == "same" else 1), strict=True)
        ]
        described = [
            (
                sorted((claim, colours[of], of == person) for speaker, of, claim in claims if speaker == person),
                sorted((claim, colours[speaker]) for speaker, of, claim in claims if of == person),
            )
            for person in range(len(puzzle))
        ]
        colours = [hashlib.blake2b(repr(one).encode(), digest_size=8).hexdigest() for one in described]
    return sorted(colours)


def random_puzzle(
    rng: random.Random, people: int, statements: Literal["basic", "full"] = "basic"
) -> tuple[Puzzle, Assignment]:
    """A random puzzle with exactly one solution, and that solution."""
    draw = _random_statement if statements == "basic" else _random_full_statement
    while True:
        puzzle = tuple(draw(rng, speaker, people) for speaker in range(people))
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


def _random_full_statement(rng: random.Random, speaker: int, people: int) -> Statement:
    """Of any kind with equal chance; about another person, or about two, of whom the speaker may be one."""
    kind: Literal["is", "same", "not", "or", "if", "iff"]
    kind = rng.choice(("is", "same", "not", "or", "if", "iff"))
    if kind == "not" or (kind == "is" and rng.random() < 0.5):
        other = rng.choice([person for person in range(people) if person != speaker])
        return Statement(kind, (other,), (rng.random() < 0.5,))
    knights = (rng.random() < 0.5,) if kind == "same" else (rng.random() < 0.5, rng.random() < 0.5)
    a, b = rng.sample(range(people), 2)
    return Statement(kind, (a, b), knights)


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
            people: how many people a generated puzzle has; a list mixes them evenly.
            statements: ``basic``: what one or two people are, and whether two are the same, which the micro models know
                from their pretraining; ``full``: also not, or, if, and if and only if.
            rules: whether the question explains the rules and the form of the answer; of a puzzle from a file, which
                explains the rules itself, only the form. The micro models know both; others should be told.
            seed: decides which problems are generated and in which order; never in which split they fall.
            train_problems, heldout_problems: the most of each; unset: 4000 and 400 generated ones, or all of a file's.
            path: a JSONL or parquet file with the columns ``quiz``, ``names`` and ``solution`` (for each person,
                whether they tell the truth), read instead of generating.
        """

        people: tuple[Literal[2, 3, 4, 5, 6, 7, 8], ...] = Field(default=(2, 3), min_length=1)
        statements: Literal["basic", "full"] = "basic"
        rules: bool = False
        seed: int = 0
        train_problems: int | None = Field(default=None, ge=1)
        heldout_problems: int | None = Field(default=None, ge=1)
        path: str | None = None

        @field_validator("people", mode="before")
        @classmethod
        def _one_or_several(cls, value: Any) -> Any:
            return tuple(value) if isinstance(value, list) else (value,) if isinstance(value, int) else value

    def problems(self, split: str) -> Sequence[Problem]:
        """See :meth:`Task.problems`. Raises ConfigError if there are not as many different problems as asked."""
        require_split(split)
        limit = self.config.train_problems if split == "train" else self.config.heldout_problems
        if self.config.path is not None:
            return self._load(split, Path(self.config.path))[:limit]
        return self._generate(split, limit or _GENERATED[split])

    def _generate(self, split: str, wanted: int) -> list[Problem]:
        config = self.config
        rng = random.Random(seed_for("logic", config.seed, split))

        def draw() -> tuple[str, bool, Problem]:
            puzzle, solution = random_puzzle(rng, rng.choice(config.people), config.statements)
            names = rng.sample(NAMES, len(puzzle))
            question = puzzle_text(puzzle, names)
            roles = {name: ROLES[knight] for name, knight in zip(names, solution, strict=True)}
            name = f"logic:{question.removesuffix(' Who is what?')}"
            if config.rules:
                question = f"{RULES} {question} {_form(names)}"
            return name, is_heldout(puzzle), Problem(name, question, roles)

        return generate(draw, split, wanted)

    def _load(self, split: str, path: Path) -> list[Problem]:
        found: dict[str, Problem] = {}
        for where, row in read_rows(path, ("quiz", "names", "solution")):
            roles = _roles_of(row, where)
            puzzle = row["quiz"]
            for number, person in enumerate(roles):
                puzzle = re.sub(rf"\b{person}\b", str(number), puzzle)
            if held_out(f"logic:{puzzle}", one_in=10) == (split == "heldout"):
                name = f"logic:{hashlib.blake2b(row['quiz'].encode(), digest_size=8).hexdigest()}"
                question = f"{row['quiz']} {_form(list(roles))}" if self.config.rules else row["quiz"]
                found.setdefault(name, Problem(name, question, roles))
        if not found:
            raise DataError(
                f"no row falls into the {split} split",
                where=str(path),
                fix="Use a larger file: a hash puts one puzzle in ten into heldout, the others into train",
            )
        return list(found.values())

    def verify(self, problem: Problem, response: str) -> Verdict:
        """1 if the answer gives everyone, once and in any order, the right role.

        Read are claims such as ``Anna knight`` or ``Anna is a knight``, in any case, numbered or not, with punctuation
        or ``and`` between them; anything else makes the answer unreadable. ``extracted`` has the people in the puzzle's
        order.
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


def _form(names: Sequence[str]) -> str:
    return FORM.format(form=", ".join(f"{name} knight-or-knave" for name in names))


def _roles_of(row: dict[str, Any], where: str) -> dict[str, str]:
    """The role of each person of a published puzzle. Raises DataError if the row does not say it."""
    quiz, names, solution = row["quiz"], row["names"], row["solution"]
    if not isinstance(quiz, str):
        raise DataError("'quiz' must be text", where=where)
    lists = isinstance(names, list) and isinstance(solution, list) and 0 < len(names) == len(solution)
    if not lists or any(type(one) is not bool for one in solution):
        raise DataError("'names' and 'solution' must be lists of one length, the latter of true and false", where=where)
    if any(not isinstance(name, str) or not re.fullmatch("[A-Za-z]+", name) for name in names):
        raise DataError("'names' must be words of the letters A to Z", where=where)
    if len({name.lower() for name in names}) < len(names):
        raise DataError("two people have the same name", where=where)
    # Published variants exchange the two words, or use others.
    truthful = _TRUTHFUL.search(quiz)
    honest = truthful[1].lower() if truthful else "knight"
    if honest not in ROLES.values():
        raise DataError(
            f"those who tell the truth are called {honest!r}",
            where=where,
            why="Only answers about knights and knaves are read",
            fix="Leave such rows out",
        )
    liar = "knave" if honest == "knight" else "knight"
    return {name: honest if tells_truth else liar for name, tells_truth in zip(names, solution, strict=True)}


def _read_roles(answer: str, gold: dict[str, str]) -> dict[str, str] | None:
    """The role of each of the people of ``gold`` as the answer gives them, or None unless it gives exactly those."""
    if len(answer) > _MAX_CHARACTERS_PER_PERSON * len(gold) or not answer.isascii():
        return None
    plain = _BREAKS.sub(" ", _NUMBER.sub(" ", answer.lower())).strip()
    if not _CLAIMS.fullmatch(plain):
        return None
    claims = _ONE_CLAIM.findall(plain)
    names = {name.lower(): name for name in gold}
    if sorted(name for name, _ in claims) != sorted(names):
        return None
    return {names[name]: role for name, role in claims}
