"""The model a policy is held near, as :class:`reckon.algorithms.base.Reference` describes it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_model, save_model

from reckon.algorithms.base import Reference
from reckon.learn.forward import Policy


class ReferenceModel:
    """A frozen copy of the policy as it is now, which follows it as ``config`` says.

    Attributes:
        policy: the copy, as the learner sees a model.
    """

    def __init__(self, config: Reference, policy: Policy) -> None:
        self.config = config
        self.policy = Policy(copy.deepcopy(policy.model).requires_grad_(False), policy.temperature)
        self._since = 0

    @torch.no_grad()
    def follow(self, model: Any, updates: int) -> None:
        """Called after each step, with the policy's model and the number of its updates so far."""
        mine, its = self.policy.model.parameters(), model.parameters()
        if self.config.kind == "refreshed" and updates - self._since >= (self.config.every or 1):
            self._since = updates
            for old, new in zip(mine, its, strict=True):
                old.copy_(new)
        elif self.config.kind == "ema":
            for old, new in zip(mine, its, strict=True):
                old.lerp_(new, self.config.rate or 0.0)

    def save(self, folder: Path) -> dict[str, int]:
        """Write the weights to ``folder/reference.safetensors``; return the counter to keep beside."""
        save_model(self.policy.model, str(folder / "reference.safetensors"))
        return {"reference_from": self._since}

    def load(self, folder: Path, counters: dict[str, Any]) -> None:
        load_model(self.policy.model, folder / "reference.safetensors")
        self._since = counters["reference_from"]
