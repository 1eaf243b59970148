"""GSM8K: grade-school word problems whose gold answer is the number after ``####`` (arXiv 2110.14168)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from reckon.core.errors import DataError
from reckon.core.records import Problem, Verdict
from reckon.tasks.answer import final_answer
from reckon.tasks.base import Task, TaskConfig
from reckon.tasks.source import read_rows, require_split

HUB_NAME = "openai/gsm8k"
_HUB_SPLITS = {"train": "train", "heldout": "test"}
_MAX_CHARACTERS = 40
_NUMBER = re.compile(r"(-?)\$?([0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(\.[0-9]+)?\.?")


def read_number(text: str) -> Fraction | None:
    """The one number that ``text`` is, or None.

    Accepted around it: a minus sign, ``$``, commas between thousands, decimals, a full stop. Refused: units and other
    words, fractions, powers, and ``%``, which leaves open whether ``50%`` means 50 or one half.
    """
    text = text.strip()
    match = _NUMBER.fullmatch(text) if len(text) <= _MAX_CHARACTERS else None
    if match is None:
        return None
    sign, whole, decimals = match.groups(default="")
    return Fraction(sign + whole.replace(",", "") + decimals)


class Gsm8kTask(Task):
    """Word problems; gold is the text after ``####``. The held-out split is the data set's test split."""

    kind = "gsm8k"

    class Config(TaskConfig):
        """Settings.

        Attributes:
            path: a folder with ``train.jsonl`` and ``test.jsonl`` (columns ``question``, ``answer``); unset: the
                data set is fetched from the Hugging Face hub.
        """

        path: str | None = None

    def problems(self, split: str) -> Sequence[Problem]:
        require_split(split)
        name = _HUB_SPLITS[split]
        rows = _hub_rows(name) if self.config.path is None else self._file_rows(Path(self.config.path), name)
        found = []
        for number, (where, row) in enumerate(rows):
            question, answer = row["question"], row["answer"]
            if not isinstance(question, str) or not isinstance(answer, str):
                raise DataError("'question' and 'answer' must be text", where=where)
            found.append(Problem(f"gsm8k:{name}:{number}", question, answer.rpartition("####")[2].strip()))
        if not found:
            raise DataError(f"the {split} split is empty", where=str(self.config.path or HUB_NAME))
        return found

    @staticmethod
    def _file_rows(folder: Path, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
        return read_rows(folder / f"{name}.jsonl", ("question", "answer"))

    def verify(self, problem: Problem, response: str) -> Verdict:
        """1 if the answer is a single number equal to the gold one. An unreadable gold gives an absent score."""
        gold = read_number(problem.gold)
        if gold is None:
            return Verdict(None, "unreadable gold")
        answer, reason = final_answer(response)
        if answer is None:
            return Verdict(0.0, reason)
        number = read_number(answer)
        if number is None:
            return Verdict(0.0, "not a number")
        return Verdict(1.0, "correct", str(number)) if number == gold else Verdict(0.0, "wrong", str(number))

    def gold_response(self, problem: Problem) -> str | None:
        return f"<think> The number asked for is {problem.gold}. </think> <answer> {problem.gold} </answer>"

    def bad_responses(self, problem: Problem) -> list[str]:
        gold = problem.gold
        answers = [f"{gold}1", f"--{gold}", f"{gold} or {gold}", f"{gold} {gold}", f"{gold} apples", f"{gold}%"]
        answers += [f"x = {gold}", f"{gold}e0", f"{gold}**1", f"\\boxed{{{gold}}}"]
        return [f"<think> a guess </think> <answer> {answer} </answer>" for answer in answers]


def _hub_rows(name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        from datasets import load_dataset

        rows = load_dataset(HUB_NAME, "main", split=name)
    except Exception as error:
        raise DataError(
            f"cannot fetch the data set from the hub ({error})",
            where=HUB_NAME,
            fix="Go online, or set task.path to a folder with train.jsonl and test.jsonl",
        ) from error
    for number, row in enumerate(rows):
        yield f"{HUB_NAME} {name}, row {number}", row
