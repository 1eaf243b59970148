"""Losses on pairs of a chosen and a rejected response."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import logsigmoid


def dpo_loss(margin_P: Tensor) -> Tensor:
    """-log sigmoid(r_chosen - r_rejected), given that margin, with r = beta log(pi / ref): arXiv 2305.18290 eq. 7."""
    return -logsigmoid(margin_P)


def nca_loss(reward_chosen_P: Tensor, reward_rejected_P: Tensor) -> Tensor:
    """-log s(r_chosen) - log s(-r_chosen) / 2 - log s(-r_rejected) / 2, with r = beta log(pi / ref): arXiv 2402.05369.

    Each response is judged by itself, so that lowering both, which DPO allows, costs something.
    """
    return -logsigmoid(reward_chosen_P) - (logsigmoid(-reward_chosen_P) + logsigmoid(-reward_rejected_P)) / 2
