"""Prints, as Markdown, what the runs of this experiment found; see README.md beside it for the commands.

    python experiments/r1-zero/summarise.py runs/r1-zero-0 runs/r1-zero-1 ... [--wide DIR ...]

A run is the folder that `reckon run` made; a wide evaluation is a folder that `reckon eval --samples 64` made.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from reckon.core.store import read_jsonl
from reckon.evals.metrics import paired_difference
from reckon.evals.samples import read_samples


def percent(value: float) -> str:
    return f"{value:.1%}"


def summary(run: Path) -> list[str]:
    """One row of the table of runs."""
    events = read_jsonl(run / "events.jsonl")
    evals = [row for row in events if row["event"] == "eval"]
    first, last = evals[0], evals[-1]
    folder = run / "stages" / "01-train" / "evals"
    before_after = [read_samples(folder / f"step-{row['step']:06d}.jsonl") for row in (first, last)]
    gain = paired_difference(*before_after)
    times = [row["time"] for row in events if row["event"] in ("run_start", "run_end")]
    most = max(last["cons@k"], key=int)
    before, after = first["pass@1"], last["pass@1"]
    return [
        run.name,
        str(last["step"]),
        f"{(times[-1] - times[0]) / 60:.1f}",
        f"{percent(before['value'])} ({percent(before['low'])} to {percent(before['high'])})",
        f"{percent(after['value'])} ({percent(after['low'])} to {percent(after['high'])})",
        f"{after['value'] / before['value']:.2f}",
        f"{100 * gain.value:+.1f} ({100 * gain.low:+.1f} to {100 * gain.high:+.1f})",
        f"{percent(last['cons@k'][most])} (k={most})",
        f"{first['mean_tokens']:.0f} to {last['mean_tokens']:.0f}",
        f"{first['reflections']:.2f} to {last['reflections']:.2f}",
        f"{percent(first['truncated'])} to {percent(last['truncated'])}",
    ]


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def by_step(run: Path) -> str:
    """Every evaluation of one run."""
    evals = [row for row in read_jsonl(run / "events.jsonl") if row["event"] == "eval"]
    head = [
        "step",
        "pass@1",
        "95% interval",
        "pass@8",
        "cons@8",
        "tokens",
        "self-checks",
        "cut off",
        "format",
        "Han",
        "KL to base",
    ]
    rows = [
        [
            str(row["step"]), percent(row["pass@1"]["value"]),
            f"{percent(row['pass@1']['low'])} to {percent(row['pass@1']['high'])}",
            percent(row["pass@k"]["8"]), percent(row["cons@k"]["8"]), f"{row['mean_tokens']:.0f}",
            f"{row['reflections']:.2f}", percent(row["truncated"]), percent(row["format"]), percent(row["han"]),
            "" if row["kl_base"] is None else f"{row['kl_base']:.3f}",
        ]
        for row in evals
    ]  # fmt: skip
    return table(head, rows)


def wide(folder: Path) -> list[list[str]]:
    """pass@k and cons@k of one wide evaluation."""
    row = json.loads((folder / "summary.json").read_text())
    ks = sorted(row["pass@k"], key=int)
    return [
        [folder.name, "pass@k", *(percent(row["pass@k"][k]) for k in ks)],
        [folder.name, "cons@k", *(percent(row["cons@k"][k]) for k in ks)],
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--wide", nargs="*", type=Path, default=[])
    options = parser.parse_args()
    head = ["run", "steps", "minutes", "pass@1 before", "pass@1 after", "ratio", "paired gain, points"]
    head += ["majority vote after", "tokens", "self-checks", "cut off"]
    print(table(head, [summary(run) for run in options.runs]))
    for run in options.runs:
        print(f"\n### {run.name}, by step\n\n{by_step(run)}")
    if options.wide:
        rows = [line for folder in options.wide for line in wide(folder)]
        print("\n### By number of samples\n")
        print(table(["model", "", *(f"k={2**i}" for i in range(len(rows[0]) - 2))], rows))


if __name__ == "__main__":
    main()
