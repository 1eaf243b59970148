from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from reckon.algorithms.batch import Batch
from reckon.algorithms.nll import NLL
from reckon.algorithms.policy_gradient import KL, PolicyGradient
from reckon.core.errors import ConfigError, MissingColumn
from reckon.core.records import Rollout
from reckon.learn.forward import Policy
from reckon.learn.learner import Learner, Mismatch, OptimConfig

Rollouts = Callable[..., list[Rollout]]
Model = Callable[..., Any]


def gradients(model: Any, batch: Batch, algorithm: Any, budget: int) -> dict[str, torch.Tensor]:
    """The gradient that one update would apply, before clipping."""
    model = copy.deepcopy(model)
    learner = Learner(Policy(model), OptimConfig(micro_batch_tokens=budget, grad_clip=1e9, lr=1e-9), steps=1)
    seen: dict[str, torch.Tensor] = {}
    learner.optimizer.step = lambda: seen.update(  # type: ignore[method-assign, assignment]
        {name: p.grad.clone() for name, p in model.named_parameters()}
    )
    learner.update(batch, algorithm)
    return seen


def credited(rollouts: list[Rollout], algorithm: Any, model: Any) -> Batch:
    """A batch slightly off-policy, so that ratios and clips are at work."""
    batch = Batch.of(rollouts)
    algorithm.credit(batch, {})
    logp_S = Learner(Policy(copy.deepcopy(model)), OptimConfig(), steps=1).measure(batch).need("logp_S")
    noise_S = torch.randn(len(logp_S), generator=torch.Generator().manual_seed(0))
    batch.logp_old_S = batch.logp_roll_S = logp_S + 0.3 * noise_S
    batch.logp_ref_S = logp_S - 0.1
    return batch


def test_the_gradient_is_that_of_the_formula_written_out(tiny_model: Model, make_rollouts: Rollouts) -> None:
    model, algorithm = tiny_model(), PolicyGradient(kl=KL(coef=0.1), aggregation="sequence_mean")
    rollouts = make_rollouts(groups=2)
    batch = credited(rollouts, algorithm, model)
    found = gradients(model, batch, algorithm, budget=64)

    total = torch.zeros(())
    offset = 0
    for rollout in rollouts:
        ids = torch.tensor([rollout.prompt_ids + rollout.response_ids])
        logp = model(input_ids=ids).logits[0, len(rollout.prompt_ids) - 1 : -1].log_softmax(-1)
        logp = logp.gather(1, torch.tensor(rollout.response_ids)[:, None])[:, 0]
        size = len(rollout.response_ids)
        take = slice(offset, offset + size)
        assert batch.advantage_S is not None
        assert batch.logp_ref_S is not None
        assert batch.logp_old_S is not None
        ratio = (logp - batch.logp_old_S[take]).exp()
        gain = torch.minimum(ratio * batch.advantage_S[take], ratio.clamp(0.8, 1.28) * batch.advantage_S[take])
        x = logp - batch.logp_ref_S[take]
        total = total + (-gain + 0.1 * ((-x).exp() - 1 + x)).mean() / len(rollouts)
        offset += size
    total.backward()  # type: ignore[no-untyped-call]
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, atol=1e-6, rtol=1e-4)


def test_logp_is_the_models_own_whatever_the_order(tiny_model: Model, make_rollouts: Rollouts) -> None:
    model, rollouts = tiny_model(), make_rollouts()
    learner = Learner(Policy(model, temperature=0.7), OptimConfig(micro_batch_tokens=64), steps=1)
    found = learner.measure(Batch.of(rollouts)).need("logp_S").split([len(r.response_ids) for r in rollouts])
    for rollout, values in zip(rollouts, found, strict=True):
        ids = torch.tensor([rollout.prompt_ids + rollout.response_ids])
        logits = model(input_ids=ids).logits[0, len(rollout.prompt_ids) - 1 : -1] / 0.7
        expected = logits.log_softmax(-1).gather(1, torch.tensor(rollout.response_ids)[:, None])[:, 0]
        torch.testing.assert_close(values, expected.detach(), atol=1e-5, rtol=1e-5)


def test_long_vocabularies_are_taken_in_chunks(
    tiny_model: Model, make_rollouts: Rollouts, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, batch = tiny_model(), Batch.of(make_rollouts())
    whole = gradients(model, batch, NLL(), budget=10_000)
    monkeypatch.setattr("reckon.learn.forward.LOGITS_PER_CHUNK", 64 * 7)
    for name, value in gradients(model, batch, NLL(), budget=10_000).items():
        torch.testing.assert_close(value, whole[name], atol=1e-6, rtol=1e-4)


def test_zero_variance_groups_give_exactly_no_gradient(tiny_model: Model, make_rollouts: Rollouts) -> None:
    model, rollouts = tiny_model(), make_rollouts()
    for rollout in rollouts:
        rollout.reward = 0.1
    learner = Learner(Policy(model), OptimConfig(lr=1.0), steps=1)
    before = copy.deepcopy(model.state_dict())
    batch = credited(rollouts, PolicyGradient(), model)
    report = learner.update(batch, PolicyGradient())
    assert report["grad_norm"] == 0
    assert report["update_tokens"] == 0
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_forced_tokens_teach_nothing(tiny_model: Model, make_rollouts: Rollouts) -> None:
    model, rollouts = tiny_model(), make_rollouts(groups=2)
    for rollout in rollouts:
        rollout.sampled = [index % 3 != 0 for index in range(len(rollout.response_ids))]
    batch = credited(rollouts, PolicyGradient(), model)
    assert batch.sampled_S is not None
    assert batch.logp_old_S is not None
    before = gradients(model, batch, PolicyGradient(), budget=100)
    batch.logp_old_S = torch.where(batch.sampled_S, batch.logp_old_S, -9.0)
    for name, value in gradients(model, batch, PolicyGradient(), budget=100).items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_an_update_that_is_not_finite_is_refused(poison: float, tiny_model: Model, make_rollouts: Rollouts) -> None:
    model = tiny_model()
    learner = Learner(Policy(model), OptimConfig(lr=0.1), steps=2)
    batch = credited(make_rollouts(), PolicyGradient(), model)
    learner.update(copy.deepcopy(batch), PolicyGradient())
    weights, moments = copy.deepcopy(model.state_dict()), copy.deepcopy(learner.optimizer.state_dict()["state"])
    assert batch.advantage_S is not None
    batch.advantage_S[3] = poison
    report = learner.update(batch, PolicyGradient())
    assert report["skipped"] is True
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    after = learner.optimizer.state_dict()["state"]
    assert all(torch.equal(after[i]["exp_avg"], moments[i]["exp_avg"]) for i in moments)


def test_an_update_is_seen_in_the_versions_of_weights(tiny_model: Model, make_rollouts: Rollouts) -> None:
    model, batch = tiny_model(), Batch.of(make_rollouts())
    NLL().credit(batch, {})
    before = [weight._version for weight in model.parameters()]
    Learner(Policy(model), OptimConfig(), steps=1).update(batch, NLL())
    assert all(weight._version > old for weight, old in zip(model.parameters(), before, strict=True))


def test_behaviour_log_probs_are_mandatory(make_rollouts: Rollouts) -> None:
    rollouts = make_rollouts()
    for rollout in rollouts:
        rollout.logp = []
    with pytest.raises(MissingColumn, match="logp_roll_S"):
        PolicyGradient().credit(Batch.of(rollouts), {})


def test_a_restored_learner_goes_on_bit_for_bit(tmp_path: Path, tiny_model: Model, make_rollouts: Rollouts) -> None:
    def train(learner: Learner, steps: range) -> None:
        for step in steps:
            batch = Batch.of(make_rollouts(seed=step))
            PolicyGradient().credit(batch, {})
            learner.update(batch, PolicyGradient())

    config = OptimConfig(lr=1e-2, warmup_steps=2, schedule="cosine", weight_decay=0.1)
    straight = Learner(Policy(tiny_model()), config, steps=6)
    train(straight, range(6))
    first = Learner(Policy(tiny_model()), config, steps=6)
    train(first, range(3))
    counters = first.save(tmp_path)
    second = Learner(Policy(copy.deepcopy(first.model)), config, steps=6)
    second.load(tmp_path, counters)
    train(second, range(3, 6))
    for name, value in straight.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[name]), name


def test_mismatch_of_equal_policies_is_none() -> None:
    found = Mismatch()
    found.add(torch.tensor([-1.0, -2.0]), torch.tensor([-1.0, -2.0]))
    assert found.summary() == {"mismatch_k1": 0, "mismatch_k3": 0, "ess": 1, "ratio_max": 1}


def test_effective_sample_size() -> None:
    found = Mismatch()
    found.add(torch.log(torch.tensor([3.0, 1.0])), torch.zeros(2))
    assert found.summary()["ess"] == pytest.approx((3 + 1) ** 2 / (2 * (9 + 1)))
    assert found.summary()["ratio_max"] == pytest.approx(3)


def test_a_model_that_bends_its_logits_is_refused(tiny_model: Model) -> None:
    model = tiny_model()
    forward = model.forward

    def capped(**inputs: Any) -> Any:
        out = forward(**inputs)
        out.logits = torch.tanh(out.logits)
        return out

    model.forward = capped
    with pytest.raises(ConfigError, match="changes its logits"):
        Policy(model)


def test_learning_rates() -> None:
    config = OptimConfig(lr=1.0, warmup_steps=4, schedule="cosine")
    assert [config.lr_at(step, 104) for step in (0, 3, 4)] == [0.25, 1.0, 1.0]
    assert config.lr_at(54, 104) == pytest.approx(0.55)
    assert config.lr_at(104, 104) == pytest.approx(0.1)
