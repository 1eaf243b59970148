from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.models.qwen2 import modeling_qwen2

from reckon.algorithms.batch import Batch
from reckon.algorithms.nll import NLL
from reckon.core.records import Rollout
from reckon.engine import compiled
from reckon.engine.base import Request, Sampling
from reckon.engine.compiled import CompiledDecoder
from reckon.engine.decoder import Decoder
from reckon.engine.direct import DirectDecoder
from reckon.engine.general import GeneralDecoder
from reckon.engine.native import NativeEngine
from reckon.engine.plain import is_plain
from reckon.learn.forward import Policy
from reckon.learn.learner import Learner, OptimConfig
from reckon.models.lora import LoraConfig, add_lora
from tests.engine.models import make_model, prompts, requests, teacher_forced, tokens

LLAMA3 = {"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
PLAIN: dict[str, tuple[str, dict[str, Any]]] = {
    "qwen2": ("Qwen2Config", {}),
    "qwen2 untied": ("Qwen2Config", {"tie_word_embeddings": False, "rms_norm_eps": 1e-2}),
    "llama": ("LlamaConfig", {}),
    "llama, heads of their own": ("LlamaConfig", {"num_key_value_heads": 4, "tie_word_embeddings": True}),
    "llama, one key head": ("LlamaConfig", {"num_key_value_heads": 1, "intermediate_size": 47}),
    "qwen3": ("Qwen3Config", {"rms_norm_eps": 1e-2}),
    "qwen3, wide heads": ("Qwen3Config", {"head_dim": 16, "tie_word_embeddings": True}),
    "mistral": ("MistralConfig", {"sliding_window": None}),
    "linear rope": ("LlamaConfig", {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 100.0}}),
    "llama3 rope": (
        "LlamaConfig",
        {"rope_parameters": {**LLAMA3, "original_max_position_embeddings": 32, "rope_theta": 100.0}},
    ),
    "yarn": (
        "Qwen2Config",
        {
            "rope_parameters": {
                "rope_type": "yarn",
                "factor": 4.0,
                "original_max_position_embeddings": 32,
                "rope_theta": 100.0,
            }
        },
    ),
}


@pytest.fixture(params=PLAIN)
def plain(request: Any) -> PreTrainedModel:
    kind, changes = PLAIN[request.param]
    return make_model(kind, **changes)


class Calls:
    """Which decoder works, and the shapes it is given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[tuple[str, tuple[int, ...]]] = []
        for kind in (CompiledDecoder, DirectDecoder, GeneralDecoder):
            for name in ("prefill", "decode", "logits"):
                monkeypatch.setattr(kind, name, self._watched(kind, name))

    def _watched(self, kind: type[Decoder], name: str) -> Callable[..., Any]:
        original = getattr(kind, name)

        def call(decoder: Decoder, first: Tensor, *rest: Any) -> Any:
            self.seen.append((f"{kind.__name__.removesuffix('Decoder').lower()} {name}", tuple(first.shape)))
            return original(decoder, first, *rest)

        return call

    def kinds(self) -> set[str]:
        """Who worked since the last call, probes left out."""
        kinds = {what.split()[0] for what, shape in self.seen if shape != (2, 6)}
        self.seen.clear()
        return kinds


@pytest.fixture(params=["compiled", "direct"])
def own(request: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """Which of the engine's own forwards is to serve plain models."""
    if request.param == "direct":
        monkeypatch.setattr(compiled, "COMPILED_PARAMETERS", 0)
    kind: str = request.param
    return kind


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    return Calls(monkeypatch)


def test_greedy_equals_transformers_generate_and_logp_the_models_own(
    plain: PreTrainedModel, tokenizer: Any, own: str, calls: Calls
) -> None:
    texts = prompts([9, 1, 4, 17, 2, 40])
    engine = NativeEngine(plain, tokenizer)
    completions = engine.generate(requests(texts, Sampling(50, temperature=0)))
    scores = engine.score(texts, tokens(completions))
    assert calls.kinds() == {own}
    for text, completion, score in zip(texts, completions, scores, strict=True):
        expected = plain.generate(torch.tensor([text]), max_new_tokens=50, do_sample=False, use_cache=False)
        assert completion.token_ids == expected[0, len(text) :].tolist()
        expected_logp = teacher_forced(plain, text, completion.token_ids, 1.0)
        assert completion.logp == pytest.approx(expected_logp, abs=1e-4)
        assert score == pytest.approx(expected_logp, abs=1e-4)


@pytest.mark.parametrize("kind", [CompiledDecoder, DirectDecoder])
def test_rows_of_one_length_and_of_several_have_the_models_logits(
    plain: PreTrainedModel, kind: type[CompiledDecoder | DirectDecoder]
) -> None:
    own, general = kind(plain, 8, 128), GeneralDecoder(plain, 8, 128)
    with torch.inference_mode():
        assert own.serves(general)
        for lengths in ([5, 5, 5], [5, 2, 7]):
            ids = torch.tensor([(text + [0] * 7)[:7] for text in prompts(lengths)])
            last, position = torch.tensor([3, 14, 15]), torch.tensor(lengths)
            for decoder in (own, general):
                decoder.prefill(ids, 0, torch.arange(3))
            expected = general.decode(last, position, min(lengths) + 1, max(lengths) + 1)
            actual = own.decode(last, position, min(lengths) + 1, max(lengths) + 1)
            assert torch.allclose(actual, expected, atol=1e-4)
            for decoder in (own, general):
                decoder.move([2], [0], 8)
            arguments = (last[:2], position[[2, 1]] + torch.tensor([1, 0]), lengths[1] + 1, lengths[2] + 2)
            assert torch.allclose(own.decode(*arguments), general.decode(*arguments), atol=1e-4)


def test_shorter_dtypes(plain: PreTrainedModel, tokenizer: Any, calls: Calls) -> None:
    model, texts = plain.to(torch.bfloat16), prompts([9, 3])
    completions = NativeEngine(model, tokenizer).generate(requests(texts, Sampling(12)))
    assert calls.kinds() == {"direct"}
    for text, completion in zip(texts, completions, strict=True):
        own = teacher_forced(plain.float(), text, completion.token_ids, 1.0)
        assert torch.tensor(completion.logp).sub(torch.tensor(own)).abs().mean() < 0.15


def test_a_group_is_prefilled_once_and_rows_are_dropped(tokenizer: Any, own: str, calls: Calls) -> None:
    first, second = prompts([10, 7])
    jobs = [Request(i, [*first, *second][:10] if i < 3 else second, Sampling(1 + i % 3), seed=i) for i in range(5)]
    NativeEngine(make_model(), tokenizer).generate(jobs)
    assert calls.seen[2:] == [
        (f"{own} prefill", (2, 9)),
        (f"{own} decode", (5,)),
        (f"{own} decode", (3,)),
        (f"{own} decode", (1,)),
    ]


class Other(nn.Linear):
    """Any class but the plain one, such as an adapter's or a quantised layer's."""


def with_other_linear(model: PreTrainedModel) -> None:
    old = model.model.layers[1].mlp.up_proj
    model.model.layers[1].mlp.up_proj = Other(old.in_features, old.out_features, bias=False)


def with_own_forward(model: PreTrainedModel) -> None:
    attention = model.model.layers[0].self_attn
    attention.forward = attention.forward


def with_new_bias(model: PreTrainedModel) -> None:
    model.model.layers[0].mlp.up_proj.bias = nn.Parameter(torch.ones(48))


def with_two_dtypes(model: PreTrainedModel) -> None:
    model.model.norm.double()


CHANGED: list[Callable[[PreTrainedModel], object]] = [
    with_other_linear,
    with_own_forward,
    with_new_bias,
    with_two_dtypes,
    lambda model: model.model.layers[0].mlp.register_forward_hook(lambda *_: None),
    lambda model: model.lm_head.register_forward_pre_hook(lambda *_: None),
]


@pytest.mark.parametrize("change", CHANGED)
def test_a_changed_model_is_not_plain(change: Callable[[PreTrainedModel], object]) -> None:
    model = make_model()
    assert is_plain(model)
    change(model)
    assert not is_plain(model)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("MistralConfig", {}),
        ("Qwen2Config", {"use_sliding_window": True, "sliding_window": 6, "max_window_layers": 1}),
        ("Gemma2Config", {}),
        ("GPT2Config", {}),
        ("LlamaConfig", {"attention_bias": True}),
        ("LlamaConfig", {"hidden_act": "gelu"}),
        ("LlamaConfig", {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 100.0}}),
    ],
)
def test_other_models_are_not_plain(kind: str, changes: dict[str, Any]) -> None:
    assert not is_plain(make_model(kind, **changes))


def test_the_model_is_called_while_it_is_changed(tokenizer: Any, own: str, calls: Calls) -> None:
    model, job = make_model(), [Request(0, [1, 2, 3], Sampling(8))]
    engine = NativeEngine(model, tokenizer)
    plain = engine.generate(job)
    assert calls.kinds() == {own}
    hook = model.model.layers[0].mlp.register_forward_hook(lambda module, args, output: -output)
    changed = engine.generate(job)
    assert calls.kinds() == {"general"}
    hook.remove()
    assert tokens(engine.generate(job)) == tokens(plain) != tokens(changed)
    assert calls.kinds() == {own}


def test_a_forward_patched_in_the_class_is_noticed(
    tokenizer: Any, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(mlp: Any, x: Tensor) -> Tensor:
        return mlp.down_proj(F.gelu(mlp.gate_proj(x)) * mlp.up_proj(x))  # type: ignore[no-any-return]

    monkeypatch.setattr(modeling_qwen2.Qwen2MLP, "forward", other)
    model, text = make_model(), [1, 2, 3]
    done = NativeEngine(model, tokenizer).generate([Request(0, text, Sampling(8))])[0]
    assert calls.kinds() == {"general"}
    assert done.logp == pytest.approx(teacher_forced(model, text, done.token_ids, 1.0), abs=1e-4)


def in_place(model: PreTrainedModel) -> None:
    for weight in model.parameters():
        weight.mul_(-1.3)


def loaded(model: PreTrainedModel) -> None:
    model.load_state_dict({name: -1.3 * weight for name, weight in model.state_dict().items()})


def replaced(model: PreTrainedModel) -> None:
    for module in model.modules():
        for name, weight in list(module.named_parameters(recurse=False)):
            setattr(module, name, nn.Parameter(-1.3 * weight))
    model.tie_weights()


def through_data(model: PreTrainedModel) -> None:
    for weight in model.parameters():
        weight.data.mul_(-1.3)


@pytest.mark.parametrize("kind", ["Qwen2Config", "Qwen3Config"])
@pytest.mark.parametrize("change", [in_place, loaded, replaced, through_data])
def test_changed_weights_are_the_weights_served(
    kind: str, change: Callable[[PreTrainedModel], None], tokenizer: Any, own: str, calls: Calls
) -> None:
    model, job = make_model(kind), [Request(0, [1, 2, 3], Sampling(20))]
    engine = NativeEngine(model, tokenizer)
    before = engine.generate(job)[0]
    with torch.no_grad():
        change(model)
    after = engine.generate(job)[0]
    assert calls.kinds() == {own}
    assert before.token_ids != after.token_ids == NativeEngine(model, tokenizer).generate(job)[0].token_ids
    assert after.logp == pytest.approx(teacher_forced(model, [1, 2, 3], after.token_ids, 1.0), abs=1e-4)


def test_weights_changed_in_place_while_requests_run_are_served_from_the_next_token(tokenizer: Any, own: str) -> None:
    def halfway(model: PreTrainedModel) -> list[int]:
        engine = NativeEngine(model, tokenizer)
        engine.submit([Request(0, [1, 2, 3], Sampling(12))])
        for _ in range(5):
            assert engine.poll() == []
        with torch.no_grad():
            in_place(model)
        done = []
        while not done:
            done = engine.poll()
        return done[0].token_ids

    called = make_model()
    called.register_forward_hook(lambda *_: None)
    assert halfway(make_model()) == halfway(called)


def agrees(engine: NativeEngine, model: PreTrainedModel) -> bool:
    """Whether the engine's log-probs are the model's own."""
    texts = prompts([5, 9, 3])
    done = engine.generate(requests(texts, Sampling(12)))
    own = [teacher_forced(model, text, one.token_ids, 1.0) for text, one in zip(texts, done, strict=True)]
    return all(one.logp == pytest.approx(logp, abs=1e-4) for one, logp in zip(done, own, strict=True))


@pytest.mark.parametrize("lora", [None, LoraConfig(rank=4)])
def test_what_the_learner_makes_of_a_model_is_served(
    lora: LoraConfig | None, tokenizer: Any, own: str, calls: Calls, make_rollouts: Callable[..., list[Rollout]]
) -> None:
    model, algorithm = make_model(), NLL()
    if lora is not None:
        add_lora(model, lora, seed=0)
    engine, learner = NativeEngine(model, tokenizer), Learner(Policy(model), OptimConfig(lr=0.1), steps=3)
    batch = Batch.of(make_rollouts())
    algorithm.credit(batch, {})
    text = [1, 2, 3]
    before = teacher_forced(model, text, [4, 5, 6], 1.0)
    for _ in range(3):
        learner.update(batch, algorithm)
        assert agrees(engine, model)
    assert before != pytest.approx(teacher_forced(model, text, [4, 5, 6], 1.0), abs=0.1)
    assert calls.kinds() == {own}


def without_two_layers(model: PreTrainedModel) -> None:
    model.config.num_hidden_layers = 2


def with_fewer_tokens(model: PreTrainedModel) -> None:
    model.resize_token_embeddings(300)


def with_another_epsilon(model: PreTrainedModel) -> None:
    for layer in model.model.layers:
        layer.input_layernorm.variance_epsilon = 0.5


def with_another_scale(model: PreTrainedModel) -> None:
    for layer in model.model.layers:
        layer.self_attn.scaling *= 3


def with_one_bias(model: PreTrainedModel) -> None:
    model.model.layers[0].self_attn.k_proj.bias = nn.Parameter(torch.ones(16))


def there_and_back(model: PreTrainedModel) -> None:
    model.to(torch.bfloat16).to(torch.float32)


@pytest.mark.parametrize("used", [False, True])
@pytest.mark.parametrize(
    "change",
    [
        without_two_layers,
        with_fewer_tokens,
        with_another_epsilon,
        with_another_scale,
        with_one_bias,
        there_and_back,
    ],
)
def test_another_structure_is_served_or_left_to_the_model(
    change: Callable[[PreTrainedModel], None], used: bool, tokenizer: Any, own: str
) -> None:
    model = make_model("LlamaConfig", num_hidden_layers=4)
    engine = NativeEngine(model, tokenizer)
    if used:
        assert agrees(engine, model)
    with torch.no_grad():
        change(model)
    assert agrees(engine, model)
