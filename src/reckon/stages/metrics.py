"""The numbers of one training step, from its rollouts and what the learner reports."""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from reckon.core.records import Rollout
from reckon.tasks.reflection import reflections


def rollout_metrics(rollouts: Sequence[Rollout]) -> dict[str, Any]:
    """How a step's rollouts did. Means are over responses; ``entropy`` is the mean of -logp of the sampled tokens,
    an unbiased estimate of the policy's entropy in nats per token, also where a reward is absent."""
    judged = [rollout for rollout in rollouts if rollout.reward is not None]
    groups: dict[str, list[float]] = {}
    for rollout in judged:
        groups.setdefault(rollout.problem.id, []).append(_score(rollout))
    names = dict.fromkeys(name for rollout in judged for name in rollout.parts)
    return {
        "reward": _mean(rollout.reward for rollout in judged),
        "accuracy": _mean(map(_score, judged)),
        "parts": {name: _mean(r.parts[name] for r in judged if name in r.parts) for name in names},
        "tokens": _mean(len(r.response_ids) for r in rollouts),
        "tokens_right": _mean(len(r.response_ids) for r in judged if _score(r) >= 1),
        "tokens_wrong": _mean(len(r.response_ids) for r in judged if _score(r) < 1),
        "truncated": _mean(r.finish == "length" for r in rollouts),
        "reflections": _mean(sum(reflections(r.response).values()) for r in rollouts),
        "solved_all": _mean(min(scores) >= 1 for scores in groups.values()),
        "solved_none": _mean(max(scores) < 1 for scores in groups.values()),
        "absent": len(rollouts) - len(judged),
        "entropy": _mean(-value for r in rollouts for value in r.logp),
        "generated_tokens": sum(len(r.response_ids) for r in rollouts),
    }


def update_metrics(updates: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One row from the optimiser updates of a step.

    The mismatch between trainer and sampler is that of the first update, when both hold the same weights; the other
    figures are means, and ``skipped`` says whether any update was refused.
    """
    first = updates[0]
    row = {
        name: _mean(u[name] for u in updates if name in u) for name in ("loss", "grad_norm", "clip_fraction", "kl_ref")
    }
    return {
        **row,
        **{name: first.get(name) for name in ("mismatch_k1", "mismatch_k3", "ess", "ratio_max")},
        "lr": updates[-1]["lr"],
        "skipped": any(u["skipped"] for u in updates),
        "update_tokens": sum(u["update_tokens"] for u in updates),
    }


def peak_rss_mb() -> float:
    """The largest resident memory of this process so far, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def _score(rollout: Rollout) -> float:
    return (rollout.verdict.score or 0.0) if rollout.verdict else 0.0


def _mean(values: Iterable[float | None]) -> float | None:
    """The mean, or None of nothing."""
    kept = [value for value in values if value is not None]
    return sum(kept) / len(kept) if kept else None
