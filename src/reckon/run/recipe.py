"""Recipes: one YAML file says everything about a run. This is what may stand in it."""

from __future__ import annotations

import difflib
import os
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, RootModel, field_validator, model_validator

from reckon.algorithms.bond import JBond
from reckon.algorithms.cloning import Cloning
from reckon.algorithms.policy_gradient import PolicyGradient
from reckon.algorithms.preference import Preference
from reckon.core.config import Strict, Tree, apply_overrides, load_yaml, parse
from reckon.core.errors import ConfigError
from reckon.data.micro import MicroText
from reckon.learn.learner import OptimConfig
from reckon.models.template import PromptTemplate
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

    @field_validator("template")
    @classmethod
    def _renders(cls, template: str) -> str:
        PromptTemplate(template)
        return template

    @field_validator("device")
    @classmethod
    def _exists(cls, device: str) -> str:
        try:
            torch.device(device)
        except RuntimeError as error:
            raise ValueError("torch knows no such device: use e.g. cpu, cuda or cuda:1") from error
        return device


class RLRecipe(Recipe):
    """Reinforcement learning on a task with rule rewards.

    Attributes:
        model: a folder, a hub name, or ``micro``.
        preset: a published method (see ``docs/methods``): a partial recipe laid below this one, whose own
            keys win.
        algorithm: its choices.
        max_generated_tokens: end with the step that reaches so many tokens generated for training, whether they were
            trained on or filtered out; None: after ``steps`` steps.
    """

    kind: Literal["rl"]
    model: str
    preset: str | None = None
    reward: RewardSpec = RewardSpec()
    algorithm: Annotated[PolicyGradient | Cloning | Preference | JBond, Field(discriminator="kind")] = PolicyGradient()
    max_generated_tokens: int | None = Field(None, ge=1)

    @field_validator("preset")
    @classmethod
    def _published(cls, name: str | None) -> str | None:
        if name is not None and name not in method_names():
            near = difflib.get_close_matches(name, method_names(), 1)
            hint = f"did you mean {near[0]}?" if near else f"use one of {', '.join(method_names())}"
            raise ValueError(f"there is no such method; {hint}")
        return name

    @model_validator(mode="after")
    def _possible(self) -> RLRecipe:
        """Refuse what the algorithm cannot work with."""
        needs, rollout = self.algorithm.needs, self.rollout
        pretrain = needs.critic.pretrain_steps if needs.critic else 0
        batch = rollout.prompts_per_step * rollout.samples_per_prompt
        refused = {
            "rollout.samples_per_prompt must be at least 2: this algorithm compares the samples of a prompt, and a "
            "group of one has nothing to compare": needs.group and rollout.samples_per_prompt < 2,
            f"algorithm.minibatches = {self.algorithm.minibatches} is more than the {batch} samples of a step": (
                self.algorithm.minibatches > batch
            ),
            f"algorithm.critic.pretrain_steps = {pretrain} leaves the policy none of the {self.steps} steps": (
                pretrain >= self.steps
            ),
            "rollout.rationalise gives answers that are not samples of the policy: only algorithm.kind `cloning` can "
            "use them": rollout.rationalise and not isinstance(self.algorithm, Cloning),
            "algorithm.truncation `zero_reward` with reward.signed or reward.overlong would pay a truncated response "
            "more than a wrong one": getattr(self.algorithm, "truncation", "") == "zero_reward"
            and (self.reward.signed or self.reward.overlong is not None),
        }
        for reason, found in refused.items():
            if found:
                raise ValueError(reason)
        return self


class Architecture(Strict):
    """The shape of a Qwen2 model made from scratch."""

    hidden_size: int = Field(192, ge=1)
    intermediate_size: int = Field(512, ge=1)
    layers: int = Field(4, ge=1)
    heads: int = Field(6, ge=1)
    kv_heads: int = Field(2, ge=1)
    max_position_embeddings: int = Field(512, ge=2)

    @model_validator(mode="after")
    def _divides(self) -> Architecture:
        if self.hidden_size % (2 * self.heads) or self.heads % self.kv_heads:
            raise ValueError("hidden_size must be a multiple of twice the heads, and heads a multiple of kv_heads")
        return self


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


class AnyRecipe(RootModel[Annotated[RLRecipe | PretrainRecipe, Field(discriminator="kind")]]):
    """What a recipe file holds, by its ``kind``."""


METHODS = "methods"
"""The folder of the published methods, among the shipped recipes."""


def recipe_names() -> list[str]:
    """The recipes shipped with the package."""
    return _names(_shipped())


def method_names() -> list[str]:
    """The published methods that ``preset`` can name."""
    return _names(_shipped() / METHODS)


def recipe_path(name: str) -> Path:
    """The file of a shipped recipe or method, or of a path. Raises ConfigError naming what exists."""
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        return path
    for folder, names in ((_shipped(), recipe_names()), (_shipped() / METHODS, method_names())):
        if name in names:
            return folder / f"{name}.yaml"
    raise ConfigError(
        f"there is no recipe {name!r}",
        fix=f"Use one of {', '.join(recipe_names())} or the path of a .yaml file; the methods that preset can name are "
        f"{', '.join(method_names())}",
    )


def read_recipe(name: str, settings: list[str]) -> RLRecipe | PretrainRecipe:
    """A shipped recipe or a file, with ``--set`` applied. Raises ConfigError listing every problem."""
    path = recipe_path(name)
    tree = _with_preset(apply_overrides(load_yaml(path), settings))
    if isinstance(tree.get("task"), dict):
        tree["task"] = resolved(build_task(tree["task"], f"{path}: task"))
    if isinstance(tree.get("algorithm"), dict):
        tree["algorithm"].setdefault("kind", "policy_gradient")
    return parse(AnyRecipe, tree, str(path)).root


def _with_preset(tree: Tree) -> Tree:
    """The recipe with the partial recipe of the method it names, if any, laid below its own keys.

    A name that is no method's is left for the validator, which knows the line it stands on.
    """
    # Not a pydantic validator: after one that runs before the fields, lists no longer pass for tuples.
    name = tree.get("preset")
    if name not in method_names():
        return tree
    return _below(load_yaml(_shipped() / METHODS / f"{name}.yaml"), tree)


def _below(low: Tree, high: Tree) -> Tree:
    """Both trees as one; ``high`` wins. A section of another kind replaces the lower one, whose keys were another's."""
    if "kind" in low and high.get("kind", low["kind"]) != low["kind"]:
        return high
    merged = {**high}
    for key, value in low.items():
        if key not in high:
            merged[key] = value
        elif isinstance(value, dict) and isinstance(high[key], dict):
            merged[key] = _below(value, high[key])
    return merged


def _names(folder: Path) -> list[str]:
    return sorted(path.name.removesuffix(".yaml") for path in folder.iterdir() if path.name.endswith(".yaml"))


def _shipped() -> Path:
    return Path(str(files("reckon") / "recipes"))
