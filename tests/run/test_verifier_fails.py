"""Runs whose verifier fails: always, then nothing is learned from nothing; or now and then, then it is counted."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reckon.core.store import read_jsonl

PLUGIN = """
import hashlib

from reckon.sandbox.limits import Limits
from reckon.sandbox.pool import shared_pool
from reckon.tasks import Problem, Task, Verdict

class Even(Task):
    kind = "even"

    def problems(self, split):
        return [Problem(f"{split}:{n}", f"Write {n} signs.", n) for n in range(12)]

    def judged(self, problem, response):
        even = len(response) % 2 == problem.gold % 2
        return Verdict(float(even), "correct" if even else "wrong")
"""

RAISES = """
    def verify(self, problem, response):
        if problem.id.startswith(FAILS):
            raise RuntimeError("no licence")
        return self.judged(problem, response)
"""
RETURNS_NOTHING = """
    def verify(self, problem, response):
        return None if problem.id.startswith(FAILS) else self.judged(problem, response)
"""
ABSTAINS = """
    def verify(self, problem, response):
        return Verdict(None, "unparsable gold") if problem.id.startswith(FAILS) else self.judged(problem, response)
"""
NO_SCORE = """
    def verify(self, problem, response):
        return Verdict(float("nan")) if problem.id.startswith(FAILS) else self.judged(problem, response)
"""
LEAVES = """
    def verify(self, problem, response):
        return exit(0) if problem.id.startswith(FAILS) else self.judged(problem, response)
"""
HANGS = """
    def verify(self, problem, response):
        return self.verify_all([(problem, response)])[0]

    def verify_all(self, asked):
        pool = shared_pool("time:sleep", workers=2, limits=Limits(timeout_s=0.05))
        outcomes = pool.map({n: 100 for n, (problem, _) in enumerate(asked) if problem.id.startswith(FAILS)})
        return [
            Verdict(None, outcomes[n].status) if n in outcomes else self.judged(*pair) for n, pair in enumerate(asked)
        ]
"""
FAILS_AT_TIMES = """
    def verify(self, problem, response):
        if hashlib.sha256(response.encode()).digest()[0] < 77:
            raise RuntimeError("out of memory")
        return self.judged(problem, response)
"""
FAILS_LATER = """
    calls = 0

    def verify(self, problem, response):
        self.calls += 1
        if self.calls > CALLS:
            raise RuntimeError("the disk is full")
        return self.judged(problem, response)
"""

Arguments = Callable[..., list[str]]


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Runs take over signals; put them back."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


def reckon(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit code of a command."""
    from reckon.cli import main

    monkeypatch.setattr(sys, "argv", ["reckon", *arguments])
    with pytest.raises(SystemExit) as leave:
        main()
    return int(leave.value.code or 0)


ALWAYS = pytest.mark.parametrize(
    ("verify", "reason"),
    [
        (RAISES, "the verifier raised RuntimeError: no licence"),
        (RETURNS_NOTHING, "verify must return a Verdict, not NoneType"),
        (ABSTAINS, "unparsable gold"),
        (NO_SCORE, "the verifier raised ValueError: a verdict's score is between 0 and 1, or None, and not nan"),
        (LEAVES, "the verifier raised SystemExit"),
        pytest.param(HANGS, "timed out", marks=pytest.mark.skipif(sys.platform != "linux", reason="needs the pool")),
    ],
    ids=["raises", "returns nothing", "abstains", "has no score", "leaves", "hangs"],
)


@ALWAYS
def test_a_verifier_that_always_fails_stops_the_run_before_its_first_step(
    verify: str, reason: str, tmp_path: Path, plugin: Path, arguments: Arguments, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    plugin.write_text(f'FAILS = ("heldout", "train")\n{PLUGIN}{verify}')
    assert reckon(arguments(tmp_path / "run"), monkeypatch) == 3
    error = capsys.readouterr().err
    assert "not one of 8 responses could be judged" in error
    assert reason in error
    nothing_was_learned(tmp_path / "run")


@ALWAYS
@pytest.mark.parametrize("changes", [{}, {"rollout__dynamic_sampling__max_rounds": 3}], ids=["plain", "dynamic"])
def test_a_verifier_that_always_fails_in_training_stops_the_run_before_an_update(
    verify: str, reason: str, changes: dict[str, Any], tmp_path: Path, plugin: Path, arguments: Arguments,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    plugin.write_text(f'FAILS = "train"\n{PLUGIN}{verify}')
    assert reckon(arguments(tmp_path / "run", **changes), monkeypatch) == 4
    error = capsys.readouterr().err
    assert "step 1, task even: not one of 16 responses could be judged" in error
    assert reason in error
    assert "No update was applied" in error
    assert error.strip().count("\n") == 0
    nothing_was_learned(tmp_path / "run")


def nothing_was_learned(run: Path) -> None:
    stage = run / "stages" / "01-train"
    assert not (stage / "metrics.jsonl").exists()
    assert not list((stage / "checkpoint").glob("step-*"))
    last = read_jsonl(run / "events.jsonl")[-1]
    assert (last["event"], last["status"]) == ("run_end", "failed")


def test_a_verifier_that_breaks_on_the_way_stops_the_run_in_that_step(
    tmp_path: Path, plugin: Path, arguments: Arguments, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    evaluated, two_steps = 4 * 2, 2 * 4 * 4
    plugin.write_text(f"CALLS = {evaluated + two_steps}\n{PLUGIN}{FAILS_LATER}")
    assert reckon(arguments(tmp_path / "run"), monkeypatch) == 4
    assert "step 3, task even: not one of 16 responses could be judged" in capsys.readouterr().err
    stage = tmp_path / "run" / "stages" / "01-train"
    assert [row["step"] for row in read_jsonl(stage / "metrics.jsonl")] == [1, 2]
    assert [path.name for path in (stage / "checkpoint").iterdir()] == ["step-000002"]


def test_a_verifier_that_fails_at_times_is_counted_and_the_rest_is_trained_on(
    tmp_path: Path, plugin: Path, arguments: Arguments, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin.write_text(PLUGIN + FAILS_AT_TIMES)
    assert reckon(arguments(tmp_path / "run", rollout__prompts_per_step=12, steps=3), monkeypatch) == 0
    stage = tmp_path / "run" / "stages" / "01-train"
    rows = read_jsonl(stage / "metrics.jsonl")
    broken = "the verifier raised RuntimeError: out of memory"
    for row in rows:
        assert set(row["reasons"]) == {"correct", "wrong", broken}
        assert sum(row["reasons"].values()) == 48
        assert row["reasons"][broken] == row["absent"]
        assert row["accuracy"] == pytest.approx(row["reasons"]["correct"] / (48 - row["absent"]))
        assert not row["skipped"]
    assert 0.15 < sum(row["absent"] for row in rows) / (48 * len(rows)) < 0.45
    kept = [json.loads(line) for path in (stage / "rollouts").iterdir() for line in path.read_text().splitlines()]
    assert all(rollout["reward"] is not None for rollout in kept)
    assert {row["reason"] for row in (rollout["verdict"] for rollout in kept)} == {"correct", "wrong"}


def test_what_a_task_cautions_is_a_warning_of_the_run_and_said_once(
    tmp_path: Path, plugin: Path, arguments: Arguments, monkeypatch: pytest.MonkeyPatch
) -> None:
    verify = "    def verify(self, problem, response):\n        return self.judged(problem, response)\n"
    plugin.write_text(PLUGIN + verify + '\n    def cautions(self):\n        return ["Nothing is as it seems."]\n')
    for steps in (1, 2):  # The second continues the first.
        reckon(arguments(tmp_path / "run", steps=steps), monkeypatch)
    events = read_jsonl(tmp_path / "run" / "events.jsonl")
    assert [row["message"] for row in events if row["event"] == "warning"] == ["Nothing is as it seems."]
