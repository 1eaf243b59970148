"""What an algorithm is: a frozen config, and the pure functions the training loop and the learner call on it.

A step goes through them in this order (legend in :mod:`.batch`)::

    prepare     which rows train, and what the other rows tell about them
    credit      how much each token earned: advantages, returns              needs the columns in ``needs``
    select      the rows of one pass over the batch
    weigh       what each token counts in one optimiser batch
    objective   the loss of one micro-batch, and what to log                 needs the model's outputs
    adapt       the state after the step: running baselines, coefficients that follow a target
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from reckon.algorithms.batch import Batch
from reckon.core.config import Strict

State = dict[str, float]
"""What an algorithm remembers from step to step; the loop keeps it in the checkpoint."""


@dataclass
class Outputs:
    """What a model says of a micro-batch; None is what was not asked for.

    Attributes:
        logp_S: log-probability of each token (nats), at the sampling temperature.
        entropy_S: entropy (nats) of the full distribution each token was drawn from.
        value_S: the critic's estimate before each token.
        score_N: a reward model's score of each sequence.
        score_S: a process reward model's score of each sequence up to and with each token.
    """

    logp_S: Tensor | None = None
    entropy_S: Tensor | None = None
    value_S: Tensor | None = None
    score_N: Tensor | None = None
    score_S: Tensor | None = None

    def need(self, column: Literal["logp_S", "entropy_S", "value_S", "score_N", "score_S"]) -> Tensor:
        """The named output, which the algorithm declared in its ``needs``."""
        value: Tensor | None = getattr(self, column)
        assert value is not None, f"the model was not asked for {column}"
        return value


class Reference(Strict):
    """The model that a policy is held near.

    Attributes:
        kind: ``initial`` is the model the run started from; ``refreshed`` becomes the policy every ``every`` updates
            (DeepSeek-R1); ``iteration`` is the policy at the start of each step, which needs no second model; ``ema``
            follows the policy, moving the share ``rate`` of the way at each step.
    """

    kind: Literal["initial", "refreshed", "iteration", "ema"] = "initial"
    every: int | None = Field(None, ge=1)
    rate: float | None = Field(None, gt=0, le=1)

    @model_validator(mode="after")
    def _complete(self) -> Reference:
        for name, kind in (("every", "refreshed"), ("rate", "ema")):
            if (getattr(self, name) is not None) != (self.kind == kind):
                raise ValueError(f"a reference has `{name}` if and only if its kind is {kind}")
        return self


class Critic(Strict):
    """A learned value function: a copy of the initial model with a scalar head, and its own optimiser.

    Attributes:
        lr: its learning rate; the other settings are those of ``optim``.
        updates: optimiser updates on each collected batch, one pass in so many parts (Open-Reasoner-Zero: 12).
        pretrain_steps: first steps in which the critic alone learns (VC-PPO, arXiv 2503.01491: value pretraining).
        lam: lambda of its targets; decoupled from the policy's (VC-PPO: 1, so that targets are returns).
        clip: largest change of a value that is rewarded with a gradient (PPO's value clipping); None: no limit.
    """

    lr: float = Field(5e-6, gt=0)
    updates: int = Field(1, ge=1)
    pretrain_steps: int = Field(0, ge=0)
    lam: float = Field(1.0, ge=0, le=1)
    clip: float | None = Field(None, gt=0)


@dataclass(frozen=True)
class Needs:
    """What must be there before an algorithm can be called; recipes that cannot give it are refused.

    Attributes:
        group: at least two samples of each prompt.
        trainer_logp: ``logp_old_S`` recomputed by the trainer, beside the sampler's ``logp_roll_S``.
        reference: ``logp_ref_S`` under this model.
        critic: ``value_S``, and a critic trained on ``return_S``.
        greedy: one greedy response per prompt.
        anchor: two responses per prompt sampled from the reference model.
        entropy: the policy's entropy at each token.
    """

    group: bool = False
    trainer_logp: bool = False
    reference: Reference | None = None
    critic: Critic | None = None
    greedy: bool = False
    anchor: bool = False
    entropy: bool = False


class Algorithm(Strict, ABC):
    """Base of every algorithm; a new one overrides what it does differently.

    Attributes:
        epochs: passes over each collected batch.
        minibatches: optimiser updates of one pass, each on its part of the batch.
        restart: what begins anew at each step: nothing, the optimiser's moments (k1.5), or the moments and the weights,
            which return to the initial model's (ReST-EM, STaR).
    """

    epochs: int = Field(1, ge=1)
    minibatches: int = Field(1, ge=1)
    restart: Literal["nothing", "optimizer", "model"] = "nothing"

    @property
    def needs(self) -> Needs:
        return Needs()

    @property
    def updates(self) -> int:
        """Optimiser updates of one step."""
        return self.epochs * self.minibatches

    def prepare(self, batch: Batch) -> Batch:
        """The rows to train on, before any column is filled: here the policy's own samples."""
        return batch.of_role("policy")

    def credit(self, batch: Batch, state: State) -> dict[str, float]:
        """Fill in what each token earned, for a whole step. Returns figures to log."""
        return {}

    def select(self, batch: Batch, epoch: int) -> Batch:
        """The rows of pass number ``epoch`` (0-based)."""
        return batch

    @abstractmethod
    def weigh(self, batch: Batch) -> None:
        """Fill ``weight_S`` (and ``imitate_S``) for one optimiser batch."""

    def active(self, batch: Batch) -> Tensor:
        """bool [N]: rows whose gradient is not identically zero; the others need no forward pass."""
        return torch.ones(len(batch), dtype=torch.bool)

    @abstractmethod
    def objective(self, outputs: Outputs, batch: Batch, state: State) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of one micro-batch (a scalar, already divided by the global denominators), and figures to log.

        Both add up over the micro-batches of an optimiser batch.
        """

    def adapt(self, state: State, row: Mapping[str, Any]) -> None:
        """Update the state after a step, given what the step logged."""
