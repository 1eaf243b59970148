"""The one batch: response tokens of all sequences laid end to end, with named, typed columns.

Shape legend, used by every function of this package:
    N  sequences (one rollout each)        S  response tokens of all N sequences, row after row
    G  sequences of one prompt (a group)      P  pairs of sequences

There is no padding and therefore no mask: a prompt token or a pad cannot enter a loss, because it has no column.
Padding exists only inside :mod:`reckon.learn`, for the length of one forward pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, get_args

import torch
from torch import Tensor

from reckon.core.errors import MissingColumn
from reckon.core.records import Role, Rollout

ROLES: tuple[Role, ...] = get_args(Role)


@dataclass
class Batch:
    """Rollouts as tensors. Optional columns are None until something fills them in; ask with :meth:`need`.

    Attributes:
        prompts, responses: token ids of each of the N sequences.
        row_S: the sequence (0..N-1) each token belongs to; sorted.
        index_N: the place of each sequence among the rollouts the batch was made of.
        group_N: the prompt group of each sequence, 0-based.
        role_N: what each sequence is for, as an index into ``ROLES``.
        reward_N: scalar reward of each sequence (float64).
        reward_S: what single tokens earned beside the reward of their sequence.
        correct_N: the verifier's score of each sequence (float64), whatever the reward adds to it.
        truncated_N: True where generation hit the token limit.
        greedy_N: reward of the greedy answer to the same prompt.
        sampled_S: False for tokens that carry no loss and count in no denominator: those forced into the response, and
            those of sequences an algorithm masks.
        logp_roll_S: log-probability (nats) of each token as its sampler had it, at the sampling temperature.
        logp_old_S: the same under the policy before the step's updates: the sampler's, or recomputed by the trainer.
        logp_ref_S: the same under the reference policy.
        value_S: the critic's estimate before each token, from before the step's updates.
        return_S: what the critic should have said.
        advantage_S: credit of each token, no gradient.
        weight_S: the token's share of the loss: loss = sum_S(weight_S * loss_S). Computed on the *global* optimiser
            batch, so that no split into micro-batches or ranks changes a gradient.
        imitate_S: the token's share of a likelihood term: loss -= sum_S(imitate_S * logp_S).
        total: the sum of ``weight_S`` over the optimiser batch; what weighted sums are divided by to be means.
        unit: sequences come in units of so many that are never separated; 2 for (chosen, rejected) pairs.
    """

    prompts: list[list[int]]
    responses: list[list[int]]
    row_S: Tensor
    index_N: Tensor
    group_N: Tensor
    role_N: Tensor
    truncated_N: Tensor
    reward_N: Tensor | None = None
    reward_S: Tensor | None = None
    correct_N: Tensor | None = None
    greedy_N: Tensor | None = None
    sampled_S: Tensor | None = None
    logp_roll_S: Tensor | None = None
    logp_old_S: Tensor | None = None
    logp_ref_S: Tensor | None = None
    value_S: Tensor | None = None
    return_S: Tensor | None = None
    advantage_S: Tensor | None = None
    weight_S: Tensor | None = None
    imitate_S: Tensor | None = None
    total: float = 1.0
    unit: int = 1

    @classmethod
    def of(cls, rollouts: Sequence[Rollout]) -> Batch:
        """Pack rollouts. Groups are the distinct (task, problem). If a reward or log-prob is absent, so is the column.

        Raises MissingColumn when a response has no tokens (nothing to carry its reward) or its log-probs do not
        match its tokens in number.
        """
        groups: dict[tuple[str, str], int] = {}
        for rollout in rollouts:
            count = len(rollout.response_ids)
            if count == 0:
                raise MissingColumn(f"rollout of {rollout.problem.id} has an empty response")
            if rollout.logp and len(rollout.logp) != count:
                raise MissingColumn(f"rollout of {rollout.problem.id}: {len(rollout.logp)} log-probs, {count} tokens")
            groups.setdefault((rollout.task, rollout.problem.id), len(groups))
        lengths = torch.tensor([len(rollout.response_ids) for rollout in rollouts], dtype=torch.long)
        forced = any(rollout.sampled is not None for rollout in rollouts)
        logp_S = _floats([value for r in rollouts for value in (r.logp if r.logp else (None,))], torch.float32)
        return cls(
            prompts=[rollout.prompt_ids for rollout in rollouts],
            responses=[rollout.response_ids for rollout in rollouts],
            row_S=torch.repeat_interleave(torch.arange(len(rollouts)), lengths),
            index_N=torch.arange(len(rollouts)),
            group_N=torch.tensor([groups[r.task, r.problem.id] for r in rollouts], dtype=torch.long),
            role_N=torch.tensor([ROLES.index(rollout.role) for rollout in rollouts], dtype=torch.int8),
            truncated_N=torch.tensor([rollout.finish == "length" for rollout in rollouts], dtype=torch.bool),
            reward_N=_floats([rollout.reward for rollout in rollouts], torch.float64),
            reward_S=_token_rewards(rollouts),
            correct_N=_floats([r.verdict.score if r.verdict else None for r in rollouts], torch.float64),
            sampled_S=torch.tensor(
                [
                    flag
                    for r in rollouts
                    for flag in (r.sampled if r.sampled is not None else [True] * len(r.response_ids))
                ]
            )
            if forced
            else None,
            logp_roll_S=logp_S,
            logp_old_S=logp_S,
        )

    def __len__(self) -> int:
        return len(self.responses)

    @property
    def length_N(self) -> Tensor:
        """Response tokens of each sequence."""
        return torch.bincount(self.row_S, minlength=len(self))

    @property
    def live_S(self) -> Tensor:
        """bool [S]: the tokens that carry loss."""
        return torch.ones_like(self.row_S, dtype=torch.bool) if self.sampled_S is None else self.sampled_S

    def mask(self, hidden_N: Tensor) -> None:
        """Take these sequences out of the loss and of its denominators."""
        self.sampled_S = self.live_S & ~hidden_N[self.row_S]

    def of_role(self, role: Role) -> Batch:
        """The sequences of one role."""
        return self.rows((self.role_N == ROLES.index(role)).nonzero().flatten())

    def need(self, column: str) -> Tensor:
        """The named column. Raises MissingColumn when nothing has filled it in."""
        value = getattr(self, column)
        if value is None:
            raise MissingColumn(
                f"the batch has no {column}",
                why="Guessing it would train on a wrong gradient",
                fix=f"fill {column} before the objective is called",
            )
        return value  # type: ignore[no-any-return]

    def rows(self, rows_K: Tensor) -> Batch:
        """The batch restricted to K sequences, in the order given. Token columns (also weights) keep their values."""
        length_N = self.length_N
        start_N = torch.cumsum(length_N, 0) - length_N
        count_K = length_N[rows_K]
        row_S = torch.repeat_interleave(torch.arange(len(rows_K)), count_K)
        offset_S = torch.arange(len(row_S)) - (torch.cumsum(count_K, 0) - count_K)[row_S]
        token_S = start_N[rows_K][row_S] + offset_S
        picked = {
            field.name: getattr(self, field.name)[token_S if field.name.endswith("_S") else rows_K]
            for field in fields(self)
            if isinstance(getattr(self, field.name), Tensor)
        }
        order = rows_K.tolist()
        return replace(
            self,
            **{
                **picked,
                "prompts": [self.prompts[row] for row in order],
                "responses": [self.responses[row] for row in order],
                "row_S": row_S,
            },
        )

    def to(self, device: torch.device | str) -> Batch:
        """The batch with every tensor on ``device``."""
        moved = {field.name: getattr(self, field.name) for field in fields(self)}
        on_device: dict[str, Any] = {k: v.to(device) for k, v in moved.items() if isinstance(v, Tensor)}
        return replace(self, **on_device)


def _token_rewards(rollouts: Sequence[Rollout]) -> Tensor | None:
    """[S] float64, 0 where a rollout has none; None if no rollout has any."""
    if all(rollout.token_rewards is None for rollout in rollouts):
        return None
    earned = [rollout.token_rewards or [0.0] * len(rollout.response_ids) for rollout in rollouts]
    return torch.tensor([value for values in earned for value in values], dtype=torch.float64)


def _floats(values: Sequence[float | None], dtype: torch.dtype) -> Tensor | None:
    """A tensor, or None when any value is absent."""
    return None if any(value is None for value in values) else torch.tensor(values, dtype=dtype)
