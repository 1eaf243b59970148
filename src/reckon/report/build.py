"""The report: one HTML file that needs nothing else, about one run folder, whatever state that folder is in."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from reckon.core.records import Rollout
from reckon.core.store import write_text
from reckon.evals.metrics import judged, mean_pass_at_k
from reckon.report.answer import also, answer, key_figures, status
from reckon.report.findings import diagnose
from reckon.report.load import Row, RunFiles, number, read_run
from reckon.report.offline import offline_page
from reckon.report.viewer import clipped, pairs, rollout_steps
from reckon.tasks.reflection import HAN_WORDS, LATIN_WORDS

CHART_POINTS = 2_000
SCRIPTS = ("dom.js", "charts.js", "curves.js", "viewer.js", "page.js")


def build_report(run_dir: Path) -> Path:
    """Write ``report.html`` into a run folder and return its path.

    The run may be finished, running, crashed or damaged: what is missing is said at the top of the page.

    Raises:
        DataError: ``run_dir`` is not a run folder, or cannot be written to.
    """
    path = run_dir / "report.html"
    write_text(path, render(collect(read_run(run_dir), time.time())))
    return path


def collect(run: RunFiles, now: float) -> dict[str, Any]:
    """Everything the page shows, as JSON-ready data. ``now`` is in unix seconds."""
    before, after = (_samples(run, row) for row in _ends(run.evals))
    data = {
        "run": _about(run),
        "status": status(run, now),
        "answer": answer(run, before, after) | {"also": also(run.evals)},
        "figures": key_figures(run.evals),
        "metrics": _columns(run.metrics),
        "skipped": [row["step"] for row in run.metrics if row.get("skipped")],
        "evals": run.evals,
        "pass_at_k": {"before": _pass_at_k(before), "after": _pass_at_k(after)},
        "pairs": pairs(before, after),
        "self_checks": {"latin": LATIN_WORDS, "han": HAN_WORDS},
        "rollouts": rollout_steps(run),
        "findings": [asdict(finding) for finding in diagnose(run.metrics, run.evals)],
        "warnings": [_warning(event) for event in run.events if event.get("event") == "warning"][-200:],
        "rerun": {
            "command": _command(run),
            "config": _config(run),
            "lineage": [_stage(row) for row in run.lineage],
        },
    }
    if not run.metrics:
        run.notes.append("No training step was recorded.")
    return data | {"notes": run.notes, "built": now}


def render(data: dict[str, Any]) -> str:
    """The page with ``data`` in it."""
    title = f"{data['run']['name']}. {data['answer']['word']}: {data['answer']['says']}"
    return offline_page("template.html", ("report.css",), SCRIPTS, title, data)


def _ends(evals: list[Row]) -> tuple[Row | None, Row | None]:
    """The first and the last evaluation, None each where there are fewer than two."""
    return (evals[0], evals[-1]) if len(evals) > 1 else (None, None)


def _samples(run: RunFiles, evaluation: Row | None) -> list[Rollout]:
    file = evaluation.get("samples_file") if evaluation else None
    if not isinstance(file, str):
        return []
    if Path(file).is_absolute() or ".." in Path(file).parts:
        run.notes.append(f"The samples at {clipped(file, 200)} lie outside the run folder and are not shown.")
        return []
    return run.rollouts(run.path / file)


def _about(run: RunFiles) -> Row:
    config = run.info.get("config")
    config = config if isinstance(config, dict) else {}
    versions = run.info.get("versions")
    return {
        "name": run.path.name,
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


def _columns(rows: list[Row]) -> dict[str, list[float | None]]:
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


def _pass_at_k(rollouts: list[Rollout]) -> list[float | None]:
    """pass@k for k = 1 up to the number of samples per problem."""
    groups = judged(rollouts)
    most = max((len(group) for group in groups.values()), default=0)
    return [mean_pass_at_k(groups, k) for k in range(1, most + 1)]


def _warning(event: Row) -> Row:
    return {"step": event.get("step"), "says": clipped(str(event.get("message")), 400)}


def _command(run: RunFiles) -> str:
    made_up = f"reckon run {run.info.get('recipe', 'RECIPE')} --set seed={run.info.get('seed', 0)}"
    return clipped(str(run.info.get("command") or made_up))


def _config(run: RunFiles) -> str:
    return clipped(yaml.safe_dump(run.info, sort_keys=False, allow_unicode=True), 100_000) if run.info else ""


def _stage(row: Row) -> Row:
    return {key: row.get(key) for key in ("name", "kind", "config_digest", "inputs", "outputs")}
