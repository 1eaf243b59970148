import contextlib
from fractions import Fraction

import pytest

from reckon.tasks.math.notation import tidy
from reckon.tasks.math.parser import read
from reckon.tasks.math.values import Chain, Group, Matrix, Num, Op, Quantity, Sym, Union, Unreadable, Words

SAME = [
    (r"\frac12", r"\frac{1}{2}"),
    (r"\dfrac{1}{2}", r"\frac{1}{2}"),
    (r"{1 \over 2}", r"\frac{1}{2}"),
    (r"½", r"\frac{1}{2}"),
    (r"2\frac{1}{2}", r"2 1/2"),
    (r"\left( 1, 2 \right)", "(1,2)"),
    (r"\{1, 2\}", r"\lbrace 1,2\rbrace"),
    ("1 and 2", "1,2"),
    (r"1,\text{ and } 2", "1,2"),
    ("7,425,000", "7425000"),
    (r"7\,425\,000", "7425000"),
    ("x^{2}", "x²"),
    ("x**2", "x^2"),
    (r"\sqrt3", r"\sqrt{3}"),
    ("√3", "sqrt(3)"),
    (r"\sin^{-1} x", r"\arcsin x"),
    (r"45^\circ", r"45^{\circ}"),
    ("3e8", r"3\times10^{8}".replace(r"3\times10^{8}", "300000000.0")),
    ("x ≤ 3", r"x \leqslant 3"),
    (r"\{x \mid x>2\}", r"\{x: x>2\}"),
    (r"10~\text{cm}", r"10\ \mathrm{cm}"),
    (r"60 \text{ km/h}", "60 kilometers per hour"),
    (r"5\text{ m}^2", r"5\text{ square meters}"),
    ("三分之二", r"2/3"),
    ("十二个", "12个"),
    (r"\text{x+5}", "x+5"),
    (r"C_{1}", "C_1"),
    (r"5{ }^{\circ}", r"5^\circ"),
    (r"\text{Twenty-one}", "21"),
    (r"\begin{aligned}x&=1\\[2pt]y&=2\end{aligned}", "x=1, y=2"),
    (r"2\begin{pmatrix}x\\y\end{pmatrix}", r"\begin{pmatrix}2x\\2y\end{pmatrix}"),
]


@pytest.mark.parametrize(("first", "second"), SAME)
def test_two_writings_of_one_value(first: str, second: str) -> None:
    assert read(tidy(first)) == read(tidy(second))


X, ONE, TWO = Sym("x"), Num(Fraction(1)), Num(Fraction(2))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("x^{2y}", Op("^", (X, Op("*", (TWO, Sym("y")))))),
        ("x^{2}y", Op("*", (Op("^", (X, TWO)), Sym("y")))),
        ("-x^2", Op("neg", (Op("^", (X, TWO)),))),
        (r"\sin 2x", Op("sin", (Op("*", (TWO, X)),))),
        ("f(x)", Sym("f(x)")),
        ("x(x+1)", Op("*", (X, Op("+", (X, ONE))))),
        ("[1,2)", Group("[", ")", (ONE, TWO))),
        (r"[1,2)\cup\{1\}", Union((Group("[", ")", (ONE, TWO)), Group("{", "}", (ONE,))))),
        ("1<x", Chain((ONE, X), ("<",))),
        (r"\begin{pmatrix}1\\2\end{pmatrix}", Matrix(((ONE,), (TWO,)))),
        (r"2\%", Quantity(TWO, percent=True)),
        ("2元", Quantity(TWO, "yuan")),
        (r"\$2", Quantity(TWO, "dollar")),
        ("2 cm^2", Quantity(TWO, "centimeter^2")),
        ("Friday", Words("Friday")),
        (r"[1,2]\setminus\{1\}", Chain((Group("[", "]", (ONE, TWO)), Group("{", "}", (ONE,))), ("∖",))),
        (r"\text{Area}=2", Chain((Words("Area"), TWO), ("=",))),
    ],
)
def test_structure(text: str, value: object) -> None:
    assert read(tidy(text)) == value


def test_commas_may_separate_or_group() -> None:
    assert read("100,200") == Num(Fraction(100200))
    assert read("100,200", grouped=False) == Group("", "", (Num(Fraction(100)), Num(Fraction(200))))


def test_letters_may_be_units() -> None:
    assert read("16 m") == Op("*", (Num(Fraction(16)), Sym("m")))
    assert read("16 m", constant=True) == Quantity(Num(Fraction(16)), "meter")


def test_combinations_are_read_where_there_are_no_variables() -> None:
    combination = Op("binom", (TWO, ONE))
    assert read("C_2^1", constant=True) == read("C(2, 1)", constant=True) == combination
    assert read("C_2^1") == Op("^", (Sym("C_2"), ONE))
    assert read("C_1^2", constant=True) == Op("^", (Sym("C_1"), TWO))


@pytest.mark.parametrize(
    "text",
    [
        *("", "(", ")", "(1", "1)", "{", ",1", "1+", "*", "^2", "x^", r"\frac{1}", r"\sqrt", "|1", "4 2", "1..2", "?"),
        *(
            r"\int_0^1 x",
            r"\lim_{x\to0} x",
            r"\begin{cases}1&2\end{cases}",
            r"\begin{pmatrix}1",
            r"\text{a",
            "5 or",
            "=",
            "1=",
        ),
        *(
            r"\begin{pmatrix}1&2\\3\end{pmatrix}",
            r"2\setminus3",
            "(1,2)+1",
            "{1,2}^2",
            "5 or 6 apples more than",
            "7😀",
            r"\foo",
            "😀",
        ),
    ],
)
def test_unreadable(text: str) -> None:
    with pytest.raises(Unreadable):
        read(tidy(text))


@pytest.mark.parametrize(
    "text", ["-" * 2000 + "1", "x^" * 900 + "x", "(" * 900 + "1" + ")" * 900, "1/" * 999 + "1", "1" + "!" * 1999]
)
def test_depth_does_no_harm(text: str) -> None:
    with contextlib.suppress(Unreadable):
        read(text)
