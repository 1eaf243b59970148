"""Models and tokenizers as ordinary Hugging Face folders. Weights are safetensors: no pickle, and no remote code."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from reckon.core.errors import ConfigError, DataError
from reckon.core.store import file_digest
from reckon.models.lora import merged

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "tekken.json")
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def load_model(
    path_or_name: str | Path, dtype: str = "float32", device: str = "cpu", *, kind: Any = AutoModelForCausalLM
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a model, by default a causal language model, and its tokenizer.

    Args:
        path_or_name: a folder, a model shipped with this package (``micro``...), or ``owner/name`` on the hub.
        dtype: ``float32``, ``bfloat16`` or ``float16``.
        device: as torch names it: ``cpu``, ``cuda``, ``cuda:1``...
        kind: the class to load it as, one of transformers' or an ``AutoModelFor...``.

    Returns:
        the model in evaluation mode (dropout off) with gradients enabled, and the tokenizer.

    Raises:
        ConfigError: the dtype or device is unknown or absent.
        DataError: nothing there, or something else than a whole model with a tokenizer.
    """
    if dtype not in _DTYPES:
        raise ConfigError(f"unknown dtype {dtype!r}", fix=f"Use one of {', '.join(_DTYPES)}")
    place = _device(device)
    source = _source(path_or_name)
    try:
        with _quiet():
            model, info = kind.from_pretrained(
                source,
                dtype=_DTYPES[dtype],
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
            tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise DataError(
            f"no model could be loaded: {_first_line(error)}",
            where=str(path_or_name),
            fix="Give a folder with config.json, *.safetensors and tokenizer.json, or a name on the Hugging Face hub",
        ) from error
    if info["missing_keys"]:
        raise DataError(
            f"the weights lack {len(info['missing_keys'])} tensors, such as {min(info['missing_keys'])}",
            where=str(path_or_name),
            why="They would have been drawn at random",
            fix="Check that config.json and the weights belong together",
        )
    return model.to(place).eval(), tokenizer


def load_config(path_or_name: str | Path) -> Any:
    """The configuration of such a model, without its weights. Raises DataError as :func:`load_model`."""
    source = _source(path_or_name)
    try:
        return AutoConfig.from_pretrained(source, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise DataError(
            f"no model's configuration could be read: {_first_line(error)}",
            where=str(path_or_name),
            fix="Give a folder with a config.json in Hugging Face format, or a name on the Hugging Face hub",
        ) from error


def save_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write both as one Hugging Face folder, adapters merged into the weights.

    Not atomic: whoever needs that writes elsewhere and renames.
    """
    try:
        with _quiet():
            merged(model).save_pretrained(folder)
            tokenizer.save_pretrained(folder)
    except (OSError, SafetensorError) as error:
        raise DataError(
            f"the model could not be written: {_first_line(error)}",
            where=str(folder),
            fix="Free some space or choose another place, then run the same command again",
        ) from error


def model_version(model: PreTrainedModel) -> str | None:
    """What tells a loaded model from another of the same name: sha256 over its folder's files, or the hub's commit.

    Folders inside its own (the output of a command, say) do not count.
    """
    folder = Path(model.name_or_path)
    if not folder.is_dir():
        commit: str | None = getattr(model.config, "_commit_hash", None)
        return commit
    found = sorted(path for path in folder.iterdir() if path.is_file())
    return hashlib.sha256("".join(f"{path.name} {file_digest(path)}\n" for path in found).encode()).hexdigest()


def end_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """The ids that end a text, by the generation config and the tokenizer, in ascending order."""
    configured = getattr(model.generation_config, "eos_token_id", None)
    ids: set[Any] = set(configured) if isinstance(configured, list) else {configured}
    return tuple(sorted((ids | {tokenizer.eos_token_id}) - {None}))


def model_folder(path_or_name: str | Path) -> Path:
    """Where a model would lie on this disk: the package's own folder for a shipped one, else the path itself."""
    if str(path_or_name) in shipped_models():
        return _assets() / str(path_or_name)
    return Path(path_or_name).expanduser()


def local_folder(path_or_name: str | Path) -> Path:
    """The folder of a model's files on this disk; those of a model on the hub are fetched. Raises DataError."""
    source = Path(_source(path_or_name))
    if source.is_dir():
        return source
    try:
        with _quiet():
            kinds = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
            return Path(snapshot_download(str(path_or_name), allow_patterns=kinds))
    except (OSError, ValueError) as error:
        raise DataError(f"no model could be fetched: {_first_line(error)}", where=str(path_or_name)) from error


def shipped_models() -> list[str]:
    """The names of the models that come with the package."""
    return sorted(folder.name for folder in _assets().iterdir() if (folder / "config.json").is_file())


def load_weights(model: PreTrainedModel, folder: Path) -> None:
    """Put the weights that :func:`save_model` wrote to ``folder`` into a model of the same shape.

    Raises:
        DataError: a file is broken, or the weights are not this model's.
    """
    try:
        weights = {
            name: value for file in sorted(folder.glob("*.safetensors")) for name, value in load_file(file).items()
        }
        missing, unknown = model.load_state_dict(weights, strict=False)
    except (OSError, RuntimeError, SafetensorError) as error:
        raise DataError(f"the weights could not be read: {_first_line(error)}", where=str(folder)) from error
    # Of tied weights, a file has one name.
    tied = {id(value) for name, value in model.state_dict(keep_vars=True).items() if name in weights}
    lacking = [name for name in missing if id(model.state_dict(keep_vars=True)[name]) not in tied]
    if unknown or lacking:
        raise DataError(f"the weights are another model's, e.g. {min([*unknown, *lacking])}", where=str(folder))


def _assets() -> Path:
    return Path(str(files("reckon") / "assets"))


def _source(path_or_name: str | Path) -> str:
    """What to hand to transformers: a folder that looks whole, or a name on the hub."""
    name, folder = str(path_or_name), model_folder(path_or_name)
    if not folder.exists():
        # A path below an existing folder is a local one with a typo; asking the hub for it would only take time.
        if name not in shipped_models() and _HUB_NAME.fullmatch(name) and not folder.parent.exists():
            return name
        raise DataError(
            "there is no such model folder",
            where=name,
            fix="Give an existing folder, a hub name such as Qwen/Qwen2.5-1.5B, or a model shipped here: "
            f"{', '.join(shipped_models())} "
            "(`reckon recipes` lists what can be run on it)",
        )
    if not (folder / "config.json").is_file():
        raise DataError(
            "not a model folder: it has no config.json", where=name, fix="Give a folder in Hugging Face format"
        )
    if not any(folder.glob("*.safetensors")):
        raise DataError(
            "the model folder has no *.safetensors weights",
            where=name,
            why="Pickled weights (*.bin, *.pt) can run code when they are read, so they never are",
            fix="Save the model again with transformers' save_pretrained",
        )
    if not any((folder / file).is_file() for file in _TOKENIZER_FILES):
        raise DataError(
            "the model folder has no tokenizer", where=name, fix="Copy tokenizer.json and tokenizer_config.json into it"
        )
    return str(folder)


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"device {name!r} cannot be used: {_first_line(error)}", fix="Use cpu") from error
    return device


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the progress bars of transformers; its warnings stay."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
