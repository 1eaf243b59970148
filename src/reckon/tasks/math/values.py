"""What an answer can be: expressions, and the structures around them. Plain immutable data."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

MAX_DIGITS = 2_000
"""The digits that a number in an answer may have."""


class Unreadable(Exception):
    """The text is no formula of the grammar."""


class Undefined(Exception):
    """The expression has no value: a division by zero, a logarithm of zero."""


class TooLarge(Exception):
    """The value has more digits than an answer may have."""


class Undecided(Exception):
    """Equality cannot be told exactly; the symbolic back end is to be asked."""


@dataclass(frozen=True)
class Num:
    """An exact number. ``decimal``: it was written with a decimal point or exponent, and so may be rounded."""

    value: Fraction
    decimal: bool = False


@dataclass(frozen=True)
class Sym:
    """A variable or constant, with its subscript and primes; also ``f(x)``, which nothing is known of."""

    name: str


@dataclass(frozen=True)
class Op:
    """An operator or function and its arguments: ``+ * / ^ neg ! root log sin sum`` and so on."""

    name: str
    args: tuple[Node, ...]


Node = Num | Sym | Op


@dataclass(frozen=True)
class Quantity:
    """A number or expression with a unit (canonical, see :mod:`units`) or a percent sign."""

    node: Node
    unit: str = ""
    percent: bool = False


@dataclass(frozen=True)
class Group:
    """Several values: ``( [`` ordered, ``{`` a set, and with no brackets (``""``) a list in any order.

    ``disjoint``: the list was joined by ``or``.
    """

    open: str
    close: str
    items: tuple[Value, ...]
    disjoint: bool = False


@dataclass(frozen=True)
class Union:
    """Sets joined by ``∪``."""

    parts: tuple[Value, ...]


@dataclass(frozen=True)
class Chain:
    """Values joined by relations: ``x = 3``, ``0 < x \\le 5``. ``ops``: one of ``= < > ≤ ≥ ≠ ≈ ∈ : ∖`` each."""

    parts: tuple[Value, ...]
    ops: tuple[str, ...]


@dataclass(frozen=True)
class Matrix:
    """Rows of equal length."""

    rows: tuple[tuple[Value, ...], ...]


@dataclass(frozen=True)
class Words:
    """Text: a word, a name, a label before an equals sign."""

    text: str


Value = Num | Sym | Op | Quantity | Group | Union | Chain | Matrix | Words

INFINITY = Sym("∞")
REALS = Group("(", ")", (Op("neg", (INFINITY,)), INFINITY))
CONSTANTS = frozenset({"π", "e", "i", "∞"})
UNORDERED = ("", "{")


def symbols(value: Value) -> frozenset[str]:
    """The variables in a value, constants left out."""
    match value:
        case Sym(name):
            return frozenset() if name in CONSTANTS else frozenset({name})
        case Num() | Words():
            return frozenset()
        case Quantity(node):
            return symbols(node)
        case Matrix(rows):
            return frozenset().union(*(symbols(cell) for row in rows for cell in row))
        case Op("sum" | "prod", (Sym(index), *bounds)):
            return frozenset().union(*map(symbols, bounds)) - {index}
    children = value.args if isinstance(value, Op) else value.items if isinstance(value, Group) else value.parts
    return frozenset().union(*(symbols(child) for child in children))


def has_decimal(node: Node) -> bool:
    """Whether a number in it was written as a decimal."""
    match node:
        case Num(_, decimal):
            return decimal
        case Op(_, args):
            return any(has_decimal(arg) for arg in args)
    return False


def functions(value: Value) -> frozenset[str]:
    """The names of all operators and functions in a value."""
    match value:
        case Op(name, args):
            return frozenset({name}).union(*(functions(arg) for arg in args))
        case Quantity(node):
            return functions(node)
        case Group(items=parts) | Chain(parts=parts) | Union(parts=parts):
            return frozenset().union(*(functions(part) for part in parts))
        case Matrix(rows):
            return frozenset().union(*(functions(cell) for row in rows for cell in row))
    return frozenset()
