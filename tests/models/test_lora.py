from __future__ import annotations

import builtins
import copy
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, Qwen2ForSequenceClassification

from reckon.algorithms.base import Reference
from reckon.algorithms.batch import Batch
from reckon.algorithms.nll import NLL
from reckon.core.errors import ConfigError, DataError
from reckon.core.events import EventLog
from reckon.core.records import Rollout
from reckon.core.stop import Stop
from reckon.engine.base import Sampling
from reckon.engine.compiled import CompiledDecoder
from reckon.engine.native import NativeEngine
from reckon.learn.forward import Policy
from reckon.learn.learner import Learner, OptimConfig
from reckon.learn.reference import ReferenceModel
from reckon.models.load import load_model, save_model
from reckon.models.lora import LoraConfig, Merged, add_lora, is_adapted, load_adapter, merged, save_adapter
from reckon.models.value import ValueModel
from reckon.rollout.collect import Collection
from reckon.stages.train import CheckpointConfig, Train
from tests.engine.models import make_model, prompts, requests, teacher_forced

Model = Callable[..., Any]
Rollouts = Callable[..., list[Rollout]]
IDS = torch.arange(24).view(2, 12)
KINDS = ["Qwen2Config", "LlamaConfig", "Qwen3Config"]


def adapted(model: Any, noise: float = 0.1, seed: int = 0, **config: Any) -> Any:
    """The model with adapters that have learned something."""
    add_lora(model, LoraConfig(**{"rank": 4, "alpha": 8, **config}), seed)
    shake(model, noise)
    return model


@torch.no_grad()
def shake(model: Any, noise: float = 0.1) -> None:
    random = torch.Generator().manual_seed(7)
    for weight in model.parameters():
        if weight.requires_grad:
            weight += noise * torch.randn(weight.shape, generator=random).to(weight.dtype)


def logits(model: Any) -> Tensor:
    with torch.no_grad():
        found: Tensor = model(input_ids=IDS).logits
    return found


def frozen(model: Any) -> dict[str, Tensor]:
    return {name: weight.clone() for name, weight in model.named_parameters() if not weight.requires_grad}


# ------------------------------------------------------------------------------------------- the adapters


def test_fresh_adapters_change_nothing_and_alone_want_gradients(tiny_model: Model) -> None:
    model = tiny_model()
    before, parameters = logits(model), model.num_parameters()
    counts = add_lora(model, LoraConfig(rank=4), seed=0)
    assert torch.equal(logits(model), before)
    trainable = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    assert {name.rpartition(".default")[0].rpartition(".")[2] for name in trainable} == {"lora_A", "lora_B"}
    # Seven linear layers in each of two layers, two matrices for each.
    assert len(trainable) == 2 * 7 * 2
    assert counts == {"parameters": parameters, "trainable_parameters": sum(w.numel() for w in trainable.values())}


def test_adapters_are_a_function_of_the_seed_alone(tiny_model: Model) -> None:
    models = []
    for seed in (1, 1, 2):
        torch.rand(5)
        models.append(tiny_model())
        state = torch.get_rng_state()
        add_lora(models[-1], LoraConfig(), seed)
        assert torch.equal(torch.get_rng_state(), state)
    first, again, other = (model.model.layers[0].mlp.up_proj.lora_A.default.weight for model in models)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_targets_by_name(tiny_model: Model) -> None:
    model = tiny_model()
    add_lora(model, LoraConfig(targets=("q_proj", "0.mlp.up_proj")), seed=0)
    layers = [name for name, part in model.named_modules() if hasattr(part, "lora_A")]
    assert layers == [
        f"model.layers.{where}" for where in ("0.self_attn.q_proj", "0.mlp.up_proj", "1.self_attn.q_proj")
    ]


@pytest.mark.parametrize("target", ["q_prj", "embed_tokens", "lm_head", "self_attn"])
def test_targets_that_cannot_be_adapted(target: str, tiny_model: Model) -> None:
    model = tiny_model()
    with pytest.raises(ConfigError, match=rf"lora\.targets.*{target}.*q_proj"):
        add_lora(model, LoraConfig(targets=(target,)), seed=0)
    assert not is_adapted(model)


def test_without_peft(tiny_model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    found = builtins.__import__

    def absent(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "peft":
            raise ImportError(name)
        return found(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(ConfigError, match=r"pip install 'reckon\[lora\]'"):
        add_lora(tiny_model(), LoraConfig(), seed=0)


@pytest.mark.parametrize("bad", [{"rank": 0}, {"alpha": 0}, {"targets": ()}, {"dropout": 0.1}])
def test_settings_out_of_range(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        LoraConfig(**bad)


# --------------------------------------------------------------------------------------------- merged


@pytest.mark.parametrize("kind", KINDS)
def test_merged_weights_compute_what_the_adapted_model_does(kind: str) -> None:
    model = make_model(kind, initializer_range=0.1)
    base = logits(model)
    adapted(model)
    plain = merged(model)
    assert not is_adapted(plain)
    assert (logits(model) - base).abs().max() > 0.1
    torch.testing.assert_close(logits(plain), logits(model), atol=1e-5, rtol=1e-5)
    assert plain.get_input_embeddings().weight is model.get_input_embeddings().weight


def test_merging_leaves_the_adapted_model_as_it_was(tiny_model: Model) -> None:
    model = adapted(tiny_model())
    before, state = logits(model), copy.deepcopy(model.state_dict())
    merged(model)
    assert torch.equal(logits(model), before)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_a_plain_model_is_its_own_merged_one(tiny_model: Model) -> None:
    model = tiny_model()
    assert merged(model) is model


def test_merged_weights_follow_at_refresh(tiny_model: Model) -> None:
    model = adapted(tiny_model())
    found = Merged(model)
    found.refresh()
    version, old = found.version(), logits(found.plain)
    shake(model)
    assert torch.equal(logits(found.plain), old)
    assert found.version() > version
    found.refresh()
    torch.testing.assert_close(logits(found.plain), logits(model), atol=1e-4, rtol=1e-4)


def test_adapters_of_a_bfloat16_model_are_float32(tiny_model: Model) -> None:
    model = adapted(tiny_model().bfloat16(), noise=0.02)
    assert {weight.dtype for weight in model.parameters() if weight.requires_grad} == {torch.float32}
    plain, layer = merged(model), model.model.layers[0].mlp.up_proj
    assert {weight.dtype for weight in plain.parameters()} == {torch.bfloat16}
    product = layer.lora_B.default.weight @ layer.lora_A.default.weight
    expected = (layer.base_layer.weight.float() + 2 * product).bfloat16()
    assert torch.equal(plain.model.layers[0].mlp.up_proj.weight, expected)


def test_a_saved_model_is_an_ordinary_one(
    tiny_model: Model, tmp_path: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    model = adapted(tiny_model())
    save_model(model, tokenizer, tmp_path)
    loaded, info = AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info[keys] for keys in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    torch.testing.assert_close(logits(loaded), logits(model), atol=1e-4, rtol=1e-4)
    assert not list(tmp_path.glob("adapter*"))


# --------------------------------------------------------------------------------------- files of adapters


def test_an_adapter_is_restored_bit_for_bit(tiny_model: Model, tmp_path: Path) -> None:
    model = adapted(tiny_model())
    save_adapter(model, tmp_path)
    other = adapted(tiny_model(), noise=0.5, seed=3)
    load_adapter(other, tmp_path)
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in model.state_dict().items())


def test_peft_loads_the_adapter(tiny_model: Model, tmp_path: Path) -> None:
    model = adapted(tiny_model())
    save_adapter(model, tmp_path)
    assert torch.equal(logits(peft.PeftModel.from_pretrained(tiny_model(), tmp_path)), logits(model))


def test_the_config_beside_the_adapter_does_not_depend_on_the_process(tiny_model: Model, tmp_path: Path) -> None:
    save_adapter(adapted(tiny_model()), tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    # peft keeps a set here, whose order is another in every process.
    assert config["target_modules"] == sorted(config["target_modules"])
    assert len(config["target_modules"]) == 2 * 7


def test_an_adapter_of_another_shape_is_refused(tiny_model: Model, tmp_path: Path) -> None:
    save_adapter(adapted(tiny_model(), rank=2), tmp_path)
    with pytest.raises(DataError, match="does not fit"):
        load_adapter(adapted(tiny_model()), tmp_path)
    with pytest.raises(DataError, match="no adapter could be read"):
        load_adapter(adapted(tiny_model()), tmp_path / "nowhere")


# ---------------------------------------------------------------------------------------------- training


def test_an_update_moves_the_adapters_alone(tiny_model: Model, make_rollouts: Rollouts) -> None:
    model = adapted(tiny_model())
    base, state = frozen(model), copy.deepcopy(model.state_dict())
    learner = Learner(Policy(model), OptimConfig(lr=1e-2, weight_decay=0.1), steps=1)
    assert learner.update(Batch.of(make_rollouts()), NLL())["grad_norm"] > 0
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, state[name])}
    assert moved == {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert all(torch.equal(weight, base[name]) for name, weight in model.named_parameters() if name in base)
    assert {id(weight) for group in learner.optimizer.param_groups for weight in group["params"]} == {
        id(weight) for weight in model.parameters() if weight.requires_grad
    }


@pytest.mark.parametrize("kind", ["initial", "refreshed", "ema"])
def test_a_reference_shares_what_is_frozen(
    kind: Any, tiny_model: Model, make_rollouts: Rollouts, tmp_path: Path
) -> None:
    batch, base = Batch.of(make_rollouts()), Learner(Policy(tiny_model()), OptimConfig(), steps=1)
    expected = base.measure(batch).need("logp_S")
    model = tiny_model()
    add_lora(model, LoraConfig(), seed=0)
    learner = Learner(Policy(model), OptimConfig(lr=1e-2), steps=3)
    config = Reference(kind=kind, every=1 if kind == "refreshed" else None, rate=0.5 if kind == "ema" else None)
    reference = ReferenceModel(config, learner.forward)  # type: ignore[arg-type]
    its = dict(reference.policy.model.named_parameters())
    assert {n for n, weight in model.named_parameters() if its[n] is weight} == set(frozen(model))
    for _ in range(3):
        learner.update(batch, NLL())
    reference.follow(model, 3)
    found = learner.measure(batch, reference.policy).need("logp_S")
    if kind == "initial":
        assert torch.equal(found, expected)
    else:
        assert not torch.allclose(found, expected, atol=1e-2)
    counters = reference.save(tmp_path)
    again = ReferenceModel(config, learner.forward)  # type: ignore[arg-type]
    again.load(tmp_path, counters)
    assert torch.equal(learner.measure(batch, again.policy).need("logp_S"), found)


def test_a_classifier_trains_its_head_too(tiny_model: Model, tmp_path: Path) -> None:
    config = tiny_model().config
    config.num_labels, config.pad_token_id = 1, 0
    torch.manual_seed(0)
    model = Qwen2ForSequenceClassification(config).eval()
    base = copy.deepcopy(model)
    adapted(model)
    assert "score.weight" in {name for name, weight in model.named_parameters() if weight.requires_grad}
    torch.testing.assert_close(logits(merged(model)), logits(model), atol=1e-5, rtol=1e-5)
    save_adapter(model, tmp_path)
    restored = copy.deepcopy(base)
    add_lora(restored, LoraConfig(rank=4, alpha=8), seed=1)
    load_adapter(restored, tmp_path)
    assert torch.equal(logits(restored), logits(model))
    assert torch.equal(logits(peft.PeftModel.from_pretrained(base, tmp_path)), logits(model))


# ------------------------------------------------------------------------------------------------ the engine


@pytest.mark.parametrize("kind", KINDS)
def test_the_engine_samples_from_the_adapted_model(
    kind: str, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[str] = []
    decode = CompiledDecoder.decode
    monkeypatch.setattr(CompiledDecoder, "decode", lambda *args: used.append("compiled") or decode(*args))
    model = make_model(kind)
    base = copy.deepcopy(model)
    adapted(model)
    engine = NativeEngine(model, tokenizer)
    for _ in range(2):
        texts = prompts([5, 9, 3])
        found = engine.generate(requests(texts, Sampling(max_new_tokens=12)))
        for text, completion in zip(texts, found, strict=True):
            expected = teacher_forced(model, text, completion.token_ids, 1.0)
            assert completion.logp == pytest.approx(expected, abs=1e-4)
            assert completion.logp != pytest.approx(teacher_forced(base, text, completion.token_ids, 1.0), abs=0.1)
        [score] = engine.score(texts[:1], [found[0].token_ids])
        assert score == pytest.approx(found[0].logp, abs=1e-4)
        # An optimiser's update, in place.
        shake(model)
    assert used


def test_the_engine_sees_an_update_in_mid_response(tokenizer: PreTrainedTokenizerFast) -> None:
    model, [text] = adapted(make_model()), prompts([4])
    engine = NativeEngine(model, tokenizer)
    engine.submit(requests([text], Sampling(max_new_tokens=2)))
    engine.poll()
    shake(model, 0.5)
    [found] = engine.poll()
    assert found.logp[1] != pytest.approx(teacher_forced(merged(adapted(make_model())), text, found.token_ids, 1.0)[1])


# --------------------------------------------------------------------------------------- resume, and learning


class Lessons:
    """A source of the same few texts, so that their loss can fall."""

    def __init__(self, make_rollouts: Rollouts) -> None:
        self._make = make_rollouts

    def collect(self, step: int, check: Callable[[], None]) -> Collection:
        return Collection(self._make(groups=4, samples=2, seed=step % 2), [])

    def save(self) -> dict[str, Any]:
        return {}

    def load(self, saved: dict[str, Any]) -> None:
        assert saved == {}


def train(folder: Path, model: Any, rollouts: Rollouts, tokenizer: Any, steps: int, total: int) -> Path:
    stage = Train(
        folder=folder,
        learner=Learner(Policy(model), OptimConfig(lr=1e-2, schedule="cosine"), steps=total),
        tokenizer=tokenizer,
        algorithm=NLL(),
        source=Lessons(rollouts),
        steps=steps,
        seed=0,
        events=EventLog(folder / "events.jsonl"),
        stop=Stop(),
        checkpoint=CheckpointConfig(every=steps, keep=5),
        evaluate=lambda step, tokens: None,
        eval_every=1000,
    )
    return stage.run()


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_resumed_run_is_the_straight_one_bit_for_bit(
    tiny_model: Model, make_rollouts: Rollouts, tmp_path: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    def fresh(seed: int) -> Any:
        model = tiny_model()
        add_lora(model, LoraConfig(rank=4), seed)
        return model

    straight = train(tmp_path / "straight", fresh(0), make_rollouts, tokenizer, 12, 12)
    train(tmp_path / "resumed", fresh(0), make_rollouts, tokenizer, 6, 12)
    # Another seed: whatever is not restored would show.
    resumed = train(tmp_path / "resumed", fresh(9), make_rollouts, tokenizer, 12, 12)
    for name in ("model.safetensors", "trainer/adapter_model.safetensors", "trainer/optimizer.safetensors"):
        assert sha256(straight / name) == sha256(resumed / name), name
    assert (logits(load_model(straight)[0]) - logits(tiny_model())).abs().max() > 0.1


def test_the_loss_falls(tiny_model: Model, make_rollouts: Rollouts, tmp_path: Path, tokenizer: Any) -> None:
    model = tiny_model()
    add_lora(model, LoraConfig(rank=8), seed=0)
    train(tmp_path, model, make_rollouts, tokenizer, 30, 30)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["loss"] < 0.5 * rows[0]["loss"]


def test_a_critic_made_of_an_adapted_policy_trains_adapters_of_its_own(tiny_model: Model) -> None:
    model = adapted(tiny_model())
    critic = ValueModel(model)
    trainable = {name for name, weight in critic.named_parameters() if weight.requires_grad}
    assert trainable == {"head.weight", *(f"decoder.{name.removeprefix('model.')}" for name in names_that_train(model))}
    assert not {id(weight) for weight in critic.parameters()} & {id(weight) for weight in model.parameters()}


def names_that_train(model: Any) -> list[str]:
    return [name for name, weight in model.named_parameters() if weight.requires_grad]
