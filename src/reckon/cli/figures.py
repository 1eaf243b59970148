"""The figures of an evaluation as a table for people."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reckon.core.records import Rollout

_DRAW = re.compile(r"(?P<family>[a-z-]+)@(?P<k>\d+)")
_ALL_K = ("pass", "cons")
"""The families shown for every k; of others the largest k says most."""
WIDTH = 100
"""Characters that the table may take: more than some terminals have, as numbers should not be broken."""


def print_figures(row: dict[str, Any], rollouts: list[Rollout], following: str | None) -> None:
    """Print the row of an evaluation: what it was, every figure with its interval and problems, what to do next."""
    from rich.console import Console
    from rich.table import Table

    found, labels = row["figures"], row["labels"]
    title = f"{row['task']}: {row['problems']} problems, {row['samples']} samples each"
    table = Table(title=title, title_justify="left")
    for column in ("", "value", "95% interval", "problems", *(("labels", "95% interval") if labels else ())):
        table.add_column(column, no_wrap=True)
    for name in _shown(found):
        figure = found[name]
        cells = [_value(name, figure), _interval(name, figure), str(figure["problems"])]
        if labels:
            other = labels.get(name)
            cells += [_value(name, other), _interval(name, other)] if other else ["", ""]
        table.add_row(name, *cells)
        if name == "pass@1" and figure["same_low"] is not None:
            table.add_row("  these problems again", "", f"{figure['same_low']:.3f} to {figure['same_high']:.3f}", "")
    table.add_section()
    table.add_row("self-check words", f"{row['reflections']:.2f}", "")
    for name, label in (("format", "in perfect format"), ("han", "with Han script")):
        table.add_row(label, f"{row[name]:.1%}", "")
    console = Console(highlight=False, soft_wrap=True)
    console.width = max(console.width, WIDTH)
    console.print(table)
    if labels:
        console.print("labels: by the verdicts that the samples were published with", markup=False)
    if row["absent"]:
        absent = [r for r in rollouts if r.verdict is None or r.verdict.score is None]
        reasons = Counter(r.verdict.reason if r.verdict else "no verdict" for r in absent).most_common(3)
        why = ", ".join(f"{reason[:120]} ({count})" for reason, count in reasons)
        console.print(f"Not judged: {row['absent']} of {row['responses']} responses: {why}", markup=False)
    for name in ("samples_file", "export_file"):
        if name in row:
            console.print(f"{name.split('_')[0].capitalize()}: {row[name]}", markup=False)
    if following:
        console.print(f"Next: {following}", markup=False)


def _shown(found: dict[str, Any]) -> list[str]:
    """pass@1, pass@k and cons@k; then choices and G-Pass@k for the largest k; then lengths."""
    draws = {name: match for name in found if (match := _DRAW.match(name))}
    most = max(int(match["k"]) for match in draws.values())
    every = [name for name, match in draws.items() if match["family"] in _ALL_K and int(match["k"]) > 1]
    largest = [
        name for name, match in draws.items() if match["family"] not in _ALL_K and int(match["k"]) == most and most > 1
    ]
    return ["pass@1", *every, *largest, *(name for name in found if name not in draws)]


def _value(name: str, figure: dict[str, Any]) -> str:
    return f"{figure['value']:.1f}" if name == "tokens" else f"{figure['value']:.3f}"


def _interval(name: str, figure: dict[str, Any]) -> str:
    if figure["low"] is None:
        return ""
    digits = 1 if name == "tokens" else 3
    return f"{figure['low']:.{digits}f} to {figure['high']:.{digits}f}"
