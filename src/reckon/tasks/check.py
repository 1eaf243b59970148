"""A task checks itself: gold answers score 1, hostile ones 0, at once, and the same every time.

A verifier is what the model will train against, so a hole in it is not a wrong number in a table: it is what
the model learns.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from reckon.core.records import Problem, Verdict
from reckon.tasks.base import Task
from reckon.tasks.source import SPLITS

REPETITIONS = 3


@dataclass(slots=True)
class TaskReport:
    """What the self-check found.

    Attributes:
        problems: how many were tried.
        golds: how many of these have a gold response to try.
        verdicts: how many responses were judged, repetitions included.
        slowest_s, p99_s: the longest and the 99th percentile of the time one verdict took.
        failures: one sentence each; empty if the task is sound.
    """

    kind: str
    problems: int = 0
    golds: int = 0
    verdicts: int = 0
    slowest_s: float = 0.0
    p99_s: float = 0.0
    failures: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.failures


def check_task(task: Task, problems: int = 50, deadline_s: float = 1.0) -> TaskReport:
    """Try the verifier on ``problems`` problems of each split, spread evenly, and the splits on each other.

    Verdicts are given in this process: one slower than ``deadline_s`` is reported, one that never ends is not
    cut short. Raises what ``task.problems`` raises.
    """
    judge = _Judge(task)
    splits = {split: task.problems(split) for split in SPLITS}
    tried = [problem for found in splits.values() for problem in _spread(found, problems)]
    golds = 0
    for problem in tried:
        gold = task.gold_response(problem)
        golds += gold is not None
        judge.problem(problem, gold)
    failures = _split_failures(task, splits) + judge.failures()
    times = sorted(judge.times) or [0.0]
    if times[-1] > deadline_s:
        failures.append(f"a verdict took {times[-1]:.2f} s, longer than {deadline_s:g} s: {judge.slowest}")
    return TaskReport(
        kind=task.kind,
        problems=len(tried),
        golds=golds,
        verdicts=REPETITIONS * len(judge.times),
        slowest_s=times[-1],
        p99_s=times[int(0.99 * (len(times) - 1))],
        failures=failures,
    )


def hostile_responses(question: str) -> dict[str, str]:
    """Responses that are right for no problem of any task, by name."""

    def answer(text: str) -> str:
        return f"<think> a guess </think> <answer>{text}</answer>"

    return {
        "an empty response": "",
        "the question echoed": question,
        "the question echoed as the answer": answer(question),
        "an empty answer": answer(""),
        "two empty answers": answer("") + "<answer></answer>",
        "a thousand digits": answer("9" * 1000),
        "a power tower": answer("9**9**9**9"),
        "a hundred thousand nested parentheses": answer("(" * 100_000 + "1" + ")" * 100_000),
        "a million characters": "a" * 1_000_000,
        "a million characters as the answer": answer("1 + " * 250_000 + "1"),
        "a hundred thousand tags": "<think></think><answer>" * 100_000,
        "Python code as the answer": answer("__import__('os').getcwd()"),
        "control characters and half a surrogate pair": answer("\x00\x1b[2J\ud800"),
    }


class _Judge:
    """Collects verdicts, their times, and what is wrong with them."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.times: list[float] = []
        self.slowest = ""
        self._faults: dict[str, list[str]] = {}

    def failures(self) -> list[str]:
        return [f"{what} ({len(where)} times, first: {where[0]})" for what, where in self._faults.items()]

    def problem(self, problem: Problem, gold: str | None) -> None:
        if gold is not None:
            verdict = self._judge(problem, "the gold response", gold)
            if verdict is not None and verdict.score is None:
                self._fault(problem, f"the problem cannot be judged: {verdict.reason!r}", gold)
                return
            if verdict is not None and verdict.score != 1:
                self._fault(problem, f"the gold response scores {verdict.score:g}: {verdict.reason!r}", gold)
        for name, response in self._wrong(problem, gold):
            verdict = self._judge(problem, name, response)
            if verdict is not None and verdict.score is None:
                self._fault(problem, f"{name} cannot be judged: {verdict.reason!r}", response)
            elif verdict is not None and verdict.score != 0:
                self._fault(problem, f"{name} scores {verdict.score:g} and must score 0", response)

    def _wrong(self, problem: Problem, gold: str | None) -> list[tuple[str, str]]:
        wrong = list(hostile_responses(problem.question).items())
        wrong += [("a bad response of the task", text) for text in self.task.bad_responses(problem)]
        if gold is not None:
            wrong.append(("the gold response with a second answer", f"{gold} <answer> another </answer>"))
            wrong.append(("the gold response written twice", f"{gold} {gold}"))
            if "</think>" in gold:
                wrong.append(("the gold response with unfinished thinking", gold.replace("</think>", "")))
        return wrong

    def _judge(self, problem: Problem, name: str, response: str) -> Verdict | None:
        """The verdict, or None if it is at fault in itself (which is then noted)."""
        verdicts: list[Verdict] = []
        seconds: list[float] = []
        for _ in range(REPETITIONS):
            start = time.perf_counter()
            try:
                verdict = self.task.verify(problem, response)
            except (Exception, SystemExit) as error:
                self._fault(problem, f"the verifier raises {type(error).__name__} ({error}) on {name}", response)
                return None
            seconds.append(time.perf_counter() - start)
            if not isinstance(verdict, Verdict):
                self._fault(
                    problem, f"the verifier returns {type(verdict).__name__} and no Verdict on {name}", response
                )
                return None
            verdicts.append(verdict)
        # The quickest: on a busy machine the others may have waited, which is not the verifier's fault.
        if min(seconds) > max(self.times, default=0.0):
            self.slowest = f"{name}, {problem.id}"
        self.times.append(min(seconds))
        verdict = verdicts[0]
        if any(other != verdict for other in verdicts):
            self._fault(problem, f"{name} gets different verdicts when judged again", response)
            return None
        return verdict

    def _fault(self, problem: Problem, what: str, response: str) -> None:
        self._faults.setdefault(what, []).append(f"{problem.id}, {response[:80]!r}")


def _spread(found: Sequence[Problem], count: int) -> list[Problem]:
    count = min(count, len(found))
    return [found[index * len(found) // count] for index in range(count)]


def _split_failures(task: Task, splits: dict[str, Sequence[Problem]]) -> list[str]:
    failures = []
    ids = {split: [problem.id for problem in found] for split, found in splits.items()}
    again = type(task)(task.config)
    for split, names in ids.items():
        if not names:
            failures.append(f"the {split} split is empty")
        if len(set(names)) < len(names):
            failures.append(f"{len(names) - len(set(names))} problem ids of the {split} split are not unique")
        if [problem.id for problem in again.problems(split)] != names:
            failures.append(f"the {split} split is in another order when built again, so no run could be resumed")
    shared = sorted(set(ids["train"]) & set(ids["heldout"]))
    if shared:
        failures.append(f"{len(shared)} problems are in both train and heldout (first: {shared[0]})")
    return failures
