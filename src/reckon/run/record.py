"""``run.yaml``: what a run is, written once when it starts and compared when it goes on."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers

import reckon
from reckon.core import store
from reckon.core.config import dump_yaml, load_yaml
from reckon.core.errors import ConfigError
from reckon.models.load import model_folder
from reckon.run.recipe import Recipe, RLRecipe


def environment(recipe: Recipe) -> dict[str, Any]:
    """What the run's exact numbers depend on besides its recipe."""
    return {
        "versions": {
            "reckon": reckon.__version__,
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "transformers": transformers.__version__,
        },
        "device": recipe.device,
        "threads": recipe.thread_count,
        "cpu": torch.backends.cpu.get_cpu_capability(),
    }


def inputs(recipe: Recipe) -> dict[str, dict[str, str | None]]:
    """What the run reads besides its recipe, model and task data: ``path``, and its ``digest`` if it lies here."""
    paths = {"model": recipe.model} if isinstance(recipe, RLRecipe) else {}
    if recipe.task.get("path"):
        paths["data"] = str(recipe.task["path"])
    return {name: {"path": path, "digest": _digest(model_folder(path))} for name, path in paths.items()}


def _digest(path: Path) -> str | None:
    if path.is_dir():
        return store.folder_digest(path)
    return store.file_digest(path) if path.is_file() else None


def write_record(path: Path, name: str, recipe: Recipe, command: str, plugins: Sequence[str]) -> None:
    """Write run.yaml: the resolved recipe, the command, digests of plugins and inputs, versions and machine."""
    record = {
        "recipe": name,
        "command": command,
        "config": recipe.model_dump(mode="json"),
        "plugins": list(plugins),
        "inputs": inputs(recipe),
        "seed": recipe.seed,
        **environment(recipe),
    }
    store.write_text(path, dump_yaml(record))


def compare_record(path: Path, recipe: Recipe, plugins: Sequence[str]) -> list[str]:
    """Check that the run in ``path`` is this recipe's; returns what differs in the environment, in words.

    Raises ConfigError listing every setting that differs.
    """
    record = load_yaml(path)
    own = {"plugins": list(plugins), "inputs": inputs(recipe)}
    old = _flat({**record.get("config", {}), **{key: record.get(key) for key in own}})
    new = _flat({**recipe.model_dump(mode="json"), **own})
    changed = [f"{key}: {old.get(key)} -> {new.get(key)}" for key in sorted(old | new) if old.get(key) != new.get(key)]
    if changed:
        raise ConfigError(
            "this run was started with other settings: " + "; ".join(changed),
            where=str(path.parent),
            why="Continuing would mix two experiments",
            fix="Give another --out, or the settings it was started with",
        )
    before, now = _flat({key: record.get(key) for key in environment(recipe)}), _flat(environment(recipe))
    return [f"{key}: {before.get(key)} -> {now[key]}" for key in now if before.get(key) != now[key]]


def _flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one with dotted keys."""
    if not isinstance(tree, dict):
        return {prefix: tree}
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= _flat(value, f"{prefix}.{key}" if prefix else str(key))
    return found
