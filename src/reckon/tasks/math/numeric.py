"""Whether two expressions are equal, by their values to 150 digits at several points.

Two elementary expressions that agree at points drawn from a large set are the same expression but for a vanishing
chance (J. Schwartz, JACM 27(4), 1980; R. Zippel, EUROSAM 1979, for polynomials). Unlike simplification, this decides
both ways, and its time is bounded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from reckon.tasks.math.number import exact, is_decimal, is_finite_decimal
from reckon.tasks.math.values import (
    Node,
    Num,
    Op,
    Sym,
    TooLarge,
    Undecided,
    Undefined,
    functions,
    has_decimal,
    symbols,
)

TOLERANCE = Fraction(1, 10**6)
"""The relative error allowed to an answer that is a decimal, where the gold has no finite decimal form."""

_DIGITS = 150
"""To which values are compared."""
_WORKING_DIGITS = (200, 300)
"""With which they are computed: the others are lost where terms cancel. What differs between the two is noise."""
_POINTS = 6
_MAX_EXPONENT = 10**6
_WHOLE = frozenset({"!", "binom", "gcd", "lcm", "mod", "sum", "prod"})
_PARTIAL = frozenset({"root", "ln", "log"})
_ROUNDING = frozenset({"floor", "ceil"})


def exactly_equal(gold: Node, answer: Node) -> bool:
    """Whether two expressions are equal, told by rational arithmetic alone.

    An answer that is a decimal may stand for a gold number that has no finite decimal form, to within ``TOLERANCE``. In
    an expression decimals are exact: ``\\pi + 0.000001`` is not ``\\pi``.

    Raises:
        Undecided: rational arithmetic cannot tell.
        Undefined, TooLarge: one of them has no value, or too large a one.
    """
    if gold == answer:
        return True
    names = sorted(symbols(gold) | symbols(answer))
    if not names:
        first, second = exact(gold), exact(answer)
        if first is None or second is None:
            raise Undecided
        if first == second or not _may_be_rounded(gold, answer) or is_finite_decimal(first):
            return first == second
        return abs(first - second) <= TOLERANCE * abs(first)
    agreed = 0
    for values in _points(names, gold, answer):
        try:
            first, second = exact(gold, values), exact(answer, values)
        except Undefined:
            continue
        except TooLarge:
            raise Undecided from None
        if first is None or second is None:
            raise Undecided
        if first != second:
            return False
        agreed += 1
    if agreed < _POINTS // 2:
        raise Undecided
    return True


def numerically_equal(gold: Node, answer: Node) -> bool:
    """Like :func:`exactly_equal` for all elementary expressions. Raises Undefined, TooLarge, or Undecided."""
    try:
        return exactly_equal(gold, answer)
    except Undecided:
        pass
    names = sorted(symbols(gold) | symbols(answer))
    agreed = 0
    for values in _points(names, gold, answer) if names else [{}]:
        try:
            first, second = _value(gold, values), _value(answer, values)
        except Undefined:
            if not names:
                raise
            continue
        if min(values.values(), default=Fraction(1)) < 0 and (first.imag or second.imag):
            continue  # outside the domain that is meant
        if not _close(first, second) and (names or not _may_be_rounded(gold, answer) or not _rounds_to(first, second)):
            return False
        agreed += 1
    if not agreed:
        raise Undecided
    return True


def _points(names: list[str], gold: Node, answer: Node) -> list[dict[str, Fraction]]:
    """Values for the variables, always the same for the same names.

    They are whole where the expressions are about whole numbers, as ``n!`` and ``⌊n/2⌋`` are; else half of the points
    have negative ones. For ``⌊x⌋`` they are whole at half of the points, as ``⌊x⌋ + 1`` is ``⌈x⌉`` at the others.
    """
    used = functions(gold) | functions(answer)
    whole, broken = _drawn(names, whole=True), _drawn(names, whole=False)
    if used & _WHOLE:
        return whole
    if used & _ROUNDING and (_rounds_whole(gold, whole) or _rounds_whole(answer, whole)):
        return whole[::2] + broken[1::2]
    return whole if used & _ROUNDING or ("^" in used and _has_variable_power(gold, answer)) else broken


def _drawn(names: list[str], whole: bool) -> list[dict[str, Fraction]]:
    points = []
    for index in range(_POINTS):
        values = {}
        for name in names:
            seed = int.from_bytes(hashlib.blake2b(f"{index} {name}".encode(), digest_size=8).digest(), "big")
            value = Fraction(seed % 29 + 3) if whole else Fraction(seed % 9973 + 1, 1009 + (seed >> 20) % 991)
            values[name] = -value if index % 2 and not whole else value
        points.append(values)
    return points


def _rounds_whole(node: Node, points: list[dict[str, Fraction]]) -> bool:
    """Whether it rounds what is whole for whole numbers, ``⌊x⌋``: then its variables are not meant to be whole."""
    if not isinstance(node, Op):
        return False
    if node.name in _ROUNDING:
        try:
            found = [exact(node.args[0], values) for values in points]
        except (Undefined, TooLarge):
            return False
        if all(value is not None and value.denominator == 1 for value in found):
            return True
    return any(_rounds_whole(argument, points) for argument in node.args)


def _has_variable_power(*nodes: Node) -> bool:
    return any(
        isinstance(node, Op)
        and ((node.name == "^" and bool(symbols(node.args[1]))) or any(_has_variable_power(arg) for arg in node.args))
        for node in nodes
    )


def _may_be_rounded(gold: Node, answer: Node) -> bool:
    return is_decimal(answer) and not has_decimal(gold)


def _close(first: Any, second: Any) -> bool:
    import mpmath  # type: ignore[import-untyped]

    return bool(abs(first - second) <= max(abs(first), abs(second)) * mpmath.mpf(10) ** -_DIGITS)


def _rounds_to(gold: Any, decimal: Any) -> bool:
    """Whether a decimal is within ``TOLERANCE`` of a real gold whose decimals do not end (those of ``\\ln e`` do)."""
    import mpmath

    with mpmath.workdps(_WORKING_DIGITS[1]):
        ended = mpmath.mpc(mpmath.nstr(gold.real, _DIGITS // 2))
    if gold.imag or _close(gold, ended):
        return False
    return bool(abs(gold - decimal) <= abs(gold) * mpmath.mpf(TOLERANCE.numerator) / TOLERANCE.denominator)


def _value(node: Node, values: Mapping[str, Fraction]) -> Any:
    """The complex value to 150 digits; what vanishes as the precision grows is zero."""
    import mpmath

    with mpmath.workdps(_WORKING_DIGITS[0]):
        rough = _evaluate(node, values, mpmath.mp)
    with mpmath.workdps(_WORKING_DIGITS[1]):
        fine = _evaluate(node, values, mpmath.mp)
        if not mpmath.isfinite(fine):
            raise Undefined("no finite value")
        limit = mpmath.mpf(10) ** -_DIGITS
        parts = []
        for coarse, precise in ((rough.real, fine.real), (rough.imag, fine.imag)):
            noise = abs(precise) < limit and abs(coarse) > abs(precise) * mpmath.mpf(10) ** 30
            negligible = abs(precise) < abs(fine) * limit
            parts.append(mpmath.mpf(0) if noise or negligible else precise)
        return mpmath.mpc(*parts)


def _evaluate(node: Node, values: Mapping[str, Fraction], mp: Any) -> Any:
    match node:
        case Num(value):
            return mp.mpc(mp.mpf(value.numerator) / value.denominator)
        case Sym(name):
            if name in values:
                return mp.mpc(mp.mpf(values[name].numerator) / values[name].denominator)
            constant = {"π": mp.pi, "e": mp.e, "i": mp.j}.get(name)
            if constant is None:
                raise Undefined(f"{name} has no value")
            return mp.mpc(constant)
    try:
        rational = exact(node, values)
    except TooLarge:
        if not symbols(node):
            raise
        rational = None
    if rational is not None:
        return mp.mpc(mp.mpf(rational.numerator) / rational.denominator)
    arguments = [_evaluate(argument, values, mp) for argument in node.args]
    if node.name in _PARTIAL and min(values.values(), default=Fraction(1)) < 0 and _is_negative(arguments[0]):
        raise Undefined("outside the domain that is meant")
    try:
        return mp.mpc(_apply(node.name, arguments, mp))
    except (ZeroDivisionError, ValueError, OverflowError) as error:
        raise Undefined(str(error)) from None


def _is_negative(value: Any) -> bool:
    return bool(value.imag == 0 and value.real < 0)


def _apply(name: str, args: list[Any], mp: Any) -> Any:
    first = args[0]
    match name:
        case "+":
            return mp.fsum(args)
        case "*":
            return mp.fprod(args)
        case "neg":
            return -first
        case "/":
            return first / args[1]
        case "^":
            return _power(first, args[1], mp)
        case "root":
            if _is_negative(first) and args[1] in (3, 5, 7):
                return -mp.root(-first.real, int(args[1].real))
            return _power(first, 1 / args[1], mp)
        case "exp":
            return _power(mp.mpc(mp.e), first, mp)
        case "log":
            return mp.log(first) / mp.log(args[1])
        case "ln":
            return mp.log(first)
        case "abs":
            return abs(first)
        case "binom":
            if max(map(abs, args)) > _MAX_EXPONENT:
                raise TooLarge("a large binomial coefficient")
            return mp.binomial(*args)
        case "°":
            return first * mp.pi / 180
        case "%":
            return first / 100
        case "floor" | "ceil" if first.imag == 0:
            return (mp.floor if name == "floor" else mp.ceil)(first.real)
        case "max" | "min" if all(arg.imag == 0 for arg in args):
            return (max if name == "max" else min)(arg.real for arg in args)
    function = _ELEMENTARY.get(name)
    if function is None:
        raise Undecided
    if abs(first) > _MAX_EXPONENT:
        raise TooLarge("the argument of a function is too large")
    return getattr(mp, function)(first)


_ELEMENTARY = {
    "sin": "sin", "cos": "cos", "tan": "tan", "cot": "cot", "sec": "sec", "csc": "csc",
    "sinh": "sinh", "cosh": "cosh", "tanh": "tanh", "coth": "coth",
    "arcsin": "asin", "arccos": "acos", "arctan": "atan", "arccot": "acot", "arcsec": "asec", "arccsc": "acsc",
    "arcsinh": "asinh", "arccosh": "acosh", "arctanh": "atanh", "!": "factorial",
}  # fmt: skip


def _power(base: Any, exponent: Any, mp: Any) -> Any:
    if base == 0:
        if exponent.real > 0:
            return base
        raise Undefined("zero to the power of zero or less")
    if abs(exponent) > _MAX_EXPONENT or abs(exponent) * abs(mp.log(abs(base))) > _MAX_EXPONENT:
        raise TooLarge("a power that is too large")
    return mp.power(base, exponent)
