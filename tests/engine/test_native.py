from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from transformers import AutoModelForCausalLM, PreTrainedModel

from reckon.core.errors import ConfigError
from reckon.engine.base import Completion, Request, Sampling
from reckon.engine.native import NativeEngine
from tests.engine.models import SHAPES, make_model, prompts, requests, teacher_forced, tokens


@pytest.fixture(scope="module", params=["Qwen2Config", "GPT2Config"])
def model(request: Any) -> PreTrainedModel:
    """One that the engine computes itself and one that it calls."""
    return make_model(request.param)


class Forwards:
    """Counts the model's forwards by the shape of their input."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.shapes: list[tuple[int, ...]] = []
        self._hook = model.register_forward_pre_hook(self._see, with_kwargs=True)

    def _see(self, module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        self.shapes.append(tuple(kwargs["input_ids"].shape))

    def __enter__(self) -> list[tuple[int, ...]]:
        return self.shapes

    def __exit__(self, *_: object) -> None:
        self._hook.remove()


@pytest.mark.parametrize("kind", SHAPES)
def test_greedy_equals_transformers_generate_and_logp_the_models_own(kind: str, tokenizer: Any) -> None:
    model = make_model(kind)
    texts = prompts([9, 1, 4, 17, 2])
    completions = NativeEngine(model, tokenizer).generate(requests(texts, Sampling(20, temperature=0)))
    for text, completion in zip(texts, completions, strict=True):
        expected = model.generate(torch.tensor([text]), max_new_tokens=20, do_sample=False, use_cache=False)
        assert completion.token_ids == expected[0, len(text) :].tolist()
        assert completion.finish == "length"
        assert completion.logp == pytest.approx(teacher_forced(model, text, completion.token_ids, 1.0), abs=1e-4)


@pytest.mark.parametrize("kind", SHAPES)
def test_score_equals_the_models_own(kind: str, tokenizer: Any) -> None:
    model = make_model(kind)
    texts, answers = prompts([3, 12, 1, 5]), [*prompts([8, 2, 15]), []]
    scores = NativeEngine(model, tokenizer, prefill_tokens=20).score(texts, answers, temperature=0.7)
    for text, answer, score in zip(texts, answers, scores, strict=True):
        assert score == pytest.approx(teacher_forced(model, text, answer, 0.7), abs=1e-4)


def test_sampled_logp_is_that_of_the_tempered_distribution(model: Any, tokenizer: Any) -> None:
    texts = prompts([5, 11])
    for top_p in (1.0, 0.8):
        for done, text in zip(
            NativeEngine(model, tokenizer).generate(requests(texts, Sampling(15, 0.6, top_p))), texts, strict=True
        ):
            assert done.logp == pytest.approx(teacher_forced(model, text, done.token_ids, 0.6), abs=1e-4)


def test_tokens_do_not_depend_on_batch_mates_slots_or_order(model: Any, tokenizer: Any) -> None:
    texts = prompts([9, 1, 4, 17, 2, 9, 30, 5])
    jobs = [
        Request(index, text, Sampling(6 + 5 * index, [1.0, 0.0, 0.7][index % 3], [1.0, 0.5][index % 2]), seed=index)
        for index, text in enumerate(texts)
    ]
    together = NativeEngine(model, tokenizer).generate(jobs)
    alone = [NativeEngine(model, tokenizer).generate([job])[0] for job in jobs]
    queued = NativeEngine(model, tokenizer, max_running=3, prefill_tokens=8).generate(jobs[::-1])[::-1]
    assert tokens(together) == tokens(alone) == tokens(queued)
    assert [len(row) for row in tokens(together)] == [job.sampling.max_new_tokens for job in jobs]
    assert [done.id for done in queued] == [job.id for job in jobs]
    for one, other in zip(together, queued, strict=True):
        assert one.logp == pytest.approx(other.logp, abs=1e-4)


def test_the_seed_decides(model: Any, tokenizer: Any) -> None:
    job = [Request(index, [1, 2, 3], Sampling(12), seed=seed) for index, seed in enumerate([5, 5, 6, 2**70 + 5])]
    same, again, other, huge = tokens(NativeEngine(model, tokenizer).generate(job))
    assert same == again != other
    assert huge == same, "seeds count modulo 2**63"


def test_a_response_cut_short_continues_as_it_would_have(model: Any, tokenizer: Any) -> None:
    engine, prompt = NativeEngine(model, tokenizer), [4, 5, 6]
    whole = engine.generate([Request(0, prompt, Sampling(20), seed=9)])[0].token_ids
    rest = engine.generate([Request(0, prompt + whole[:8], Sampling(12), seed=9)])[0].token_ids
    assert whole[8:] == rest


def test_a_group_is_prefilled_once(model: Any, tokenizer: Any) -> None:
    first, second = prompts([10, 7])
    engine = NativeEngine(model, tokenizer)
    with Forwards(model) as shapes:
        engine.generate(requests([first] * 4 + [second] * 4, Sampling(3)))
    assert shapes == [(2, 9), (8, 1), (8, 1), (8, 1)]


def test_rows_of_finished_requests_are_dropped_and_reused(model: Any, tokenizer: Any) -> None:
    jobs = [Request(index, [index, 2, 3], Sampling(length)) for index, length in enumerate([1, 3, 3, 2, 2])]
    with Forwards(model) as shapes:
        NativeEngine(model, tokenizer, max_running=3).generate(jobs)
    assert shapes == [(3, 2), (3, 1), (1, 2), (3, 1), (3, 1), (1, 2), (1, 1), (1, 1)]


def test_cancel_returns_each_request_once(model: Any, tokenizer: Any) -> None:
    engine = NativeEngine(model, tokenizer, max_running=2)
    jobs = requests(prompts([3, 4, 5, 6]), Sampling(10))
    expected = tokens(NativeEngine(model, tokenizer).generate(jobs))
    engine.submit(jobs)
    engine.poll()
    engine.poll()
    cancelled = engine.cancel([0, 3, 99])
    assert {one.id: (one.finish, one.token_ids) for one in cancelled} == {
        0: ("cancelled", expected[0][:2]),
        3: ("cancelled", []),
    }
    assert engine.cancel([0]) == []
    rest: dict[int, Completion] = {}
    while len(rest) < 2:
        rest.update((one.id, one) for one in engine.poll())
    assert (rest[1].token_ids, rest[2].token_ids) == (expected[1], expected[2])
    assert engine.poll() == []


def test_generate_abandoned_by_check_leaves_nothing_behind(model: Any, tokenizer: Any) -> None:
    engine, seen = NativeEngine(model, tokenizer), []

    def check() -> None:
        if len(seen) >= 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.generate(
            requests(prompts([4, 3]), Sampling(10)), check, lambda request, token: seen.append((request, token))
        )
    assert [request for request, _ in seen] == [0, 1, 0, 1]
    assert engine.poll() == []
    assert engine.on_token is None


def test_streaming_gives_every_token_in_order(model: Any, tokenizer: Any) -> None:
    streamed: dict[int, list[int]] = {0: [], 1: []}
    done = NativeEngine(model, tokenizer).generate(
        [Request(0, [1], Sampling(4)), Request(1, [2], Sampling(9))],
        on_token=lambda request, token: streamed[request].append(token),
    )
    assert list(streamed.values()) == tokens(done)


def test_stop_ids_end_a_response_and_are_kept(model: Any, tokenizer: Any) -> None:
    engine = NativeEngine(model, tokenizer)
    free = engine.generate([Request(0, [1, 2], Sampling(20), seed=3)])[0].token_ids
    end = next(token for place, token in enumerate(free) if place >= 5 and token not in free[:place])
    stopped = engine.generate([Request(0, [1, 2], Sampling(20, stop_ids=(end,)), seed=3)])[0]
    assert stopped.token_ids == free[: free.index(end) + 1]
    assert (stopped.finish, len(stopped.logp)) == ("stop", len(stopped.token_ids))


def scripted(model: PreTrainedModel, text: list[int]) -> PreTrainedModel:
    """Make the model answer a prompt of one token with ``text``, whatever its weights."""
    fed: dict[str, torch.Tensor] = {}

    def head(module: Any, args: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        forced = torch.zeros_like(output)
        for row, position in enumerate(fed["position_ids"][:, -1].tolist()):
            forced[row, -1, text[position]] = 50.0
        return forced

    model.register_forward_pre_hook(lambda module, args, kwargs: fed.update(kwargs), with_kwargs=True)
    model.lm_head.register_forward_hook(head)
    return model


@pytest.mark.parametrize(
    ("said", "stop", "kept"),
    [
        ("a wait, no", "wait,", "a wait,"),
        ("x = 24\n\nEnd", "\n\n", "x = 24\n\n"),
        ("去试等吗", "试等", "去试等"),  # three tokens, each a byte, make one character
        ("yes. No", ". ", "yes. "),
    ],
)
def test_stop_strings_end_at_the_token_that_completes_them(said: str, stop: str, kept: str, tokenizer: Any) -> None:
    ids = tokenizer.encode(said)
    engine = NativeEngine(scripted(make_model(), ids), tokenizer)
    done = engine.generate([Request(0, [0], Sampling(len(ids), temperature=0, stop=("never", stop)))])[0]
    assert done.finish == "stop"
    assert done.token_ids == ids[: len(done.token_ids)]
    assert stop in tokenizer.decode(done.token_ids)
    assert stop not in tokenizer.decode(done.token_ids[:-1])
    assert tokenizer.decode(done.token_ids).startswith(kept)


def test_weights_changed_in_place_are_the_weights_served(tokenizer: Any) -> None:
    model, job = make_model(), [Request(0, [1, 2, 3], Sampling(20, temperature=0))]
    engine = NativeEngine(model, tokenizer)
    before = engine.generate(job)[0]
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(-1.3)
    engine.version = 1
    after = engine.generate(job)[0]
    assert (before.version, after.version) == (0, 1)
    assert before.token_ids != after.token_ids == NativeEngine(model, tokenizer).generate(job)[0].token_ids


def test_the_learner_finds_its_model_as_it_left_it(tokenizer: Any) -> None:
    model = make_model(attention_dropout=0.5)
    model.train()
    attention = model.config._attn_implementation
    engine = NativeEngine(model, tokenizer)
    one, two = (tokens(engine.generate([Request(0, [1, 2, 3], Sampling(9))])) for _ in range(2))
    assert one == two, "dropout is off while generating"
    assert model.training
    assert model.config._attn_implementation == attention
    model(torch.tensor([[1, 2, 3]])).logits.sum().backward()
    assert all(weight.grad is not None for weight in model.parameters())


@pytest.mark.parametrize(
    ("request_", "complaint"),
    [
        (Request(0, [], Sampling(4)), "prompt is empty"),
        (Request(0, [1] * 100, Sampling(29)), "128"),
        (Request(0, [320], Sampling(4)), "319"),
        (Request(0, [-1], Sampling(4)), "319"),
        (Request(0, [1], Sampling(0)), "max_new_tokens"),
        (Request(0, [1], Sampling(4, temperature=-0.1)), "temperature"),
        (Request(0, [1], Sampling(4, temperature=float("nan"))), "temperature"),
        (Request(0, [1], Sampling(4, top_p=0.0)), "top_p"),
        (Request(0, [1], Sampling(4, top_p=1.1)), "top_p"),
        (Request(0, [1], Sampling(4, stop=("",))), "stop string"),
        (Request(7, [1], Sampling(4)), "already queued"),
    ],
)
def test_requests_that_cannot_be_served(request_: Request, complaint: str, model: Any, tokenizer: Any) -> None:
    engine = NativeEngine(model, tokenizer)
    engine.submit([Request(7, [1], Sampling(2))])
    with pytest.raises(ConfigError, match=complaint):
        engine.submit([Request(1, [1], Sampling(2)), request_])
    assert [done.id for done in engine.poll() + engine.poll()] == [7], "all are queued or none"


@pytest.mark.parametrize(
    "config",
    [
        transformers.MambaConfig(vocab_size=8, hidden_size=8, num_hidden_layers=1),
        transformers.BloomConfig(vocab_size=8, hidden_size=8, n_layer=1, n_head=2),
    ],
)
def test_models_without_a_usable_cache_are_refused(config: Any, tokenizer: Any) -> None:
    with pytest.raises(ConfigError, match=f"{config.model_type.capitalize()}ForCausalLM"):
        NativeEngine(AutoModelForCausalLM.from_config(config), tokenizer)


@pytest.mark.parametrize(
    "settings", [{"max_running": 0}, {"max_context": 129}, {"max_context": 1}, {"prefill_tokens": 0}]
)
def test_engine_settings_out_of_range(settings: dict[str, int], model: Any, tokenizer: Any) -> None:
    with pytest.raises(ConfigError, match="out of range"):
        NativeEngine(model, tokenizer, **settings)
