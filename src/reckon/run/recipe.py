"""Recipes: one YAML file says everything about a run, which is one stage or several."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, RootModel, model_validator

from reckon.core.config import Tree, apply_overrides, load_yaml, parse
from reckon.core.errors import ConfigError
from reckon.models.load import shipped_models
from reckon.run.kinds import (
    AnyStage,
    CurateRecipe,
    EvaluateRecipe,
    LabelRecipe,
    MergeRecipe,
    PretrainRecipe,
    Recipe,
    RewardRecipe,
    RLRecipe,
    SampleRecipe,
    SFTRecipe,
    TrainRecipe,
)
from reckon.run.shipped import method_names, method_path, recipe_path
from reckon.tasks.registry import build_task, resolved

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,40}")


class PipelineRecipe(Recipe):
    """Several stages, each a recipe of its own, that name what they read from earlier ones.

    Attributes:
        stages: by name, in the order in which they run. In the file, what stands beside them (seed, threads,
            template...) is laid below every stage, and ``defaults.KIND`` below every stage of that kind.
    """

    kind: Literal["pipeline"]
    stages: dict[str, AnyStage] = Field(min_length=1)

    @model_validator(mode="after")
    def _wired(self) -> PipelineRecipe:
        """Refuse names that cannot be folders, and stages that read what is not there yet or is something else."""
        earlier: dict[str, Recipe] = {}
        for name, stage in self.stages.items():
            if not _NAME.fullmatch(name) or name in shipped_models():
                raise ValueError(
                    f"a stage cannot be called {name!r}: use lower-case letters, digits, dots and dashes, and no name "
                    f"of a shipped model ({', '.join(shipped_models())})"
                )
            for setting, value in stage.sources().items():
                if value in self.stages and value not in earlier:
                    raise ValueError(f"stages.{name}.{setting} = {value!r} is not an earlier stage")
                made = makes(earlier[value]) if value in earlier else None
                if made not in (None, wanted := _wanted(setting)):
                    raise ValueError(f"stages.{name}.{setting} must be {wanted}, and the stage {value!r} makes {made}")
            earlier[name] = stage
        return self


class AnyRecipe(
    RootModel[
        Annotated[
            RLRecipe
            | PretrainRecipe
            | SFTRecipe
            | RewardRecipe
            | SampleRecipe
            | LabelRecipe
            | CurateRecipe
            | MergeRecipe
            | EvaluateRecipe
            | PipelineRecipe,
            Field(discriminator="kind"),
        ]
    ]
):
    """What a recipe file holds, by its ``kind``."""


def makes(recipe: Recipe) -> str:
    """What a stage makes: ``model``, ``data`` or ``results``."""
    if isinstance(recipe, TrainRecipe | MergeRecipe):
        return "model"
    return "data" if isinstance(recipe, SampleRecipe | LabelRecipe | CurateRecipe) else "results"


def stages_of(recipe: Recipe) -> dict[str, Recipe]:
    """The stages of a run, by name; a recipe of another kind than ``pipeline`` is the only one of its run."""
    if isinstance(recipe, PipelineRecipe):
        return dict(recipe.stages)
    return {"train" if isinstance(recipe, TrainRecipe) else str(recipe.model_dump()["kind"]): recipe}


def read_recipe(name: str, settings: list[str]) -> Recipe:
    """A shipped recipe or a file, with ``--set`` applied. Raises ConfigError listing every problem."""
    path = recipe_path(name)
    tree = apply_overrides(load_yaml(path), settings)
    if tree.get("kind") == "pipeline" and isinstance(tree.get("stages"), dict):
        tree = _with_stages(tree, path)
    else:
        tree = _completed(tree, str(path))
    return parse(AnyRecipe, tree, str(path)).root


def _with_stages(tree: Tree, path: Path) -> Tree:
    """The tree of a pipeline in which every stage is complete: above the defaults of its kind and what all share."""
    shared = {key: value for key, value in tree.items() if key in Recipe.model_fields}
    defaults = tree.get("defaults", {})
    for section in [defaults] if not isinstance(defaults, dict) else defaults.values():
        if not isinstance(section, dict):
            raise ConfigError("should map kinds of stages to settings", where=f"{path}: defaults")
    kinds = {stage.get("kind") for stage in tree["stages"].values() if isinstance(stage, dict)}
    for key in defaults:
        if key not in kinds:
            raise ConfigError(f"there is no stage of the kind {key!r}", where=getattr(key, "origin", str(path)))
    stages = {
        key: _completed(_below(shared, _below(defaults.get(stage.get("kind"), {}), stage)), f"{path}: stages.{key}")
        if isinstance(stage, dict)
        else stage
        for key, stage in tree["stages"].items()
    }
    return {key: stages if key == "stages" else value for key, value in tree.items() if key != "defaults"}


def _completed(tree: Tree, where: str) -> Tree:
    """A stage's tree with its preset, the defaults of its tasks, and the kinds that need not be named."""
    tree = _with_preset(tree)
    if isinstance(tree.get("task"), dict):
        tree["task"] = resolved(build_task(tree["task"], f"{where}: task"))
    if isinstance(tree.get("tasks"), dict):
        tree["tasks"] = {
            key: resolved(build_task(task, f"{where}: tasks.{key}")) if isinstance(task, dict) else task
            for key, task in tree["tasks"].items()
        }
    for section, kind in (("algorithm", "policy_gradient"), ("text", "micro")):
        if isinstance(tree.get(section), dict):
            tree[section].setdefault("kind", kind)
    scorers = tree.get("reward_models")
    for scorer in scorers.values() if isinstance(scorers, dict) else ():
        if isinstance(scorer, dict):
            scorer.setdefault("kind", "value")
    return tree


def _with_preset(tree: Tree) -> Tree:
    """The recipe with the partial recipe of the method it names, if any, laid below its own keys.

    A name that is no method's is left for the validator, which knows the line it stands on.
    """
    # Not a pydantic validator: after one that runs before the fields, lists no longer pass for tuples.
    name = tree.get("preset")
    if name not in method_names():
        return tree
    return _below(load_yaml(method_path(name)), tree)


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


def _wanted(setting: str) -> str:
    """What a setting that names a source must name: the last word of it that is no number says."""
    word = next(part for part in reversed(setting.split(".")) if not part.isdigit())
    return "model" if word.startswith("model") or word in ("scorer", "reference") else "data"
