"""The part of the grammar that is arithmetic: sums, products, powers, fractions, roots, functions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from fractions import Fraction

from reckon.tasks.math.cursor import Cursor
from reckon.tasks.math.lexer import FUNCTIONS, GREEK, Token
from reckon.tasks.math.number import literal, repeating
from reckon.tasks.math.units import is_unit
from reckon.tasks.math.values import REALS, Group, Matrix, Node, Num, Op, Sym, Unreadable, Value

ZERO = Num(Fraction(0))
TWO = Num(Fraction(2))
TEN = Num(Fraction(10))
_MINUS_ONE = Op("neg", (Num(Fraction(1)),))

_TRIG = frozenset({"sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh", "coth"})
_ACCENTS = frozenset({
    "vec", "hat", "bar", "overline", "dot", "ddot", "tilde", "widehat", "widetilde", "overrightarrow", "overarc",
})  # fmt: skip
_LETTERS = GREEK | {
    "Gamma", "Delta", "Theta", "Lambda", "Xi", "Sigma", "Upsilon", "Phi", "Psi", "Omega", "angle", "triangle", "nabla",
    "partial", "hbar", "ell", "aleph", "odot",
}  # fmt: skip
_NO_FUNCTION = frozenset({"e", "i", "π", "∞"})


def node(value: Value) -> Node:
    """The value as an operand. Raises Unreadable if it is a list, a set, a relation, words..."""
    if isinstance(value, Num | Sym | Op):
        return value
    raise Unreadable("arithmetic with something that is no number")


class Expressions(Cursor, ABC):
    """Reads expressions. What is in brackets, and the structures around expressions, are a subclass's."""

    def __init__(self, found: list[Token], constant: bool) -> None:
        super().__init__(found)
        self.constant = constant
        self.within_bars = False

    @abstractmethod
    def bracket(self) -> Value:
        """Reads what begins with ``(``, ``[`` or a set's brace."""

    @abstractmethod
    def braces(self) -> Value:
        """Reads a group of TeX."""

    @abstractmethod
    def environment(self, name: str) -> Value:
        """Reads what follows ``\\begin{name}``."""

    # ------------------------------------------------------------------------------------------ operators

    def sum(self) -> Value:
        if op := self.sign("±", "∓"):
            first: Value = Op(op, (ZERO, node(self.term())))
        else:
            first = self.term()
        terms: list[Node] = []
        while op := self.sign("+", "-", "±", "∓"):
            other = node(self.term())
            terms = terms or [node(first)]
            if op in "±∓":
                terms = [Op(op, (_total(terms), other))]
            else:
                terms.append(Op("neg", (other,)) if op == "-" else other)
        return _total(terms) if terms else first

    def term(self) -> Value:
        value = self.factor()
        while True:
            if op := self.sign("*", "/"):
                other = self.factor()
                value = Op("/", (node(value), node(other))) if op == "/" else _scaled(value, other)
            elif self.multiplies():
                value = _scaled(value, self.factor())
            else:
                return value

    def multiplies(self) -> bool:
        """Whether the next token begins a factor."""
        token = self.here
        if token.kind == "number":
            return self.ahead(-1).kind != "number"
        if token.kind == "name":
            before = self.ahead(-1)
            if before.text == "°" and token.text in ("C", "F"):
                return False
            after_number = before.kind == "number" or before.text in (")", "}", "π")
            return not (self.constant and after_number and is_unit(token.text))
        if token.kind == "command":
            return not token.text.startswith("end ") and token.text not in ("over", "choose")
        return self.is_sign("([{π∞⌊⌈") or (self.is_sign("|") and not self.within_bars)

    def factor(self) -> Value:
        negative = self.negative()
        value = self.power()
        if negative:
            return _scaled(_MINUS_ONE, value) if isinstance(value, Matrix) else Op("neg", (node(value),))
        return value

    def negative(self) -> bool:
        """Takes the signs before a factor; whether they make it negative."""
        negative = False
        while op := self.sign("-", "+"):
            negative ^= op == "-"
        return negative

    def power(self) -> Value:
        value = self.primary()
        while True:
            if op := self.sign("!", "°", "%"):
                value = Op(op, (node(value),))
            elif isinstance(value, Group | Matrix) and value != REALS and self.transposes():
                value = _transposed(value)
            elif self.is_sign("^"):
                base = node(value)
                self.take()
                value = Op("^", (base, self.exponent()))
            else:
                return value

    def transposes(self) -> bool:
        """Takes ``^T``; whether it is there."""
        start = self.position
        if self.sign("^") and self.raw_group() in ("T", "top"):
            return True
        self.position = start
        return False

    def exponent(self) -> Node:
        negative = self.negative()
        value = node(self.primary())
        if self.sign("^"):
            value = Op("^", (value, self.exponent()))
        elif self.sign("!"):
            value = Op("!", (value,))
        return Op("neg", (value,)) if negative else value

    # ------------------------------------------------------------------------------------------- operands

    def primary(self) -> Value:
        token = self.here
        if token.kind == "number":
            return self.number()
        if token.kind == "command":
            return self.command()
        if token.kind == "name":
            if token.text in FUNCTIONS:
                return self.function(self.take().text)
            combination = self.combination() if self.constant and token.text == "C" else None
            return combination or self.symbol(self.take().text)
        if self.is_sign("([⦃"):
            return self.bracket()
        if self.is_sign("{"):
            return self.braces()
        if self.is_sign("|"):
            return self.absolute()
        if opening := self.sign("⌊", "⌈"):
            inner = node(self.sum())
            self.expect("⌋" if opening == "⌊" else "⌉")
            return Op("floor" if opening == "⌊" else "ceil", (inner,))
        if self.sign("∅"):
            return Group("{", "}", ())
        if self.is_sign("π∞"):
            return self.symbol(self.take().text)
        raise Unreadable(f"unexpected {token.text!r}" if token.text else "the formula ends too early")

    def number(self) -> Value:
        text = self.take().text
        grouped = len(text) <= 3 and text.isdecimal()
        while grouped and (n := self.here).kind == "number" and n.spaced and len(n.text.partition(".")[0]) == 3:
            text += self.take().text
        if "." in text and (period := self.period()):
            if self.here.kind == "number":
                raise Unreadable("digits after what is repeated for ever")
            return repeating(text, period)
        value = literal(text)
        fraction = self.proper_fraction() if text.isdecimal() else None
        return Num(value.value + fraction) if fraction is not None else value

    def period(self) -> str:
        """Takes the digits that repeat for ever, if any: ``0.\\overline{3}``, ``0.\\dot{1}2\\dot{3}``, ``0.(3)``."""
        if self.here.kind == "command" and self.here.text in ("overline", "bar"):
            self.take()
            return self.raw_group()
        if self.is_command("dot"):
            self.take()
            period = self.raw_group()
            between = self.take().text if self.here.kind == "number" and self.ahead(1).text == "dot" else ""
            if self.is_command("dot"):
                self.take()
                period += between + self.raw_group()
            return period
        digits = self.ahead(1).kind == "number" and self.ahead(2).text == ")"
        if self.is_sign("(") and not self.here.spaced and digits:
            if not self.ahead(-1).text.endswith("."):
                raise Unreadable("a product, or digits that are repeated for ever")
            return self.raw_group("(", ")")
        return ""

    def proper_fraction(self) -> Fraction | None:
        """Takes the fraction of a mixed number: ``\\frac{1}{2}`` or `` 1/2`` right after an integer."""
        if self.is_command("frac") and self.ahead(-2).text not in ("^", "_"):
            found = [self.ahead(count) for count in range(1, 7)]
            if [found[index].text for index in (0, 2, 3, 5)] != ["{", "}", "{", "}"]:
                return None
            digits, length = (found[1], found[4]), 7
        elif self.here.kind == "number" and self.here.spaced and self.ahead(1).text == "/":
            digits, length = (self.here, self.ahead(2)), 3
        else:
            return None
        if not all(token.kind == "number" and token.text.isdecimal() for token in digits):
            return None
        above, below = (literal(token.text).value for token in digits)
        if not 0 < above < below:
            return None
        self.position += length
        return above / below

    def symbol(self, name: str) -> Sym:
        """A variable with its primes, its subscript and, if it looks like a function's, its argument: ``f(x)``."""
        while self.is_sign("'_"):
            name += self.take().text
            if name.endswith("_"):
                name += self.raw_group()
        if name == "P" and self.is_sign("("):  # a probability of whatever event
            return Sym("P" + self.raw_group("(", ")"))
        argument = self.ahead(1)
        applied = self.is_sign("(") and not self.here.spaced and self.ahead(2).text == ")"
        if applied and argument.kind in ("number", "name", "command") and name not in _NO_FUNCTION:
            self.position += 3
            name += f"({argument.text})"
        return Sym(name)

    def combination(self) -> Node | None:
        """Takes ``C_9^3`` or ``C(9, 3)``; None, and takes nothing, if it is another ``C``."""
        start = self.position
        self.take()
        many = few = ""
        if self.is_sign("("):
            many, _, few = self.raw_group("(", ")").partition(",")
        elif self.sign("_"):
            many = self.raw_group()
            few = self.raw_group() if self.sign("^") else ""
        if many.isdecimal() and few.isdecimal() and literal(few).value <= literal(many).value:
            return Op("binom", (literal(many), literal(few)))
        self.position = start
        return None

    def absolute(self) -> Node:
        self.expect("|")
        outside, self.within_bars = self.within_bars, True
        inner = node(self.sum())
        self.within_bars = outside
        self.expect("|")
        return Op("abs", (inner,))

    # ------------------------------------------------------------------------------------------- commands

    def command(self) -> Value:
        name = self.take().text
        if name in ("frac", "binom"):
            above = self.argument()
            return Op("/" if name == "frac" else name, (above, self.argument()))
        if name in ("sum", "prod"):
            return self.series(name)
        if name in _ACCENTS:
            return self.symbol(f"{name}:{self.raw_group()}")
        if name.startswith("begin "):
            return self.environment(name.removeprefix("begin "))
        if name == "mathbb":
            domain = self.raw_group()
            return REALS if domain == "R" else Sym(f"set {domain}")
        if name in _LETTERS:
            return self.symbol(name)
        raise Unreadable(f"the command {name!r}")

    def argument(self) -> Node:
        """What a command takes: a group, one digit, or another operand."""
        if self.here.kind == "number":
            token = self.take()
            if len(token.text) > 1 and token.text.isdecimal():
                self.put_back(Token("number", token.text[1:]))
                return literal(token.text[0])
            return literal(token.text)
        return node(self.primary())

    def series(self, name: str) -> Node:
        for text in "_{":
            self.expect(text)
        index = node(self.primary())
        self.expect("=")
        first = node(self.sum())
        for text in "}^":
            self.expect(text)
        last = self.exponent()
        return Op(name, (index, first, last, node(self.term())))

    def function(self, name: str) -> Node:
        power: Node | None = None
        base: Node | None = TEN if name == "lg" else None
        while self.is_sign("^_"):
            if self.take().text == "^":
                power = self.exponent()
            else:
                base = self.argument()
        if name in ("max", "min", "gcd", "lcm"):
            inner = self.primary()
            items = inner.items if isinstance(inner, Group) else (inner,)
            return Op(name, tuple(node(item) for item in items))
        if name == "sqrt":
            value: Node = self.root()
        elif name in ("log", "lg"):
            inner_node = self.operand()
            value = Op("log", (inner_node, base)) if base else Op("ln", (inner_node,))
        elif power == _MINUS_ONE and name in _TRIG:
            return Op(f"arc{name}", (self.operand(),))
        else:
            value = Op(name, (self.operand(),))
        return value if power is None else Op("^", (value, power))

    def root(self) -> Node:
        degree: Node = TWO
        if self.sign("["):
            degree = node(self.sum())
            self.expect("]")
        return Op("root", (node(self.primary()) if self.is_sign("(") else self.argument(), degree))

    def operand(self) -> Node:
        """A bracket or group, or the product of what follows up to a sign or the next function: ``\\sin 2x``."""
        if self.is_sign("({["):
            grouped = not self.is_sign("{")  # sin(x)^2 is a power of the sine, as a call is
            inner = node(self.primary())
            if self.is_sign("°!" if grouped else "^°!"):
                raise Unreadable("what is behind a function's argument may belong to either")
            return inner
        if self.here.text in FUNCTIONS:
            return node(self.factor())
        negative = bool(self.sign("-"))
        value = node(self.power())
        while self.multiplies() and self.here.text not in FUNCTIONS and not self.is_sign("(["):
            value = _product(value, node(self.power()))
        while self.is_sign("/") and self.ahead(1).kind == "number":
            self.take()
            value = Op("/", (value, node(self.power())))
        return Op("neg", (value,)) if negative else value


def _total(terms: list[Node]) -> Node:
    return terms[0] if len(terms) == 1 else Op("+", tuple(terms))


def _scaled(first: Value, second: Value) -> Value:
    """The product of two numbers, or of a number and a matrix."""
    if isinstance(second, Matrix):
        return Matrix(tuple(tuple(_product(node(first), node(cell)) for cell in row) for row in second.rows))
    return _product(node(first), node(second))


def _transposed(value: Group | Matrix) -> Matrix:
    """A matrix turned over; ``(1, 2)`` as a column."""
    if isinstance(value, Group):
        return Matrix(tuple((item,) for item in value.items))
    return Matrix(tuple(zip(*value.rows, strict=True)))


def _product(first: Node, second: Node) -> Node:
    factors = first.args if isinstance(first, Op) and first.name == "*" else (first,)
    return Op("*", (*factors, second))
