"""The named verifiers, beside each other."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from reckon.core.errors import ConfigError
from reckon.core.records import Verdict
from reckon.sandbox.limits import Limits
from reckon.sandbox.pool import Pool
from reckon.tasks import verifiers
from reckon.tasks.verifiers import VERIFIERS, Item, last_box, verifier

DATA = Path(os.environ.get("RECKON_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))


def judged(name: str, response: str, gold: str) -> tuple[float | None, str, str | None]:
    [verdict] = verifier(name)([(response, gold, None)])
    return verdict.score, verdict.reason, verdict.extracted


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(
        ConfigError, match=r"no verifier 'boxes'; did you mean 'boxed'\?.*math, math-verify, boxed, exact"
    ):
        verifier("boxes")


@pytest.mark.parametrize("name", VERIFIERS)
def test_each_judges_many_in_order(name: str) -> None:
    right = r"<think> 1 + 1 </think> <answer>\boxed{2}</answer>" if name != "exact" else "</think><answer>2</answer>"
    wrong = right.replace("2", "3")
    items: list[Item] = [(right, "2", None), (wrong, "2", None), ("", "2", None), (right, "2", None)]
    verdicts = verifier(name)(items)
    assert [verdict.score for verdict in verdicts] == [1, 0, 0, 1]
    assert [verdict.extracted is None for verdict in verdicts] == [False, False, True, False]
    assert verdicts[0].reason == "correct"
    assert all(verdict.seconds > 0 for verdict in verdicts)
    assert verifier(name)([]) == []


@pytest.mark.parametrize(
    ("text", "held"),
    [
        (r"\boxed{1} then \boxed{\frac{1}{2}}.", r"\frac{1}{2}"),
        (r"\fbox{7}", "7"),
        (r"\boxed{}", ""),
        (r"\boxed{1} and \boxed{2", None),
        ("no box", None),
        (r"\boxed 4", None),
        (r"\boxed{" * 50_000, None),
    ],
)
def test_the_last_box(text: str, held: str | None) -> None:
    assert last_box(text) == held


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        (r"\frac12", r"\frac{1}{2}"),
        (r"\dfrac{1}{2}", "1/2"),
        ("0.5", r"\tfrac12"),
        (".5", "0.5"),
        (r"\frac{3}4", r"\frac34"),
        (r"-3/4", r"\frac{-3}{4}"),
        (r"\sqrt3", r"\sqrt{3}"),
        (r"x = 5", "5"),
        (r"\left( 1, 2 \right)", "(1,2)"),
        (r"90^\circ", "90"),
        (r"90^{\circ}", "90"),
        (r"\$1,000", "1,000"),
        (r"12\%", "12"),
        (r"5\text{ cm}", "5"),
        ("1\\!000", "1000"),
    ],
)
def test_boxed_knows_ways_of_writing(answer: str, gold: str) -> None:
    assert judged("boxed", rf"So \boxed{{{answer}}}", gold) == (1, "correct", answer)


@pytest.mark.parametrize(
    ("answer", "gold"), [("0.50", "0.5"), ("2", "-2"), (r"\frac{2}{4}", r"\frac12"), ("1,000", "1000"), ("x+y=5", "5")]
)
def test_boxed_compares_no_values(answer: str, gold: str) -> None:
    assert judged("boxed", rf"So \boxed{{{answer}}}", gold) == (0, "wrong", answer)


def test_boxed_and_exact_have_no_answer_to_compare() -> None:
    assert judged("boxed", "the answer is 2", "2") == (0, "no answer", None)
    assert judged("exact", r"\boxed{2}", "2") == (0, "unfinished thinking", None)
    assert judged("exact", "</think> <answer> 北京 </answer>", "北京 ") == (1, "correct", "北京")
    assert judged("exact", "</think> <answer>2.0</answer>", "2") == (0, "wrong", "2.0")


def test_math_verify_is_called_as_it_is() -> None:
    assert judged("math-verify", r"\boxed{0.5}", r"\frac{1}{2}") == (1, "correct", r"\frac{1}{2}")
    assert judged("math-verify", "no numbers here", "4") == (0, "no answer", None)
    # What it is known to let through is not repaired here.
    assert judged("math-verify", r"\boxed{1=2=3=4}", "4")[:2] == (1, "correct")


def test_what_the_pool_could_not_judge_has_no_score(monkeypatch: pytest.MonkeyPatch) -> None:
    with Pool("tests.sandbox.pool_functions:act", workers=1, limits=Limits(timeout_s=0.3)) as pool:
        monkeypatch.setattr(verifiers, "shared_pool", lambda *_, **__: pool)
        crashed, hung = verifier("math-verify")([("fail", "boom", None), ("wait", "for ever", None)])
    assert crashed == Verdict(None, "crashed", detail={"why": "ValueError: boom"})
    assert hung == Verdict(None, "timed out", detail={"why": "no result after 0.3 s"})
    assert hung.seconds >= 0.3


def test_boxed_against_the_labels_of_real_responses() -> None:
    path = DATA / "math_samples" / "math100x8.jsonl"
    if not path.exists():
        pytest.skip(f"no {path}: set RECKON_DATA")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    items = [(response, row["answer"], None) for row in rows for response in row["responses"]]
    labels = [label for row in rows for label in row["correct"]]
    differ = [
        (item[1], label)
        for item, verdict, label in zip(items, verifier("boxed")(items), labels, strict=True)
        if (verdict.score == 1) != label
    ]
    # Strings that differ in the commas of a number; nothing wrong passes.
    assert set(differ) == {(gold, True) for gold in (r"900,\!000,\!000", r"3,\!250", r"50,\!625")}
