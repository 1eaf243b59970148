"""What the evaluation tables of one pipeline, run with several seeds, say together.

python experiments/stage_tables.py keep runs/r1-0 experiments/r1/results/seed-0.json
python experiments/stage_tables.py show experiments/r1/results/seed-*.json

The first copies from a run what the second needs: the table, the ledgers, what every stage cost. The second prints, for
every task, a row per model: means over seeds with 95% t-intervals, and the paired difference to the row above.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from reckon.evals.seeds import SeedMean, over_seeds

MEASURES = {
    "pass@1": lambda row: row["pass@1"]["value"],
    "form": lambda row: row["format"],
    "language": lambda row: row["language"] or 0.0,
    "tokens": lambda row: row["mean_tokens"],
}


def keep(run: str, path: str) -> None:
    """Write the figures of a finished run to one JSON file."""
    stages, ledgers, table = {}, {}, []
    for folder in sorted(Path(run).glob("stages/*")):
        manifest = json.loads((folder / "manifest.json").read_text())
        seconds = manifest["ended"] - manifest["started"]
        stages[manifest["name"]] = {"kind": manifest["kind"], "seconds": round(seconds, 1), **manifest["figures"]}
        if (folder / "ledger.json").exists():
            ledgers[manifest["name"]] = json.loads((folder / "ledger.json").read_text())
        if (folder / "results.json").exists():
            rows = json.loads((folder / "results.json").read_text())["rows"]
            # A model from elsewhere, which has a path for a name, is the teacher of a distillation.
            table += [{**row, "model": "teacher" if "/" in row["model"] else row["model"]} for row in rows]
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(json.dumps({"table": table, "stages": stages, "ledgers": ledgers}, indent=1) + "\n")


def show(*paths: str) -> None:
    """Print Markdown tables of all seeds together."""
    seeds = [json.loads(Path(path).read_text()) for path in paths]
    first = seeds[0]["table"]
    models = list(dict.fromkeys(row["model"] for row in first))
    for task in dict.fromkeys(row["task"] for row in first):
        print(f"\n**{task}**\n\n| model | pass@1 | change | form | language | tokens |\n|---|---|---|---|---|---|")
        before: list[float] = []
        for model in models:
            rows = [one for seed in seeds for one in seed["table"] if (one["model"], one["task"]) == (model, task)]
            figures = {name: [measure(row) for row in rows] for name, measure in MEASURES.items()}
            now = figures["pass@1"]
            change = over_seeds([b - a for a, b in zip(before, now, strict=True)]) if before else None
            before = now
            cells = [
                model,
                said(over_seeds(now), "{:.1%}"),
                said(change, "{:+.1%}"),
                *(f"{sum(figures[name]) / len(rows):.1%}" for name in ("form", "language")),
                f"{sum(figures['tokens']) / len(rows):.0f}",
            ]
            print("| " + " | ".join(cells) + " |")
    print("\n| stage | kind | seconds | rows | generated tokens | trained tokens |\n|---|---|---|---|---|---|")
    for name, stage in seeds[0]["stages"].items():
        together = [seed["stages"][name] for seed in seeds]
        numbers = [
            f"{sum(float(one.get(key, 0)) for one in together) / len(seeds):,.0f}"
            for key in ("seconds", "rows", "generated_tokens", "trained_tokens")
        ]
        print(f"| {name} | {stage['kind']} | {' | '.join('' if n == '0' else n for n in numbers)} |")


def said(mean: SeedMean | None, form: str) -> str:
    """A mean and its interval, where seeds differ."""
    if mean is None:
        return ""
    text = form.format(mean.value)
    return text if mean.low is None else f"{text} ({form.format(mean.low)} to {form.format(mean.high)})"


if __name__ == "__main__":
    {"keep": keep, "show": show}[sys.argv[1]](*sys.argv[2:])
