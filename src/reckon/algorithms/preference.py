"""Preference optimisation on pairs of right and wrong answers to the same prompt: DPO and NCA, offline or iterated.

With x = log pi(y) - log ref(y), the log-ratio of a whole response::

    DPO     -log sigmoid(beta (x_chosen - x_rejected))                                   arXiv 2305.18290 eq. 7
    NCA     -log s(r_chosen) - 0.5 log s(-r_chosen) - 0.5 log s(-r_rejected), r = beta x   arXiv 2402.05369
    + NLL   nll_coef * (-log pi(chosen) / len(chosen))                                   arXiv 2404.19733 eq. 2

A pair is two rows of the batch that are never separated (``unit`` 2): chosen, then rejected.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from math import lcm
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from reckon.algorithms import ops
from reckon.algorithms.base import Algorithm, Needs, Outputs, Reference, State
from reckon.algorithms.batch import Batch


class Preference(Algorithm):
    """Raise right answers over wrong ones, relative to a reference.

    Attributes:
        loss: ``dpo`` or ``nca``.
        beta: how strongly the policy is held to the reference.
        nll_coef: weight of the chosen responses' likelihood, per token, which keeps it from falling with the rejected.
        pairs_per_prompt: at most so many pairs of each prompt. A prompt without both outcomes gives none.
        reference: ``iteration`` makes each step a round of iterative DPO.
    """

    kind: Literal["preference"] = "preference"
    loss: Literal["dpo", "nca"] = "dpo"
    beta: float = Field(0.1, gt=0)
    nll_coef: float = Field(0.0, ge=0)
    pairs_per_prompt: int = Field(1, ge=1)
    reference: Reference = Reference()

    @property
    def needs(self) -> Needs:
        return Needs(group=True, reference=self.reference)

    def prepare(self, batch: Batch) -> Batch:
        """The pairs: right and finished against wrong, each answer in as few pairs as possible."""
        batch = batch.of_role("policy")
        right_N = batch.need("correct_N") >= 1
        chosen_N, rejected_N = right_N & ~batch.truncated_N, ~right_N
        rows: list[int] = []
        for group in batch.group_N.unique().tolist():
            member_N = batch.group_N == group
            chosen, rejected = ((member_N & side_N).nonzero().flatten().tolist() for side_N in (chosen_N, rejected_N))
            for pair in islice(_pairs(chosen, rejected), self.pairs_per_prompt):
                rows += pair
        pairs = batch.rows(torch.tensor(rows, dtype=torch.long))
        pairs.unit = 2
        return pairs

    def credit(self, batch: Batch, state: State) -> dict[str, float]:
        return {"pairs": len(batch) / 2}

    def weigh(self, batch: Batch) -> None:
        """Every pair counts the same, and so does every chosen response in the likelihood term."""
        batch.weight_S = ops.token_weights(batch.row_S, len(batch), "sequence_mean", sampled_S=batch.sampled_S)
        if self.nll_coef > 0:
            batch.imitate_S = 2 * self.nll_coef * batch.weight_S * (batch.row_S % 2 == 0)

    def objective(self, outputs: Outputs, batch: Batch, state: State) -> tuple[Tensor, dict[str, Tensor]]:
        logp_S = outputs.need("logp_S")
        # The weights of a sequence's tokens add up to 1 / N, so twice that is the share of a pair.
        weight_P = 2 * ops.sequence_sum(batch.need("weight_S"), batch.row_S, len(batch))[0::2]
        logp_N = ops.sequence_sum(logp_S, batch.row_S, len(batch), batch.sampled_S)
        reference_N = ops.sequence_sum(batch.need("logp_ref_S"), batch.row_S, len(batch), batch.sampled_S)
        reward_N = self.beta * (logp_N - reference_N)
        chosen_P, rejected_P = reward_N[0::2], reward_N[1::2]
        margin_P = chosen_P - rejected_P
        loss_P = ops.bradley_terry_loss(margin_P) if self.loss == "dpo" else ops.nca_loss(chosen_P, rejected_P)
        loss = (weight_P * loss_P).sum()
        logged = {
            "margin": (weight_P * margin_P).sum(),
            "preferred": (weight_P * (margin_P > 0)).sum(),
            "logp_chosen": (weight_P * logp_N[0::2]).sum(),
            "logp_rejected": (weight_P * logp_N[1::2]).sum(),
        }
        if batch.imitate_S is not None:
            likelihood = (batch.imitate_S * logp_S).sum()
            loss = loss - likelihood
            logged["nll"] = -likelihood / self.nll_coef
        return loss, {name: value.detach() for name, value in logged.items()}


def _pairs(chosen: list[int], rejected: list[int]) -> Iterator[tuple[int, int]]:
    """All pairs, walking both lists at once so that the first ones share no member longer than they must."""
    if not chosen or not rejected:
        return
    lap = lcm(len(chosen), len(rejected))
    for k in range(len(chosen) * len(rejected)):
        yield chosen[k % len(chosen)], rejected[(k + k // lap) % len(rejected)]
