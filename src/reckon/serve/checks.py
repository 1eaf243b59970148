"""What of a well-formed request this server does not serve, and what it passes over."""

from __future__ import annotations

from reckon.serve.refusal import Refusal
from reckon.serve.schema import BUDGET_LIKE, CHANGES_MEANING, ChatAsk, TextAsk
from reckon.serve.settings import Settings


def check(ask: ChatAsk | TextAsk, context: int | None) -> list[str]:
    """The names of the keys that are ignored.

    Args:
        context: the most tokens that a response may be asked to have; None if nobody knows.

    Raises:
        Refusal: the request goes beyond a limit, or has a key that must not be ignored.
    """
    if context is not None and ask.limit is not None and ask.limit > context:
        raise Refusal(
            400,
            f"{ask.limit} tokens are asked for, but the model's context holds {context}",
            param="max_tokens",
            code="context_length_exceeded",
        )
    ignored = []
    for name, value in ask.unknown():
        if BUDGET_LIKE.search(name):
            raise Refusal(
                400,
                f"unknown key {name!r}: it looks like a bound on the cost, which would not be kept. For thinking use "
                "reasoning_effort, thinking.budget_tokens or thinking_token_budget",
                param=name[:100],
                code="unknown_budget",
            )
        if name in CHANGES_MEANING and value not in (None, False, "", 0, [], {}):
            raise Refusal(400, f"{name} is not supported", param=name, code="unsupported")
        ignored.append(name)
    return ignored


def budget(ask: ChatAsk, settings: Settings) -> int | None:
    """Tokens of thinking that a chat asks for at most: a number if it gives one, else none, else by the effort."""
    if ask.explicit_budget is not None:
        return ask.explicit_budget
    if not ask.thinks:
        return 0
    return None if ask.reasoning_effort is None else settings.effort(ask.reasoning_effort)
