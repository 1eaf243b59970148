"""The decoder for the Llama family: a forward of our own, because a small model spends its time between the products.

A Hugging Face layer makes about fifty small tensor operations for each token, this one two dozen. It computes the
same function from the weights where the learner keeps them; only those of queries, keys and values are copied, side by
side, and again whenever they have changed. Of a model with adapters (models/lora.py) it computes the plain one that is
equal to it. What is saved:

- Tokens are the rows of one matrix, whatever texts they belong to.
- Queries, keys and values are one product, and what belongs to a key head lies together: the query heads that share it
  are the rows of one small matrix when it comes to scores.
- Queries and keys are turned in place, as complex numbers. For this the copied weights have the two halves of a head
  interleaved, alike in both, and a scalar product does not mind the order of its terms.
- Rows of one length need no mask.

Shape suffixes: N tokens, E model width, K key-value heads, G query heads of each, D head width, S slices of a product,
O outputs, L cached positions, R rows, U texts, T tokens of a text, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel

from reckon.engine.cache import grown, length_mask
from reckon.engine.decoder import Decoder
from reckon.engine.plain import Plain


class _Norm:
    """Root mean square normalisation over the last dimension (arXiv 1910.07467)."""

    def __init__(self, weight: Tensor, epsilon: float) -> None:
        self._weight, self._epsilon = weight, epsilon
        self._epsilon_tensor = torch.tensor(epsilon)
        self._by_torch = weight.is_cuda or weight.dtype != torch.float32

    def __call__(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        if self._by_torch:
            return torch.mul(F.rms_norm(x, x.shape[-1:], None, self._epsilon), self._weight, out=out)
        # The same in half the operations that torch makes of it on a CPU.
        size = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        inverse = torch.addcmul(self._epsilon_tensor, size, size, value=1 / x.shape[-1]).rsqrt_()
        normed: Tensor = torch.mul(x, inverse, out=out).mul_(self._weight)
        return normed


class _Layer:
    """The weights of one decoder layer as the products take them; copies are those of queries, keys and values."""

    def __init__(self, layer: Any, kv_heads: int, slices: int) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        before, after = layer.input_layernorm, layer.post_attention_layernorm
        self.attention_norm = _Norm(before.weight, before.variance_epsilon)
        self.mlp_norm = _Norm(after.weight, after.variance_epsilon)
        parts = (attention.q_proj, attention.k_proj, attention.v_proj)
        self.heads_EO = _joined(kv_heads, attention.head_dim, *(part.weight for part in parts)).t()
        self.heads_bias_O: Tensor | None = None
        if parts[0].bias is not None:
            self.heads_bias_O = _joined(kv_heads, attention.head_dim, *(part.bias[:, None] for part in parts))[:, 0]
        self.heads_norm: _Norm | None = None
        if hasattr(attention, "q_norm"):
            query, key = (_interleaved(norm.weight[:, None]).t() for norm in (attention.q_norm, attention.k_norm))
            weight_HD = torch.cat((query.expand(attention.num_key_value_groups, -1), key))
            self.heads_norm = _Norm(weight_HD, attention.q_norm.variance_epsilon)
        self.output_OE = attention.o_proj.weight.t()
        self.gate_SEO, self.up_SEO = (
            part.weight.unflatten(0, (slices, -1)).mT for part in (mlp.gate_proj, mlp.up_proj)
        )
        self.down_OE = mlp.down_proj.weight.t()


def _joined(kv_heads: int, width: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """The outputs (dimension 0) of the three projections in the order [K, G + 2, D]: queries, key, value of each K."""
    heads = [part.view(kv_heads, -1, width, part.shape[1]) for part in (query, key, value)]
    return torch.cat((_interleaved(heads[0]), _interleaved(heads[1]), heads[2]), dim=1).flatten(0, 2)


def _interleaved(heads: Tensor) -> Tensor:
    """Heads [*, D, E] with the rows i and D/2 + i, a pair to be turned, side by side."""
    pairs: Tensor = heads.unflatten(-2, (2, -1))
    return pairs.transpose(-3, -2).flatten(-3, -2)


class _Work:
    """Room for what a forward over N tokens computes in each layer, and the views of it that are used."""

    def __init__(self, tokens: int, width: int, slices: int, layer: _Layer, kv_heads: int) -> None:
        like = layer.down_OE
        self.residual_NE, self.normed_NE = like.new_empty(2, tokens, like.shape[1])
        self.normed_SNE = self.normed_NE.expand(slices, -1, -1)
        self.heads_NO = like.new_empty(tokens, layer.heads_EO.shape[1])
        heads_NKHD = self.heads_NO.view(tokens, kv_heads, -1, width)
        self.turning_NKHD = heads_NKHD[:, :, :-1]
        self.pairs_NKHD = None
        if like.dtype == torch.float32:
            self.pairs_NKHD = torch.view_as_complex(self.turning_NKHD.unflatten(-1, (-1, 2)))
        self.query_NKGD = heads_NKHD[:, :, :-2]
        self.key_value_2NKD = heads_NKHD[:, :, -2:].permute(2, 0, 1, 3)
        self.attended_NO = like.new_empty(tokens, len(layer.output_OE))
        self.gate_SNO, self.up_SNO = like.new_empty(2, slices, tokens, len(like) // slices)
        self.gate_NSO, self.up_NSO = self.gate_SNO.transpose(0, 1), self.up_SNO.transpose(0, 1)
        self.active_NO = like.new_empty(tokens, len(like))
        self.active_NSO = self.active_NO.unflatten(1, (slices, -1))

    def turn(self, norm: _Norm | None, turn_N1HD: Tensor) -> None:
        """Normalise queries and keys where the model does, and turn them by their positions."""
        if norm is not None:
            self.turning_NKHD.copy_(norm(self.turning_NKHD))
        if self.pairs_NKHD is not None:
            self.pairs_NKHD.mul_(turn_N1HD)
        else:
            pairs = torch.view_as_complex(self.turning_NKHD.float().unflatten(-1, (-1, 2))) * turn_N1HD
            self.turning_NKHD.copy_(torch.view_as_real(pairs).flatten(-2))


_Attend = Callable[[int, _Work], None]
"""Given the layer's number, fill ``attended_NO``."""


class DirectDecoder(Decoder):
    """Computes what a plain model does (:mod:`reckon.engine.plain`). Ask :meth:`serves` before each run."""

    def __init__(self, model: PreTrainedModel, max_rows: int, max_positions: int) -> None:
        self._plain = Plain(model)
        self._max_rows, self._max_positions = max_rows, max_positions
        self._rows = self._positions = 0
        self._cache: list[Tensor] = []
        self._work: _Work | None = None

    def serves(self, reference: Decoder) -> bool:
        """Whether this forward may stand for the model's."""
        return self._plain.agrees(self, reference)

    def refresh(self) -> None:
        self._plain.refresh()
        model = self._plain.model
        config, body = model.config, model.model
        self._kv_heads: int = config.num_key_value_heads
        self._width: int = body.layers[0].self_attn.head_dim
        groups = config.num_attention_heads // self._kv_heads
        self._slices = _slices(config.intermediate_size, model.device)
        self._layers = [_Layer(layer, self._kv_heads, self._slices) for layer in body.layers]
        self._norm = _Norm(body.norm.weight, body.norm.variance_epsilon)
        self._embedding_VE: Tensor = body.embed_tokens.weight
        self._head_VE: Tensor = model.lm_head.weight
        self._frequency_D: Tensor = body.rotary_emb.inv_freq.float()
        self._stretch: Tensor = self._frequency_D.new_tensor(body.rotary_emb.attention_scaling)
        # The scale of the scores is applied as the queries are turned.
        self._scale_H1 = self._frequency_D.new_tensor([[self._width**-0.5]] * groups + [[1.0]])

    def prefill(self, ids_UT: Tensor, first_row: int, source_R: Tensor) -> None:
        texts, length = ids_UT.shape
        rows = slice(first_row, first_row + len(source_R))
        self._reserve(rows.stop, length)

        def attend(layer: int, work: _Work) -> None:
            new_2UTKD = work.key_value_2NKD.unflatten(1, (texts, length))
            self._cache[layer][:, rows, :, :length] = new_2UTKD[:, source_R].transpose(2, 3)
            _attend_within(texts, work)

        self._forward(ids_UT, _places(ids_UT), attend, self._new_work(ids_UT.numel()))

    def decode(self, token_R: Tensor, position_R: Tensor, shortest: int, longest: int) -> Tensor:
        if self._plain.changed():
            self.refresh()
        rows, used = len(token_R), len(token_R) * self._kv_heads
        self._reserve(rows, longest)
        if self._work is None or len(self._work.residual_NE) != rows:
            self._work = self._new_work(rows)
        query = self._work.query_NKGD.flatten(0, 1)
        attended = self._work.attended_NO.view(query.shape)
        ragged = shortest < longest
        if ragged:
            place_2RK = self._line_2RK[:, :rows] + position_R[:, None]
            mask_R1L = length_mask(position_R, longest, None, self._embedding_VE)[:, 0]

        def attend(layer: int, work: _Work) -> None:
            cache = self._cache[layer]
            if ragged:
                cache.view(-1, self._width).index_put_((place_2RK,), work.key_value_2NKD)
            else:
                cache[:, :rows, :, longest - 1] = work.key_value_2NKD
            score = torch.bmm(query, self._keys[layer][:used, :longest].mT)
            if ragged:
                score.view(rows, -1, longest).add_(mask_R1L)
            weight = torch.softmax(score, dim=-1, dtype=torch.float32).to(score.dtype)
            torch.bmm(weight, self._values[layer][:used, :longest], out=attended)

        return F.linear(self._forward(token_R, position_R, attend, self._work), self._head_VE)

    def move(self, source: Sequence[int], target: Sequence[int], positions: int) -> None:
        for cache in self._cache:
            for old, new in zip(source, target, strict=True):
                cache[:, new, :, :positions] = cache[:, old, :, :positions]

    def logits(self, ids_UT: Tensor) -> Tensor:
        work = self._new_work(ids_UT.numel())
        hidden_NE = self._forward(ids_UT, _places(ids_UT), lambda _, work: _attend_within(len(ids_UT), work), work)
        logits_UTV: Tensor = F.linear(hidden_NE, self._head_VE).unflatten(0, ids_UT.shape)
        return logits_UTV

    def _forward(self, ids: Tensor, position_N: Tensor, attend: _Attend, work: _Work) -> Tensor:
        """Hidden states [N, E] after the last norm."""
        turn_N1D = torch.polar(self._stretch, position_N[:, None, None] * self._frequency_D)
        turn_N1HD = (turn_N1D * self._scale_H1)[:, None]
        x_NE = torch.index_select(self._embedding_VE, 0, ids.flatten(), out=work.residual_NE)
        for index, layer in enumerate(self._layers):
            layer.attention_norm(x_NE, work.normed_NE)
            if layer.heads_bias_O is None:
                torch.mm(work.normed_NE, layer.heads_EO, out=work.heads_NO)
            else:
                torch.addmm(layer.heads_bias_O, work.normed_NE, layer.heads_EO, out=work.heads_NO)
            work.turn(layer.heads_norm, turn_N1HD)
            attend(index, work)
            x_NE.addmm_(work.attended_NO, layer.output_OE)
            layer.mlp_norm(x_NE, work.normed_NE)
            torch.bmm(work.normed_SNE, layer.gate_SEO, out=work.gate_SNO)
            torch.bmm(work.normed_SNE, layer.up_SEO, out=work.up_SNO)
            F.silu(work.gate_SNO, inplace=True)
            torch.mul(work.gate_NSO, work.up_NSO, out=work.active_NSO)
            x_NE.addmm_(work.active_NO, layer.down_OE)
        return self._norm(x_NE)

    def _new_work(self, tokens: int) -> _Work:
        return _Work(tokens, self._width, self._slices, self._layers[0], self._kv_heads)

    def _reserve(self, rows: int, positions: int) -> None:
        """Make room for at least this many rows and positions: one tensor [2, rows, K, positions, D] for each layer."""
        if rows <= self._rows and positions <= self._positions:
            return
        old_rows, old_positions = self._rows, self._positions
        self._rows = grown(old_rows, rows, 16, self._max_rows)
        self._positions = grown(old_positions, positions, 64, self._max_positions)
        for layer in range(len(self._layers)):
            # Zeros because unused positions meet a zero attention weight, and 0 * nan is nan.
            both = self._embedding_VE.new_zeros(2, self._rows, self._kv_heads, self._positions, self._width)
            if layer < len(self._cache):
                both[:, :old_rows, :, :old_positions] = self._cache[layer]
                self._cache[layer] = both
            else:
                self._cache.append(both)
        lines = torch.arange(2 * self._rows * self._kv_heads, device=both.device) * self._positions
        self._keys, self._values = ([both[part].flatten(0, 1) for both in self._cache] for part in (0, 1))
        self._line_2RK = lines.view(2, self._rows, self._kv_heads)


def _slices(outputs: int, device: torch.device) -> int:
    """In how many slices of its outputs to make the widest product of a layer: one for each thread.

    Left to spread one small product over threads, the BLAS library for CPUs takes up to twice as long.
    """
    slices = torch.get_num_threads() if device.type == "cpu" else 1
    return slices if outputs % slices == 0 else 1


def _places(ids_UT: Tensor) -> Tensor:
    """The position [N] of each token in its text."""
    texts, length = ids_UT.shape
    return torch.arange(length, device=ids_UT.device).repeat(texts)


def _attend_within(texts: int, work: _Work) -> None:
    """Causal attention of whole texts to themselves; the queries are scaled."""
    heads = (work.query_NKGD.flatten(1, 2), *work.key_value_2NKD)
    query, key, value = (each.unflatten(0, (texts, -1)).transpose(1, 2) for each in heads)
    grouped = query.shape[1] != key.shape[1]
    output_UHTD = F.scaled_dot_product_attention(query, key, value, is_causal=True, scale=1.0, enable_gqa=grouped)
    work.attended_NO.view(texts, -1, *output_UHTD.shape[1::2]).copy_(output_UHTD.transpose(1, 2))
