"""``reckon compare``: two evaluations of the same problems, problem by problem."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reckon.core.config import load_yaml
from reckon.core.errors import ConfigError

if TYPE_CHECKING:
    from reckon.core.records import Rollout


def command(
    before: Annotated[Path, typer.Argument(help="A folder of reckon eval, or a file of samples.")],
    after: Annotated[Path, typer.Argument(help="The same; the difference is how much better this one is.")],
    task: Annotated[
        str | None, typer.Option(help="Judge the samples of both anew as this kind of task, with its defaults.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
) -> None:
    """Compare two evaluations, paired by problem: the difference in pass@1 with its 95% interval, and how small a
    difference it could have found."""
    from dataclasses import asdict

    from reckon.evals.figures import figures
    from reckon.evals.metrics import judged, paired_difference
    from reckon.evals.settings import SETTINGS, differences

    first, second = (_judged(path, task) for path in (before, after))
    found = paired_difference(first, second)
    held = [load_yaml(path / SETTINGS) for path in (before, after) if (path / SETTINGS).exists()]
    changed = differences(*held) if len(held) == 2 else {}
    unpaired = set(judged(first)) ^ set(judged(second))
    row: dict[str, Any] = {
        "before": {"path": str(before), "pass@1": asdict(figures(first)["pass@1"])},
        "after": {"path": str(after), "pass@1": asdict(figures(second)["pass@1"])},
        "difference": asdict(found),
        "unpaired": len(unpaired),
        "significant": not found.low <= 0.0 <= found.high,
        "settings": {name: list(values) for name, values in changed.items()},
    }
    if as_json:
        print(json.dumps(row, ensure_ascii=False))
    else:
        _print(row)


def _judged(path: Path, task: str | None) -> list[Rollout]:
    from reckon.evals.figures import labelled
    from reckon.evals.samples import read_samples
    from reckon.rollout.sample import judge
    from reckon.tasks.registry import build_task

    rollouts = read_samples(path)
    if task is not None:
        return judge(rollouts, build_task({"kind": task}))
    if any(rollout.verdict is None for rollout in rollouts):
        rollouts = labelled(rollouts)
    if not rollouts:
        raise ConfigError("nothing says which samples are right", where=str(path), fix="Give --task, such as math")
    return rollouts


def _print(row: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("pass@1", "value", "95% interval", "problems")
    for name in ("before", "after", "difference"):
        figure = row[name] if name == "difference" else row[name]["pass@1"]
        sign = "+" if name == "difference" else ""
        interval = f"{figure['low']:{sign}.3f} to {figure['high']:{sign}.3f}"
        label = name if name == "difference" else f"{name}: {row[name]['path']}"
        table.add_row(label, f"{figure['value']:{sign}.3f}", interval, str(figure["problems"]))
    console = Console(highlight=False, soft_wrap=True)
    console.print(table)
    found = row["difference"]
    said = "The difference is significant at 5%" if row["significant"] else "No difference can be told from chance"
    reach = f"; one of {found['detectable']:.3f} would be found four times out of five" if found["detectable"] else ""
    console.print(f"{said}{reach}.")
    if row["unpaired"]:
        console.print(f"Not compared: {row['unpaired']} problems that only one of the two has judged.")
    for name, (there, here) in row["settings"].items():
        console.print(f"Not the same in both: {name} is {there} before and {here} after", markup=False)
