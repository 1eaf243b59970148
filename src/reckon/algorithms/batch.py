"""The one batch: response tokens of all sequences laid end to end, with named, typed columns.

Shape legend, used by every function of this package:
    N  sequences (one rollout each)        S  response tokens of all N sequences, row after row
    G  sequences of one prompt (a group)

There is no padding and therefore no mask: a prompt token or a pad cannot enter a loss, because it has no column.
Padding exists only inside :mod:`reckon.learn`, for the length of one forward pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from reckon.core.errors import MissingColumn
from reckon.core.records import Rollout


@dataclass
class Batch:
    """Rollouts as tensors. Optional columns are None until something fills them in; ask with :meth:`need`.

    Attributes:
        prompts, responses: token ids of each of the N sequences.
        row_S: the sequence (0..N-1) each token belongs to; sorted.
        group_N: the prompt group of each sequence, 0-based.
        reward_N: scalar reward of each sequence (float64).
        sampled_S: False for tokens forced into the response; they carry no loss.
        logp_old_S: log-probability (nats) under the policy that sampled the token, at the sampling temperature.
        logp_ref_S: log-probability under the reference policy.
        advantage_S: credit of each token, no gradient.
        weight_S: the token's share of the loss: loss = sum_S(weight_S * loss_S). Computed on the *global* optimiser
            batch, so that no split into micro-batches or ranks changes a gradient.
    """

    prompts: list[list[int]]
    responses: list[list[int]]
    row_S: Tensor
    group_N: Tensor
    reward_N: Tensor | None = None
    sampled_S: Tensor | None = None
    logp_old_S: Tensor | None = None
    logp_ref_S: Tensor | None = None
    advantage_S: Tensor | None = None
    weight_S: Tensor | None = None

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
        lengths = torch.tensor([len(rollout.response_ids) for rollout in rollouts])
        forced = any(rollout.sampled is not None for rollout in rollouts)
        return cls(
            prompts=[rollout.prompt_ids for rollout in rollouts],
            responses=[rollout.response_ids for rollout in rollouts],
            row_S=torch.repeat_interleave(torch.arange(len(rollouts)), lengths),
            group_N=torch.tensor([groups[rollout.task, rollout.problem.id] for rollout in rollouts]),
            reward_N=_floats([rollout.reward for rollout in rollouts], torch.float64),
            sampled_S=torch.tensor(
                [
                    flag
                    for r in rollouts
                    for flag in (r.sampled if r.sampled is not None else [True] * len(r.response_ids))
                ]
            )
            if forced
            else None,
            logp_old_S=_floats([value for r in rollouts for value in (r.logp if r.logp else (None,))], torch.float32),
        )

    def __len__(self) -> int:
        return len(self.responses)

    @property
    def length_N(self) -> Tensor:
        """Response tokens of each sequence."""
        return torch.bincount(self.row_S, minlength=len(self))

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


def _floats(values: Sequence[float | None], dtype: torch.dtype) -> Tensor | None:
    """A tensor, or None when any value is absent."""
    return None if any(value is None for value in values) else torch.tensor(values, dtype=dtype)
