"""The parts that our static figures are drawn with, in colours that follow the reader's light or dark mode."""

from __future__ import annotations

import html
from collections.abc import Iterable

STYLE = """
text { font: 11px system-ui, sans-serif; fill: #67635c; }
.title { font-weight: 600; font-size: 13px; fill: #1b1a18; }
.paper { fill: #fdfcfa; } .grid { stroke: #e3dfd7; } .base { stroke: #67635c; stroke-dasharray: 4 3; }
.band { fill: #0072b2; opacity: 0.16; } .line { fill: none; stroke: #0072b2; stroke-width: 2; stroke-linejoin: round; }
.seed { fill: #0072b2; opacity: 0.45; } .other { fill: none; stroke: #67635c; opacity: 0.22; }
@media (prefers-color-scheme: dark) {
  text { fill: #a09a90; } .title { fill: #e9e6e0; } .paper { fill: #161513; } .grid { stroke: #312e2a; }
  .base, .other { stroke: #a09a90; } .band, .seed { fill: #4aa8e0; } .line { stroke: #4aa8e0; }
}
"""


def line(style: str, x1: float, y1: float, x2: float, y2: float) -> str:
    """A line of a style of the sheet, in pixels."""
    return f'<line class="{style}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def text(x: float, y: float, words: str, style: str = "", anchor: str = "start") -> str:
    """A text, escaped; ``anchor`` says which end of it is at x."""
    named = f' class="{style}"' if style else ""
    return f'<text{named} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{html.escape(words)}</text>'


def document(width: float, height: float, parts: Iterable[str]) -> str:
    """A whole figure."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}" role="img">\n<style>{STYLE}</style>\n<rect class="paper" width="100%" height="100%"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )
