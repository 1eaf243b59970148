"""The model a policy is held near, as :class:`reckon.algorithms.base.Reference` describes it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from reckon.algorithms.base import Reference
from reckon.learn.forward import Policy


class ReferenceModel:
    """A frozen copy of the policy as it is now, which follows it as ``config`` says.

    What the policy itself never changes, the weights below its adapters, is shared and not copied.

    Attributes:
        policy: the copy, as the learner sees a model.
    """

    def __init__(self, config: Reference, policy: Policy) -> None:
        self.config = config
        model = policy.model
        own = [name for name, p in model.named_parameters() if p.requires_grad]
        shared = {id(p): p for p in model.parameters() if not p.requires_grad}
        self.policy = Policy(copy.deepcopy(model, shared).requires_grad_(False), policy.temperature)
        self._own = {name: self.policy.model.get_parameter(name) for name in own}
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
        """Write its own weights to ``folder/reference.safetensors``; return the counter to keep beside."""
        save_file(self._own, folder / "reference.safetensors")
        return {"reference_from": self._since}

    @torch.no_grad()
    def load(self, folder: Path, counters: dict[str, Any]) -> None:
        for name, value in load_file(folder / "reference.safetensors").items():
            self._own[name].copy_(value)
        self._since = counters["reference_from"]
