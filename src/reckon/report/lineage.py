"""Everything that made a checkpoint or a file, upstream to the base models and data, and whether it is as it was.

A stage writes down what it read and what it made, each with its digest. Here these records are followed from one to the
next, through other runs too, and every digest is computed again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from reckon.core.errors import DataError
from reckon.core.store import MANIFEST, file_digest, folder_digest, verify_manifest

Row = dict[str, Any]
Condition = Literal["intact", "changed", "missing", "unrecorded"]

RUN, STARTED, FINISHED = "run.yaml", "stage.yaml", "manifest.json"
"""The records of a run, of a stage that was started, and of one that is finished."""


@dataclass(frozen=True)
class Artefact:
    """A model, file or table that a stage read or made.

    Attributes:
        path: where it lies, or was when it was read.
        digest: its sha256 on record; None where none was written down, as of models on the hub.
        condition: ``intact`` or ``changed`` since; ``missing``; ``unrecorded``: there is no digest to compare with.
        problems: what is wrong, in phrases.
        stage: the folder of the stage that made it, a key of :attr:`Lineage.stages`; None if it is from outside.
    """

    path: str
    digest: str | None
    condition: Condition
    problems: list[str] = field(default_factory=list)
    stage: str | None = None


@dataclass(frozen=True)
class StageRecord:
    """What a stage was made from.

    Attributes:
        key: hash of its recipe and of the digests of what it read.
        seconds: None if it is not finished.
        inputs: what it read, by the dotted name of the setting.
    """

    run: str
    name: str
    kind: str
    key: str
    config_digest: str | None
    started: float | None
    seconds: float | None
    versions: dict[str, str]
    inputs: dict[str, Artefact]


@dataclass(frozen=True)
class Lineage:
    """What was asked about, and all stages upstream of it, by folder, the latest first."""

    artefacts: list[Artefact]
    stages: dict[str, StageRecord]

    @property
    def everything(self) -> list[Artefact]:
        """Every artefact once."""
        read = [artefact for stage in self.stages.values() for artefact in stage.inputs.values()]
        return list({artefact.path: artefact for artefact in [*self.artefacts, *read]}.values())

    def to_dict(self) -> Row:
        """Plain data."""
        return asdict(self)


def trace(path: Path, model_folder: Callable[[str], Path] = Path) -> Lineage:
    """Follow a checkpoint, a file of a stage, a stage's folder or a run (what no stage of it reads) upstream.

    Args:
        model_folder: where a model that a recipe names would lie on this disk.

    Raises:
        DataError: there is nothing at ``path``, no run made it, or a record is unreadable.
    """
    path = path.resolve()
    if not path.exists():
        raise DataError("there is no such file or folder", where=str(path))
    tracer = _Tracer(model_folder)
    if (path / RUN).is_file():
        roots = tracer.ends(path)
        if not roots:
            raise DataError("no stage of this run is finished", where=str(path), fix="Give a checkpoint of it")
        return Lineage(roots, tracer.stages)
    folder = _stage_of(path)
    if folder is None:
        raise DataError(
            "no run made this, as far as is known here",
            where=str(path),
            why="What a run made is known by the record beside it, in the folder of a stage; copies have none",
            fix="Give the path inside the run directory",
        )
    root = tracer.output(folder) if path == folder else tracer.made(folder, path)
    return Lineage([root], tracer.stages)


class _Tracer:
    """Reads the records of stages, each once."""

    def __init__(self, model_folder: Callable[[str], Path]) -> None:
        self.model_folder = model_folder
        self.stages: dict[str, StageRecord] = {}
        self._digests: dict[Path, str] = {}

    def ends(self, run: Path) -> list[Artefact]:
        """What the finished stages of a run made and none of them read."""
        manifests = {folder: record for folder in sorted(run.glob("stages/*")) if (record := _manifest(folder))}
        read = {each.get("from") for record in manifests.values() for each in record["inputs"].values()}
        return [self.output(folder) for folder, record in manifests.items() if record["name"] not in read]

    def output(self, folder: Path) -> Artefact:
        """What a finished stage made. Raises DataError if it is not finished."""
        record = _manifest(folder)
        if record is None:
            raise DataError("this stage is not finished", where=str(folder), fix="Give a file or checkpoint in it")
        return self.made(folder, _output(folder, record)[0])

    def made(self, folder: Path, path: Path) -> Artefact:
        """Something in the folder of a stage; what it was made from goes into ``stages``."""
        record = _manifest(folder)
        output, digest = _output(folder, record) if record else (None, None)
        condition, problems = self._published(path, digest if path == output else None)
        self._record(folder)
        return Artefact(str(path), digest if path == output else None, condition, problems, str(folder))

    def _record(self, folder: Path) -> None:
        """Add a stage and all upstream of it."""
        if str(folder) in self.stages:
            return
        started = _mapping(folder / STARTED)
        record = {**started, **(_manifest(folder) or {})}
        run = next((parent for parent in folder.parents if (parent / RUN).is_file()), folder.parent)
        versions = _mapping(run / RUN).get("versions") if (run / RUN).is_file() else None
        began, ended = record.get("started"), record.get("ended")
        inputs: dict[str, Artefact] = {}
        self.stages[str(folder)] = StageRecord(
            run=str(run),
            name=str(record.get("name")),
            kind=str(record.get("kind")),
            key=str(record.get("key")),
            config_digest=record.get("config_digest"),
            started=began,
            seconds=ended - began if began is not None and ended is not None else None,
            versions=versions if isinstance(versions, dict) else {},
            inputs=inputs,
        )
        for setting, source in record.get("inputs", {}).items():
            inputs[setting] = self._input(run, source)

    def _input(self, run: Path, source: Row) -> Artefact:
        path, digest = str(source["path"]), source.get("digest")
        if source.get("from") is None:
            return self._outside(run, path, digest)
        for folder in (*run.glob("stages/*"), *run.glob("forked/*/*")):
            record = _manifest(folder)
            if record and record["name"] == source["from"] and _output(folder, record)[1] == digest:
                return self.output(folder)
        says = f"the stage {source['from']} has been made again or removed since"
        return Artefact(str(run / path), digest, "changed" if (run / path).exists() else "missing", [says])

    def _outside(self, run: Path, value: str, digest: str | None) -> Artefact:
        """A model or data from outside the run; a relative path counts from where the run was started."""
        tried = [self.model_folder(value), *(parent / value for parent in run.parents)]
        path = next((path.resolve() for path in tried if path.exists()), None)
        if path is None:
            return Artefact(value, digest, "missing" if digest else "unrecorded", ["not on this disk"])
        folder = _stage_of(path)
        if folder is not None:
            self._record(folder)
        found = None if digest is None else self._digest(path)
        condition: Condition = "unrecorded" if digest is None else "intact" if found == digest else "changed"
        problems = [] if condition != "changed" else self._published(path, None)[1] or ["not what was read"]
        return Artefact(str(path), digest, condition, problems, str(folder) if folder else None)

    def _published(self, path: Path, digest: str | None) -> tuple[Condition, list[str]]:
        """How something that a run made is: a folder with its own manifest, or a file."""
        if not path.exists():
            return "missing", ["not on this disk"]
        if path.is_dir():
            problems = verify_manifest(path) if (path / MANIFEST).is_file() or digest else []
            if digest and not problems and self._digest(path / MANIFEST) != digest:
                problems = [f"{MANIFEST} has changed since it was written"]
            known = digest is not None or (path / MANIFEST).is_file()
        else:
            problems = (
                [f"{path.name} has changed since it was written"] if digest and self._digest(path) != digest else []
            )
            known = digest is not None
        return ("changed" if problems else "intact" if known else "unrecorded"), problems

    def _digest(self, path: Path) -> str:
        if path not in self._digests:
            self._digests[path] = folder_digest(path) if path.is_dir() else file_digest(path)
        return self._digests[path]


def _stage_of(path: Path) -> Path | None:
    """The folder of the stage that a path lies in, or is."""
    return next((folder for folder in (path, *path.parents) if (folder / STARTED).is_file()), None)


def _manifest(folder: Path) -> Row | None:
    """The record of a finished stage."""
    return _mapping(folder / FINISHED) if (folder / FINISHED).is_file() and (folder / STARTED).is_file() else None


def _output(folder: Path, record: Row) -> tuple[Path, str]:
    """Where what a stage made lies now, and its digest: a stage that was set aside took it along."""
    output = next(iter(record["outputs"].values()))
    return folder.joinpath(*Path(output["path"]).parts[2:]), str(output["digest"])


def _mapping(path: Path) -> Row:
    try:
        text = path.read_text(encoding="utf-8")
        found = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise DataError(f"this record cannot be read: {error}", where=str(path)) from error
    if not isinstance(found, dict):
        raise DataError("this record is damaged", where=str(path), fix="Run the command of the run again")
    return found


def lines(lineage: Lineage) -> Iterator[str]:
    """The lineage as a tree of text; a stage that comes again is named only."""
    seen: set[str] = set()
    for artefact in lineage.artefacts:
        yield from _artefact_lines(lineage, "", artefact, seen, "")


def _artefact_lines(lineage: Lineage, setting: str, artefact: Artefact, seen: set[str], indent: str) -> Iterator[str]:
    digest = f"  sha256 {artefact.digest[:12]}" if artefact.digest else ""
    problems = f" ({'; '.join(artefact.problems)})" if artefact.problems else ""
    yield f"{indent}{f'{setting}: ' if setting else ''}{artefact.path}{digest}  {artefact.condition}{problems}"
    if artefact.stage is None:
        return
    stage, inner = lineage.stages[artefact.stage], indent + "  "
    if artefact.stage in seen:
        yield f"{inner}made by {stage.name} ({stage.kind}), as above"
        return
    seen.add(artefact.stage)
    took = "not finished" if stage.seconds is None else f"{stage.seconds:.1f} s"
    config = f", config {stage.config_digest[:12]}" if stage.config_digest else ""
    versions = ", ".join(f"{name} {version}" for name, version in stage.versions.items())
    yield f"{inner}made by {stage.name} ({stage.kind}) of {stage.run}: {took}, key {stage.key[:12]}{config}"
    yield f"{inner}  with {versions or 'versions unknown'}"
    for name, each in stage.inputs.items():
        yield from _artefact_lines(lineage, name, each, seen, inner + "  ")
