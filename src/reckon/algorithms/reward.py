"""Training a reward model: on pairs of a better and a worse response, or on responses labelled one by one.

A reward model says one number of a whole sequence, ``score_N``. DeepSeek-R1 trains its helpfulness model on pairs
and its harmlessness model on labels (arXiv 2501.12948v2, sec. 3.1).
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from reckon.algorithms import ops
from reckon.algorithms.base import Algorithm, Outputs, State
from reckon.algorithms.batch import Batch


class BradleyTerry(Algorithm):
    """loss = mean over pairs of -log sigmoid(score_chosen - score_rejected). Rows: chosen, rejected, chosen, ..."""

    kind: Literal["bradley_terry"] = "bradley_terry"

    def prepare(self, batch: Batch) -> Batch:
        pairs = super().prepare(batch)
        pairs.unit = 2
        return pairs

    def weigh(self, batch: Batch) -> None:
        """Every pair counts the same, whatever the lengths of its responses."""
        batch.weight_S = ops.token_weights(batch.row_S, len(batch), "sequence_mean")

    def objective(self, outputs: Outputs, batch: Batch, state: State) -> tuple[Tensor, dict[str, Tensor]]:
        score_N = outputs.need("score_N")
        # The weights of a sequence's tokens add up to 1 / N, so twice that is the share of a pair.
        weight_P = 2 * ops.sequence_sum(batch.need("weight_S"), batch.row_S, len(batch))[0::2]
        margin_P = score_N[0::2] - score_N[1::2]
        logged = {
            "margin": (weight_P * margin_P).sum().detach(),
            # A tie is half right: so is a model that says nothing.
            "preferred": (weight_P * ((margin_P > 0) + 0.5 * (margin_P == 0))).sum(),
        }
        return (weight_P * ops.bradley_terry_loss(margin_P)).sum(), logged


class Pointwise(Algorithm):
    """loss = mean over responses of the cross-entropy of sigmoid(score) with their label, 0 or 1 (``reward_N``)."""

    kind: Literal["pointwise"] = "pointwise"

    def weigh(self, batch: Batch) -> None:
        """Every response counts the same, whatever its length."""
        batch.weight_S = ops.token_weights(batch.row_S, len(batch), "sequence_mean")

    def objective(self, outputs: Outputs, batch: Batch, state: State) -> tuple[Tensor, dict[str, Tensor]]:
        score_N, label_N = outputs.need("score_N"), batch.need("reward_N")
        weight_N = ops.sequence_sum(batch.need("weight_S"), batch.row_S, len(batch))
        right_N = (score_N > 0) == (label_N > 0.5)
        return (weight_N * ops.label_loss(score_N, label_N)).sum(), {"labelled_right": (weight_N * right_N).sum()}
