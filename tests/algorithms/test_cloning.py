from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError

from reckon.algorithms.base import Needs
from reckon.algorithms.batch import Batch
from reckon.algorithms.cloning import Cloning
from reckon.algorithms.policy_gradient import PolicyGradient
from reckon.core.errors import MissingColumn
from reckon.core.records import Role
from tests.algorithms.by_hand import attempt, credited, update


def kept(algorithm: Cloning, *rollouts: Any) -> list[int]:
    return algorithm.prepare(Batch.of(rollouts)).index_N.tolist()


def test_the_loss_is_the_mean_over_the_kept_tokens() -> None:
    algorithm = Cloning()
    rollouts = [attempt("a", 2, 1.0, logp=[-1.0, -2.0]), attempt("a", 5, 0.0), attempt("b", 1, 1.0, logp=[-6.0])]
    batch = credited(algorithm, rollouts)
    assert algorithm.credit(batch, {}) == {"kept": 2.0}
    found = update(algorithm, batch)
    assert found.loss == pytest.approx(3.0)
    assert found.grad_S.tolist() == pytest.approx([-1 / 3] * 3)
    assert found.logged["nll"] == pytest.approx(3.0)
    assert update(algorithm, batch, split=True).loss == pytest.approx(3.0)


def test_without_a_cap_it_is_reinforce_with_a_reward_of_one_or_zero() -> None:
    rollouts = [attempt("a", 2, 1.0), attempt("a", 3, 0.0), attempt("a", 4, 1.0), attempt("b", 1, 0.0)]
    reinforce = PolicyGradient(advantage="none", surrogate="score")
    every = update(reinforce, credited(reinforce, rollouts)).grad_S
    right = update(Cloning(), credited(Cloning(), rollouts)).grad_S
    # One is the mean over all tokens and the other over the right ones: ten and six.
    torch.testing.assert_close(every[every != 0] * 10, right * 6)
    assert len(right) == 6


def test_the_best_of_a_prompt_is_the_first_of_equals() -> None:
    assert sorted(
        kept(
            Cloning(keep="best"),
            attempt("a", 1, 0.2),
            attempt("a", 2, 0.9),
            attempt("b", 3, 0.0),
            attempt("a", 4, 0.9),
            attempt("b", 5, -1.0),
        )
    ) == [1, 2]


def test_right_is_what_the_verifier_says_not_the_reward() -> None:
    rollouts = [attempt("a", 1, 0.9, right=False), attempt("a", 2, 0.0, right=True)]
    assert kept(Cloning(), *rollouts) == [1]
    rollouts[0].verdict = None
    with pytest.raises(MissingColumn, match="correct_N"):
        kept(Cloning(), *rollouts)


def test_easy_prompts_are_capped() -> None:
    easy, hard = [attempt("a", n, 1.0) for n in range(1, 6)], [attempt("b", 9, 1.0)]
    assert kept(Cloning(per_prompt=2), *easy, *hard) == [0, 1, 5]
    assert len(kept(Cloning(), *easy, *hard)) == 6


def test_identical_answers_count_once_and_only_to_the_same_prompt() -> None:
    rollouts = [attempt("a", 3, 1.0, token=7), attempt("a", 3, 1.0, token=7), attempt("a", 3, 1.0, token=8)]
    other = attempt("b", 3, 1.0, token=7)
    other.prompt_ids = [2]
    assert kept(Cloning(), *rollouts, other) == [0, 2, 3]
    # A copy does not use up the cap.
    assert kept(Cloning(per_prompt=2), *rollouts) == [0, 2]


@pytest.mark.parametrize("algorithm", [Cloning(), Cloning(keep="best")])
def test_truncated_answers_are_never_kept(algorithm: Cloning) -> None:
    assert kept(algorithm, attempt("a", 1, 1.0, finish="length"), attempt("a", 2, 1.0), attempt("b", 1, 0.0)) == (
        [1] if algorithm.keep == "right" else [1, 2]
    )


def test_answers_found_with_a_hint_are_learned_and_greedy_ones_are_not() -> None:
    roles: list[Role] = ["greedy", "hinted", "anchor"]
    assert kept(Cloning(), *(attempt("a", n, 1.0, role=role) for n, role in enumerate(roles, 1))) == [1]


def test_each_improve_step_has_its_threshold() -> None:
    algorithm = Cloning(keep="threshold", thresholds=(0.5, 1.0), epochs=2)
    batch = credited(algorithm, [attempt("a", 1, 0.2), attempt("a", 2, 0.5), attempt("b", 3, 1.0)])
    assert [algorithm.select(batch, epoch).index_N.tolist() for epoch in (0, 1)] == [[1, 2], [2]]
    assert Cloning().select(batch, 0) is batch


def test_where_nothing_is_right_nothing_is_left() -> None:
    assert kept(Cloning(), attempt("a", 1, 0.0)) == []
    assert kept(Cloning()) == []
    assert Cloning().needs == Needs()


@pytest.mark.parametrize(
    ("choices", "reason"),
    [
        ({"keep": "threshold"}, "0 given, 1 epochs"),
        ({"keep": "threshold", "thresholds": (0.5,), "epochs": 2}, "1 given, 2 epochs"),
        ({"thresholds": (0.5,)}, "belongs to keep `threshold`"),
        ({"keep": "threshold", "thresholds": (1.0, 0.5), "epochs": 2}, "must not fall"),
        ({"per_prompt": 0}, "greater than or equal to 1"),
    ],
)
def test_impossible_combinations_are_refused_with_the_reason(choices: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        Cloning(**choices)
