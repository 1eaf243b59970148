"""What is to be done of a pipeline: which stages are finished, which go on, and which were made from something else.

A stage's key is a hash of its recipe and of the digests of what it reads. A finished stage with the same key is not
run again, a started one goes on, and one that was made with another key is refused with the differences, or redone
if the caller says so; what was there is then moved aside, never removed.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from reckon.core import store
from reckon.core.config import Tree, dump_yaml, load_yaml
from reckon.core.errors import ConfigError
from reckon.models.load import model_folder
from reckon.run.kinds import Recipe, with_sources

STARTED = "stage.yaml"
"""What a stage was started with; written before anything else in its folder."""

FINISHED = "manifest.json"
"""What a stage was made from and what it made; written last."""

FORKED = "forked"
"""The folder of a run for stages that were redone with other settings."""

_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+(:[\w.-]+)?")

Status = Literal["new", "started", "finished", "changed"]


@dataclass(frozen=True)
class Stage:
    """A recipe as a part of a run.

    Attributes:
        name: unique in the run; later stages name what this one makes by it.
        folder: ``stages/NN-name`` of the run directory.
    """

    name: str
    number: int
    recipe: Recipe
    folder: Path

    @property
    def manifest(self) -> dict[str, Any] | None:
        """What :data:`FINISHED` holds, or None."""
        path = self.folder / FINISHED
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None

    @property
    def begun(self) -> bool:
        """Whether there is anything that other settings could spoil."""
        return any(path.name != STARTED for path in self.folder.iterdir()) if self.folder.is_dir() else False


@dataclass(frozen=True)
class State:
    """How far a stage is.

    Attributes:
        changes: for ``changed``: what differs from what it was made with, one phrase each.
    """

    stage: Stage
    status: Status
    changes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Pipeline:
    """The stages of a run, in order; every one reads from earlier ones or from outside.

    Attributes:
        plugins: sha256 of each plugin file: part of every stage's key.
    """

    out: Path
    stages: Sequence[Stage]
    plugins: Sequence[str] = ()

    @classmethod
    def of(cls, recipes: dict[str, Recipe], out: Path, plugins: Sequence[str] = ()) -> Pipeline:
        stages = [
            Stage(name, number, recipe, out / "stages" / f"{number:02d}-{name}")
            for number, (name, recipe) in enumerate(recipes.items(), 1)
        ]
        return cls(out, stages, plugins)

    def stage(self, name: str) -> Stage | None:
        return next((stage for stage in self.stages if stage.name == name), None)

    def states(self) -> list[State]:
        """How far every stage is. What was made from a stage that changed has changed too."""
        found: dict[str, State] = {}
        for stage in self.stages:
            found[stage.name] = self._state(stage, found)
        return list(found.values())

    def inputs(self, stage: Stage) -> dict[str, dict[str, str | None]]:
        """What a stage reads, by the dotted name of the setting: ``from`` which stage, ``path`` and ``digest``.

        The digest is None of what does not lie here, such as a model on the hub. Paths of what the run made are
        relative to it. Raises ConfigError when a stage it reads from is not finished.
        """
        return {name: self._input(stage, value) for name, value in stage.recipe.sources().items()}

    def resolved(self, stage: Stage) -> Recipe:
        """The stage's recipe with the paths of what earlier stages made in the place of their names."""
        inputs = self.inputs(stage)
        made = {name: str(self.out / str(each["path"])) for name, each in inputs.items() if each["from"]}
        return with_sources(stage.recipe, made)

    def refuse_missing(self, stages: Sequence[Stage]) -> None:
        """Raise ConfigError if one of these stages reads what is no stage, not here, and no name of the hub's form.

        A run should not find that out after hours of other stages; one of a single stage finds it out at once.
        """
        for stage in stages if len(self.stages) > 1 else ():
            for setting, value in stage.recipe.sources().items():
                if self.stage(value) or model_folder(value).exists() or _HUB_NAME.fullmatch(value):
                    continue
                near = difflib.get_close_matches(value, [each.name for each in self.stages], 1)
                raise ConfigError(
                    f"{setting} = {value!r} is neither a file or folder here nor a stage"
                    + (f"; did you mean {near[0]}?" if near else ""),
                    where=f"stage {stage.name}",
                    fix="Give an existing path, the name of an earlier stage, or owner/name on the hub",
                )

    def start(self, stage: Stage) -> dict[str, Any]:
        """Write down what the stage is started with; returns it."""
        inputs = self.inputs(stage)
        config = stage.recipe.model_dump(mode="json")
        record = {"name": stage.name, "kind": config["kind"], "key": self._key(stage, inputs), "inputs": inputs}
        store.write_text(stage.folder / STARTED, dump_yaml({**record, "plugins": list(self.plugins), "config": config}))
        return record

    def set_aside(self, stage: Stage) -> Path:
        """Move what a stage made under other settings out of the way; returns where it lies now."""
        number = 1
        while (target := self.out / FORKED / str(number) / stage.folder.name).exists():
            number += 1
        target.parent.mkdir(parents=True, exist_ok=True)
        stage.folder.rename(target)
        return target

    def refuse(self, states: Sequence[State]) -> None:
        """Raise ConfigError if any of these stages was made with other settings, listing every difference."""
        changed = [state for state in states if state.status == "changed"]
        if not changed:
            return
        several = len(self.stages) > 1
        listed = [
            f"{state.stage.name}: {change}" if several else change for state in changed for change in state.changes
        ]
        raise ConfigError(
            "this run was started with other settings: " + "; ".join(listed),
            where=str(self.out),
            why="Continuing would mix two experiments",
            fix="Give another --out, or the settings it was started with"
            + (
                f", or --fork to move {', '.join(s.stage.name for s in changed)} aside and redo them" if several else ""
            ),
        )

    def _state(self, stage: Stage, earlier: dict[str, State]) -> State:
        if not stage.begun:
            return State(stage, "new")
        upstream = [earlier[value] for value in stage.recipe.sources().values() if value in earlier]
        changes = [
            f"made from {state.stage.name}, which is {'redone' if state.status == 'changed' else 'not finished'}"
            for state in upstream
            if state.status != "finished"
        ]
        if not (stage.folder / STARTED).is_file():
            return State(stage, "changed", [f"its folder has no {STARTED}: another version of Reckon made it"])
        record: Tree = load_yaml(stage.folder / STARTED)
        old = {**record.get("config", {}), "plugins": record.get("plugins")}
        new = {**stage.recipe.model_dump(mode="json"), "plugins": list(self.plugins)}
        if not changes:
            old["inputs"], new["inputs"] = _digests(record.get("inputs", {})), _digests(self.inputs(stage))
        changes = differences(old, new) + changes
        if changes:
            return State(stage, "changed", changes)
        return State(stage, "finished" if (stage.folder / FINISHED).is_file() else "started")

    def _input(self, stage: Stage, value: str) -> dict[str, str | None]:
        source = self.stage(value)
        if source is None:
            path = model_folder(value)
            return {"from": None, "path": value, "digest": _digest(path)}
        manifest = source.manifest
        if manifest is None:
            raise ConfigError(
                f"stage {stage.name} reads from {source.name}, which is not finished",
                where=str(self.out),
                fix=f"Run {source.name} first: leave out --only and --from, or give --from {source.name}",
            )
        output = next(iter(manifest["outputs"].values()))
        return {"from": source.name, "path": output["path"], "digest": output["digest"]}

    def _key(self, stage: Stage, inputs: dict[str, dict[str, str | None]]) -> str:
        """What the stage's result is a function of, hashed."""
        content = {
            "config": stage.recipe.model_dump(mode="json"),
            "inputs": _digests(inputs),
            "plugins": list(self.plugins),
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def differences(old: Tree, new: Tree) -> list[str]:
    """The settings in which two trees differ, each as ``a.b: old -> new``."""
    before, after = _flat(old), _flat(new)
    keys = sorted(key for key in before | after if before.get(key) != after.get(key))
    return [f"{key}: {before.get(key)} -> {after.get(key)}" for key in keys]


def _digest(path: Path) -> str | None:
    files = [path] if path.is_file() else sorted(each for each in path.rglob("*") if each.is_file())
    return _hashed(path, tuple((str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in files)) if files else None


@lru_cache(maxsize=64)
def _hashed(path: Path, stamp: tuple[tuple[str, int, int], ...]) -> str:
    """The digest of a file or folder, computed once while ``stamp`` stays: a large model takes a minute."""
    return store.folder_digest(path) if path.is_dir() else store.file_digest(path)


def _digests(inputs: dict[str, dict[str, str | None]]) -> dict[str, Any]:
    return {name: each.get("digest") for name, each in inputs.items()}


def _flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one with dotted keys."""
    if not isinstance(tree, dict):
        return {prefix: tree}
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= _flat(value, f"{prefix}.{key}" if prefix else str(key))
    return found
