"""``reckon lineage PATH``: everything that made a checkpoint, a file or a run, by digest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def command(
    path: Annotated[Path, typer.Argument(help="A checkpoint, a file of a stage, the folder of a stage, or a run.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    """Print everything that made this, upstream to the base models and data, and whether it has changed since."""
    from reckon.core.errors import DataError
    from reckon.core.text import clean
    from reckon.models.load import model_folder
    from reckon.report.lineage import lines, trace

    lineage = trace(path, model_folder)
    changed = [artefact.path for artefact in lineage.everything if artefact.condition == "changed"]
    if as_json:
        typer.echo(json.dumps(lineage.to_dict()))
    else:
        for line in lines(lineage):
            typer.echo(clean(line))
        stages, count = len(lineage.stages), len(lineage.everything)
        typer.echo(f"\n{stages} stages; {count} models and files, changed since: {', '.join(changed) or 'none'}")
    if changed:
        raise typer.Exit(DataError.exit_code)
