"""Asking a model every problem several times, judging the answers, and saying how it did."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from reckon.core.errors import DataError
from reckon.core.records import Problem, Rollout, Verdict
from reckon.core.seeds import seed_for
from reckon.core.store import append_jsonl, read_jsonl
from reckon.engine.base import Engine, Request, Sampling
from reckon.evals.metrics import judged, mean_cons_at_k, mean_pass_at_k, pass_at_1
from reckon.models.template import opens_thinking
from reckon.rewards.rules import format_reward
from reckon.tasks.base import Task
from reckon.tasks.reflection import has_han, reflections

Render = Callable[[Problem], tuple[str, list[int]]]
"""The prompt of a problem: its text and its token ids."""

Decode = Callable[[list[int]], str]
"""The text of a response's token ids."""

REQUESTS_PER_CHUNK = 512
"""Samples between two writes of :func:`evaluate_to_file`: what a kill can cost, enough to keep an engine busy."""


def evaluate(
    task: Task,
    problems: Sequence[Problem],
    engine: Engine,
    render: Render,
    decode: Decode,
    sampling: Sampling,
    samples: int,
    seed: int,
    *,
    check: Callable[[], None] | None = None,
    done: Collection[tuple[str, int]] = (),
) -> list[Rollout]:
    """Sample and judge ``samples`` responses to each problem, in the order of problems, then samples.

    A response depends on the weights, ``seed``, its problem and its number alone, so a later or larger evaluation
    repeats it.

    Args:
        check: called between decoding steps; may raise to abandon the work.
        done: (problem id, sample) pairs to leave out.
    """
    asked = [(p, sample) for p in problems for sample in range(samples) if (p.id, sample) not in done]
    prompts = {problem.id: render(problem) for problem, _ in asked}
    requests = [
        Request(i, prompts[problem.id][1], sampling, seed_for(seed, "eval", problem.id, sample))
        for i, (problem, sample) in enumerate(asked)
    ]
    rollouts = []
    for (problem, sample), request, completion in zip(asked, requests, engine.generate(requests, check), strict=True):
        text, ids = prompts[problem.id]
        rollout = Rollout(
            task=task.kind,
            problem=problem,
            sample=sample,
            prompt=text,
            prompt_ids=ids,
            response=decode(completion.token_ids),
            response_ids=completion.token_ids,
            logp=completion.logp,
            finish=completion.finish,
            seed=request.seed,
            version=completion.version,
            seconds={"generate": completion.seconds},
        )
        rollouts.append(_judge(rollout, task))
    return rollouts


def evaluate_to_file(
    path: Path,
    task: Task,
    problems: Sequence[Problem],
    engine: Engine,
    render: Render,
    decode: Decode,
    sampling: Sampling,
    samples: int,
    seed: int,
    *,
    check: Callable[[], None] | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> list[Rollout]:
    """:func:`evaluate`, appending to ``path`` as it goes; what the file already holds is not generated again.

    The caller sees to it that the file was made with the same model and settings.

    Args:
        progress: called with the number of samples the file holds, at the start and after each write.

    Raises:
        DataError: ``path`` is damaged or cannot be written.
    """
    wanted = [(problem.id, sample) for problem in problems for sample in range(samples)]
    found = {
        (rollout.problem.id, rollout.sample): rollout for rollout in (read_rollouts(path) if path.exists() else [])
    }
    progress(len(found))
    size = max(1, REQUESTS_PER_CHUNK // samples)
    for start in range(0, len(problems), size):
        chunk = problems[start : start + size]
        new = evaluate(task, chunk, engine, render, decode, sampling, samples, seed, check=check, done=found.keys())
        append_jsonl(path, [rollout.to_dict() for rollout in new])
        found.update({(rollout.problem.id, rollout.sample): rollout for rollout in new})
        progress(len(found))
    return [found[key] for key in wanted]


def read_rollouts(path: Path) -> list[Rollout]:
    """The rollouts of a JSON lines file.

    Raises:
        DataError: the file cannot be read, or a line is not a rollout.
    """
    rollouts = []
    for number, row in enumerate(read_jsonl(path), 1):
        try:
            rollouts.append(Rollout.from_dict(row))
        except (TypeError, KeyError) as error:
            raise DataError(
                f"not a rollout ({error})",
                where=f"{path}, row {number}",
                fix="Give a samples.jsonl of reckon eval, or a rollouts or evals file of a run",
            ) from error
    return rollouts


def rescore(rollouts: Sequence[Rollout], task: Task) -> list[Rollout]:
    """The same samples with fresh verdicts; the ones given are left as they are."""
    return [_judge(rollout, task) for rollout in rollouts]


def _judge(rollout: Rollout, task: Task) -> Rollout:
    """The rollout with a verdict. A verifier that raises, or a response that failed, gives an absent one."""
    start = time.perf_counter()
    if rollout.finish in ("cancelled", "error"):
        verdict = Verdict(None, f"generation: {rollout.finish}")
    else:
        try:
            verdict = task.verify(rollout.problem, rollout.response)
        except Exception as error:
            verdict = Verdict(None, f"the verifier raised {type(error).__name__}: {error}")
    seconds = {**rollout.seconds, "verify": time.perf_counter() - start}
    return replace(rollout, task=task.kind, verdict=verdict, seconds=seconds)


def summarise(rollouts: Sequence[Rollout]) -> dict[str, Any]:
    """The figures of an ``eval`` event.

    ``problems`` and ``samples`` count what was asked (``samples`` per problem, the most of any); ``pass@1`` has
    its 95% interval; ``pass@k`` and ``cons@k`` map k = 1, 2, 4, 8... (those that some problem has enough judged
    samples for; ``cons@k`` is empty if the task does not say what it extracted). Over all responses: ``mean_tokens``;
    shares that are ``truncated``, have perfect ``format``, contain ``han`` script; ``reflections`` per response;
    ``absent``: how many verdicts carry no score. See :mod:`reckon.evals.metrics`.

    Raises:
        DataError: there is no rollout, or none with a score.
    """
    groups = judged(rollouts)
    estimate = pass_at_1(groups)
    asked: dict[str, int] = {}
    for rollout in rollouts:
        asked[rollout.problem.id] = asked.get(rollout.problem.id, 0) + 1
    samples = max(asked.values())
    ks = [2**i for i in range(samples.bit_length())]
    return {
        "task": rollouts[0].task,
        "problems": len(asked),
        "samples": samples,
        "pass@1": asdict(estimate),
        "pass@k": {str(k): value for k in ks if (value := mean_pass_at_k(groups, k)) is not None},
        "cons@k": {str(k): value for k in ks if (value := mean_cons_at_k(groups, k)) is not None},
        "mean_tokens": _mean(len(r.response_ids) for r in rollouts),
        "truncated": _mean(r.finish == "length" for r in rollouts),
        "reflections": _mean(sum(reflections(r.response).values()) for r in rollouts),
        "format": _mean(format_reward(opens_thinking(r.prompt), r.response) for r in rollouts),
        "han": _mean(has_han(r.response) for r in rollouts),
        "absent": len(rollouts) - sum(map(len, groups.values())),
    }


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))
