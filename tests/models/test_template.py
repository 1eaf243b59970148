from __future__ import annotations

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from reckon.core.errors import ConfigError
from reckon.models.template import PromptTemplate, opens_thinking, response_text

CHAT = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}<|assistant|>"


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level tokenizer that puts <s> (id 0) before every text."""
    vocabulary = {"<s>": 0} | {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()), 1)}
    raw = Tokenizer(models.BPE(vocabulary, []))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    raw.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<s>")


def test_micro_and_its_ids(tokenizer: PreTrainedTokenizerFast) -> None:
    text, ids = PromptTemplate("micro").render("Make 24 from 3, 8, 1.", tokenizer)
    assert text == "User: Make 24 from 3, 8, 1.\nAssistant:"
    assert ids[0] == 0
    assert len(ids) == 1 + len(text)


def test_r1_zero_asks_for_both_tags_and_ends_at_the_assistant(tokenizer: PreTrainedTokenizerFast) -> None:
    text, _ = PromptTemplate("r1-zero").render("What is 2 + 2?", tokenizer)
    assert text.endswith("User: What is 2 + 2?\nAssistant:")
    assert all(tag in text for tag in ("<think>", "</think>", "<answer>", "</answer>"))
    assert not opens_thinking(text)


def test_braces_in_a_question_are_its_own(tokenizer: PreTrainedTokenizerFast) -> None:
    text, _ = PromptTemplate("Put it in \\boxed{{}}. {question}").render("{x} and {question}", tokenizer)
    assert text == "Put it in \\boxed{}. {x} and {question}"


def test_chat_uses_the_tokenizers_template_without_a_second_bos(tokenizer: PreTrainedTokenizerFast) -> None:
    tokenizer.chat_template = "<s>" + CHAT
    text, ids = PromptTemplate("chat").render("hi", tokenizer)
    assert text == "<s><|user|>hi<|assistant|>"
    assert ids.count(0) == 1


@pytest.mark.parametrize(("tail", "opens"), [("<think>\n", True), ("<think>\n</think>\n", False), ("", False)])
def test_opens_thinking(tokenizer: PreTrainedTokenizerFast, tail: str, opens: bool) -> None:
    tokenizer.chat_template = CHAT + tail
    for template in ("chat", "{question} " + tail):
        text, _ = PromptTemplate(template).render("Is <think> a tag?", tokenizer)
        assert opens_thinking(text) is opens


def test_chat_without_a_chat_template(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(ConfigError, match="no chat template"):
        PromptTemplate("chat").render("hi", tokenizer)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{question} {hint}", r"unknown placeholder \{hint\}"),
        ("{} {question}", r"unknown placeholder \{\}"),
        ("{question.gold}", r"unknown placeholder \{question.gold\}"),
        ("{question", "braces do not match"),
        ("no place for it", r"has no \{question\}"),
        ("micor", "did you mean micro"),
    ],
)
def test_bad_templates(template: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PromptTemplate(template)


def test_a_response_keeps_its_spaces_and_loses_the_end(tokenizer: PreTrainedTokenizerFast) -> None:
    text = " 8 , no . wait 不对"
    assert response_text([*tokenizer(text)["input_ids"], 0], tokenizer) == text


def test_worked_examples_stand_before_the_question(tokenizer: PreTrainedTokenizerFast) -> None:
    ids = PromptTemplate("micro").render_after([("1?", " one"), ("2?", " two")], "3?", tokenizer)
    assert ids[0] == 0
    assert tokenizer.decode(ids[1:]) == "User: 1?\nAssistant: one\n\nUser: 2?\nAssistant: two\n\nUser: 3?\nAssistant:"
    assert (
        PromptTemplate("micro").render_after([], "3?", tokenizer) == PromptTemplate("micro").render("3?", tokenizer)[1]
    )


def test_worked_examples_are_earlier_turns_of_a_chat(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(ConfigError, match="no chat template"):
        PromptTemplate("chat").render_after([("1?", "one")], "2?", tokenizer)
    tokenizer.chat_template = CHAT
    ids = PromptTemplate("chat").render_after([("1?", "one")], "2?", tokenizer)
    assert tokenizer.decode(ids) == "<|user|>1?<|assistant|>one<|user|>2?<|assistant|>"
