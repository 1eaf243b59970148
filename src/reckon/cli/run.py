"""``reckon run``: train by a recipe; the same command again continues."""

from __future__ import annotations

import shlex
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from reckon.run.kinds import Recipe


def command(
    recipe: Annotated[str, typer.Argument(help="A shipped recipe (`reckon recipes`) or the path of a .yaml file.")],
    out: Annotated[Path | None, typer.Option(help="The run directory; the default is runs/RECIPE.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="Change a setting, e.g. optim.lr=1e-4.")] = None,
    plugin: Annotated[list[Path] | None, typer.Option(help="A Python file with a task of your own.")] = None,
    begin: Annotated[str | None, typer.Option("--from", help="Begin with this stage; earlier ones are kept.")] = None,
    only: Annotated[str | None, typer.Option(help="Run this stage and no other.")] = None,
    fork: Annotated[
        bool, typer.Option("--fork", help="Move stages made with other settings aside; redo them.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the resolved recipe and the plan, and leave.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
) -> None:
    """Train by a recipe. The same command again continues where it stopped."""
    from reckon.core.store import file_digest
    from reckon.run.recipe import read_recipe
    from reckon.tasks.registry import load_plugin

    plugins = plugin or []
    for path in plugins:
        load_plugin(path)
    chosen = read_recipe(recipe, settings or [])
    name = Path(recipe).stem
    out = out or Path("runs") / name
    digests = [file_digest(path) for path in plugins]
    if dry_run:
        _show_plan(chosen, out, digests, as_json)
        return

    from rich.console import Console

    from reckon.core.stop import Stop
    from reckon.report.build import build_report
    from reckon.run.progress import progress_for
    from reckon.run.runner import Run

    console = Console(stderr=as_json)
    began = time.monotonic()
    with progress_for(console, f"reckon run {name}") as progress:
        line, stop = shlex.join(["reckon", *sys.argv[1:]]), Stop().install()
        run = Run(name, chosen, out, line, digests, stop, progress, begin=begin, only=only, fork=fork)
        try:
            made = run.execute()
        except BaseException:
            # After a crash the report is what people look at first, but its own failure must not hide the cause.
            if run.claimed:
                with suppress(Exception):
                    progress.note(f"report: {build_report(out)}")
            raise
        report = build_report(out)
    if as_json:
        import json

        kind = "model" if made.is_dir() else "data"
        typer.echo(json.dumps({"run": str(out), kind: str(made), "report": str(report)}))
        return
    lines = [f"made:   {made}", f"report: {report}", f"took:   {(time.monotonic() - began) / 60:.1f} min"]
    text = "\n".join(["", *lines, "", *_next(chosen, out, made, plugins)])
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _show_plan(recipe: Recipe, out: Path, plugins: list[str], as_json: bool) -> None:
    """Print the resolved recipe and, in its comments, the plan; together they are still a recipe."""
    from reckon.core.config import to_yaml
    from reckon.run.pipeline import Pipeline
    from reckon.run.plan import plan_of
    from reckon.run.plan_text import plan_comments
    from reckon.run.recipe import stages_of

    plan = plan_of(Pipeline.of(stages_of(recipe), out, plugins))
    if as_json:
        import json

        typer.echo(json.dumps({"recipe": recipe.model_dump(mode="json"), "plan": [stage.as_dict() for stage in plan]}))
        return
    typer.echo(f"{to_yaml(recipe)}\n{plan_comments(plan)}", nl=False)


def _next(recipe: Recipe, out: Path, made: Path, plugins: list[Path]) -> list[str]:
    """The commands to try next."""
    from reckon.run.kinds import TaskRecipe

    if not made.is_dir():
        return [f"Next: reckon lineage {made}"]
    template = shlex.quote(recipe.template)
    lines = [f"Next: reckon chat {made} --template {template}"]
    if isinstance(recipe, TaskRecipe) and recipe.task["kind"] != "mix":
        task = " ".join(f"--set {shlex.quote(f'task.{key}={value}')}" for key, value in _changed(recipe.task).items())
        parts = [f"--task {recipe.task['kind']}", task, *(f"--plugin {shlex.quote(str(path))}" for path in plugins)]
        measure = " ".join(part for part in parts if part)
        limit = f"--max-new-tokens {recipe.rollout.max_new_tokens}"
        lines.append(f"      reckon eval {made} {measure} --template {template} {limit} --out {out}/eval")
    return lines


def _changed(task: dict[str, Any]) -> dict[str, Any]:
    """The settings of a task that are not its defaults."""
    from reckon.tasks.registry import TASKS

    default = TASKS[task["kind"]].Config().model_dump(mode="json")
    return {key: value for key, value in task.items() if key != "kind" and value != default.get(key)}
