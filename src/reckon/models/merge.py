"""Averages of the weights of models that share an ancestor: one model, for the price of none of them trained further.

Kimi k1.5 merges a model of long thoughts with one of short answers this way (arXiv 2501.12599, section 2.4); model
soups average several fine-tunings of one base (arXiv 2203.05482).
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoConfig, AutoTokenizer

from reckon.core import store
from reckon.core.errors import ConfigError, DataError
from reckon.models.load import local_folder

_WHOLE = {"model.safetensors"}
_INDEX = "model.safetensors.index.json"
_BESIDE = (".json", ".jinja", ".txt", ".model")
"""Kinds of files that a model folder has beside its weights: configs, tokenizer, chat template."""

_NO_MATTER = {"_name_or_path", "transformers_version", "dtype", "torch_dtype", "use_cache"}
"""Keys of config.json that do not change what a model computes from the same weights."""

_MARKS = {"bos_token_id", "eos_token_id", "pad_token_id"}
"""Keys that often differ between a base model and one that chats; those of the first source are kept."""


def merge_models(sources: Sequence[str | Path], weights: Sequence[float] | None, out: Path) -> None:
    """Write the weighted mean of models as one Hugging Face folder, published whole or not at all.

    Config, tokenizer, dtypes and division into files are those of the first source. Of the sources one tensor each is
    in memory at a time, of the result one file. Sums are taken in float32 at least.

    Args:
        sources: at least two, each as for :func:`reckon.models.load.load_model`.
        weights: one for each source, adding up to 1; None: all alike. A negative weight leads away from a source.

    Raises:
        ConfigError: the weights do not fit the sources or do not add up to 1.
        DataError: a source is not a whole model, or the architectures, tokenizers or tensors differ.
    """
    shares = _shares(len(sources), weights)
    folders = [local_folder(source) for source in sources]
    with ExitStack() as stack:
        models = [_Model(folder, stack) for folder in folders]
        for other in models[1:]:
            _check_alike(models[0], other)
        with store.publish(out) as target:
            for path in folders[0].iterdir():
                if path.suffix in _BESIDE and path.name not in (store.MANIFEST, _INDEX):
                    shutil.copyfile(path, target / path.name)
            size = 0
            for file in sorted(set(models[0].file_of.values())):
                names = [name for name, its in models[0].file_of.items() if its == file]
                means = {name: _mean([model.read(name) for model in models], shares) for name in names}
                size += sum(mean.nbytes for mean in means.values())
                save_file(means, target / file, metadata={"format": "pt"})
            if (folders[0] / _INDEX).exists():
                index = {"metadata": {"total_size": size}, "weight_map": models[0].file_of}
                store.write_json(target / _INDEX, index)


class _Model:
    """A model folder, its tensors read one at a time.

    Attributes:
        config: what decides which function the weights are, as plain data.
        vocabulary: the id of each token.
        file_of: the file of each tensor. An output layer tied to the embedding is left out, as transformers does.
        shapes: the shape of each tensor.
    """

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder, index = folder, folder / _INDEX
        try:
            config = AutoConfig.from_pretrained(folder)
            self.vocabulary: dict[str, int] = AutoTokenizer.from_pretrained(folder).get_vocab()
            # Not all that lies there: some folders have the same weights a second time in another format.
            files = set(json.loads(index.read_text())["weight_map"].values()) if index.exists() else _WHOLE
            self._open = {file: stack.enter_context(safe_open(folder / file, framework="pt")) for file in files}
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise DataError(f"this model cannot be read: {error}", where=str(folder)) from error
        self.config = {key: value for key, value in config.to_dict().items() if key not in _NO_MATTER | _MARKS}
        tied = {"lm_head.weight"} if config.get_text_config().tie_word_embeddings else set()
        names = {file: opened.keys() for file, opened in self._open.items()}
        self.file_of = {name: file for file, held in names.items() for name in held if name not in tied}
        self.shapes = {name: self._open[file].get_slice(name).get_shape() for name, file in self.file_of.items()}

    def read(self, name: str) -> Tensor:
        tensor: Tensor = self._open[self.file_of[name]].get_tensor(name)
        return tensor


def _shares(count: int, weights: Sequence[float] | None) -> list[float]:
    if count < 2:
        raise ConfigError(f"{count} models given", where="merge", fix="Give at least two")
    shares = [1 / count] * count if weights is None else list(weights)
    if len(shares) != count or not math.isclose(sum(shares), 1, abs_tol=1e-6):
        raise ConfigError(
            f"the weights {shares} are not {count} numbers that add up to 1",
            where="merge",
            why="The result would be no mean of the models",
            fix="Give one number for each model, or leave them out to count all models alike",
        )
    return shares


def _check_alike(first: _Model, other: _Model) -> None:
    """Raise DataError unless the weights of both are the same function of the same tokens."""
    differences = {
        "architectures": {key for key in first.config | other.config if first.config.get(key) != other.config.get(key)},
        "tokenizers": {token for token, _ in first.vocabulary.items() ^ other.vocabulary.items()},
        "tensors": {name for name in first.shapes | other.shapes if first.shapes.get(name) != other.shapes.get(name)},
    }
    for what, found in differences.items():
        if found:
            raise DataError(
                f"its {what} differ from those of {first.folder}, e.g. in {min(found)!r} ({len(found)} in all)",
                where=str(other.folder),
                why="A mean of weights that mean different things means nothing",
                fix="Merge models that were trained from the same base",
            )


def _mean(tensors: list[Tensor], shares: list[float]) -> Tensor:
    """In the dtype of the first; what is not floating point (a counter, a mask) is the first's."""
    first = tensors[0]
    if not first.is_floating_point():
        return first
    precise = torch.promote_types(first.dtype, torch.float32)
    total = torch.zeros_like(first, dtype=precise)
    for tensor, share in zip(tensors, shares, strict=True):
        total.add_(tensor.to(precise), alpha=share)
    return total.to(first.dtype)
