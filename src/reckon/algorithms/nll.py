"""Maximum likelihood of given responses: pretraining on texts, and supervised fine-tuning."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from reckon.algorithms import ops
from reckon.algorithms.base import Algorithm, Outputs, State
from reckon.algorithms.batch import Batch


class NLL(Algorithm):
    """loss = sum_S weight_S * (-log pi(token)): the mean over all response tokens of the batch."""

    kind: Literal["nll"] = "nll"

    def weigh(self, batch: Batch) -> None:
        """Fill ``weight_S`` with one over the number of tokens."""
        batch.weight_S = ops.token_weights(batch.row_S, len(batch), "token_mean", sampled_S=batch.sampled_S)

    def objective(self, outputs: Outputs, batch: Batch, state: State) -> tuple[Tensor, dict[str, Tensor]]:
        """The mean negative log-likelihood in nats per token."""
        return -(batch.need("weight_S") * outputs.need("logp_S")).sum(), {}
