"""Group-relative policy optimisation: the published form and the modern default, as presets of independent choices.

The loss, in one line (legend in :mod:`.batch`)::

    loss = sum_S weight_S * ( -min(ratio_S A_S, clip(ratio_S, 1 - clip_low, 1 + clip_high) A_S) + kl_coef * kl_S )

with ratio = pi / pi_old, A the group-relative advantage and ``weight`` the aggregation. Everything a preset differs in
is a field of :class:`GRPO`.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from reckon.algorithms import ops
from reckon.algorithms.batch import Batch
from reckon.core.config import Strict


class GRPO(Strict):
    """GRPO and its relatives. The defaults are the modern form: token-mean, clip-higher, no KL.

    Attributes:
        advantage, aggregation, kl: see :mod:`reckon.algorithms.ops`.
        clip_low, clip_high: the ratio is clipped to [1 - clip_low, 1 + clip_high].
        kl_coef: weight of the KL penalty in the loss (beta); 0 needs no reference model.
        reference_refresh: copy the policy into the reference every this many updates; None keeps the first one.
        epsilon: added to the group's standard deviation.
        minibatches: optimiser updates per collected batch. Beyond the first, tokens are off-policy and clipping acts.
        constant: the divisor of ``constant`` aggregation, in tokens.
    """

    kind: Literal["grpo"] = "grpo"
    advantage: ops.AdvantageKind = "group_std"
    aggregation: ops.AggregationKind = "token_mean"
    clip_low: float = Field(0.2, ge=0)
    clip_high: float = Field(0.28, ge=0)
    kl: ops.KLKind = "k3"
    kl_coef: float = Field(0.0, ge=0)
    reference_refresh: int | None = Field(None, ge=1)
    epsilon: float = Field(1e-6, ge=0)
    minibatches: int = Field(1, ge=1)
    constant: int | None = Field(None, ge=1)

    @model_validator(mode="after")
    def _possible(self) -> GRPO:
        if self.aggregation == "constant" and self.constant is None:
            raise ValueError("aggregation 'constant' needs `constant`, the generation budget in tokens")
        if self.reference_refresh is not None and self.kl_coef == 0:
            raise ValueError("reference_refresh without kl_coef refreshes a reference that nothing uses")
        return self

    @property
    def needs(self) -> frozenset[str]:
        """Batch columns that must be filled in before :meth:`objective`."""
        columns = {"reward_N", "logp_old_S"}
        return frozenset(columns | {"logp_ref_S"} if self.kl_coef > 0 else columns)

    def credit(self, batch: Batch) -> None:
        """Fill ``advantage_S``: the group-relative advantage of its sequence for every token."""
        advantage_N = ops.group_advantage(batch.need("reward_N"), batch.group_N, self.advantage, self.epsilon)
        batch.advantage_S = advantage_N.float()[batch.row_S]

    def weigh(self, batch: Batch) -> None:
        """Fill ``weight_S`` for one optimiser batch."""
        batch.weight_S = ops.token_weights(
            batch.row_S, len(batch), self.aggregation, sampled_S=batch.sampled_S, constant=self.constant
        )

    def active(self, batch: Batch) -> Tensor:
        """bool [N]: sequences whose gradient is not identically zero; the others need no forward pass."""
        if self.kl_coef > 0:
            return torch.ones(len(batch), dtype=torch.bool)
        credit_S = (batch.need("advantage_S") * batch.need("weight_S")).abs()
        # Not "> 0": a NaN must reach the loss, where the finite check sees it.
        return torch.zeros(len(batch)).index_add_(0, batch.row_S, credit_S) != 0

    def objective(self, logp_S: Tensor, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss to minimise (a scalar, already divided by the global denominator) and sums to log.

        The logged values are sums over this micro-batch weighted by ``weight_S``: they add up over micro-batches, and
        the learner divides them by the sum of the weights.
        """
        weight_S = batch.need("weight_S")
        ratio_S = ops.importance_ratio(logp_S, batch.need("logp_old_S"))
        gain_S, clipped_S = ops.clipped_surrogate(ratio_S, batch.need("advantage_S"), self.clip_low, self.clip_high)
        loss_S = -gain_S
        logged = {"clip_fraction": (weight_S * clipped_S).sum().detach()}
        if self.kl_coef > 0:
            penalty_S = ops.kl_penalty(logp_S, batch.need("logp_ref_S"), self.kl)
            loss_S = loss_S + self.kl_coef * penalty_S
            logged["kl_ref"] = (weight_S * penalty_S).sum().detach()
        return (weight_S * loss_S).sum(), logged


PRESETS: dict[str, GRPO] = {
    # DeepSeekMath, arXiv 2402.03300 eq. 3 and sec. 4.2: beta 0.04, one update per batch; it states no clip range.
    "grpo": GRPO(aggregation="sequence_mean", clip_high=0.2, kl_coef=0.04),
    # DeepSeek-R1, arXiv 2501.12948 (Nature version): eps 10, beta 0.001, the reference reset every 400 steps, and
    # 16 minibatches of each rollout of 8,192 outputs.
    "r1": GRPO(
        aggregation="sequence_mean", clip_low=10, clip_high=10, kl_coef=0.001, reference_refresh=400, minibatches=16
    ),
    # The modern default: DAPO's token mean and clip-higher (arXiv 2503.14476), no KL, one update per batch.
    "modern": GRPO(),
}
"""Named forms of :class:`GRPO`; a recipe's ``preset`` names one and its other keys override single choices."""
