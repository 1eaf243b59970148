"""What the samples of a folder depend on, as it lies beside them, and how two such differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reckon.core.config import Tree, load_yaml

SETTINGS = "eval.yaml"

RECORD = "made_with"
"""Versions, for the record: the same settings may be continued with others."""


def stored_task(folder: Path) -> dict[str, Any] | None:
    """The task of the evaluation in a folder, ``kind`` and settings; None if the folder does not say."""
    path = folder / SETTINGS
    benchmark = load_yaml(path).get("benchmark") if path.exists() else None
    return benchmark.get("task") if isinstance(benchmark, dict) else None


def differences(first: Tree, second: Tree) -> dict[str, tuple[Any, Any]]:
    """The settings in which two evaluations differ, by their paths, with the value of either; versions are none."""
    one, other = _flat({**first, RECORD: None}), _flat({**second, RECORD: None})
    return {name: (one.get(name), other.get(name)) for name in {**one, **other} if one.get(name) != other.get(name)}


def _flat(tree: Any, path: str = "") -> dict[str, Any]:
    """The leaves of a tree by their paths: ``benchmark.task.kind``."""
    if not isinstance(tree, dict) or not tree:
        return {path: tree}
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        leaves |= _flat(value, f"{path}.{key}" if path else str(key))
    return leaves
