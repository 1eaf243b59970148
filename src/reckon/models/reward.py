"""Reward models as ordinary Hugging Face folders: ``AutoModelForSequenceClassification`` with one label.

What a number of theirs means (what was read, how scores are spread) is a :class:`RewardCard` in the model's own
``config.json``, so that it can neither be lost nor belong to other weights.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field, ValidationError
from transformers import AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerBase

from reckon.core.config import Strict
from reckon.core.errors import ConfigError, DataError
from reckon.models.load import end_ids, load_config, load_model
from reckon.models.steps import StepRule

PAD = "<|pad|>"
"""Given to tokenizers whose padding is also an end of text."""

_KEY = "reckon_reward"

Loss = Literal["bradley_terry", "pointwise", "process", "implicit"]

Reads = Literal["summary", "response"]


class RewardCard(Strict):
    """What a reward model was trained to say, and of what.

    Attributes:
        loss: ``bradley_terry``: a response's score is its strength against others to the same question; ``pointwise``:
            it is the log-odds that the response is good (label 1); ``process``: the head says it of every beginning of
            a response that ends with a step; ``implicit``: a language model without a head says it of every beginning,
            by its log-ratio to the model that it was trained from.
        reads: ``summary``: only what follows ``</think>``, as DeepSeek-R1 judges helpfulness; ``response``: everything,
            as it judges harmlessness (arXiv 2501.12948v2, sec. 3.1).
        template: how the question is rendered before it; see :class:`reckon.models.template.PromptTemplate`.
        mean, std: of the model's scores on held-out responses. A reward is (score - mean) / std.
        steps: ``process``: where steps end.
        beta: ``implicit``: what the log-ratio is multiplied by.
    """

    loss: Loss
    reads: Reads
    template: str
    mean: float = 0.0
    std: float = Field(1.0, gt=0)
    steps: StepRule | None = None
    beta: float | None = None


def make_reward_model(
    path_or_name: str | Path, card: RewardCard, dtype: str = "float32", device: str = "cpu"
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A reward model with the decoder of a causal language model, and its tokenizer.

    The head is zero, so that before its first update the model has no opinion. It reads the last token that is not
    padding, and texts end with the end-of-text token. A tokenizer that pads with that token would hide it, so it gets a
    padding token of its own.

    Raises:
        ConfigError: the architecture has no counterpart that scores texts, or the tokenizer no end of text; and as
            :func:`reckon.models.load.load_model`.
        DataError: as :func:`reckon.models.load.load_model`.
    """
    base, tokenizer = load_model(path_or_name, dtype, device)
    if tokenizer.eos_token_id is None:
        raise ConfigError(
            "the tokenizer has no end-of-text token",
            where=str(path_or_name),
            why="A response is scored at its end of text",
            fix="Set eos_token in its tokenizer_config.json",
        )
    if tokenizer.pad_token_id in (None, *end_ids(base, tokenizer)):
        _add_padding(base, tokenizer)
    config = copy.deepcopy(base.config)
    config.num_labels, config.id2label, config.label2id = 1, {0: "reward"}, {"reward": 0}
    config.get_text_config().pad_token_id = config.pad_token_id = tokenizer.pad_token_id
    try:
        model = AutoModelForSequenceClassification.from_config(config, dtype=base.dtype)
        torch.nn.init.zeros_(model.score.weight)
    except (ValueError, AttributeError) as error:
        raise ConfigError(
            f"{type(base).__name__} has no counterpart that scores texts",
            where=str(path_or_name),
            fix="Use an architecture that has one, such as Qwen2, Qwen3 or Llama",
        ) from error
    model.base_model.load_state_dict(base.base_model.state_dict(), assign=True)
    set_card(model, card)
    return model.to(base.device).eval(), tokenizer


def load_reward_model(
    path_or_name: str | Path, dtype: str = "float32", device: str = "cpu"
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, RewardCard]:
    """A reward model as it was saved (:func:`reckon.models.load.save_model`), its tokenizer and its card.

    Raises:
        ConfigError, DataError: as :func:`reckon.models.load.load_model`; DataError also for a model that Reckon did not
            train as a reward model.
    """
    # A model that is none has no head either, and would be loaded with one drawn at random.
    card = read_card(path_or_name)
    model, tokenizer = load_model(path_or_name, dtype, device, kind=AutoModelForSequenceClassification)
    return model, tokenizer, card


def read_card(path_or_name: str | Path) -> RewardCard:
    """The card of a saved reward model, without its weights. Raises DataError as :func:`card_of` and for no model."""
    return _card(load_config(path_or_name), str(path_or_name))


def card_of(model: Any) -> RewardCard:
    """The card in a model's config. Raises DataError when there is none, or none that can be understood."""
    return _card(model.config, "")


def _card(config: Any, where: str) -> RewardCard:
    try:
        return RewardCard.model_validate_json(json.dumps(getattr(config, _KEY, None)))
    except ValidationError as error:
        raise DataError(
            f"not a reward model of Reckon: its config.json has no valid {_KEY}",
            where=where,
            why="Without it nobody knows what the model reads, nor how its scores are spread",
            fix="Train one with a stage of kind `reward`; one that scores the steps of a search, with `loss: process`",
        ) from error


def set_card(model: Any, card: RewardCard) -> None:
    """Put the card into the model's config; it is saved and loaded with it."""
    setattr(model.config, _KEY, card.model_dump(mode="json"))


def _add_padding(model: Any, tokenizer: Any) -> None:
    tokenizer.add_special_tokens({"pad_token": PAD})
    embedding = model.get_input_embeddings()
    if len(tokenizer) > len(embedding.weight):
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    with torch.no_grad():
        model.get_input_embeddings().weight[tokenizer.pad_token_id] = 0
