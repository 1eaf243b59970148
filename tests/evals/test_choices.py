"""Best-of-k and weighted votes: by hand, and by going through every draw."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reckon.core.records import Problem, Rollout, Verdict
from reckon.evals.choices import LABEL, best_of_k, scores_of, weighted_vote


def sample(passed: bool, answer: str | None = None, logp: list[float] | None = None, **parts: float) -> Rollout:
    return Rollout(
        task="toy",
        problem=Problem("p", "?", None),
        sample=0,
        prompt="",
        prompt_ids=[],
        response="xxxx" if passed else "x",
        response_ids=[0] * len(logp or []),
        logp=logp or [],
        finish="stop",
        seed=0,
        verdict=Verdict(float(passed), extracted=answer),
        parts=parts,
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=8))
def test_best_of_k_is_the_mean_over_all_draws(pairs: list[tuple[int, bool]]) -> None:
    scores, passed = [float(score) for score, _ in pairs], [passes for _, passes in pairs]
    for k in range(1, len(pairs) + 1):
        expected = []
        for draw in combinations(range(len(pairs)), k):
            top = max(scores[place] for place in draw)
            expected.append(np.mean([passed[place] for place in draw if scores[place] == top]))
        assert best_of_k(scores, passed, k) == pytest.approx(float(np.mean(expected)), abs=1e-12)


def test_best_of_k_needs_k_samples() -> None:
    with pytest.raises(ValueError, match="k <= 2"):
        best_of_k([1.0, 2.0], [True, False], 3)


def test_a_weighted_vote_by_hand() -> None:
    group = [sample(True, "A"), sample(False, "B"), sample(False, "B"), sample(False)]
    assert weighted_vote(group, [0.9, 0.4, 0.4, 5.0]) == 1.0, "0.9 against 0.8; silence has no vote"
    assert weighted_vote(group, [0.7, 0.4, 0.4, 5.0]) == 0.0
    assert weighted_vote(group, [0.8, 0.4, 0.4, 5.0]) == 0.5, "a tie is shared"
    assert weighted_vote([sample(False)], [1.0]) == 0.0, "nobody votes"


def test_what_there_is_to_choose_by() -> None:
    group = [sample(True, logp=[-1.0, -3.0], rm=-2.0, prm=0.25, label=1.0), sample(False, logp=[-1.0], rm=0.0, prm=1.0)]
    found = {score.name: score for score in scores_of(group)}
    assert list(found) == ["rm", "prm", "likelihood", "brevity"]
    assert LABEL not in found, "choosing by the label is choosing by the gold answer"
    assert found["likelihood"].of(group[0]) == pytest.approx(np.exp(-2.0))
    assert found["brevity"].of(group[0]) == -2.0, "tokens, where they are known"
    assert found["prm"].weight is not None
    assert found["prm"].weight(0.25) == 0.25, "a share weighs as it is"
    assert found["rm"].weight is not None
    assert (found["rm"].weight(0.0), found["rm"].weight(-1000.0)) == (0.5, 0.0), "a reward by the logistic function"
    assert found["brevity"].weight is None


def test_a_score_that_was_not_a_number_is_missing() -> None:
    group = [replace(sample(True), parts={"rm": None}), sample(False, rm=0.5)]
    rm = scores_of(group)[0]
    assert [rm.of(rollout) for rollout in group] == [None, 0.5]


def test_brevity_is_in_characters_where_tokens_are_not_known() -> None:
    group = [sample(True), sample(False, logp=[-1.0])]
    brevity = scores_of(group)[-1]
    assert [brevity.of(rollout) for rollout in group] == [-4.0, -1.0]
