"""The top of the report, computed: how the run ended, whether it learnt, and what else changed."""

from __future__ import annotations

from itertools import pairwise
from statistics import median
from typing import Any

from reckon.core.errors import DataError
from reckon.core.records import Rollout
from reckon.evals.metrics import paired_difference
from reckon.report.findings import pass_at_1
from reckon.report.load import Row, RunFiles, number, numbers

SILENT_S = 120.0
ENDINGS = {
    "done": "finished",
    "interrupted": "interrupted; the same command resumes it",
    "crashed": "crashed",
    "failed": "stopped by an error",
}


def status(run: RunFiles, now: float, written: float | None = None) -> dict[str, Any]:
    """How the run stands at ``now`` (unix seconds): ``state``, one sentence, and the seconds it has been at work.

    A run without an end is taken for running while it wrote something within two minutes, or within five of its
    own steps; after that it was killed without a chance to say so. ``written`` is when it last wrote something that is
    neither an event nor a step.
    """
    lived = [event for event in run.events if event.get("event") in ("run_start", "resume", "run_end")]
    sessions = sorted(numbers((event for event in lived if event["event"] != "run_end"), "time"))
    times = sorted(numbers(run.events, "time") + numbers(run.metrics, "time") + ([written] if written else []))
    found = {"seconds": _worked(sessions, times), "last": times[-1] if times else None}
    if lived and lived[-1]["event"] == "run_end":
        end = lived[-1]
        state = str(end.get("status"))
        return found | {"state": state, "says": ENDINGS.get(state, state), "error": str(end.get("error") or "")}
    if not times:
        return found | {"state": "unknown", "says": "no sign of a start", "error": ""}
    steps = numbers(run.metrics, "time")
    pace = median(later - earlier for earlier, later in pairwise(steps)) if len(steps) > 1 else 0.0
    if now - times[-1] <= max(SILENT_S, 5 * pace):
        return found | {"state": "running", "says": "still running when this was written", "error": ""}
    return found | {"state": "killed", "says": "ended without a word: killed, or out of memory", "error": ""}


def _worked(sessions: list[float], times: list[float]) -> float | None:
    """Seconds from each start to the last thing written before the next start, summed."""
    if not sessions:
        return None
    ends = [*sessions[1:], float("inf")]
    return sum(
        max((time for time in times if start <= time < end), default=start) - start
        for start, end in zip(sessions, ends, strict=True)
    )


def answer(run: RunFiles, before: list[Rollout], after: list[Rollout]) -> dict[str, Any]:
    """Did it learn? ``verdict`` is yes, no, unclear or unknown; ``says`` is the sentence with its figures.

    Args:
        before: the samples of the first evaluation, the untrained model's.
        after: the samples of the last one.
    """
    if len(run.evals) < 2:
        have = "only one" if run.evals else "no"
        says = f"{have} evaluation was recorded; it takes one before and one after."
        return {"verdict": "unknown", "word": "Cannot say", "says": says}
    first, last = run.evals[0], run.evals[-1]
    try:
        gain = paired_difference(before, after)
    except DataError as error:
        return {"verdict": "unknown", "word": "Cannot say", "says": f"{_from_to(first, last)}, but {error}"}
    samples = number(last.get("samples")) or 0
    measured = (
        f"{points(gain.value)} points (95% paired interval {points(gain.low)} to {points(gain.high)}) "
        f"on {gain.problems} problems \u00d7 {samples:.0f} samples, after {last['step']} steps."
    )
    if gain.low > 0:
        return {"verdict": "yes", "word": "Yes", "says": f"{_from_to(first, last, 'rose')}: {measured}"}
    if gain.high < 0:
        return {"verdict": "no", "word": "No", "says": f"{_from_to(first, last, 'fell')}: {measured}"}
    seen = (
        f" A true gain of {100 * gain.detectable:.1f} points would most likely have shown." if gain.detectable else ""
    )
    return {"verdict": "unclear", "word": "No gain shown", "says": f"{_from_to(first, last)}: {measured}{seen}"}


def _from_to(first: Row, last: Row, verb: str = "went") -> str:
    values = [pass_at_1(row) for row in (first, last)]
    shown = ["an unknown value" if value is None else f"{100 * value:.1f}%" for value in values]
    split = {"heldout": "held-out"}.get(str(first.get("split")), str(first.get("split")))
    return f"{split} pass@1 {verb} from {shown[0]} to {shown[1]}"


def points(share: float) -> str:
    """A difference of shares in points, with its sign."""
    return f"{100 * share:+.1f}".replace("-", "\u2212")


CHANGES = [
    ("mean_tokens", "responses became longer", "responses became shorter", "responses kept their length"),
    ("reflections", "self-checks became more frequent", "self-checks became rarer", "self-checks stayed as frequent"),
]
SAME_WITHIN = 0.02


def also(evals: list[Row]) -> str:
    """Which way length and self-checks went from the first evaluation to the last; changes below 2% are none."""
    said = []
    for key, more, less, same in CHANGES:
        values = numbers((evals[0], evals[-1]) if len(evals) > 1 else (), key)
        if len(values) == 2:
            change = values[1] - values[0]
            said.append(same if abs(change) <= SAME_WITHIN * abs(values[0]) else more if change > 0 else less)
    text = ", ".join(said)
    return text[:1].upper() + text[1:] + "." if text else ""


KEY_FIGURES = [
    ("pass@1", "pass@1", True),
    ("mean_tokens", "tokens per response", False),
    ("reflections", "self-checks per response", False),
    ("truncated", "truncated", True),
]


def key_figures(evals: list[Row]) -> list[dict[str, Any]]:
    """Before and after of what people ask about first; those not recorded twice are left out."""
    figures = []
    for key, label, percent in KEY_FIGURES:
        values = [pass_at_1(row) if key == "pass@1" else number(row.get(key)) for row in (evals[:1] + evals[-1:])]
        if len(evals) > 1 and None not in values:
            figures.append({"label": label, "before": values[0], "after": values[1], "percent": percent})
    return figures
