"""Losses and gradients beside those of TRL's own trainer, given nothing but the same tokens, rewards and weights.

The trainer is real. Rollouts take the place of its generation; from there its own code pads and masks, measures the old
policy and the reference, compares the rewards and computes the loss. Reckon does the same with a published preset, in
which only the std is set to TRL's. Where the two mean different things, a test says by how much. The findings are a
table in ``docs/methods/README.md``, "Beside TRL".
"""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from torch import Tensor

from reckon.algorithms import ops
from reckon.algorithms.batch import Batch
from reckon.algorithms.policy_gradient import PolicyGradient
from reckon.core.records import Problem, Rollout
from reckon.data.micro import build_tokenizer
from reckon.learn.forward import Policy, measure
from reckon.rewards.lengths import soft_overlong
from reckon.run.kinds import RLRecipe
from reckon.run.recipe import read_recipe

trl = pytest.importorskip("trl", reason="TRL is not installed; it comes with the `bench` extra")
pytestmark = pytest.mark.filterwarnings("ignore:You are using 'rollout_func'")

GROUPS, SAMPLES, PARTS, LIMIT = 4, 5, 2, 24
"""Prompts, responses to each, parts that TRL cuts the batch into, and the token limit."""

THEIRS: dict[str, dict[str, Any]] = {
    "modern": {},
    "grpo": {"loss_type": "grpo", "beta": 0.04, "use_bias_correction_kl": False},
    "dr-grpo": {"loss_type": "dr_grpo", "scale_rewards": "none"},
    "dapo": {"epsilon_high": 0.28},
    "gspo": {"loss_type": "grpo", "importance_sampling_level": "sequence", "epsilon": 3e-4, "epsilon_high": 4e-4},
    "cispo": {"loss_type": "cispo", "epsilon_high": 5.0},
}
"""The methods as settings of TRL's ``GRPOConfig``, beside its defaults."""

OURS: dict[str, dict[str, Any]] = {
    "modern": {"clip_high": 0.2},
    "dr-grpo": {"constant": LIMIT, "truncation": "grade"},
}
"""What the presets set differently from that."""

TOKEN_MEANS = ("modern", "dapo", "cispo")

TRL_STD = {"advantage": "group_std_sample", "epsilon": 1e-4}


@dataclass(frozen=True)
class Scene:
    """Rollouts, and three policies: the reference, the one that sampled, the one that learns."""

    folder: Path
    rollouts: list[Rollout]
    reference: Any
    old: Any
    new: Any

    @property
    def on_policy(self) -> Scene:
        return replace(self, new=self.old)


@dataclass(frozen=True)
class Update:
    """A loss, its gradient by the name of the parameter, and, of ours, the share of clipped tokens."""

    loss: float
    gradients: dict[str, Tensor]
    clip_fraction: float = math.nan

    @classmethod
    def of(cls, model: Any, loss: Tensor, clip_fraction: float = math.nan) -> Update:
        """Differentiate the loss."""
        model.zero_grad()
        loss.backward()
        return cls(loss.item(), {name: p.grad for name, p in model.named_parameters()}, clip_fraction)


@pytest.fixture
def scene(tiny_model: Callable[..., Any], tmp_path: Path) -> Scene:
    """Off-policy, so far that clips act. Weights in double precision: TRL's output layer alone rounds to float32."""
    tokenizer = build_tokenizer()
    reference = tiny_model(vocab=len(tokenizer)).double()
    reference.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    old = moved(reference, seed=1)
    return Scene(tmp_path, rollouts_of(tokenizer.eos_token_id), reference, old, moved(old, seed=2))


def moved(model: Any, seed: int) -> Any:
    """A copy of the model with noise on its weights."""
    model, generator = copy.deepcopy(model), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.02 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
    return model


def rollouts_of(end: int) -> list[Rollout]:
    """Groups of unequal lengths with some forced tokens; three hold a truncated response, one has equal rewards."""
    rng = random.Random(0)
    found = []
    for group in range(GROUPS):
        prompt = [rng.randrange(1, 200) for _ in range(rng.randint(2, 9))]
        for sample in range(SAMPLES):
            truncated = group < 3 and sample == group
            length = LIMIT if truncated else rng.randint(2, LIMIT)
            ids = [rng.randrange(1, 200) for _ in range(length)]
            found.append(
                Rollout(
                    task="toy",
                    problem=Problem(f"p{group}", "?", None),
                    sample=sample,
                    prompt="?",
                    prompt_ids=prompt,
                    response="",
                    response_ids=ids if truncated else [*ids[1:], end],
                    logp=[],
                    finish="length" if truncated else "stop",
                    seed=0,
                    sampled=[rng.random() < 0.8 for _ in ids[1:]] + [True],
                    reward=1.0 if group == 3 else float(sample % 2 == 0) + 0.1 * rng.random(),
                )
            )
    return found


# ------------------------------------------------------------------------------------------------ the two sides


class Theirs:
    """TRL's trainer with the rollouts scored: ``inputs`` are all that its loss sees, ``parts`` the same in parts."""

    def __init__(self, scene: Scene, **settings: Any) -> None:
        from trl.trainer.utils import split_tensor_dict

        self.scene, rollouts = scene, scene.rollouts
        config = trl.GRPOConfig(
            output_dir=str(scene.folder / "trl"),
            per_device_train_batch_size=GROUPS * SAMPLES // PARTS,
            gradient_accumulation_steps=PARTS,
            # At one iteration per batch TRL takes the old log-probs from the loss's own forward pass.
            num_iterations=1 if scene.new is scene.old else 2,
            num_generations=SAMPLES,
            max_completion_length=LIMIT,
            model_init_kwargs={"dtype": "auto"},
            gradient_checkpointing=False,
            bf16=False,
            use_cpu=True,
            report_to="none",
            **settings,
        )
        rows = [{"prompt": rollout.prompt} for rollout in rollouts]
        self.trainer = trl.GRPOTrainer(
            model=str(scene.folder),
            reward_funcs=lambda **_: [rollout.reward for rollout in rollouts],
            args=config,
            train_dataset=Dataset.from_list(rows),
            rollout_func=lambda prompts, trainer: {
                "prompt_ids": [rollout.prompt_ids for rollout in rollouts],
                "completion_ids": [rollout.response_ids for rollout in rollouts],
                "env_mask": [[int(flag) for flag in rollout.sampled or ()] for rollout in rollouts],
                "logprobs": None,
            },
        )
        model = self.trainer.model.train()
        model.load_state_dict(scene.old.state_dict())
        self.inputs = self.trainer._generate_and_score_completions(rows)
        self.parts = split_tensor_dict(self.inputs, PARTS)
        model.load_state_dict(scene.new.state_dict())

    def update(self, parts: list[dict[str, Any]] | None = None) -> Update:
        """One update of the learning policy, for which these parts, or all, are accumulated."""
        parts, model = parts or self.parts, self.trainer.model
        self.trainer.current_gradient_accumulation_steps = len(parts)
        return Update.of(model, sum(self.trainer._compute_loss(model, part) for part in parts))


def preset(method: str, **changes: Any) -> PolicyGradient:
    """The published preset, with TRL's std where it divides by one."""
    recipe = read_recipe("r1-zero", [f"preset={method}"])
    assert isinstance(recipe, RLRecipe)
    assert isinstance(recipe.algorithm, PolicyGradient)
    std = TRL_STD if recipe.algorithm.advantage == "group_std" else {}
    return PolicyGradient.model_validate({**recipe.algorithm.model_dump(), **std, **OURS.get(method, {}), **changes})


def credited(scene: Scene, algorithm: PolicyGradient) -> Batch:
    batch = Batch.of(scene.rollouts)
    batch.logp_old_S = batch.logp_roll_S = measure(Policy(scene.old), batch, 10_000).logp_S
    batch.logp_ref_S = measure(Policy(scene.reference), batch, 10_000).logp_S
    algorithm.credit(batch, {})
    return batch


def update(scene: Scene, algorithm: PolicyGradient, batch: Batch | None = None) -> Update:
    """One update of the learning policy on this batch, or on all rollouts."""
    batch = credited(scene, algorithm) if batch is None else batch
    algorithm.weigh(batch)
    loss, logged = algorithm.objective(Policy(scene.new)(batch), batch, {})
    return Update.of(scene.new, loss, logged["clip_fraction"].item())


def assert_equal(theirs: Update, ours: Update, factor: float = 1.0) -> None:
    """Theirs is ours times the factor; an element of a gradient is as exact as the largest of its parameter."""
    assert theirs.loss == pytest.approx(factor * ours.loss, rel=1e-5, abs=1e-7)
    assert theirs.gradients.keys() == ours.gradients.keys()
    for name, gradient in ours.gradients.items():
        expected, largest = factor * gradient, factor * gradient.abs().max().item()
        assert largest > 1e-4, name
        torch.testing.assert_close(theirs.gradients[name], expected, rtol=1e-5, atol=1e-5 * largest, msg=name)


def advantages(batch: Batch) -> Tensor:
    """[N] the advantage that all tokens of a sequence share."""
    return batch.need("advantage_S")[batch.length_N.cumsum(0) - 1]


# ----------------------------------------------------------------------------------------------- what agrees


@pytest.mark.parametrize("method", THEIRS)
def test_on_policy_losses_and_gradients_are_equal(method: str, scene: Scene) -> None:
    theirs = Theirs(scene.on_policy, **THEIRS[method])
    assert "old_per_token_logps" not in theirs.inputs
    assert_equal(theirs.update(), update(scene.on_policy, preset(method)))


@pytest.mark.parametrize("method", THEIRS)
def test_off_policy_losses_and_gradients_are_equal(method: str, scene: Scene) -> None:
    ours = update(scene, preset(method))
    assert ours.clip_fraction > 0.01
    assert_equal(Theirs(scene, **THEIRS[method]).update(), ours)


def test_log_probs_and_advantages_are_equal(scene: Scene) -> None:
    theirs, batch = Theirs(scene, **THEIRS["grpo"]).inputs, credited(scene, preset("grpo"))
    response_NT = theirs["completion_mask"].bool()
    for name, ours_S in (("old", batch.logp_old_S), ("ref", batch.logp_ref_S)):
        found_S = theirs[f"{name}_per_token_logps"][response_NT]
        torch.testing.assert_close(found_S, ours_S, rtol=1e-5, atol=1e-5, check_dtype=False)
    torch.testing.assert_close(theirs["advantages"], advantages(batch), rtol=1e-5, atol=0)


def test_their_delta_is_our_dual_clip(scene: Scene) -> None:
    ours = update(scene, preset("dapo", dual_clip=1.5))
    assert ours.clip_fraction > update(scene, preset("dapo")).clip_fraction
    assert_equal(Theirs(scene, **THEIRS["dapo"], delta=1.5).update(), ours)


def test_the_punishments_of_overlong_responses_are_equal() -> None:
    from trl.rewards import get_soft_overlong_punishment

    lengths = [0, 16_384, 16_385, 18_432, 20_480, 30_000]
    theirs = get_soft_overlong_punishment(max_completion_len=20_480, soft_punish_cache=4096)
    found = theirs(completion_ids=[[1] * length for length in lengths])
    assert found == [soft_overlong(length, 20_480, 4096) for length in lengths]


# ------------------------------------------------------------------------------------- what differs, by how much


def test_their_std_is_the_samples(scene: Scene) -> None:
    # Theirs is (r - mean) / (s + 1e-4), ours (r - mean) / (s sqrt((G - 1) / G) + 1e-6).
    theirs = Theirs(scene).inputs["advantages"].view(GROUPS, SAMPLES)[:3]
    batch = credited(scene, preset("grpo", advantage="group_std", epsilon=1e-6))
    ours = advantages(batch).view(GROUPS, SAMPLES)[:3]
    s = batch.need("reward_N").view(GROUPS, SAMPLES)[:3].std(dim=1, keepdim=True)
    factor = (s + 1e-4) / (s * math.sqrt((SAMPLES - 1) / SAMPLES) + 1e-6)
    torch.testing.assert_close(ours.double(), factor * theirs.double(), rtol=1e-5, atol=0)
    torch.testing.assert_close(factor, torch.full_like(factor, math.sqrt(SAMPLES / (SAMPLES - 1))), rtol=1e-3, atol=0)


def test_rewards_closer_than_rounding_are_equal_in_ours_alone(scene: Scene) -> None:
    rewards = torch.tensor([0.5e-6, 0, 0, 0, 0])
    rollouts = [replace(r, reward=value) for r, value in zip(scene.rollouts, rewards.tolist() * GROUPS, strict=True)]
    scene = replace(scene, rollouts=rollouts)
    theirs = Theirs(scene).inputs["advantages"].view(GROUPS, SAMPLES)
    expected = (rewards - rewards.mean()) / (rewards.std() + 1e-4)
    assert expected.max() > 3e-3
    torch.testing.assert_close(theirs, expected.expand(GROUPS, SAMPLES), rtol=1e-5, atol=0)
    assert torch.count_nonzero(advantages(credited(scene, preset("modern")))) == 0


def test_their_kl_is_weighted_by_the_ratio_unless_told_otherwise(scene: Scene) -> None:
    # The gradient of ratio k3 is that of ratio k2 with the ratio held: on-policy k3_corrected has it.
    settings = {**THEIRS["grpo"], "use_bias_correction_kl": True}
    corrected = preset("grpo", kl={"coef": 0.04, "estimator": "k3_corrected"})
    assert_equal(Theirs(scene.on_policy, **settings).update(), update(scene.on_policy, corrected))

    algorithm = preset("grpo", kl=None)
    batch = credited(scene, algorithm)
    algorithm.weigh(batch)
    outputs = Policy(scene.new)(batch)
    logp_S = outputs.need("logp_S")
    ratio_S = ops.importance_ratio(logp_S, batch.need("logp_old_S")).detach()
    kl_S = ratio_S * ops.kl_penalty(logp_S, batch.need("logp_ref_S"), "k3_corrected")
    loss = algorithm.objective(outputs, batch, {})[0] + 0.04 * (batch.need("weight_S") * kl_S).sum()
    assert_equal(Theirs(scene, **settings).update(), Update.of(scene.new, loss))


@pytest.mark.parametrize("method", THEIRS)
def test_with_several_minibatches_their_token_mean_is_over_the_mean_minibatch(method: str, scene: Scene) -> None:
    theirs, algorithm = Theirs(scene, **THEIRS[method]), preset(method)
    batch = credited(scene, algorithm)
    for part, rows_K in zip(theirs.parts, torch.arange(len(batch)).chunk(PARTS), strict=True):
        minibatch = batch.rows(rows_K)
        tokens = minibatch.live_S.sum() / (batch.live_S.sum() / PARTS)
        assert abs(tokens - 1) > 0.03
        factor = tokens.item() if method in TOKEN_MEANS else 1.0
        assert_equal(theirs.update([part]), update(scene, algorithm, minibatch), factor)


@pytest.mark.parametrize("method", THEIRS)
def test_their_masked_responses_stay_in_the_number_of_responses(method: str, scene: Scene) -> None:
    theirs = Theirs(scene, **THEIRS[method], mask_truncated_completions=True)
    ours = update(scene, preset(method, truncation="mask"))
    counted = sum(rollout.finish == "stop" for rollout in scene.rollouts) / len(scene.rollouts)
    assert counted == 17 / 20
    assert_equal(theirs.update(), ours, 1.0 if method in TOKEN_MEANS else counted)


def test_truncated_responses_of_dr_grpo_need_a_reward_of_0_in_theirs(scene: Scene) -> None:
    judged = [replace(r, reward=0.0) if r.finish == "length" else r for r in scene.rollouts]
    theirs = Theirs(replace(scene, rollouts=judged), **THEIRS["dr-grpo"])
    assert_equal(theirs.update(), update(scene, preset("dr-grpo", truncation="zero_reward")))


def test_their_ratios_have_no_limit(scene: Scene) -> None:
    theirs, algorithm = Theirs(scene, **THEIRS["dapo"]), preset("dapo")
    batch = credited(scene, algorithm)
    row = int((advantages(batch) < 0).nonzero()[0])
    token = int(batch.length_N.cumsum(0)[row]) - 1
    far = ops.LOG_RATIO_LIMIT + 1
    old = measure(Policy(scene.new), batch, 10_000).need("logp_S")[token] - far
    batch.need("logp_old_S")[token] = theirs.inputs["old_per_token_logps"][row, batch.length_N[row] - 1] = old
    ours = update(scene, algorithm, batch)
    share = batch.need("weight_S")[token] * -batch.need("advantage_S")[token]
    beyond = share.item() * (math.exp(far) - math.exp(ops.LOG_RATIO_LIMIT))
    assert theirs.update().loss - ours.loss == pytest.approx(beyond, rel=1e-5)
