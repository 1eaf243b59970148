"""A run: the stages of a recipe in one directory, one after the other; running it again continues it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from reckon.core import store
from reckon.core.config import digest
from reckon.core.errors import ConfigError, Interrupted, ReckonError
from reckon.core.events import EventLog
from reckon.core.stop import Stop
from reckon.run.build import Job, Made, make
from reckon.run.kinds import Recipe
from reckon.run.pipeline import FINISHED, Pipeline, Stage, State
from reckon.run.progress import Progress
from reckon.run.recipe import stages_of
from reckon.run.record import environment, environment_differences, write_record


@dataclass
class Run:
    """One run of one recipe in one directory.

    Attributes:
        command: the command line, for the record.
        plugins: sha256 of each plugin file, in the order of the command line.
        begin: run no stage before this one; those before it must be finished.
        only: run no other stage than this one; what it reads must be finished.
        fork: move stages that were made with other settings aside and make them anew, instead of refusing.
        claimed: whether the directory is this run's to write in.
    """

    name: str
    recipe: Recipe
    out: Path
    command: str
    plugins: list[str]
    stop: Stop
    progress: Progress
    begin: str | None = None
    only: str | None = None
    fork: bool = False
    claimed: bool = False

    def execute(self) -> Path:
        """Run to the end and return what the last stage made: a checkpoint's folder, or a file.

        Raises ConfigError when the directory belongs to another recipe or another process, Interrupted (after saving)
        when stopped, and whatever else went wrong; every ending is on record in ``events.jsonl``.
        """
        self.pipeline = Pipeline.of(stages_of(self.recipe), self.out, self.plugins)
        chosen = self._chosen()
        self.pipeline.refuse_missing(chosen)
        with store.RunLock(self.out / "lock"):
            store.sweep(self.out)
            self.events = EventLog(self.out / "events.jsonl")
            states = [state for state in self.pipeline.states() if state.stage in chosen]
            if not self.fork:
                self.pipeline.refuse(states)
            self._open(states)
            self.claimed = True
            self._step = 0
            if all(state.status == "finished" for state in states):
                # Once more: a kill may have come between the last manifest and this.
                self._write_lineage()
                self.progress.note(f"This run is finished; nothing to do. What it made: {self._made(chosen[-1])}")
                return self._made(chosen[-1])
            try:
                for state in states:
                    self._run(state)
            except Interrupted as error:
                self.events.emit("run_end", self._step, status="interrupted", error=str(error))
                raise
            except ReckonError as error:
                self.events.emit("run_end", self._step, status="failed", error=str(error))
                raise
            except BaseException as error:
                self.events.emit("run_end", self._step, status="crashed", error=f"{type(error).__name__}: {error}")
                raise
            self.events.emit("run_end", self._step, status="done")
            return self._made(chosen[-1])

    def _chosen(self) -> Sequence[Stage]:
        """The stages to run. Raises ConfigError if ``begin`` or ``only`` names none, or one whose past is missing."""
        stages = list(self.pipeline.stages)
        names = [stage.name for stage in stages]
        for option, name in (("--from", self.begin), ("--only", self.only)):
            if name is not None and name not in names:
                raise ConfigError(f"there is no stage {name!r}", where=option, fix=f"Use one of {', '.join(names)}")
        if self.only is not None:
            return [stages[names.index(self.only)]]
        first = 0 if self.begin is None else names.index(self.begin)
        missing = [stage.name for stage in stages[:first] if stage.manifest is None]
        if missing:
            raise ConfigError(
                f"not finished: {', '.join(missing)}", where=f"--from {self.begin}", fix=f"Give --from {missing[0]}"
            )
        return stages[first:]

    def _open(self, states: Sequence[State]) -> None:
        """Write the record of a run that begins, or note that it goes on."""
        record = self.out / "run.yaml"
        begun = any(stage.begun for stage in self.pipeline.stages)
        if all(state.status == "finished" for state in states):
            return
        differences = environment_differences(record, self.recipe) if begun and record.exists() else []
        if not begun:
            # A run that failed before it made anything has nothing that other settings could spoil.
            self.events.path.unlink(missing_ok=True)
        write_record(record, self.name, self.recipe, self.command, self.plugins)
        event = "resume" if begun else "run_start"
        about = {} if begun else {"recipe": self.name, "digest": digest(self.recipe)}
        self.events.emit(event, 0, **about, **environment(self.recipe))
        if differences:
            message = f"continued in another environment ({'; '.join(differences)}): no longer exact to the bit"
            self.events.emit("warning", 0, code="environment", message=message)
            self.progress.note(message)

    def _run(self, state: State) -> None:
        """Make one stage, unless it is made already."""
        stage, several = state.stage, len(self.pipeline.stages) > 1
        if several:
            self.progress.begin(f"stage {stage.number} of {len(self.pipeline.stages)}: {stage.name}")
        if state.status == "finished":
            self.progress.note(f"{stage.name} is finished already")
            return
        events = EventLog(self.events.path, stage.name)
        if state.status == "changed":
            aside = self.pipeline.set_aside(stage)
            events.forget(lambda row: False)
            self.progress.note(f"{stage.name} was made with other settings; it lies in {aside} now")
        self.stop.check()
        record = self.pipeline.start(stage)
        started = time.time()
        recipe = self.pipeline.resolved(stage)
        torch.set_num_threads(recipe.thread_count)
        made = make(recipe, Job(stage.recipe, stage.folder, events, self.stop, self.progress, self._tell))
        output = {made.kind: {"path": str(made.path.relative_to(self.out)), **_digests(made)}}
        timed = {"started": started, "ended": time.time()}
        config = {"config_digest": digest(stage.recipe), "config": stage.recipe.model_dump(mode="json")}
        manifest = {**record, **config, "outputs": output, "figures": made.figures, **timed}
        store.write_json(stage.folder / FINISHED, manifest)
        self._write_lineage()

    def _tell(self, step: int) -> None:
        self._step = step

    def _made(self, stage: Stage) -> Path:
        manifest = stage.manifest
        assert manifest is not None
        return self.out / str(next(iter(manifest["outputs"].values()))["path"])

    def _write_lineage(self) -> None:
        """Write which stage made what from what, by digest, of all finished stages."""
        kept = ("name", "kind", "key", "inputs", "config_digest", "outputs", "figures", "started", "ended")
        rows = [
            {**{key: manifest[key] for key in kept}, "name": stage.folder.name}
            for stage in self.pipeline.stages
            if (manifest := stage.manifest) is not None
        ]
        store.write_json(self.out / "lineage.json", {"stages": rows})


def _digests(made: Made) -> dict[str, Any]:
    """What tells an output from another one, whatever it is called and wherever it lies."""
    if made.kind != "model":
        return {"digest": store.file_digest(made.path)}
    weights = {path.name: store.file_digest(path) for path in sorted(made.path.glob("*.safetensors"))}
    single = {"weights_sha256": next(iter(weights.values()))} if len(weights) == 1 else {"weights": weights}
    return {"digest": store.file_digest(made.path / store.MANIFEST), **single}
