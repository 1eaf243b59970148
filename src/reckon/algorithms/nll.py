"""Maximum likelihood of given responses: pretraining on texts, and supervised fine-tuning."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from reckon.algorithms import ops
from reckon.algorithms.batch import Batch
from reckon.core.config import Strict


class NLL(Strict):
    """loss = sum_S weight_S * (-log pi(token)): the mean over all response tokens of the batch."""

    kind: Literal["nll"] = "nll"
    minibatches: Literal[1] = 1
    kl_coef: Literal[0] = 0

    @property
    def needs(self) -> frozenset[str]:
        return frozenset()

    def credit(self, batch: Batch) -> None:
        """Every token is as good as the next."""

    def weigh(self, batch: Batch) -> None:
        """Fill ``weight_S`` with one over the number of tokens."""
        batch.weight_S = ops.token_weights(batch.row_S, len(batch), "token_mean", sampled_S=batch.sampled_S)

    def active(self, batch: Batch) -> Tensor:
        """bool [N]: every sequence."""
        return torch.ones(len(batch), dtype=torch.bool)

    def objective(self, logp_S: Tensor, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The mean negative log-likelihood in nats per token."""
        return -(batch.need("weight_S") * logp_S).sum(), {}
