from __future__ import annotations

import time

import pytest
from pydantic import BaseModel, ValidationError

from reckon.serve.backend import Bounds, SearchBounds
from reckon.serve.checks import budget, check, looks_like_a_budget
from reckon.serve.gate import Access, _deeper
from reckon.serve.refusal import Refusal
from reckon.serve.schema import ChatAsk, TextAsk
from reckon.serve.settings import Settings

BOUNDS = Bounds(context=512)
MESSAGES = [{"role": "user", "content": "?"}]


def ask(**more: object) -> ChatAsk:
    return ChatAsk.model_validate({"messages": MESSAGES, **more})


@pytest.mark.parametrize(
    ("body", "depth"),
    [
        (b"1", 0),
        (b'{"a": [1, {"b": "]]["}]}', 3),
        (b"[[], {}, [[]]]", 3),
        (b'"\\"[["', 0),
        (b'["a\\\\", [1]]', 2),
        (b"[" * 5000, 5000),
        (b"[" * 5000 + b"]" * 5000, 5000),
        (b'["[[', 1),
        (b"]][[", 2),
    ],
)
def test_depth(body: bytes, depth: int) -> None:
    assert not _deeper(body, depth)
    assert depth == 0 or _deeper(body, min(depth - 1, 99))


def test_the_depth_of_a_large_body_is_found_in_no_time() -> None:
    start = time.perf_counter()
    for body in (b"[]" * 500_000, b"[" * 10**6, b"[" * 500_000 + b"]" * 500_000, b'"' * 10**6, b'"\\' * 500_000):
        _deeper(body, 32)
    assert time.perf_counter() - start < 2


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
        check(ask(**more), BOUNDS, Settings())
    assert refused.value.status == 400


def test_a_hostile_key_is_judged_in_no_time() -> None:
    start = time.perf_counter()
    assert not looks_like_a_budget("think" * 200_000)
    assert looks_like_a_budget("think" * 200_000 + "_max")
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize(
    ("ask", "body"),
    [
        (ChatAsk, {"messages": [{"role": "user", "content": [{"t": 1}] * 10_000}]}),
        (ChatAsk, {"messages": [{"role": "user", "tool_calls": [1] * 10_000}]}),
        (ChatAsk, {"messages": MESSAGES, "stop": [1] * 10_000}),
        (TextAsk, {"prompt": ["a"] * 10_000}),
    ],
)
def test_of_a_long_list_not_every_fault_is_told(ask: type[BaseModel], body: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as refused:
        ask.model_validate(body)
    assert len(refused.value.errors()) < 10


def test_other_unknown_keys_are_ignored_and_named() -> None:
    assert check(ask(top_k=5, metadata={"a": 1}, user="x", presence_penalty=1.5, tools=[]), BOUNDS, Settings()) == [
        "top_k",
        "metadata",
        "metadata.a",
        "tools",
    ]


@pytest.mark.parametrize("more", [{"tools": [{"type": "function"}]}, {"logit_bias": {"5": 1}}, {"guided_regex": "a"}])
def test_keys_without_which_the_response_is_another_are_refused(more: dict[str, object]) -> None:
    with pytest.raises(Refusal, match="not supported"):
        check(ask(**more), BOUNDS, Settings())


def test_more_than_the_context_is_refused() -> None:
    with pytest.raises(Refusal, match="the model's context holds 512"):
        check(TextAsk(prompt="a", max_tokens=10**9), BOUNDS, Settings())
    check(TextAsk(prompt="a", max_tokens=10**9), Bounds(), Settings())


SEARCH = {"method": "vote", "budget": 100}


@pytest.mark.parametrize(
    ("more", "param", "said"),
    [
        ({"search": {**SEARCH, "budget": 101}}, "search.budget", "search.budget may be 100 here, and is 101"),
        ({"search": {**SEARCH, "samples": 8}}, "search.samples", "search.samples may be 7 here, and is 8"),
        ({"search": SEARCH, "n": 2}, "search", "n does not"),
        ({"search": SEARCH, "logprobs": True}, "search", "logprobs"),
        ({"search": SEARCH, "reasoning_effort": "low"}, "search", "budget of thinking"),
    ],
)
def test_a_search_beyond_a_bound_is_refused_and_the_bound_is_named(
    more: dict[str, object], param: str, said: str
) -> None:
    with pytest.raises(Refusal, match=said) as refused:
        check(ask(**more), Bounds(search=SearchBounds(("vote",), 100, 7)), Settings())
    assert (refused.value.status, refused.value.param) == (400, param)


def test_a_search_within_its_bounds_may_go_on_where_there_is_one() -> None:
    asked = ask(search={**SEARCH, "samples": 7}, n=1, logprobs=False, reasoning_effort="max")
    assert check(asked, Bounds(search=SearchBounds(("vote",), 100, 7)), Settings()) == []
    with pytest.raises(Refusal, match="in front of another server"):
        check(asked, Bounds(), Settings())


def test_digests_of_one_length_are_compared_and_not_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """How long a comparison takes then tells nothing of the key: not its length, and not how much of it was right."""
    compared: list[tuple[bytes, bytes]] = []

    def compare(given: bytes, known: bytes) -> bool:
        compared.append((given, known))
        return given == known

    access = Access("secret")
    monkeypatch.setattr("reckon.serve.gate.hmac.compare_digest", compare)
    for given in ("", "s", "secre", "secret", "secret" * 1000):
        assert status(access, host="localhost", authorization=f"Bearer {given}") == (0 if given == "secret" else 401)
    assert len(compared) == 5
    assert {len(digest) for pair in compared for digest in pair} == {32}
    assert len({known for _, known in compared}) == 1
    assert len({given for given, _ in compared}) == 5
    assert not any(b"secre" in digest for pair in compared for digest in pair)


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
