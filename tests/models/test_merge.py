from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from reckon.core.errors import ConfigError, DataError
from reckon.core.store import verify_manifest
from reckon.models.load import load_model, save_model
from reckon.models.merge import merge_models
from tests.engine.models import make_model

Save = Callable[..., Path]


@pytest.fixture
def save(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> Save:
    """Saves a model under a name: ``save("a", model, max_shard_size="20KB")``."""

    def write(name: str, model: Any, **options: Any) -> Path:
        folder = tmp_path / name
        save_model(model, tokenizer, folder)
        if options:
            (folder / "model.safetensors").unlink()
            model.save_pretrained(folder, **options)
        return folder

    return write


def shaken(seed: int, **changes: Any) -> Any:
    """Like what another training of the same base would give."""
    model = make_model(**changes)
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.1 * torch.randn(weight.shape, generator=random).to(weight.dtype)
    return model


def weights_of(folder: Path) -> dict[str, Tensor]:
    return {name: value for file in folder.glob("*.safetensors") for name, value in load_file(file).items()}


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(
    ("first", "second"), [({}, {}), ({"max_shard_size": "20KB"}, {}), ({}, {"max_shard_size": "20KB"})]
)
def test_a_weighted_mean_however_the_files_are_cut(
    tied: bool, first: dict[str, Any], second: dict[str, Any], save: Save, tmp_path: Path
) -> None:
    one, two = (shaken(seed, tie_word_embeddings=tied) for seed in (1, 2))
    a, b = save("a", one, **first), save("b", two, **second)
    assert (len(list(a.glob("*.safetensors"))) > 1) == bool(first)
    merge_models([str(a), str(b)], [0.25, 0.75], tmp_path / "out")
    found, info = AutoModelForCausalLM.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(info[keys] for keys in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    other = two.state_dict()
    for name, value in one.state_dict().items():
        torch.testing.assert_close(found.state_dict()[name], 0.25 * value + 0.75 * other[name])
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        "manifest.json",
        *(file.name for file in a.iterdir()),
    }
    assert verify_manifest(tmp_path / "out") == []
    index = "model.safetensors.index.json"
    if first:
        mine, its = (json.loads((folder / index).read_text()) for folder in (tmp_path / "out", a))
        assert mine["weight_map"] == its["weight_map"]
        assert mine["metadata"]["total_size"] == its["metadata"]["total_size"]


def test_all_alike_by_default_and_the_result_loads_here(save: Save, tmp_path: Path) -> None:
    models = [shaken(seed) for seed in (1, 2, 3)]
    folders = [save(str(seed), model) for seed, model in enumerate(models)]
    merge_models(folders, None, tmp_path / "out")
    found, tokenizer = load_model(tmp_path / "out")
    for name, value in found.state_dict().items():
        torch.testing.assert_close(value, sum(model.state_dict()[name] for model in models) / 3)
    assert tokenizer.encode("User") == load_model(folders[0])[1].encode("User")


def test_a_model_merged_with_itself_is_itself(save: Save, tmp_path: Path) -> None:
    folder = save("a", shaken(1).bfloat16())
    merge_models([folder, folder], [1.5, -0.5], tmp_path / "out")
    merged, before = weights_of(tmp_path / "out"), weights_of(folder)
    assert merged.keys() == before.keys()
    assert all(torch.equal(value, before[name]) and value.dtype == torch.bfloat16 for name, value in merged.items())


def test_the_dtype_is_the_first_ones(save: Save, tmp_path: Path) -> None:
    half, full = save("half", shaken(1).bfloat16()), save("full", shaken(2))
    merge_models([half, full], None, tmp_path / "out")
    assert {value.dtype for value in weights_of(tmp_path / "out").values()} == {torch.bfloat16}
    assert load_model(tmp_path / "out", dtype="bfloat16")[0].dtype == torch.bfloat16


def test_an_output_layer_saved_though_it_is_tied(save: Save, tmp_path: Path) -> None:
    model = shaken(1, tie_word_embeddings=True)
    a, b = save("a", model), save("b", model)
    weights = weights_of(a)
    save_file({**weights, "lm_head.weight": weights["model.embed_tokens.weight"].clone()}, b / "model.safetensors")
    for order, name in (([a, b], "ab"), ([b, a], "ba")):
        merge_models(order, None, tmp_path / name)
        assert weights_of(tmp_path / name).keys() == weights.keys()


def test_weights_that_lie_beside_the_index_are_left_alone(save: Save, tmp_path: Path) -> None:
    a, b = (save(str(seed), shaken(seed), max_shard_size="20KB") for seed in (1, 2))
    save_file({"tok_embeddings.weight": torch.zeros(3)}, a / "consolidated.safetensors")
    merge_models([a, b], None, tmp_path / "out")
    assert not (tmp_path / "out" / "consolidated.safetensors").exists()


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"kind": "LlamaConfig"}, "architectures"),
        ({"num_hidden_layers": 3}, "architectures"),
        ({"rms_norm_eps": 1e-3}, "architectures.*rms_norm_eps"),
    ],
)
def test_another_architecture_is_refused(changes: dict[str, Any], what: str, save: Save, tmp_path: Path) -> None:
    a, b = save("a", make_model()), save("b", make_model(**changes))
    with pytest.raises(DataError, match=f"b: its {what}"):
        merge_models([a, b], None, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_other_tensors_are_refused(save: Save, tmp_path: Path) -> None:
    a, b = save("a", make_model()), save("b", make_model())
    save_file({**weights_of(b), "model.norm.weight": torch.ones(3)}, b / "model.safetensors")
    with pytest.raises(DataError, match=r"tensors differ.*model\.norm\.weight"):
        merge_models([a, b], None, tmp_path / "out")


def test_another_tokenizer_is_refused(save: Save, tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    a, b = save("a", make_model()), save("b", make_model())
    path = b / "tokenizer.json"
    words = json.loads(path.read_text())
    vocabulary = words["model"]["vocab"]
    one, two = "a", "b"
    vocabulary[one], vocabulary[two] = vocabulary[two], vocabulary[one]
    path.write_text(json.dumps(words))
    with pytest.raises(DataError, match=r"tokenizers differ.*2 in all"):
        merge_models([a, b], None, tmp_path / "out")


@pytest.mark.parametrize("weights", [[1.0], [0.5, 0.6], [float("nan"), 0.5], [float("inf"), float("-inf")]])
def test_weights_that_are_no_mean(weights: list[float], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="add up to 1"):
        merge_models(["a", "b"], weights, tmp_path / "out")


def test_one_model_is_nothing_to_merge(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least two"):
        merge_models(["micro"], None, tmp_path / "out")


def test_a_broken_source(save: Save, tmp_path: Path) -> None:
    a, b = save("a", make_model()), save("b", make_model())
    (b / "model.safetensors").write_bytes(b"short")
    with pytest.raises(DataError, match="cannot be read"):
        merge_models([a, b], None, tmp_path / "out")
    with pytest.raises(DataError, match="no such model folder"):
        merge_models([a, tmp_path / "c"], None, tmp_path / "out")
