"""Trees as JSON lines, one a line: everything that was generated, with its scores and verdicts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from reckon.core.errors import DataError
from reckon.core.records import Problem, Verdict
from reckon.core.store import append_jsonl, read_jsonl
from reckon.search.base import Node, Tree
from reckon.search.grow import RECORDED


def append_trees(path: Path, trees: Iterable[Tree]) -> None:
    """Append trees to a file: all of them or, if the disk refuses, none (DataError)."""
    append_jsonl(path, map(to_row, trees))


def read_trees(path: Path) -> list[Tree]:
    """The trees of a file. Raises DataError if it cannot be read, or a line is not a tree."""
    trees = []
    for number, row in enumerate(read_jsonl(path), 1):
        try:
            trees.append(from_row(row))
        except (TypeError, KeyError, AttributeError, ValueError) as error:
            raise DataError(
                f"not a tree ({type(error).__name__}: {error})",
                where=f"{path}, row {number}",
                fix="Give a folder that `reckon search` made",
            ) from error
    return trees


def to_row(tree: Tree) -> dict[str, Any]:
    """A tree as JSON-ready data; :func:`from_row` is the inverse."""
    return {
        "problem": asdict(tree.problem),
        "prompt": tree.prompt,
        "prompt_ids": tree.prompt_ids,
        "shown": tree.root.prompt_ids,
        "budget": tree.budget,
        "limit": tree.limit,
        "seed": tree.seed,
        "seconds": tree.seconds,
        "nodes": [_node_row(node) for node in tree.nodes],
    }


def from_row(row: dict[str, Any]) -> Tree:
    root = Node("", None, prompt_ids=row["shown"])
    plain = {name: row[name] for name in ("prompt", "prompt_ids", "budget", "limit", "seed", "seconds")}
    tree = Tree(Problem(**row["problem"]), root=root, **plain)
    nodes = {"": root}
    for fields in row["nodes"]:
        node = tree.attach(nodes[fields["id"].rpartition(".")[0]])
        nodes[node.id] = node
        for name in RECORDED:
            setattr(node, name, fields[name])
        node.verdict = Verdict(**fields["verdict"]) if fields["verdict"] is not None else None
    return tree


def _node_row(node: Node) -> dict[str, Any]:
    verdict = asdict(node.verdict) if node.verdict is not None else None
    return {"id": node.id, **{name: getattr(node, name) for name in RECORDED}, "verdict": verdict}
