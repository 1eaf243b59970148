import itertools

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


def test_the_total_is_the_weighted_sum_of_the_parts() -> None:
    spec = RewardSpec(accuracy=1.0, format=0.2, language={"weight": 0.4, "script": "latin"})
    total, parts = spec.score(rollout(GOOD, 1.0), LIMIT)
    assert parts == {"accuracy": 1.0, "format": 1.0, "language": 0.5}
    assert total == pytest.approx(1.0 + 0.2 + 0.4 * 0.5)


def test_the_default_is_accuracy_and_a_little_form() -> None:
    assert RewardSpec().score(rollout(GOOD, 1.0), LIMIT) == (pytest.approx(1.1), {"accuracy": 1.0, "format": 1.0})
    assert RewardSpec().score(rollout(GOOD, 0.0), LIMIT)[0] == pytest.approx(0.1)
    assert RewardSpec().score(rollout("24", 0.0), LIMIT) == (0.0, {"accuracy": 0.0, "format": 0.0})


def test_a_prompt_that_opened_the_thinking_counts_as_its_opening() -> None:
    response = GOOD.removeprefix("<think>")
    assert RewardSpec().score(rollout(response, 1.0), LIMIT)[1]["format"] == 0.0
    assert RewardSpec().score(rollout(response, 1.0, prompt="Assistant: <think>\n"), LIMIT)[1]["format"] == 1.0


def test_an_absent_verdict_gives_no_reward() -> None:
    assert RewardSpec().score(rollout(GOOD, None), LIMIT) == (None, {})
    unjudged = rollout(GOOD, 1.0)
    unjudged.verdict = None
    assert RewardSpec().score(unjudged, LIMIT) == (None, {})


def test_signed_accuracy_pays_minus_one_for_a_wrong_answer() -> None:
    spec = RewardSpec(accuracy=2.0, format=0.0, signed=True)
    assert spec.score(rollout(GOOD, 1.0), LIMIT) == (2.0, {"accuracy": 1.0, "format": 1.0})
    assert spec.score(rollout(GOOD, 0.0), LIMIT) == (-2.0, {"accuracy": -1.0, "format": 1.0})
    assert spec.score(rollout(GOOD, 0.25), LIMIT)[0] == -1.0


@pytest.mark.parametrize(("length", "penalty"), [(1, 0.0), (16384, 0.0), (18432, -0.5), (20480, -1.0)])
def test_dapos_reward(length: int, penalty: float) -> None:
    """A right answer at the very limit earns 0, and a wrong one -2."""
    spec = RewardSpec(format=0.0, signed=True, overlong={"share": 0.2})
    for score, signed in ((1.0, 1.0), (0.0, -1.0)):
        total, parts = spec.score(rollout("", score, length=length), limit=20480)
        assert total == signed + penalty
        assert parts == {"accuracy": signed, "format": 0.0, "overlong": penalty}


def test_the_overlong_part_is_weighed_like_any_other() -> None:
    spec = RewardSpec(format=0.1, overlong={"weight": 0.4, "share": 0.5})
    total, parts = spec.score(rollout(GOOD, 1.0, length=75), limit=100)
    assert parts == {"accuracy": 1.0, "format": 1.0, "overlong": -0.5}
    assert total == pytest.approx(1.0 + 0.1 - 0.2)


def test_the_language_of_the_prompt_is_the_questions() -> None:
    spec = RewardSpec(format=0.0, language={"weight": 0.4, "script": "prompt"})
    asked = rollout("<think> yes yes 对 </think>", 1.0)
    assert spec.score(asked, LIMIT)[1]["language"] == pytest.approx(2 / 3)
    asked.problem = Problem("x", "你好", None)
    assert spec.score(asked, LIMIT)[1]["language"] == pytest.approx(1 / 3)


def test_a_summary_is_part_of_the_form_where_that_is_said() -> None:
    summed = rollout("<think> yes </think> 8 * 3 = 24. <answer> 8 * 3 </answer>", 1.0)
    assert RewardSpec().score(summed, LIMIT)[1]["format"] == 0.0
    assert RewardSpec(summary=True).score(summed, LIMIT)[1]["format"] == 1.0


def test_repetition_is_a_penalty() -> None:
    spec = RewardSpec(format=0.0, repetition={"weight": 0.4, "n": 2})
    total, parts = spec.score(rollout("5 5 5 5 5", 1.0), LIMIT)
    assert parts == {"accuracy": 1.0, "format": 0.0, "repetition": -0.75}
    assert total == pytest.approx(1 - 0.3)


def test_a_reward_models_score_takes_the_place_of_accuracy() -> None:
    spec = RewardSpec(
        accuracy=5.0,
        model=2.0,
        format=0.1,
        signed=True,
        language={"weight": 0.4, "script": "latin"},
        overlong={"weight": 0.5, "share": 0.5},
    )
    for verdict in (None, 0.0, 1.0):
        total, parts = spec.score(rollout(GOOD, verdict, length=75), 100, model_score=-1.5)
        assert parts == {"model": -1.5, "format": 1.0, "language": 0.5, "overlong": -0.5}
        assert total == pytest.approx(2 * -1.5 + 0.1 + 0.4 * 0.5 - 0.25)
    assert spec.score(rollout(GOOD, 1.0), LIMIT, model_score=0.0)[1]["model"] == 0.0


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
    [{"format": 0.0}, {"format": 0.0, "overlong": {"share": 0.2}}, {"format": 0.9, "overlong": {"share": 0.2}}],
)
def test_signed_accuracy_leaves_more_room_for_the_other_parts(weights: dict[str, object]) -> None:
    RewardSpec(**weights, signed=True)


_weight = st.floats(0, 2, allow_nan=False)


@given(_weight, _weight, _weight, _weight, _weight, st.booleans())
@settings(deadline=None)
def test_whatever_is_accepted_pays_every_right_answer_more_than_any_wrong_one(
    a: float, f: float, w: float, o: float, r: float, signed: bool
) -> None:
    language = {"weight": w, "script": "latin"} if w else None
    overlong = {"weight": o, "share": 0.5} if o else None
    repetition = {"weight": r, "n": 1} if r else None
    try:
        spec = RewardSpec(
            accuracy=a, format=f, language=language, overlong=overlong, repetition=repetition, signed=signed
        )
    except ConfigError:
        return
    responses = ["a " * 100, GOOD, "", "<think> yes </think> <answer> 1 </answer>", "<think>对</think> 24"]
    variants = list(itertools.product(responses, (1, 7, 10, 12)))
    right = min(spec.score(rollout(text, 1.0, length=n), 10)[0] for text, n in variants)
    wrong = max(spec.score(rollout(text, 0.0, length=n), 10)[0] for text, n in variants)
    assert right > wrong


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
    ],
)
def test_weights_that_make_no_sense(weights: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        RewardSpec(**weights)


def test_group_spread_shows_which_part_teaches() -> None:
    group = [{"accuracy": 0.0, "format": 1.0}, {"accuracy": 0.0, "format": 0.0}, {}]
    assert group_spread(group) == {"accuracy": 0.0, "format": 0.5}
    assert group_spread([]) == {}
