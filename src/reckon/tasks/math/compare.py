"""When an answer's value is the gold's: the policy of order, names, relations, units and percent signs.

Every function takes ``equal(gold, answer)``, which tells whether two expressions are equal. It may raise Undecided, and
then nothing is decided.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction

from reckon.tasks.math.intervals import as_interval_set, same_interval_set
from reckon.tasks.math.number import exact
from reckon.tasks.math.units import agree
from reckon.tasks.math.values import (
    UNORDERED,
    Chain,
    Group,
    Matrix,
    Node,
    Num,
    Op,
    Quantity,
    Sym,
    Undefined,
    Union,
    Value,
    Words,
    functions,
    symbols,
)

Equal = Callable[[Node, Node], bool]

_ZERO = Num(Fraction(0))
_ORDER = frozenset("<>≤≥≠")
_WORK = frozenset({"sum", "prod", "max", "min", "gcd", "lcm", "floor", "ceil"})
_TRIG = frozenset({
    "sin", "cos", "tan", "cot", "sec", "csc", "arcsin", "arccos", "arctan", "arccot", "arcsec", "arccsc", "sinh",
    "cosh", "tanh", "coth", "arcsinh", "arccosh", "arctanh",
})  # fmt: skip


def same(gold: Value, answer: Value, equal: Equal) -> bool:
    """Whether ``answer`` is the value ``gold``, written in any way the policy allows."""
    if (domains := _domains(gold)) and (others := _domains(answer)) and domains != others:
        return False
    gold, answer = spread(gold), spread(answer)
    if gold == answer:
        return True
    if isinstance(gold, Chain) and isinstance(answer, Chain):
        return _same_chains(gold, answer, equal)
    if isinstance(answer, Chain) and (bare := unnamed(answer, equal)) is not None and not _is_order(answer):
        return same(gold, bare, equal)
    if isinstance(gold, Chain) and not _is_order(gold) and (bare := unnamed(gold, equal)) is not None:
        return same(bare, answer, equal)
    if isinstance(gold, Matrix) or isinstance(answer, Matrix):
        return _same_matrices(gold, answer, equal)
    if (regions := _regions(gold, answer)) is not None:
        return same_interval_set(*regions, equal)
    if isinstance(gold, Group) or isinstance(answer, Group):
        return _same_groups(gold, answer, equal)
    if isinstance(gold, Node | Quantity) and isinstance(answer, Node | Quantity):
        return _same_quantities(gold, answer, equal)
    return False


def does_no_work(gold: Value, answer: Value) -> bool:
    """Whether the answer leaves to the verifier what the question asked for, and the gold does not.

    Sums, products, extrema, moduli and trigonometric functions of numbers are such; powers, factorials, binomials,
    roots and logarithms of numbers are closed forms.
    """
    allowed = functions(gold)
    if allowed & _TRIG:
        allowed |= _TRIG
    return bool(_unworked(answer) - allowed)


def _unworked(value: Value) -> frozenset[str]:
    match value:
        case Op(name, args):
            inner = frozenset[str]().union(*(_unworked(arg) for arg in args))
            asked = name in _WORK or (name in _TRIG or name == "abs")
            constant = not symbols(value) or name in ("sum", "prod", "max", "min")
            return inner | {name} if asked and constant else inner
        case Quantity(node):
            return _unworked(node)
        case Chain(parts, ops) if set(ops) <= {"=", "≈"}:
            return _unworked(parts[-1] if ops[-1] == "=" else parts[0])
        case Group(items=parts) | Chain(parts=parts) | Union(parts=parts):
            return frozenset[str]().union(*(_unworked(part) for part in parts))
        case Matrix(rows):
            return frozenset[str]().union(*(_unworked(cell) for row in rows for cell in row))
    return frozenset()


# ------------------------------------------------------------------------------------- numbers and units


def _same_quantities(gold: Node | Quantity, answer: Node | Quantity, equal: Equal) -> bool:
    first = gold if isinstance(gold, Quantity) else Quantity(gold)
    second = answer if isinstance(answer, Quantity) else Quantity(answer)
    if first.node == _ZERO and symbols(second):  # 0 times anything
        return False
    if first.percent != second.percent:
        if equal(first.node, second.node):
            return not (first.unit or second.unit)
        if first.percent:
            return equal(Op("%", (first.node,)), second.node)
        return equal(first.node, Op("%", (second.node,)))
    return agree(first.unit, second.unit) and equal(first.node, second.node)


def _units_agree(gold: Value, answer: Value) -> bool:
    """Whether no unit anywhere in one contradicts one in the other."""
    return all(agree(one, other) for one in _units(gold) for other in _units(answer))


def _units(value: Value) -> frozenset[str]:
    match value:
        case Quantity(unit=unit):
            return frozenset({unit})
        case Group(items=parts) | Chain(parts=parts) | Union(parts=parts):
            return frozenset[str]().union(*map(_units, parts))
    return frozenset()


def spread(value: Value) -> Value:
    """``±`` written out as the list of both values, and an equation of a list as a list of equations' values."""
    match value:
        case Sym() | Num() | Words() | Matrix():
            return value
        case Op() | Quantity() | Chain():
            signs = functions(value) & {"±", "∓"}
            if not signs:
                return value
            return Group("", "", (_signed(value, "+"), _signed(value, "neg")))
        case Group(open=opening, items=items):
            parts: list[Value] = []
            for item in items:
                whole = spread(item)
                merged = opening in UNORDERED and isinstance(whole, Group) and not whole.open
                parts.extend(whole.items if merged and isinstance(whole, Group) else (whole,))
            told = [part for part in parts if not _is_domain(part)]
            if opening == "" and len(told) == 1:
                return told[0]
            return replace(value, items=tuple(told or parts))
    return value


def _domains(value: Value) -> frozenset[Value]:
    """What a list says of its letters: ``k ∈ Z``."""
    return frozenset(item for item in value.items if _is_domain(item)) if isinstance(value, Group) else frozenset()


def _is_domain(value: Value) -> bool:
    """Whether it only says what a letter may be: ``k ∈ Z``."""
    return (
        isinstance(value, Chain)
        and value.ops == ("∈",)
        and isinstance(value.parts[1], Sym)
        and (value.parts[1].name.startswith("set "))
    )


def _signed(value: Value, sign: str) -> Value:
    """The value with every ``±`` taken as plus (``+``) or as minus (``neg``), and every ``∓`` as the other."""
    match value:
        case Op(name, args):
            parts = tuple(_signed(arg, sign) for arg in args)
            if name not in "±∓":
                return Op(name, parts)  # type: ignore[arg-type]
            minus = (sign == "neg") == (name == "±")
            first, second = parts
            second = Op("neg", (second,)) if minus else second  # type: ignore[arg-type]
            return second if first == _ZERO else Op("+", (first, second))  # type: ignore[arg-type]
        case Quantity(node):
            return replace(value, node=_signed(node, sign))  # type: ignore[arg-type]
        case Chain(parts, ops):
            return Chain(tuple(_signed(part, sign) for part in parts), ops)
    return value


# ------------------------------------------------------------------------------------ names and equations


def unnamed(chain: Chain, equal: Equal) -> Value | None:
    """The value that a chain gives to a name, ``x = 2 + 1 = 3``; None if it is no such thing, or not true."""
    parts, ops = list(chain.parts), list(chain.ops)
    if not set(ops) <= {"=", "≈", "∈"}:
        return None
    if is_label(parts[0]) and not (len(parts) == 2 and isinstance(parts[1], Words)):
        parts, ops = parts[1:], ops[1:]
    elif "∈" in ops:
        return None
    for index, op in enumerate(ops):
        if symbols(parts[index]) != symbols(parts[index + 1]) or isinstance(parts[index], Words):
            return None
        if op == "=" and not same(parts[index], parts[index + 1], equal):
            return None
    if "≈" in ops:
        rounded = ops.index("≈")
        return None if _far(parts[rounded], parts[rounded + 1]) else parts[rounded]
    return parts[-1]


def _far(value: Value, rounded: Value) -> bool:
    """Whether two numbers are no roundings of each other, as in ``3 ≈ 4``."""
    if symbols(value) or not isinstance(value, Node) or not isinstance(rounded, Node):
        return False
    first, second = exact(value), exact(rounded)
    return first is not None and second is not None and 10 * abs(first - second) > abs(first)


def is_label(value: Value) -> bool:
    """Whether a side of an equation only names what is asked for: ``x``, ``f(x)``, ``m + n``, ``AB``, words."""
    match value:
        case Words() | Sym():
            return not (isinstance(value, Sym) and value.name in ("e", "π", "∞"))
        case Op(name, args):
            return name in ("+", "*", "/", "neg", "abs") and all(is_label(arg) for arg in args)
        case Quantity(node, "degree"):
            return is_label(node)
        case Group("(" | "[", items=items):
            return all(isinstance(item, Sym) for item in items)
    return False


def _same_chains(gold: Chain, answer: Chain, equal: Equal) -> bool:
    if (regions := _regions(gold, answer)) is not None:
        return same_interval_set(*regions, equal)
    if set(gold.ops) == set(answer.ops) == {":"}:
        return _same_ratios(gold.parts, answer.parts, equal)
    if gold.parts[0] == answer.parts[0] and is_label(gold.parts[0]) and "=" in gold.ops and "=" in answer.ops:
        first, second = unnamed(gold, equal), unnamed(answer, equal)
        if first is not None and second is not None and same(first, second, equal):
            return True
    if len(gold.ops) != 1 or len(answer.ops) != 1:
        return gold.ops == answer.ops and all(map(same, gold.parts, answer.parts, [equal] * len(gold.parts)))
    if _is_solved(gold) and not _is_solved(answer) and (gold.ops[0] in _ORDER or len(symbols(gold)) == 1):
        return False
    if gold.ops == answer.ops == ("=",) or gold.ops == answer.ops == ("≠",):
        return _proportional(gold, answer, equal, positive=False)
    if gold.ops[0] in _ORDER and answer.ops[0] in _ORDER:
        return _proportional(_ascending(gold), _ascending(answer), equal, positive=True)
    return False


def _is_solved(chain: Chain) -> bool:
    """Whether a variable stands alone on one side: ``x > 2``, ``y = 2 x + 1``; not ``2 x > 4``."""
    sides = (chain.parts, chain.parts[::-1])
    return any(isinstance(one, Sym) and symbols(one) and one.name not in symbols(other) for one, other in sides)


def _ascending(chain: Chain) -> Chain:
    """``a > b`` as ``b < a``."""
    if chain.ops[0] in "<≤":
        return chain
    return Chain(chain.parts[::-1], ("<" if chain.ops[0] == ">" else "≤",))


def _proportional(gold: Chain, answer: Chain, equal: Equal, positive: bool) -> bool:
    """Whether two equations (or inequalities) differ by a non-zero (positive) constant factor."""
    sides = [part.node if isinstance(part, Quantity) else part for part in (*gold.parts, *answer.parts)]
    if not _units_agree(gold, answer):
        return False
    if gold.ops != answer.ops or not all(isinstance(side, Node) for side in sides):
        return gold.ops == answer.ops and all(map(same, gold.parts, answer.parts, [equal] * 2))
    first, second = (Op("+", (left, Op("neg", (right,)))) for left, right in (sides[:2], sides[2:]))  # type: ignore
    names = sorted(symbols(first) | symbols(second))
    if not names or symbols(first) != symbols(second):
        return False
    at = {name: Num(Fraction(7 * index + 5, 3 * index + 2)) for index, name in enumerate(names)}
    here, there = substituted(first, at), substituted(second, at)
    if equal(here, _ZERO) or equal(there, _ZERO):
        return equal(first, second)
    if not equal(Op("*", (first, there)), Op("*", (second, here))):
        return False
    return not positive or equal(Op("abs", (Op("/", (here, there)),)), Op("/", (here, there)))


def substituted(node: Node, at: dict[str, Num]) -> Node:
    """The expression with numbers in place of variables."""
    match node:
        case Sym(name):
            return at.get(name, node)
        case Op(name, args):
            return Op(name, tuple(substituted(arg, at) for arg in args))
    return node


def _same_ratios(gold: Sequence[Value], answer: Sequence[Value], equal: Equal) -> bool:
    if len(gold) != len(answer) or not all(isinstance(part, Node) for part in (*gold, *answer)):
        return False
    if equal(gold[-1], _ZERO):  # type: ignore[arg-type]
        raise Undefined("a ratio to zero")
    pairs = zip(gold, answer, strict=True)
    return all(equal(Op("*", (one, answer[-1])), Op("*", (other, gold[-1]))) for one, other in pairs)  # type: ignore


# --------------------------------------------------------------------------------------- several values


def _same_groups(gold: Value, answer: Value, equal: Equal) -> bool:
    first, second = _grouped(gold), _grouped(answer)
    if _is_named(first) or _is_named(second):
        return _same_named(first, second, equal)
    if first.open in UNORDERED and second.open in UNORDERED:
        return _covers(first.items, second.items, equal) and _covers(second.items, first.items, equal, swap=True)
    if first.open in UNORDERED and not isinstance(gold, Group) and len(second.items) == 1:
        return same(first.items[0], second.items[0], equal)
    brackets = (first.open, first.close) == (second.open, second.close)
    bare = any(not (group.open or group.disjoint) for group in (first, second))  # "1, 2" for the point (1, 2)
    round_ = {first.open, first.close, second.open, second.close} <= {"(", ")", ""}
    if not (brackets or (bare and round_)) or len(first.items) != len(second.items):
        return False
    return all(_same_item(one, other, equal) for one, other in zip(first.items, second.items, strict=True))


def _grouped(value: Value) -> Group:
    match value:
        case Chain((label, Group("{", items=members)), ("∈",)) if is_label(label):
            return Group("{", "}", tuple(Chain((label, member), ("=",)) for member in members))
    group = value if isinstance(value, Group) else Group("", "", (value,))
    items = group.items
    first, rest = items[:1], items[1:]
    match first:
        case (Chain((label, _), ("=",)),) if rest and not group.open and is_label(label):
            if not any(isinstance(item, Chain) for item in rest):  # n = 2, 3, 4
                items = (*first, *(Chain((label, item), ("=",)) for item in rest))
    return replace(group, items=items)


def _is_named(group: Group) -> bool:
    return len(group.items) > 1 and all(
        isinstance(item, Chain) and item.ops[0] in "=≈" and is_label(item.parts[0]) for item in group.items
    )


def _same_named(gold: Group, answer: Group, equal: Equal) -> bool:
    """Lists of which at least one names its values: ``x = 1, y = 2``."""
    answer = _numbered(answer, gold)
    names = [{_name(item) for item in group.items} if _is_named(group) else None for group in (gold, answer)]
    if names[0] is not None and names[1] is not None:
        if names[0] != names[1]:
            return False
        return _covers(gold.items, answer.items, equal) and _covers(answer.items, gold.items, equal, swap=True)
    named, other = (gold, answer) if names[0] is not None else (answer, gold)
    several = len(names[0] or names[1] or ()) > 1
    items = [item for item in named.items if isinstance(item, Chain)]
    if not several and other.open not in UNORDERED and isinstance(items[0].parts[0], Sym):
        return False  # two values of one variable are no point
    values = [unnamed(item, equal) for item in (sorted(items, key=_name) if several else items)]
    if any(value is None for value in values):
        return False
    bare = replace(named, items=tuple(value for value in values if value is not None))
    if several:
        bare = replace(bare, open="(", close=")")
        other = replace(other, open="(", close=")") if not (other.open or other.disjoint) else other
    return _same_groups(bare, other, equal) if named is gold else _same_groups(other, bare, equal)


def _numbered(answer: Group, gold: Group) -> Group:
    """``x_1 = 2, x_2 = 3`` as two values of ``x``, if the gold has several values of ``x`` or of nothing named."""
    if not _is_named(answer) or gold.open not in UNORDERED:
        return answer
    names = {item.parts[0].name for item in answer.items if isinstance(item, Chain) and isinstance(item.parts[0], Sym)}
    letters = {name.partition("_")[0] for name in names}
    if len(names) < len(answer.items) or len(letters) > 1 or not all("_" in name for name in names):
        return answer
    letter = Sym(letters.pop())
    if _is_named(gold) and {_name(item) for item in gold.items} != {repr(letter)}:
        return answer
    return replace(answer, items=tuple(replace(item, parts=(letter, *item.parts[1:])) for item in answer.items))  # type: ignore


def _name(item: Value) -> str:
    return repr(item.parts[0]) if isinstance(item, Chain) else ""


def _covers(gold: Sequence[Value], answer: Sequence[Value], equal: Equal, swap: bool = False) -> bool:
    """Whether every one of ``gold`` is among ``answer``; ``swap``: the roles are exchanged."""
    return all(any(_same_item(*((other, one) if swap else (one, other)), equal) for other in answer) for one in gold)


def _same_item(gold: Value, answer: Value, equal: Equal) -> bool:
    """Among several values, a set of one is not that one."""
    sets = [isinstance(value, Group) and value.open == "{" for value in (gold, answer)]
    return sets[0] == sets[1] and same(gold, answer, equal)


def _same_matrices(gold: Value, answer: Value, equal: Equal) -> bool:
    if isinstance(gold, Matrix) and isinstance(answer, Matrix):
        if (len(gold.rows), len(gold.rows[0])) != (len(answer.rows), len(answer.rows[0])):
            return False
        cells = [cell for row in gold.rows for cell in row], [cell for row in answer.rows for cell in row]
        return all(same(one, other, equal) for one, other in zip(*cells, strict=True))
    matrix, other = (gold, answer) if isinstance(gold, Matrix) else (answer, gold)
    if isinstance(other, Group) and (rows := _rows(other)) is not None:
        return _same_matrices(gold, rows, equal) if matrix is gold else _same_matrices(rows, answer, equal)
    if not isinstance(matrix, Matrix) or not isinstance(other, Group) or (other.open, other.close) != ("(", ")"):
        return False
    if len(matrix.rows) > 1 and len(matrix.rows[0]) > 1:
        return False
    vector = Group("(", ")", tuple(cell for row in matrix.rows for cell in row))
    return same(vector, other, equal) if matrix is gold else same(other, vector, equal)


def _rows(group: Group) -> Matrix | None:
    """``[[1, 2], [3, 4]]`` as a matrix."""
    rows = tuple(item.items for item in group.items if isinstance(item, Group) and item.open == "[")
    if group.open != "[" or len(rows) != len(group.items) or len({len(row) for row in rows}) != 1:
        return None
    return Matrix(rows)


# ------------------------------------------------------------------------------------------- inequalities


def _is_order(value: Value) -> bool:
    return isinstance(value, Chain) and bool(set(value.ops) & (_ORDER | {"∈", "∖"}))


def _regions(gold: Value, answer: Value) -> tuple[Union, Union] | None:
    """Both as sets of intervals, if one of them is an inequality or a union and both can be read so."""

    def concerned(value: Value) -> bool:
        listed = isinstance(value, Group) and not value.open and any(map(concerned, value.items))
        return isinstance(value, Union) or _is_order(value) or listed

    if not concerned(gold) and not concerned(answer):
        return None
    first, second = as_interval_set(gold), as_interval_set(answer)
    if first is None or second is None or not _units_agree(gold, answer):
        return None
    (first_name, first_set), (second_name, second_set) = first, second
    if first_name and second_name and first_name != second_name:
        return None
    return first_set, second_set
