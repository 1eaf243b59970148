from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils import logging

from reckon.core.errors import ConfigError, DataError
from reckon.models.load import end_ids, load_model, save_model


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=20,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        tie_word_embeddings=True,
        eos_token_id=3,
    )
    words = Tokenizer(models.WordLevel({"[UNK]": 0, "one": 1, "two": 2, "<end>": 3, "</s>": 4}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_model(LlamaForCausalLM(config), PreTrainedTokenizerFast(tokenizer_object=words, eos_token="</s>"), folder)
    return folder


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "copy"))


def test_what_is_saved_loads_again(saved: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    shown = logging.is_progress_bar_enabled()
    model, tokenizer = load_model(saved)
    assert not model.training
    assert model.dtype == torch.float32
    assert all(weight.requires_grad for weight in model.parameters())
    assert tokenizer.encode("two one") == [2, 1]
    save_model(model, tokenizer, tmp_path / "again")
    assert (saved / "model.safetensors").read_bytes() == (tmp_path / "again" / "model.safetensors").read_bytes()
    assert capfd.readouterr() == ("", "")
    assert logging.is_progress_bar_enabled() == shown


def test_dtype(saved: Path) -> None:
    assert load_model(str(saved), dtype="bfloat16")[0].dtype == torch.bfloat16
    with pytest.raises(ConfigError, match="bfloat16"):
        load_model(saved, dtype="int3")


@pytest.mark.parametrize("device", ["cuda:99", "toaster"])
def test_absent_device(saved: Path, device: str) -> None:
    with pytest.raises(ConfigError, match=device):
        load_model(saved, device=device)


def test_end_ids_of_the_generation_config_and_the_tokenizer(saved: Path) -> None:
    model, tokenizer = load_model(saved)
    assert end_ids(model, tokenizer) == (3, 4)
    model.generation_config.eos_token_id = [7, 4]
    assert end_ids(model, tokenizer) == (4, 7)
    model.generation_config.eos_token_id = None
    assert end_ids(model, tokenizer) == (4,)


@pytest.mark.parametrize("name", ["no-such-folder", "/no/such/folder", "src/reckn", "a/b/c"])
def test_missing_folder(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "src").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"no such model folder.*micro"):
        load_model(name)


@pytest.mark.parametrize(
    ("missing", "complaint"),
    [("config.json", "no config.json"), ("model.safetensors", "Pickled"), ("tokenizer.json", "no tokenizer")],
)
def test_folder_without(missing: str, complaint: str, copy: Path) -> None:
    (copy / missing).unlink()
    with pytest.raises(DataError, match=complaint):
        load_model(copy)


def test_broken_files(copy: Path) -> None:
    weights = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(DataError, match="copy"):
        load_model(copy)
    (copy / "config.json").write_text("{")
    with pytest.raises(DataError, match="copy"):
        load_model(copy)


def test_weights_that_lack_a_layer_are_not_drawn_at_random(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 2}))
    with pytest.raises(DataError, match=r"layers\.1.*at random"):
        load_model(copy)


def test_a_folder_that_cannot_be_written(saved: Path, tmp_path: Path) -> None:
    model, tokenizer = load_model(saved)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="could not be written"):
        save_model(model, tokenizer, tmp_path / "file" / "model")
