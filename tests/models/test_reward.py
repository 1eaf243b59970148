from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from reckon.core.errors import DataError
from reckon.models.load import end_ids, load_model, load_weights, save_model
from reckon.models.reward import RewardCard, card_of, load_reward_model, make_reward_model, set_card

CARD = RewardCard(loss="bradley_terry", reads="summary", template="micro")


def test_it_has_the_decoder_of_the_model_and_no_opinion() -> None:
    base, _ = load_model("micro")
    model, tokenizer = make_reward_model("micro", CARD)
    words = len(base.get_input_embeddings().weight)
    for name, value in base.base_model.state_dict().items():
        torch.testing.assert_close(model.base_model.state_dict()[name][: len(value)], value, rtol=0, atol=0)
    assert model.config.num_labels == 1
    assert model(**tokenizer("4 + 5 = 9", return_tensors="pt")).logits.tolist() == [[0.0]]
    assert tokenizer.pad_token_id == model.config.pad_token_id == words
    assert tokenizer.pad_token_id not in end_ids(base, tokenizer)
    assert all(weight.requires_grad for weight in model.parameters())
    assert card_of(model) == CARD


def test_a_tokenizer_that_pads_with_a_token_of_its_own_is_left_alone(tmp_path: Path) -> None:
    model, tokenizer = make_reward_model("micro", CARD)
    base, _ = load_model("micro")
    base.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    save_model(base, tokenizer, tmp_path / "base")
    again, same = make_reward_model(tmp_path / "base", CARD)
    assert len(same) == len(tokenizer)
    assert again.config.vocab_size == model.config.vocab_size


def test_what_is_saved_loads_here_and_in_plain_transformers(tmp_path: Path) -> None:
    model, tokenizer = make_reward_model("micro", CARD)
    torch.nn.init.normal_(model.score.weight, generator=torch.Generator().manual_seed(0))
    set_card(model, CARD.model_copy(update={"mean": 0.5, "std": 2.0}))
    save_model(model, tokenizer, tmp_path / "rm")
    again, _, card = load_reward_model(tmp_path / "rm")
    assert card == RewardCard(loss="bradley_terry", reads="summary", template="micro", mean=0.5, std=2.0)

    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "rm").eval()
    words = AutoTokenizer.from_pretrained(tmp_path / "rm")
    end = words.eos_token
    texts = [f"User: Make 3 from 1, 2.\nAssistant: 1 + 2{end}", f"User: Make 3.\nAssistant: no{end}"]
    padded = words(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        found = plain(**padded).logits
        assert len(set(found.flatten().tolist())) == 2
        for text, score in zip(texts, found, strict=True):
            ids = torch.tensor([words(text)["input_ids"]])
            for one in (model, again, plain):
                torch.testing.assert_close(one(input_ids=ids).logits[0], score, atol=1e-5, rtol=1e-5)


def test_a_stage_can_go_on_from_what_is_saved(tmp_path: Path) -> None:
    model, tokenizer = make_reward_model("micro", CARD)
    torch.nn.init.ones_(model.score.weight)
    save_model(model, tokenizer, tmp_path / "rm")
    fresh, _ = make_reward_model("micro", CARD)
    load_weights(fresh, tmp_path / "rm")
    assert all(torch.equal(fresh.state_dict()[name], value) for name, value in model.state_dict().items())


def test_another_model_is_not_taken_for_a_reward_model(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="micro: not a reward model of Reckon"):
        load_reward_model("micro")
    model, tokenizer = make_reward_model("micro", CARD)
    save_model(model, tokenizer, tmp_path / "rm")
    config = json.loads((tmp_path / "rm" / "config.json").read_text())
    del config["reckon_reward"]
    (tmp_path / "rm" / "config.json").write_text(json.dumps(config))
    with pytest.raises(DataError, match="not a reward model of Reckon"):
        load_reward_model(tmp_path / "rm")


def test_errors_are_those_of_loading_a_model(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such model folder"):
        make_reward_model(tmp_path / "nothing", CARD)
