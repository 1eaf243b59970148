"""How far the policy has moved since it sampled, and how far its sampler is from it."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from reckon.algorithms.ops.aggregation import sequence_sum

LOG_RATIO_LIMIT = 20.0
"""Log-ratios are clamped to this before exp: e^20 is already beyond any use, e^89 is infinite in float32."""

CorrectionKind = Literal["truncate", "mask"]
Level = Literal["token", "sequence"]


def importance_ratio(logp_S: Tensor, logp_old_S: Tensor) -> Tensor:
    """pi(token) / pi_old(token), with the log-ratio clamped to +-LOG_RATIO_LIMIT."""
    return _exp(logp_S - logp_old_S)


def sequence_ratio(logp_S: Tensor, logp_old_S: Tensor, row_S: Tensor, live_S: Tensor | None = None) -> Tensor:
    """[S] on every token the geometric mean of its sequence's live token ratios; gradients flow to all of them.

    GSPO, arXiv 2507.18071 eq. 7: s = (pi(y) / pi_old(y))^(1 / len y).
    """
    total_S = _of_sequence(logp_S - logp_old_S, row_S, live_S)
    length_S = _of_sequence(torch.ones_like(logp_old_S), row_S, live_S).clamp(min=1)
    return _exp(total_S / length_S)


@torch.no_grad()
def correction_weight(
    logp_old_S: Tensor,
    logp_roll_S: Tensor,
    row_S: Tensor,
    kind: CorrectionKind,
    level: Level,
    low: float,
    high: float,
    live_S: Tensor | None = None,
) -> Tensor:
    """[S] weights for tokens whose sampler was not exactly the policy: w = pi_old / pi_roll, without gradient.

    truncate   min(w, high)                     truncated importance sampling; biased where it cuts, never large
    mask       w in [low, high], otherwise 0    what is too far off teaches nothing

    At ``sequence`` level w is the product over the sequence's live tokens, which leaves any bounds with length: a
    mismatch of 0.01 nats per token is a weight of 1.65 after 50 tokens and of 148 after 500.
    """
    log_ratio_S = logp_old_S - logp_roll_S
    if level == "sequence":
        log_ratio_S = _of_sequence(log_ratio_S, row_S, live_S)
    weight_S = _exp(log_ratio_S)
    if kind == "truncate":
        return weight_S.clamp(max=high)
    return torch.where((weight_S < low) | (weight_S > high), 0.0, weight_S)


def _exp(log_ratio: Tensor) -> Tensor:
    return log_ratio.clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT).exp()


def _of_sequence(value_S: Tensor, row_S: Tensor, live_S: Tensor | None) -> Tensor:
    """[S] on every token the sum over its sequence's live tokens."""
    # No more sequences than tokens: a buffer of that size needs no count, for which a GPU would have to be waited for.
    return sequence_sum(value_S, row_S, len(row_S), live_S)[row_S]
