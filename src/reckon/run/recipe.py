"""Recipes: one YAML file says everything about a run. This is what may stand in it."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from reckon.algorithms.grpo import GRPO, PRESETS
from reckon.core.config import Strict, Tree, apply_overrides, load_yaml, parse
from reckon.core.errors import ConfigError
from reckon.data.micro import MicroText
from reckon.learn.learner import OptimConfig
from reckon.rewards.spec import RewardSpec
from reckon.rollout.collect import RolloutConfig
from reckon.stages.evaluate import EvalConfig
from reckon.stages.train import CheckpointConfig
from reckon.tasks.registry import build_task, resolved


class Recipe(Strict):
    """What every recipe has.

    Attributes:
        seed: the root of every random choice.
        threads: CPU threads; 0 uses all cores. Runs are repeatable bit for bit only with the same number.
        device, dtype: as torch names them.
        task: ``kind`` and the settings of that task.
        template: a name or text of :class:`reckon.models.template.PromptTemplate`.
        max_running: responses the engine generates at once.
    """

    seed: int = Field(0, ge=0)
    threads: int = Field(0, ge=0)
    device: str = "cpu"
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    task: dict[str, Any]
    template: str = "r1-zero"
    max_running: int = Field(256, ge=1)
    rollout: RolloutConfig = RolloutConfig()
    optim: OptimConfig = OptimConfig()
    steps: int = Field(ge=1)
    eval: EvalConfig = EvalConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()

    @property
    def thread_count(self) -> int:
        return self.threads or os.cpu_count() or 1


class RLRecipe(Recipe):
    """Reinforcement learning on a task with rule rewards.

    Attributes:
        model: a folder, a hub name, or ``micro``.
        algorithm: its choices; ``preset`` starts from a named form (see :data:`reckon.algorithms.grpo.PRESETS`).
    """

    kind: Literal["rl"]
    model: str
    reward: RewardSpec = RewardSpec()
    algorithm: GRPO = GRPO()

    @model_validator(mode="after")
    def _groups_can_teach(self) -> RLRecipe:
        if self.rollout.samples_per_prompt < 2:
            raise ValueError(
                "rollout.samples_per_prompt must be at least 2: the advantage of a group of one is always zero"
            )
        batch = self.rollout.prompts_per_step * self.rollout.samples_per_prompt
        if self.algorithm.minibatches > batch:
            raise ValueError(
                f"algorithm.minibatches = {self.algorithm.minibatches} is more than the {batch} samples of a step"
            )
        return self


class Architecture(Strict):
    """The shape of a Qwen2 model made from scratch."""

    hidden_size: int = 192
    intermediate_size: int = 512
    layers: int = 4
    heads: int = 6
    kv_heads: int = 2
    max_position_embeddings: int = 512


class PretrainRecipe(Recipe):
    """A base model from scratch, on text made by rule.

    Attributes:
        text: the mixture of the corpus.
        texts_per_step: texts of one optimiser update.
    """

    kind: Literal["pretrain"]
    architecture: Architecture = Architecture()
    text: MicroText = MicroText()
    texts_per_step: int = Field(64, ge=1)


KINDS: dict[str, type[RLRecipe] | type[PretrainRecipe]] = {"rl": RLRecipe, "pretrain": PretrainRecipe}
"""What a recipe's ``kind`` names."""


def recipe_names() -> list[str]:
    """The recipes shipped with the package."""
    return sorted(path.name.removesuffix(".yaml") for path in _shipped().iterdir() if path.name.endswith(".yaml"))


def recipe_path(name: str) -> Path:
    """The file of a shipped recipe or of a path. Raises ConfigError naming what exists."""
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        return path
    if name not in recipe_names():
        raise ConfigError(
            f"there is no recipe {name!r}", fix=f"Use one of {', '.join(recipe_names())}, or the path of a .yaml file"
        )
    return _shipped() / f"{name}.yaml"


def read_recipe(name: str, settings: list[str]) -> RLRecipe | PretrainRecipe:
    """A shipped recipe or a file, with ``--set`` applied. Raises ConfigError listing every problem."""
    path = recipe_path(name)
    tree: Tree = apply_overrides(load_yaml(path), settings)
    if isinstance(tree.get("task"), dict):
        tree["task"] = resolved(build_task(tree["task"], f"{path}: task"))
    kind = tree.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise ConfigError(f"kind = {kind!r} is unknown", where=str(path), fix=f"Use one of {', '.join(KINDS)}")
    if isinstance(tree.get("algorithm"), dict):
        tree["algorithm"] = _with_preset(tree["algorithm"], str(path))
    return parse(KINDS[kind], tree, str(path))


def _with_preset(algorithm: Tree, source: str) -> Tree:
    """The section with the choices of the preset it names, if any, filled in below its own."""
    # Not a pydantic validator: after one that runs before the fields, lists no longer pass for tuples.
    if "preset" not in algorithm:
        return algorithm
    name = algorithm["preset"]
    if not isinstance(name, str) or name not in PRESETS:
        what = f"algorithm.preset = {name!r} is unknown"
        raise ConfigError(what, where=source, fix=f"Use one of {', '.join(PRESETS)}")
    chosen = {key: value for key, value in algorithm.items() if key != "preset"}
    below = {key: value for key, value in PRESETS[name].model_dump(mode="json").items() if key not in chosen}
    return {**below, **chosen}


def _shipped() -> Path:
    return Path(str(files("reckon") / "recipes"))
