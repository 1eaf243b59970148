"""In front of another server: its words become ours, its failures are told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from reckon.core.errors import ConfigError
from reckon.serve.gate import Access
from reckon.serve.settings import Settings
from reckon.serve.upstream import Upstream
from tests.engine.endpoint_server import Server, disconnect, status
from tests.engine.endpoint_server import serving as other_server
from tests.serve.serving import CHAT, Scripted, connect, events, get, ids, native, post, send_post, serving, until


def streamed(deltas: list[dict[str, Any]], finish: str = "stop") -> bytes:
    """What a server says to a request with ``stream``."""
    pieces: list[dict[str, Any]] = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    pieces.append({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    pieces.append({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}})
    return b"".join(b"data: " + json.dumps(piece).encode() + b"\n\n" for piece in pieces) + b"data: [DONE]\n\n"


@contextmanager
def before(deltas: list[dict[str, Any]], settings: Settings | None = None) -> Iterator[tuple[str, Server]]:
    """Our server in front of one that says this."""
    from tests.engine.endpoint_server import say

    with other_server(lambda _: {}) as other:
        other.models = ["big"]
        answer = lambda handler: say(handler, 200, streamed(deltas), Content_Type="text/event-stream")  # noqa: E731
        other.faults = [answer] * 9
        settings = settings or Settings()
        with serving(Upstream(other.url, None, settings), settings) as url:
            yield url, other


@pytest.mark.parametrize(
    "deltas",
    [
        [{"role": "assistant", "content": ""}, {"reasoning": "why"}, {"content": "so"}],
        [{"reasoning_content": "wh"}, {"reasoning_content": "y"}, {"content": "so"}],
        [{"reasoning_content": "why", "reasoning": "why", "content": None}, {"content": "so"}],
        [{"content": "<thi"}, {"content": "nk>\nwhy\n</th"}, {"content": "ink>\n\nso"}],
    ],
)
def test_thinking_is_told_apart_whatever_the_server_says(deltas: list[dict[str, Any]]) -> None:
    with before(deltas) as (url, _):
        told = post(url, CHAT)[1]
        assert told["choices"][0]["message"] == {
            "role": "assistant",
            "content": "so",
            "reasoning_content": "why",
            "reasoning": "why",
        }
        assert told["model"] == "big"
        assert told["usage"]["total_tokens"] == 10
        *pieces, done = events(url, CHAT)
        assert done == "[DONE]"
        found = [json.loads(piece)["choices"][0]["delta"] for piece in pieces]
        assert "".join(delta.get("reasoning") or "" for delta in found) == "why"
        assert "".join(delta.get("content") or "" for delta in found) == "so"


def test_tags_are_text_where_the_server_has_told_thinking_apart() -> None:
    with before([{"reasoning": "why"}, {"content": "<think> is a tag"}]) as (url, _):
        assert post(url, CHAT)[1]["choices"][0]["message"]["content"] == "<think> is a tag"


def test_the_server_is_asked_in_its_words() -> None:
    with before([{"content": "so"}]) as (url, other):
        history = {"role": "assistant", "content": "a", "reasoning_content": "secret"}
        asked = {"messages": [*CHAT["messages"], history, *CHAT["messages"]], "max_completion_tokens": 5, "top_k": 3}
        post(url, {**asked, "reasoning_effort": "low", "priority": 1, "model": "big"})
        body = other.bodies[0]
        assert body["max_tokens"] == 5
        assert body["thinking_token_budget"] == 2048
        assert body["top_k"] == 3
        assert body["stream"] is True
        assert not {"priority", "max_completion_tokens"}.intersection(body)
        assert "secret" not in json.dumps(body)
        post(url, {**CHAT, "thinking": {"type": "disabled"}})
        assert other.bodies[1]["chat_template_kwargs"] == {"enable_thinking": False, "thinking": False}


def test_it_is_not_asked_to_search() -> None:
    with before([{"content": "so"}]) as (url, other):
        refused, told = post(url, {**CHAT, "search": {"method": "vote", "budget": 100}})
        assert (refused, told["error"]["param"]) == (400, "search")
        assert not other.bodies
        described = json.loads(get(url, "/openapi.json")[1])["components"]["schemas"]
        assert "search" not in described["ChatAsk"]["properties"]
        assert "SearchAsk" not in described


def test_every_prompt_counts_against_what_may_be_under_way() -> None:
    settings = Settings(max_waiting=1)
    with other_server(lambda _: {}) as other:
        other.models = ["big"]
        with serving(Upstream(other.url, None, settings, 2), settings) as url:
            assert post(url, {"prompt": ["a", "b"], "n": 2}, "/v1/completions")[0] == 400
        assert not other.bodies


def test_its_failures_are_told() -> None:
    with before([]) as (url, other):
        other.faults = [status(400, "too long"), status(429, Retry_After="7"), status(500), status(401), disconnect]
        assert post(url, CHAT)[1]["error"]["message"] == "too long"
        assert [post(url, CHAT)[0] for _ in range(4)] == [429, 502, 502, 502]
        assert post(url, {**CHAT, "model": "other"})[0] == 404
        assert post(url, {**CHAT, "thinking_budget": 5})[0] == 400
    settings = Settings()
    with serving(Upstream("http://127.0.0.1:9/v1", None, settings), settings) as url:
        assert post(url, CHAT)[0] == 502
        assert get(url, "/v1/models")[0] == 502


def test_a_chain_of_two_servers_ends_its_work_when_the_client_leaves() -> None:
    engine = Scripted(lambda _: ids(" 24") * 490, step_s=0.005)
    settings = Settings()
    with (
        serving(native(engine)) as inner,
        serving(Upstream(f"{inner}/v1", None, settings), settings, Access("secret")) as url,
    ):
        assert post(url, CHAT)[0] == 401
        status_, told = post(url, {"prompt": "one", "max_tokens": 4}, "/completions", Authorization="Bearer secret")
        assert (status_, told["choices"][0]["text"]) == (200, " 24 24 24 24")
    with serving(native(engine)) as inner, serving(Upstream(f"{inner}/v1", None, settings), settings) as url:
        connection = connect(url)
        send_post(connection, {**CHAT, "stream": True})
        assert connection.recv(100)
        until(lambda: bool(engine.live))
        connection.close()
        until(lambda: not engine.live)


@pytest.mark.parametrize(("address", "key"), [("ftp://x", None), ("http://u:p@x/v1", None), ("http://x", "NOT_SET_X")])
def test_an_address_or_key_that_is_none(address: str, key: str | None) -> None:
    with pytest.raises(ConfigError):
        Upstream(address, key, Settings())
