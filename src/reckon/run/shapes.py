"""The shape of a model, from its config.json alone: how many weights it has and what they cost to use.

Legend: V words of the vocabulary, D hidden size, F width of the feed-forward layers, L layers, H attention heads and K
key-value heads of width E.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import try_to_load_from_cache

from reckon.core.errors import DataError
from reckon.models.load import model_folder
from reckon.models.lora import LoraConfig

FAMILIES = ("llama", "mistral", "qwen2", "qwen3")
"""Values of ``model_type`` whose layers are those of :attr:`Shape.linears`."""


@dataclass(frozen=True)
class Shape:
    """A model of the Llama family.

    Attributes:
        vocabulary, hidden, intermediate, layers, heads, kv_heads, head_width: V, D, F, L, H, K, E.
        context: tokens of the longest text.
        tied: the output layer is the embedding.
        biases: queries, keys and values have biases (Qwen2).
        head_norms: queries and keys are normalised (Qwen3).
    """

    vocabulary: int
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_width: int
    context: int
    tied: bool = False
    biases: bool = False
    head_norms: bool = False

    @classmethod
    def of_config(cls, config: dict[str, Any]) -> Shape | None:
        """The shape that a Hugging Face config describes, or None of another family."""
        kind, heads = config.get("model_type"), config.get("num_attention_heads")
        if kind not in FAMILIES or not heads:
            return None
        return cls(
            vocabulary=config["vocab_size"],
            hidden=config["hidden_size"],
            intermediate=config["intermediate_size"],
            layers=config["num_hidden_layers"],
            heads=heads,
            kv_heads=config.get("num_key_value_heads") or heads,
            head_width=config.get("head_dim") or config["hidden_size"] // heads,
            context=config["max_position_embeddings"],
            tied=config.get("tie_word_embeddings", False),
            biases=kind == "qwen2",
            head_norms=kind == "qwen3",
        )

    @property
    def linears(self) -> dict[str, tuple[int, int]]:
        """Inputs and outputs of each linear layer of a block."""
        query, key = self.heads * self.head_width, self.kv_heads * self.head_width
        return {
            "q_proj": (self.hidden, query),
            "k_proj": (self.hidden, key),
            "v_proj": (self.hidden, key),
            "o_proj": (query, self.hidden),
            "gate_proj": (self.hidden, self.intermediate),
            "up_proj": (self.hidden, self.intermediate),
            "down_proj": (self.intermediate, self.hidden),
        }

    @property
    def matrices(self) -> int:
        """Weights of the linear layers of all blocks."""
        return self.layers * sum(inputs * outputs for inputs, outputs in self.linears.values())

    @property
    def parameters(self) -> int:
        """All weights: embedding and output layer, linear layers, biases, norms."""
        block = 2 * self.hidden
        if self.biases:
            block += sum(self.linears[name][1] for name in ("q_proj", "k_proj", "v_proj"))
        if self.head_norms:
            block += 2 * self.head_width
        words = self.vocabulary * self.hidden * (1 if self.tied else 2)
        return words + self.matrices + self.layers * block + self.hidden

    @property
    def copied(self) -> int:
        """Weights of queries, keys and values, which the engine keeps a second time (engine/direct.py)."""
        return self.layers * sum(self.linears[n][0] * self.linears[n][1] for n in ("q_proj", "k_proj", "v_proj"))

    @property
    def cached(self) -> int:
        """Numbers in the key-value cache for each token: 2 L K E."""
        return 2 * self.layers * self.kv_heads * self.head_width

    def adapted(self, config: LoraConfig) -> list[tuple[int, int]]:
        """Inputs and outputs of the layers of a block that have adapters."""
        names = self.linears if config.targets == "all-linear" else config.targets
        return [self.linears[name] for name in names if name in self.linears]

    def adapters(self, config: LoraConfig) -> int:
        """Weights of low-rank adapters: rank times inputs and outputs of each adapted layer."""
        return self.layers * sum(config.rank * sum(sizes) for sizes in self.adapted(config))

    def flops(self, length: float) -> float:
        """Floating-point operations of a forward pass for one token of texts of ``length`` tokens.

        Two for each weight of the linear and the output layers, and 4 H E L for each token attended to, which are half
        the text on average.
        """
        weights = self.matrices + self.vocabulary * self.hidden
        return 2 * weights + 2 * self.layers * self.heads * self.head_width * length


PUBLISHED = {
    "Qwen/Qwen2.5-1.5B": Shape(151936, 1536, 8960, 28, 12, 2, 128, 131072, tied=True, biases=True),
    "Qwen/Qwen2.5-7B": Shape(152064, 3584, 18944, 28, 28, 4, 128, 131072, biases=True),
    "Qwen/Qwen2.5-14B": Shape(152064, 5120, 13824, 48, 40, 8, 128, 131072, biases=True),
    "Qwen/Qwen2.5-32B": Shape(152064, 5120, 27648, 64, 40, 8, 128, 131072, biases=True),
    "Qwen/Qwen2.5-Math-1.5B": Shape(151936, 1536, 8960, 28, 12, 2, 128, 4096, tied=True, biases=True),
    "Qwen/Qwen2.5-Math-7B": Shape(152064, 3584, 18944, 28, 28, 4, 128, 4096, biases=True),
    "meta-llama/Llama-3.1-8B": Shape(128256, 4096, 14336, 32, 32, 8, 128, 131072),
    "meta-llama/Llama-3.3-70B-Instruct": Shape(128256, 8192, 28672, 80, 64, 8, 128, 131072),
}
"""Models that the shipped recipes name, from their config.json on the hub, so that these can be planned offline."""


def shape_of(name: str) -> Shape | None:
    """The shape of a folder, a shipped model or one on the hub, without going online; None if it is not known here.

    Raises DataError if there is a config.json that cannot be read.
    """
    path = model_folder(name) / "config.json"
    if not path.is_file():
        cached = _cached(name)
        if cached is None:
            return PUBLISHED.get(name)
        path = cached
    try:
        return Shape.of_config(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"the model's shape cannot be read ({error!r})", where=str(path)) from error


def _cached(name: str) -> Path | None:
    """The config.json of a model on the hub that was fetched before."""
    try:
        found = try_to_load_from_cache(name, "config.json")
    except ValueError:
        return None  # Not a name that the hub could have.
    return Path(found) if isinstance(found, str) else None
