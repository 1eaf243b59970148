"""``reckon compare-methods``: published methods on one task with equal generated tokens."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer


def command(
    methods: Annotated[list[str], typer.Argument(help="Presets; the others are compared with the first.")],
    tokens: Annotated[int, typer.Option(min=1, help="Generated tokens at which each run ends.")],
    out: Annotated[Path, typer.Option(help="The folder for runs, comparison.json and report.html.")],
    recipe: Annotated[str, typer.Option(help="The task: a shipped recipe or a .yaml file, of kind rl.")] = "r1-zero",
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each method, with seeds 0, 1, 2...")] = 3,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="A setting of all runs, a.b=c, or of one method's, METHOD:a.b=c.")
    ] = None,
    plugin: Annotated[list[Path] | None, typer.Option(help="A Python file with a task of your own.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Runs at the same time, which share the cores.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
) -> None:
    """Train with several methods and compare them in one report. The same command again continues."""
    from rich.console import Console

    from reckon.core.errors import Interrupted
    from reckon.core.stop import Stop
    from reckon.core.store import RunLock
    from reckon.report.comparison import build_comparison
    from reckon.run.compare import Comparison, failure
    from reckon.tasks.registry import load_plugin

    console = Console(stderr=as_json)
    for path in plugin or []:
        load_plugin(path)
    comparison = Comparison(methods, recipe, out, seeds, tokens, settings or [], plugin or [], jobs)
    planned = comparison.plan()
    runs = {method: {run.seed: run.folder for run in planned if run.method == method} for method in methods}

    def note(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    def build() -> Path | None:
        """The report; None while no run is finished."""
        if not any(run.finished for run in planned):
            return None
        return build_comparison(out, runs, tokens, shlex.join(["reckon", *sys.argv[1:]]))

    with RunLock(out / "lock"):
        try:
            failed = comparison.execute(planned, Stop().install(), note)
        except Interrupted:
            if so_far := build():
                note(f"report of what is finished: {so_far}")
            raise
        report = build()
    if as_json:
        found = {"out": str(out), "report": report and str(report), "failed": [str(each.run.folder) for each in failed]}
        typer.echo(json.dumps(found))
    elif report:
        note(f"\nreport:  {report}\nnumbers: {out / 'comparison.json'}\n\nOpen the report in a browser.")
    if failed:
        raise failure(failed, len(planned))
