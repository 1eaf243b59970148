"""The decoder for the Llama family: a forward of our own, because a small model spends its time between the products.

A Hugging Face layer makes about fifty small tensor operations for each token, this one about twenty. It computes the
same function from the weights where the learner keeps them; only those of queries, keys and values are copied, side by
side, and again whenever they have changed. What is saved:

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

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.activations import SiLUActivation

from reckon.engine.cache import grown, length_mask
from reckon.engine.decoder import Decoder

_HOMES = {f"transformers.models.{family}.modeling_{family}" for family in ("llama", "mistral", "qwen2", "qwen3")}
_PARTS = (nn.Linear, nn.Embedding, nn.ModuleList, SiLUActivation)

_ROPES = ("default", "linear", "llama3", "yarn")
"""Kinds of rotary embedding in which the angle is the position times a fixed frequency."""

_Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]
"""(layer, query_NKGD, key_NKD, value_NKD) to output_NO, the heads side by side."""


def is_plain(model: PreTrainedModel) -> bool:
    """Whether ``model`` is a Llama, Mistral, Qwen2 or Qwen3 as transformers defines it, and nothing is changed.

    That is: attention to the whole past, a known rotary embedding, parameters of one dtype on one device, none
    quantised; no adapter (it brings modules of its own), no forward hook and no forward replaced in an instance.
    """
    home, config, body = type(model).__module__, model.config, getattr(model, "model", None)
    if home not in _HOMES or not type(model).__name__.endswith("ForCausalLM") or body is None:
        return False
    return (
        config.hidden_act == "silu"
        and body.rotary_emb.rope_type in _ROPES
        and getattr(config, "sliding_window", None) is None
        and all(
            (type(part).__module__ == home or type(part) in _PARTS)
            and not (part._forward_hooks or part._forward_pre_hooks or "forward" in part.__dict__)
            for part in model.modules()
        )
        and {(type(weight), weight.dtype, weight.device, weight.is_inference()) for weight in model.parameters()}
        == {(nn.Parameter, model.dtype, model.device, False)}
    )


class _Norm:
    """Root mean square normalisation over the last dimension (arXiv 1910.07467)."""

    def __init__(self, weight: Tensor, epsilon: float) -> None:
        self._weight, self._epsilon = weight, epsilon
        self._epsilon_tensor = torch.tensor(epsilon)
        self._by_torch = weight.is_cuda or weight.dtype != torch.float32

    def __call__(self, x: Tensor) -> Tensor:
        if self._by_torch:
            return F.rms_norm(x, x.shape[-1:], None, self._epsilon) * self._weight
        # The same in half the operations that torch makes of it on a CPU.
        size = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        inverse = torch.addcmul(self._epsilon_tensor, size, size, value=1 / x.shape[-1]).rsqrt_()
        return (x * inverse).mul_(self._weight)


class _Linear:
    """A linear layer whose output is added to the residual stream."""

    def __init__(self, linear: nn.Linear) -> None:
        self._weight_EO, self._bias_O = linear.weight.t(), linear.bias

    def add_to(self, residual_NO: Tensor, x_NE: Tensor) -> None:
        residual_NO.addmm_(x_NE, self._weight_EO)
        if self._bias_O is not None:
            residual_NO += self._bias_O


class _Gate:
    """The gated half of an MLP: silu(x gate) * (x up).

    Made in as many slices of its outputs as there are threads: left to spread one small product over threads, the BLAS
    library takes up to twice as long.
    """

    def __init__(self, gate: nn.Linear, up: nn.Linear) -> None:
        threads = torch.get_num_threads() if gate.weight.device.type == "cpu" else 1
        slices = threads if gate.out_features % threads == 0 else 1
        self._gate, self._up = (
            (part.weight.unflatten(0, (slices, -1)).mT, None if part.bias is None else part.bias.view(slices, 1, -1))
            for part in (gate, up)
        )

    def __call__(self, x_NE: Tensor) -> Tensor:
        gate_SNO, up_SNO = F.silu(_sliced(x_NE, *self._gate), inplace=True), _sliced(x_NE, *self._up)
        out_NSO = gate_SNO.new_empty(len(x_NE), *gate_SNO.shape[::2])
        torch.mul(gate_SNO.transpose(0, 1), up_SNO.transpose(0, 1), out=out_NSO)
        return out_NSO.flatten(1)


def _sliced(x_NE: Tensor, weight_SEO: Tensor, bias_S1O: Tensor | None) -> Tensor:
    x_SNE = x_NE.expand(len(weight_SEO), *x_NE.shape)
    return torch.bmm(x_SNE, weight_SEO) if bias_S1O is None else torch.baddbmm(bias_S1O, x_SNE, weight_SEO)


class _Heads:
    """The query, key and value projections of one attention as a single one, its outputs ordered [K, G + 2, D].

    Of the G + 2 heads the first G are queries, then come the key and the value.
    """

    def __init__(self, attention: Any, kv_heads: int) -> None:
        self._kv_heads, self._width = kv_heads, attention.head_dim
        parts = (attention.q_proj, attention.k_proj, attention.v_proj)
        self._weight_EO = self._joined(*(part.weight for part in parts)).t()
        self._bias_O = None if parts[0].bias is None else self._joined(*(part.bias[:, None] for part in parts))[:, 0]
        self._norm: _Norm | None = None
        if hasattr(attention, "q_norm"):
            query, key = (_interleaved(norm.weight[:, None]).t() for norm in (attention.q_norm, attention.k_norm))
            weight_HD = torch.cat((query.expand(attention.num_key_value_groups, -1), key))
            self._norm = _Norm(weight_HD, attention.q_norm.variance_epsilon)

    def __call__(self, x_NE: Tensor, turn_N1HD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """query_NKGD, key_NKD and value_NKD; the first two normalised where the model does it, and turned."""
        bias_O = self._bias_O
        out_NO = x_NE.mm(self._weight_EO) if bias_O is None else torch.addmm(bias_O, x_NE, self._weight_EO)
        heads_NKHD = out_NO.view(len(x_NE), self._kv_heads, -1, self._width)
        turned_NKHD = heads_NKHD[:, :, :-1]
        if self._norm is not None:
            turned_NKHD = self._norm(turned_NKHD)
        pairs = torch.view_as_complex(turned_NKHD.float().unflatten(-1, (-1, 2))).mul_(turn_N1HD)
        turned_NKHD = torch.view_as_real(pairs).flatten(-2).to(x_NE.dtype)
        return turned_NKHD[:, :, :-1], turned_NKHD[:, :, -1], heads_NKHD[:, :, -1]

    def _joined(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """The outputs (dimension 0) of three projections in the order of the single one."""
        heads = [part.view(self._kv_heads, -1, self._width, part.shape[1]) for part in (query, key, value)]
        return torch.cat((_interleaved(heads[0]), _interleaved(heads[1]), heads[2]), dim=1).flatten(0, 2)


def _interleaved(heads: Tensor) -> Tensor:
    """Heads [*, D, E] with rows i and D/2 + i, a pair to be turned, side by side."""
    return heads.unflatten(-2, (2, -1)).transpose(-3, -2).flatten(-3, -2)


class _Layer:
    """The parts of one decoder layer."""

    def __init__(self, layer: Any, kv_heads: int) -> None:
        before, after = layer.input_layernorm, layer.post_attention_layernorm
        self.attention_norm = _Norm(before.weight, before.variance_epsilon)
        self.heads = _Heads(layer.self_attn, kv_heads)
        self.output = _Linear(layer.self_attn.o_proj)
        self.mlp_norm = _Norm(after.weight, after.variance_epsilon)
        self.gate = _Gate(layer.mlp.gate_proj, layer.mlp.up_proj)
        self.down = _Linear(layer.mlp.down_proj)


class _KeyValues:
    """The cache of one layer: ``both`` is [2, rows, K, positions, D]; the others are views of it."""

    def __init__(self, both: Tensor) -> None:
        self.both = both
        self.key, self.value = both.flatten(1, 2)
        self.key_lines, self.value_lines = both.flatten(1, 3)

    def write(self, place_RK: Tensor, key_RKD: Tensor, value_RKD: Tensor) -> None:
        self.key_lines.index_put_((place_RK,), key_RKD)
        self.value_lines.index_put_((place_RK,), value_RKD)


class DirectDecoder(Decoder):
    """Computes what a plain model (:func:`is_plain`) does. Ask :meth:`serves` before each run."""

    def __init__(self, model: PreTrainedModel, max_rows: int, max_positions: int) -> None:
        self._model: Any = model
        self._max_rows, self._max_positions = max_rows, max_positions
        self._rows = self._positions = 0
        self._cache: list[_KeyValues] = []
        self._agrees: bool | None = None

    def serves(self, reference: Decoder) -> bool:
        """Whether this forward may stand for the model's: its structure is known, and logits agree (tried once)."""
        if not is_plain(self._model):
            return False
        if self._agrees is None:
            self.refresh()
            ids_UT = torch.arange(12, device=self._model.device).view(2, 6) % len(self._embedding_VE)
            expected, own = reference.logits(ids_UT).float(), self.logits(ids_UT).float()
            tolerance = torch.finfo(self._model.dtype).eps ** 0.5
            self._agrees = bool((expected - own).abs().max() <= tolerance * expected.abs().max())
        return self._agrees

    def refresh(self) -> None:
        config, body = self._model.config, self._model.model
        self._kv_heads: int = config.num_key_value_heads
        self._groups: int = config.num_attention_heads // self._kv_heads
        self._width: int = body.layers[0].self_attn.head_dim
        self._copied = [
            parameter
            for layer in body.layers
            for name, parameter in layer.self_attn.named_parameters()
            if not name.startswith("o_proj")
        ]
        self._copied_version = self._versions()
        self._layers = [_Layer(layer, self._kv_heads) for layer in body.layers]
        self._norm = _Norm(body.norm.weight, body.norm.variance_epsilon)
        self._embedding_VE: Tensor = body.embed_tokens.weight
        self._head: nn.Linear = self._model.lm_head
        self._frequency_D: Tensor = body.rotary_emb.inv_freq.float()
        self._stretch: Tensor = self._frequency_D.new_tensor(body.rotary_emb.attention_scaling)
        # The scale of the scores is applied as the queries are turned.
        self._scale_H1 = self._frequency_D.new_tensor([[self._width**-0.5]] * self._groups + [[1.0]])

    def prefill(self, ids_UT: Tensor, first_row: int, source_R: Tensor) -> None:
        texts, length = ids_UT.shape
        rows = slice(first_row, first_row + len(source_R))
        self._reserve(rows.stop, length)

        def attend(layer: int, query_NKGD: Tensor, key_NKD: Tensor, value_NKD: Tensor) -> Tensor:
            for cache, new in zip(self._cache[layer].both, (key_NKD, value_NKD), strict=True):
                cache[rows, :, :length] = new.unflatten(0, (texts, length))[source_R].transpose(1, 2)
            return _attend_within(texts, query_NKGD, key_NKD, value_NKD)

        self._forward(ids_UT, _places(ids_UT), attend)

    def decode(self, token_R: Tensor, position_R: Tensor, shortest: int, longest: int) -> Tensor:
        if self._versions() != self._copied_version:
            self.refresh()
        rows = len(token_R)
        self._reserve(rows, longest)
        used = rows * self._kv_heads
        place_RK = self._line_RK[:rows] + position_R[:, None]
        mask = length_mask(position_R, longest, None, self._embedding_VE)[:, 0] if shortest < longest else None

        def attend(layer: int, query_RKGD: Tensor, key_RKD: Tensor, value_RKD: Tensor) -> Tensor:
            cache = self._cache[layer]
            cache.write(place_RK, key_RKD, value_RKD)
            score = torch.bmm(query_RKGD.flatten(0, 1), cache.key[:used, :longest].mT)
            if mask is not None:
                score.view(rows, -1, longest).add_(mask)
            weight = torch.softmax(score, dim=-1, dtype=torch.float32).to(score.dtype)
            return torch.bmm(weight, cache.value[:used, :longest]).view(rows, -1)

        return self._unembed(self._forward(token_R[:, None], position_R, attend))

    def move(self, source_R: Tensor, target_R: Tensor, positions: int) -> None:
        for cache in self._cache:
            used = cache.both[:, :, :, :positions]
            used[:, target_R] = used[:, source_R]

    def logits(self, ids_UT: Tensor) -> Tensor:
        hidden_NE = self._forward(ids_UT, _places(ids_UT), lambda _, *heads: _attend_within(len(ids_UT), *heads))
        return self._unembed(hidden_NE).unflatten(0, ids_UT.shape)

    def _forward(self, ids_UT: Tensor, position_N: Tensor, attend: _Attend) -> Tensor:
        """Hidden states [N, E] after the last norm."""
        turn_N1D = torch.polar(self._stretch, position_N[:, None, None] * self._frequency_D)
        turn_N1HD = (turn_N1D * self._scale_H1)[:, None]
        x_NE = F.embedding(ids_UT.flatten(), self._embedding_VE)
        for index, layer in enumerate(self._layers):
            layer.output.add_to(x_NE, attend(index, *layer.heads(layer.attention_norm(x_NE), turn_N1HD)))
            layer.down.add_to(x_NE, layer.gate(layer.mlp_norm(x_NE)))
        return self._norm(x_NE)

    def _unembed(self, hidden_NE: Tensor) -> Tensor:
        return F.linear(hidden_NE, self._head.weight, self._head.bias)

    def _versions(self) -> int:
        """Grows with every change in place of a parameter that is copied."""
        return sum(parameter._version for parameter in self._copied)

    def _reserve(self, rows: int, positions: int) -> None:
        """Make room for at least this many rows and positions."""
        if rows <= self._rows and positions <= self._positions:
            return
        old_rows, old_positions = self._rows, self._positions
        self._rows = grown(old_rows, rows, 16, self._max_rows)
        self._positions = grown(old_positions, positions, 64, self._max_positions)
        for layer in range(len(self._layers)):
            # Zeros because unused positions meet a zero attention weight, and 0 * nan is nan.
            both = self._embedding_VE.new_zeros(2, self._rows, self._kv_heads, self._positions, self._width)
            if layer < len(self._cache):
                both[:, :old_rows, :, :old_positions] = self._cache[layer].both
                self._cache[layer] = _KeyValues(both)
            else:
                self._cache.append(_KeyValues(both))
        lines = torch.arange(self._rows * self._kv_heads, device=self._embedding_VE.device) * self._positions
        self._line_RK = lines.view(self._rows, self._kv_heads)


def _places(ids_UT: Tensor) -> Tensor:
    """The position [N] of each token in its text."""
    texts, length = ids_UT.shape
    return torch.arange(length, device=ids_UT.device).repeat(texts)


def _attend_within(texts: int, query_NKGD: Tensor, key_NKD: Tensor, value_NKD: Tensor) -> Tensor:
    """Causal attention of whole texts to themselves; the queries are scaled."""
    heads = (query_NKGD.flatten(1, 2), key_NKD, value_NKD)
    query, key, value = (each.unflatten(0, (texts, -1)).transpose(1, 2) for each in heads)
    grouped = query_NKGD.shape[2] > 1
    output = F.scaled_dot_product_attention(query, key, value, is_causal=True, scale=1.0, enable_gqa=grouped)
    return output.transpose(1, 2).reshape(len(key_NKD), -1)
