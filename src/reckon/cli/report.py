"""``reckon report RUN``: the report of a run folder, made again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def report(
    run: Annotated[Path, typer.Argument(help="The folder that `reckon run --out` made; the run may still be going.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    """Write report.html into a run folder: one file that opens offline, for finished and broken runs alike."""
    from reckon.report.build import build_report

    path = build_report(run)
    print(json.dumps({"report": str(path)}) if as_json else f"{path}\nOpen it in a browser; it needs no network.")
