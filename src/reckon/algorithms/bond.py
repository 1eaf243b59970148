"""J-BOND (arXiv 2407.14622, alg. 2): distil the best of two samples of a slowly moving anchor into the policy.

Of each prompt there are policy samples y and two anchor samples. The loss is a Jeffreys divergence to the anchor's
best-of-2 distribution: its forward part imitates the better anchor sample, its backward part is a policy gradient::

    loss = (1 - balance) * mean over prompts of -log pi(better anchor sample)
           - balance * mean over policy samples of A log pi(y)
    A    = R - mean of the batch's R,   R = bond_reward(y) - (1 + gamma) * log(pi(y) / anchor(y))
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from reckon.algorithms import ops
from reckon.algorithms.base import Algorithm, Needs, Outputs, Reference, State
from reckon.algorithms.batch import ROLES, Batch


class JBond(Algorithm):
    """J-BOND.

    Attributes:
        balance: share of the backward (policy-gradient) part.
        gamma: additional weight of the divergence from the anchor, which slows the policy down.
        anchor: the model sampled from and held to: a moving average of the policy.
    """

    kind: Literal["bond"] = "bond"
    balance: float = Field(0.5, ge=0, le=1)
    gamma: float = Field(0.0, ge=0)
    anchor: Reference = Reference(kind="ema", rate=0.02)

    @property
    def needs(self) -> Needs:
        return Needs(reference=self.anchor, anchor=True)

    def prepare(self, batch: Batch) -> Batch:
        """Policy samples and anchor samples of the prompts that have both anchors."""
        anchor_N = batch.role_N == ROLES.index("anchor")
        count_B = torch.bincount(batch.group_N[anchor_N], minlength=len(batch))
        keep_N = (count_B[batch.group_N] == 2) & (anchor_N | (batch.role_N == ROLES.index("policy")))
        order_N = batch.group_N.argsort(stable=True)
        return batch.rows(order_N[keep_N[order_N]])

    def credit(self, batch: Batch, state: State) -> dict[str, float]:
        """Fill ``advantage_S`` of policy samples; of two anchor samples the better one has 1 and the other 0."""
        reward_N, anchor_N = batch.need("reward_N").double(), batch.role_N == ROLES.index("anchor")
        # Rows lie in the order of their groups, so the anchor rows come in pairs, one for each group in turn.
        reward_P2 = reward_N[anchor_N].view(-1, 2)
        pair_N = batch.group_N.unique(return_inverse=True)[1]
        x_S = (batch.need("logp_old_S") - batch.need("logp_ref_S")).double()
        x_N = ops.sequence_sum(x_S, batch.row_S, len(batch), batch.sampled_S)
        value_N = ops.bond_reward(reward_N, reward_P2[pair_N]) - (1 + self.gamma) * x_N
        advantage_N = value_N - value_N[~anchor_N].mean()
        # The two are exchangeable, so taking the first of equals favours neither.
        better_P = (reward_P2[:, 1] > reward_P2[:, 0]).long()
        best_N2 = torch.stack([better_P == 0, better_P == 1], dim=1)
        advantage_N[anchor_N] = best_N2.flatten().double()
        batch.advantage_S = advantage_N.float()[batch.row_S]
        policy_S = batch.live_S & ~anchor_N[batch.row_S]
        return {"kl_ref": x_S[policy_S].sum().item() / max(1, int(policy_S.sum()))}

    def weigh(self, batch: Batch) -> None:
        """Both parts are means over their own sequences; an anchor sample stands for half a prompt."""
        anchor_N = batch.role_N == ROLES.index("anchor")
        anchors, samples = max(1, int(anchor_N.sum())), max(1, int((~anchor_N).sum()))
        share_N = torch.where(anchor_N, 2 * (1 - self.balance) / anchors, self.balance / samples)
        batch.weight_S = (share_N[batch.row_S] * batch.live_S).float()

    def active(self, batch: Batch) -> Tensor:
        """bool [N]: sequences that have an advantage, which the worse of two anchor samples has not."""
        credit_S = (batch.need("advantage_S") * batch.need("weight_S")).abs()
        return torch.zeros(len(batch)).index_add_(0, batch.row_S, credit_S) != 0

    def objective(self, outputs: Outputs, batch: Batch, state: State) -> tuple[Tensor, dict[str, Tensor]]:
        return -(batch.need("weight_S") * batch.need("advantage_S") * outputs.need("logp_S")).sum(), {}
