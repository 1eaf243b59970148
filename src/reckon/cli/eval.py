"""``reckon eval``: how good a model is at a task, with intervals; the samples are kept and can be judged again."""

from __future__ import annotations

import hashlib
import json
import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reckon.core.config import Strict, apply_overrides, load_yaml, parse, to_yaml
from reckon.core.errors import ConfigError
from reckon.core.stop import Stop
from reckon.core.store import RunLock, append_jsonl, file_digest, write_json, write_text

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from reckon.core.records import Rollout
    from reckon.tasks.base import Task

SAMPLES, SETTINGS, SUMMARY = "samples.jsonl", "eval.yaml", "summary.json"


class EvalSettings(Strict):
    """What the samples of an evaluation depend on: kept beside them, so that they are never mixed with others.

    Attributes:
        model_version: sha256 of the model folder's files, or the hub's commit.
        plugin_digests: sha256 of each plugin file, in the order of the command line.
        problems: how many of the split's first problems; None for all.
    """

    model: str
    model_version: str | None
    task: dict[str, Any]
    plugin_digests: list[str]
    split: str
    problems: int | None
    samples: int
    template: str
    temperature: float
    top_p: float
    max_new_tokens: int
    stop: list[str]
    seed: int
    device: str
    dtype: str


def command(
    model: Annotated[str | None, typer.Argument(help="A model's folder, its name on the hub, or micro.")] = None,
    *,
    task: Annotated[str, typer.Option(help="The kind of task, for example countdown.")],
    settings: Annotated[list[str] | None, typer.Option("--set", help="A setting of the task: task.KEY=VALUE.")] = None,
    plugin: Annotated[list[Path] | None, typer.Option(help="A Python file that defines a task.")] = None,
    samples: Annotated[int, typer.Option(min=1, help="Responses to each problem.")] = 8,
    problems: Annotated[int | None, typer.Option(min=1, help="Only the first so many. [default: all]")] = None,
    split: Annotated[str, typer.Option(help="train or heldout.")] = "heldout",
    template: Annotated[str, typer.Option(help="r1-zero, micro, chat, or a text with {question} in it.")] = "micro",
    temperature: Annotated[float, typer.Option(min=0.0, help="0 is greedy.")] = 1.0,
    top_p: Annotated[float, typer.Option(min=0.0, max=1.0)] = 1.0,
    max_new_tokens: Annotated[int, typer.Option(min=1)] = 256,
    stop: Annotated[list[str] | None, typer.Option(help="A text that ends a response.")] = None,
    seed: Annotated[int, typer.Option()] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1...")] = "cpu",
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "float32",
    rescore: Annotated[Path | None, typer.Option(help="Judge the samples in this file again; needs no model.")] = None,
    out: Annotated[Path | None, typer.Option(help="The folder for samples and figures.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Measure a model on a task: pass@1 with its 95% interval, pass@k, majority vote, lengths.

    The same command again continues what was interrupted, and repeats the figures of what is complete.
    """
    judge, tree = _task(task, settings or [], plugin or [])
    if rescore is not None:
        if model is not None:
            raise ConfigError("a model and --rescore exclude each other", fix="Leave out one of them")
        _report(_rescore(rescore, judge, out), as_json, f"reckon eval MODEL --task {task} --out DIR")
        return
    if model is None or out is None:
        missing = "a model" if model is None else "--out DIR"
        raise ConfigError(f"reckon eval needs {missing}", fix="Or give --rescore FILE to judge stored samples again")
    given = {
        "model": model,
        "task": tree,
        "plugin_digests": [file_digest(path) for path in plugin or []],
        "split": split,
        "problems": problems,
        "samples": samples,
        "template": template,
        "temperature": temperature,
        "top_p": top_p,
        "max_new_tokens": max_new_tokens,
        "stop": stop or [],
        "seed": seed,
        "device": device,
        "dtype": dtype,
    }
    row = _evaluate(given, judge, out)
    _report(row, as_json, f"reckon chat {model} --template {shlex.quote(template)}")


def _task(kind: str, settings: list[str], plugins: list[Path]) -> tuple[Task, dict[str, Any]]:
    """The task, and its settings with all defaults."""
    from reckon.tasks.registry import build_task, load_plugin, resolved

    for path in plugins:
        load_plugin(path)
    tree = apply_overrides({"task": {"kind": kind}}, settings)
    foreign = [key for key in tree if key != "task"]
    if foreign:
        raise ConfigError(
            f"{foreign[0]!r} is not a part of an evaluation", where="--set", fix="Write --set task.KEY=VALUE"
        )
    built = build_task(tree["task"])
    return built, resolved(built)


def _claim(out: Path, wanted: EvalSettings) -> None:
    """Write the settings to a new folder; refuse one that holds samples of other settings."""
    path = out / SETTINGS
    if not path.exists():
        if (out / SAMPLES).exists():
            raise ConfigError(
                f"the folder holds {SAMPLES} but no {SETTINGS}", where=str(out), fix="Choose another --out"
            )
        write_text(path, to_yaml(wanted))
        return
    held, asked = _flat(parse(EvalSettings, load_yaml(path), str(path))), _flat(wanted)
    keys = [key for key in {**held, **asked} if held.get(key) != asked.get(key)]
    changed = [f"{key} is {held.get(key)} there and {asked.get(key)} here" for key in keys]
    if changed:
        raise ConfigError(
            "the folder holds an evaluation with other settings: " + "; ".join(changed),
            where=str(path),
            why="Samples of both in one file could not be told apart",
            fix=f"Choose another --out, or --rescore {out / SAMPLES} if only the verifier changed",
        )


def _flat(settings: EvalSettings) -> dict[str, Any]:
    values = settings.model_dump()
    return values | {f"task.{key}": value for key, value in values.pop("task").items()}


def _evaluate(given: dict[str, Any], task: Task, out: Path) -> dict[str, Any]:
    """Generate what the folder does not hold yet; the figures of all of it."""
    from reckon.engine.base import Sampling
    from reckon.engine.native import NativeEngine
    from reckon.evals.runner import evaluate_to_file
    from reckon.models.load import end_ids, load_model
    from reckon.models.template import PromptTemplate
    from reckon.rollout.sample import Sampler

    template = PromptTemplate(given["template"])
    problems = task.problems(given["split"])[: given["problems"]]
    signals = Stop().install()
    model, tokenizer = load_model(given["model"], given["dtype"], given["device"])
    settings = parse(EvalSettings, {**given, "model_version": _version(model)}, "reckon eval")
    sampling = Sampling(
        max_new_tokens=settings.max_new_tokens,
        temperature=settings.temperature,
        top_p=settings.top_p,
        stop=tuple(settings.stop),
        stop_ids=end_ids(model, tokenizer),
    )
    sampler = Sampler(task, NativeEngine(model, tokenizer), tokenizer, template, sampling)
    with RunLock(out / "lock"), _progress(len(problems) * settings.samples) as show:
        _claim(out, settings)
        rollouts = evaluate_to_file(
            out / SAMPLES, sampler, problems, settings.samples, settings.seed, check=signals.check, progress=show
        )
        row = _row(rollouts, out / SAMPLES, settings.split)
        write_json(out / SUMMARY, row)
    return row


def _version(model: PreTrainedModel) -> str | None:
    """What tells this model from another of the same name. Folders inside its own (``--out``, say) do not count."""
    folder = Path(model.name_or_path)
    if not folder.is_dir():
        commit: str | None = getattr(model.config, "_commit_hash", None)
        return commit
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return hashlib.sha256("".join(f"{path.name} {file_digest(path)}\n" for path in files).encode()).hexdigest()


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


def _rescore(path: Path, task: Task, out: Path | None) -> dict[str, Any]:
    from reckon.evals.runner import read_rollouts, rescore

    rollouts = rescore(read_rollouts(path), task)
    if out is None:
        return _row(rollouts, path, None)
    if (out / SAMPLES).exists():
        raise ConfigError(f"the folder already holds {SAMPLES}", where=str(out), fix="Choose another --out")
    row = _row(rollouts, out / SAMPLES, None)
    append_jsonl(out / SAMPLES, [rollout.to_dict() for rollout in rollouts])
    write_json(out / SUMMARY, row)
    return row


def _row(rollouts: list[Rollout], path: Path, split: str | None) -> dict[str, Any]:
    """The figures in the shape of a run's ``eval`` event; what only a run knows is None."""
    from reckon.evals.runner import summarise

    figures = summarise(rollouts)
    head = {"event": "eval", "step": None, "time": time.time(), "task": figures.pop("task"), "split": split}
    return {**head, **figures, "kl_base": None, "samples_file": str(path)}


def _report(row: dict[str, Any], as_json: bool, following: str) -> None:
    if as_json:
        print(json.dumps(row, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.table import Table

    title = f"{row['task']}: {row['problems']} problems, {row['samples']} samples each"
    table = Table("", "value", "95% interval", title=title, title_justify="left")
    first = row["pass@1"]
    table.add_row("pass@1", f"{first['value']:.3f}", f"{first['low']:.3f} to {first['high']:.3f}")
    for name in ("pass", "cons"):
        for k, value in row[f"{name}@k"].items():
            if k != "1":
                table.add_row(f"{name}@{k}", f"{value:.3f}", "")
    table.add_section()
    table.add_row("tokens per response", f"{row['mean_tokens']:.1f}", "")
    table.add_row("self-check words per response", f"{row['reflections']:.2f}", "")
    for name, label in (("truncated", "cut off"), ("format", "in perfect format"), ("han", "with Han script")):
        table.add_row(label, f"{row[name]:.1%}", "")
    table.add_row("not judged", str(row["absent"]), "")
    console = Console(highlight=False, soft_wrap=True)
    console.print(table)
    console.print(f"Samples: {row['samples_file']}", markup=False)
    console.print(f"Next: {following}", markup=False)
