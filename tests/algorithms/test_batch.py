from __future__ import annotations

import pytest
import torch

from reckon.algorithms.batch import Batch
from reckon.core.errors import MissingColumn
from reckon.core.records import Problem, Rollout, Verdict


def rollout(problem: str, response: list[int], *, reward: float | None = 0.0, logp: bool = True) -> Rollout:
    return Rollout(
        task="t", problem=Problem(problem, "?", None), sample=0, prompt="?", prompt_ids=[1, 2], response="",
        response_ids=response, logp=[-1.0] * len(response) if logp else [], finish="stop", seed=0, reward=reward,
    )  # fmt: skip


def test_columns_are_laid_end_to_end() -> None:
    batch = Batch.of([rollout("a", [5, 6]), rollout("b", [7]), rollout("a", [8, 9, 10], reward=1.0)])
    assert batch.row_S.tolist() == [0, 0, 1, 2, 2, 2]
    assert batch.group_N.tolist() == [0, 1, 0]
    assert batch.length_N.tolist() == [2, 1, 3]
    assert batch.need("reward_N").tolist() == [0, 0, 1]


def test_the_same_problem_id_of_two_tasks_is_two_groups() -> None:
    first, second = rollout("a", [1]), rollout("a", [1])
    second.task = "other"
    assert Batch.of([first, second]).group_N.tolist() == [0, 1]


def test_rows_restricts_and_reorders_every_column() -> None:
    batch = Batch.of([rollout("a", [5, 6]), rollout("b", [7]), rollout("c", [8, 9, 10])])
    batch.advantage_S = torch.tensor([0.0, 1, 2, 3, 4, 5])
    part = batch.rows(torch.tensor([2, 0]))
    assert part.responses == [[8, 9, 10], [5, 6]]
    assert part.row_S.tolist() == [0, 0, 0, 1, 1]
    assert part.need("advantage_S").tolist() == [3, 4, 5, 0, 1]
    assert part.group_N.tolist() == [2, 0]


def test_a_missing_column_is_a_named_error() -> None:
    batch = Batch.of([rollout("a", [5], logp=False)])
    with pytest.raises(MissingColumn, match="logp_old_S"):
        batch.need("logp_old_S")


def test_an_absent_reward_is_absent_for_the_batch() -> None:
    with pytest.raises(MissingColumn, match="reward_N"):
        Batch.of([rollout("a", [5]), rollout("a", [5], reward=None)]).need("reward_N")


def test_rewards_of_single_tokens_are_a_column_where_there_are_any() -> None:
    paid = rollout("a", [5, 6])
    paid.token_rewards = [0.0, -0.5]
    assert Batch.of([rollout("a", [5])]).reward_S is None
    assert Batch.of([rollout("a", [5]), paid]).need("reward_S").tolist() == [0.0, 0.0, -0.5]


def test_responses_that_cannot_carry_a_loss_are_refused() -> None:
    with pytest.raises(MissingColumn, match="empty response"):
        Batch.of([rollout("a", [])])
    short = rollout("a", [1, 2])
    short.logp = [-1.0]
    with pytest.raises(MissingColumn, match="1 log-probs, 2 tokens"):
        Batch.of([short])


def test_no_rollouts_are_an_empty_batch() -> None:
    batch = Batch.of([])
    assert len(batch) == len(batch.of_role("policy")) == 0
    assert batch.need("reward_N").tolist() == batch.live_S.tolist() == batch.length_N.tolist() == []


def test_roles_endings_and_verdicts_are_columns() -> None:
    rollouts = [rollout("a", [5, 6]), rollout("a", [7]), rollout("a", [8])]
    rollouts[1].role, rollouts[2].finish = "greedy", "length"
    for judged, score in zip(rollouts, (1.0, 0.0, 0.5), strict=True):
        judged.verdict = Verdict(score)
    batch = Batch.of(rollouts)
    assert batch.truncated_N.tolist() == [False, False, True]
    assert batch.need("correct_N").tolist() == [1, 0, 0.5]
    assert [batch.of_role(role).index_N.tolist() for role in ("policy", "greedy", "anchor")] == [[0, 2], [1], []]


def test_masked_sequences_join_the_forced_tokens() -> None:
    forced = rollout("a", [5, 6])
    forced.sampled = [True, False]
    batch = Batch.of([forced, rollout("a", [7]), rollout("b", [8, 9])])
    assert batch.live_S.tolist() == [True, False, True, True, True]
    batch.mask(torch.tensor([False, True, False]))
    assert batch.live_S.tolist() == [True, False, False, True, True]
