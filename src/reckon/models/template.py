"""From a question to the token ids that the model continues, and from its tokens back to text."""

from __future__ import annotations

import difflib
import string
from collections.abc import Sequence
from typing import TYPE_CHECKING

from reckon.core.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CHAT = "chat"

TEMPLATES = {
    # After the conversation template of DeepSeek-R1-Zero (arXiv 2501.12948, table 1), in our own words.
    "r1-zero": (
        "Below, a User asks a question and an Assistant answers it. The Assistant first thinks the problem through, "
        "step by step, and only then gives the User the answer. Its reasoning stands between <think> and </think> "
        "and its final answer between <answer> and </answer>, in this form: <think> reasoning </think> "
        "<answer> answer </answer>.\n\nUser: {question}\nAssistant:"
    ),
    "micro": "User: {question}\nAssistant:",
}


class PromptTemplate:
    """A template by name or as text.

    Args:
        template: ``r1-zero``, ``micro``, ``chat`` (the tokenizer's own chat template, the question as one user
            turn), or a text with ``{question}`` in it; literal braces are doubled, as in ``\\boxed{{}}``.

    Raises:
        ConfigError: the name is unknown, ``{question}`` is missing, or there is another placeholder.
    """

    def __init__(self, template: str) -> None:
        self.name = template if template in (*TEMPLATES, CHAT) else "custom"
        self._text = TEMPLATES.get(template, template)
        if template != CHAT:
            _check(self._text)

    def render(self, question: str, tokenizer: PreTrainedTokenizerBase) -> tuple[str, list[int]]:
        """The prompt and its token ids, with the special tokens that the tokenizer puts before a text.

        Raises:
            ConfigError: the template is ``chat`` and the tokenizer has no chat template.
        """
        if self.name != CHAT:
            text = self._text.format(question=question)
            return text, list(tokenizer(text)["input_ids"])
        if not tokenizer.chat_template:
            raise ConfigError(
                "the tokenizer has no chat template",
                where="template: chat",
                fix=f"Use one of {', '.join(TEMPLATES)}, or a text with {{question}} in it",
            )
        turns = [{"role": "user", "content": question}]
        text = str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))
        return text, list(tokenizer(text, add_special_tokens=False)["input_ids"])

    def render_after(
        self, examples: Sequence[tuple[str, str]], question: str, tokenizer: PreTrainedTokenizerBase
    ) -> list[int]:
        """The token ids of a question that stands after worked examples, each a question and a whole response.

        Raises ConfigError as :meth:`render` does.
        """
        if self.name != CHAT:
            worked = [f"{self._text.format(question=asked)}{response}" for asked, response in examples]
            return list(tokenizer("\n\n".join([*worked, self._text.format(question=question)]))["input_ids"])
        self.render(question, tokenizer)
        told = [(role, text) for pair in examples for role, text in zip(("user", "assistant"), pair, strict=True)]
        turns = [{"role": role, "content": text} for role, text in [*told, ("user", question)]]
        text = str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def opens_thinking(prompt: str) -> bool:
    """Whether a rendered prompt ends by opening ``<think>``, so that the response begins in mid-thought."""
    return prompt.rstrip().endswith("<think>")


def response_text(token_ids: list[int], tokenizer: PreTrainedTokenizerBase) -> str:
    """The text of a response, without special tokens such as the one that ends it."""
    return str(tokenizer.decode(token_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))


def _check(text: str) -> None:
    try:
        fields = [field for _, field, _, _ in string.Formatter().parse(text) if field is not None]
    except ValueError as error:
        raise _bad(f"the braces do not match ({error})") from None
    unknown = [field for field in fields if field != "question"]
    if unknown:
        raise _bad(f"unknown placeholder {{{unknown[0]}}}")
    if not fields:
        close = difflib.get_close_matches(text, (*TEMPLATES, CHAT), 1)
        raise _bad(f"{text[:40]!r} has no {{question}}" + (f"; did you mean {close[0]}?" if close else ""))


def _bad(what: str) -> ConfigError:
    return ConfigError(
        what,
        where="template",
        fix=f"Use one of {', '.join((*TEMPLATES, CHAT))}, or a text with {{question}} in it and literal braces doubled",
    )
