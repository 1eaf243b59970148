"""A language model's decoder with a scalar head: the critic of actor-critic methods."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn


class ValueModel(nn.Module):
    """A copy of ``model``'s decoder, and a linear head without bias that starts at zero.

    A zero head says 0 everywhere, so that before its first update a critic adds nothing to the advantages.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.decoder = copy.deepcopy(model.get_decoder())
        width = model.get_output_embeddings().weight.shape[1]
        self.head = nn.Linear(width, 1, bias=False, device=model.device, dtype=model.dtype)
        nn.init.zeros_(self.head.weight)

    @property
    def device(self) -> torch.device:
        return self.head.weight.device
