"""Programs that differ from a given one in one token: an operator, a comparison, a constant, or a function's name."""

from __future__ import annotations

import ast
import random
from collections.abc import Iterator

_OPERATORS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Add,
    ast.Pow: ast.Mult,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
_NAMES = {
    "max": "min",
    "min": "max",
    "set": "list",
    "len": "str",
    "int": "float",
    "encode_cyclic": "str",
    "swapcase": "lower",
    "startswith": "endswith",
    "endswith": "startswith",
}


def mutant(source: str, function: str, seed: str) -> tuple[str, str]:
    """One of the mutants of a function, drawn by the seed: what was changed, and the whole source."""
    return random.Random(seed).choice(list(mutants(source, function)))


def mutants(source: str, function: str) -> Iterator[tuple[str, str]]:
    """All of them."""
    tree = ast.parse(source)
    defined = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == function]
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in (inner for statement in defined[-1].body for inner in ast.walk(statement)):
        if id(node) not in documentation:
            for before, after in _changes(node):
                yield f"{before} -> {after}", ast.unparse(tree)


def _changes(node: ast.AST) -> Iterator[tuple[str, str]]:
    """Changes the node, in one way after the other, each for as long as the caller looks at it."""
    before = ast.unparse(node) if isinstance(node, ast.expr | ast.AugAssign) else ""
    for holder, place in _places(node):
        old = holder[place]
        new = old + "x" if isinstance(old, str) and place == "value" else _other(old)
        if new is not None:
            holder[place] = new
            yield before, ast.unparse(node)
            holder[place] = old


def _places(node: ast.AST) -> Iterator[tuple[dict | list, str | int]]:  # type: ignore[type-arg]
    if isinstance(node, ast.BinOp | ast.AugAssign | ast.BoolOp):
        yield vars(node), "op"
    elif isinstance(node, ast.Compare):
        yield from ((node.ops, place) for place in range(len(node.ops)))
    elif isinstance(node, ast.Constant):
        yield vars(node), "value"
    elif isinstance(node, ast.Name):
        yield vars(node), "id"
    elif isinstance(node, ast.Attribute):
        yield vars(node), "attr"


def _other(token: object) -> object:
    if isinstance(token, bool):
        return not token
    if isinstance(token, int | float):
        return token + 1
    if isinstance(token, str):
        return _NAMES.get(token)
    kind = _OPERATORS.get(type(token))  # type: ignore[arg-type]
    return kind() if kind else None
