"""Draw the figures of docs/methods from the comparisons, and print the tables of this folder's README.

python experiments/method-comparison/figures.py results/main.json results/others.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from reckon.report.comparison_svg import comparison_svg, method_svg

FIGURES = Path(__file__).parents[2] / "docs" / "images" / "methods"


def main(*paths: str) -> None:
    """Later comparisons only add the methods that earlier ones lack."""
    FIGURES.mkdir(parents=True, exist_ok=True)
    drawn: set[str] = set()
    for path in paths:
        comparison = json.loads(Path(path).read_text())
        if not drawn:
            (FIGURES / "all.svg").write_text(comparison_svg(comparison))
        for method in comparison["methods"].keys() - drawn:
            (FIGURES / f"{method}.svg").write_text(method_svg(comparison, method))
        drawn |= comparison["methods"].keys()
        print(f"\n## {path}\n\n{table(comparison)}")


def table(comparison: dict[str, Any]) -> str:
    """Markdown: a row per method, by final pass@1."""
    columns = ("method", "seeds", "final pass@1", "area", "less grpo: final", "less grpo: area", "tokens")
    lines = ["| " + " | ".join(columns) + " |", "| --- " * len(columns) + "|"]
    methods = comparison["methods"]
    for name in sorted(methods, key=lambda name: -methods[name]["measures"]["pass@1"]["value"]):
        found, less = methods[name]["measures"], methods[name].get("difference") or {}
        cells = [
            f"[{name}](../../docs/methods/{name}.md)",
            str(len(methods[name]["runs"])),
            interval(found["pass@1"], "{:.1%}"),
            interval(found["area"], "{:.1%}"),
            interval(less.get("pass@1"), "{:+.1%}"),
            interval(less.get("area"), "{:+.1%}"),
            f"{found['mean_tokens']['value']:.0f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def interval(value: dict[str, Any] | None, form: str) -> str:
    """A value, its interval if there is one, and the corrected p."""
    if not value:
        return ""
    text = form.format(value["value"])
    if value.get("low") is not None:
        text += f" ({form.format(value['low'])} to {form.format(value['high'])})"
    if value.get("p_holm") is not None:
        text += f", p {value['p_holm']:.2f}"
    return text


if __name__ == "__main__":
    main(*sys.argv[1:])
