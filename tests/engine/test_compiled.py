from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from transformers import OPTConfig, OPTForCausalLM, PreTrainedModel

from reckon.engine import compiled
from reckon.engine.base import Completion, Request, Sampling
from reckon.engine.compiled import CompiledDecoder
from reckon.engine.general import GeneralDecoder
from reckon.engine.kernels import BLOCK
from reckon.engine.native import NativeEngine
from tests.engine.models import make_model, prompts, requests


@pytest.fixture(params=[1, 2, 5])
def threads(request: Any) -> Iterator[int]:
    before, count = torch.get_num_threads(), int(request.param)
    torch.set_num_threads(count)
    yield count
    torch.set_num_threads(before)


def text(completion: Completion) -> tuple[list[int], list[float]]:
    return completion.token_ids, completion.logp


def test_a_request_gets_the_same_bits_alone_and_in_any_batch(tokenizer: Any, threads: int) -> None:
    model = make_model("Qwen3Config")
    jobs = requests(prompts([9, 1, 4, 17, 2, 40, 9, 9, 30, 5, 6]), Sampling(40))
    alone = [text(NativeEngine(model, tokenizer).generate([job])[0]) for job in jobs]
    together = NativeEngine(model, tokenizer).generate(jobs)
    crowded = NativeEngine(model, tokenizer, max_running=3).generate(jobs)
    assert [text(one) for one in together] == alone
    assert [text(one) for one in crowded] == alone


def test_more_tokens_than_go_through_a_layer_together(threads: int) -> None:
    model = make_model()
    own, general = CompiledDecoder(model, 8, 128), GeneralDecoder(model, 8, 128)
    ids = torch.randint(300, (3, 100), generator=torch.Generator().manual_seed(0))
    assert ids.numel() > 2 * BLOCK
    with torch.inference_mode():
        assert own.serves(general)
        assert torch.allclose(own.logits(ids), general.logits(ids), atol=1e-4)


def test_rows_and_positions_grow_and_keep_what_they_hold(tokenizer: Any) -> None:
    model = make_model()
    engine = NativeEngine(model, tokenizer, max_running=64)
    long = Request(0, [1, 2, 3], Sampling(120, temperature=0))
    engine.submit([long])
    for _ in range(10):
        engine.poll()
    engine.submit(requests(prompts(range(1, 41)), Sampling(3, temperature=0))[1:])
    done: list[Completion] = []
    while len(done) < 40:
        done += engine.poll()
    [found] = [one for one in done if one.id == 0]
    assert text(found) == text(NativeEngine(model, tokenizer).generate([long])[0])


def test_large_models_and_other_dtypes_are_left_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def served(model: PreTrainedModel) -> bool:
        with torch.inference_mode():
            return CompiledDecoder(model, 4, 64).serves(GeneralDecoder(model, 4, 64))

    assert served(make_model())
    assert not served(make_model().double())
    assert not served(make_model("GPT2Config"))
    assert not served(
        OPTForCausalLM(OPTConfig(hidden_size=32, num_attention_heads=4, ffn_dim=64, word_embed_proj_dim=32))
    )
    monkeypatch.setattr(compiled, "COMPILED_PARAMETERS", 1000)
    assert not served(make_model())


def test_weights_that_are_no_numbers_give_logits_that_are_none() -> None:
    model = make_model()
    decoder = CompiledDecoder(model, 4, 64)
    with torch.inference_mode():
        assert decoder.serves(GeneralDecoder(model, 4, 64))
        model.model.layers[0].self_attn.k_proj.weight[0, 0] = float("nan")
        assert decoder.decode(torch.tensor([5]), torch.tensor([0]), 1, 1).isnan().all()


def test_scoring_a_long_text_leaves_the_cache_as_it_is(tokenizer: Any) -> None:
    model = make_model()
    engine = NativeEngine(model, tokenizer, max_running=64)
    engine.generate(requests(prompts([3] * 40), Sampling(2)))
    [decoder] = [one for one in engine._own if isinstance(one, CompiledDecoder)]
    before = decoder._cache
    engine.score([[1]], [[2] * 120])
    assert decoder._cache is before


def test_rows_that_moved_keep_their_place_when_the_cache_could_not_grow(
    tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model()
    engine = NativeEngine(model, tokenizer, max_running=64)
    grow = CompiledDecoder._new_cache

    def full(decoder: CompiledDecoder, rows: int, positions: int) -> object:
        if rows > 16:
            monkeypatch.setattr(CompiledDecoder, "_new_cache", grow)
            raise MemoryError
        return grow(decoder, rows, positions)

    jobs = [Request(number, [7], Sampling(4, temperature=0), seed=number) for number in range(40)]
    monkeypatch.setattr(CompiledDecoder, "_new_cache", full)
    engine.submit(jobs)
    with pytest.raises(MemoryError):
        engine.poll()
    engine.cancel([0])
    done: list[Completion] = []
    while len(done) < 39:
        done += engine.poll()
    [expected] = NativeEngine(model, tokenizer).generate(jobs[:1])
    assert all(one.token_ids == expected.token_ids for one in done)


def test_processors_on_which_the_tile_would_be_slow_are_left_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "USABLE", False)
    assert not CompiledDecoder(make_model(), 4, 64).serves(GeneralDecoder(make_model(), 4, 64))
