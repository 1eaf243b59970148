"""What every report says of its run: what it is, its columns of figures, its warnings, and how to make it again."""

from __future__ import annotations

from typing import Any

import yaml

from reckon.report.load import Row, RunFiles, number
from reckon.report.viewer import clipped

CHART_POINTS = 2_000


def about(run: RunFiles) -> Row:
    """Name, recipe and machine."""
    config = run.info.get("config")
    config = config if isinstance(config, dict) else {}
    versions = run.info.get("versions")
    return {
        "name": run.name,
        "recipe": _short(run.info.get("recipe")),
        "stage": run.stage.name if run.stage else None,
        "model": _short(config.get("model")),
        "task": _short(config.get("task")),
        "seed": _short(run.info.get("seed")),
        "device": _short(run.info.get("device")),
        "threads": _short(run.info.get("threads")),
        "versions": versions if isinstance(versions, dict) else {},
    }


def _short(setting: Any) -> str | None:
    """A setting in a word: itself, or the kind or path of a mapping."""
    if isinstance(setting, dict):
        setting = setting.get("kind", setting.get("path"))
    return None if setting is None else clipped(str(setting), 200)


def columns(rows: list[Row]) -> dict[str, list[float | None]]:
    """Metrics by column, nested ones as ``parts.format``; past CHART_POINTS rows, evenly thinned."""
    if len(rows) > CHART_POINTS:
        rows = [rows[round(i * (len(rows) - 1) / (CHART_POINTS - 1))] for i in range(CHART_POINTS)]
    flat = [_flat(row) for row in rows]
    names = dict.fromkeys(name for row in flat for name in row)
    return {name: [row.get(name) for row in flat] for name in names}


def _flat(row: Row) -> dict[str, float | None]:
    flat: dict[str, float | None] = {}
    for name, value in row.items():
        if isinstance(value, dict):
            flat |= {f"{name}.{inner}": number(item) for inner, item in value.items()}
        else:
            flat[name] = number(value)
    for rate, tokens, phase in (
        ("rate.generate", "generated_tokens", "seconds.generate"),
        ("rate.update", "update_tokens", "seconds.update"),
    ):
        amount, seconds = flat.get(tokens), flat.get(phase)
        flat[rate] = amount / seconds if amount is not None and seconds else None
    return flat


def warnings(run: RunFiles) -> list[Row]:
    """The last 200 warnings, each with its step and, in a pipeline, its stage."""
    rows = [event for event in run.events if event.get("event") == "warning"]
    return [
        {"step": row.get("step"), "stage": _short(row.get("stage")), "says": clipped(str(row.get("message")), 400)}
        for row in rows[-200:]
    ]


def rerun(run: RunFiles) -> Row:
    """The command, the resolved recipe, and what was made from what by digest."""
    made_up = f"reckon run {run.info.get('recipe', 'RECIPE')} --set seed={run.info.get('seed', 0)}"
    kept = ("name", "kind", "config_digest", "inputs", "outputs")
    return {
        "command": clipped(str(run.info.get("command") or made_up)),
        "config": clipped(yaml.safe_dump(run.info, sort_keys=False, allow_unicode=True), 100_000) if run.info else "",
        "lineage": [{key: row.get(key) for key in kept} for row in run.lineage],
    }
