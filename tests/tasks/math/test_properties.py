"""Properties of the verifier: what is equal is right however it is written, what differs is wrong."""

from __future__ import annotations

import random
from fractions import Fraction

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from reckon.tasks.math import verify

QUICK = settings(max_examples=40, deadline=None)

integers = st.integers(-(10**30), 10**30)
small = st.integers(-99, 99)
fractions = st.fractions(max_denominator=10**6)
decimals = st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**9), max_value=10**9)
sets = st.sets(fractions, min_size=1, max_size=6)
seeds = st.integers(0, 10**6)


def right(answer: str, gold: str) -> bool:
    return verify(f"<think> hm </think> The answer is $\\boxed{{{answer}}}$.", gold).score == 1


def latex(number: Fraction) -> str:
    if number.denominator == 1:
        return str(number)
    return f"{'-' if number < 0 else ''}\\frac{{{abs(number.numerator)}}}{{{number.denominator}}}"


def plain(number: Fraction) -> str:
    return str(number)


@QUICK
@given(integers, integers)
def test_integers(number: int, other: int) -> None:
    assert right(str(number), str(number))
    assert right(f"{number:,}", str(number))
    assert right(f"{number:,}".replace(",", "{,}"), str(number))
    assert right(f"{number}.0", str(number))
    assert right(f"x={number}", str(number))
    assert right(str(other), str(number)) == (number == other)
    assert not right(f"{number}, {number + 1}", str(number))
    assert not right(f"{number}.000001", str(number))


@QUICK
@given(fractions, fractions, st.integers(2, 99))
def test_fractions(number: Fraction, other: Fraction, factor: int) -> None:
    scaled = f"\\dfrac{{{number.numerator * factor}}}{{{number.denominator * factor}}}"
    assert right(latex(number), plain(number))
    assert right(plain(number), latex(number))
    assert right(scaled, latex(number))
    assert right(latex(other), latex(number)) == (number == other)
    assert not right(latex(number + Fraction(1, 10**12)), latex(number))


@QUICK
@given(st.integers(1, 99), st.integers(1, 98), st.integers(2, 99))
def test_mixed_numbers(whole: int, above: int, below: int) -> None:
    assume(above < below)
    gold = latex(whole + Fraction(above, below))
    assert right(f"{whole}\\frac{{{above}}}{{{below}}}", gold)
    assert right(f"{whole} {above}/{below}", gold)
    assert not right(latex(Fraction(whole * above, below)), f"{whole}\\frac{{{above}}}{{{below}}}")


@QUICK
@given(decimals)
def test_decimals(number: object) -> None:
    text = f"{number:f}"
    assert right(text, text)
    assert right(text + "0", text)
    assert right(plain(Fraction(text)), text)
    assert not right(text + "1", text)


@QUICK
@given(fractions)
def test_percentages(number: Fraction) -> None:
    gold = f"{latex(number)}\\%"
    assert right(f"{latex(number)}\\%", gold)
    assert right(latex(number), gold)
    assert right(latex(number / 100), gold)
    assert right(latex(number * 100), gold) == (number == 0)


@QUICK
@given(sets, fractions, seeds)
def test_sets(numbers: set[Fraction], extra: Fraction, seed: int) -> None:
    gold = "\\{" + ", ".join(map(latex, sorted(numbers))) + "\\}"
    shuffled = random.Random(seed).sample(sorted(numbers), len(numbers))
    listed = ", ".join(map(plain, shuffled))
    assert right(f"\\{{{listed}\\}}", gold)
    assert right(listed, gold)
    assert right(f"{listed}, {latex(extra)}", gold) == (extra in numbers)
    if len(numbers) > 1:
        assert not right(", ".join(map(plain, shuffled[1:])), gold)


@QUICK
@given(st.lists(fractions, min_size=2, max_size=5), seeds)
def test_tuples(numbers: list[Fraction], seed: int) -> None:
    gold = "(" + ", ".join(map(latex, numbers)) + ")"
    shuffled = random.Random(seed).sample(numbers, len(numbers))
    assert right("\\left(" + ",\\ ".join(map(plain, numbers)) + "\\right)", gold)
    assert right("(" + ", ".join(map(latex, shuffled)) + ")", gold) == (shuffled == numbers)
    assert not right("(" + ", ".join(map(latex, [*numbers, numbers[0]])) + ")", gold)


@QUICK
@given(fractions, fractions, st.sampled_from("[("), st.sampled_from("])"))
def test_intervals(low: Fraction, high: Fraction, opening: str, closing: str) -> None:
    assume(low < high)
    gold = f"{opening}{latex(low)}, {latex(high)}{closing}"
    signs = ("\\le" if opening == "[" else "<"), ("\\le" if closing == "]" else "<")
    middle = latex((low + high) / 2)
    assert right(f"{opening}{plain(low)},{plain(high)}{closing}", gold)
    assert right(f"{latex(low)} {signs[0]} x {signs[1]} {latex(high)}", gold)
    assert right(f"{opening}{latex(low)}, {middle}] \\cup ({middle}, {latex(high)}{closing}", gold)
    assert not right(f"{opening}{latex(low)}, {middle}) \\cup ({middle}, {latex(high)}{closing}", gold)
    assert not right(f"{'(' if opening == '[' else '['}{latex(low)}, {latex(high)}{closing}", gold)
    assert not right(f"{opening}{latex(low)}, {latex(high + 1)}{closing}", gold)


@QUICK
@given(st.lists(st.lists(small, min_size=2, max_size=3), min_size=2, max_size=3), st.integers(1, 9))
def test_matrices(rows: list[list[int]], change: int) -> None:
    assume(len({len(row) for row in rows}) == 1)

    def matrix(kind: str, cells: list[list[int]]) -> str:
        return f"\\begin{{{kind}}}" + r"\\".join("&".join(map(str, row)) for row in cells) + f"\\end{{{kind}}}"

    gold = matrix("pmatrix", rows)
    transposed = [list(row) for row in zip(*rows, strict=True)]
    assert right(matrix("bmatrix", rows), gold)
    assert right(matrix("pmatrix", transposed), gold) == (transposed == rows)
    assert not right(matrix("pmatrix", [[rows[0][0] + change, *rows[0][1:]], *rows[1:]]), gold)


@QUICK
@given(st.lists(small, min_size=1, max_size=4), small, st.integers(1, 9))
def test_polynomials(roots: list[int], at: int, change: int) -> None:
    gold = "".join(f"(x-({root}))" for root in roots)
    coefficients = [1]
    for root in roots:
        coefficients = [a - root * b for a, b in zip([*coefficients, 0], [0, *coefficients], strict=True)]
    degree = len(coefficients) - 1
    expanded = "+".join(f"({value})x^{{{degree - place}}}" for place, value in enumerate(coefficients))
    assert right(expanded, gold)
    assert right(gold.replace("x-", "-(-x)-"), gold)
    assert not right(f"{expanded}+{change}", gold)
    assert not right(f"({expanded}) \\cdot x", gold)


@QUICK
@given(st.integers(2, 400), st.integers(1, 30))
def test_roots(number: int, factor: int) -> None:
    gold = f"\\sqrt{{{number * factor * factor}}}"
    assert right(f"{factor}\\sqrt{{{number}}}", gold)
    assert not right(f"{factor + 1}\\sqrt{{{number}}}", gold)


@QUICK
@given(small, small, small, st.integers(1, 9))
def test_lines(a: int, b: int, c: int, factor: int) -> None:
    assume(a and b)
    gold = f"({a})x+({b})y=({c})"
    assert right(f"({-a * factor})x=({b * factor})y-({c * factor})", gold)
    assert not right(f"({a})x+({b})y=({c + factor})", gold)
    assert not right(f"({a})x+({b + factor + abs(b) * 2})y=({c})", gold)


@QUICK
@given(
    st.sampled_from(["cm", "m", "km", "kg", "hours", "minutes", "dollars", "apples"]),
    small,
    st.sampled_from(["cm", "kg", "hours"]),
)
def test_units(unit: str, number: int, other: str) -> None:
    gold = f"{number} \\text{{ {unit}}}"
    assert right(str(number), gold)
    assert right(f"{number}\\ \\mathrm{{{unit}}}", gold)
    assert right(gold, str(number))
    assert right(f"{number} \\text{{ {other}}}", gold) == (unit == other)


@QUICK
@given(st.text("abcdefghijklmnopqrstuvwxyz", min_size=4, max_size=12), st.text("bcdf", min_size=1, max_size=3))
def test_words(word: str, more: str) -> None:
    assume(word not in ("sine", "true", "false", "none", "null", "notfound", "proof"))
    assume(word not in ("gamma", "delta", "theta", "lambda", "sigma", "upsilon", "omega"))  # capitals are other letters
    assert right(f"\\text{{{word.capitalize()}}}", word)
    assert not right(f"\\text{{{word}{more}}}", f"\\text{{{word}}}")
    assert not right(f"\\text{{not {word}}}", f"\\text{{{word}}}")
    assert not right(f"\\text{{{word} or {more}}}", f"\\text{{{word}}}")
