"""``reckon search``: more tokens at test time for a better answer, and what each budget buys."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import Field

from reckon.core.config import Strict, Tree, apply_overrides, load_yaml, parse, to_yaml
from reckon.core.errors import ConfigError
from reckon.core.stop import Stop
from reckon.core.store import RunLock, file_digest, write_json, write_text

if TYPE_CHECKING:
    from reckon.report.search_curves import Searched
    from reckon.search.searcher import Searcher
    from reckon.tasks.base import Task

TREES, SETTINGS, CURVES, FIGURE = "trees.jsonl", "search.yaml", "curves.json", "curves.svg"
PROBLEMS_PER_CHUNK = 64
"""Problems between two writes: what a kill can cost, enough to keep an engine busy."""


class SearchSettings(Strict):
    """What the trees of a folder depend on: kept beside them, so that they are never mixed with others.

    Attributes:
        model_version: sha256 of the model folder's files, or the hub's commit.
        search: the method, with all its settings.
        scorer: its name or folder; None if there was none. reference: an implicit one's.
        problems: how many of the split's first problems; None for all.
        budget: generated tokens for each problem.
        engine: who generated; older folders, which do not say, are the native engine's.
    """

    model: str
    model_version: str | None
    task: Tree
    plugin_digests: list[str]
    split: str
    problems: int | None
    search: Tree
    scorer: str | None
    reference: str | None
    steps: Tree
    budget: int
    template: str
    temperature: float
    top_p: float
    max_new_tokens: int
    stop: list[str]
    seed: int
    device: str
    dtype: str
    engine: Tree = Field({"kind": "native"})

    @property
    def name(self) -> str:
        """The method and the scorer."""
        model = "implicit reward" if self.reference else "process reward"
        scorer = [self.scorer if self.scorer in ("confidence", "oracle") else model] if self.scorer else []
        return ", ".join([self.search["kind"], *scorer])

    @property
    def choices(self) -> dict[str, Any]:
        """What else tells two searches apart that are not runs of one: all but model, seed and budget."""
        sampling = {"template", "temperature", "top_p", "max_new_tokens", "stop", "split"}
        return {**self.search, **self.steps, **self.model_dump(include=sampling)}


def command(
    model: Annotated[str | None, typer.Argument(help="A model's folder, its name on the hub, or micro.")] = None,
    *,
    task: Annotated[str | None, typer.Option(help="The kind of task, for example countdown.")] = None,
    method: Annotated[str, typer.Option(help="vote, weighted-vote, best-of-n, beam, dvts, rebase, mcts...")] = "vote",
    budget: Annotated[int, typer.Option(min=1, help="Generated tokens for each problem, at most.")] = 1024,
    scorer: Annotated[
        str | None, typer.Option(help="confidence, oracle (Countdown's), or a process reward model's folder.")
    ] = None,
    reference: Annotated[str | None, typer.Option(help="The model that an implicit scorer was trained from.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="task.KEY=VALUE; also search. (the method), steps. and engine.")
    ] = None,
    plugin: Annotated[list[Path] | None, typer.Option(help="A Python file that defines a task.")] = None,
    problems: Annotated[int | None, typer.Option(min=1, help="Only the first so many. [default: all]")] = None,
    split: Annotated[str, typer.Option(help="train or heldout.")] = "heldout",
    template: Annotated[str, typer.Option(help="r1-zero, micro, chat, or a text with {question} in it.")] = "micro",
    temperature: Annotated[float, typer.Option(min=0.0, help="0 is greedy.")] = 1.0,
    top_p: Annotated[float, typer.Option(min=0.0, max=1.0)] = 1.0,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Of one response.")] = 256,
    stop: Annotated[list[str] | None, typer.Option(help="A text that ends a response.")] = None,
    seed: Annotated[int, typer.Option()] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1...")] = "cpu",
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "float32",
    replay: Annotated[
        list[Path] | None, typer.Option(help="A folder of earlier searches to compare; needs no model.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The folder for trees, or for the curves of --replay.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Search for answers within a budget of generated tokens: accuracy, and what smaller budgets would have given.

    The same command again continues what was interrupted. With --replay, searches are compared: folders of the same
    method and settings count as runs of it (models of several training seeds, say).
    """
    if replay:
        if model is not None:
            raise ConfigError("a model and --replay exclude each other", fix="Leave out one of them")
        _report(_compare(replay, out), as_json, f"Figure: {out / FIGURE}" if out else None)
        return
    if model is None or task is None or out is None:
        missing = "a model" if model is None else "--task KIND" if task is None else "--out DIR"
        raise ConfigError(f"reckon search needs {missing}", fix="Or give --replay DIR to look at earlier searches")
    sections = {"task": {"kind": task}, "search": {"kind": method}, "steps": {}, "engine": {"kind": "native"}}
    tree = apply_overrides(sections, settings or [])
    given = {
        "model": model,
        "plugin_digests": [file_digest(path) for path in plugin or []],
        "split": split,
        "problems": problems,
        "scorer": scorer,
        "reference": reference,
        "budget": budget,
        "template": template,
        "temperature": temperature,
        "top_p": top_p,
        "max_new_tokens": max_new_tokens,
        "stop": stop or [],
        "seed": seed,
        "device": device,
        "dtype": dtype,
    }
    _search(given, tree, plugin or [], out)
    _report(_compare([out], out), as_json, f"Next: reckon search --replay {shlex.quote(str(out))} --replay ANOTHER")


def _search(given: dict[str, Any], tree: Tree, plugins: list[Path], out: Path) -> None:
    """Generate what the folder does not hold yet."""
    from reckon.search.record import append_trees, read_trees

    signals = Stop().install()
    searcher, settings = _searcher(given, tree, plugins)
    problems = searcher.sampler.task.problems(settings.split)[: settings.problems]
    with RunLock(out / "lock"), _progress(len(problems)) as show:
        _claim(out, settings)
        path = out / TREES
        known = {one.problem.id for one in (read_trees(path) if path.exists() else [])}
        left = [problem for problem in problems if problem.id not in known]
        for start in range(0, len(left), PROBLEMS_PER_CHUNK):
            show(len(known) + start)
            chunk = left[start : start + PROBLEMS_PER_CHUNK]
            trees = [searcher.plant(problem, settings.budget, _seed(settings, problem.id)) for problem in chunk]
            searcher.grow(trees, signals.check)
            append_trees(path, trees)


def _seed(settings: SearchSettings, problem: str) -> int:
    from reckon.core.seeds import seed_for

    return seed_for(settings.seed, "search", problem)


def _searcher(given: dict[str, Any], tree: Tree, plugins: list[Path]) -> tuple[Searcher, SearchSettings]:
    from reckon.engine.base import Sampling
    from reckon.engine.build import EngineConfig, build_engine
    from reckon.models.load import end_ids, load_model, model_version
    from reckon.models.template import PromptTemplate
    from reckon.rollout.sample import Sampler
    from reckon.search.build import SearchConfig, build_search
    from reckon.tasks.registry import resolved

    class Asked(Strict):
        search: SearchConfig
        engine: EngineConfig

    task, template = _task(tree, plugins), PromptTemplate(given["template"])
    guided = {name: given[name] for name in ("scorer", "reference", "budget")}
    section = {"method": tree["search"], **guided, "steps": tree["steps"] or None}
    asked = parse(Asked, {"search": section, "engine": tree["engine"]}, "reckon search")
    model, tokenizer = load_model(given["model"], given["dtype"], given["device"])
    sampling = Sampling(
        max_new_tokens=given["max_new_tokens"],
        temperature=given["temperature"],
        top_p=given["top_p"],
        stop=tuple(given["stop"]),
        stop_ids=end_ids(model, tokenizer),
    )
    sampler = Sampler(task, build_engine(asked.engine, model, tokenizer), tokenizer, template, sampling)
    searcher = build_search(asked.search, sampler, given["dtype"], given["device"]).searcher
    wanted = {
        "model_version": model_version(model),
        "task": resolved(task),
        "search": asked.search.method,
        "steps": searcher.steps.model_dump(mode="json"),
        "engine": asked.engine.model_dump(mode="json"),
    }
    return searcher, parse(SearchSettings, {**given, **wanted}, "reckon search")


def _task(tree: Tree, plugins: list[Path]) -> Task:
    from reckon.tasks.registry import build_task, load_plugin

    foreign = [key for key in tree if key not in ("task", "search", "steps", "engine")]
    if foreign:
        raise ConfigError(
            f"{foreign[0]!r} is not a part of a search",
            where="--set",
            fix="Write --set task.KEY=VALUE, search.KEY=VALUE, steps.KEY=VALUE or engine.KEY=VALUE",
        )
    for path in plugins:
        load_plugin(path)
    return build_task(tree["task"])


def _claim(out: Path, wanted: SearchSettings) -> None:
    """Write the settings to a new folder; refuse one that holds trees of other settings."""
    path = out / SETTINGS
    if not path.exists():
        if (out / TREES).exists():
            raise ConfigError(f"the folder holds {TREES} but no {SETTINGS}", where=str(out), fix="Choose another --out")
        write_text(path, to_yaml(wanted))
        return
    held, asked = _read_settings(out).model_dump(), wanted.model_dump()
    changed = [f"{key} is {held[key]} there and {asked[key]} here" for key in held if held[key] != asked[key]]
    if changed:
        raise ConfigError(
            "the folder holds a search with other settings: " + "; ".join(changed),
            where=str(path),
            why="Trees of both in one file could not be told apart",
            fix="Choose another --out",
        )


def _read_settings(folder: Path) -> SearchSettings:
    return parse(SearchSettings, load_yaml(folder / SETTINGS), str(folder / SETTINGS))


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """A bar of the problems done, on stderr, if that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("problems"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        line = bar.add_task("problems", total=total)
        yield lambda done: bar.update(line, completed=done)


# ------------------------------------------------------------------------------------------ without a model


def _compare(folders: list[Path], out: Path | None) -> dict[str, Any]:
    """The curves of these searches, written to ``out`` with their figure if there is one."""
    from reckon.report.search_curves import curves
    from reckon.report.search_svg import search_svg

    found = curves(_read(folders))
    if out is not None:
        write_json(out / CURVES, found)
        write_text(out / FIGURE, search_svg(found))
    return found


def _read(folders: list[Path]) -> list[Searched]:
    """The searches in these folders, those that differ in model and seed alone together.

    They are named after method and scorer, and what they differ in from others of the same name.
    """
    from reckon.report.search_curves import Searched
    from reckon.search.methods import build_method
    from reckon.search.record import read_trees

    settings = {folder: _read_settings(folder) for folder in folders}
    groups: dict[tuple[str, int], list[Path]] = {}
    for folder, found in settings.items():
        others = [other.choices for other in settings.values() if other.name == found.name]
        own = [f"{key} {value}" for key, value in found.choices.items() if any(one[key] != value for one in others)]
        groups.setdefault((", ".join([found.name, *own]), found.budget), []).append(folder)
    return [
        Searched(label, build_method(settings[runs[0]].search), [read_trees(folder / TREES) for folder in runs])
        for (label, _), runs in groups.items()
    ]


def _report(found: dict[str, Any], as_json: bool, following: str | None) -> None:
    if as_json:
        print(json.dumps(found, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.table import Table

    runs = f", {found['runs']} runs" if found["runs"] > 1 else ""
    table = Table(title=f"{found['problems']} problems{runs}", title_justify="left")
    for name in ("method", "budget", "tokens", "accuracy", "95% interval", "possible", "no answer", "read"):
        table.add_column(name, justify="left" if name in ("method", "95% interval") else "right")
    for label, method in found["methods"].items():
        for number, point in enumerate(method["points"]):
            table.add_row("" if number else label, *_cells(point))
        table.add_section()
    for point in found["best"]:
        chosen = " and ".join(dict.fromkeys(point["chosen"]))
        table.add_row(f"best: {chosen}", f"{point['budget']}", "", *_interval(point["accuracy"]))
    console = Console(highlight=False, soft_wrap=True)
    console.print(table)
    if following:
        console.print(following, markup=False)


def _cells(point: dict[str, Any]) -> list[str]:
    return [
        f"{point['budget']}",
        f"{point['generated']:.0f}",
        *_interval(point["accuracy"]),
        f"{point['possible']:.1%}",
        f"{point['unanswered']:.1%}",
        f"{point['prefill'] + point['scored']:.0f}",
    ]


def _interval(accuracy: dict[str, float]) -> tuple[str, str]:
    return f"{accuracy['value']:.1%}", f"{accuracy['low']:.1%} to {accuracy['high']:.1%}"
