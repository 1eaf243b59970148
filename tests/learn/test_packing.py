from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from reckon.algorithms.batch import Batch
from reckon.core.records import Rollout
from reckon.learn.packing import Layout, decode_for, packed, padded, token_cuts

Rollouts = Callable[..., list[Rollout]]
Model = Callable[..., Any]


def test_a_layout_holds_each_prefix_once_and_each_token_in_its_place(make_rollouts: Rollouts) -> None:
    batch = Batch.of(make_rollouts(groups=3, samples=4))
    batch.responses[1] = [*batch.responses[0][:-1], 7, 8]
    batch.responses[2] = list(batch.responses[0])
    layout = Layout.of(batch)
    # The last token predicts nothing.
    sequences = [prompt + response[:-1] for prompt, response in zip(batch.prompts, batch.responses, strict=True)]
    assert len(layout.ids_M) == len({tuple(s[:length]) for s in sequences for length in range(1, len(s) + 1)})
    lines = [line.tolist() for block in layout.spread(layout.ids_M) for line in block]
    assert sorted(sequences) == sorted(
        next(s for s in sequences if s == line[: len(s)] and len(s) == length)
        for line, length in zip(lines, sorted(map(len, sequences), reverse=True), strict=True)
    )
    torch.testing.assert_close(layout.gather(layout.spread(layout.ids_M)), layout.ids_M)
    torch.testing.assert_close(layout.gather(layout.spread(layout.position_M)), layout.position_M)
    before = [token for p, r in zip(batch.prompts, batch.responses, strict=True) for token in (p + r)[len(p) - 1 : -1]]
    assert layout.ids_M[layout.before_S].tolist() == before


def test_blocks_of_unequal_sequences_hardly_pad(make_rollouts: Rollouts) -> None:
    batch = Batch.of(make_rollouts(groups=8, samples=8))
    batch.responses[3] = [1] * 400
    shapes = Layout.of(batch).shapes
    assert shapes[0][0] == 1, "one long response must not widen the others"
    assert sum(rows for rows, _ in shapes) == len(batch)


@pytest.mark.parametrize("kind", ["Qwen2", "Qwen3", "Llama", "GPTNeoX"])
def test_packed_and_padded_are_the_model_itself(kind: str, make_rollouts: Rollouts) -> None:
    import transformers

    torch.manual_seed(0)
    heads = {} if kind == "GPTNeoX" else {"num_key_value_heads": 2}
    config = getattr(transformers, f"{kind}Config")(
        **heads,
        vocab_size=64,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=128,
    )
    decoder = getattr(transformers, f"{kind}ForCausalLM")(config).eval().get_decoder()
    batch = Batch.of(make_rollouts(groups=3, samples=3))
    layout = Layout.of(batch)
    assert decode_for(decoder) is packed
    rows = zip(batch.prompts, batch.responses, strict=True)
    alone = [decoder(input_ids=torch.tensor([p + r]))[0][0, len(p) - 1 : -1] for p, r in rows]
    for decode in (packed, padded):
        hidden_SD = decode(decoder, layout)[layout.before_S]
        torch.testing.assert_close(hidden_SD, torch.cat(alone), atol=1e-5, rtol=1e-5)
    assert decoder.config._attn_implementation == "sdpa", "the engine shares this model"


@pytest.mark.parametrize("budget", [40, 10_000])
def test_packed_and_padded_give_the_same_gradients(budget: int, tiny_model: Model, make_rollouts: Rollouts) -> None:
    batch = Batch.of(make_rollouts())
    found = []
    for decode in (packed, padded):
        decoder = tiny_model().get_decoder()
        for rows_K in token_cuts(batch, budget):
            layout = Layout.of(batch.rows(rows_K))
            # Scaled so that gradients are of the size that training has.
            (decode(decoder, layout)[layout.before_S].pow(2).sum() / len(batch.row_S)).backward()
        found.append([p.grad for p in decoder.parameters()])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)


def test_no_sequence_sees_another(tiny_model: Model, make_rollouts: Rollouts) -> None:
    decoder = tiny_model().get_decoder()
    batch = Batch.of(make_rollouts(groups=2, samples=3))
    before_S = packed(decoder, Layout.of(batch))[Layout.of(batch).before_S]
    batch.responses[0] = [(token + 1) % 64 for token in batch.responses[0]]
    after_S = packed(decoder, Layout.of(batch))[Layout.of(batch).before_S]
    others_S = batch.row_S != 0
    torch.testing.assert_close(before_S[others_S], after_S[others_S], atol=1e-6, rtol=1e-6)
    assert not torch.allclose(before_S[~others_S], after_S[~others_S])


def test_a_decoder_with_attention_of_its_own_is_padded(tiny_model: Model) -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = tiny_model().get_decoder()
            self.config = self.inner.config
            self._supports_attention_backend = True

        def forward(self, input_ids: torch.Tensor, use_cache: bool) -> Any:
            return self.inner(input_ids=input_ids, use_cache=use_cache)

    assert decode_for(Own()) is padded
    sliding = tiny_model().get_decoder()
    sliding.config.sliding_window = 8
    assert decode_for(sliding) is padded


def test_micro_batches_keep_the_budget_and_groups_together(make_rollouts: Rollouts) -> None:
    rollouts = make_rollouts(groups=32, samples=8)
    shuffled = Batch.of(rollouts).rows(torch.randperm(256, generator=torch.Generator().manual_seed(0)))
    rows, tokens = [], 0
    for rows_K in token_cuts(shuffled, 1024):
        used = len(Layout.of(shuffled.rows(rows_K)).ids_M)
        assert used <= 1024
        rows, tokens = rows + rows_K.tolist(), tokens + used
    assert sorted(rows) == list(range(256))
    assert tokens < 1.05 * len(Layout.of(shuffled).ids_M)


def test_a_unit_is_never_cut(make_rollouts: Rollouts) -> None:
    batch = Batch.of(make_rollouts(groups=6, samples=4))
    batch.unit = 2
    for rows_K in token_cuts(batch, 1):
        assert len(rows_K) == 2
        assert rows_K[0] % 2 == 0
        assert rows_K[1] == rows_K[0] + 1
