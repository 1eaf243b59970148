"""Filtered behaviour cloning: sample, keep what is good, imitate it. Nothing is ever pushed down.

RAFT (arXiv 2304.06767), ReST (2308.08998), ReST-EM (2312.06585), STaR (2203.14465) and expert iteration differ in
which samples they keep, in how often, and in where each round of imitation starts. With ``keep: right`` and no cap the
gradient is that of REINFORCE with a reward of 1 for a right answer, 0 for a wrong one, and no baseline.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from reckon.algorithms import ops
from reckon.algorithms.base import Algorithm, Outputs, State
from reckon.algorithms.batch import ROLES, Batch


class Cloning(Algorithm):
    """loss = mean over the kept responses' tokens of -log pi(token).

    Attributes:
        keep: of each prompt the sample with the highest reward (``best``, RAFT), those the verifier calls right
            (``right``), or those with a reward of at least ``thresholds[epoch]`` (``threshold``, ReST: one improve step
            per threshold).
        per_prompt: at most so many samples of a prompt, the first ones; without a cap easy prompts dominate.

    Truncated responses are never kept, and of identical ones only the first. Where none is kept there is no update.
    """

    kind: Literal["cloning"] = "cloning"
    keep: Literal["best", "right", "threshold"] = "right"
    per_prompt: int | None = Field(None, ge=1)
    thresholds: tuple[float, ...] = ()

    @model_validator(mode="after")
    def _one_threshold_per_epoch(self) -> Cloning:
        if len(self.thresholds) != (self.epochs if self.keep == "threshold" else 0):
            raise ValueError(
                "`thresholds` belongs to keep `threshold`, which needs one for each of its epochs: "
                f"{len(self.thresholds)} given, {self.epochs} epochs"
            )
        if list(self.thresholds) != sorted(self.thresholds):
            raise ValueError("`thresholds` must not fall: each improve step keeps fewer samples than the last")
        return self

    def prepare(self, batch: Batch) -> Batch:
        """Finished, distinct samples, those answered with a hint among them; the best, the right or all of them."""
        usable_N = ~batch.truncated_N & torch.isin(
            batch.role_N, torch.tensor([ROLES.index("policy"), ROLES.index("hinted")])
        )
        if self.keep == "right":
            usable_N &= batch.need("correct_N") >= 1
        seen: set[tuple[int, ...]] = set()
        taken: dict[int, list[int]] = {}
        reward_N = batch.need("reward_N")
        rows = usable_N.nonzero().flatten().tolist()
        # Stable, so that among equal rewards the first sample is the best.
        for row in sorted(rows, key=lambda row: -reward_N[row].item()) if self.keep == "best" else rows:
            group, text = int(batch.group_N[row]), tuple(batch.prompts[row] + [-1] + batch.responses[row])
            if text not in seen and len(taken.setdefault(group, [])) < self._most:
                taken[group].append(row)
                seen.add(text)
        return batch.rows(torch.tensor([row for rows in taken.values() for row in rows], dtype=torch.long))

    @property
    def _most(self) -> float:
        return 1 if self.keep == "best" else self.per_prompt or float("inf")

    def credit(self, batch: Batch, state: State) -> dict[str, float]:
        return {"kept": float(len(batch))}

    def select(self, batch: Batch, epoch: int) -> Batch:
        """All kept rows, or those over the epoch's threshold."""
        if self.keep != "threshold":
            return batch
        return batch.rows((batch.need("reward_N") >= self.thresholds[epoch]).nonzero().flatten())

    def weigh(self, batch: Batch) -> None:
        batch.weight_S = ops.token_weights(batch.row_S, len(batch), "token_mean", sampled_S=batch.sampled_S)

    def objective(self, outputs: Outputs, batch: Batch, state: State) -> tuple[Tensor, dict[str, Tensor]]:
        loss = -(batch.need("weight_S") * outputs.need("logp_S")).sum()
        return loss, {"nll": loss.detach()}
