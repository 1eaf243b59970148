"""How wrong the critic is."""

from __future__ import annotations

import torch
from torch import Tensor

from reckon.algorithms.ops.advantage import SAME_REWARD


def value_loss(
    value_S: Tensor, return_S: Tensor, value_old_S: Tensor | None = None, clip: float | None = None
) -> Tensor:
    """[S] (V - return)^2 / 2; with ``clip`` the larger of that and the same for V held within V_old +- clip.

    The second is the value clipping of PPO's published code (it is not in arXiv 1707.06347). A value that went further
    than ``clip`` from the old one gets no gradient, be it the right way.
    """
    error_S = (value_S - return_S) ** 2
    if clip is not None:
        if value_old_S is None:
            raise ValueError("value clipping needs the values before the update")
        held_S = value_old_S + (value_S - value_old_S).clamp(-clip, clip)
        error_S = torch.maximum(error_S, (held_S - return_S) ** 2)
    return error_S / 2


def explained_variance(value_S: Tensor, return_S: Tensor) -> float:
    """1 - Var(return - V) / Var(return): 1 is perfect, 0 no better than a constant. 0 where all returns are equal."""
    value_S, return_S = value_S.double(), return_S.double()
    if len(return_S) == 0 or return_S.max() - return_S.min() < SAME_REWARD:
        return 0.0
    return 1 - ((return_S - value_S).var(correction=0) / return_S.var(correction=0)).item()
