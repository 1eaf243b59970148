from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reckon.core.records import Verdict
from reckon.sandbox.limits import Limits
from reckon.sandbox.pool import Pool
from reckon.tasks.check import hostile_responses
from reckon.tasks.math import REASONS, verify, verify_all

BACK_ENDS = "tests.tasks.math.back_ends"


def boxed(answer: str) -> str:
    return f"<think> hm </think> \\boxed{{{answer}}}"


@pytest.mark.parametrize(
    ("response", "gold", "reason", "score"),
    [
        (boxed("4"), "4", "correct", 1),
        (boxed("5"), "4", "wrong", 0),
        (boxed("3 or 4"), "4", "hedged", 0),
        ("hm", "4", "no answer", 0),
        ("<think> hm", "4", "truncated", 0),
        (boxed("+"), "4", "unparsable answer", 0),
        (boxed("4" * 3000), "4", "unparsable answer", 0),
        (boxed("{" * 100 + "4" + "}" * 100), "4", "unparsable answer", 0),
        (boxed("4"), "", "unparsable gold", None),
        (boxed("proof"), "proof", "unparsable gold", None),
        (boxed("4"), "4" * 3000, "unparsable gold", None),
    ],
)
def test_reasons(response: str, gold: str, reason: str, score: float | None) -> None:
    verdict = verify(response, gold)
    assert (verdict.reason, verdict.score) == (reason, score)


def test_what_a_verdict_says() -> None:
    verdict = verify(boxed(r"\frac{2}{4}"), "0.5")
    assert verdict == Verdict(1.0, "correct", "1/2", {"kind": "number", "by": "exact"})
    assert 0 < verdict.seconds < 1


@pytest.mark.parametrize(
    "answers",
    [
        ("0.5", r"\frac12", "1/2", r"\frac{2}{4}", r"\dfrac{1}{2}", "x=0.5", ".50"),
        ("1,2", r"\{2,1\}".replace(r"\{", "").replace(r"\}", ""), "2, 1", "1 \\text{ and } 2"),
        ("1,000", "1000", r"1{,}000", "10^3"),
        ("25\\%", "25%", "25\\text{ percent}"),
    ],
)
def test_equal_answers_count_as_one_vote(answers: tuple[str, ...]) -> None:
    assert len({verify(boxed(answer), "77").extracted for answer in answers}) == 1


def test_a_kind_may_be_given() -> None:
    assert verify(boxed("3:30"), "3:30 PM", "time").score == 1
    assert verify(boxed("6:4"), "3:2", "ratio").score == 1
    assert verify(boxed("Friday"), "Friday", "text").detail["kind"] == "text"
    assert verify(boxed("12"), "B", "choice").reason == "unparsable answer"
    assert verify(boxed("B"), "12", "choice").score is None
    assert verify(boxed("4"), "4", "no such kind").detail["kind"] == "number"


def test_many_at_once_get_what_each_gets_alone() -> None:
    golds = [r"\sqrt{12}", "4", r"\ln 4", "B", "x^2-1", r"1\pm\sqrt5", ""]
    answers = [r"2\sqrt3", "4", r"2\ln 2", "A", "(x-1)(x+1)", r"1+\sqrt5,1-\sqrt5", r"3\sqrt 2", "x"]
    items = [(boxed(answer), gold, None) for gold in golds for answer in answers]
    assert verify_all(items) == [verify(*item) for item in items]
    assert verify_all([]) == []


def test_works_in_threads_and_in_coroutines() -> None:
    """Math-Verify's own alarm works in the main thread alone, which scored whole runs 0 elsewhere."""
    items = [(boxed(rf"{n}\sqrt{{3}}"), rf"\sqrt{{{3 * n * n}}}") for n in range(2, 10)]
    main = threading.get_ident()

    def judge(item: tuple[str, str]) -> float | None:
        assert threading.get_ident() != main
        return verify(*item).score

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(judge, items)) == [1.0] * len(items)

    async def gathered() -> list[Verdict]:
        return await asyncio.gather(*(asyncio.to_thread(verify, *item) for item in items))

    assert [verdict.score for verdict in asyncio.run(gathered())] == [1.0] * len(items)


@pytest.mark.parametrize(("function", "reason"), [("dies", "crashed"), ("hangs", "timed out")])
def test_a_back_end_that_fails_gives_no_score(function: str, reason: str) -> None:
    items = [(boxed(rf"{n}\sqrt{{101}}"), rf"\sqrt{{{n}}}", None) for n in range(2, 5)]
    with Pool(f"{BACK_ENDS}:{function}", workers=2, limits=Limits(timeout_s=0.3)) as pool:
        verdicts = verify_all([*items, (boxed("4"), "4", None)], pool)
    assert [(verdict.score, verdict.reason) for verdict in verdicts] == [*[(None, reason)] * 3, (1.0, "correct")]


def test_a_worker_that_is_killed_takes_no_other_verdict_along() -> None:
    items = [(boxed(rf"{n}\sqrt{{13}}"), rf"\sqrt{{{13 * n * n}}}", None) for n in (2, 7, 3, 17, 4)]
    with Pool(f"{BACK_ENDS}:dies_on_seven", workers=2) as pool:
        verdicts = verify_all(items, pool)
    assert [verdict.score for verdict in verdicts] == [1.0, None, 1.0, None, 1.0]


def test_a_pool_that_cannot_start_gives_no_score() -> None:
    with Pool("no.such.module:function", workers=1) as pool:
        verdict = verify_all([(boxed(r"2\sqrt{17}"), r"\sqrt{68}", None)], pool)[0]
    assert (verdict.score, verdict.reason) == (None, "crashed")


HUGE = {
    "boxes": "\\boxed{1}" * 50_000,
    "boxes never closed": "\\boxed{" * 100_000,
    "braces": "{" * 1_000_000 + "\\boxed{1}",
    "closing braces": "\\boxed" + "}" * 1_000_000,
    "spaces after a box": "\\boxed" + " " * 1_000_000,
    "words": "answer " * 200_000,
    "marks": "Answer: 1 " * 50_000,
    "blocks": "<answer>1</answer>" * 50_000,
    "blocks never closed": "<answer>" * 200_000,
    "thoughts": "<think>" * 200_000,
    "thoughts never begun": "</think>" * 200_000,
    "formulas": "\\[" * 200_000,
    "ten million characters": "lorem ipsum " * 833_333,
}


@pytest.mark.parametrize("name", HUGE)
def test_time_is_linear(name: str) -> None:
    """A quadratic layer would need minutes. The bound is generous, for a busy machine."""
    start = time.perf_counter()
    assert verify(HUGE[name], "4").score == 0
    assert time.perf_counter() - start < 10


@pytest.mark.parametrize("name", hostile_responses(""))
def test_hostile_responses(name: str) -> None:
    assert verify(hostile_responses("What is 2 + 2?")[name], "4").score == 0


SLOW = [
    r"100000000!", "9^{9^{9^9}}", r"\prod_{k=1}^{1000000}k", "1" + "+1" * 900, "1/" * 900 + "1", "x^" * 900 + "x",
    "-" * 1900 + "4", r"\sqrt{" * 60 + "4" + "}" * 60, "+".join(f"1/3^{{{n}}}" for n in range(500, 620)),
    ",".join(map(str, range(500))), "(x+1)^{2000}", "x!!!!!!!!", "((((((((9^9)^9)^9)^9)^9)^9)^9)^9)",
    r"\binom{10^9}{10^8}", "=".join(["4"] * 600), "4" + r"\pm 1" * 300, r"\sin" * 400 + "x", "|" * 900, "±" * 900,
    "4" + "°" * 900, "4" + "%" * 900, r"\log_{2}" * 200 + "4", "e^{" * 50 + "1" + "}" * 50,
]  # fmt: skip


@pytest.mark.parametrize("gold", ["5", "x^2+1", r"\sqrt2", "1,2,3", "(1,2)", "[0,1)", "x=3", r"\sum_{k=1}^{n} k"])
def test_no_answer_takes_long(gold: str) -> None:
    start = time.perf_counter()
    verdicts = verify_all([(boxed(answer), gold, None) for answer in SLOW])
    assert {verdict.score for verdict in verdicts} <= {0.0}
    assert time.perf_counter() - start < 10


FRAGMENTS = (
    *(
        "\\boxed{",
        "}",
        "{",
        "\\frac",
        "\\sqrt",
        "^",
        "_",
        "(",
        ")",
        "[",
        "]",
        "\\{",
        "\\}",
        ",",
        " and ",
        " or ",
        "=",
        "<",
        "x",
        "n",
    ),
    *(
        "1",
        "23",
        "4.5",
        ".",
        "!",
        "|",
        "\\sin",
        "\\log",
        "\\pi",
        "\\infty",
        "\\pm",
        "-",
        "+",
        "*",
        "/",
        "%",
        "\\text{",
        "cm",
        " ",
        "°",
    ),
    *(
        "\\cup",
        "\\in",
        "个",
        "三",
        "百分之",
        "万",
        "$",
        "\\$",
        "<answer>",
        "</answer>",
        "</think>",
        "<think>",
        "Answer:",
        "答案是",
        "&",
    ),
    *(
        "\\begin{pmatrix}",
        "\\end{pmatrix}",
        "\\\\",
        "\\sum_{k=1}^{9}",
        "\\binom",
        "e",
        "i",
        "\\overline",
        ":",
        "0",
        "AM",
        "March",
    ),
)
GOLDS = (
    "4",
    r"\frac12",
    "x^2+1",
    "(1,2)",
    "[0,1)",
    r"\{1,2\}",
    "1,3",
    "B",
    "Yes",
    r"\text{odd}",
    "x>2",
    "y=2x",
    "25\\%",
    "3 cm",
    "1011_2",
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(FRAGMENTS), max_size=30), st.sampled_from(GOLDS), st.booleans())
def test_total_on_fragments(pieces: list[str], gold: str, box: bool) -> None:
    text = "".join(pieces)
    assert verify(boxed(text) if box else text, gold).reason in REASONS


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=200), st.text(max_size=60))
def test_total_on_any_text(text: str, gold: str) -> None:
    assert verify(boxed(text), gold).reason in REASONS
    assert verify(text, gold).reason in REASONS
