"""What a token gains, to be maximised, and whether a clip holds it: every function returns (gain_S, clipped_S bool)."""

from __future__ import annotations

import torch
from torch import Tensor

from reckon.algorithms.ops.aggregation import sequence_sum


def clipped_surrogate(
    ratio_S: Tensor,
    advantage_S: Tensor,
    clip_low: float | None,
    clip_high: float | None,
    dual_clip: float | None = None,
) -> tuple[Tensor, Tensor]:
    """min(ratio A, clip(ratio, 1 - clip_low, 1 + clip_high) A), and where its gradient is 0 because of a clip.

    PPO, arXiv 1707.06347 eq. 7; ``clip_high`` > ``clip_low`` is DAPO's clip-higher, arXiv 2503.14476 sec. 3.1. None
    leaves a side open. That minimum falls without bound where A < 0 and the ratio grows; ``dual_clip`` c keeps it at
    c A or above (arXiv 1912.09729; INTELLECT-2's two-sided clipping, arXiv 2505.07291).
    """
    low, high = _bounds(clip_low, clip_high)
    free_S, held_S = ratio_S * advantage_S, ratio_S.clamp(low, high) * advantage_S
    gain_S, clipped_S = torch.minimum(free_S, held_S), held_S < free_S
    if dual_clip is not None:
        floor_S = dual_clip * advantage_S
        fallen_S = (advantage_S < 0) & (gain_S < floor_S)
        gain_S, clipped_S = torch.where(fallen_S, floor_S, gain_S), clipped_S | fallen_S
    return gain_S, clipped_S


def cispo(
    logp_S: Tensor, ratio_S: Tensor, advantage_S: Tensor, clip_low: float | None, clip_high: float | None
) -> tuple[Tensor, Tensor]:
    """clip(ratio, 1 - clip_low, 1 + clip_high) A logp with a constant ratio, and where the ratio was cut.

    CISPO, arXiv 2506.13585 eq. 4: no token loses its gradient. None leaves a side open.
    """
    ratio_S = ratio_S.detach()
    weight_S = ratio_S.clamp(*_bounds(clip_low, clip_high))
    return weight_S * advantage_S * logp_S, weight_S != ratio_S


def mirror_descent(
    logp_S: Tensor, logp_old_S: Tensor, advantage_S: Tensor, row_S: Tensor, tau: float, live_S: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """A logp_t - (tau / 2) x x_t, where x_t = logp_t - logp_old_t and x is its sum over the sequence's live tokens.

    Over the live tokens of a sequence this adds up to A log pi(y) - (tau / 2) log(pi(y) / pi_old(y))^2: Kimi k1.5's
    online mirror descent, arXiv 2501.12599 eq. 3. The square is of the whole sequence, not of each token. No clip.
    """
    x_S = logp_S - logp_old_S
    total_S = sequence_sum(x_S, row_S, len(row_S), live_S)[row_S]
    return advantage_S * logp_S - tau / 2 * total_S * x_S, torch.zeros_like(row_S, dtype=torch.bool)


def _bounds(clip_low: float | None, clip_high: float | None) -> tuple[float, float]:
    """The smallest and the largest ratio."""
    return -torch.inf if clip_low is None else 1 - clip_low, torch.inf if clip_high is None else 1 + clip_high
