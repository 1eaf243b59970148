"""What a stage costs: tokens, floating-point operations, memory and time, all from shapes and counts.

Nothing is loaded. Lengths are of responses: prompts, which are short beside them, come on top. Formulas use the legend
of :mod:`reckon.run.shapes`, b for the bytes of a number in the recipe's dtype, and M for the tokens of a micro-batch.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, fields
from typing import Literal

import torch

from reckon.engine.plain import COMPILED_PARAMETERS
from reckon.learn.forward import LOGITS_PER_CHUNK
from reckon.models.lora import LoraConfig
from reckon.run.shapes import Shape

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True)
class GPU:
    """A card as its data sheet has it, without sparsity: operations a second of matrix products, and bytes."""

    half: float
    single: float
    memory: float


GPUS = {
    "H100": GPU(989e12, 67e12, 80e9),
    "H800": GPU(989e12, 67e12, 80e9),
    "A100": GPU(312e12, 19.5e12, 80e9),
}
"""The SXM cards with 80 GB."""

UTILISATION = {"cpu": {"train": 0.5, "generate": 0.4}, "cuda": {"train": 0.4, "generate": 0.05}}
"""Assumed shares of the rate of matrix products: on a CPU of the measured one, on a GPU of the data sheet's."""


@dataclass(frozen=True)
class Pass:
    """One use of a model on many responses.

    Attributes:
        what: for people: ``rollouts``, ``training``...
        kind: a forward pass takes 2 operations for each weight and token, a backward pass twice as many, or as many if
            only adapters learn (``adapt``).
        longest: tokens of the longest response possible.
        mean: expected tokens of a response, where that is known.
        most: tokens of all, if something else than ``longest`` bounds them.
    """

    what: str
    kind: Literal["generate", "forward", "train", "adapt"]
    samples: int
    longest: int
    mean: float | None = None
    most: int | None = None

    @property
    def most_tokens(self) -> int:
        return min(self.samples * self.longest, self.most or self.samples * self.longest)

    @property
    def expected_tokens(self) -> int | None:
        return None if self.mean is None else min(round(self.samples * self.mean), self.most_tokens)

    def seconds(self, shape: Shape, rate: float, use: dict[str, float], *, expected: bool) -> float | None:
        """How long it takes where matrix products run at ``rate`` operations a second; None if ``mean`` is needed."""
        tokens, length = (self.expected_tokens, self.mean) if expected else (self.most_tokens, self.longest)
        if tokens is None or length is None:
            return None
        passes = {"generate": 1, "forward": 1, "train": 3, "adapt": 2}[self.kind]
        share = use["generate" if self.kind == "generate" else "train"]
        return passes * tokens * shape.flops(length) / (rate * share)


@dataclass(frozen=True)
class Memory:
    """Bytes at the fullest moment.

    Attributes:
        weights: P b.
        gradients: of what is trained, in its own dtype (adapters: float32).
        optimiser: AdamW's two moments of what is trained, in the same.
        others: further models in memory: reference, critic with its own gradients and moments, reward models.
        engine: its copies of queries, keys and values, or of all matrices (engine/compiled.py); with adapters, of all
            linear layers besides.
        cache: keys and values of the responses generated at once; see :func:`cache`.
        activations: kept for the backward pass of one micro-batch; see :func:`activations`.
        base: the initial model, loaded at each evaluation to measure how far the policy has moved.
    """

    weights: int = 0
    gradients: int = 0
    optimiser: int = 0
    others: int = 0
    engine: int = 0
    cache: int = 0
    activations: int = 0
    base: int = 0

    @property
    def total(self) -> int:
        """An update and an evaluation are never in memory at the same time, all else is."""
        update = self.gradients + self.activations
        return self.weights + self.optimiser + self.others + self.engine + self.cache + max(update, self.base)

    def parts(self) -> dict[str, int]:
        """What is not zero, by name."""
        return {field.name: value for field in fields(self) if (value := getattr(self, field.name))}


def trained(shape: Shape, lora: LoraConfig | None, width: int) -> int:
    """Bytes of what is trained: all weights in numbers of ``width`` bytes, or adapters in float32."""
    return shape.parameters * width if lora is None else shape.adapters(lora) * 4


def engine(shape: Shape, lora: LoraConfig | None, width: int) -> int:
    """Bytes of the weights that the engine keeps a second time, on the device where it keeps more of them."""
    compiled = width == 4 and shape.parameters <= COMPILED_PARAMETERS
    copied = shape.matrices + shape.vocabulary * shape.hidden if compiled else shape.copied
    return (copied + (shape.matrices if lora else 0)) * width


def cache(shape: Shape, max_running: int, samples: int, longest: int, width: int) -> int:
    """Bytes of keys and values: 2 L K E b for each position of each row.

    Rows and positions double as they run out (engine/cache.py), up to ``max_running`` and the model's context, so there
    may be room for twice as many as are used.
    """
    return min(max_running, 2 * samples) * min(shape.context, 2 * longest) * shape.cached * width


def activations(shape: Shape, lora: LoraConfig | None, tokens: int, width: int) -> int:
    """Bytes kept for the backward pass over ``tokens`` tokens: M L (D (8 + 4 b) + b (3 H E + 2 K E + 4 F)) + 8 logits.

    In a block: the inputs of both norms in float32; what is normalised and the inputs of linear layers; queries, keys,
    values and outputs of attention; gate, its activation, up, and their product. Adapters keep their inputs in float32,
    each its own copy if the model's numbers are shorter, in the place of those of the linear layers. Logits are float32
    and held twice, at most ``LOGITS_PER_CHUNK`` at once. A test compares this with what PyTorch keeps.
    """
    query, key = shape.heads * shape.head_width, shape.kv_heads * shape.head_width
    block = shape.hidden * (8 + 4 * width) + width * (3 * query + 2 * key + 4 * shape.intermediate)
    if lora is not None and width < 4:
        block += 4 * sum(inputs for inputs, _ in shape.adapted(lora))
        block -= width * (2 * shape.hidden + query + shape.intermediate)
    return tokens * shape.layers * block + 8 * min(tokens * shape.vocabulary, LOGITS_PER_CHUNK)


def matmul_rate(threads: int, seconds: float = 0.2) -> float:
    """Operations a second of matrix products on so many cores of this CPU, each as fast as one is measured to be.

    The quickest product of those that fit into ``seconds`` counts, because what else the machine is doing now says
    nothing of the hours of a run. For the same reason one core is measured: two would wait for each other.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        a, b = torch.ones(128, 512), torch.ones(512, 512)
        torch.mm(a, b)
        end, quickest = time.perf_counter() + seconds, math.inf
        while (began := time.perf_counter()) < end:
            torch.mm(a, b)
            quickest = min(quickest, time.perf_counter() - began)
        return threads * 2 * 128 * 512 * 512 / quickest
    finally:
        torch.set_num_threads(before)
