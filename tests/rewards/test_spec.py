import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from reckon.core.errors import ConfigError
from reckon.core.records import Problem, Rollout, Verdict
from reckon.rewards.spec import RewardSpec, group_spread

GOOD = "<think> yes 对 </think> <answer> 8 * 3 </answer>"


def rollout(response: str, score: float | None, prompt: str = "User: hi\nAssistant:") -> Rollout:
    return Rollout(
        task="countdown",
        problem=Problem("x", "hi", None),
        sample=0,
        prompt=prompt,
        prompt_ids=[1],
        response=response,
        response_ids=[2],
        logp=[-0.5],
        finish="stop",
        seed=0,
        verdict=Verdict(score),
    )


def test_the_total_is_the_weighted_sum_of_the_parts() -> None:
    spec = RewardSpec(accuracy=1.0, format=0.2, language={"weight": 0.4, "script": "latin"})
    total, parts = spec.score(rollout(GOOD, 1.0))
    assert parts == {"accuracy": 1.0, "format": 1.0, "language": 0.5}
    assert total == pytest.approx(1.0 + 0.2 + 0.4 * 0.5)


def test_the_default_is_accuracy_and_a_little_form() -> None:
    assert RewardSpec().score(rollout(GOOD, 1.0)) == (pytest.approx(1.1), {"accuracy": 1.0, "format": 1.0})
    assert RewardSpec().score(rollout(GOOD, 0.0))[0] == pytest.approx(0.1)
    assert RewardSpec().score(rollout("24", 0.0)) == (0.0, {"accuracy": 0.0, "format": 0.0})


def test_a_prompt_that_opened_the_thinking_counts_as_its_opening() -> None:
    response = GOOD.removeprefix("<think>")
    assert RewardSpec().score(rollout(response, 1.0))[1]["format"] == 0.0
    assert RewardSpec().score(rollout(response, 1.0, prompt="Assistant: <think>\n"))[1]["format"] == 1.0


def test_an_absent_verdict_gives_no_reward() -> None:
    assert RewardSpec().score(rollout(GOOD, None)) == (None, {})
    unjudged = rollout(GOOD, 1.0)
    unjudged.verdict = None
    assert RewardSpec().score(unjudged) == (None, {})


@pytest.mark.parametrize(
    "weights",
    [
        {"format": 1.0},
        {"accuracy": 0.0, "format": 0.0},
        {"format": 0.6, "language": {"weight": 0.4, "script": "han"}},
    ],
)
def test_form_that_could_outweigh_a_right_answer_is_refused_unless_allowed(weights: dict[str, object]) -> None:
    with pytest.raises(ConfigError) as error:
        RewardSpec(**weights)
    assert "reward: the parts besides accuracy add up to" in str(error.value)
    assert "set reward.allow_dominated: true" in str(error.value)
    assert RewardSpec(**weights, allow_dominated=True).allow_dominated


_weight = st.floats(0, 2, allow_nan=False)


@given(_weight, _weight, _weight)
@settings(deadline=None)
def test_whatever_is_accepted_pays_every_right_answer_more_than_any_wrong_one(a: float, f: float, w: float) -> None:
    try:
        spec = RewardSpec(accuracy=a, format=f, language={"weight": w, "script": "latin"} if w else None)
    except ConfigError:
        return
    responses = [GOOD, "", "<think> yes </think> <answer> 1 </answer>", "<think>对</think> 24"]
    for right, wrong in itertools.product(responses, responses):
        assert spec.score(rollout(right, 1.0))[0] > spec.score(rollout(wrong, 0.0))[0]


@pytest.mark.parametrize(
    "weights",
    [
        {"format": -0.1},
        {"accuracy": float("nan")},
        {"accuracy": float("inf")},
        {"language": {"weight": 0.0, "script": "latin"}},
        {"language": {"weight": 0.1, "script": "greek"}},
        {"acuracy": 1.0},
    ],
)
def test_weights_that_make_no_sense(weights: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        RewardSpec(**weights)


def test_group_spread_shows_which_part_teaches() -> None:
    group = [{"accuracy": 0.0, "format": 1.0}, {"accuracy": 0.0, "format": 0.0}, {}]
    assert group_spread(group) == {"accuracy": 0.0, "format": 0.5}
    assert group_spread([]) == {}
