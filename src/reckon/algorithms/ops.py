"""The choices every policy-gradient method is made of, each a pure function (legend in :mod:`.batch`).

advantage    reward_N  -> advantage_N      who did better than expected
surrogate    ratio_S   -> objective_S      how far a token may be pushed
kl           logp_S    -> penalty_S        how far from the reference
aggregation  lengths   -> weight_S         what each token counts
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

LOG_RATIO_LIMIT = 20.0
"""Log-ratios are clamped to this before exp: e^20 is already beyond any use, e^89 is infinite in float32."""

SAME_REWARD = 1e-6
"""Rewards of a group closer than this are equal: its advantages are exactly zero, never rounding noise / std."""

AdvantageKind = Literal["group_mean", "group_std", "group_std_sample", "leave_one_out"]
AggregationKind = Literal["sequence_mean", "token_mean", "constant", "sequence_sum"]
KLKind = Literal["k1", "k2", "k3"]


def group_advantage(reward_N: Tensor, group_N: Tensor, kind: AdvantageKind, epsilon: float = 1e-6) -> Tensor:
    """Advantage of each sequence against its group (computed in float64).

    group_mean        r - mean(r)                    Dr. GRPO, arXiv 2503.20783 eq. 3
    group_std         (r - mean) / (std + epsilon)   GRPO, arXiv 2402.03300 sec. 4.1.2, population std
    group_std_sample  the same with the sample std (ddof 1), as torch.std computes it
    leave_one_out     r - mean of the others         RLOO, arXiv 2402.14740 eq. 8

    A group whose rewards are all equal gets exactly 0, and so does a group of one.
    """
    reward_N = reward_N.double()
    groups = int(group_N.max()) + 1 if len(group_N) else 0
    size_B = torch.bincount(group_N, minlength=groups).double()
    total_B = torch.zeros(groups, dtype=torch.float64).index_add_(0, group_N, reward_N)
    centred_N = reward_N - (total_B / size_B)[group_N]
    if kind == "leave_one_out":
        centred_N = centred_N * (size_B / (size_B - 1).clamp(min=1))[group_N]
    elif kind != "group_mean":
        square_B = torch.zeros(groups, dtype=torch.float64).index_add_(0, group_N, centred_N**2)
        freedom_B = size_B if kind == "group_std" else (size_B - 1).clamp(min=1)
        centred_N = centred_N / ((square_B / freedom_B).sqrt() + epsilon)[group_N]
    high_B = torch.full((groups,), -torch.inf, dtype=torch.float64).scatter_reduce_(0, group_N, reward_N, "amax")
    low_B = torch.full((groups,), torch.inf, dtype=torch.float64).scatter_reduce_(0, group_N, reward_N, "amin")
    return torch.where((high_B - low_B < SAME_REWARD)[group_N], 0.0, centred_N)


def importance_ratio(logp_S: Tensor, logp_old_S: Tensor) -> Tensor:
    """pi(token) / pi_old(token), with the log-ratio clamped to +-LOG_RATIO_LIMIT."""
    return (logp_S - logp_old_S).clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT).exp()


def clipped_surrogate(ratio_S: Tensor, advantage_S: Tensor, clip_low: float, clip_high: float) -> tuple[Tensor, Tensor]:
    """min(ratio A, clip(ratio, 1 - clip_low, 1 + clip_high) A), to be maximised; and where the clip was chosen.

    PPO, arXiv 1707.06347 eq. 7; ``clip_high`` > ``clip_low`` is DAPO's clip-higher, arXiv 2503.14476 sec. 3.1.
    """
    free_S = ratio_S * advantage_S
    held_S = ratio_S.clamp(1 - clip_low, 1 + clip_high) * advantage_S
    return torch.minimum(free_S, held_S), held_S < free_S


def kl_penalty(logp_S: Tensor, logp_ref_S: Tensor, kind: KLKind) -> Tensor:
    """Per-token estimate of KL(pi || ref) from a token sampled from pi, with x = logp - logp_ref.

    k1 = x, k2 = x^2 / 2, k3 = exp(-x) - 1 + x (J. Schulman, "Approximating KL divergence"; k3 is GRPO's, 2402.03300
    eq. 4). As a *loss* they differ: the gradient of k1 vanishes in expectation, that of k2 is the gradient of
    KL(pi || ref), that of k3 the gradient of KL(ref || pi).
    """
    x_S = logp_S - logp_ref_S
    if kind == "k1":
        return x_S
    if kind == "k2":
        return x_S**2 / 2
    return (-x_S).clamp(max=LOG_RATIO_LIMIT).exp() - 1 + x_S


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
