"""The forward of a small Llama on a CPU as one compiled function, which runs without Python and without its lock.

Every product, those of the attention too, goes through one tile: up to six rows of one matrix times a panel of the
other, with the sums in registers. A row's sums are made in the same order whatever rows are beside it, so a text's
numbers do not depend on its batch. Compiled by numba at the first use, and kept beside this file for the next one.

Shape suffixes: L layers, N tokens, E model width, P panels of outputs (WIDE each), H query heads, K key-value heads,
G = H / K, D head width, R rows of the cache, B blocks of NARROW positions, S = B NARROW positions, V vocabulary.
Addresses are integers; strides count numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from platform import machine
from typing import Any, NamedTuple, TypeVar

import numpy as np
from llvmlite import binding, ir
from numba import config, njit, types
from numba.core.cgutils import get_or_insert_function
from numba.extending import intrinsic
from numpy.typing import NDArray

_Function = TypeVar("_Function", bound=Callable[..., object])

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]

_FEATURES = binding.get_host_cpu_features()
_AVX512 = bool(_FEATURES.get("avx512f"))

USABLE = not config.DISABLE_JIT and (machine() not in ("x86_64", "AMD64") or bool(_FEATURES.get("fma")))
"""Whether the tile runs here, and as instructions: without a fused multiply-add every number would be a call."""

WIDE = 64 if _AVX512 else 16
"""Columns of a panel of weights. Six rows of sums and a row of weights fill most registers, and fit into them."""

NARROW = 32 if _AVX512 else 16
"""Columns of a panel of keys (positions) and of values (parts of a head)."""

BLOCK = 132
"""Tokens that go through a layer together, a multiple of six: what is made of them fits into a core's own cache."""


class Weights(NamedTuple):
    """Every layer's weights. Matrices are panels [P, inputs, WIDE]; outputs beyond the last, and biases that the model
    has not, are zeros. Heads stand as H of queries, K of keys, K of values, each padded to a multiple of NARROW."""

    embedding_VE: Floats
    attention_norm_LE: Floats
    heads_LPEW: Floats
    heads_bias_LO: Floats
    heads_norm_L2D: Floats
    """Of queries and of keys; [L, 0, D] where the model has none, as all but Qwen3."""
    output_LPOW: Floats
    mlp_norm_LE: Floats
    gate_up_LPEW: Floats
    down_LPOW: Floats
    norm_E: Floats
    head_PEW: Floats


class Sizes(NamedTuple):
    """What the arrays do not tell."""

    kv_heads: int
    groups: int
    width: int
    epsilon: float


class KeyValues(NamedTuple):
    """The cache: keys [L, R, K, B, D, NARROW] with positions side by side, values [L, R, K, S, D]; D is padded."""

    keys: Floats
    values: Floats


def _tile(rows: int, width: int) -> Callable[..., None]:
    """``c += a @ w`` for this many rows of a and c, and columns of w and c, written down for LLVM."""
    vector, lane = ir.VectorType(ir.FloatType(), width), ir.IntType(32)

    def tile(_: Any, a: Any, a_stride: Any, w: Any, w_stride: Any, c: Any, c_stride: Any, depth: Any) -> Any:
        def generate(context: Any, build: ir.IRBuilder, __: Any, arguments: Any) -> Any:
            a, a_stride, w, w_stride, c, c_stride, depth = arguments

            def place(base: Any, index: Any, kind: Any) -> Any:
                return build.inttoptr(build.add(base, build.shl(index, base.type(2))), kind.as_pointer())

            targets = [place(c, build.mul(c_stride, c.type(row)), vector) for row in range(rows)]
            firsts = [build.load(target, align=4) for target in targets]
            before, loop, after = build.block, build.append_basic_block(), build.append_basic_block()
            build.branch(loop)

            build.position_at_end(loop)
            step, sums = build.phi(depth.type), [build.phi(vector) for _ in range(rows)]
            weights = build.load(place(w, build.mul(w_stride, step), vector), align=4)
            fma = get_or_insert_function(build.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fma.v{width}f32")
            nothing = vector(ir.Undefined)
            for row, total in enumerate(sums):
                number = build.load(place(a, build.add(build.mul(a_stride, a.type(row)), step), ir.FloatType()))
                spread = build.insert_element(nothing, number, lane(0))
                spread = build.shuffle_vector(spread, nothing, ir.VectorType(lane, width)([lane(0)] * width))
                total.add_incoming(firsts[row], before)
                total.add_incoming(build.call(fma, [spread, weights, total]), loop)
            following = build.add(step, step.type(1))
            step.add_incoming(step.type(0), before)
            step.add_incoming(following, loop)
            build.cbranch(build.icmp_signed("<", following, depth), loop, after)

            build.position_at_end(after)
            for total, target in zip(sums, targets, strict=True):
                build.store(total.incomings[1][0], target, align=4)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 7), generate

    made: Callable[..., None] = intrinsic(tile)
    return made


def _float_of(_: Any, bits: Any) -> Any:
    """The float32 whose bits these are."""

    def generate(context: Any, build: ir.IRBuilder, __: Any, arguments: Any) -> Any:
        return build.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), generate


_as_float: Callable[[np.int32], np.float32] = intrinsic(_float_of)


_OPTIONS = {"nogil": True, "error_model": "numpy", "fastmath": {"contract", "reassoc"}}
"""Sums may be made in another order, which vectors need; what is not a number stays so."""


def _compiled(function: _Function) -> _Function:
    compiled: _Function
    try:
        compiled = njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:
        # There is nowhere to keep it: neither beside this file nor in the user's cache.
        compiled = njit(**_OPTIONS)(function)
    return compiled


def _product(width: int) -> Callable[..., None]:
    """``c += a @ w`` for any number of rows of a and c, and ``width`` columns of w and c."""
    one, two, three, four, five, six = (_tile(rows, width) for rows in range(1, 7))

    def product(a: int, a_stride: int, rows: int, w: int, w_stride: int, depth: int, c: int, c_stride: int) -> None:
        whole = rows - rows % 6
        for row in range(0, whole, 6):
            six(a + 4 * row * a_stride, a_stride, w, w_stride, c + 4 * row * c_stride, c_stride, depth)
        a, c, left = a + 4 * whole * a_stride, c + 4 * whole * c_stride, rows - whole
        if left == 1:
            one(a, a_stride, w, w_stride, c, c_stride, depth)
        elif left == 2:
            two(a, a_stride, w, w_stride, c, c_stride, depth)
        elif left == 3:
            three(a, a_stride, w, w_stride, c, c_stride, depth)
        elif left == 4:
            four(a, a_stride, w, w_stride, c, c_stride, depth)
        elif left == 5:
            five(a, a_stride, w, w_stride, c, c_stride, depth)

    # Not kept by itself, as its names are not constants, but within what calls it.
    compiled: Callable[..., None] = njit(**_OPTIONS)(product)
    return compiled


_wide, _narrow = _product(WIDE), _product(NARROW)


@_compiled
def _add_product(a_NE: Floats, w_PEW: Floats, tokens: int, c_NO: Floats) -> None:
    """``c += a @ w`` for the first ``tokens`` rows; c is as wide as the panels."""
    depth = w_PEW.shape[1]
    for panel in range(w_PEW.shape[0]):
        c = c_NO.ctypes.data + 4 * panel * WIDE
        _wide(a_NE.ctypes.data, a_NE.shape[1], tokens, w_PEW[panel].ctypes.data, WIDE, depth, c, c_NO.shape[1])


@_compiled
def _exp(x: np.float32) -> np.float32:
    """e to the power of x <= 88, in float32 with an error of about one unit in the last place (Cephes' ``expf``)."""
    x = max(x, np.float32(-87.0))
    whole = np.floor(x * np.float32(1.44269504088896341) + np.float32(0.5))
    x = x - whole * np.float32(0.693359375) + whole * np.float32(2.12194440e-4)
    y = np.float32(1.9875691500e-4)
    y = y * x + np.float32(1.3981999507e-3)
    y = y * x + np.float32(8.3334519073e-3)
    y = y * x + np.float32(4.1665795894e-2)
    y = y * x + np.float32(1.6666665459e-1)
    y = y * x + np.float32(5.0000001201e-1)
    y = y * x * x + x + np.float32(1.0)
    power: np.float32 = y * _as_float(np.int32((np.int32(whole) + np.int32(127)) << np.int32(23)))
    return power


@_compiled
def _normalise(x_E: Floats, weight_E: Floats, epsilon: float, out_E: Floats) -> None:
    """Root mean square normalisation (arXiv 1910.07467) over as many numbers as there are weights."""
    width = len(weight_E)
    total = np.float32(0)
    for i in range(width):
        total += x_E[i] * x_E[i]
    inverse = np.float32(1) / np.sqrt(total / np.float32(width) + np.float32(epsilon))
    for i in range(width):
        out_E[i] = x_E[i] * inverse * weight_E[i]


@_compiled
def _softmax(score_S: Floats) -> None:
    """In place."""
    most = score_S[0]
    for i in range(1, len(score_S)):
        most = max(most, score_S[i])
    total = np.float32(0)
    for i in range(len(score_S)):
        score_S[i] = _exp(score_S[i] - most)
        total += score_S[i]
    inverse = np.float32(1) / total
    for i in range(len(score_S)):
        score_S[i] *= inverse


@_compiled
def _activate(gate_up_O: Floats, out_O: Floats) -> None:
    """SwiGLU (arXiv 2002.05202): the first half, times its sigmoid, times the second half."""
    half = len(out_O)
    for i in range(half):
        gate = gate_up_O[i]
        out_O[i] = gate / (np.float32(1) + _exp(min(-gate, np.float32(88)))) * gate_up_O[half + i]


@_compiled
def _turn(head_D: Floats, angle_2D: Floats, scale: np.float32, half: int) -> None:
    """Rotary embedding (arXiv 2104.09864) of a head whose halves are paired, times ``scale``."""
    for i in range(half):
        first, second = head_D[i] * scale, head_D[half + i] * scale
        head_D[i] = first * angle_2D[0, i] - second * angle_2D[1, i]
        head_D[half + i] = second * angle_2D[0, i] + first * angle_2D[1, i]


@_compiled
def _attend(
    query_D: Floats, keys_KBDS: Floats, values_KSD: Floats, length: int, groups: int, score_GS: Floats, out_D: Floats
) -> None:
    """The attention of one token's query heads, which are scaled, to the first ``length`` positions."""
    kv_heads, blocks, slot = keys_KBDS.shape[0], (length + NARROW - 1) // NARROW, keys_KBDS.shape[2]
    stride = score_GS.shape[1]
    score = score_GS.ctypes.data
    out_D[:] = 0
    for head in range(kv_heads):
        start = head * groups * slot
        query, out = query_D.ctypes.data + 4 * start, out_D.ctypes.data + 4 * start
        score_GS[:groups, : blocks * NARROW] = 0
        for block in range(blocks):
            keys = keys_KBDS[head, block].ctypes.data
            _narrow(query, slot, groups, keys, NARROW, slot, score + 4 * block * NARROW, stride)
        for group in range(groups):
            _softmax(score_GS[group, :length])
        for part in range(0, slot, NARROW):
            values = values_KSD[head].ctypes.data + 4 * part
            _narrow(score, stride, groups, values, slot, length, out + 4 * part, slot)


@_compiled
def _layer(
    weights: Weights,
    layer: int,
    sizes: Sizes,
    cache: KeyValues,
    angles_S2D: Floats,
    row_N: Integers,
    position_N: Integers,
    x_NE: Floats,
    normed_NE: Floats,
    heads_NO: Floats,
    attended_NO: Floats,
    score_GS: Floats,
    gate_up_NO: Floats,
    active_NO: Floats,
) -> None:
    """One decoder layer on the tokens in ``x_NE``, which get its output; the cache gets their keys and values."""
    tokens, slot, half = len(row_N), cache.values.shape[4], sizes.width // 2
    queries = sizes.kv_heads * sizes.groups
    scale = np.float32(1 / np.sqrt(sizes.width))
    keys, values = cache.keys[layer], cache.values[layer]

    for n in range(tokens):
        _normalise(x_NE[n], weights.attention_norm_LE[layer], sizes.epsilon, normed_NE[n])
        heads_NO[n] = weights.heads_bias_LO[layer]
    _add_product(normed_NE, weights.heads_LPEW[layer], tokens, heads_NO)
    for n in range(tokens):
        row, position = row_N[n], position_N[n]
        block, place = position // NARROW, position % NARROW
        for head in range(queries + sizes.kv_heads):
            head_D = heads_NO[n, head * slot : head * slot + slot]
            of_keys = head >= queries
            if weights.heads_norm_L2D.shape[1]:
                _normalise(head_D, weights.heads_norm_L2D[layer, int(of_keys)], sizes.epsilon, head_D)
            _turn(head_D, angles_S2D[position], np.float32(1) if of_keys else scale, half)
        for head in range(sizes.kv_heads):
            start = (queries + head) * slot
            keys[row, head, block, :, place] = heads_NO[n, start : start + slot]
            start += sizes.kv_heads * slot
            values[row, head, position] = heads_NO[n, start : start + slot]
    for n in range(tokens):
        row = row_N[n]
        _attend(heads_NO[n], keys[row], values[row], position_N[n] + 1, sizes.groups, score_GS, attended_NO[n])
    _add_product(attended_NO, weights.output_LPOW[layer], tokens, x_NE)

    for n in range(tokens):
        _normalise(x_NE[n], weights.mlp_norm_LE[layer], sizes.epsilon, normed_NE[n])
    gate_up_NO[:tokens] = 0
    _add_product(normed_NE, weights.gate_up_LPEW[layer], tokens, gate_up_NO)
    for n in range(tokens):
        _activate(gate_up_NO[n], active_NO[n])
    _add_product(active_NO, weights.down_LPOW[layer], tokens, x_NE)


@_compiled
def forward(
    weights: Weights,
    sizes: Sizes,
    cache: KeyValues,
    angles_S2D: Floats,
    token_N: Integers,
    row_N: Integers,
    position_N: Integers,
    logits_NV: Floats,
) -> None:
    """Put tokens into the cache, at these rows and positions, and compute the logits of what follows each.

    Tokens of one row stand in the order of their positions, without a gap after what the cache has.

    Args:
        angles_S2D: [S, 2, D/2], cosine and sine of each position's angles.
        logits_NV: to be filled, as wide as the panels of the head; without rows if no logits are wanted.
    """
    width, slot = weights.embedding_VE.shape[1], cache.values.shape[4]
    size = min(BLOCK, len(token_N))
    x_NE = np.empty((size, weights.output_LPOW.shape[1] * WIDE), np.float32)
    normed_NE = np.empty((size, width), np.float32)
    heads_NO = np.empty((size, weights.heads_LPEW.shape[1] * WIDE), np.float32)
    attended_NO = np.empty((size, sizes.kv_heads * sizes.groups * slot), np.float32)
    score_GS = np.empty((sizes.groups, cache.values.shape[3]), np.float32)
    gate_up_NO = np.empty((size, weights.gate_up_LPEW.shape[1] * WIDE), np.float32)
    active_NO = np.empty((size, weights.down_LPOW.shape[2]), np.float32)
    for start in range(0, len(token_N), size):
        stop = min(start + size, len(token_N))
        tokens = stop - start
        x_NE[:] = 0
        for n in range(tokens):
            x_NE[n, :width] = weights.embedding_VE[token_N[start + n]]
        for layer in range(len(weights.attention_norm_LE)):
            _layer(
                weights, layer, sizes, cache, angles_S2D, row_N[start:stop], position_N[start:stop],
                x_NE, normed_NE, heads_NO, attended_NO, score_GS, gate_up_NO, active_NO,
            )  # fmt: skip
        if len(logits_NV):
            for n in range(tokens):
                _normalise(x_NE[n], weights.norm_E, sizes.epsilon, normed_NE[n])
            logits_NV[start:stop] = 0
            _add_product(normed_NE, weights.head_PEW, tokens, logits_NV[start:stop])
