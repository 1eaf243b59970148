"""Training a process reward model: what it says at the end of each step is the log-odds of that step's label."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from reckon.algorithms import ops
from reckon.algorithms.base import Algorithm, Outputs, State
from reckon.algorithms.batch import Batch


class StepLabels(Algorithm):
    """loss = mean over step ends of the cross-entropy of sigmoid(score) with the label (arXiv 2312.08935 eq. 2).

    The labels, in [0, 1], are ``reward_S``; the tokens at which steps end are the ones with ``sampled_S``.
    """

    kind: Literal["step_labels"] = "step_labels"

    def weigh(self, batch: Batch) -> None:
        """Every step counts the same, however many its response has."""
        batch.weight_S = ops.token_weights(batch.row_S, len(batch), "token_mean", sampled_S=batch.need("sampled_S"))

    def objective(self, outputs: Outputs, batch: Batch, state: State) -> tuple[Tensor, dict[str, Tensor]]:
        score_S, label_S, weight_S = outputs.need("score_S"), batch.need("reward_S"), batch.need("weight_S")
        right_S = (score_S > 0) == (label_S > 0.5)
        return (weight_S * ops.label_loss(score_S, label_S)).sum(), {"labelled_right": (weight_S * right_S).sum()}
