"""Questions with options to choose from, such as GPQA (arXiv 2311.12022), MMLU or ARC.

The options are shuffled, by a seed of the question's own, and lettered. A right answer is one letter, ``(B)``,
``B) its text`` or ``B. its text``, or exactly the text of the option. It stands in the ``<answer>`` block, or, where
there is none, in a box or after ``Answer:``, as models write it that were trained elsewhere; never inside the thinking.
"""

from __future__ import annotations

import csv
import hashlib
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from pydantic import Field

from reckon.core.errors import ConfigError, DataError
from reckon.core.records import Problem, Verdict
from reckon.core.seeds import seed_for
from reckon.tasks.answer import ANSWER, END_ANSWER, final_answer
from reckon.tasks.base import Task, TaskConfig
from reckon.tasks.math import extract
from reckon.tasks.math.region import after_thinking
from reckon.tasks.source import read_rows, require_split

MOST_OPTIONS = 10
_ASK = "Answer with the letter of the right option."
_GPQA = ("Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3")
_MARKUP = re.compile(r"\\(?:boxed|text|textbf|mathrm|mathbf)\s*\{([^{}]*)\}|\$|\*\*")
_LETTERED = re.compile(
    r"(?:option |choice )?(?:\(([A-Z])\)|([A-Z])(?=$|[.):!\s]))\s*[.):!]*\s*(.*)", re.DOTALL | re.IGNORECASE
)
_MAX_CHARACTERS = 5000


class ChoiceTask(Task):
    """``Which is a metal?`` and the lettered options. Gold is ``{"options": ["iron", "glass"], "answer": "A"}``."""

    kind = "choice"

    class Config(TaskConfig):
        """Settings.

        Attributes:
            heldout, train: a CSV, parquet or JSON lines file; or, of a data set on the Hugging Face hub, a split of it.
                Its columns are GPQA's (``Question``, ``Correct Answer``, ``Incorrect Answer 1`` to ``3``), MMLU's
                (``question``, ``choices`` or ``options``, and ``answer``, a number from 0 or a letter) or ARC's
                (``question``, ``choices`` with ``text`` and ``label``, and ``answerKey``).
            hub: the data set's name on the hub; unset: ``heldout`` and ``train`` are files.
            subset: the data set's configuration on the hub, such as ``gpqa_diamond``.
            seed: decides the order of the options.
            train_problems, heldout_problems: the most of each; unset: all.
        """

        heldout: str
        train: str | None = None
        hub: str | None = None
        subset: str | None = None
        seed: int = 0
        train_problems: int | None = Field(default=None, ge=1)
        heldout_problems: int | None = Field(default=None, ge=1)

    def __init__(self, config: ChoiceTask.Config) -> None:
        super().__init__(config)
        self._problems: dict[str, list[Problem]] = {}

    def problems(self, split: str) -> Sequence[Problem]:
        """See :meth:`Task.problems`. A question is asked once, and not in training if the held-out split has it.

        Raises ConfigError if training questions are asked for and ``train`` is unset.
        """
        require_split(split)
        if split not in self._problems:
            seen = {problem.id for problem in self._all("heldout")} if split == "train" else set()
            limit = self.config.train_problems if split == "train" else self.config.heldout_problems
            found = {problem.id: problem for problem in self._all(split) if problem.id not in seen}
            self._problems[split] = list(found.values())[:limit]
        return self._problems[split]

    def _all(self, split: str) -> list[Problem]:
        source = self.config.heldout if split == "heldout" else self.config.train
        if source is None:
            raise ConfigError("there are no training questions", where="task (choice)", fix="Set task.train")
        rows = _file_rows(Path(source)) if self.config.hub is None else self._hub_rows(source)
        found = [self._problem(*_read(row, where)) for where, row in rows]
        if not found:
            raise DataError("there are no questions", where=source)
        return found

    def _hub_rows(self, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
        name = self.config.hub
        try:
            from datasets import load_dataset

            rows = load_dataset(name, self.config.subset, split=split)
        except Exception as error:
            raise DataError(
                f"cannot fetch the data set from the hub ({error})",
                where=name,
                fix="Go online (and log in, if access to it must be granted), or unset task.hub and name files",
            ) from error
        for number, row in enumerate(rows):
            yield f"{name} {split}, row {number}", row

    def _problem(self, question: str, options: list[str], right: int) -> Problem:
        name = hashlib.blake2b("\x1f".join([question, *sorted(options)]).encode(), digest_size=8).hexdigest()
        order = list(range(len(options)))
        random.Random(seed_for("choice", self.config.seed, name)).shuffle(order)
        options = [options[index] for index in order]
        listed = "\n".join(f"{letter}) {option}" for letter, option in zip(ascii_uppercase, options, strict=False))
        gold = {"options": options, "answer": ascii_uppercase[order.index(right)]}
        return Problem(f"choice:{name}", f"{question}\n\n{listed}\n\n{_ASK}", gold)

    def verify(self, problem: Problem, response: str) -> Verdict:
        """1 if the answer is the right option, and no other; ``extracted`` is its letter."""
        answer, reason = _answered(response)
        if answer is None:
            return Verdict(0.0, reason)
        options = problem.gold["options"]
        chosen = read_option(answer, options)
        if chosen is None:
            return Verdict(0.0, "not one option")
        right = ascii_uppercase.index(problem.gold["answer"])
        # Some data sets list an option twice.
        correct = _plain(options[chosen]) == _plain(options[right])
        return Verdict(float(correct), "correct" if correct else "wrong", ascii_uppercase[chosen])

    def gold_response(self, problem: Problem) -> str | None:
        return _response(problem.gold["answer"])

    def bad_responses(self, problem: Problem) -> list[str]:
        options, right = problem.gold["options"], problem.gold["answer"]
        place = ascii_uppercase.index(right)
        other = next((index for index, one in enumerate(options) if _plain(one) != _plain(options[place])), place)
        wrong, missing = ascii_uppercase[other], ascii_uppercase[len(options)]
        answers = [wrong, missing, f"{right} or {wrong}", f"{right}, {wrong}", f"{right}{wrong}", f"not {right}"]
        answers += [f"{right}) {options[other]}", f"{options[place]} or {options[other]}", f"{right}? {wrong}?"]
        return [_response(answer) for answer in answers if other != place] + [f"<think> {right} </think>"]


def read_option(answer: str, options: Sequence[str]) -> int | None:
    """The place of the one option that an answer names, or None."""
    if len(answer) > _MAX_CHARACTERS:
        return None
    bare = _MARKUP.sub(lambda match: match[1] or "", _MARKUP.sub(lambda match: match[1] or "", answer)).strip()
    lettered = _LETTERED.fullmatch(bare)
    if lettered:
        letter, text = (lettered[1] or lettered[2]).upper(), lettered[3]
        place = ascii_uppercase.index(letter)
        if place < len(options) and _plain(text) in ("", _plain(options[place])):
            return place
    same = [place for place, option in enumerate(options) if _plain(option) in (_plain(answer), _plain(bare))]
    return same[0] if len(same) == 1 else None


def _answered(response: str) -> tuple[str | None, str]:
    text, unfinished = after_thinking(response)
    if unfinished:
        return None, "unfinished thinking"
    if ANSWER in text or END_ANSWER in text:
        return final_answer(response)
    found = extract.final_answer(text)
    return found.text, found.reason


def _plain(text: str) -> str:
    return " ".join(_MARKUP.sub(lambda match: match[1] or "", text).split()).rstrip(".").casefold()


def _response(answer: str) -> str:
    return f"<think> One of them fits. </think> <answer> {answer} </answer>"


def _file_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    if path.suffix != ".csv":
        yield from read_rows(path, ())
        return
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            for row in reader:
                yield f"{path}:{reader.line_num}", row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot read the questions: {error}", where=str(path)) from error


def _read(row: dict[str, Any], where: str) -> tuple[str, list[str], int]:
    """The question, the options as they stand in the row, and the place of the right one. Raises DataError."""
    question: Any
    options: Any
    if all(column in row for column in ("Question", *_GPQA)):
        question, options, right = row["Question"], [row[column] for column in _GPQA], 0
    else:
        choices, key = row.get("choices", row.get("options")), row.get("answerKey", row.get("answer"))
        question, options = row.get("question"), choices.get("text") if isinstance(choices, dict) else choices
        labels = choices.get("label") if isinstance(choices, dict) else list(ascii_uppercase)
        if not isinstance(options, list) or not isinstance(labels, list) or key is None:
            raise DataError(
                f"these are not the columns of questions with options: {', '.join(map(str, row))}",
                where=where,
                fix="Name them as GPQA, MMLU or ARC do (see docs/tasks.md)",
            )
        right = _place(key, labels[: len(options)], where)
    texts = [question, *options]
    if not all(isinstance(one, str) and one.strip() for one in texts) or not 2 <= len(options) <= MOST_OPTIONS:
        raise DataError(f"a question needs text and 2 to {MOST_OPTIONS} options, each with text", where=where)
    return question.strip(), [option.strip() for option in options], right


def _place(key: Any, labels: Sequence[Any], where: str) -> int:
    if isinstance(key, str) and key in labels:
        return labels.index(key)
    if type(key) is int and 0 <= key < len(labels):
        return key
    raise DataError(f"the answer {key!r} is none of the options", where=where)
