"""Programming problems, judged by running the answer against hidden tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from reckon.core.config import Strict, digest
from reckon.core.errors import DataError
from reckon.core.records import Problem, Verdict
from reckon.sandbox.config import SAFE_TIER, SandboxConfig, open_sandbox
from reckon.sandbox.program import Sandbox
from reckon.sandbox.proof import prove
from reckon.tasks.base import Task, TaskConfig
from reckon.tasks.code.difficulty import Scheme, difficulty_reward, levels_of
from reckon.tasks.code.extract import Code, code_of
from reckon.tasks.code.functions import judge_function
from reckon.tasks.code.gold import FunctionGold, Gold, ProgramGold, read_gold
from reckon.tasks.code.judging import Judged, Steps, run_rounds
from reckon.tasks.code.programs import judge_program
from reckon.tasks.code.rows import read_problems
from reckon.tasks.code.signs import signs
from reckon.tasks.code.suite import INSIDE, Suite, record
from reckon.tasks.generate import held_out
from reckon.tasks.source import require_split

_ONE_IN = 10

Read = Judged | tuple[Gold, Code]
"""A problem's gold, and the code that a response gives; or what is to be said where one is missing."""


class Difficulty(Strict):
    """How tests pay under ``score: difficulty``; see :func:`reckon.tasks.code.difficulty.difficulty_reward`.

    Attributes:
        scheme: ``strict``: a level pays once it and all easier ones pass; ``soft``: every test pays.
        scores: of each level, the easiest first.
    """

    scheme: Scheme = "strict"
    scores: tuple[Annotated[float, Field(gt=0)], ...] = Field(default=(20.0, 30.0, 50.0), min_length=1)


class CodeTask(Task):
    """Functions with asserts (HumanEval's format) and programs that read and print."""

    kind = "code"

    class Config(TaskConfig):
        """Settings.

        Attributes:
            path: a file of problems: of both splits (a hash of the question holds out one in ten), or, with
                ``heldout_path``, of the training split alone.
            heldout_path: a file of the held-out split.
            score: ``all``: 1 if every test passes, else 0; ``fraction``: the share of tests that pass; ``difficulty``:
                as MiMo pays, from the problem's ``pass_rates``.
            sandbox: where answers are run. Its limits are those of one run: all calls of a function, or one test of a
                program.
        """

        path: str | None = None
        heldout_path: str | None = None
        score: Literal["all", "fraction", "difficulty"] = "all"
        difficulty: Difficulty = Difficulty()
        sandbox: SandboxConfig = SandboxConfig()

        @model_validator(mode="after")
        def _has_a_file(self) -> CodeTask.Config:
            if self.path is None and self.heldout_path is None:
                raise ValueError("a file of problems is needed: set path or heldout_path")
            return self

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._suites: dict[str, Suite | Judged] = {}

    def problems(self, split: str) -> Sequence[Problem]:
        """See :meth:`Task.problems`.

        Raises ConfigError where there is no sandbox fit to run answers in, which is better known now than later.
        """
        require_split(split)
        open_sandbox(self.config.sandbox, preload=INSIDE)
        config: CodeTask.Config = self.config
        if split == "heldout" and config.heldout_path is not None:
            found = read_problems(Path(config.heldout_path))
        elif config.path is None:
            raise DataError("there are no training problems", where="task.heldout_path", fix="Set task.path too")
        else:
            hashed = config.heldout_path is None
            found = read_problems(Path(config.path))
            found = [p for p in found if not hashed or held_out(f"code:{p.question}", _ONE_IN) == (split == "heldout")]
        if config.score == "difficulty":
            _require_pass_rates(found)
        return found

    def verify(self, problem: Problem, response: str) -> Verdict:
        return self.verify_all([(problem, response)])[0]

    def verify_all(self, asked: Sequence[tuple[Problem, str]]) -> list[Verdict]:
        """The verdicts. The programs of all answers are run side by side; a problem's tests are recorded once."""
        read = [_read(problem, response) for problem, response in asked]
        sandbox = open_sandbox(self.config.sandbox, preload=INSIDE)
        suites = self._suites_of([one[0] for one in read if not isinstance(one, Judged)], sandbox)
        judged = run_rounds(sandbox, [self._judge(one, suites) for one in read])
        return [self._verdict(*pair) for pair in zip(read, judged, strict=True)]

    def _suites_of(self, golds: Sequence[Gold], sandbox: Sandbox) -> dict[str, Suite | Judged]:
        keys = {digest(gold): gold for gold in golds if isinstance(gold, FunctionGold)}
        new = {key: gold for key, gold in keys.items() if key not in self._suites}
        recorded = run_rounds(sandbox, [record(gold, self.config.sandbox.limits) for gold in new.values()])
        found = dict(zip(new, recorded, strict=True))
        # What failed is tried again when it is next asked for: the machine may have been at fault.
        self._suites.update({key: suite for key, suite in found.items() if isinstance(suite, Suite)})
        return {key: found.get(key) or self._suites[key] for key in keys}

    def _judge(self, read: Read, suites: Mapping[str, Suite | Judged]) -> Steps[Judged]:
        if isinstance(read, Judged):
            return read
        gold, code = read
        limits = self.config.sandbox.limits
        if isinstance(gold, ProgramGold):
            return (yield from judge_program(gold, code, limits, every_test=self.config.score != "all"))
        suite = suites[digest(gold)]
        return suite if isinstance(suite, Judged) else (yield from judge_function(suite, code, limits))

    def _verdict(self, read: Read, judged: Judged) -> Verdict:
        gold, text = (None, None) if isinstance(read, Judged) else (read[0], read[1].solution)
        facts = {**judged.facts, "signs": signs(text or "")}
        detail = {name: fact for name, fact in facts.items() if fact}
        if judged.passes is None:
            return Verdict(None, judged.reason, text, detail, judged.seconds)
        if judged.passes:
            detail |= {"passed": judged.passes.count("1"), "tests": len(judged.passes), "passes": judged.passes}
        rates = gold.pass_rates if gold else None
        if self.config.score == "difficulty" and judged.passes and len(rates or ()) != len(judged.passes):
            why = f"there are pass_rates of {len(rates or ())} tests, and {len(judged.passes)} tests"
            return Verdict(None, "unusable tests", text, {"why": why}, judged.seconds)
        return Verdict(self._score(judged.passes, rates or ()), judged.reason, text, detail, judged.seconds)

    def _score(self, passes: str, rates: Sequence[float]) -> float:
        passed = [one == "1" for one in passes]
        if not passed:
            return 0.0
        match self.config.score:
            case "all":
                return float(all(passed))
            case "fraction":
                return sum(passed) / len(passed)
        scores = self.config.difficulty.scores
        return difficulty_reward(passed, levels_of(rates, len(scores)), scores, self.config.difficulty.scheme)

    def cautions(self) -> list[str]:
        """That programs ran where they could do harm, if they may."""
        if self.config.sandbox.kind == "local" and (tier := prove().tier) < SAFE_TIER:
            return [
                f"the model's programs ran in a sandbox of tier {tier}, with the user's files and the network in reach"
            ]
        return []

    def gold_response(self, problem: Problem) -> str | None:
        gold = read_gold(problem.gold)
        code = gold.prompt + gold.reference if isinstance(gold, FunctionGold) else gold.reference
        return None if code is None else _response(code)

    def bad_responses(self, problem: Problem) -> list[str]:
        gold = read_gold(problem.gold)
        if isinstance(gold, FunctionGold):
            head = f"def {gold.entry_point}(*args, **kwargs):\n    "
            codes = [head + body for body in ("return None", "print('PASS'); import os; os._exit(0)", _YES)]
        else:
            codes = ["print()", "print('PASS'); import os; os._exit(0)"]
        right = self.gold_response(problem)
        unfinished = [right.replace("\n```\n", "\n"), f"<think> {right} </think> That is it."] if right else []
        return [_response(code) for code in codes] + unfinished


_YES = "return type('Yes', (str,), {'__eq__': lambda self, other: True, '__hash__': None})()"


def _read(problem: Problem, response: str) -> Read:
    try:
        gold = read_gold(problem.gold)
    except ValueError as error:
        return Judged("unusable tests", None, {"why": str(error)[:200]})
    code, why = code_of(response, gold)
    if code is None:
        return Judged("too long" if why == "too long" else "no answer", "", {"why": why})
    return gold, code


def _response(code: str) -> str:
    return f"<think> It has to be written. </think> <answer>\n```python\n{code.rstrip()}\n```\n</answer>"


def _require_pass_rates(problems: Sequence[Problem]) -> None:
    lacking = next((problem for problem in problems if problem.gold.get("pass_rates") is None), None)
    if lacking is not None:
        raise DataError(
            "the problem has no pass_rates, by which its tests would be paid",
            where=lacking.id,
            fix="Sample solutions with score: fraction and add them (docs/code-tasks.md), or use another score",
        )
