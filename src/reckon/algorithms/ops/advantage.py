"""Who did better than expected: of whole sequences by comparison, of tokens by a critic."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

SAME_REWARD = 1e-6
"""Rewards closer than this are equal: their advantages are exactly zero, never rounding noise / std."""

AdvantageKind = Literal[
    "none",
    "constant",
    "ema",
    "batch_mean",
    "group_mean",
    "group_std",
    "group_std_sample",
    "leave_one_out",
    "greedy",
    "length_weighted",
]


def sequence_advantage(
    reward_N: Tensor,
    group_N: Tensor,
    kind: AdvantageKind,
    *,
    epsilon: float = 1e-6,
    baseline: float | Tensor = 0.0,
    length_N: Tensor | None = None,
) -> Tensor:
    """[N] float64: how much better each sequence did than what it is compared with.

    none              r                            REINFORCE++, arXiv 2501.03262 (whitening follows)
    constant, ema     r - baseline                 REINFORCE, Williams 1992; ema: of the rewards *before* this batch
    greedy            r - baseline_N               ReMax, arXiv 2310.10505 alg. 1: the greedy answer's reward
    batch_mean        r - mean of all N
    group_mean        r - mean(r)                  Dr. GRPO, arXiv 2503.20783 eq. 3
    group_std         (r - mean) / (std + epsilon) GRPO, arXiv 2402.03300 sec. 4.1.2, population std
    group_std_sample  the same with the sample std (ddof 1), as torch.std computes it
    leave_one_out     r - mean of the others       RLOO, arXiv 2402.14740 eq. 8
    length_weighted   r - sum(l r) / sum(l)        OPO, arXiv 2505.23585, with l = ``length_N``

    Where rewards are compared with each other (the last six), a group (for batch_mean: a batch) whose rewards are all
    equal gets exactly 0, and so does a group of one.
    """
    reward_N = reward_N.double()
    if kind in ("none", "constant", "ema", "greedy"):
        return reward_N if kind == "none" else reward_N - baseline
    if kind == "batch_mean":
        group_N = torch.zeros_like(group_N)
    share_N = torch.ones_like(reward_N)
    if kind == "length_weighted":
        if length_N is None:
            raise ValueError("length_weighted needs the lengths")
        share_N = length_N.double()
    size_B, total_B = _group_sum(torch.ones_like(reward_N), group_N), _group_sum(share_N, group_N)
    centred_N = reward_N - (_group_sum(share_N * reward_N, group_N) / total_B)[group_N]
    if kind == "leave_one_out":
        centred_N = centred_N * (size_B / (size_B - 1).clamp(min=1))[group_N]
    elif kind in ("group_std", "group_std_sample"):
        freedom_B = size_B if kind == "group_std" else (size_B - 1).clamp(min=1)
        std_B = (_group_sum(centred_N**2, group_N) / freedom_B).sqrt()
        centred_N = centred_N / (std_B + epsilon)[group_N]
    return torch.where((_group_spread(reward_N, group_N) < SAME_REWARD)[group_N], 0.0, centred_N)


def live_group_scale(reward_N: Tensor, group_N: Tensor) -> float:
    """B / (B - M) for B groups of which M have equal rewards; 0 where no group has a signal.

    GPG's alpha, arXiv 2504.02546: it makes up for the groups that are in the denominators but teach nothing.
    """
    spread_B = _group_spread(reward_N.double(), group_N)[group_N.unique()]
    live = int((spread_B >= SAME_REWARD).sum())
    return len(spread_B) / live if live else 0.0


def difficulty_weight(
    advantage_N: Tensor,
    right_N: Tensor,
    group_N: Tensor,
    low: float = 0.4,
    high: float = 1.5,
    middle: float = 0.75,
    steepness: float = 10.0,
) -> Tensor:
    """[N] by what to multiply each advantage for the difficulty of its prompt: GRPO-LEAD, arXiv 2504.09696.

    w(p) = low + (high - low) / (1 + exp(steepness (p - middle))) of p, the share of right answers in the group, for
    advantages above 0, and w(1 - p) for the others: what counts is a right answer to a hard prompt, and a wrong one to
    an easy prompt. A factor on the *rewards* of a group would vanish where advantages are divided by their std.
    """
    right_N = right_N.double()
    share_B = _group_sum(right_N, group_N) / _group_sum(torch.ones_like(right_N), group_N)
    surprise_N = torch.where(advantage_N > 0, share_B[group_N], 1 - share_B[group_N])
    return low + (high - low) * torch.sigmoid(steepness * (middle - surprise_N))


def whiten(value_S: Tensor, live_S: Tensor | None = None, sample: bool = False) -> Tensor:
    """(x - mean) / std over the live tokens of the whole batch, 0 on the others; float64.

    ``sample`` takes the sample std (ddof 1). All tokens equal, or only one: exactly 0, never rounding noise / std.
    REINFORCE++, arXiv 2501.03262; Open-Reasoner-Zero, arXiv 2503.24290.
    """
    live_S = torch.ones_like(value_S, dtype=torch.bool) if live_S is None else live_S
    value_L = value_S.double()[live_S]
    white_S = torch.zeros_like(value_S, dtype=torch.float64)
    if len(value_L) < 2 or value_L.max() - value_L.min() < SAME_REWARD:
        return white_S
    white_S[live_S] = (value_L - value_L.mean()) / value_L.std(correction=int(sample))
    return white_S


def suffix_sum(value_S: Tensor, row_S: Tensor, decay_N: Tensor | float = 1.0) -> Tensor:
    """[S] sum over i >= t of decay^(i - t) value_i, within each sequence. ``decay_N`` is one number per sequence."""
    length_N = torch.bincount(row_S)
    # Longest first, so that the sequences with a token k places before their end are the first few.
    order_N = length_N.argsort(descending=True, stable=True)
    last_N = (length_N.cumsum(0) - 1)[order_N]
    reach_K = torch.bincount(length_N, minlength=1).flip(0).cumsum(0).flip(0)[1:].tolist()
    decay_N = torch.as_tensor(decay_N, dtype=value_S.dtype, device=value_S.device).expand(len(length_N))[order_N]
    sum_S, carry_N = torch.zeros_like(value_S), value_S.new_zeros(len(length_N))
    for k, count in enumerate(reach_K):
        token_N = last_N[:count] - k
        carry_N = value_S[token_N] + decay_N[:count] * carry_N[:count]
        sum_S[token_N] = carry_N
    return sum_S


def gae(reward_S: Tensor, value_S: Tensor, row_S: Tensor, lam_N: Tensor | float, gamma: float = 1.0) -> Tensor:
    """[S] generalised advantage estimates, arXiv 1506.02438 eq. 16; lambda may be one number per sequence.

    delta_t = r_t + gamma V_{t+1} - V_t and A_t = delta_t + gamma lambda A_{t+1}, where V and A are 0 after a sequence's
    last token. The returns with the same lambda are A + V.
    """
    ahead_S = value_S.roll(-1)
    ahead_S[_last_token(row_S)] = 0.0
    return suffix_sum(reward_S + gamma * ahead_S - value_S, row_S, gamma * lam_N)


def length_adaptive_lambda(length_N: Tensor, alpha: float) -> Tensor:
    """[N] 1 - 1 / (alpha l), within [0, 1], hence 0 for at most 1 / alpha tokens: VAPO, arXiv 2504.05118."""
    return (1 - 1 / (alpha * length_N.double())).clamp(0, 1)


def at_last_token(value_N: Tensor, row_S: Tensor) -> Tensor:
    """[S] each sequence's value on its last token, 0 elsewhere."""
    value_S = value_N.new_zeros(len(row_S))
    value_S[_last_token(row_S)] = value_N
    return value_S


def _last_token(row_S: Tensor) -> Tensor:
    """[N] index of each sequence's last token."""
    return torch.bincount(row_S).cumsum(0) - 1


def _group_sum(value_N: Tensor, group_N: Tensor) -> Tensor:
    """[B] sums by group."""
    groups = int(group_N.max()) + 1 if len(group_N) else 0
    return value_N.new_zeros(groups).index_add_(0, group_N, value_N)


def _group_spread(value_N: Tensor, group_N: Tensor) -> Tensor:
    """[B] largest minus smallest value of each group."""
    groups = int(group_N.max()) + 1 if len(group_N) else 0
    high_B = value_N.new_full((groups,), -torch.inf).scatter_reduce_(0, group_N, value_N, "amax")
    low_B = value_N.new_full((groups,), torch.inf).scatter_reduce_(0, group_N, value_N, "amin")
    return high_B - low_B
