from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reckon.tasks.math.number import exact, is_finite_decimal, literal, read_han, repeating
from reckon.tasks.math.parser import read
from reckon.tasks.math.values import Node, TooLarge, Undefined, Unreadable


def value(text: str) -> Fraction | None:
    found = read(text)
    assert isinstance(found, Node)
    return exact(found)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1/2+1/3", Fraction(5, 6)),
        ("2^{-3}", Fraction(1, 8)),
        ("(-8)^{1/3}", None),
        ("8^{2/3}", 4),
        (r"\sqrt{16/9}", Fraction(4, 3)),
        (r"\sqrt[3]{-27}", -3),
        (r"\sqrt{2}", None),
        ("5!", 120),
        (r"\binom{10}{3}", 120),
        (r"\log_{2} 8", 3),
        (r"\log_{4} 8", Fraction(3, 2)),
        (r"\log_{2} 3", None),
        (r"\ln 1", 0),
        (r"⌊7/2⌋", 3),
        ("|-3|", 3),
        (r"\gcd(12,18)", 6),
        (r"\sum_{k=1}^{100} k", 5050),
        (r"\prod_{k=1}^{5} k", 120),
        ("x", None),
        ("π", None),
        ("10!/8!", 90),
        ("(1/2004!)/(1/2006!)", 2005 * 2006),
    ],
)
def test_exact_values(text: str, number: Fraction | None) -> None:
    assert value(text) == number


@pytest.mark.parametrize("text", ["1/0", "0^0", "0^{-1}", r"\log_{1} 2", r"\log_{2} 0", "(-1)!", "1/(1-1)"])
def test_no_value(text: str) -> None:
    with pytest.raises(Undefined):
        value(text)


@pytest.mark.parametrize(
    "text",
    [
        *("9^{9^{9^9}}", "10^{10^{10}}", "100000000!", "(10^{1000})^{1000}", r"\binom{1000000}{500000}", "1e999999"),
        *(
            r"\sum_{k=1}^{1000000} k",
            r"\prod_{k=1}^{100000} k",
            "9" * 2001,
            "(2^{20000})*(2^{20000})",
            r"\sum_{k=1}^{900} 1/k^{90}",
        ),
    ],
)
def test_too_large(text: str) -> None:
    with pytest.raises(TooLarge):
        value(text)


def test_a_literal_says_whether_it_is_a_decimal() -> None:
    assert not literal("12").decimal
    assert not literal("12.").decimal
    assert literal("12.0").decimal
    assert literal("1e3").decimal


def test_repeating_decimals() -> None:
    assert repeating("0.1", "6").value == Fraction(1, 6)
    with pytest.raises(Unreadable):
        repeating("0.1", "x")


@given(st.fractions(max_denominator=10_000))
def test_decimals_end_if_only_two_and_five_divide(number: Fraction) -> None:
    rest = number.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    assert is_finite_decimal(number) == (rest == 1)


@pytest.mark.parametrize(
    ("run", "found"),
    [
        ("三", ("3", "")),
        ("十", ("10", "")),
        ("二十五个", ("25", "个")),
        ("一百零三", ("103", "")),
        ("三万五千", ("35000", "")),
        ("一亿", ("100000000", "")),
        ("二零二四", ("2024", "")),
        ("三点一四", ("3.14", "")),
        ("负五", ("-5", "")),
        ("百分之五十", ("50", "percent")),
        ("三角形", (None, "三角形")),
        ("苹果", (None, "苹果")),
    ],
)
def test_chinese_numerals(run: str, found: tuple[str | None, str]) -> None:
    assert read_han(run) == found
