import itertools
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from reckon.core.errors import ConfigError
from reckon.core.records import Problem, Rollout, Verdict
from reckon.rewards.spec import RewardSpec, group_spread

LIMIT = 1000
"""Tokens; the responses here are far shorter unless a test says otherwise."""

GOOD = "<think> yes 对 </think> <answer> 8 * 3 </answer>"


def rollout(response: str, score: float | None, prompt: str = "User: hi\nAssistant:", length: int = 1) -> Rollout:
    return Rollout(
        task="countdown",
        problem=Problem("x", "hi", None),
        sample=0,
        prompt=prompt,
        prompt_ids=[1],
        response=response,
        response_ids=[2] * length,
        logp=[-0.5] * length,
        finish="stop",
        seed=0,
        verdict=Verdict(score),
    )


def score(spec: RewardSpec, asked: Rollout, limit: int = LIMIT, **others: Any) -> tuple[float | None, dict[str, float]]:
    """Reward and parts of one response, alone in its group."""
    [rewarded] = spec.score_group([asked], limit, **others)
    return rewarded.reward, rewarded.parts


def test_the_total_is_the_weighted_sum_of_the_parts() -> None:
    spec = RewardSpec(accuracy=1.0, format=0.2, language={"weight": 0.4, "script": "latin"})
    total, parts = score(spec, rollout(GOOD, 1.0))
    assert parts == {"accuracy": 1.0, "format": 1.0, "language": 0.5}
    assert total == pytest.approx(1.0 + 0.2 + 0.4 * 0.5)


def test_the_default_is_accuracy_and_a_little_form() -> None:
    assert score(RewardSpec(), rollout(GOOD, 1.0)) == (pytest.approx(1.1), {"accuracy": 1.0, "format": 1.0})
    assert score(RewardSpec(), rollout(GOOD, 0.0))[0] == pytest.approx(0.1)
    assert score(RewardSpec(), rollout("24", 0.0)) == (0.0, {"accuracy": 0.0, "format": 0.0})


def test_what_is_given_is_left_as_it_is_and_nothing_earned_before_stays() -> None:
    given = replace(rollout(GOOD, None), reward=7.0, parts={"old": 7.0}, token_rewards=[7.0])
    [rewarded] = RewardSpec().score_group([given], LIMIT)
    assert (given.reward, given.parts, given.token_rewards) == (7.0, {"old": 7.0}, [7.0])
    assert (rewarded.reward, rewarded.parts, rewarded.token_rewards) == (None, {}, None)
    assert RewardSpec().score_group([], LIMIT) == []


def test_a_prompt_that_opened_the_thinking_counts_as_its_opening() -> None:
    response = GOOD.removeprefix("<think>")
    opened = rollout(response, 1.0, prompt="Assistant: <think>\n")
    spec = RewardSpec(tags=0.1)
    assert (score(spec, rollout(response, 1.0))[1]["format"], score(spec, opened)[1]["format"]) == (0.0, 1.0)
    assert (score(spec, rollout(response, 1.0))[1]["tags"], score(spec, opened)[1]["tags"]) == (0.75, 1.0)


def test_tags_are_a_part_of_their_own() -> None:
    total, parts = score(RewardSpec(format=0.0, tags=0.2), rollout("<think> 24", 1.0))
    assert parts == {"accuracy": 1.0, "format": 0.0, "tags": 0.25}
    assert total == pytest.approx(1.05)


def test_an_absent_verdict_gives_no_reward() -> None:
    assert score(RewardSpec(), rollout(GOOD, None)) == (None, {})
    unjudged = rollout(GOOD, 1.0)
    unjudged.verdict = None
    assert score(RewardSpec(), unjudged) == (None, {})


def test_signed_accuracy_pays_minus_one_for_a_wrong_answer() -> None:
    spec = RewardSpec(accuracy=2.0, format=0.0, signed=True)
    assert score(spec, rollout(GOOD, 1.0)) == (2.0, {"accuracy": 1.0, "format": 1.0})
    assert score(spec, rollout(GOOD, 0.0)) == (-2.0, {"accuracy": -1.0, "format": 1.0})
    assert score(spec, rollout(GOOD, 0.25))[0] == -1.0


@pytest.mark.parametrize(("length", "penalty"), [(1, 0.0), (16384, 0.0), (18432, -0.5), (20480, -1.0)])
def test_dapos_reward(length: int, penalty: float) -> None:
    """A right answer at the very limit earns 0, and a wrong one -2."""
    spec = RewardSpec(format=0.0, signed=True, overlong={"share": 0.2})
    for right, signed in ((1.0, 1.0), (0.0, -1.0)):
        total, parts = score(spec, rollout("", right, length=length), limit=20480)
        assert total == signed + penalty
        assert parts == {"accuracy": signed, "format": 0.0, "overlong": penalty}


def test_the_overlong_part_is_weighed_like_any_other() -> None:
    spec = RewardSpec(format=0.1, overlong={"weight": 0.4, "share": 0.5})
    total, parts = score(spec, rollout(GOOD, 1.0, length=75), limit=100)
    assert parts == {"accuracy": 1.0, "format": 1.0, "overlong": -0.5}
    assert total == pytest.approx(1.0 + 0.1 - 0.2)


def test_the_language_of_the_prompt_is_the_questions() -> None:
    spec = RewardSpec(format=0.0, language={"weight": 0.4, "script": "prompt"})
    asked = rollout("<think> yes yes 对 </think>", 1.0)
    assert score(spec, asked)[1]["language"] == pytest.approx(2 / 3)
    asked.problem = Problem("x", "你好", None)
    assert score(spec, asked)[1]["language"] == pytest.approx(1 / 3)


def test_a_summary_is_part_of_the_form_where_that_is_said() -> None:
    summed = rollout("<think> yes </think> 8 * 3 = 24. <answer> 8 * 3 </answer>", 1.0)
    assert score(RewardSpec(), summed)[1]["format"] == 0.0
    assert score(RewardSpec(summary=True), summed)[1]["format"] == 1.0


def test_repetition_is_a_penalty() -> None:
    spec = RewardSpec(format=0.0, repetition={"weight": 0.4, "n": 2})
    total, parts = score(spec, rollout("5 5 5 5 5", 1.0))
    assert parts == {"accuracy": 1.0, "format": 0.0, "repetition": -0.75}
    assert total == pytest.approx(1 - 0.3)


def test_single_tokens_pay_beside_the_reward() -> None:
    spec = RewardSpec(format=0.0, token_repetition={"weight": 0.05, "n": 2})
    [rewarded] = spec.score_group([rollout("5 5 5 5 5", 1.0, length=5)], LIMIT)
    assert rewarded.reward == 1.0
    assert rewarded.parts == {"accuracy": 1.0, "format": 0.0, "token_repetition": -4.0}
    assert rewarded.token_rewards == pytest.approx([0.0, -0.05, -0.05, -0.05, -0.05])


def test_lengths_are_compared_within_the_group_and_with_those_that_could_be_judged() -> None:
    """The paper's numbers, with a weight of 0.4; a response that nobody could judge is not the shortest."""
    spec = RewardSpec(format=0.0, length={"weight": 0.4, "after": 2})
    group = [rollout("", right, length=n) for n, right in ((100, 1.0), (1, None), (200, 1.0), (300, 0.0), (100, 0.0))]
    found = [rewarded.parts.get("length") for rewarded in spec.score_group(group, LIMIT, step=3)]
    assert found == [0.5, None, 0.0, -0.5, 0.0]
    assert [r.reward for r in spec.score_group(group, LIMIT, step=3)] == [1.2, None, 1.0, -0.2, 0.0]
    assert [r.reward for r in spec.score_group(group, LIMIT, step=2)] == [1.0, None, 1.0, 0.0, 0.0]


def test_l1_asks_for_a_length_and_pays_by_it() -> None:
    asked = {"mode": "exact", "low": 100, "high": 4000}
    spec = RewardSpec(format=0.0, target=asked, allow_dominated=True)
    assert score(spec, rollout("", 1.0, length=1500), 9000, target=1024)[0] == pytest.approx(0.8572)
    assert score(spec, rollout("", 0.0, length=1500), 9000, target=1024)[0] == pytest.approx(-0.1428)
    spec = RewardSpec(format=0.0, target=asked | {"mode": "max"}, allow_dominated=True)
    assert score(spec, rollout("", 1.0, length=1500), 9000, target=1024)[0] == pytest.approx(0.3572)
    assert score(spec, rollout("", 0.0, length=1500), 9000, target=1024)[0] == 0.0


def test_the_cosine_reward_of_the_paper_has_no_accuracy_beside_it() -> None:
    spec = RewardSpec(accuracy=0.0, format=0.0, cosine={}, allow_dominated=True)
    rewards = [score(spec, rollout("", right, length=n))[0] for right, n in ((1.0, 500), (0.0, 500), (1.0, 1000))]
    assert rewards == pytest.approx([1.5, -5.0, -10.0])


def test_a_reward_models_score_takes_the_place_of_accuracy() -> None:
    spec = RewardSpec(
        accuracy=5.0,
        model=2.0,
        format=0.1,
        signed=True,
        language={"weight": 0.4, "script": "latin"},
        overlong={"weight": 0.5, "share": 0.5},
        length={"weight": 0.5},
    )
    for verdict in (None, 0.0, 1.0):
        total, parts = score(spec, rollout(GOOD, verdict, length=75), 100, model_scores=[-1.5])
        assert parts == {"model": -1.5, "format": 1.0, "language": 0.5, "overlong": -0.5}
        assert total == pytest.approx(2 * -1.5 + 0.1 + 0.4 * 0.5 - 0.25)
    assert score(spec, rollout(GOOD, 1.0), model_scores=[0.0])[1]["model"] == 0.0
    assert score(spec, rollout(GOOD, 1.0), model_scores=[None]) == (None, {})


@pytest.mark.parametrize(
    "weights",
    [
        {"format": 1.0},
        {"format": 0.1, "repetition": {"weight": 0.9}},
        {"format": 0.1, "repetition": {"weight": 0.5}, "overlong": {"weight": 0.4, "share": 0.2}},
        {"accuracy": 0.0, "format": 0.0},
        {"format": 0.6, "language": {"weight": 0.4, "script": "han"}},
        {"format": 0.0, "overlong": {"share": 0.2}},
        {"format": 0.1, "overlong": {"weight": 0.9, "share": 0.2}},
        {"format": 1.0, "overlong": {"share": 0.2}, "signed": True},
        {"accuracy": 0.0, "format": 0.0, "signed": True},
        {"format": 0.0, "tags": 1.0},
        {"format": 0.5, "length": {"weight": 1.0}},
        {"format": 0.0, "cosine": {}},
        {"accuracy": 0.0, "format": 0.0, "cosine": {}},
        {"accuracy": 0.0, "format": 0.0, "cosine": {"exceeded": 0.5}},
        {"format": 0.0, "target": {"mode": "exact", "low": 1, "high": 9}},
        {"format": 0.0, "target": {"mode": "max", "low": 1, "high": 9}},
        {"format": 0.2, "target": {"mode": "max", "low": 1, "high": 9, "weight": 0.8}},
    ],
)
def test_what_could_outweigh_a_right_answer_is_refused_unless_allowed(weights: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"reward: a right answer could earn .* and a wrong one") as error:
        RewardSpec(**weights)
    assert "set reward.allow_dominated: true" in str(error.value)
    assert RewardSpec(**weights, allow_dominated=True).allow_dominated


def test_the_worst_right_and_the_best_wrong_answer_are_named() -> None:
    with pytest.raises(ConfigError, match=r"a right answer could earn 0 and a wrong one 0\.1"):
        RewardSpec(overlong={"share": 0.2})


@pytest.mark.parametrize(
    "weights",
    [
        {"signed": True, "format": 0.0},
        {"signed": True, "format": 0.0, "overlong": {"share": 0.2}},
        {"signed": True, "format": 0.9, "overlong": {"share": 0.2}},
        {"length": {"weight": 1.0}},
        {"accuracy": 11.0, "cosine": {}},
        {"format": 0.0, "target": {"mode": "max", "low": 1, "high": 9, "weight": 0.9}},
        {"token_repetition": {"weight": 5.0}},
    ],
)
def test_what_leaves_the_right_answer_ahead_is_accepted(weights: dict[str, Any]) -> None:
    spec = RewardSpec(**weights)
    assert spec.bounds(right=True)[0] > spec.bounds(right=False)[1]


def test_the_bounds_are_those_of_all_parts_together() -> None:
    spec = RewardSpec(
        accuracy=2.0,
        format=0.1,
        tags=0.1,
        language={"weight": 0.2, "script": "latin"},
        overlong={"weight": 0.3, "share": 0.5},
        length={"weight": 0.4},
    )
    assert spec.bounds(right=True) == (pytest.approx(2 - 0.3 - 0.2), pytest.approx(2 + 0.1 + 0.1 + 0.2 + 0.2))
    assert spec.bounds(right=False) == (pytest.approx(-0.3 - 0.2), pytest.approx(0.1 + 0.1 + 0.2))


_weight = st.floats(0, 2, allow_nan=False)
_optional = {
    "language": {"script": "latin"},
    "overlong": {"share": 0.5},
    "repetition": {"n": 1},
    "length": {},
    "cosine": {"right": [0.3, 0.1], "wrong": [-0.5, 0.0], "exceeded": -0.2},
    "target": {"mode": "exact", "low": 3, "high": 9, "alpha": 0.2},
}


@given(
    _weight, _weight, _weight, st.dictionaries(st.sampled_from(sorted(_optional)), _weight, max_size=3), st.booleans()
)
@settings(deadline=None, max_examples=300)
def test_whatever_is_accepted_pays_every_right_answer_more_than_any_wrong_one(
    a: float, f: float, t: float, parts: dict[str, float], signed: bool
) -> None:
    chosen = {name: _optional[name] | {"weight": weight} for name, weight in parts.items() if weight}
    try:
        spec = RewardSpec(accuracy=a, format=f, tags=t, signed=signed, **chosen)
    except ConfigError:
        return
    responses = ["a " * 100, GOOD, "", "<think> yes </think> <answer> 1 </answer>", "<think>对</think> 24"]
    variants = list(itertools.product(responses, (1, 7, 10, 12)))
    group = [rollout(text, right, length=n) for right in (1.0, 0.0) for text, n in variants]
    rewarded = spec.score_group(group, 10, target=6)
    right = [r.reward for r in rewarded[: len(variants)]]
    wrong = [r.reward for r in rewarded[len(variants) :]]
    assert min(right) > max(wrong)
    for rewards, (low, high) in ((right, spec.bounds(right=True)), (wrong, spec.bounds(right=False))):
        assert low <= min(rewards)
        assert max(rewards) <= high


@pytest.mark.parametrize(
    "weights",
    [
        {"format": -0.1},
        {"accuracy": float("nan")},
        {"accuracy": float("inf")},
        {"language": {"weight": 0.0, "script": "latin"}},
        {"language": {"weight": 0.1, "script": "greek"}},
        {"overlong": {"share": 0.0}},
        {"repetition": {"weight": 0.0}},
        {"repetition": {"weight": 0.1, "n": 0}},
        {"model": 0.0},
        {"overlong": {"share": 1.5}},
        {"overlong": {"weight": 0.0, "share": 0.2}},
        {"acuracy": 1.0},
        {"tags": -0.1},
        {"length": {"weight": 0.0}},
        {"token_repetition": {"weight": 0.05, "n": 0}},
    ],
)
def test_weights_that_make_no_sense(weights: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        RewardSpec(**weights)


def test_group_spread_shows_which_part_teaches() -> None:
    group = [{"accuracy": 0.0, "format": 1.0}, {"accuracy": 0.0, "format": 0.0}, {}]
    assert group_spread(group) == {"accuracy": 0.0, "format": 0.5}
    assert group_spread([]) == {}
