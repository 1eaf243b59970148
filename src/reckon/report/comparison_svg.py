"""Static figures of a comparison for pages that run no script: pass@1 against tokens, from ``comparison.json``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from reckon.report.svg import document, line, text

Comparison = dict[str, Any]
Curve = dict[str, list[float]]


@dataclass(frozen=True)
class _Panel:
    """One plot in pixels; its axes are tokens from 0 to ``tokens`` and pass@1 from ``low`` to ``high``."""

    left: float
    top: float
    width: float
    height: float
    tokens: float
    low: float
    high: float

    def x(self, tokens: float) -> float:
        return self.left + self.width * min(1.0, tokens / self.tokens)

    def y(self, share: float) -> float:
        return self.top + self.height * (
            1.0 - (min(self.high, max(self.low, share)) - self.low) / (self.high - self.low)
        )

    def path(self, points: Iterable[tuple[float, float]]) -> str:
        return "M" + "L".join(f"{self.x(at):.1f} {self.y(share):.1f}" for at, share in points)


def method_svg(comparison: Comparison, method: str) -> str:
    """The curve of one method with its band, every evaluation of its seeds, and the untrained model as a dashed line.

    Raises KeyError if the method is not in the comparison.
    """
    panel = _Panel(48, 34, 492, 190, comparison["tokens"], *_range(comparison, [method]))
    final = comparison["methods"][method]["measures"]["pass@1"]
    interval = "" if final["low"] is None else f" (95% interval {100 * final['low']:.1f} to {100 * final['high']:.1f})"
    return document(560, 256, [*_drawn(panel, comparison["methods"][method], method, interval)])


def comparison_svg(comparison: Comparison, columns: int = 4) -> str:
    """One such curve per method on the same axes, all methods in grey behind it."""
    methods = comparison["methods"]
    ends = _range(comparison, methods)
    corner = _Panel(0, 0, 184, 112, comparison["tokens"], *ends)
    parts = [
        '<defs><g id="all">',
        *(_curve(corner, "other", m["curves"]["pass@1"]) for m in methods.values()),
        "</g></defs>",
    ]
    for index, (name, method) in enumerate(methods.items()):
        row, column = divmod(index, columns)
        panel = replace(corner, left=44 + 240 * column, top=32 + 180 * row)
        parts += [f'<use href="#all" x="{panel.left}" y="{panel.top}"/>', *_drawn(panel, method, name)]
    return document(240 * min(columns, len(methods)) + 10, 180 * -(-len(methods) // columns), parts)


def _drawn(panel: _Panel, method: dict[str, Any], name: str, interval: str = "") -> Iterable[str]:
    curve, right = method["curves"]["pass@1"], panel.left + panel.width
    gain = f"{100 * curve['y'][0]:.1f}% to {100 * method['measures']['pass@1']['value']:.1f}%{interval}"
    yield text(panel.left - 36, panel.top - 14, name, "title")
    yield text(right, panel.top - 14, gain, anchor="end")
    yield from _axes(panel)
    start = panel.y(curve["y"][0])
    yield line("base", panel.left, start, right, start)
    edge = [*zip(curve["x"], curve["high"], strict=True), *reversed([*zip(curve["x"], curve["low"], strict=True)])]
    yield f'<path class="band" d="{panel.path(edge)}Z"/>'
    for own in curve["seeds"].values():
        for at, share in zip(own["x"], own["y"], strict=True):
            if at <= panel.tokens:
                yield f'<circle class="seed" cx="{panel.x(at):.1f}" cy="{panel.y(share):.1f}" r="2"/>'
    yield _curve(panel, "line", curve)


def _curve(panel: _Panel, style: str, curve: Curve) -> str:
    return f'<path class="{style}" d="{panel.path(zip(curve["x"], curve["y"], strict=True))}"/>'


def _axes(panel: _Panel) -> Iterable[str]:
    """Ticks every ten points, or every twenty where that would be more than six; none, half and all of the tokens."""
    step = 20 if panel.high - panel.low > 0.6 else 10
    for share in range(0, 101, step):
        if panel.low <= share / 100 <= panel.high:
            y = panel.y(share / 100)
            yield line("grid", panel.left, y, panel.left + panel.width, y)
            yield text(panel.left - 6, y + 4, f"{share}%", anchor="end")
    for part in (0.0, 0.5, 1.0):
        at = part * panel.tokens
        label = f"{at / 1000:.4g}k" if at >= 1000 else f"{at:.4g}"
        last = " tokens" if part == 1.0 else ""
        where = panel.left + part * panel.width
        yield text(where, panel.top + panel.height + 18, label + last, anchor="end" if last else "middle")


def _range(comparison: Comparison, methods: Iterable[str]) -> tuple[float, float]:
    """Whole tens of points around all that is drawn of the methods."""
    curves = [comparison["methods"][method]["curves"]["pass@1"] for method in methods]
    values = [value for curve in curves for key in ("y", "low", "high") for value in curve[key]]
    low, high = (100 * min(values)) // 10, -((-100 * max(values)) // 10)
    return max(0.0, low / 10), min(1.0, max(high, low + 1) / 10)
