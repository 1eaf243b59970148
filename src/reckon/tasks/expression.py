"""Reading arithmetic that a model wrote: ``+ - * /`` and parentheses over whole numbers, in exact fractions.

The text is hostile. It is never evaluated as Python, and length, depth and digits are limited, so that every
text is judged in well under a millisecond. There is no ``**``, no ``//``, no unary minus: a minus sign in front
of an expression can always be moved into a subtraction or dropped, so no positive number becomes reachable by
it, and each expression is written in fewer ways. Only ASCII digits and operators count.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

MAX_CHARACTERS = 1000
MAX_DIGITS = 18
MAX_DEPTH = 50

_TOKEN = re.compile(r"[0-9]+|[-+*/()]")
_SPACE = re.compile(r"[ \t\r\n]+")


class NotArithmetic(Exception):
    """The text is not an expression we evaluate; ``str(error)`` is a short reason."""


@dataclass(frozen=True, slots=True)
class Expression:
    """An evaluated expression.

    Attributes:
        value: its exact value.
        numbers: the whole numbers it uses, in order of appearance.
        text: the expression without whitespace or leading zeros.
    """

    value: Fraction
    numbers: tuple[int, ...]
    text: str


def evaluate(text: str) -> Expression:
    """Parse and evaluate ``text``.

    Raises:
        NotArithmetic: ``not an expression``, ``too long``, ``too deep``, ``number too long`` or ``division by zero``.
    """
    if len(text) > MAX_CHARACTERS:
        raise NotArithmetic("too long")
    tokens = _tokens(text)
    parser = _Parser(tokens)
    value = parser.sum(depth=0)
    if parser.peek():
        raise NotArithmetic("not an expression")
    return Expression(value, tuple(int(token) for token in tokens if token.isdigit()), "".join(tokens))


def _tokens(text: str) -> list[str]:
    tokens = []
    for word in _SPACE.split(text):
        position = 0
        while position < len(word):
            match = _TOKEN.match(word, position)
            if match is None:
                raise NotArithmetic("not an expression")
            position = match.end()
            token = match.group()
            if token.isdigit():
                if len(token) > MAX_DIGITS:
                    raise NotArithmetic("number too long")
                token = str(int(token))
            tokens.append(token)
    return tokens


class _Parser:
    """Recursive descent: sum = product (+|- product)*, product = atom (*|/ atom)*, atom = number | ( sum )."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens, self.position = tokens, 0

    def peek(self) -> str:
        return self.tokens[self.position] if self.position < len(self.tokens) else ""

    def take(self) -> str:
        token = self.peek()
        self.position += 1
        return token

    def sum(self, depth: int) -> Fraction:
        value = self.product(depth)
        while self.peek() in ("+", "-"):
            plus = self.take() == "+"
            term = self.product(depth)
            value = value + term if plus else value - term
        return value

    def product(self, depth: int) -> Fraction:
        value = self.atom(depth)
        while self.peek() in ("*", "/"):
            times = self.take() == "*"
            factor = self.atom(depth)
            if not times and factor == 0:
                raise NotArithmetic("division by zero")
            value = value * factor if times else value / factor
        return value

    def atom(self, depth: int) -> Fraction:
        if depth > MAX_DEPTH:
            raise NotArithmetic("too deep")
        token = self.take()
        if token.isdigit():
            return Fraction(int(token))
        if token != "(":
            raise NotArithmetic("not an expression")
        value = self.sum(depth + 1)
        if self.take() != ")":
            raise NotArithmetic("not an expression")
        return value
