"""The back end, called as its workers call it: what it decides, and Math-Verify's known faults one by one."""

from __future__ import annotations

import pytest

from reckon.tasks.math import verify
from reckon.tasks.math.kinds import kind_of
from reckon.tasks.math.notation import tidy
from reckon.tasks.math.symbolic import compare


def judged(gold: str, answer: str) -> tuple[str, str]:
    kind = kind_of(tidy(gold))
    assert kind is not None
    found = compare({"gold": tidy(gold), "answer": tidy(answer), "raw_gold": gold, "raw_answer": answer, "kind": kind})
    return found["reason"], found["by"]


@pytest.mark.parametrize(
    ("gold", "answer", "reason"),
    [
        (r"\int_0^1 x\,dx", r"\frac12", "correct"),
        (r"\int_0^1 x\,dx", r"\frac13", "wrong"),
        (r"\int_0^x t\,dt", r"\frac{x^2}{2}", "correct"),
        (r"\int_0^1 10^{-7}x\,dx", r"10^{-7}", "wrong"),
        (r"\int_0^1 x\,dx", r"\sum_{k=1}^{1}\frac{k}{2}", "wrong"),
        (r"\int_0^1 x\,dx", r"100000000!", "unparsable answer"),
        (r"\begin{cases}1&x>0\\0&x<0\end{cases}", "1", "unparsable gold"),
        (r"\int_0^1 x\,dx", r"\frac12 \text{ or maybe }3", "unparsable answer"),
    ],
)
def test_what_the_grammar_lacks_is_left_to_math_verify(gold: str, answer: str, reason: str) -> None:
    assert judged(gold, answer) == (reason, "math-verify")


def test_what_it_has_is_decided_numerically() -> None:
    assert judged(r"\sqrt{12}", r"2\sqrt3") == ("correct", "numeric")
    assert judged(r"\sqrt{12}", r"3\sqrt2") == ("wrong", "numeric")


FALSE_POSITIVES = [
    (r"\frac{1}{2004!}", r"\frac{1}{2006!}"),
    (r"\frac{1}{2^{99}}", r"\frac{1}{2^{98}}"),
    (r"\frac{2^{2005}+1}{3\cdot 2^{2006}}", r"\frac{1}{3\cdot 2^{2006}}"),
    ("0.0000001", "0.0000002"),
    ("3*x-1*y+13=0", "3x+4y+14=0"),
    ("4", "9=4"),
    ("4", "1=2=3=4"),
    (r"\frac12", r"\int_0^1 x dx"),
    ("5050", r"\sum_{k=1}^{100}k"),
    ("4", r"\max(3,4)"),
    (r"10\text{ cm}", r"10\text{ m}"),
    (r"3\text{ hours}", r"3\text{ minutes}"),
    ("1011_2", "1011_3"),
    (r"3:30\text{ PM}", r"3:30\text{ AM}"),
    ("1728", r"1331 \text{ and } 1728"),
]
FALSE_NEGATIVES = [
    (r"\frac{1}{\sqrt{n}}", r"\sqrt{\frac1n}"),
    (r"\frac{x^2}{4}+\frac{y^2}{3}=1", "3x^2+4y^2=12"),
    (r"\emptyset", r"\varnothing"),
    ("7425000", r"7\,425\,000"),
    ("204", "204."),
    (r"10\text{ cm}", r"10~\text{cm}"),
    (r"25\%", r"25\text{ percent}"),
]


@pytest.mark.parametrize(("gold", "answer"), FALSE_POSITIVES)
def test_answers_that_math_verify_takes_for_right(gold: str, answer: str) -> None:
    """Its issues 14, 47 and 60, and what was found by running 0.9.0."""
    assert verify(rf"\boxed{{{answer}}}", gold).score == 0


def test_an_unterminated_last_box_is_not_replaced_by_an_earlier_one() -> None:
    verdict = verify(r"\boxed{4}, no, wait: \boxed{5", "4")
    assert (verdict.score, verdict.reason) == (0, "no answer")


@pytest.mark.parametrize(("gold", "answer"), FALSE_NEGATIVES)
def test_answers_that_math_verify_takes_for_wrong(gold: str, answer: str) -> None:
    """Its issues 40 and 64, and what was found by running 0.9.0."""
    assert verify(rf"\boxed{{{answer}}}", gold).score == 1


@pytest.mark.parametrize("response", [r"\boxed {4}", r"\fbox{4}", "<answer>4</answer>", "The answer is 4."])
def test_marks_of_an_answer_that_math_verify_does_not_know(response: str) -> None:
    assert verify(response, "4").score == 1
