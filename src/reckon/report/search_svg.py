"""The figure of searches: accuracy against generated tokens, a panel for each method, for pages that run no script."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from reckon.report.svg import document, line, text

WIDTH, HEIGHT = 240, 126
COLUMN, ROW = 296, 200
NAME = 30
"""Characters of a label that there is room for."""

Point = tuple[float, float]


@dataclass(frozen=True)
class _Panel:
    """One plot in pixels: tokens on a scale of doublings from ``least`` to ``most``, accuracy from 0 to 1."""

    left: float
    top: float
    least: float
    most: float

    def x(self, tokens: float) -> float:
        return self.left + WIDTH * math.log2(tokens / self.least) / math.log2(self.most / self.least)

    def y(self, share: float) -> float:
        return self.top + HEIGHT * (1.0 - share)

    def path(self, points: Iterable[Point]) -> str:
        return "M" + "L".join(f"{self.x(at):.1f} {self.y(share):.1f}" for at, share in points)


def search_svg(curves: dict[str, Any], columns: int = 4) -> str:
    """A panel for each method of :func:`reckon.report.search_curves.curves`, all others in grey behind it.

    The band is the 95% interval over problems, a dot is a run, and the dashed line is how often any response was right.
    """
    methods = curves["methods"]
    tokens = [point["generated"] for method in methods.values() for point in method["points"]]
    least, most = min(tokens), max(max(tokens), 2 * min(tokens))
    parts: list[str] = []
    for index, (label, method) in enumerate(methods.items()):
        row, column = divmod(index, columns)
        panel = _Panel(44 + COLUMN * column, 34 + ROW * row, least, most)
        parts += _axes(panel)
        parts += [_curve(panel, "other", other["points"]) for name, other in methods.items() if name != label]
        parts += _drawn(panel, label, method["points"])
    return document(COLUMN * min(columns, len(methods)) + 10, ROW * -(-len(methods) // columns), parts)


def _drawn(panel: _Panel, label: str, points: Sequence[dict[str, Any]]) -> Iterable[str]:
    last = points[-1]["accuracy"]["value"]
    yield text(panel.left - 36, panel.top - 14, label if len(label) <= NAME else f"{label[:NAME]}\u2026", "title")
    yield text(panel.left + WIDTH, panel.top - 14, f"{100 * last:.1f}%", anchor="end")
    high, low = ([(point["generated"], point["accuracy"][end]) for point in points] for end in ("high", "low"))
    yield f'<path class="band" d="{panel.path([*high, *reversed(low)])}Z"/>'
    possible = panel.path((point["generated"], point["possible"]) for point in points)
    yield f'<path class="base" fill="none" d="{possible}"/>'
    for point in points:
        for share in point["runs"]:
            yield f'<circle class="seed" cx="{panel.x(point["generated"]):.1f}" cy="{panel.y(share):.1f}" r="2"/>'
    yield _curve(panel, "line", points)


def _curve(panel: _Panel, style: str, points: Sequence[dict[str, Any]]) -> str:
    found = ((point["generated"], point["accuracy"]["value"]) for point in points)
    return f'<path class="{style}" d="{panel.path(found)}"/>'


def _axes(panel: _Panel) -> Iterable[str]:
    """Ticks every quarter, and at every power of two of the tokens, labelled at every other one."""
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        yield line("grid", panel.left, panel.y(share), panel.left + WIDTH, panel.y(share))
        yield text(panel.left - 6, panel.y(share) + 4, f"{100 * share:g}%", anchor="end")
    first, last = math.ceil(math.log2(panel.least)), math.floor(math.log2(panel.most))
    for power in range(first, last + 1):
        at = panel.x(2.0**power)
        yield line("grid", at, panel.top + HEIGHT, at, panel.top + HEIGHT + 4)
        if (last - power) % 2 == 0:
            unit, anchor = (" tokens", "end") if power == last else ("", "middle")
            yield text(at, panel.top + HEIGHT + 18, f"{2**power}{unit}", anchor=anchor)
