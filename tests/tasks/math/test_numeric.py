import pytest

from reckon.tasks.math.notation import tidy
from reckon.tasks.math.numeric import exactly_equal, numerically_equal
from reckon.tasks.math.parser import read
from reckon.tasks.math.values import Node, TooLarge, Undecided, Undefined


def nodes(*texts: str) -> list[Node]:
    found = [read(tidy(text)) for text in texts]
    assert all(isinstance(node, Node) for node in found)
    return found  # type: ignore[return-value]


EQUAL = [
    ("(x+1)^2", "x^2+2x+1"),
    (r"\frac{1}{x-1}-\frac{1}{x+1}", r"\frac{2}{x^2-1}"),
    (r"\binom{n}{2}", "n(n-1)/2"),
    ("2^{n+1}", r"2\cdot 2^n"),
    ("(-1)^{2n}", "1"),
    ("|x|^2", "x^2"),
    (r"⌊n/2⌋+⌈n/2⌉", "n"),
    (r"⌈n/2⌉", r"⌊(n+1)/2⌋"),
    (r"x-⌊x⌋", r"x-⌊x⌋"),
    (r"\sum_{k=1}^{n} k", "n(n+1)/2"),
]
DIFFERENT = [
    ("(x+1)^2", "x^2+1"),
    ("|x|", "x"),
    ("x", "y"),
    (r"⌊x⌋", "x"),
    (r"⌊x⌋", r"⌈x⌉"),
    (r"⌊x⌋+1", r"⌈x⌉"),
    (r"⌊x⌋+⌊x/2⌋", r"x+⌊x/2⌋"),
    ("n!", "n"),
    ("1/3", "0.33"),
    ("0.333333", "1/3"),
    ("1/2", "0.5000001"),
]
NUMERIC = [
    (r"\sqrt{5+2\sqrt{6}}", r"\sqrt{2}+\sqrt{3}"),
    (r"\sin 2x", r"2\sin x\cos x"),
    (r"\ln 4", r"2\ln 2"),
    (r"e^{i\pi}", "-1"),
    (r"\frac{1}{\sqrt{n}}", r"\sqrt{\frac{1}{n}}"),
    (r"\sqrt{3+2\sqrt2}-1-\sqrt2", "0"),
    (r"\cos 60^\circ", r"\frac12"),
    ("x^{40000}", "x^{20000}x^{20000}"),
    (r"\sqrt2", "1.414213562"),
]
NUMERICALLY_DIFFERENT = [
    (r"\sqrt{5}", r"\sqrt{2}+\sqrt{3}"),
    (r"\sqrt{x^2}", "x"),
    (r"\sqrt2", "1.4142"),
    ("1.4142135", r"\sqrt2"),
    (r"\sqrt2\cdot 10^{50}+1", r"\sqrt2\cdot 10^{50}"),
    ("e^{-200}", "e^{-201}"),
    ("e^{-200}", "0"),
    (r"\ln(x)", r"\ln(x)+10^{-50}"),
    (r"\pi", r"\pi+10^{-100}"),
    (r"\pi", r"\pi+10^{-100}i"),
    ("0", r"\pi+10^{-110}-\pi"),
    (r"\pi", r"\pi+0.000001"),
    ("i^4", "0.9999999"),
]


@pytest.mark.parametrize(("gold", "answer"), EQUAL)
def test_equal_by_rational_arithmetic(gold: str, answer: str) -> None:
    assert exactly_equal(*nodes(gold, answer))


@pytest.mark.parametrize(("gold", "answer"), DIFFERENT)
def test_different_by_rational_arithmetic(gold: str, answer: str) -> None:
    assert not exactly_equal(*nodes(gold, answer))


@pytest.mark.parametrize(("gold", "answer"), NUMERIC)
def test_equal_numerically_only(gold: str, answer: str) -> None:
    with pytest.raises(Undecided):
        exactly_equal(*nodes(gold, answer))
    assert numerically_equal(*nodes(gold, answer))


@pytest.mark.parametrize(("gold", "answer"), NUMERICALLY_DIFFERENT)
def test_different_numerically(gold: str, answer: str) -> None:
    assert not numerically_equal(*nodes(gold, answer))


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ("1/0", Undefined),
        (r"\sqrt2/0", Undefined),
        ("9^{9^9}", TooLarge),
        (r"e^{e^{e^{e^{e}}}}", TooLarge),
        (r"\sin(10^{9})", TooLarge),
    ],
)
def test_no_value(answer: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        numerically_equal(*nodes(r"\sqrt2", answer))


def test_a_decimal_stands_for_what_no_decimal_is() -> None:
    """To a relative error of a millionth, and only in the answer."""
    assert exactly_equal(*nodes("1/3", "0.333333"))
    assert not exactly_equal(*nodes("1/3", "0.33333"))
    assert not exactly_equal(*nodes("1/8", "0.1250000001"))
    assert not exactly_equal(*nodes("0.333333", "1/3"))
    assert not exactly_equal(*nodes("1/3", "0.333333+0.0000003"))
    assert not numerically_equal(*nodes(r"\ln e", "1.0000001"))
