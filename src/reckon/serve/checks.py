"""What of a well-formed request this server does not serve, and what it passes over."""

from __future__ import annotations

import re
from typing import Any

from reckon.serve.backend import Bounds
from reckon.serve.refusal import Refusal
from reckon.serve.schema import CHANGES_MEANING, ChatAsk, SearchAsk, TextAsk
from reckon.serve.settings import EFFORTS, Settings

_BUDGETS = (
    ("budget|effort", ""),
    ("think|reason", "max|token|limit|len"),
    ("max|limit", "token|len|think|reason|new"),
)
"""Two words, one after the other, that make a key look like a bound on the cost of a response."""


def check(ask: ChatAsk | TextAsk, bounds: Bounds, settings: Settings) -> list[str]:
    """The names of the keys that are ignored.

    Raises:
        Refusal: the request goes beyond a bound, or has a key that must not be ignored.
    """
    if bounds.context is not None and ask.limit is not None and ask.limit > bounds.context:
        raise Refusal(
            400,
            f"{ask.limit} tokens are asked for, but the model's context holds {bounds.context}",
            param="max_tokens",
            code="context_length_exceeded",
        )
    if isinstance(ask, ChatAsk) and ask.search is not None:
        _check_search(ask, ask.search, bounds, settings)
    ignored = []
    for name, value in ask.unknown():
        if looks_like_a_budget(name):
            raise Refusal(
                400,
                f"unknown key {name[:100]!r}: it looks like a bound on the cost, which would not be kept. For thinking "
                "use reasoning_effort, thinking.budget_tokens or thinking_token_budget",
                param=name[:100],
                code="unknown_budget",
            )
        if name in CHANGES_MEANING and value not in (None, False, "", 0, [], {}):
            raise Refusal(400, f"{name} is not supported", param=name, code="unsupported")
        if name not in bounds.keys:
            ignored.append(name)
    return ignored


def looks_like_a_budget(name: str) -> bool:
    """Whether a key would bound the cost of a response. Dropping one unsaid would leave it unbounded."""
    for first, then in _BUDGETS:
        # Not one expression with .* between the words: its time would grow with the square of a hostile name.
        found = re.search(first, name, re.IGNORECASE)
        if found and re.search(then, name[found.end() :], re.IGNORECASE):
            return True
    return False


def budget(ask: ChatAsk, settings: Settings) -> int | None:
    """Tokens of thinking that a chat asks for at most: a number if it gives one, else none, else by the effort."""
    if ask.explicit_budget is not None:
        return ask.explicit_budget
    if not ask.thinks:
        return 0
    return None if ask.reasoning_effort is None else settings.effort(ask.reasoning_effort)


def beside_search(settings: Settings) -> dict[str, Any]:
    """What :func:`check` lets stand beside a search, as JSON Schema."""
    unbounded = [name for name in EFFORTS if settings.effort(name) is None]
    on, none = {"enum": [True, None]}, {"type": "null"}
    beside = {
        "n": {"enum": [1, None]},
        "logprobs": {"enum": [False, None]},
        "reasoning_effort": {"enum": [*unbounded, None]},
        "thinking": {"properties": {"type": {"not": {"const": "disabled"}}, "budget_tokens": none}},
        "thinking_token_budget": none,
        "chat_template_kwargs": {"properties": {"enable_thinking": on, "thinking": on}},
    }
    return {
        "if": {"required": ["search"], "properties": {"search": {"type": "object"}}},
        "then": {"properties": beside},
    }


def _check_search(ask: ChatAsk, wanted: SearchAsk, bounds: Bounds, settings: Settings) -> None:
    if bounds.search is None:
        raise Refusal(400, "search is not supported in front of another server", param="search", code="unsupported")
    for name, asked, most in (
        ("budget", wanted.budget, bounds.search.budget),
        ("samples", wanted.samples or 1, bounds.search.samples),
    ):
        if asked > most:
            raise Refusal(
                400,
                f"search.{name} may be {most} here, and is {asked}",
                param=f"search.{name}",
                code=f"search_{name}_exceeded",
            )
    for meaning, there in {
        "n": ask.choices > 1,
        "logprobs": bool(ask.logprobs),
        "a budget of thinking": budget(ask, settings) is not None,
    }.items():
        if there:
            raise Refusal(400, f"{meaning} does not go together with search", param="search", code="unsupported")
