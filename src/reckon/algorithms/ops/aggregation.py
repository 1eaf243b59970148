"""What each token counts, and sums over the tokens of a sequence."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

AggregationKind = Literal["sequence_mean", "token_mean", "constant", "sequence_sum"]


def token_weights(
    row_S: Tensor,
    sequences: int,
    kind: AggregationKind,
    *,
    sampled_S: Tensor | None = None,
    constant: int | None = None,
) -> Tensor:
    """What each token counts, so that loss = sum_S(weight_S * loss_S). Call it on the whole optimiser batch.

    sequence_mean   1 / (N len_i)       GRPO, arXiv 2402.03300 eq. 3: short sequences weigh more per token
    token_mean      1 / sum(len)        DAPO, arXiv 2503.14476 eq. 8
    constant        1 / (N constant)    Dr. GRPO, arXiv 2503.20783: ``constant`` is the generation budget
    sequence_sum    1 / N               the policy gradient of whole sequences (REINFORCE)

    Tokens that were not sampled weigh 0, and a sequence without a sampled token is not counted in N.
    """
    live_S = torch.ones(len(row_S)) if sampled_S is None else sampled_S.float()
    length_N = torch.zeros(sequences).index_add_(0, row_S, live_S)
    count = (length_N > 0).sum().clamp(min=1)
    if kind == "sequence_mean":
        return live_S / (count * length_N.clamp(min=1)[row_S])
    if kind == "token_mean":
        return live_S / length_N.sum().clamp(min=1)
    if kind == "constant":
        if constant is None:
            raise ValueError("constant aggregation needs the generation budget")
        return live_S / (count * constant)
    return live_S / count


def sequence_sum(value_S: Tensor, row_S: Tensor, count: int, live_S: Tensor | None = None) -> Tensor:
    """[count] sum over the live tokens of each sequence; differentiable."""
    value_S = value_S if live_S is None else torch.where(live_S, value_S, 0.0)
    return value_S.new_zeros(count).index_add(0, row_S, value_S)
