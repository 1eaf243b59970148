"""Batches small enough to compute on paper. FIX-A is one group of four: rewards 1, 0, 0, 0 and lengths 2, 4, 3, 1."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from reckon.algorithms.base import Algorithm, Outputs, State
from reckon.algorithms.batch import Batch
from reckon.core.records import FinishReason, Problem, Role, Rollout, Verdict

FIX_A = (("a", 2, 1.0), ("a", 4, 0.0), ("a", 3, 0.0), ("a", 1, 0.0))
"""Problem, length and reward of each attempt."""


def attempt(
    problem: str,
    length: int,
    reward: float,
    *,
    right: bool | None = None,
    finish: FinishReason = "stop",
    role: Role = "policy",
    token: int | None = None,
    logp: list[float] | None = None,
    sampled: list[bool] | None = None,
) -> Rollout:
    """A rollout of equal tokens; ``right`` is by default whether it has any reward, ``token`` its length."""
    return Rollout(
        task="toy",
        problem=Problem(problem, "?", None),
        sample=0,
        prompt="?",
        prompt_ids=[1],
        response="",
        response_ids=[length if token is None else token] * length,
        logp=[-1.0] * length if logp is None else logp,
        finish=finish,
        seed=0,
        role=role,
        sampled=sampled,
        verdict=Verdict(float(reward > 0 if right is None else right)),
        reward=reward,
    )


def attempts(*rows: tuple[str, int, float]) -> list[Rollout]:
    return [attempt(*row) for row in rows]


def credited(algorithm: Algorithm, rollouts: list[Rollout], **columns: list[float]) -> Batch:
    """The prepared batch with credit assigned; ``columns`` are filled in before it."""
    batch = algorithm.prepare(Batch.of(rollouts))
    for name, values in columns.items():
        setattr(batch, name, torch.tensor(values))
    algorithm.credit(batch, {})
    return batch


@dataclass
class Update:
    """What an optimiser update would see: the loss, its gradient to every token's log-prob, and the figures."""

    loss: float
    grad_S: Tensor
    logged: dict[str, float]


def update(
    algorithm: Algorithm,
    batch: Batch,
    logp: list[float] | None = None,
    entropy: list[float] | None = None,
    state: State | None = None,
    split: bool = False,
) -> Update:
    """Weigh the batch and differentiate its loss, at the old log-probs or at others; ``split``: one unit at a time."""
    algorithm.weigh(batch)
    logp_S = batch.need("logp_old_S").double().clone() if logp is None else torch.tensor(logp, dtype=torch.float64)
    logp_S.requires_grad_()
    entropy_S = None if entropy is None else torch.tensor(entropy)
    loss, logged = 0.0, dict[str, float]()
    units = torch.arange(len(batch)).split(batch.unit) if split else [torch.arange(len(batch))]
    for rows in units:
        tokens = torch.isin(batch.row_S, rows)
        outputs = Outputs(logp_S=logp_S[tokens], entropy_S=None if entropy_S is None else entropy_S[tokens])
        part, figures = algorithm.objective(outputs, batch.rows(rows), state or {})
        part.backward()
        loss += part.item()
        for name, value in figures.items():
            logged[name] = logged.get(name, 0.0) + value.item()
    assert logp_S.grad is not None
    return Update(loss, logp_S.grad, logged)
