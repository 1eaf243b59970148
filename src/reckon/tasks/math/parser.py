"""From a canonical text to a :data:`~reckon.tasks.math.values.Value`: a recursive descent over its tokens.

    list   := item ((',' | ';' | and | or) item)*
    item   := part (relation part)*                     x = 3,  0 < x ≤ 5,  2:3
    part   := [currency] set [unit | '%']
    set    := sum ('∪' sum)* ['∖' sum]
    sum    := ['±'] term (('+' | '-' | '±' | '∓') term)*
    term   := factor (['*' | '/'] factor)*              a factor that follows without a sign multiplies
    factor := ['-'] operand ['!'] ['^' exponent] ['°' | '%']

What the grammar does not have (integrals, limits, cases) raises Unreadable; nothing is dropped silently.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from reckon.tasks.math.expressions import Expressions, node
from reckon.tasks.math.lexer import tokens
from reckon.tasks.math.units import CURRENCIES, PERCENT_WORDS, SCALES, read_unit
from reckon.tasks.math.values import (
    REALS,
    Chain,
    Group,
    Matrix,
    Node,
    Num,
    Op,
    Quantity,
    Sym,
    Union,
    Unreadable,
    Value,
    Words,
    symbols,
)

_RELATIONS = "=<>≤≥≠≈∈:"
_SEPARATORS = frozenset({",", ";", "and", "or"})
_CLOSERS = {"(": (")", "]"), "[": ("]", ")"), "⦃": ("⦄",)}
_CURRENCY_SIGNS = "＄$€£¥₹¢"
_MATRICES = frozenset({"matrix", "pmatrix", "bmatrix", "Bmatrix", "smallmatrix", "array"})


def read(text: str, grouped: bool = True, constant: bool = False) -> Value:
    """The value that a canonical text writes.

    Args:
        grouped: whether ``1,234`` is one number.
        constant: whether there are no variables in it: a letter after a number is a unit (``16 m``), and ``C_9^3`` a
            binomial coefficient.

    Raises:
        Unreadable: it is no formula of the grammar.
        Undefined, TooLarge: one of its literals has no value or too many digits.
    """
    try:
        parser = _Parser(tokens(text, grouped), constant)
        value = parser.list()
    except RecursionError:
        raise Unreadable("nested too deeply") from None
    if parser.here.kind != "end":
        raise Unreadable(f"unexpected {parser.here.text!r}")
    return value


class _Parser(Expressions):
    """Adds to expressions what can stand around them."""

    def list(self) -> Value:
        items = [self.item()]
        disjoint = False
        while self.here.kind == "sign" and self.here.text in _SEPARATORS:
            while self.here.kind == "sign" and self.here.text in _SEPARATORS:  # ", and"
                disjoint |= self.take().text == "or"
            items.append(self.item())
        return items[0] if len(items) == 1 else Group("", "", tuple(items), disjoint)

    def item(self) -> Value:
        parts, ops = [self.part()], []
        while self.is_sign(_RELATIONS):
            ops.append(self.take().text)
            parts.append(self.part())
        return Chain(tuple(parts), tuple(ops)) if ops else parts[0]

    def part(self) -> Value:
        negative = self.is_sign("-") and self.ahead(1).kind == "sign" and self.ahead(1).text in _CURRENCY_SIGNS
        if negative:
            self.take()
        currency = self.currency()
        if not currency and self.here.kind == "word":
            return self.words()
        value = self.sets()
        return self.quantity(Op("neg", (node(value),)) if negative else value, currency)

    def currency(self) -> str:
        """Takes a currency before its amount."""
        if not (self.is_sign(_CURRENCY_SIGNS) or self.here.kind == "word") or self.ahead(1).text in ("", "="):
            return ""
        unit = read_unit(self.here.text)
        if unit not in CURRENCIES:
            return ""
        self.take()
        return unit

    def words(self) -> Words:
        said = []
        while self.here.kind in ("word", "name", "number") or self.is_sign("'-"):
            said.append(self.take().text)
        return Words(" ".join(said))

    def sets(self) -> Value:
        value = self.sum()
        while self.sign("∪"):
            other = self.sum()
            value = Union((*(value.parts if isinstance(value, Union) else (value,)), other))
        if self.sign("∖"):
            removed = self.sum()
            if not isinstance(value, Group | Union) or not isinstance(removed, Group) or removed.open != "{":
                raise Unreadable("a difference of something that is no set")
            return Chain((value, removed), ("∖",))
        return value

    # ---------------------------------------------------------------------------------------------- units

    def quantity(self, value: Value, currency: str) -> Value:
        """The value with the unit or percent sign that follows it."""
        if not isinstance(value, Node):
            return value
        while self.here.kind == "word" and (scale := SCALES.get(self.here.text.casefold())):
            self.take()
            value = Op("*", (node(value), Num(Fraction(scale))))
        if (percentage := _without_percent(node(value))) is not None:
            return Quantity(percentage, percent=True)
        if self.here.kind == "word" and self.here.text.casefold() in PERCENT_WORDS:
            self.take()
            return Quantity(node(value), percent=True)
        plain, degrees = _without_degrees(node(value))
        unit = self.unit("°" if degrees else "") or currency
        return Quantity(plain, unit) if unit else plain

    def unit(self, said: str) -> str:
        """Takes the words of a unit, ``said`` being the degree sign before it; its canonical name, or ""."""
        start = self.position
        while self.continues_unit(self.position > start, bool(said)):
            token = self.take()
            said += f" {token.text}" if token.kind == "word" and token.text not in ("C", "F") else token.text
        if not said.strip():
            return ""
        unit = read_unit(said.strip())
        if unit is None:
            raise Unreadable(f"{said[:40]!r} is no unit")
        return unit

    def continues_unit(self, begun: bool, degrees: bool) -> bool:
        token, before = self.here, self.ahead(-1)
        if token.kind == "name":
            letter = degrees and token.text in ("C", "F")
            return letter or self.constant or (begun and before.text in ("/", "*"))
        if token.kind == "number":
            return begun and before.text in ("^", "{", "-")
        signs = "^{}-*)/°" if begun else "/°"
        return token.kind == "word" or self.is_sign(signs + _CURRENCY_SIGNS)

    # ------------------------------------------------------------------------------------------- brackets

    def bracket(self) -> Value:
        opening = self.take().text
        outside, self.within_bars = self.within_bars, opening == "⦃"
        empty = opening == "⦃" and self.sign("⦄")
        value: Value = Group("{", "}", ()) if empty else self.list()
        if opening == "⦃" and self.sign("|"):
            value = _comprehension(value, self.list())
            self.expect("⦄")
        elif not empty:
            closing = self.sign(*_CLOSERS[opening])
            if not closing:
                raise Unreadable(f"{_CLOSERS[opening][0]!r} is missing")
            value = _set(value) if opening == "⦃" else _enclosed(value, opening, closing)
        self.within_bars = outside
        return value

    def braces(self) -> Value:
        self.expect("{")
        value = self.list()
        for name, op in (("over", "/"), ("choose", "binom")):
            if self.is_command(name):
                self.take()
                value = Op(op, (node(value), node(self.sum())))
        self.expect("}")
        return value

    def environment(self, name: str) -> Value:
        if name not in _MATRICES:
            raise Unreadable(f"the environment {name!r}")
        if name == "array":
            self.raw_group()
        rows: list[tuple[Value, ...]] = []
        row: list[Value] = []
        while not self.is_command(f"end {name}"):
            row.append(self.item())
            if self.sign("&"):
                continue
            rows.append(tuple(row))
            row = []
            if not self.sign("\\\\") and not self.is_command(f"end {name}"):
                raise Unreadable("a matrix is not closed")
        self.take()
        if row or len({len(row) for row in rows}) != 1:
            raise Unreadable("the rows of a matrix differ in length")
        return Matrix(tuple(rows))


def _set(value: Value) -> Value:
    if isinstance(value, Chain) and ":" in value.ops[:-1]:  # {x : x > 2}
        at = value.ops.index(":")
        head = Chain(value.parts[: at + 1], value.ops[:at]) if at else value.parts[0]
        return _comprehension(head, Chain(value.parts[at + 1 :], value.ops[at + 1 :]))
    return Group("{", "}", value.items if isinstance(value, Group) and not value.open else (value,))


def _comprehension(head: Value, condition: Value) -> Value:
    """``{x | x > 2}`` is what its condition says of a real number; any other set by its condition is kept whole."""
    name = head.parts[0] if isinstance(head, Chain) and head.ops == ("∈",) and head.parts[1] == REALS else head
    if isinstance(name, Sym) and name.name in symbols(condition):
        return condition
    conditions = condition.items if isinstance(condition, Group) and not condition.open else (condition,)
    return Group("{", "}", (head, *conditions))


def _enclosed(value: Value, opening: str, closing: str) -> Value:
    """A tuple or interval; of a single value, the value."""
    if isinstance(value, Group) and not value.open:
        return replace(value, open=opening, close=closing)
    return Op("%", (value.node,)) if isinstance(value, Quantity) and value.percent else value


def _without_percent(value: Node) -> Node | None:
    """An expression without the percent sign at its end; None if there is none."""
    match value:
        case Op("%", (inner,)):
            return inner
        case Op("neg" | "*" as name, (*first, last)):
            plain = _without_percent(last)
            return None if plain is None else Op(name, (*first, plain))
    return None


def _without_degrees(value: Node) -> tuple[Node, bool]:
    """An expression without the degree signs of its terms, and whether there were any."""
    match value:
        case Op("°", (inner,)):
            return inner, True
        case Op("+" | "neg" | "±" | "∓" | "*" | "/" as name, args):
            stripped = [_without_degrees(arg) for arg in args]
            return Op(name, tuple(part for part, _ in stripped)), any(degrees for _, degrees in stripped)
    return value, False
