"""Every figure that one generation gives, each with its 95% interval and the number of problems behind it.

A figure of k samples is taken over the problems that have k judged ones, and says how many those are: a problem with
fewer is left out, not counted as if its missing samples were wrong, or its few were many.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np

from reckon.core.errors import DataError
from reckon.core.records import Rollout, Verdict
from reckon.evals.choices import LABEL, Score, best_of_k, scores_of, weighted_vote
from reckon.evals.metrics import (
    Floats,
    clustered,
    cons_at_k,
    g_pass_at_k,
    mean_g_pass_at_k,
    pass_at_1,
    pass_at_k,
    passes,
    same_problems,
    t_quantile,
)
from reckon.tasks.base import Task

TAUS = (0.5, 0.75, 1.0)
"""The shares of k samples that must pass, for G-Pass@k; arXiv 2412.13147 reports these."""

OWN = "figures"
"""The part of a verdict's ``detail`` in which a task says what else an evaluation should count: by the name of a
figure, whether each of the things that the response was to do was done."""

Groups = Mapping[str, Sequence[Rollout]]
"""The judged samples by problem id."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A mean over problems, each counting the same (those of a task's own: as much as the things it was to do).

    Attributes:
        low, high: its 95% interval for new problems of the same kind; None where there is no spread to tell it from.
        problems: how many it is the mean of.
        same_low, same_high: the narrower interval for these very problems asked again, where that is told.
    """

    value: float
    low: float | None
    high: float | None
    problems: int
    same_low: float | None = None
    same_high: float | None = None


def figures(rollouts: Sequence[Rollout]) -> dict[str, Figure]:
    """All figures that the samples give, by name; those of k samples for k = 1, 2, 4, 8... and the most that there are.

    ``pass@k``; ``cons@k``, the majority vote; ``best@k by SCORE``; ``vote@k by SCORE``, the weighted vote, for the
    largest k alone; ``g-pass@k of TAU`` and ``mg-pass@k``; what the task counts itself (:data:`OWN`); and over all
    responses, not only judged ones, ``truncated`` and ``tokens`` per response, where token counts are known. Votes are
    left out if the task does not say what it extracted. See :mod:`reckon.evals.metrics`, :mod:`reckon.evals.choices`.

    Raises DataError if not one sample has a score, or a figure of the task's own is not as :data:`OWN` says.
    """
    groups = _judged(rollouts)
    most = max(map(len, groups.values()))
    ks = sorted({2**i for i in range(most.bit_length())} | {most})
    votes = not any(passes(v) and v.extracted is None for group in groups.values() for v in _verdicts(group))
    found: dict[str, Figure] = {}
    for k in ks:
        found |= _of_draws(groups, k, votes)
    found["pass@1"] = _pass_at_1(groups)
    for score in scores_of([rollout for group in groups.values() for rollout in group]):
        found |= _of_score(groups, score, ks, votes)
    return _of_task(groups) | found | _of_responses(rollouts)


def labelled(rollouts: Sequence[Rollout]) -> list[Rollout]:
    """The samples that were published with a verdict, with that one in the place of ours; extracted answers stay."""
    return [
        replace(r, verdict=Verdict(r.parts[LABEL], extracted=r.verdict.extracted if r.verdict else None))
        for r in rollouts
        if LABEL in r.parts
    ]


def merged(rollouts: Sequence[Rollout], task: Task) -> list[Rollout]:
    """The samples with equal answers to a problem written the same, so that they vote together.

    Two are equal if the task says so (:meth:`Task.same_answer`); all are written as the first of their kind is.
    """
    written: dict[str, dict[str, str]] = {}
    found = []
    for rollout in rollouts:
        answer = rollout.verdict.extracted if rollout.verdict else None
        if rollout.verdict is None or answer is None:
            found.append(rollout)
            continue
        known = written.setdefault(rollout.problem.id, {})
        if answer not in known:
            member = task.member(rollout.problem)
            forms = dict.fromkeys(known.values())
            known[answer] = next((f for f in forms if member.same_answer(rollout.problem, f, answer)), answer)
        found.append(replace(rollout, verdict=replace(rollout.verdict, extracted=known[answer])))
    return found


# ------------------------------------------------------------------------------------------------- families


def _of_draws(groups: Groups, k: int, votes: bool) -> dict[str, Figure]:
    """What k samples come to that nothing but their verdicts tells apart."""
    counts = {name: (len(group), sum(map(passes, _verdicts(group)))) for name, group in groups.items()}
    kept = {name: group for name, group in groups.items() if len(group) >= k}

    def over(value: Callable[[int, int], float]) -> Figure:
        return _share({name: value(*counts[name]) for name in kept}, groups)

    found = {f"pass@{k}": over(lambda n, c: pass_at_k(n, c, k))}
    if votes:
        found[f"cons@{k}"] = _share({name: cons_at_k(_verdicts(group), k) for name, group in kept.items()}, groups)
    if k > 1:
        for tau in TAUS:
            found[f"g-pass@{k} of {tau:g}"] = over(lambda n, c, tau=tau: g_pass_at_k(n, c, k, tau))  # type: ignore[misc]
        found[f"mg-pass@{k}"] = over(lambda n, c: mean_g_pass_at_k(n, c, k))
    return found


def _of_score(groups: Groups, score: Score, ks: Sequence[int], votes: bool) -> dict[str, Figure]:
    """What choosing by a score comes to, over the problems all of whose samples have one."""
    scored: dict[str, list[float]] = {}
    for name, group in groups.items():
        values = [value for rollout in group if (value := score.of(rollout)) is not None]
        if len(values) == len(group):
            scored[name] = values
    found: dict[str, Figure] = {}
    for k in ks[1:]:
        kept = {
            name: best_of_k(values, [passes(v) for v in _verdicts(groups[name])], k)
            for name, values in scored.items()
            if len(values) >= k
        }
        if kept:
            found[f"best@{k} by {score.name}"] = _share(kept, groups)
    if found and votes and score.weight is not None:
        k, weight = ks[-1], score.weight
        won = {
            name: weighted_vote(groups[name], [weight(value) for value in values])
            for name, values in scored.items()
            if len(values) == k
        }
        if won:
            found[f"vote@{k} by {score.name}"] = _share(won, groups)
    return found


def _of_task(groups: Groups) -> dict[str, Figure]:
    """What the task counts itself, over the problems of which it says so.

    The share of all the things that were to be done. A problem weighs as much as the number of them per response.
    """
    done: dict[str, dict[str, list[list[bool]]]] = {}
    for problem, group in groups.items():
        for rollout in group:
            for name, each in _own(rollout).items():
                done.setdefault(name, {}).setdefault(problem, []).append(each)
    found = {}
    for name, problems in done.items():
        counts = np.array([sum(map(len, responses)) for responses in problems.values()], dtype=np.float64)
        shares = np.array([sum(map(sum, responses)) for responses in problems.values()]) / counts
        weights = counts / [len(responses) for responses in problems.values()]
        estimate = clustered(shares, counts, weights=weights, trust=1.5)
        found[name] = Figure(estimate.value, estimate.low, estimate.high, len(problems))
    return found


def _own(rollout: Rollout) -> dict[str, list[bool]]:
    """The figures of a verdict that have something to count. Raises DataError if they are not what they should be."""
    own = rollout.verdict.detail.get(OWN, {}) if rollout.verdict else {}
    lists = own.values() if isinstance(own, dict) else [None]
    if not all(isinstance(each, list) and all(isinstance(one, bool) for one in each) for each in lists):
        raise DataError(
            f"a verdict's detail[{OWN!r}] is no mapping of names to lists of booleans: {own!r:.80}",
            where=f"problem {rollout.problem.id}, sample {rollout.sample}",
            fix="Mend the task's verify, and judge the samples again",
        )
    return {name: each for name, each in own.items() if each}


def _of_responses(rollouts: Sequence[Rollout]) -> dict[str, Figure]:
    """What is said of all responses with a known number of tokens, right or wrong or not judged."""
    known: dict[str, list[Rollout]] = {}
    for rollout in rollouts:
        if rollout.length is not None and rollout.finish in ("stop", "length"):
            known.setdefault(rollout.problem.id, []).append(rollout)
    if not known:
        return {}
    cut = {name: fmean(r.finish == "length" for r in group) for name, group in known.items()}
    tokens = np.array([fmean(r.length or 0 for r in group) for group in known.values()])
    return {"truncated": _share(cut, known), "tokens": _mean(tokens)}


# ------------------------------------------------------------------------------------------------- intervals


def _share(values: Mapping[str, float], groups: Groups) -> Figure:
    samples = np.array([len(groups[name]) for name in values], dtype=np.float64)
    found = clustered(np.array(list(values.values()), dtype=np.float64), samples)
    return Figure(found.value, found.low, found.high, len(values))


def _mean(values: Floats) -> Figure:
    """Of what cannot be negative, with Student's interval; a single value has none, nor have values that all agree."""
    value = float(values.mean())
    if np.ptp(values) == 0.0:
        return Figure(value, None, None, len(values))
    half = t_quantile(0.975, len(values) - 1) * float(values.std(ddof=1)) / math.sqrt(len(values))
    return Figure(value, max(0.0, value - half), value + half, len(values))


def _pass_at_1(groups: Groups) -> Figure:
    """With both kinds of error."""
    verdicts = {name: _verdicts(group) for name, group in groups.items()}
    new = pass_at_1(verdicts)
    rates = np.array([fmean(map(passes, group)) for group in verdicts.values()])
    same = same_problems(rates, np.array([len(group) for group in verdicts.values()], dtype=np.float64))
    figure = Figure(new.value, new.low, new.high, len(groups))
    return replace(figure, same_low=same.low, same_high=same.high) if same else figure


def _judged(rollouts: Sequence[Rollout]) -> dict[str, list[Rollout]]:
    groups: dict[str, list[Rollout]] = {}
    for rollout in rollouts:
        if rollout.verdict is not None and rollout.verdict.score is not None:
            groups.setdefault(rollout.problem.id, []).append(rollout)
    if not groups:
        raise DataError(
            f"not one of {len(rollouts)} samples has a score",
            why="A pass rate of nothing would read as zero",
            fix="Look at the verdicts' reasons in the samples file",
        )
    return groups


def _verdicts(group: Sequence[Rollout]) -> list[Verdict]:
    return [rollout.verdict for rollout in group if rollout.verdict is not None]
