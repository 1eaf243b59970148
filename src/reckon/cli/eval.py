"""``reckon eval``: how good a model is at a task, with intervals; the samples are kept and can be judged again."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reckon.core.config import Strict, apply_overrides, parse
from reckon.core.errors import ConfigError
from reckon.core.stop import Stop
from reckon.core.store import append_jsonl, write_json

if TYPE_CHECKING:
    from reckon.core.records import Rollout
    from reckon.evals.benchmark import Benchmark
    from reckon.evals.evaluation import Evaluation
    from reckon.search.build import SearchConfig
    from reckon.tasks.base import Task

SUMMARY = "summary.json"

SECTIONS = ("task", "engine", "endpoint", "search", "steps")
"""What ``--set`` reaches into."""


def _list(wanted: bool) -> None:
    """Print the shipped benchmarks and leave."""
    if wanted:
        from reckon.evals.benchmark import benchmark_names, load_benchmark

        for name in benchmark_names():
            found = load_benchmark(name)
            typer.echo(f"{name:14} {found.samples:3} samples each: {found.about}")
        raise typer.Exit


def command(
    model: Annotated[str | None, typer.Argument(help="A model's folder, its name on the hub, or micro.")] = None,
    *,
    benchmark: Annotated[
        str | None, typer.Option(help="A published benchmark and its protocol, or a .yaml file.")
    ] = None,
    list_: Annotated[bool, typer.Option("--list", callback=_list, is_eager=True, help="List the benchmarks.")] = False,
    task: Annotated[str | None, typer.Option(help="The kind of task, for example countdown.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="task.KEY=VALUE; also engine., endpoint., search. and steps.")
    ] = None,
    plugin: Annotated[list[Path] | None, typer.Option(help="A Python file that defines a task.")] = None,
    samples: Annotated[
        str | None, typer.Option(help="Responses to each problem (8); or a file of samples to read, without a model.")
    ] = None,
    problems: Annotated[int | None, typer.Option(min=1, help="Only the first so many. [default: all]")] = None,
    split: Annotated[str | None, typer.Option(help="train or heldout (the default).")] = None,
    ask: Annotated[str | None, typer.Option(help="What is said, with {question} in it.")] = None,
    template: Annotated[
        str | None, typer.Option(help="r1-zero, micro (the default), chat, or a text with {question} in it.")
    ] = None,
    temperature: Annotated[float | None, typer.Option(min=0.0, help="0 is greedy; 1 is the default.")] = None,
    top_p: Annotated[float | None, typer.Option(min=0.0, max=1.0)] = None,
    max_new_tokens: Annotated[int | None, typer.Option(min=1, help="256 is the default.")] = None,
    stop: Annotated[list[str] | None, typer.Option(help="A text that ends a response.")] = None,
    engine: Annotated[str, typer.Option(help="native or vllm.")] = "native",
    endpoint: Annotated[
        str | None, typer.Option(help="Ask a server at this address in the place of an engine.")
    ] = None,
    served_model: Annotated[str | None, typer.Option(help="The model, as that server calls it.")] = None,
    search: Annotated[str | None, typer.Option(help="Search with this method in the place of each sample.")] = None,
    budget: Annotated[int | None, typer.Option(min=1, help="The most generated tokens of a search.")] = None,
    scorer: Annotated[
        str | None, typer.Option(help="What scores the steps of a search, for example confidence.")
    ] = None,
    seed: Annotated[int, typer.Option()] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1...")] = "cpu",
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "float32",
    export: Annotated[str | None, typer.Option(help="Also write the samples as lighteval or lm-eval would.")] = None,
    out: Annotated[Path | None, typer.Option(help="The folder for samples and figures.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Measure a model on a task or benchmark: pass@1, pass@k, votes, best-of-k, lengths, each with its 95% interval.

    The same command again continues what was interrupted, asks again what failed, and repeats the figures of what is
    complete. With a file of samples (ours, lm-eval's, lighteval's, a table of responses) no model is needed;
    --task or --benchmark judges them again.
    """
    from reckon.evals.export import EXPORTS
    from reckon.tasks.registry import build_task, load_plugin

    if export is not None and (export not in EXPORTS or out is None):
        raise ConfigError(
            "it needs --out DIR" if export in EXPORTS else f"there is no layout {export!r}",
            where="--export",
            fix=f"Use one of {', '.join(EXPORTS)}, and say where to",
        )
    for path in plugin or []:
        load_plugin(path)
    count, stored = (samples, None) if samples is None or samples.isdecimal() else (None, Path(samples))
    tree = {
        "engine": {"kind": engine},
        "endpoint": {"base_url": endpoint, "model": served_model} if endpoint else None,
        "search": {"kind": search} if search else None,
        "steps": {},
    }
    given = {
        "split": split,
        "ask": ask,
        "template": template,
        "samples": int(count) if count else None,
        "temperature": temperature,
        "top_p": top_p,
        "max_new_tokens": max_new_tokens,
        "stop": stop,
    }
    protocol, sections = _protocol(benchmark, task, settings or [], tree, given)
    judge = build_task(protocol.task) if protocol else None
    if stored is not None:
        if model is not None or endpoint is not None:
            raise ConfigError("a model and stored samples exclude each other", fix="Leave out one of them")
        rollouts, row = _stored(stored, judge, out)
        _finish(rollouts, row, export, out, Path(row["samples_file"]).stem, as_json, None)
        return
    if protocol is None or judge is None:
        raise ConfigError("nothing says what to ask", fix="Give --task KIND, --benchmark NAME or --samples FILE")
    evaluation = _evaluation(
        sections,
        model=model,
        benchmark=protocol,
        plugins=tuple(plugin or ()),
        problems=problems,
        search=_search(sections, scorer, budget),
        seed=seed,
        device=device,
        dtype=dtype,
    )
    if out is None:
        raise ConfigError("reckon eval needs --out DIR", fix="Or give --samples FILE to look at stored samples")
    rollouts, row = _evaluate(evaluation, judge, out)
    following = f"reckon chat {model} --template {shlex.quote(protocol.template)}" if model else None
    _finish(rollouts, row, export, out, model or served_model or "", as_json, following)


def _protocol(
    benchmark: str | None, kind: str | None, settings: Sequence[str], tree: dict[str, Any], given: dict[str, Any]
) -> tuple[Benchmark | None, dict[str, Any]]:
    """What is asked and how, None if nothing says so; and the other sections of the settings."""
    from reckon.evals.benchmark import Benchmark, load_benchmark

    if benchmark is not None and kind is not None:
        raise ConfigError("--benchmark and --task exclude each other", fix="A benchmark has its task: leave out --task")
    base = (
        load_benchmark(benchmark).model_dump(mode="json") if benchmark else {"task": {"kind": kind}} if kind else None
    )
    asked = {"task": base and base["task"], **tree}
    sections = apply_overrides({name: value for name, value in asked.items() if value is not None}, settings)
    foreign = [key for key in sections if key not in SECTIONS]
    if foreign:
        raise ConfigError(
            f"{foreign[0]!r} is not a part of an evaluation", where="--set", fix="Write --set task.KEY=VALUE"
        )
    if base is None:
        return None, sections
    wanted = base | {"task": sections["task"]} | {name: value for name, value in given.items() if value is not None}
    return parse(Benchmark, wanted, "reckon eval"), sections


def _search(sections: dict[str, Any], scorer: str | None, budget: int | None) -> SearchConfig | None:
    from reckon.search.build import SearchConfig

    if "search" not in sections:
        return None
    if budget is None:
        raise ConfigError("a search needs a budget", where="--search", fix="Add --budget TOKENS")
    tree = {"method": sections["search"], "scorer": scorer, "budget": budget, "steps": sections["steps"] or None}
    return parse(SearchConfig, tree, "reckon eval")


def _evaluation(sections: dict[str, Any], *, model: str | None, **more: Any) -> Evaluation:
    from reckon.engine.build import EngineConfig, NativeConfig
    from reckon.engine.endpoint import EndpointConfig
    from reckon.evals.evaluation import Evaluation

    class Engines(Strict):
        engine: EngineConfig = NativeConfig()
        endpoint: EndpointConfig | None = None

    found = parse(Engines, {key: sections[key] for key in ("engine", "endpoint") if key in sections}, "reckon eval")
    if (model is None) == (found.endpoint is None):
        raise ConfigError(
            "reckon eval needs a model" if model is None else "a model and --endpoint exclude each other",
            fix="Give a model, or --endpoint URL --served-model NAME, or --samples FILE for stored samples",
        )
    return Evaluation(model=model, engine=found.engine, endpoint=found.endpoint, **more)


def _evaluate(evaluation: Evaluation, task: Task, out: Path) -> tuple[list[Rollout], dict[str, Any]]:
    """Generate what the folder does not hold yet; all its samples and the figures of them."""
    from reckon.evals.samples import SAMPLES

    problems = evaluation.asked(task)
    signals = Stop().install()
    with _progress(len(problems) * evaluation.benchmark.samples) as show:
        rollouts = evaluation.run(task, problems, out, signals.check, show)
    row = _row(rollouts, task, out / SAMPLES, evaluation.benchmark.split)
    write_json(out / SUMMARY, row)
    return rollouts, row


def _stored(path: Path, task: Task | None, out: Path | None) -> tuple[list[Rollout], dict[str, Any]]:
    """Stored samples and their figures. Judged are all if a task is given for it, else those of others."""
    from reckon.evals.samples import SAMPLES, read_samples
    from reckon.evals.settings import stored_task
    from reckon.rollout.sample import judge
    from reckon.tasks.registry import build_task

    rollouts = read_samples(path)
    if task is not None or any(rollout.verdict is None for rollout in rollouts):
        task = task or build_task({"kind": rollouts[0].task})
        rollouts = judge(rollouts, task)
    elif own := stored_task(path if path.is_dir() else path.parent):
        # It alone knows which answers are equal and vote together.
        task = build_task(own)
    if out is None:
        return rollouts, _row(rollouts, task, path, None)
    if (out / SAMPLES).exists():
        raise ConfigError(f"the folder already holds {SAMPLES}", where=str(out), fix="Choose another --out")
    row = _row(rollouts, task, out / SAMPLES, None)
    append_jsonl(out / SAMPLES, [rollout.to_dict() for rollout in rollouts])
    write_json(out / SUMMARY, row)
    return rollouts, row


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """A bar of the samples done, on stderr, if that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("samples"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        line = bar.add_task("samples", total=total)
        yield lambda done: bar.update(line, completed=done)


def _row(rollouts: list[Rollout], task: Task | None, path: Path, split: str | None) -> dict[str, Any]:
    """The figures in the shape of a run's ``eval`` event (what only a run knows is None), and all with intervals.

    ``labels`` are those of the verdicts that the samples were published with, where they were.
    """
    from reckon.evals.figures import figures, labelled, merged
    from reckon.evals.runner import summarise

    alike = merged(rollouts, task) if task is not None else rollouts
    published = labelled(alike)
    found = summarise(alike)
    head = {"event": "eval", "step": None, "time": time.time(), "task": found.pop("task"), "split": split}
    return {
        **head,
        **found,
        "kl_base": None,
        "samples_file": str(path),
        "responses": len(rollouts),
        "figures": {name: asdict(figure) for name, figure in figures(alike).items()},
        "labels": {name: asdict(figure) for name, figure in figures(published).items()} if published else None,
    }


def _finish(
    rollouts: list[Rollout],
    row: dict[str, Any],
    layout: str | None,
    out: Path | None,
    model: str,
    as_json: bool,
    following: str | None,
) -> None:
    """Export what is to be exported, and print the row."""
    from reckon.cli.figures import print_figures

    if layout is not None and out is not None:
        from reckon.evals.export import export

        row = {**row, "export_file": str(export(layout, rollouts, out, model))}
    if as_json:
        print(json.dumps(row, ensure_ascii=False))
    else:
        print_figures(row, rollouts, following)
