"""The numbers of one training step, from its rollouts and what the learner reports."""

from __future__ import annotations

import resource
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from reckon.core.records import Rollout
from reckon.rewards.spec import group_spread
from reckon.tasks.reflection import reflections

REASONS = 10
"""Different reasons of verdicts counted in a step; those beyond the most frequent ones are counted together."""

MISMATCH = ("mismatch_k1", "mismatch_k3", "ess", "ratio_max")


def rollout_metrics(rollouts: Sequence[Rollout], dropped: Sequence[Rollout] = ()) -> dict[str, Any]:
    """How a step's rollouts did.

    Statistics are over the policy's own samples, dropped ones too; ``sequences`` and ``generated_tokens`` count
    everything generated. ``filtered`` is the share of prompts whose samples were dropped. ``entropy`` is the mean of
    -logp of the sampled tokens, an unbiased estimate of the policy's entropy in nats per token, also where a reward is
    absent. ``accuracy`` is of samples with a verdict; None if there are none. ``spread`` is the mean over groups of
    each reward part's standard deviation: where accuracy has none, other parts teach alone. ``reasons`` counts what the
    verdicts say, the most frequent first.
    """
    sampled = [rollout for rollout in (*rollouts, *dropped) if rollout.role == "policy"]
    judged = [rollout for rollout in sampled if rollout.reward is not None]
    marked = [(rollout, score) for rollout in judged if (score := _score(rollout)) is not None]
    groups: dict[str, list[Rollout]] = {}
    for rollout in judged:
        groups.setdefault(rollout.problem.id, []).append(rollout)
    scores: dict[str, list[float]] = {}
    for rollout, score in marked:
        scores.setdefault(rollout.problem.id, []).append(score)
    spreads = [group_spread([rollout.parts for rollout in group]) for group in groups.values()]
    names = dict.fromkeys(name for rollout in judged for name in rollout.parts)
    unused = {rollout.problem.id for rollout in dropped}
    kinds = dict.fromkeys(rollout.task for rollout in judged)
    return {
        "reward": _mean(rollout.reward for rollout in judged),
        "accuracy": _mean(score for _, score in marked),
        "parts": {name: _mean(r.parts[name] for r in judged if name in r.parts) for name in names},
        "tasks": {
            kind: {
                "reward": _mean(r.reward for r in judged if r.task == kind),
                "accuracy": _mean(_score(r) for r in judged if r.task == kind),
                "tokens": _mean(len(r.response_ids) for r in judged if r.task == kind),
            }
            for kind in (kinds if len(kinds) > 1 else ())
        },
        "spread": {name: _mean(spread.get(name) for spread in spreads) for name in names},
        "tokens": _mean(len(r.response_ids) for r in sampled),
        "tokens_right": _mean(len(r.response_ids) for r, score in marked if score >= 1),
        "tokens_wrong": _mean(len(r.response_ids) for r, score in marked if score < 1),
        "truncated": _mean(r.finish == "length" for r in sampled),
        "reflections": _mean(sum(reflections(r.response).values()) for r in sampled),
        "solved_all": _mean(min(group) >= 1 for group in scores.values()),
        "solved_none": _mean(max(group) < 1 for group in scores.values()),
        "absent": len(sampled) - len(judged),
        "reasons": _reasons(sampled),
        "filtered": _mean(name in unused for name in dict.fromkeys(rollout.problem.id for rollout in sampled)),
        "entropy": _mean(-value for r in sampled for value in r.logp),
        "sequences": len(rollouts) + len(dropped),
        "generated_tokens": sum(len(r.response_ids) for r in (*rollouts, *dropped)),
    }


def update_metrics(reports: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One row from what credit assignment and the optimiser updates of a step report.

    The mismatch between trainer and sampler is that of the first update, when both hold the same weights; ``lr`` is
    that of the last, ``update_tokens`` a sum, ``skipped`` whether any update was refused; other figures are means.
    """
    updates = [report for report in reports if "skipped" in report]
    first, last = (updates[0], updates[-1]) if updates else ({}, {})
    special = {*MISMATCH, "lr", "skipped", "update_tokens"}
    means = dict.fromkeys(("loss", "grad_norm", "clip_fraction", "kl_ref"))
    means |= dict.fromkeys(name for report in reports for name in report if name not in special)
    return {
        **{name: _mean(report.get(name) for report in reports) for name in means},
        **{name: first.get(name) for name in MISMATCH},
        "lr": last.get("lr"),
        "skipped": any(update["skipped"] for update in updates),
        "update_tokens": sum(update["update_tokens"] for update in updates),
    }


def peak_rss_mb() -> float:
    """The largest resident memory of this process so far, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def _reasons(rollouts: Sequence[Rollout]) -> dict[str, int]:
    """How many verdicts give each reason, in at most 80 characters of it: an exception's may quote the response."""
    counts = Counter(" ".join(rollout.verdict.reason.split())[:80] for rollout in rollouts if rollout.verdict)
    found = dict(counts.most_common(REASONS))
    others = counts.total() - sum(found.values())
    return found | ({"others": others} if others else {})


def _score(rollout: Rollout) -> float | None:
    """None where nothing is right or wrong: labelled data, and tasks that only a reward model judges."""
    return rollout.verdict.score if rollout.verdict else None


def _mean(values: Iterable[float | None]) -> float | None:
    """The mean, or None of nothing."""
    kept = [value for value in values if value is not None]
    return sum(kept) / len(kept) if kept else None
