import time
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reckon.tasks.expression import MAX_DEPTH, MAX_DIGITS, NotArithmetic, evaluate


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7", 7),
        ("8 - 3 - 1", 4),
        ("8 / 4 / 2", 1),
        ("2 + 3 * 4", 14),
        ("( 2 + 3 ) * 4", 20),
        ("8 / ( 3 - 8 / 3 )", 24),
        ("1 / 3 + 1 / 6", Fraction(1, 2)),
        ("3 - 8", -5),
        ("\t((7))\n", 7),
        ("(" * MAX_DEPTH + "1" + ")" * MAX_DEPTH, 1),
    ],
)
def test_values_are_exact(text: str, value: Fraction) -> None:
    assert evaluate(text).value == value


def test_numbers_and_normal_form() -> None:
    expression = evaluate(" ( 8 /01 ) *3 - 8")
    assert expression.numbers == (8, 1, 3, 8)
    assert expression.text == "(8/1)*3-8"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not an expression"),
        ("()", "not an expression"),
        ("1 2", "not an expression"),
        ("1 +", "not an expression"),
        ("-3 + 8", "not an expression"),
        ("8 * -3", "not an expression"),
        ("8 ** 2", "not an expression"),
        ("8 // 3", "not an expression"),
        ("8 % 3", "not an expression"),
        ("2(3)", "not an expression"),
        ("(1 + 2", "not an expression"),
        ("1 + 2)", "not an expression"),
        ("1 + 2 = 3", "not an expression"),
        ("1.5 * 2", "not an expression"),
        ("1e9", "not an expression"),
        ("0x10", "not an expression"),
        ("1_000", "not an expression"),
        ("3 × 8", "not an expression"),
        ("８ * ３", "not an expression"),
        ("٣ + ٤", "not an expression"),
        ("2²", "not an expression"),
        ("3\u00a0+ 8", "not an expression"),
        ("__import__('os')", "not an expression"),
        ("1 / (2 - 2)", "division by zero"),
        ("9" * (MAX_DIGITS + 1), "number too long"),
        ("(" * (MAX_DEPTH + 1) + "1" + ")" * (MAX_DEPTH + 1), "too deep"),
        ("9" * 1001, "too long"),
        ("(" * 100_000, "too long"),
        ("9**9**9**9", "not an expression"),
    ],
)
def test_everything_else_is_refused_at_once(text: str, reason: str) -> None:
    start = time.process_time()
    with pytest.raises(NotArithmetic, match=f"^{reason}$"):
        evaluate(text)
    assert time.process_time() - start < 0.05


def test_the_largest_accepted_fraction_takes_no_time() -> None:
    text = "+".join(f"1/{10**17 + index}" for index in range(45))
    start = time.process_time()
    assert evaluate(text).value > 0
    assert time.process_time() - start < 0.05


Tree = tuple[str, Fraction | None]


def _join(parts: tuple[Tree, str, Tree]) -> Tree:
    (left, a), sign, (right, b) = parts
    text = f"({left}){sign} ({right} )"
    if a is None or b is None or (sign == "/" and b == 0):
        return text, None
    return text, {"+": a + b, "-": a - b, "*": a * b, "/": a / b if b else None}[sign]


_leaf = st.integers(0, 99).map(lambda number: (str(number), Fraction(number)))
_trees = st.recursive(_leaf, lambda tree: st.tuples(tree, st.sampled_from("+-*/"), tree).map(_join), max_leaves=12)


@given(_trees)
@settings(deadline=None)
def test_agrees_with_the_tree_that_was_written_down(tree: Tree) -> None:
    text, value = tree
    if value is None:
        with pytest.raises(NotArithmetic, match="division by zero"):
            evaluate(text)
    else:
        assert evaluate(text).value == value


@given(st.text(max_size=40) | st.text(alphabet="0123456789+-*/() ", max_size=40))
@settings(deadline=None)
def test_any_text_is_either_refused_or_means_the_same_when_written_plainly(text: str) -> None:
    try:
        expression = evaluate(text)
    except NotArithmetic:
        return
    assert evaluate(expression.text) == expression
