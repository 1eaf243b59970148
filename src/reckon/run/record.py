"""``run.yaml``: what a run is: its recipe with every default, its command, and where it runs."""

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
from reckon.run.kinds import Recipe
from reckon.run.pipeline import differences


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


def write_record(path: Path, name: str, recipe: Recipe, command: str, plugins: Sequence[str]) -> None:
    """Write run.yaml: the resolved recipe, the command, digests of plugins, versions and machine."""
    record = {
        "recipe": name,
        "command": command,
        "config": recipe.model_dump(mode="json"),
        "plugins": list(plugins),
        "seed": recipe.seed,
        **environment(recipe),
    }
    store.write_text(path, dump_yaml(record))


def environment_differences(path: Path, recipe: Recipe) -> list[str]:
    """In what the environment of the run recorded at ``path`` differs from this one, in words."""
    record = load_yaml(path)
    now = environment(recipe)
    return differences({key: record.get(key) for key in now}, now)
