"""Samples in the files of other tools: lm-eval's samples and lighteval's details."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from statistics import fmean
from typing import Any

from reckon.core.errors import ConfigError
from reckon.core.records import Problem, Rollout
from reckon.core.store import write_jsonl
from reckon.evals.metrics import passes

Group = list[Rollout]


def export(layout: str, rollouts: Sequence[Rollout], folder: Path, model: str) -> Path:
    """Write the samples where and as the tool itself would; returns the file.

    lm-eval (0.4): ``MODEL/samples_TASK_DATE.jsonl``; lighteval (0.13):
    ``details/MODEL/DATE/details_TASK|0_DATE.parquet``.

    Raises ConfigError if there is no such layout.
    """
    if layout not in EXPORTS:
        raise ConfigError(f"there is no layout {layout!r}", where="--export", fix=f"Use one of: {', '.join(EXPORTS)}")
    groups: dict[str, Group] = {}
    for rollout in rollouts:
        groups.setdefault(rollout.problem.id, []).append(rollout)
    date = datetime.now().isoformat().replace(":", "-")
    return EXPORTS[layout](list(groups.values()), folder, model.strip("/").replace("/", "__"), date)


def _lm_eval(groups: Sequence[Group], folder: Path, model: str, date: str) -> Path:
    path = folder / model / f"samples_{groups[0][0].task}_{date}.jsonl"
    write_jsonl(path, (_lm_eval_row(number, group) for number, group in enumerate(groups)))
    return path


def _lm_eval_row(number: int, group: Group) -> dict[str, Any]:
    problem, responses = group[0].problem, [rollout.response for rollout in group]
    prompt, gold = group[0].prompt or problem.question, _gold(problem)
    doc = {"id": problem.id, "question": problem.question, "answer": gold}
    return {
        "doc_id": number,
        "doc": doc,
        "target": gold,
        "arguments": {"gen_args_0": {"arg_0": prompt, "arg_1": {}}},
        "resps": [responses],
        "filtered_resps": [responses],
        "filter": "none",
        "metrics": ["exact_match"],
        "doc_hash": _hash(json.dumps(doc, indent=2, ensure_ascii=False)),
        "prompt_hash": _hash(prompt),
        "target_hash": _hash(gold),
        "exact_match": _mean_pass(group),
    }


def _lighteval(groups: Sequence[Group], folder: Path, model: str, date: str) -> Path:
    import pyarrow
    import pyarrow.parquet

    task = groups[0][0].task
    path = folder / "details" / model / date / f"details_{task}|0_{date}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [_lighteval_row(number, group) for number, group in enumerate(groups)]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return path


def _lighteval_row(number: int, group: Group) -> dict[str, Any]:
    problem = group[0].problem
    return {
        "doc": {
            "id": str(number),
            "task_name": group[0].task,
            "query": group[0].prompt or problem.question,
            "original_query": problem.question,
            "choices": [_gold(problem)],
            "gold_index": 0,
            "num_samples": len(group),
        },
        "metric": {f"avg@n:n={len(group)}": _mean_pass(group)},
        "model_response": {
            "input": group[0].prompt or problem.question,
            "input_tokens": group[0].prompt_ids,
            "text": [rollout.response for rollout in group],
            "output_tokens": [rollout.response_ids for rollout in group],
        },
    }


EXPORTS: dict[str, Callable[[Sequence[Group], Path, str, str], Path]] = {"lm-eval": _lm_eval, "lighteval": _lighteval}


def _mean_pass(group: Group) -> float | None:
    """Over the judged samples; None if there is none."""
    judged = [passes(rollout.verdict) for rollout in group if rollout.verdict and rollout.verdict.score is not None]
    return fmean(judged) if judged else None


def _gold(problem: Problem) -> str:
    return problem.gold if isinstance(problem.gold, str) else json.dumps(problem.gold, ensure_ascii=False)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
