"""The best of several samples: its distribution, its expected score, and the reward that distils it."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def bond_reward(reward_N: Tensor, anchor_N2: Tensor) -> Tensor:
    """[N] -log 16 for a sample worse than both of its prompt's anchor samples, otherwise 0: J-BOND, arXiv 2407.14622.

    Over anchors, the mean for a sample that is no worse than a share u of them is -(1 - u)^2 log 16. It stands for the
    log u of the best-of-2 objective, and equals it at u = 1/2.
    """
    return torch.where(reward_N < anchor_N2.amin(dim=1), -math.log(16), torch.zeros_like(reward_N))


def best_of_n(pi_K: Tensor, n: int) -> Tensor:
    """[K] distribution of the best of ``n`` samples from ``pi_K``, whose K outcomes are sorted by increasing reward.

    The best is outcome k where all n samples are at most k but not all below it: F_k^n - F_{k-1}^n, with F the
    cumulative distribution (arXiv 2407.14622 writes that difference as a product).
    """
    return (pi_K.cumsum(0) ** n).diff(prepend=pi_K.new_zeros(1))


def expected_best_of(score_N: Tensor, k: int) -> float:
    """Unbiased estimate of the expected largest of ``k`` scores from N >= k scores.

    The i-th smallest is the largest of C(i - 1, k - 1) of the C(N, k) subsets. Raises ValueError if k is not in [1, N].
    """
    count = len(score_N)
    if not 1 <= k <= count:
        raise ValueError(f"the best of {k} cannot be estimated from {count} scores")
    subsets = [math.comb(i, k - 1) / math.comb(count, k) for i in range(count)]
    return (score_N.double().sort().values * torch.tensor(subsets, dtype=torch.float64)).sum().item()
