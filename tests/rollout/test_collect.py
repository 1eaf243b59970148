from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

import pytest
from pydantic import ValidationError

from reckon.core.errors import ConfigError, GateFailed, Interrupted
from reckon.core.records import Problem, Rollout, Verdict
from reckon.data.micro import build_tokenizer
from reckon.engine.base import Completion, Engine, Request, Sampling
from reckon.engine.native import NativeEngine
from reckon.models.load import end_ids, load_model
from reckon.models.template import PromptTemplate
from reckon.rewards.spec import RewardSpec
from reckon.rollout.collect import Collection, DynamicSampling, RolloutConfig, Rollouts
from reckon.rollout.sample import Sampler
from reckon.tasks.base import Task
from reckon.tasks.registry import build_task

ACCURACY = RewardSpec(format=0.0)

RIGHT, WRONG, BROKEN = "yes", "no", "so"

Rule = Callable[[str, Request], str]
"""From the prompt's text and the request to the response's text."""


class Say(Task):
    """Problem ``p7`` asks ``Question 7?``; the right response is ``yes``, and ``so`` breaks the verifier."""

    kind = "say"

    def __init__(self, count: int, gold: str | None = RIGHT) -> None:
        super().__init__()
        self._problems = [Problem(f"p{n}", f"Question {n}?", gold) for n in range(count)]

    def problems(self, split: str) -> Sequence[Problem]:
        return self._problems

    def verify(self, problem: Problem, response: str) -> Verdict:
        return Verdict(None, "broken") if BROKEN in response else Verdict(float(RIGHT in response))

    def gold_response(self, problem: Problem) -> str | None:
        return problem.gold  # type: ignore[no-any-return]


class Scripted(Engine):
    """Answers by a rule, and remembers what it was asked in each call."""

    def __init__(self, rule: Rule, tokenizer: Any) -> None:
        self.version, self._rule, self._tokenizer = 0, rule, tokenizer
        self.calls: list[list[str]] = []
        self.requests: list[Request] = []

    def generate(
        self,
        requests: Sequence[Request],
        check: Callable[[], None] | None = None,
        on_token: Callable[[int, int], None] | None = None,
    ) -> list[Completion]:
        if check is not None:
            check()
        prompts = [self._tokenizer.decode(request.prompt_ids) for request in requests]
        self.calls.append(prompts)
        self.requests += requests
        texts = [self._rule(prompt, request) for prompt, request in zip(prompts, requests, strict=True)]
        ids = [list(self._tokenizer(text)["input_ids"]) for text in texts]
        return [Completion(request.id, own, [-0.5] * len(own)) for request, own in zip(requests, ids, strict=True)]


Make = Callable[..., Sampler]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return build_tokenizer()


@pytest.fixture
def scripted(tokenizer: Any) -> Callable[..., Sampler]:
    """A sampler over ``count`` problems with answers by ``rule``: ``scripted(rule, count=16, gold="yes")``."""

    def make(rule: Rule, count: int = 16, gold: str | None = RIGHT) -> Sampler:
        task, template = Say(count, gold), PromptTemplate("{question}")
        return Sampler(task, Scripted(rule, tokenizer), tokenizer, template, Sampling(max_new_tokens=8))

    return make


def number(prompt: str) -> int:
    return int(prompt.split()[1].rstrip("?"))


def often(prompt: str, request: Request) -> str:
    """Every fourth problem always solved, every fourth never, the others by chance."""
    kind = number(prompt) % 4
    return RIGHT if kind == 0 or (kind > 1 and request.seed % 2) else WRONG


def half(prompt: str, request: Request) -> str:
    return RIGHT if request.seed % 2 else WRONG


def always(text: str) -> Rule:
    return lambda prompt, request: text


def go() -> None:
    """A check that lets everything pass."""


def config(prompts: int = 4, samples: int = 4, **others: Any) -> RolloutConfig:
    return RolloutConfig(prompts_per_step=prompts, samples_per_prompt=samples, max_new_tokens=8, **others)


def groups(rollouts: list[Rollout]) -> dict[str, list[Rollout]]:
    """By problem; a problem whose rollouts do not lie together comes twice and fails the test."""
    found = [(name, list(group)) for name, group in groupby(rollouts, key=lambda rollout: rollout.problem.id)]
    assert len(dict(found)) == len(found)
    return dict(found)


def scores(group: list[Rollout]) -> set[float | None]:
    return {rollout.verdict.score if rollout.verdict else None for rollout in group}


def tokens(collection: Collection) -> list[tuple[str, int, list[int]]]:
    return [(r.problem.id, r.sample, r.response_ids) for r in (*collection.rollouts, *collection.dropped)]


# --------------------------------------------------------------------------------------------------- every source


def test_a_step_is_its_problems_samples_judged_and_rewarded(scripted: Make) -> None:
    source = Rollouts(scripted(often), config(), ACCURACY, seed=0)
    collected = source.collect(1, go)
    assert collected.dropped == []
    assert list(groups(collected.rollouts)) == [problem.id for problem in source.order.at(1, 4)]
    for group in groups(collected.rollouts).values():
        assert [(rollout.sample, rollout.role) for rollout in group] == [(n, "policy") for n in range(4)]
        assert all(rollout.reward == rollout.parts["accuracy"] == float(RIGHT in rollout.response) for rollout in group)


def test_without_history_a_step_is_a_function_of_its_number(scripted: Make) -> None:
    walked = Rollouts(scripted(often), config(), ACCURACY, seed=0)
    steps = [tokens(walked.collect(step, go)) for step in range(1, 7)]
    assert tokens(Rollouts(scripted(often), config(), ACCURACY, seed=0).collect(6, go)) == steps[5]
    assert tokens(Rollouts(scripted(often), config(), ACCURACY, seed=1).collect(6, go)) != steps[5]


@pytest.mark.parametrize("dynamic", [None, DynamicSampling()])
def test_a_step_in_which_nothing_could_be_judged_stops_the_run(scripted: Make, dynamic: DynamicSampling | None) -> None:
    sampler = scripted(always(BROKEN))
    with pytest.raises(GateFailed, match="not one of 16 responses could be judged"):
        Rollouts(sampler, config(dynamic_sampling=dynamic), ACCURACY, seed=0).collect(1, go)
    assert len(sampler.engine.calls) == 1


# ------------------------------------------------------------------------------------------- rewards of a group


def talkative(prompt: str, request: Request) -> str:
    """Right and wrong answers by turns, each longer than the last."""
    return (RIGHT, WRONG)[request.id % 2] + " and" * (request.id % 4)


def test_lengths_are_compared_among_the_samples_of_a_prompt_once_they_count(scripted: Make) -> None:
    reward = RewardSpec(format=0.0, length={"weight": 0.5, "after": 1})
    source = Rollouts(scripted(talkative), config(2, 4), reward, seed=0, greedy=True)
    assert all("length" not in rollout.parts for rollout in source.collect(1, go).rollouts)
    for group in groups(source.collect(2, go).rollouts).values():
        lengths = [len(rollout.response_ids) for rollout in group[:4]]
        assert lengths == sorted(set(lengths))
        expected = [0.5 - (length - lengths[0]) / (lengths[-1] - lengths[0]) for length in lengths]
        expected[1] = min(0.0, expected[1])
        expected[3] = min(0.0, expected[3])
        assert [rollout.parts["length"] for rollout in group[:4]] == pytest.approx(expected)
        assert group[0].reward == pytest.approx(1 + 0.5 * expected[0])
        # The greedy answer stands alone and is compared with nothing.
        assert (group[4].role, group[4].parts["length"]) == ("greedy", 0.0)


def test_the_length_that_is_rewarded_is_the_one_that_was_asked_for(scripted: Make) -> None:
    target = {"mode": "exact", "low": 1, "high": 8, "alpha": 0.1, "weight": 0.5}
    reward = RewardSpec(format=0.0, target=target)

    def fresh() -> Sampler:
        return scripted(lambda prompt, request: RIGHT if "The answer is" in prompt else WRONG)

    sampler = fresh()
    source = Rollouts(sampler, config(6, 2, rationalise=True), reward, seed=0, greedy=True)
    first, second = source.collect(1, go).rollouts, source.collect(2, go).rollouts
    asked: dict[str, set[int]] = {}
    for rollout in (*first, *second):
        question, _, length = rollout.problem.question.removesuffix(" tokens.").partition(" Think for ")
        assert question == f"Question {rollout.problem.id[1:]}?"
        asked.setdefault(rollout.problem.id, set()).add(int(length))
        assert rollout.prompt == rollout.problem.question
        miss = abs(int(length) - len(rollout.response_ids))
        assert rollout.parts["target"] == pytest.approx(-0.1 * miss)
        assert rollout.reward == pytest.approx(float(rollout.response == RIGHT) - 0.05 * miss)
    assert {rollout.role for rollout in first} == {"policy", "greedy", "hinted"}
    assert all(prompt.count("Think for") == 1 for call in sampler.engine.calls for prompt in call)
    assert len({length for lengths in asked.values() for length in lengths}) > 2
    again = Rollouts(fresh(), config(6, 2, rationalise=True), reward, seed=0, greedy=True)
    assert [r.prompt for r in again.collect(2, go).rollouts] == [r.prompt for r in second]


def test_tokens_that_repeat_pay_for_themselves(scripted: Make) -> None:
    reward = RewardSpec(format=0.0, token_repetition={"weight": 0.05, "n": 1})
    source = Rollouts(scripted(always(f"{RIGHT} no no no")), config(1, 1), reward, seed=0)
    [rollout] = source.collect(1, go).rollouts
    assert rollout.token_rewards is not None
    assert len(rollout.token_rewards) == len(rollout.response_ids)
    again = len(rollout.response_ids) - len(set(rollout.response_ids))
    assert again >= 2
    assert rollout.parts["token_repetition"] == -again
    assert sum(rollout.token_rewards) == pytest.approx(-0.05 * again)
    assert rollout.reward == 1.0


# ----------------------------------------------------------------------------------------------- dynamic sampling


@pytest.mark.parametrize("seed", range(5))
def test_dynamic_sampling_keeps_exactly_the_prompts_of_a_step(scripted: Make, seed: int) -> None:
    sampler = scripted(often, count=64)
    source = Rollouts(sampler, config(prompts=8, dynamic_sampling=DynamicSampling()), ACCURACY, seed)
    for step in range(1, 4):
        sampler.engine.calls.clear()
        collected = source.collect(step, go)
        kept, dropped = groups(collected.rollouts), groups(collected.dropped)
        assert len(kept) == 8
        assert all(scores(group) == {0.0, 1.0} for group in kept.values())
        assert all(len(group) == 4 for group in (*kept.values(), *dropped.values()))
        assert not set(kept) & set(dropped)
        # Everything generated is somewhere, and no problem was asked in two rounds.
        asked = [prompt for call in sampler.engine.calls for prompt in call]
        assert len(asked) == 4 * len(set(asked)) == 4 * (len(kept) + len(dropped))


def test_the_surplus_is_what_was_asked_last(scripted: Make) -> None:
    sampler = scripted(often, count=64)
    collected = Rollouts(sampler, config(8, 8, dynamic_sampling=DynamicSampling()), ACCURACY, seed=4).collect(1, go)
    order = list(dict.fromkeys(f"p{number(prompt)}" for call in sampler.engine.calls for prompt in call))
    assert [name for name in order if name in groups(collected.rollouts)] == list(groups(collected.rollouts))
    mixed = [name for name, group in groups(collected.dropped).items() if scores(group) == {0.0, 1.0}]
    assert mixed
    assert mixed == [name for name in order if name in mixed]
    assert all(order.index(name) > order.index(last) for name in mixed for last in groups(collected.rollouts))


@pytest.mark.parametrize(("mixed", "rounds"), [(12, [12]), (8, [12, 6]), (1, [12, 12]), (0, [12, 12])])
def test_a_further_round_asks_for_what_is_missing_at_the_rate_seen(
    scripted: Make, mixed: int, rounds: list[int]
) -> None:
    first = Rollouts(scripted(half, count=64), config(12), ACCURACY, seed=0).order.at(1, 12)
    solved = {int(problem.id[1:]) for problem in first[mixed:]}

    def rule(prompt: str, request: Request) -> str:
        return RIGHT if number(prompt) in solved else (RIGHT, WRONG)[request.id % 2]

    sampler = scripted(rule, count=64)
    source = Rollouts(sampler, config(12, dynamic_sampling={"max_rounds": 2}), ACCURACY, seed=0)
    collected = source.collect(1, go)
    assert [len(call) // 4 for call in sampler.engine.calls] == rounds
    assert len(groups(collected.rollouts)) == 12
    assert len(groups(collected.dropped)) == sum(rounds) - 12


def test_the_filter_reads_the_verdict_and_not_the_reward(scripted: Make) -> None:
    reward = RewardSpec(format=0.0, overlong={"weight": 0.5, "share": 1.0})

    def rule(prompt: str, request: Request) -> str:
        return RIGHT + WRONG * (request.id % 4) if number(prompt) % 2 else (RIGHT, WRONG)[request.id % 2]

    collected = Rollouts(scripted(rule), config(dynamic_sampling=DynamicSampling()), reward, seed=0).collect(1, go)
    assert len(groups(collected.rollouts)) == 4
    assert all(number(rollout.problem.question) % 2 == 0 for rollout in collected.rollouts)
    solved = [group for group in groups(collected.dropped).values() if scores(group) == {1.0}]
    assert solved
    assert all(len({rollout.reward for rollout in group}) == 4 for group in solved)


def test_responses_that_could_not_be_judged_make_no_group_mixed(scripted: Make) -> None:
    def rule(prompt: str, request: Request) -> str:
        other = WRONG if number(prompt) == 5 else BROKEN
        return (RIGHT, other)[request.id % 2]

    source = Rollouts(scripted(rule, count=8), config(dynamic_sampling=DynamicSampling()), ACCURACY, seed=0)
    assert list(groups(source.collect(1, go).rollouts)) == ["p5"]


def test_after_the_last_round_the_step_goes_on_with_fewer(scripted: Make) -> None:
    def rule(prompt: str, request: Request) -> str:
        return WRONG if number(prompt) % 16 else (RIGHT, WRONG)[request.id % 2]

    rounds: dict[int, list[int]] = {}
    kept = {}
    for most in (1, 3, 10):
        sampler = scripted(rule, count=64)
        source = Rollouts(sampler, config(8, dynamic_sampling={"max_rounds": most}), ACCURACY, seed=7)
        kept[most] = len(groups(source.collect(1, go).rollouts))
        rounds[most] = [len(call) // 4 for call in sampler.engine.calls]
    assert (rounds[1], rounds[3]) == ([8], [8, 8, 8])
    assert (sum(rounds[10]), max(rounds[10])) == (64, 8)  # all problems there are
    assert kept == {1: 1, 3: 2, 10: 4}


def test_a_step_without_any_mixed_prompt_stops_the_run(scripted: Make) -> None:
    sampler = scripted(lambda prompt, request: RIGHT if number(prompt) % 2 else WRONG, count=20)
    source = Rollouts(sampler, config(dynamic_sampling={"max_rounds": 3}), ACCURACY, seed=0)
    with pytest.raises(GateFailed, match="not one prompt with right and wrong answers among 12") as error:
        source.collect(1, go)
    assert error.value.exit_code == 4
    assert "step 1" in str(error.value)
    assert "max_rounds" in str(error.value)


# ---------------------------------------------------------------------------------------------- history resampling


def test_solved_problems_leave_and_the_others_stay(scripted: Make) -> None:
    """SRPO's example: of 16, 0 and 7 right answers among 16 the last two stay."""

    def rule(prompt: str, request: Request) -> str:
        right = (16, 0, 7)[number(prompt)]
        return RIGHT if request.id % 16 < right else WRONG

    source = Rollouts(scripted(rule, count=3), config(1, 16, drop_solved=True), ACCURACY, seed=0)
    steps = [list(groups(source.collect(step, go).rollouts)) for step in range(1, 8)]
    assert sorted(name for step in steps[:3] for name in step) == ["p0", "p1", "p2"]
    assert [sorted(first + second) for first, second in (steps[3:5], steps[5:7])] == [["p1", "p2"]] * 2


def test_what_was_solved_in_a_refill_leaves_too(scripted: Make) -> None:
    changes = {"dynamic_sampling": DynamicSampling(), "drop_solved": True}
    source = Rollouts(scripted(often, count=16), config(**changes), ACCURACY, seed=0)
    collected = [source.collect(step, go) for step in range(1, 5)]
    solved = {n for step in collected for n, group in groups(step.dropped).items() if scores(group) == {1.0}}
    assert solved >= {"p0", "p4", "p8", "p12"}
    later = [source.collect(step, go) for step in range(5, 12)]
    assert not solved & {rollout.problem.id for step in later for rollout in (*step.rollouts, *step.dropped)}


def test_when_nearly_all_are_solved_all_return(scripted: Make) -> None:
    source = Rollouts(scripted(always(RIGHT), count=8), config(drop_solved=True), ACCURACY, seed=0)
    for epoch in range(3):
        asked = [name for step in (1, 2) for name in groups(source.collect(2 * epoch + step, go).rollouts)]
        assert sorted(asked) == [f"p{n}" for n in range(8)]


@pytest.mark.parametrize("changes", [{}, {"dynamic_sampling": DynamicSampling(max_rounds=2)}], ids=["all", "dynamic"])
def test_a_resumed_source_collects_what_the_uninterrupted_one_does(scripted: Make, changes: dict[str, Any]) -> None:
    def fresh() -> Rollouts:
        return Rollouts(scripted(often, count=21), config(drop_solved=True, **changes), ACCURACY, seed=3)

    source, whole, saved = fresh(), [], []
    for step in range(1, 21):
        saved.append(json.loads(json.dumps(source.save())))
        whole.append(tokens(source.collect(step, go)))
    assert saved[-1]["gone"]
    for start in range(0, 20, 3):
        resumed = fresh()
        resumed.load(saved[start])
        assert [tokens(resumed.collect(step, go)) for step in range(start + 1, 21)] == whole[start:]


def test_a_step_that_was_abandoned_leaves_no_trace(scripted: Make) -> None:
    def fresh() -> Rollouts:
        return Rollouts(scripted(often, count=8), config(drop_solved=True), ACCURACY, seed=0, greedy=True)

    calls = iter(range(100))

    def stop_in_the_greedy_pass() -> None:
        if next(calls) % 2:
            raise Interrupted("stopped")

    source = fresh()
    for step in range(1, 8):
        with pytest.raises(Interrupted):
            source.collect(step, stop_in_the_greedy_pass)
        resumed = fresh()
        resumed.load(json.loads(json.dumps(source.save())))
        assert tokens(resumed.collect(step, go)) == tokens(source.collect(step, go))


# ----------------------------------------------------------------------------------------- greedy, anchors, hints


@pytest.fixture(scope="module")
def micro() -> Sampler:
    model, tokenizer = load_model("micro")
    task = build_task({"kind": "countdown", "numbers": 3, "train_problems": 20, "heldout_problems": 5})
    sampling = Sampling(max_new_tokens=24, temperature=1.0, stop_ids=end_ids(model, tokenizer))
    return Sampler(task, NativeEngine(model, tokenizer), tokenizer, PromptTemplate("micro"), sampling)


def test_the_greedy_answer_is_the_engines(micro: Sampler) -> None:
    source = Rollouts(micro, config(3, 2), RewardSpec(), seed=0, greedy=True)
    without = Rollouts(micro, config(3, 2), RewardSpec(), seed=0).collect(1, go)
    collected = source.collect(1, go)
    greedy = [rollout for rollout in collected.rollouts if rollout.role == "greedy"]
    requests = [
        Request(number, rollout.prompt_ids, replace(micro.sampling, temperature=0.0))
        for number, rollout in enumerate(greedy)
    ]
    assert [rollout.response_ids for rollout in greedy] == [c.token_ids for c in micro.engine.generate(requests)]
    for group in groups(collected.rollouts).values():
        assert [rollout.role for rollout in group] == ["policy", "policy", "greedy"]
        assert all(
            r.reward is not None and r.verdict is not None and set(r.parts) == {"accuracy", "format"} for r in group
        )
    policy = [rollout.response_ids for rollout in collected.rollouts if rollout.role == "policy"]
    assert policy == [rollout.response_ids for rollout in without.rollouts]


def test_the_anchors_samples_come_last_and_from_seeds_of_their_own(micro: Sampler) -> None:
    """The anchor is the policy itself here, so that equal seeds would give equal responses."""
    collected = Rollouts(micro, config(3, 2), RewardSpec(), seed=0, anchor=micro).collect(1, go)
    for group in groups(collected.rollouts).values():
        assert [(rollout.role, rollout.sample) for rollout in group] == [
            ("policy", 0), ("policy", 1), ("anchor", 0), ("anchor", 1),
        ]  # fmt: skip
        assert len({rollout.seed for rollout in group}) == 4
        assert len({tuple(rollout.response_ids) for rollout in group}) == 4
        assert all(len(rollout.logp) == len(rollout.response_ids) and rollout.reward is not None for rollout in group)


def test_the_anchor_answers_for_itself(scripted: Make) -> None:
    policy, anchor = scripted(always(RIGHT)), scripted(always(WRONG))
    collected = Rollouts(policy, config(samples=1), ACCURACY, seed=0, anchor=anchor, greedy=True).collect(1, go)
    for group in groups(collected.rollouts).values():
        assert [(rollout.role, rollout.reward) for rollout in group] == [
            ("policy", 1.0), ("greedy", 1.0), ("anchor", 0.0), ("anchor", 0.0),
        ]  # fmt: skip


def test_only_prompts_that_are_kept_get_more_than_samples(scripted: Make) -> None:
    sampler = scripted(often, count=64)
    source = Rollouts(sampler, config(8, dynamic_sampling=DynamicSampling()), ACCURACY, seed=0, greedy=True)
    collected = source.collect(1, go)
    assert {rollout.role for rollout in collected.dropped} == {"policy"}
    assert [group[-1].role for group in groups(collected.rollouts).values()] == ["greedy"] * 8


def with_hint(prompt: str, request: Request) -> str:
    return RIGHT if "The answer is" in prompt else often(prompt, request)


def test_unsolved_problems_are_asked_again_with_the_answer(scripted: Make) -> None:
    sampler = scripted(with_hint)
    source = Rollouts(sampler, config(16, 2, rationalise=True), ACCURACY, seed=0)
    collected = source.collect(1, go)
    assert collected.dropped == []
    for name, group in groups(collected.rollouts).items():
        policy = [rollout for rollout in group if rollout.role == "policy"]
        hinted = group[len(policy) :]
        assert len(policy) == 2
        assert [rollout.role for rollout in hinted] == (["hinted"] * 2 if scores(policy) == {0.0} else [])
        if int(name[1:]) % 4 == 1:
            assert len(hinted) == 2
        for rollout in hinted:
            # As if the hint had not been there, but for the log-probs, which nobody has.
            assert (rollout.prompt, rollout.prompt_ids) == (policy[0].prompt, policy[0].prompt_ids)
            assert (rollout.problem, rollout.logp) == (policy[0].problem, [])
            assert (rollout.response, rollout.reward) == (RIGHT, 1.0)
            assert rollout.seed not in {other.seed for other in policy}
    first, second = sampler.engine.calls
    assert not any("The answer is" in prompt for prompt in first)
    assert all(prompt.endswith("? The answer is yes.") for prompt in second)


def test_the_hint_is_the_answer_of_the_gold_response(scripted: Make) -> None:
    sampler = scripted(always(WRONG), gold="<think> long </think> <answer> 8 * 3 </answer>")
    Rollouts(sampler, config(1, 1, rationalise=True), ACCURACY, seed=0).collect(1, go)
    assert sampler.engine.calls[1][0].endswith("? The answer is 8 * 3.")


def test_a_task_without_gold_responses_cannot_be_rationalised(scripted: Make) -> None:
    with pytest.raises(ConfigError, match="the task say has no gold responses"):
        Rollouts(scripted(half, gold=None), config(rationalise=True), ACCURACY, seed=0)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"samples": 1, "dynamic_sampling": {}}, "samples_per_prompt must be at least 2"),
        ({"dynamic_sampling": {}, "rationalise": True}, "dynamic_sampling keeps no such prompt"),
        ({"dynamic_sampling": {"max_rounds": 0}}, "greater than or equal to 1"),
    ],
)
def test_impossible_combinations(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        config(**settings)


# ---------------------------------------------------------------------------------------------- reward models


class Lengths:
    """A reward model that likes long responses, and cannot say of a broken one."""

    def score(self, rollouts: Sequence[Rollout]) -> list[float | None]:
        return [None if BROKEN in rollout.response else float(len(rollout.response)) for rollout in rollouts]


def test_a_reward_model_pays_in_the_place_of_the_verifier(scripted: Make) -> None:
    def rule(prompt: str, request: Request) -> str:
        return (RIGHT, "a long one", BROKEN)[request.id % 3]

    spec = RewardSpec(format=0.0, model=0.5)
    source = Rollouts(scripted(rule), config(1, 3), spec, seed=0, scorers={"say": Lengths()})
    rollouts = source.collect(1, go).rollouts
    assert [rollout.reward for rollout in rollouts] == [1.5, 5.0, None]
    assert [set(rollout.parts) for rollout in rollouts] == [{"model", "format"}, {"model", "format"}, set()]


def test_a_reward_model_has_no_say_in_other_tasks(scripted: Make) -> None:
    source = Rollouts(scripted(always(WRONG)), config(2, 1), ACCURACY, seed=0, scorers={"other": Lengths()})
    assert [rollout.reward for rollout in source.collect(1, go).rollouts] == [0.0, 0.0]
