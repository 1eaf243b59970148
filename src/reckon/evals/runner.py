"""Evaluations that survive a kill, and the figures of an ``eval`` event."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from reckon.core.errors import DataError
from reckon.core.records import Problem, Rollout
from reckon.core.store import append_jsonl, read_jsonl
from reckon.evals.metrics import judged, mean_cons_at_k, mean_pass_at_k, pass_at_1
from reckon.evals.samples import FAILED, read_ours
from reckon.models.template import opens_thinking
from reckon.rewards.rules import format_reward, in_script, script_words, target_script
from reckon.rollout.sample import Asker
from reckon.tasks.reflection import has_han, reflections

REQUESTS_PER_CHUNK = 512
"""Samples between two writes of :func:`evaluate_to_file`: what a kill can cost, enough to keep an engine busy."""


def evaluate_to_file(
    path: Path,
    sampler: Asker,
    problems: Sequence[Problem],
    samples: int,
    seed: int,
    *,
    check: Callable[[], None] | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> list[Rollout]:
    """Ask every problem ``samples`` times, appending to ``path``; what the file already holds is not generated again.

    The responses are those of a run's evaluations with the same seed and weights. The caller sees to it that the
    file was made with the same model and settings. A request that failed is written too, and asked again by the next
    call.

    Args:
        check: called between decoding steps; may raise to abandon the work.
        progress: called with the number of samples the file holds, at the start and after each write.

    Returns:
        the rollouts asked for, in the order of problems, then samples.

    Raises:
        DataError: ``path`` is damaged or cannot be written, or two problems share an id.
    """
    if repeated := len(problems) - len({problem.id for problem in problems}):
        raise DataError(
            f"{repeated} of {len(problems)} problems have the id of another",
            why="The samples of both would count as those of one",
            fix="Mend the task's problems; `reckon check` looks for this",
        )
    stored = read_ours(read_jsonl(path), path) if path.exists() else []
    found = {(r.problem.id, r.sample): r for r in stored if r.finish not in FAILED}
    done = set(found)
    progress(len(done))
    size = max(1, REQUESTS_PER_CHUNK // samples)
    for start in range(0, len(problems), size):
        chunk = problems[start : start + size]
        new = sampler.ask(chunk, samples, (seed, "eval"), check=check, done=done)
        append_jsonl(path, [rollout.to_dict() for rollout in new])
        found.update({(r.problem.id, r.sample): r for r in new})
        progress(len(found))
    return [found[problem.id, sample] for problem in problems for sample in range(samples)]


def summarise(rollouts: Sequence[Rollout]) -> dict[str, Any]:
    """The figures of an ``eval`` event.

    ``problems`` and ``samples`` count what was asked (``samples`` per problem, the most of any); ``pass@1`` has
    its 95% interval; ``pass@k`` and ``cons@k`` map k = 1, 2, 4, 8... (those that some problem has enough judged
    samples for; ``cons@k`` is empty if the task does not say what it extracted). Over all responses, of which requests
    that failed have none: ``mean_tokens`` and the share that is ``truncated``, None where nobody counted tokens; the
    shares that have perfect ``format`` (a summary before the answer is allowed) and contain ``han`` script;
    ``language``: the share of the words of the thinking that are in the script of the question, None where there are
    no words; ``reflections`` per response. ``absent``: how many verdicts carry no score. See
    :mod:`reckon.evals.metrics`.

    Raises:
        DataError: there is no rollout, or none with a score.
    """
    groups = judged(rollouts)
    if rollouts and all(rollout.finish in FAILED for rollout in rollouts):
        raise DataError(
            f"not one of {len(rollouts)} requests was answered; the first: {_reason(rollouts[0])}",
            why="A pass rate of nothing would read as zero",
            fix="See to the server, its address and the name of the model, then run the same command again: it asks "
            "again what failed",
        )
    if rollouts and not groups:
        raise DataError(
            f"not one of {len(rollouts)} responses could be judged; the first: {_reason(rollouts[0])}",
            why="A pass rate of nothing would read as zero",
            fix="Run `reckon check` to see what the verifier does",
        )
    estimate = pass_at_1(groups)
    asked: dict[str, int] = {}
    for rollout in rollouts:
        asked[rollout.problem.id] = asked.get(rollout.problem.id, 0) + 1
    samples = max(asked.values())
    ks = [2**i for i in range(samples.bit_length())]
    answered = [r for r in rollouts if r.finish not in FAILED]
    counted = [r.length for r in answered if r.length is not None]
    return {
        "task": rollouts[0].task,
        "problems": len(asked),
        "samples": samples,
        "pass@1": asdict(estimate),
        "pass@k": {str(k): value for k in ks if (value := mean_pass_at_k(groups, k)) is not None},
        "cons@k": {str(k): value for k in ks if (value := mean_cons_at_k(groups, k)) is not None},
        "mean_tokens": _mean(counted) if counted else None,
        "truncated": _mean(r.finish == "length" for r in answered) if counted else None,
        "reflections": _mean(sum(reflections(r.response).values()) for r in answered),
        "format": _mean(format_reward(opens_thinking(r.prompt), r.response, summary=True) for r in answered),
        "language": _in_language(answered),
        "han": _mean(has_han(r.response) for r in answered),
        "absent": len(rollouts) - sum(map(len, groups.values())),
    }


def _reason(rollout: Rollout) -> str:
    return rollout.verdict.reason if rollout.verdict else "no verdict"


def _in_language(rollouts: Sequence[Rollout]) -> float | None:
    """Of all words of the thinking, the share in the script of the question."""
    inside = words = 0
    for rollout in rollouts:
        counts = script_words(rollout.response)
        inside += in_script(counts, target_script(rollout.problem.question))
        words += counts.total()
    return inside / words if words else None


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))
