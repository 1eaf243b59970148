"""Print the table of this folder's README: python experiments/test-time/table.py results/curves.json"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def main(path: str) -> None:
    curves = json.loads(Path(path).read_text(encoding="utf-8"))
    budgets = sorted({point["budget"] for method in curves["methods"].values() for point in method["points"]})
    print(f"| method, scorer | {' | '.join(map(str, budgets))} | responses | read |")
    print("| --- " * (len(budgets) + 3) + "|")
    for label, method in curves["methods"].items():
        points = {point["budget"]: point for point in method["points"]}
        last = points[max(points)]
        cells = [accuracy(points[budget]["accuracy"]) if budget in points else "" for budget in budgets]
        read = last["prefill"] + last["scored"]
        print(f"| {label} | {' | '.join(cells)} | {last['responses']:.1f} | {read:.0f} |")
    possible = {point["budget"]: point["possible"] for point in curves["methods"]["vote"]["points"]}
    print(f"| any of the vote's right | {' | '.join(f'{100 * possible[b]:.1f}' for b in budgets)} | | |")
    print("\n| budget | best on the other half | accuracy |\n| --- | --- | --- |")
    for row in curves["best"]:
        chosen = " and ".join(dict.fromkeys(row["chosen"]))
        print(f"| {row['budget']} | {chosen} | {accuracy(row['accuracy'])} |")


def accuracy(found: dict[str, Any]) -> str:
    return f"{100 * found['value']:.1f} ({100 * found['low']:.0f} to {100 * found['high']:.0f})"


if __name__ == "__main__":
    main(*sys.argv[1:])
