"""Exact numbers: literals, Chinese numerals, and the value of an expression where it is rational.

Nothing here can take long: every result is bounded in size before it is computed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from fractions import Fraction

from reckon.tasks.math.units import CANONICAL, SCALES
from reckon.tasks.math.values import MAX_DIGITS, Node, Num, Op, Sym, TooLarge, Undefined, Unreadable

_MAX_BITS = 1 << 15
_MAX_SERIES_BITS = 1 << 13
_MAX_FACTORIAL = 3_000
_MAX_TERMS = 1_000

_DIGITS = {c: i for i, c in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2, "壹": 1, "贰": 2, "叁": 3, "肆": 4}
_PLACES = {"十": 10, "百": 100, "千": 1000}
_TENS = frozenset(scale for scale in SCALES.values() if scale % 10 == 0)
_HAN_NUMBER = re.compile(
    "负?[零〇一二两三四五六七八九十][零〇一二两三四五六七八九十百千万亿]*(?:点[零〇一二三四五六七八九]+)?"
)
_HAN_PARTS = re.compile("([一二两三四五六七八九十百千万]+)分之([零一二两三四五六七八九十百千万]+)")


def literal(text: str) -> Num:
    """A decimal literal, with an exponent perhaps. Raises TooLarge."""
    mantissa, marked, exponent = text.replace("E", "e").partition("e")
    if len(mantissa) > MAX_DIGITS or (marked and (len(exponent) > 6 or abs(int(exponent)) > MAX_DIGITS)):
        raise TooLarge("a number with too many digits")
    whole, point, decimals = mantissa.partition(".")
    value = Fraction(_integer(whole + decimals), 10 ** len(decimals))
    if marked:
        value *= Fraction(10) ** int(exponent)
    return Num(value, bool((point and decimals) or marked))


def repeating(whole: str, period: str) -> Num:
    """``0.1`` with the digits ``6`` repeated for ever. Raises TooLarge."""
    if not period.isdecimal() or not period.isascii() or len(period) > MAX_DIGITS:
        raise Unreadable("no period of digits")
    base = literal(whole).value
    decimals = len(whole.partition(".")[2])
    return Num(base + Fraction(_integer(period), (10 ** len(period) - 1) * 10**decimals))


def read_han(run: str) -> tuple[str | None, str]:
    """The number that a run of Han characters begins with, as a literal, and the rest: ``三个`` is 3 and ``个``.

    None if what follows is no unit, for then the numeral is a part of a word (``三角形``).
    """
    if match := _HAN_PARTS.match(run):
        percentage = _han_value(match[2]) if match[1] == "百" and match.end() == len(run) else None
        return (percentage, "percent") if percentage else (None, run)
    match = _HAN_NUMBER.match(run)
    if match is None:
        return None, run
    text, rest = match.group(), run[match.end() :]
    if rest and rest not in CANONICAL and CANONICAL.get(rest[0]) != "item" and rest not in SCALES:
        return None, run
    value = _han_value(text)
    return (None, run) if value is None else (value, rest)


def han_fraction(run: str) -> Fraction | None:
    """``三分之二`` is 2/3."""
    match = _HAN_PARTS.fullmatch(run)
    if match is None:
        return None
    below, above = _han_value(match[1]), _han_value(match[2])
    return Fraction(int(above), int(below)) if above and below and int(below) else None


def _han_value(text: str) -> str | None:
    """The decimal literal of a Chinese numeral."""
    sign = "-" if text.startswith("负") else ""
    whole, point, decimals = text.removeprefix("负").partition("点")
    if len(text) > 40:
        return None
    if all(c in _DIGITS for c in whole) and len(whole) > 1:
        value = int("".join(str(_DIGITS[c]) for c in whole))
    else:
        total = section = digit = 0
        for character in whole:
            if character in _DIGITS:
                digit = _DIGITS[character]
            elif character in _PLACES:
                section += (digit or (1 if character == "十" else 0)) * _PLACES[character]
                digit = 0
            else:
                total = (total + section + digit) * (10**4 if character == "万" else 10**8)
                section = digit = 0
        value = total + section + digit
    return f"{sign}{value}" + (f".{''.join(str(_DIGITS[c]) for c in decimals)}" if point else "")


def exact(node: Node, values: Mapping[str, Fraction] = {}) -> Fraction | None:
    """The value if it is rational and can be told so exactly, else None. ``values``: of the variables.

    Raises:
        Undefined: it has no value.
        TooLarge: it has more digits than an answer may have.
    """
    match node:
        case Num(value):
            return value
        case Sym(name):
            return values.get(name)
        case Op("sum" | "prod"):
            return _series(node, values)
    arguments = []
    for argument in node.args:
        known = exact(argument, values)
        if known is None:
            return None
        arguments.append(known)
    function = _FUNCTIONS.get(node.name)
    result = function(*arguments) if function else None
    if result is not None and _bits(result) > _MAX_BITS:
        raise TooLarge("a value with too many digits")
    return result


def _bits(value: Fraction) -> int:
    return value.numerator.bit_length() + value.denominator.bit_length()


def _add(*terms: Fraction) -> Fraction:
    if sum(_bits(term) for term in terms) > _MAX_BITS:
        raise TooLarge("a sum with too many digits")
    return sum(terms, Fraction(0))


def _multiply(*factors: Fraction) -> Fraction:
    if sum(_bits(factor) for factor in factors) > _MAX_BITS:
        raise TooLarge("a product with too many digits")
    return math.prod(factors, start=Fraction(1))


def _divide(above: Fraction, below: Fraction) -> Fraction:
    if not below:
        raise Undefined("a division by zero")
    return above / below


def _power(base: Fraction, exponent: Fraction) -> Fraction | None:
    if exponent.denominator != 1:
        root = _root(base, Fraction(exponent.denominator)) if base >= 0 else None
        return None if root is None else _power(root, Fraction(exponent.numerator))
    if not base and exponent <= 0:
        raise Undefined("zero to the power of zero or less")
    if base in (0, 1):
        return base
    if base == -1:
        return Fraction(1 if exponent.numerator % 2 == 0 else -1)
    if abs(exponent) * _bits(base) > _MAX_BITS:
        raise TooLarge("a power with too many digits")
    return Fraction(base**exponent.numerator)


def _root(value: Fraction, degree: Fraction) -> Fraction | None:
    if degree.denominator != 1 or not 1 <= degree <= 64:
        return None
    if value < 0:
        inner = _root(-value, degree) if degree.numerator % 2 else None
        return None if inner is None else -inner
    above, below = (_whole_root(part, degree.numerator) for part in (value.numerator, value.denominator))
    return None if above is None or below is None else Fraction(above, below)


def _whole_root(value: int, degree: int) -> int | None:
    if value.bit_length() > _MAX_BITS // 2:
        return None
    low, high = 0, 1 << (value.bit_length() // degree + 1)
    while low < high:
        middle = (low + high) // 2
        if middle**degree < value:
            low = middle + 1
        else:
            high = middle
    return low if low**degree == value else None


def _factorial(value: Fraction) -> Fraction | None:
    if value.denominator != 1:
        return None
    if value < 0:
        raise Undefined("the factorial of a negative number")
    if value > _MAX_FACTORIAL:
        raise TooLarge("the factorial of a large number")
    return Fraction(math.factorial(value.numerator))


def _binomial(n: Fraction, k: Fraction) -> Fraction | None:
    if n.denominator != 1 or k.denominator != 1 or n < 0:
        return None
    if k < 0 or k > n:
        return Fraction(0)
    few = min(k, n - k).numerator
    if few * n.numerator.bit_length() > _MAX_BITS or few > _MAX_FACTORIAL:
        raise TooLarge("a large binomial coefficient")
    return Fraction(math.comb(n.numerator, few))


def _log(value: Fraction, base: Fraction) -> Fraction | None:
    """The logarithm if it is an integer, or one over an integer."""
    if value <= 0 or base <= 0 or base == 1:
        raise Undefined("a logarithm that is not defined")
    if value == 1:
        return Fraction(0)
    quotient = math.log(value.numerator) - math.log(value.denominator)
    below = math.log(base.numerator) - math.log(base.denominator)
    if not below:
        return None
    ratio = Fraction(quotient / below).limit_denominator(64)
    if not ratio or abs(ratio.numerator) > 10_000 or _bits(base) * abs(ratio.numerator) > _MAX_BITS:
        return None
    return ratio if base**ratio.numerator == value**ratio.denominator else None


def _modulo(value: Fraction, modulus: Fraction) -> Fraction:
    if not modulus:
        raise Undefined("a remainder by zero")
    return value % modulus


def _common_divisor(*values: Fraction) -> Fraction | None:
    whole = [value.numerator for value in values if value.denominator == 1]
    return Fraction(math.gcd(*whole)) if len(whole) == len(values) else None


def _common_multiple(*values: Fraction) -> Fraction | None:
    whole = [value.numerator for value in values if value.denominator == 1]
    return Fraction(math.lcm(*whole)) if len(whole) == len(values) else None


_FUNCTIONS: dict[str, Callable[..., Fraction | None]] = {
    "+": _add,
    "*": _multiply,
    "/": _divide,
    "^": _power,
    "neg": lambda value: -value,
    "!": _factorial,
    "root": _root,
    "binom": _binomial,
    "log": _log,
    "ln": lambda value: Fraction(0) if value == 1 else None,
    "exp": lambda value: Fraction(1) if value == 0 else None,
    "abs": abs,
    "floor": lambda value: Fraction(math.floor(value)),
    "ceil": lambda value: Fraction(math.ceil(value)),
    "%": lambda value: value / 100,
    "max": lambda *values: max(values),
    "min": lambda *values: min(values),
    "gcd": _common_divisor,
    "lcm": _common_multiple,
}


def _series(node: Op, values: Mapping[str, Fraction]) -> Fraction | None:
    index, first, last, body = node.args
    low, high = exact(first, values), exact(last, values)
    if not isinstance(index, Sym) or low is None or high is None or low.denominator != 1 or high.denominator != 1:
        return None
    if high - low > _MAX_TERMS:
        raise TooLarge("a series with too many terms")
    total = Fraction(0 if node.name == "sum" else 1)
    for step in range(low.numerator, high.numerator + 1):
        term = exact(body, {**values, index.name: Fraction(step)})
        if term is None:
            return None
        total = total + term if node.name == "sum" else _multiply(total, term)
        if _bits(total) > _MAX_SERIES_BITS:
            raise TooLarge("a series with too many digits")
    return total


def _integer(digits: str) -> int:
    return int(digits or "0")


def is_finite_decimal(value: Fraction) -> bool:
    """Whether its decimals end, so that a decimal can be exactly equal to it."""
    below = value.denominator
    return pow(10, below.bit_length(), below) == 0 if below > 1 else True


def is_decimal(node: Node) -> bool:
    """Whether it is one number written as a decimal, with a sign, percent sign, power of ten or ``million`` perhaps."""
    match node:
        case Num(_, decimal):
            return decimal
        case Op("neg" | "%", (inner,)):
            return is_decimal(inner)
        case Op("*", (inner, Num(scale))):
            return is_decimal(inner) and scale in _TENS
        case Op("*", (inner, Op("^", (Num(base), Num() | Op("neg", (Num(),)))))):
            return is_decimal(inner) and base == 10
    return False
