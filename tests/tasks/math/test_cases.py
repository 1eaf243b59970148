"""The verifier on tables of cases: our own, written by the policy, and those of the shared data where present."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from reckon.tasks.math import KINDS, REASONS, verify_all

HERE = Path(__file__).parent
DATA = Path(os.environ.get("RECKON_DATA", Path(__file__).parents[4] / "shared" / "data"))
DEADLINE_S = 1.0
"""For a verdict without the back end; the back end has the deadline of its pool."""


def lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        pytest.skip(f"no {path}: set RECKON_DATA")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def response(case: dict[str, Any]) -> str:
    if "response" in case:
        return str(case["response"])
    return f"<think>\nLet me see.\n</think>\n\nThe final answer is $\\boxed{{{case['answer']}}}$."


@pytest.mark.parametrize("name", ["cases", "independent_cases"])
def test_own_cases(name: str) -> None:
    """The independent ones were written by the policy without sight of the verifier, and looked at when it was done."""
    cases = lines(HERE / f"{name}.jsonl")
    verdicts = verify_all([(response(case), case["gold"], None) for case in cases])
    wrong = [
        (case["category"], case["gold"], case.get("answer", case.get("response")), case["why"], verdict)
        for case, verdict in zip(cases, verdicts, strict=True)
        if (verdict.score == 1.0) != case["correct"]
    ]
    assert wrong == []
    assert {verdict.reason for verdict in verdicts} <= set(REASONS)
    assert {verdict.detail["kind"] for verdict in verdicts} - {None} <= set(KINDS)
    assert [
        verdict for verdict in verdicts if verdict.detail["by"] != "math-verify" and verdict.seconds > DEADLINE_S
    ] == []


def test_own_cases_go_both_ways_in_every_category() -> None:
    cases = lines(HERE / "cases.jsonl")
    counts = Counter((case["category"], case["correct"]) for case in cases)
    assert len(cases) >= 400
    assert min(counts.values()) >= 2
    assert len(counts) == 2 * len({category for category, _ in counts})


def test_shared_cases() -> None:
    """Every case as labelled, but for one of the tier ``stretch``: an amount in prose, by the policy no answer."""
    cases = lines(DATA / "verifier_cases" / "cases.jsonl")
    verdicts = verify_all([(case["answer"], case["gold"], None) for case in cases])
    wrong = [
        (case, verdict.reason)
        for case, verdict in zip(cases, verdicts, strict=True)
        if (verdict.score == 1) != case["expect"]
    ]
    assert [(case["gold"], case["note"].partition("|")[0], reason) for case, reason in wrong] == [
        ("1250", "currency", "no answer")
    ]
    assert [case for case, verdict in zip(cases, verdicts, strict=True) if verdict.seconds > DEADLINE_S] == []


def test_real_responses_get_the_verdict_of_their_labels() -> None:
    """Nine labels of 800 are wrong: they say that ``4:30 \\text{ p.m.}`` is not 4:30 p.m., and 10000 not 10{,}000."""
    problems = lines(DATA / "math_samples" / "math100x8.jsonl")
    items = [(text, problem["answer"], None) for problem in problems for text in problem["responses"]]
    labels = [bool(label) for problem in problems for label in problem["correct"]]
    verdicts = verify_all(items)
    differ = [
        (gold, verdict.score)
        for (_, gold, _), label, verdict in zip(items, labels, verdicts, strict=True)
        if (verdict.score == 1) != label
    ]
    assert Counter(differ) == {(r"\text{4:30 p.m.}", 1.0): 8, ("10{,}000", 1.0): 1}
