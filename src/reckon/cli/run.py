"""``reckon run``: train by a recipe; the same command again continues."""

from __future__ import annotations

import shlex
import sys
import time
from pathlib import Path
from typing import Annotated

import typer


def command(
    recipe: Annotated[str, typer.Argument(help="A shipped recipe (`reckon recipes`) or the path of a .yaml file.")],
    out: Annotated[Path | None, typer.Option(help="The run directory; the default is runs/RECIPE.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="Change a setting, e.g. optim.lr=1e-4.")] = None,
    plugin: Annotated[Path | None, typer.Option(help="A Python file with a task of your own.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the resolved recipe and leave.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
) -> None:
    """Train by a recipe. The same command again continues where it stopped."""
    from reckon.core.config import to_yaml
    from reckon.run.recipe import read_recipe
    from reckon.tasks.registry import load_plugin

    if plugin is not None:
        load_plugin(plugin)
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
        run = Run(name, chosen, out, shlex.join(["reckon", *sys.argv[1:]]), Stop().install(), progress)
        try:
            model = run.execute()
        finally:
            # After a crash the report is what people look at first.
            report = build_report(out) if (out / "run.yaml").exists() else None
            if report is not None:
                progress.note(f"report: {report}")
    if as_json:
        import json

        typer.echo(json.dumps({"run": str(out), "model": str(model), "report": str(report)}))
        return
    plugged = f" --plugin {plugin}" if plugin else ""
    template = shlex.quote(chosen.template)
    console.print(
        f"\nmodel:  {model}\nreport: {report}\ntook:   {(time.monotonic() - began) / 60:.1f} min\n\n"
        f"Next: reckon chat {model} --template {template}\n"
        f"      reckon eval {model} --task {chosen.task['kind']}{plugged} --template {template} --out {out}/eval",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
