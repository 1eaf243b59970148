"""``reckon run``: train by a recipe; the same command again continues."""

from __future__ import annotations

import shlex
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer


def command(
    recipe: Annotated[str, typer.Argument(help="A shipped recipe (`reckon recipes`) or the path of a .yaml file.")],
    out: Annotated[Path | None, typer.Option(help="The run directory; the default is runs/RECIPE.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="Change a setting, e.g. optim.lr=1e-4.")] = None,
    plugin: Annotated[list[Path] | None, typer.Option(help="A Python file with a task of your own.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the resolved recipe and leave.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
) -> None:
    """Train by a recipe. The same command again continues where it stopped."""
    from reckon.core.config import to_yaml
    from reckon.core.store import file_digest
    from reckon.run.recipe import read_recipe
    from reckon.tasks.registry import load_plugin

    plugins = plugin or []
    for path in plugins:
        load_plugin(path)
    chosen = read_recipe(recipe, settings or [])
    name = Path(recipe).stem
    if dry_run:
        typer.echo(to_yaml(chosen), nl=False)
        return

    from rich.console import Console

    from reckon.core.stop import Stop
    from reckon.report.build import build_report
    from reckon.run.progress import progress_for
    from reckon.run.runner import Run

    out = out or Path("runs") / name
    console = Console(stderr=as_json)
    began = time.monotonic()
    with progress_for(console, chosen.steps, f"reckon run {name}") as progress:
        digests = [file_digest(path) for path in plugins]
        run = Run(name, chosen, out, shlex.join(["reckon", *sys.argv[1:]]), digests, Stop().install(), progress)
        try:
            model = run.execute()
        except BaseException:
            # After a crash the report is what people look at first, but its own failure must not hide the cause.
            if run.claimed:
                with suppress(Exception):
                    progress.note(f"report: {build_report(out)}")
            raise
        report = build_report(out)
    if as_json:
        import json

        typer.echo(json.dumps({"run": str(out), "model": str(model), "report": str(report)}))
        return
    template = shlex.quote(chosen.template)
    task = " ".join(f"--set {shlex.quote(f'task.{key}={value}')}" for key, value in _changed(chosen.task).items())
    parts = [f"--task {chosen.task['kind']}", task, *(f"--plugin {shlex.quote(str(path))}" for path in plugins)]
    measure = " ".join(part for part in parts if part)
    console.print(
        f"\nmodel:  {model}\nreport: {report}\ntook:   {(time.monotonic() - began) / 60:.1f} min\n\n"
        f"Next: reckon chat {model} --template {template}\n"
        f"      reckon eval {model} {measure} --template {template} "
        f"--max-new-tokens {chosen.rollout.max_new_tokens} --out {out}/eval",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def _changed(task: dict[str, Any]) -> dict[str, Any]:
    """The settings of a task that are not its defaults."""
    from reckon.tasks.registry import TASKS

    default = TASKS[task["kind"]].Config().model_dump(mode="json")
    return {key: value for key, value in task.items() if key != "kind" and value != default.get(key)}
