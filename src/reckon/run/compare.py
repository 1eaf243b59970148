"""Several published methods on one task with equal generated tokens: every run planned and checked, then run.

Each run is an ordinary ``reckon run`` in a process of its own, with its own directory, report and record.
"""

from __future__ import annotations

import difflib
import itertools
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from reckon.core.config import load_yaml
from reckon.core.errors import ConfigError, Interrupted, ReckonError
from reckon.core.stop import Stop
from reckon.core.store import file_digest, read_jsonl
from reckon.run.kinds import RLRecipe
from reckon.run.pipeline import Pipeline
from reckon.run.progress import eval_words
from reckon.run.recipe import read_recipe, stages_of
from reckon.run.shipped import method_names, recipe_path

OWN = {
    "preset": "name the methods instead",
    "seed": "give --seeds",
    "max_generated_tokens": "give --tokens",
    "steps": "runs end by tokens: give --tokens",
}
"""Settings that a comparison makes itself, and what to do instead of setting them."""

POLL_S = 0.2
REPORT_EVERY_S = 60.0


@dataclass(frozen=True)
class Planned:
    """One run of a comparison.

    Attributes:
        arguments: of the command ``reckon``.
    """

    method: str
    seed: int
    folder: Path
    arguments: tuple[str, ...]

    @property
    def finished(self) -> bool:
        """Whether its last step was made, now or at an earlier start."""
        return (self.folder / "lineage.json").exists()

    @property
    def log(self) -> Path:
        """Where what the run prints goes."""
        return self.folder.with_suffix(".log")

    def __str__(self) -> str:
        return f"{self.method} seed {self.seed}"


@dataclass(frozen=True)
class Failed:
    """A run that ended without success: its exit code and the last thing it said."""

    run: Planned
    code: int
    says: str


@dataclass(frozen=True)
class Comparison:
    """What to compare.

    Attributes:
        methods: presets; each is laid below the recipe, whose own keys win.
        recipe: a shipped recipe or the path of one, of kind ``rl``.
        out: runs lie in ``out/runs/METHOD/seed-K``.
        seeds: every method runs with the seeds 0 to ``seeds - 1``.
        tokens: generated for training; a run ends with the step that reaches them.
        settings: ``a.b=c`` for every run, ``METHOD:a.b=c`` for those of one method.
        plugins: Python files with tasks, already loaded.
        jobs: runs at the same time, each with its share of the cores unless ``threads`` is set.
    """

    methods: Sequence[str]
    recipe: str
    out: Path
    seeds: int
    tokens: int
    settings: Sequence[str] = ()
    plugins: Sequence[Path] = ()
    jobs: int = 1

    def plan(self) -> list[Planned]:
        """Every run, seed by seed, so that the first seed of all methods is done first.

        Raises ConfigError with all that stands in the way of any run, before one is started.
        """
        if load_yaml(recipe_path(self.recipe)).get("kind") != "rl":
            raise ConfigError("presets are for recipes of kind rl, and this is another", where=self.recipe)
        runs: list[Planned] = []
        found: dict[str, dict[str, None]] = {}
        known = [method for method in dict.fromkeys(self.methods) if method in method_names()]
        for seed, method in itertools.product(range(self.seeds), known):
            try:
                runs.append(self._planned(method, seed))
            except ConfigError as error:
                found.setdefault(str(error), {})[method] = None
        problems = [*self._name_problems(), *self._setting_problems()]
        problems += [f"{', '.join(methods)}: {message}" for message, methods in found.items()]
        if problems:
            count = "" if len(problems) == 1 else f"{len(problems)} problems, and no run was started:"
            listed = problems[0] if len(problems) == 1 else "".join(f"\n  {problem}" for problem in problems)
            raise ConfigError(count + listed, where="compare-methods")
        return runs

    def execute(self, planned: Sequence[Planned], stop: Stop, note: Callable[[str], None]) -> list[Failed]:
        """Run what is not finished, ``jobs`` at a time; returns the runs that failed, which end no others.

        Args:
            note: told of every start and end, and every minute of the progress.

        Raises:
            Interrupted: ``stop`` was asked for; the runs were told, have saved, and go on at the next start.
        """
        waiting = [run for run in planned if not run.finished]
        running: dict[Planned, subprocess.Popen[bytes]] = {}
        failed: list[Failed] = []
        if len(waiting) < len(planned):
            note(f"{len(planned) - len(waiting)} of {len(planned)} runs are finished already")
        told = time.monotonic()
        try:
            while waiting or running:
                stop.check()
                while waiting and len(running) < self.jobs:
                    run = waiting.pop(0)
                    running[run] = _start(run)
                    note(f"{run}: started, output in {run.log}")
                for run in [run for run, process in running.items() if process.poll() is not None]:
                    code = running.pop(run).returncode
                    if code:
                        failed.append(Failed(run, code, _last_line(run.log)))
                    says = f"FAILED: {failed[-1].says}" if code else _result(run)
                    note(f"[{len(planned) - len(waiting) - len(running)}/{len(planned)}] {run}: {says}")
                if time.monotonic() - told > REPORT_EVERY_S:
                    told = time.monotonic()
                    note("at work: " + ", ".join(f"{run} {self._share(run):.0%}" for run in running))
                time.sleep(POLL_S)
        except Interrupted:
            note(f"stopping: {len(running)} at work save what they have")
            raise
        finally:
            for process in running.values():
                process.terminate()
            for process in running.values():
                process.wait()
        return failed

    def _share(self, run: Planned) -> float:
        """How much of its tokens a run has generated."""
        rows = [row for path in run.folder.glob("stages/*/metrics.jsonl") for row in read_jsonl(path)]
        return min(1.0, rows[-1]["generated_tokens_so_far"] / self.tokens) if rows else 0.0

    def _planned(self, method: str, seed: int) -> Planned:
        """One run. Raises ConfigError if its recipe is impossible, or its directory holds a run of another one."""
        folder = self.out / "runs" / method / f"seed-{seed}"
        settings = self._settings_of(method, seed)
        recipe = read_recipe(self.recipe, settings)
        assert isinstance(recipe, RLRecipe)
        if recipe.optim.schedule != "constant":
            raise ConfigError(
                "optim.schedule must be constant: a run that ends by tokens does not know its number of steps"
            )
        pipeline = Pipeline.of(stages_of(recipe), folder, [file_digest(path) for path in self.plugins])
        pipeline.refuse(pipeline.states())
        options = [("--set", setting) for setting in settings] + [("--plugin", str(path)) for path in self.plugins]
        arguments = ["run", self.recipe, "--out", str(folder), *(part for option in options for part in option)]
        return Planned(method, seed, folder, tuple(arguments))

    def _settings_of(self, method: str, seed: int) -> list[str]:
        # No step generates less than one token, so that many steps are always enough.
        own = {"preset": method, "seed": seed, "max_generated_tokens": self.tokens, "steps": self.tokens}
        shared = [f"threads={max(1, (os.cpu_count() or 1) // self.jobs)}"]
        shared += [setting for setting in self.settings if _method_of(setting) is None]
        single = [setting.partition(":")[2] for setting in self.settings if _method_of(setting) == method]
        return [f"{key}={value}" for key, value in own.items()] + shared + single

    def _name_problems(self) -> list[str]:
        names = method_names()
        unknown = [name for name in dict.fromkeys(self.methods) if name not in names]
        found = []
        for name in unknown:
            near = difflib.get_close_matches(name, names, 3)
            found.append(
                f"there is no method {name!r}; " + (f"did you mean {' or '.join(near)}?" if near else _use(names))
            )
        return found + [f"{name} is named twice" for name, count in Counter(self.methods).items() if count > 1]

    def _setting_problems(self) -> list[str]:
        found = []
        for setting in self.settings:
            method = _method_of(setting)
            path = (setting if method is None else setting.partition(":")[2]).partition("=")[0].strip()
            if method is not None and method not in self.methods:
                found.append(f"--set {setting}: {method!r} is not among the methods compared; {_use(self.methods)}")
            if path in OWN:
                found.append(f"--set {setting}: {path} belongs to the comparison; {OWN[path]}")
        return found


def failure(failed: Sequence[Failed], planned: int) -> ReckonError:
    """The error for runs that failed, with the exit code of the first."""
    listed = "".join(f"\n  {each.run} ({each.run.log}): {each.says}" for each in failed)
    error = ReckonError(
        f"{len(failed)} of {planned} runs failed:{listed}",
        why="The others are compared without them" if len(failed) < planned else "",
        fix="Mend the cause and run the same command again",
    )
    # A process that a signal killed can go on from its last checkpoint.
    error.exit_code = failed[0].code if failed[0].code > 0 else Interrupted.exit_code
    return error


def _start(run: Planned) -> subprocess.Popen[bytes]:
    run.log.parent.mkdir(parents=True, exist_ok=True)
    with run.log.open("ab") as log:
        # In a session of its own, a run does not see the terminal's Ctrl-C: it is told once, by this process, since
        # a second signal would make it leave without saving.
        return subprocess.Popen(
            [sys.executable, "-m", "reckon", *run.arguments], stdout=log, stderr=log, start_new_session=True
        )


def _result(run: Planned) -> str:
    evals = [row for row in read_jsonl(run.folder / "events.jsonl") if row["event"] == "eval"]
    return eval_words(evals[-1])


def _last_line(path: Path) -> str:
    lines = [line for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1].removeprefix("reckon: ") if lines else "it said nothing"


def _method_of(setting: str) -> str | None:
    """The method that ``METHOD:a.b=c`` is for; None of ``a.b=c``, whose value may hold colons."""
    method, colon, _ = setting.partition("=")[0].partition(":")
    return method if colon else None


def _use(names: Sequence[str]) -> str:
    return f"use {', '.join(names)}"
