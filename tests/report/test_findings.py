"""Each diagnosis fires past its threshold, stays quiet before it, and says when it cannot know."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from reckon.report import findings
from reckon.report.findings import Finding, diagnose

Rows = list[dict[str, Any]]


def steps(**columns: Any) -> Rows:
    """Twenty steps; a list value is spread over them, any other is repeated."""
    return [
        {"step": i + 1, **{key: value[i] if isinstance(value, list) else value for key, value in columns.items()}}
        for i in range(20)
    ]


def evals(*values: float, **more: Any) -> Rows:
    return [{"step": 10 * i, "pass@1": {"value": value}, **more} for i, value in enumerate(values)]


RAMP = [i / 19 for i in range(20)]
CASES: list[tuple[Callable[[Rows, Rows], Finding], tuple[Rows, Rows], tuple[Rows, Rows], str]] = [
    (
        findings.no_signal,
        (steps(solved_all=0.1, solved_none=0.65), []),
        (steps(solved_all=0.1, solved_none=0.55), []),
        "75% of the groups",
    ),
    (findings.truncation, (steps(truncated=0.25), []), (steps(truncated=0.19), []), "25.0% of the responses"),
    (
        findings.entropy_collapse,
        (steps(entropy=[0.5] * 10 + [0.04] * 10), []),
        (steps(entropy=[0.5] * 10 + [0.06] * 10), []),
        "from 0.500 to 0.040",
    ),
    (
        findings.mismatch,
        (steps(mismatch_k3=[1e-5] * 10 + [0.02] * 10), []),
        (steps(mismatch_k3=[1e-5] * 10 + [0.005] * 10), []),
        "from 1e-05 to 0.02",
    ),
    (
        findings.absent_verdicts,
        (
            steps(accuracy=0.5, absent=2, tokens=10.0, generated_tokens=1000),
            evals(0.5, absent=0, problems=10, samples=10),
        ),
        (
            steps(accuracy=0.5, absent=1, tokens=10.0, generated_tokens=1000),
            evals(0.5, absent=0, problems=10, samples=10),
        ),
        "40 of about 2,100 responses",
    ),
    (
        findings.overfitting,
        (steps(accuracy=RAMP), evals(0.30, 0.32)),
        (steps(accuracy=RAMP), evals(0.30, 0.60)),
        "held-out pass@1 by +2.0",
    ),
    (
        findings.skipped_updates,
        (steps(skipped=[i in (3, 7) for i in range(20)]), []),
        (steps(skipped=False), []),
        "2 of 20 updates were refused because a value was not finite: steps 4, 8.",
    ),
]


@pytest.mark.parametrize(("check", "bad", "good", "evidence"), CASES, ids=lambda case: getattr(case, "__name__", ""))
def test_fires_past_its_threshold_only(
    check: Callable[[Rows, Rows], Finding], bad: tuple[Rows, Rows], good: tuple[Rows, Rows], evidence: str
) -> None:
    found, clear, unknown = check(*bad), check(*good), check([], [])
    assert (found.state, clear.state, unknown.state) == ("found", "clear", "unknown")
    assert evidence in found.evidence
    assert found.remedy
    assert not clear.remedy


def test_every_check_has_a_case() -> None:
    assert {case[0] for case in CASES} == set(findings.CHECKS)


def test_no_signal_names_the_side_it_comes_from() -> None:
    assert "harder" in findings.no_signal(steps(solved_all=0.8, solved_none=0.1), []).remedy
    assert "easier" in findings.no_signal(steps(solved_all=0.1, solved_none=0.8), []).remedy


def test_found_comes_first_and_nan_is_no_evidence() -> None:
    rows = steps(truncated=0.5, entropy=math.nan, mismatch_k3=1e-6)
    states = [finding.state for finding in diagnose(rows, [])]
    assert states == sorted(states, key=("found", "unknown", "clear").index)
    assert states[0] == "found"
    assert findings.entropy_collapse(rows, []).state == "unknown"


def test_imitated_text_without_verdicts_is_not_absent() -> None:
    rows = steps(accuracy=None, absent=64, tokens=10.0, generated_tokens=640)
    assert findings.absent_verdicts(rows, []).state == "unknown"
