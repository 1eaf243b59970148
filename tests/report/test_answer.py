"""The sentence at the top, and how the run is said to stand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reckon.core.records import Problem, Rollout, Verdict
from reckon.report.answer import also, answer, key_figures, status
from reckon.report.load import RunFiles


def samples(*scores: float | None) -> list[Rollout]:
    """One problem per score, two samples each."""
    return [
        Rollout("t", Problem(f"p{i}", "q", 0), n, "", [], "", [], [], "stop", 0, verdict=Verdict(score))
        for i, score in enumerate(scores)
        for n in range(2)
    ]


def run_of(first: float, last: float) -> RunFiles:
    rows = [(0, first), (40, last)]
    evals = [{"step": step, "split": "heldout", "samples": 2, "pass@1": {"value": value}} for step, value in rows]
    return RunFiles(Path("x"), evals=evals)


def test_yes_when_the_paired_interval_is_above_zero() -> None:
    found = answer(run_of(0.0, 0.8), samples(*[0] * 20), samples(*[0] * 4, *[1] * 16))
    assert found["verdict"] == "yes"
    assert found["says"] == (
        "held-out pass@1 rose from 0.0% to 80.0%: +80.0 points (95% paired interval +60.8 to +99.2) "
        "on 20 problems × 2 samples, after 40 steps."
    )


def test_no_when_it_is_below_and_unclear_when_it_holds_zero() -> None:
    worse = answer(run_of(0.8, 0.0), samples(*[0] * 4, *[1] * 16), samples(*[0] * 20))
    assert (worse["verdict"], worse["word"]) == ("no", "No")
    assert "fell from 80.0% to 0.0%: −80.0 points" in worse["says"]
    unclear = answer(run_of(0.5, 0.6), samples(*[0, 1] * 5), samples(1, 1, *[0, 1] * 4))
    assert (unclear["verdict"], unclear["word"]) == ("unclear", "No gain shown")
    assert "would most likely have shown" in unclear["says"]


def test_nothing_is_called_detectable_when_every_problem_came_out_the_same() -> None:
    same = answer(run_of(0.0, 0.0), samples(*[0] * 8), samples(*[0] * 8))
    assert same["verdict"] == "unclear"
    assert "would most likely" not in same["says"]


def test_cannot_say_without_two_evaluations_or_their_samples() -> None:
    assert "no evaluation" in answer(RunFiles(Path("x")), [], [])["says"]
    alone = RunFiles(Path("x"), evals=run_of(0, 1).evals[:1])
    assert "only one evaluation" in answer(alone, [], [])["says"]
    lost = answer(run_of(0.1, 0.9), samples(1, 1), samples(None, None))
    assert lost["verdict"] == "unknown"
    assert "went from 10.0% to 90.0%, but" in lost["says"]


@pytest.mark.parametrize(
    ("last", "says"),
    [
        ({"mean_tokens": 50.0, "reflections": 2.0}, "Responses became longer, self-checks became more frequent."),
        ({"mean_tokens": 30.0, "reflections": 0.0}, "Responses became shorter, self-checks became rarer."),
        ({"mean_tokens": 40.1, "reflections": 1.0}, "Responses kept their length, self-checks stayed as frequent."),
        ({"mean_tokens": 50.0}, "Responses became longer."),
    ],
)
def test_length_and_self_checks_in_whichever_direction(last: dict[str, float], says: str) -> None:
    first = {"mean_tokens": 40.0, "reflections": 1.0}
    assert also([first, last]) == says
    assert also([first]) == ""


def test_key_figures_leave_out_what_was_not_recorded_twice() -> None:
    rows = [{"pass@1": {"value": 0.1}, "truncated": 0.2}, {"pass@1": {"value": 0.4}, "truncated": float("nan")}]
    assert key_figures(rows) == [{"label": "pass@1", "before": 0.1, "after": 0.4, "percent": True}]
    assert key_figures(rows[:1]) == []


def lived(*events: tuple[str, float], **end: Any) -> RunFiles:
    rows: list[dict[str, Any]] = [{"event": name, "time": time} for name, time in events]
    if end:
        rows[-1] |= end
    metrics = [{"step": i, "time": 100.0 + 10 * i} for i in range(1, 6)]
    return RunFiles(Path("x"), events=rows, metrics=metrics)


def test_status_of_a_run_that_ended() -> None:
    found = status(lived(("run_start", 100), ("run_end", 155), status="done"), now=1e9)
    assert (found["state"], found["seconds"]) == ("done", 55)
    crashed = status(lived(("run_start", 100), ("run_end", 155), status="crashed", error="boom"), now=1e9)
    assert (crashed["state"], crashed["error"]) == ("crashed", "boom")


def test_status_of_a_run_without_an_end_depends_on_its_last_sign_of_life() -> None:
    run = lived(("run_start", 100))
    assert status(run, now=200)["state"] == "running"
    assert status(run, now=1000)["state"] == "killed"
    assert status(RunFiles(Path("x")), now=0)["state"] == "unknown"


def test_a_resumed_run_is_open_again_and_its_pause_is_not_counted() -> None:
    run = lived(("run_start", 100), ("run_end", 150), ("resume", 5000), ("checkpoint", 5030))
    found = status(run, now=5040)
    assert (found["state"], found["seconds"]) == ("running", 80)
