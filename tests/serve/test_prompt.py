from __future__ import annotations

import copy
from typing import Any

import pytest

from reckon.serve.prompt import ChatPrompts
from reckon.serve.refusal import Refusal
from reckon.serve.schema import ChatAsk
from reckon.serve.settings import Thinking
from tests.serve.serving import TOKENIZER

OWN = (
    "{% for m in messages %}{% if m.role == 'tool' %}{{ raise_exception('no tools') }}{% endif %}"
    "[{{ m.role }}{{ m.reasoning_content }}] {{ m.content }}\n{% endfor %}[assistant]"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>{% else %}<think>{% endif %}\n"
)


def written(
    messages: list[dict[str, Any]],
    own: str = "",
    thinking: Thinking = "auto",
    options: dict[str, Any] | None = None,
) -> tuple[str, str]:
    """A chat as a prompt, and where the response begins."""
    tokenizer = copy.deepcopy(TOKENIZER)
    tokenizer.chat_template = own or None
    ask = ChatAsk.model_validate({"messages": messages})
    prompt = ChatPrompts(tokenizer, None, thinking).chat([message.turn() for message in ask.messages], options or {})
    return tokenizer.decode(prompt.ids), prompt.state


USER = {"role": "user", "content": "one"}


def test_one_question_without_a_template_of_the_models() -> None:
    assert written([USER]) == ("User: one\nAssistant:", "undecided")


def test_earlier_turns_stand_before_the_question_without_their_thinking() -> None:
    told = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "o"}, {"type": "text", "text": "ne"}]},
        {"role": "assistant", "content": "1", "reasoning_content": "secret", "reasoning": "secret"},
        {"role": "user", "content": "two"},
    ]
    expected = "User: Be brief.\n\none\nAssistant: 1\n\nUser: two\nAssistant:"
    assert written(told)[0] == expected
    text, state = written(told, OWN)
    assert text == "[system] Be brief.\n[user] one\n[assistant] 1\n[user] two\n[assistant]<think>"
    assert state == "thinking"


def test_the_models_template_may_switch_thinking_off() -> None:
    text, state = written([USER], OWN, options={"enable_thinking": False})
    assert text.endswith("[assistant]<think>\n\n</think>")
    assert state == "answer"


def test_options_cannot_stand_in_for_the_messages() -> None:
    assert "[user] one" in written([USER], OWN, options={"messages": [], "chat_template": "x"})[0]


@pytest.mark.parametrize(("thinking", "state"), [("always", "thinking"), ("never", "answer")])
def test_where_a_response_begins_can_be_said(thinking: Thinking, state: str) -> None:
    assert written([USER], thinking=thinking)[1] == state


OTHER = "{% for m in messages %}{% if m.role == 'tool' %}{{ m.no.more }}{% endif %}{% endfor %}"


@pytest.mark.parametrize("template", [OWN, OTHER])
def test_what_a_template_does_not_take_is_the_clients_error(template: str) -> None:
    with pytest.raises(Refusal) as refused:
        written([{"role": "tool", "content": "x"}], template)
    assert (refused.value.status, refused.value.param) == (400, "messages")
