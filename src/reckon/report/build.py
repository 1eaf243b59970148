"""The report: one HTML file that needs nothing else, about one run folder, whatever state that folder is in."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from reckon.core.records import Rollout
from reckon.core.store import write_text
from reckon.evals.metrics import judged, mean_pass_at_k
from reckon.report.answer import also, answer, key_figures, status
from reckon.report.findings import diagnose
from reckon.report.load import Row, RunFiles, read_run
from reckon.report.offline import offline_page
from reckon.report.pipeline import GENERATES, UNKNOWN, collect_pipeline, read_stages, render_pipeline
from reckon.report.record import about, columns, rerun, warnings
from reckon.report.viewer import clipped, pairs, rollout_steps
from reckon.tasks.reflection import HAN_WORDS, LATIN_WORDS

SCRIPTS = ("dom.js", "charts.js", "curves.js", "answers.js", "parts.js", "viewer.js", "page.js")


def build_report(run_dir: Path) -> Path:
    """Write ``report.html`` into a run folder and return its path.

    The run may be finished, running, crashed or damaged: what is missing is said at the top of the page. A pipeline's
    stages of reinforcement learning and pretraining each get a page of their own in their folder besides.

    Raises:
        DataError: ``run_dir`` is not a run folder, or cannot be written to.
    """
    run, now, path = read_run(run_dir), time.time(), run_dir / "report.html"
    stages = read_stages(run)
    if len(stages) < 2 and all(stage.kind in (*GENERATES, UNKNOWN) for stage in stages):
        write_text(path, render(collect(run, now)))
        return path
    for stage in stages:
        if stage.kind in GENERATES and stage.run is not None:
            write_text(stage.folder / "report.html", render(collect(stage.run, now)))
    write_text(path, render_pipeline(collect_pipeline(run, stages, now)))
    return path


def collect(run: RunFiles, now: float) -> dict[str, Any]:
    """Everything the page shows, as JSON-ready data. ``now`` is in unix seconds."""
    before, after = (_samples(run, row) for row in _ends(run.evals))
    data = {
        "run": about(run),
        "status": status(run, now),
        "answer": answer(run, before, after) | {"also": also(run.evals)},
        "figures": key_figures(run.evals),
        "metrics": columns(run.metrics),
        "skipped": [row["step"] for row in run.metrics if row.get("skipped")],
        "evals": run.evals,
        "pass_at_k": {"before": _pass_at_k(before), "after": _pass_at_k(after)},
        "pairs": pairs(before, after),
        "self_checks": {"latin": LATIN_WORDS, "han": HAN_WORDS},
        "rollouts": rollout_steps(run),
        "findings": [asdict(finding) for finding in diagnose(run.metrics, run.evals)],
        "warnings": warnings(run),
        "rerun": rerun(run),
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


def _pass_at_k(rollouts: list[Rollout]) -> list[float | None]:
    """pass@k for k = 1 up to the number of samples per problem."""
    groups = judged(rollouts)
    most = max((len(group) for group in groups.values()), default=0)
    return [mean_pass_at_k(groups, k) for k in range(1, most + 1)]
