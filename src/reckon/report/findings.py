"""Named diagnoses of a run: what to look at first, with the figure that says so and what to do about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from reckon.report.load import Row, number, numbers

NO_SIGNAL_SHARE = 0.70
TRUNCATED_SHARE = 0.20
ENTROPY_LEFT = 0.10
MISMATCH_NATS = 0.01
ABSENT_SHARE = 0.01
TRAIN_GAIN = 0.10
HELDOUT_SHARE_OF_GAIN = 0.25


@dataclass(frozen=True)
class Finding:
    """One check. ``found``: look here; ``clear``: checked, nothing; ``unknown``: the data to check is missing."""

    name: str
    state: Literal["found", "clear", "unknown"]
    evidence: str
    remedy: str = ""


def diagnose(metrics: list[Row], evals: list[Row]) -> list[Finding]:
    """Every check on the rows of metrics.jsonl and the ``eval`` events; those that found something come first."""
    findings = [check(metrics, evals) for check in CHECKS]
    return sorted(findings, key=lambda finding: ("found", "unknown", "clear").index(finding.state))


def no_signal(metrics: list[Row], evals: list[Row]) -> Finding:
    """Groups whose samples all score the same have zero advantage and teach nothing."""
    name = "Groups without signal"
    every, none = numbers(metrics, "solved_all"), numbers(metrics, "solved_none")
    if not every or not none:
        return Finding(name, "unknown", "No group statistics were recorded.")
    every_share, none_share = fmean(_end(every)), fmean(_end(none))
    share = every_share + none_share
    evidence = (
        f"{share:.0%} of the groups at the end taught nothing (threshold {NO_SIGNAL_SHARE:.0%}): "
        f"{every_share:.0%} all right, {none_share:.0%} all wrong."
    )
    if share <= NO_SIGNAL_SHARE:
        return Finding(name, "clear", evidence)
    if every_share > none_share:
        return Finding(name, "found", evidence, "The problems have become too easy: use harder ones, or stop here.")
    return Finding(name, "found", evidence, "The problems are too hard: use easier ones, or more samples per problem.")


def truncation(metrics: list[Row], evals: list[Row]) -> Finding:
    """Responses cut at the token limit are mostly judged wrong, whatever they were about to say."""
    name = "Truncated responses"
    cut = numbers(metrics, "truncated")
    if not cut:
        return Finding(name, "unknown", "No truncation was recorded.")
    share = fmean(_end(cut))
    evidence = f"{share:.1%} of the responses at the end hit the token limit (threshold {TRUNCATED_SHARE:.0%})."
    if share <= TRUNCATED_SHARE:
        return Finding(name, "clear", evidence)
    return Finding(name, "found", evidence, "Raise rollout.max_new_tokens.")


def entropy_collapse(metrics: list[Row], evals: list[Row]) -> Finding:
    """A policy with no entropy left samples the same response every time and cannot learn further."""
    name = "Entropy collapse"
    entropy = numbers(metrics, "entropy")
    if len(entropy) < 5:
        return Finding(name, "unknown", "Fewer than five steps recorded an entropy.")
    first, last = fmean(_start(entropy)), fmean(_end(entropy))
    evidence = (
        f"Entropy went from {first:.3f} to {last:.3f} nats per token (threshold {ENTROPY_LEFT:.0%} of its start)."
    )
    if last >= ENTROPY_LEFT * first:
        return Finding(name, "clear", evidence)
    remedy = "Lower the learning rate, raise the upper clip bound, or stop at an earlier checkpoint."
    return Finding(name, "found", evidence, remedy)


def mismatch(metrics: list[Row], evals: list[Row]) -> Finding:
    """The trainer and the sampler must agree on the log-probs of the sampled tokens, or the gradient is biased."""
    name = "Trainer and sampler disagree"
    gap = numbers(metrics, "mismatch_k3")
    if not gap:
        return Finding(name, "unknown", "No log-prob mismatch was recorded.")
    first, last = fmean(_start(gap)), fmean(_end(gap))
    evidence = f"The mismatch (k3) went from {first:.2g} to {last:.2g} nats per token (threshold {MISMATCH_NATS})."
    if last <= MISMATCH_NATS:
        return Finding(name, "clear", evidence)
    remedy = "Use one precision and one kernel for both, and fewer minibatches."
    return Finding(name, "found", evidence, remedy)


def absent_verdicts(metrics: list[Row], evals: list[Row]) -> Finding:
    """A sample its verifier could not judge is dropped; many of them bias what is learnt and what is measured."""
    name = "Absent verdicts"
    absent = total = 0.0
    judged = numbers(metrics, "accuracy")  # text that is only imitated has no verdicts to miss
    for row in metrics if judged else []:
        count, generated, mean = (number(row.get(key)) for key in ("absent", "generated_tokens", "tokens"))
        if count is not None and generated and mean:
            absent, total = absent + count, total + generated / mean
    for row in evals:
        count, problems, samples = (number(row.get(key)) for key in ("absent", "problems", "samples"))
        if count is not None and problems and samples:
            absent, total = absent + count, total + problems * samples
    if not total:
        return Finding(name, "unknown", "No verdict counts were recorded.")
    evidence = f"{absent:.0f} of about {total:,.0f} responses could not be judged (threshold {ABSENT_SHARE:.0%})."
    if absent <= ABSENT_SHARE * total:
        return Finding(name, "clear", evidence)
    return Finding(name, "found", evidence, "Read their reasons in the viewer; fix the verifier, or give it more time.")


def overfitting(metrics: list[Row], evals: list[Row]) -> Finding:
    """Train accuracy that rises alone is memory or a leak in the reward, not skill."""
    name = "Train up, held-out flat"
    train = numbers(metrics, "accuracy")
    heldout = [value for row in evals if (value := pass_at_1(row)) is not None]
    if len(train) < 5 or len(heldout) < 2:
        return Finding(name, "unknown", "Five training steps and two evaluations are needed.")
    train_gain, heldout_gain = fmean(_end(train)) - fmean(_start(train)), heldout[-1] - heldout[0]
    evidence = (
        f"Train accuracy changed by {100 * train_gain:+.1f} points, held-out pass@1 by {100 * heldout_gain:+.1f} "
        f"(threshold: train above {100 * TRAIN_GAIN:+.0f} and held-out below {HELDOUT_SHARE_OF_GAIN:.0%} of it)."
    )
    if train_gain <= TRAIN_GAIN or heldout_gain >= HELDOUT_SHARE_OF_GAIN * train_gain:
        return Finding(name, "clear", evidence)
    return Finding(name, "found", evidence, "Use more distinct problems, fewer epochs, and read what earns the reward.")


def skipped_updates(metrics: list[Row], evals: list[Row]) -> Finding:
    """Updates refused by the finite check: the loss or a gradient was NaN or infinite."""
    name = "Skipped updates"
    if not metrics:
        return Finding(name, "unknown", "No steps were recorded.")
    steps = [row["step"] for row in metrics if row.get("skipped")]
    if not steps:
        return Finding(name, "clear", f"All {len(metrics)} updates were applied.")
    shown = ", ".join(str(step) for step in steps[:8]) + (", ..." if len(steps) > 8 else "")
    evidence = f"{len(steps)} of {len(metrics)} updates were refused because a value was not finite: steps {shown}."
    return Finding(name, "found", evidence, "Lower the learning rate or the gradient clip; read the dumped batches.")


CHECKS: list[Callable[[list[Row], list[Row]], Finding]] = [
    no_signal,
    truncation,
    entropy_collapse,
    mismatch,
    absent_verdicts,
    overfitting,
    skipped_updates,
]


def pass_at_1(row: Row) -> float | None:
    """The pass@1 of an ``eval`` event."""
    found = row.get("pass@1")
    return number(found.get("value")) if isinstance(found, dict) else None


def _start(values: list[float]) -> list[float]:
    """The first fifth, at least one value."""
    return values[: max(1, len(values) // 5)]


def _end(values: list[float]) -> list[float]:
    """The last fifth, at least one value."""
    return values[-max(1, len(values) // 5) :]
