"""Solved inequalities, intervals and their unions as one thing: a set of real numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import pairwise

from reckon.tasks.math.number import exact
from reckon.tasks.math.values import (
    INFINITY,
    Chain,
    Group,
    Node,
    Num,
    Op,
    Quantity,
    Sym,
    TooLarge,
    Undefined,
    Union,
    Value,
    symbols,
)

_MINUS_INFINITY = Op("neg", (INFINITY,))
_FLIPPED = {"<": ">", ">": "<", "≤": "≥", "≥": "≤"}
_PLUS = Op("+", (INFINITY,))

_Piece = tuple[float | Fraction, int, float | Fraction, int]
"""An interval: low end, 0 if closed else 1, high end, 1 if closed else 0."""


def as_interval_set(value: Value) -> tuple[str, Union] | None:
    """The variable's name ("" if none is given) and the union of intervals and points; None if it is no such set."""
    match value:
        case Union(parts):
            pieces = [as_interval_set(part) for part in parts]
            if any(piece is None for piece in pieces):
                return None
            return "", Union(tuple(part for piece in pieces if piece for part in piece[1].parts))
        case Group("(" | "[", items=(Num() | Sym() | Op() | Quantity(), Num() | Sym() | Op() | Quantity())):
            return "", Union((value,))
        case Group("{", items=items):
            return "", Union((value,)) if items else Union(())
        case Group("", items=items):
            return _of_list(value, items)
        case Chain(parts, ops):
            return _of_chain(parts, ops)
    return None


def _of_chain(parts: tuple[Value, ...], ops: tuple[str, ...]) -> tuple[str, Union] | None:
    if ops in (("∈",), ("=",)) and isinstance(parts[0], Sym):
        inner = as_interval_set(parts[1])
        return None if inner is None else (parts[0].name, inner[1])
    if ops == ("∖",):
        return _without(*parts)
    if ops == ("≠",):
        name, value = parts if isinstance(parts[0], Sym) else parts[::-1]
        return (name.name, _all_but(value)) if isinstance(name, Sym) and isinstance(value, Node) else None
    bare = tuple(part.node if isinstance(part, Quantity) else part for part in parts)
    if not all(op in _FLIPPED for op in ops) or not all(isinstance(part, Node) for part in bare):
        return None
    if len(bare) == 2:
        left, right = bare
        op = ops[0]
        if not isinstance(left, Sym) or left.name in symbols(right):
            left, right, op = right, left, _FLIPPED[op]
        if not isinstance(left, Sym) or left.name in symbols(right) or not symbols(left):
            return None
        closed = op in "≤≥"
        if op in "<≤":
            return left.name, Union((Group("(", "]" if closed else ")", (_MINUS_INFINITY, right)),))
        return left.name, Union((Group("[" if closed else "(", ")", (right, INFINITY)),))
    if len(bare) == 3 and isinstance(bare[1], Sym) and symbols(bare[1]):
        low, _, high = bare
        first, second = ops
        if first in ">≥":
            low, high, first, second = high, low, _FLIPPED[second], _FLIPPED[first]
        if first not in "<≤" or second not in "<≤" or bare[1].name in symbols(low) | symbols(high):
            return None
        interval = Group("[" if first == "≤" else "(", "]" if second == "≤" else ")", (low, high))
        return bare[1].name, Union((interval,))
    return None


def _of_list(group: Group, items: tuple[Value, ...]) -> tuple[str, Union] | None:
    """``x < 1 or x > 3`` and the like. Joined otherwise than by ``or``, two that overlap mean what both have."""
    pieces = [as_interval_set(item) for item in items]
    names = {piece[0] for piece in pieces if piece}
    if any(piece is None for piece in pieces) or len(names) != 1 or not all(isinstance(item, Chain) for item in items):
        return None
    parts = tuple(part for piece in pieces if piece for part in piece[1].parts)
    common = None if group.disjoint else _common([piece[1] for piece in pieces if piece])
    return names.pop(), common if common and common.parts else Union(parts)


def _all_but(value: Node) -> Union:
    return Union((Group("(", ")", (_MINUS_INFINITY, value)), Group("(", ")", (value, INFINITY))))


def _without(whole: Value, removed: Value) -> tuple[str, Union] | None:
    """``R ∖ {1, 2}``: a set of numbers without some points."""
    known = as_interval_set(whole)
    points = removed.items if isinstance(removed, Group) else ()
    nodes = [point for point in points if isinstance(point, Node)]
    if known is None or not nodes or len(nodes) < len(points):
        return None
    if known[1] == Union((Group("(", ")", (_MINUS_INFINITY, INFINITY)),)) and len(nodes) == 1:
        return known[0], _all_but(nodes[0])
    bounds = [bound for node in nodes if (bound := _bound(node)) is not None]
    if len(bounds) < len(nodes):
        return None
    ends = [_MINUS_INFINITY, *map(_number, sorted(set(bounds))), INFINITY]
    common = _common([known[1], Union(tuple(Group("(", ")", pair) for pair in pairwise(ends)))])
    return None if common is None else (known[0], common)


def _common(unions: Sequence[Union]) -> Union | None:
    """What sets have in common; None if an end is not rational."""
    found: list[_Piece] = [(float("-inf"), 1, float("inf"), 0)]
    for union in unions:
        pieces = _joined(union)
        if pieces is None:
            return None
        ends = [(max(one[:2], other[:2]), min(one[2:], other[2:])) for one in found for other in pieces]
        found = [(*low, *high) for low, high in ends if low < high]
    return Union(
        tuple(
            Group("(" if opened else "[", "]" if closed else ")", (_number(low), _number(high)))
            for low, opened, high, closed in found
        )
    )


def _number(bound: Fraction | float) -> Node:
    if isinstance(bound, Fraction):
        return Num(bound)
    return INFINITY if bound > 0 else _MINUS_INFINITY


def same_interval_set(gold: Union, answer: Union, equal: Callable[[Node, Node], bool]) -> bool:
    """Whether two unions are the same set. Ends that are rational are ordered and joined; others are matched."""
    first, second = _joined(gold), _joined(answer)
    if first is not None and second is not None:
        return first == second
    return len(gold.parts) == len(answer.parts) and all(
        any(_same_piece(one, other, equal) for other in answer.parts) for one in gold.parts
    )


def _same_piece(gold: Value, answer: Value, equal: Callable[[Node, Node], bool]) -> bool:
    if not isinstance(gold, Group) or not isinstance(answer, Group):
        return False
    if (gold.open, gold.close, len(gold.items)) != (answer.open, answer.close, len(answer.items)):
        return False
    pairs = zip(gold.items, answer.items, strict=True)
    return all(_same_end(one, other, equal) for one, other in pairs)


def _same_end(gold: Value, answer: Value, equal: Callable[[Node, Node], bool]) -> bool:
    first, second = _plain(gold), _plain(answer)
    if first is None or second is None:
        return False
    if first in (INFINITY, _MINUS_INFINITY) or second in (INFINITY, _MINUS_INFINITY):
        return first == second
    return equal(first, second)


def _plain(value: Value) -> Node | None:
    node = value.node if isinstance(value, Quantity) else value
    if node == _PLUS:
        return INFINITY
    return node if isinstance(node, Node) else None


def _joined(union: Union) -> tuple[_Piece, ...] | None:
    """The pieces in order, with those that touch joined; None if an end is not rational."""
    pieces: list[_Piece] = []
    for part in union.parts:
        assert isinstance(part, Group)
        bounds = [_bound(item) for item in part.items]
        if any(bound is None for bound in bounds):
            return None
        ends = [bound for bound in bounds if bound is not None]
        if part.open == "{":
            pieces.extend((end, 0, end, 1) for end in ends)
        else:
            pieces.append((ends[0], int(part.open == "("), ends[1], int(part.close == "]")))
    joined: list[_Piece] = []
    for piece in sorted(pieces):
        if joined and (piece[0], piece[1]) <= (joined[-1][2], joined[-1][3]):
            low, opened, high, closed = joined.pop()
            high, closed = max((high, closed), (piece[2], piece[3]))
            joined.append((low, opened, high, closed))
        else:
            joined.append(piece)
    return tuple(joined)


def _bound(value: Value) -> Fraction | float | None:
    node = _plain(value)
    if node == INFINITY:
        return float("inf")
    if node == _MINUS_INFINITY:
        return float("-inf")
    try:
        return None if node is None else exact(node)
    except (Undefined, TooLarge):
        return None
