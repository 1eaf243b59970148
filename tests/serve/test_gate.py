from __future__ import annotations

import pytest

from reckon.serve.checks import budget, check
from reckon.serve.gate import Access, _depth
from reckon.serve.refusal import Refusal
from reckon.serve.schema import ChatAsk, TextAsk
from reckon.serve.settings import Settings

MESSAGES = [{"role": "user", "content": "?"}]


def ask(**more: object) -> ChatAsk:
    return ChatAsk.model_validate({"messages": MESSAGES, **more})


@pytest.mark.parametrize(
    ("body", "depth"),
    [(b"1", 0), (b'{"a": [1, {"b": "]]["}]}', 3), (b'"\\"[["', 0), (b"[" * 5000, 5000), (b'["[[', 1), (b"]][[", 0)],
)
def test_depth(body: bytes, depth: int) -> None:
    assert _depth(body) == depth


@pytest.mark.parametrize(
    "more",
    [
        {"thinking_budget": 1},
        {"max_thinking_tokens": 1},
        {"custom_params": {"thinking_budget": 1}},
        {"reasoning": {"max_tokens": 1}},
        {"reasoning": {"effort": "low"}},
        {"max_new_tokens": 5},
        {"thinking": {"budget": 5}},
        {"chat_template_kwargs": {"thinking_budget": 5}},
        {"MaxOutputTokens": 5},
    ],
)
def test_an_unknown_budget_is_refused(more: dict[str, object]) -> None:
    with pytest.raises(Refusal, match="looks like a bound") as refused:
        check(ask(**more), 512)
    assert refused.value.status == 400


def test_other_unknown_keys_are_ignored_and_named() -> None:
    assert check(ask(top_k=5, metadata={"a": 1}, user="x", presence_penalty=1.5, tools=[]), 512) == [
        "top_k",
        "metadata",
        "metadata.a",
        "tools",
    ]


@pytest.mark.parametrize("more", [{"tools": [{"type": "function"}]}, {"logit_bias": {"5": 1}}, {"guided_regex": "a"}])
def test_keys_without_which_the_response_is_another_are_refused(more: dict[str, object]) -> None:
    with pytest.raises(Refusal, match="not supported"):
        check(ask(**more), 512)


def test_more_than_the_context_is_refused() -> None:
    with pytest.raises(Refusal, match="the model's context holds 512"):
        check(TextAsk(prompt="a", max_tokens=10**9), 512)
    check(TextAsk(prompt="a", max_tokens=10**9), None)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, None),
        ({"reasoning_effort": "none"}, 0),
        ({"reasoning_effort": "low"}, 2048),
        ({"reasoning_effort": "medium"}, 77),
        ({"reasoning_effort": "max"}, None),
        ({"reasoning_effort": "low", "thinking_token_budget": 5}, 5),
        ({"thinking": {"type": "enabled"}}, None),
        ({"thinking": {"type": "enabled", "budget_tokens": 9}}, 9),
        ({"thinking": {"type": "disabled"}, "reasoning_effort": "high"}, 0),
        ({"chat_template_kwargs": {"enable_thinking": False}}, 0),
        ({"chat_template_kwargs": {"thinking": True}}, None),
    ],
)
def test_budget(more: dict[str, object], expected: int | None) -> None:
    assert budget(ask(**more), Settings(efforts={"medium": 77})) == expected


def status(access: Access, path: str = "/v1/models", **headers: str) -> int:
    """What a request with these headers is told; 0: it may go on."""
    try:
        access.check({name.encode(): text.encode() for name, text in headers.items()}, path)
    except Refusal as refused:
        return refused.status
    return 0


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1:1", "[::1]:8000", "LOCALHOST"])
def test_this_machine_may_ask(host: str) -> None:
    assert status(Access(), host=host) == 0


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example:80", "", "[", "127.0.0.1.nip.io", "a@b"])
def test_another_name_may_not(host: str) -> None:
    assert status(Access(), host=host) == 403
    assert status(Access(hosts=["*"]), host=host) == 0


def test_pages_of_others_may_not_ask_unless_they_are_named() -> None:
    assert status(Access(), host="localhost:8000", origin="http://localhost:8000") == 0
    assert status(Access(), host="localhost:8000", origin="http://localhost:9000") == 403
    assert status(Access(), host="localhost:8000", origin="null") == 403
    assert status(Access(origins=["https://chat.example"]), host="localhost", origin="https://chat.example") == 0


@pytest.mark.parametrize(
    "given", ["", "Bearer", "Bearer ", "Bearer secre", "Bearer secret1", "Basic secret", "secret", "Bearer SECRET"]
)
def test_a_wrong_key_is_refused(given: str) -> None:
    assert status(Access("secret"), host="localhost", authorization=given) == 401


def test_the_right_key_may_go_on_and_the_page_needs_none() -> None:
    assert status(Access("secret"), host="localhost", authorization="bearer secret") == 0
    assert status(Access("secret"), "/", host="localhost") == 0
    assert status(Access("secret"), "/metrics", host="localhost") == 401
    assert "secret" not in repr(Access("secret"))
