"""From a chat to the tokens that the model continues."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jinja2 import TemplateError

from reckon.models.template import CHAT, PromptTemplate, opens_thinking
from reckon.serve.refusal import Refusal
from reckon.serve.settings import Thinking
from reckon.serve.text import State
from reckon.tasks.answer import END_THINK

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Message = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the model continues, and where its response begins: in thinking, in the answer, or that is open."""

    ids: list[int]
    state: State


class ChatPrompts:
    """Writes chats as prompts: with the model's own chat template, or one of ours.

    Our templates know no roles but the question. Earlier turns then stand before it as worked examples do (question
    and answer, each in the template), and the system's words before the first question.

    Args:
        template: as for :class:`reckon.models.template.PromptTemplate`; None is the model's own, or ``micro`` where it
            has none.

    Raises:
        ConfigError: the template cannot be used.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, template: str | None, thinking: Thinking) -> None:
        self._tokenizer, self._thinking = tokenizer, thinking
        self._template = PromptTemplate(template or (CHAT if tokenizer.chat_template else "micro"))
        self._template.render("?", tokenizer)

    def chat(self, messages: Sequence[Message], options: Mapping[str, Any]) -> Prompt:
        """The prompt for a chat whose last turn is not the assistant's.

        Args:
            options: further variables for the model's own template, such as ``enable_thinking``.

        Raises:
            Refusal: the template does not take these messages.
        """
        if self._template.name != CHAT:
            return self._with_ours(messages)
        # No option may stand in for what is ours to say, such as the messages or the template itself.
        options = {key: value for key, value in options.items() if key in ("enable_thinking", "thinking")}
        try:
            text = self._tokenizer.apply_chat_template(
                [dict(message) for message in messages], tokenize=False, add_generation_prompt=True, **options
            )
        except (TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
            message = f"the model's chat template does not take these messages: {error}"
            raise Refusal(400, message, param="messages") from None
        return Prompt(list(self._tokenizer(text, add_special_tokens=False)["input_ids"]), self._state(str(text)))

    def text(self, text: str) -> list[int]:
        """The tokens of a text that is to be continued as it is."""
        return list(self._tokenizer(text)["input_ids"])

    def _with_ours(self, messages: Sequence[Message]) -> Prompt:
        turns = _turns(messages)
        *earlier, (question, _) = turns
        if earlier:
            told = [(asked, f" {answer}") for asked, answer in earlier]
            ids = self._template.render_after(told, question, self._tokenizer)
        else:
            _, ids = self._template.render(question, self._tokenizer)
        return Prompt(ids, self._state(self._tokenizer.decode(ids[-16:])))

    def _state(self, prompt: str) -> State:
        if self._thinking == "never" or prompt.rstrip().endswith(END_THINK):
            return "answer"
        return "thinking" if self._thinking == "always" or opens_thinking(prompt) else "undecided"


def _turns(messages: Sequence[Message]) -> list[tuple[str, str]]:
    """Questions and answers in turn, the last answer empty; what comes in a row from one side is one."""
    turns: list[tuple[str, str]] = []
    question: list[str] = []
    for message in messages:
        text = str(message["content"] or "")
        if message["role"] != "assistant":
            question.append(text)
        elif question or not turns:
            turns.append(("\n\n".join(question), text))
            question = []
        else:
            turns[-1] = (turns[-1][0], f"{turns[-1][1]}\n\n{text}")
    return [*turns, ("\n\n".join(question), "")]
