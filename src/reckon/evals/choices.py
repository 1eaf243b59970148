"""One answer out of many samples: by a score of each, or by votes that scores weigh. Expected values, nothing drawn."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from reckon.core.records import Rollout
from reckon.evals.metrics import passes

LABEL = "label"
"""The part under which a sample keeps the verdict that it was published with; no score to choose by."""

_VERDICTS = frozenset({LABEL, "accuracy"})
"""Parts that say whether the response is right: choosing by them would be choosing by the gold answer."""


@dataclass(frozen=True)
class Score:
    """Something that says which of several responses to take.

    Attributes:
        of: the score of a response, higher is better; None where it has none.
        weight: from a score to the weight of a vote, positive; None: it is not fit for voting.
    """

    name: str
    of: Callable[[Rollout], float | None]
    weight: Callable[[float], float] | None


def scores_of(rollouts: Sequence[Rollout]) -> list[Score]:
    """What the responses can be chosen by: their stored parts, their likelihood, their brevity.

    A stored score weighs a vote as it is if all lie in [0, 1], as those of process reward models do; else by the
    logistic function, which makes a Bradley-Terry reward a chance. A likelihood is the geometric mean of its tokens'.
    Brevity counts tokens, or characters where not every response's tokens have been counted.
    """
    known = (name for rollout in rollouts for name, value in rollout.parts.items() if value is not None)
    names = dict.fromkeys(name for name in known if name not in _VERDICTS)
    found = [_stored(name, rollouts) for name in names]
    if any(rollout.logp for rollout in rollouts):
        found.append(Score("likelihood", _likelihood, lambda score: score))
    in_tokens = all(rollout.length for rollout in rollouts)
    found.append(Score("brevity", lambda r: -float((r.length or 0) if in_tokens else len(r.response)), None))
    return found


def _stored(name: str, rollouts: Sequence[Rollout]) -> Score:
    values = [value for rollout in rollouts if (value := rollout.parts.get(name)) is not None]
    shares = min(values) >= 0.0 and max(values) <= 1.0
    return Score(name, lambda rollout: rollout.parts.get(name), (lambda score: score) if shares else _logistic)


def _likelihood(rollout: Rollout) -> float | None:
    return math.exp(math.fsum(rollout.logp) / len(rollout.logp)) if rollout.logp else None


def _logistic(value: float) -> float:
    return 1.0 / (1.0 + math.exp(-value)) if value >= 0.0 else math.exp(value) / (1.0 + math.exp(value))


def best_of_k(scores: Sequence[float], passed: Sequence[bool], k: int) -> float:
    """Chance that the best-scored of k samples passes, drawn from these without replacement. Exact.

    The best of a draw is the i-th of all n, in falling order of score from 0, with chance ``C(n - 1 - i, k - 1) /
    C(n, k)``. Samples with equal scores share the chances of their places.
    """
    n = len(scores)
    if not 1 <= k <= n:
        raise ValueError(f"best-of-k needs 1 <= k <= {n} samples, got {k}")
    order = sorted(range(n), key=lambda place: -scores[place])
    total, start = 0.0, 0
    while start < n:
        end = start + 1
        while end < n and scores[order[end]] == scores[order[start]]:
            end += 1
        chance = sum(math.comb(n - 1 - rank, k - 1) for rank in range(start, end)) / math.comb(n, k)
        total += chance * sum(passed[place] for place in order[start:end]) / (end - start)
        start = end
    return total


def weighted_vote(rollouts: Sequence[Rollout], weights: Sequence[float]) -> float:
    """What the answer with the largest sum of weights is worth: the share of its samples that pass.

    Samples vote by what their verdicts say was extracted; the ones that say nothing do not vote. Answers that tie
    share, and without any vote it is 0.
    """
    sums: dict[str, float] = {}
    passing: dict[str, list[bool]] = {}
    for rollout, weight in zip(rollouts, weights, strict=True):
        verdict = rollout.verdict
        if verdict is not None and verdict.extracted is not None:
            sums[verdict.extracted] = sums.get(verdict.extracted, 0.0) + weight
            passing.setdefault(verdict.extracted, []).append(passes(verdict))
    if not sums:
        return 0.0
    most = max(sums.values())
    winners = [answer for answer, total in sums.items() if math.isclose(total, most, rel_tol=1e-12)]
    return sum(sum(passing[answer]) / len(passing[answer]) for answer in winners) / len(winners)
