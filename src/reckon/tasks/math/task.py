"""Math problems with a gold answer, from a file or the hub, judged by the math verifier."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from reckon.core.errors import ConfigError, DataError
from reckon.core.records import Problem, Verdict
from reckon.tasks.base import Task, TaskConfig
from reckon.tasks.generate import held_out
from reckon.tasks.math.kinds import KINDS
from reckon.tasks.math.rows import GOLD_COLUMNS, QUESTION_COLUMNS, column, gold_text, rows
from reckon.tasks.math.verify import is_judgeable, verify, verify_all
from reckon.tasks.source import require_split


class MathTask(Task):
    """Problems of any math data set; ``gold`` is the answer's text, with a kind column ``{"answer", "kind"}``.

    A problem's id is a hash of its question, so that a question is one problem however often it is listed.
    """

    kind = "math"

    class Config(TaskConfig):
        """Settings.

        Attributes:
            path: a file (``.jsonl``, ``.json``, ``.parquet``) or a data set of the hub, ``owner/name:split`` or
                ``owner/name:config:split``.
            heldout: the same for the held-out split; unset: one in ``heldout_one_in`` problems of ``path``, by a hash.
                Given alone, there is no training split.
            question, gold: the columns; unset: the first present of the names in use. A gold may be a solution that
                ends in ``####`` and the answer (GSM8K) or has it in a box (Minerva), a list (OlympiadBench), a number.
            kind_column: a column with each answer's kind (see ``KINDS``); unset: the gold tells it.
            unjudgeable: what becomes of problems with no gold that can be judged (empty, ``proof``, ``notfound``, two
                different ones): an error, or they are left out.
        """

        path: str | None = None
        heldout: str | None = None
        heldout_one_in: int = Field(10, ge=2)
        question: str | None = None
        gold: str | None = None
        kind_column: str | None = None
        unjudgeable: Literal["error", "leave out"] = "error"

    def problems(self, split: str) -> Sequence[Problem]:
        """Raises ConfigError if there is no source for the split, and DataError if it cannot be used."""
        require_split(split)
        config = self.config
        source = config.heldout if split == "heldout" and config.heldout else config.path
        if source is None:
            raise ConfigError(f"there is no source for the {split} split", where="task", fix="Set task.path")
        found = self._read(source)
        if config.heldout is None:
            found = [one for one in found if held_out(one.id, config.heldout_one_in) == (split == "heldout")]
        if not found:
            raise DataError(f"the {split} split is empty", where=source)
        return found

    def _read(self, source: str) -> list[Problem]:
        config = self.config
        found: dict[str, Problem] = {}
        useless: dict[str, str] = {}
        for where, row in rows(source):
            question = str(row[column(row, config.question, QUESTION_COLUMNS, where)]).strip()
            gold = gold_text(row[column(row, config.gold, GOLD_COLUMNS, where)])
            kind = row[column(row, config.kind_column, (), where)] if config.kind_column else None
            if kind is not None and kind not in KINDS:
                raise DataError(f"there is no kind of answer {kind!r}", where=where, fix=f"Use: {', '.join(KINDS)}")
            name = f"math:{hashlib.blake2b(question.encode(), digest_size=8).hexdigest()}"
            problem = Problem(name, question, {"answer": gold, "kind": kind} if config.kind_column else gold)
            if not is_judgeable(gold, kind):
                useless.setdefault(name, f"{where}: the gold {gold[:60]!r} cannot be judged")
            elif found.setdefault(name, problem).gold != problem.gold:
                useless.setdefault(name, f"{where}: the question has the gold {gold[:60]!r} and had another one before")
        if useless and config.unjudgeable == "error":
            raise DataError(
                f"{len(useless)} problems cannot be used, the first being {next(iter(useless.values()))}",
                where=source,
                why="No answer to them would ever be judged right",
                fix='Correct them, or set task.unjudgeable to "leave out"',
            )
        return [problem for name, problem in found.items() if name not in useless]

    def verify(self, problem: Problem, response: str) -> Verdict:
        return verify(response, *_gold(problem))

    def verify_all(self, asked: Sequence[tuple[Problem, str]]) -> list[Verdict]:
        return verify_all([(response, *_gold(problem)) for problem, response in asked])

    def same_answer(self, problem: Problem, first: str, second: str) -> bool:
        """Whether the verifier takes the one for the other."""
        kind = _gold(problem)[1]
        return first == second or verify(f"\\boxed{{{second}}}", first, kind).score == 1.0

    def gold_response(self, problem: Problem) -> str | None:
        return f"<think>\nThat is what is asked for.\n</think>\n\n\\boxed{{{_gold(problem)[0]}}}"

    def bad_responses(self, problem: Problem) -> list[str]:
        gold = _gold(problem)[0]
        thought = "<think>\nA guess.\n</think>\n\n"
        return [
            f"{thought}\\boxed{{{gold} + 1}}",
            f"{thought}\\boxed{{{gold} \\text{{ or }} 987654321}}",
            f"{thought}\\boxed{{{gold}}} or \\boxed{{987654321}}",
            f"{thought}\\boxed{{\\text{{not }} {gold}}}",
            f"{thought}\\boxed{{{gold}}}, that is \\boxed{{}}",
            f"{thought}\\boxed{{{gold}",
            f"<think>\n\\boxed{{{gold}}}",
            f"{thought}{gold}",
        ]


def _gold(problem: Problem) -> tuple[str, str | None]:
    gold: Any = problem.gold
    return (gold["answer"], gold["kind"]) if isinstance(gold, dict) else (gold, None)
