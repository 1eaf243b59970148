"""Regression of a critic on the returns that credit assignment left in the batch."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from reckon.algorithms import ops
from reckon.algorithms.base import Algorithm, Outputs, State
from reckon.algorithms.batch import Batch


class ValueRegression(Algorithm):
    """loss = mean over tokens of (V - return)^2 / 2, with PPO's value clipping around the old values if ``clip``."""

    kind: Literal["value"] = "value"
    clip: float | None = Field(None, gt=0)

    def weigh(self, batch: Batch) -> None:
        batch.weight_S = ops.token_weights(batch.row_S, len(batch), "token_mean", sampled_S=batch.sampled_S)

    def active(self, batch: Batch) -> Tensor:
        """bool [N]: sequences with a token that counts."""
        return torch.zeros(len(batch)).index_add_(0, batch.row_S, batch.need("weight_S")) != 0

    def objective(self, outputs: Outputs, batch: Batch, state: State) -> tuple[Tensor, dict[str, Tensor]]:
        loss_S = ops.value_loss(outputs.need("value_S"), batch.need("return_S"), batch.need("value_S"), self.clip)
        return (batch.need("weight_S") * loss_S).sum(), {}
