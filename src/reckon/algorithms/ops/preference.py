"""Losses on pairs of a chosen and a rejected response, and on responses with a label."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid


def bradley_terry_loss(margin_P: Tensor) -> Tensor:
    """-log sigmoid(r_chosen - r_rejected), given that margin: -log P(chosen beats rejected), Bradley and Terry (1952).

    With r a reward model's score it trains that model (arXiv 2203.02155 eq. 1); with r = beta log(pi / ref) it is DPO
    (arXiv 2305.18290 eq. 7).
    """
    return -logsigmoid(margin_P)


def nca_loss(reward_chosen_P: Tensor, reward_rejected_P: Tensor) -> Tensor:
    """-log s(r_chosen) - log s(-r_chosen) / 2 - log s(-r_rejected) / 2, with r = beta log(pi / ref): arXiv 2402.05369.

    Each response is judged by itself, so that lowering both, which DPO allows, costs something.
    """
    return -logsigmoid(reward_chosen_P) - (logsigmoid(-reward_chosen_P) + logsigmoid(-reward_rejected_P)) / 2


def label_loss(score_N: Tensor, label_N: Tensor) -> Tensor:
    """-y log sigmoid(score) - (1 - y) log sigmoid(-score): the cross-entropy of log-odds with labels y in [0, 1]."""
    return binary_cross_entropy_with_logits(score_N, label_N.to(score_N.dtype), reduction="none")
