"""The API as clients see it, over real connections."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from openai import BadRequestError, OpenAI

from reckon.engine.native import NativeEngine
from reckon.models.load import load_model
from reckon.serve.settings import Settings
from tests.serve.serving import (
    ANSWER,
    CHAT,
    END,
    THOUGHT,
    Scripted,
    connect,
    events,
    get,
    ids,
    native,
    post,
    send_post,
    serving,
)

THINKING, CONTENT = THOUGHT.removesuffix("</think>").removeprefix(" <think>").strip(), ANSWER.strip()
THOUGHT_TOKENS, ALL_TOKENS = len(ids(THOUGHT)), len(ids(THOUGHT + ANSWER)) + 1


@pytest.fixture(scope="module")
def scripted() -> Iterator[str]:
    with serving() as url:
        yield url


@pytest.fixture(scope="module")
def micro() -> Iterator[str]:
    with serving(native(NativeEngine(load_model("micro")[0], load_model("micro")[1], max_running=64))) as url:
        yield url


def test_a_response(scripted: str) -> None:
    status, told = post(scripted, {**CHAT, "model": "micro"})
    assert status == 200
    assert told["id"].startswith("chatcmpl-")
    assert (told["object"], told["model"]) == ("chat.completion", "micro")
    message = {"role": "assistant", "content": CONTENT, "reasoning_content": THINKING, "reasoning": THINKING}
    assert told["choices"] == [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}]
    prompt = len(ids("User: Make 24 from 3, 8, 1.\nAssistant:"))
    assert told["usage"] == {
        "prompt_tokens": prompt,
        "completion_tokens": ALL_TOKENS,
        "total_tokens": prompt + ALL_TOKENS,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": THOUGHT_TOKENS},
        "prompt_cache_hit_tokens": 0,
        "prompt_cache_miss_tokens": prompt,
    }


def test_a_stream(scripted: str) -> None:
    *told, done = events(scripted, {**CHAT, "stream_options": {"include_usage": True}})
    assert done == "[DONE]"
    pieces = [json.loads(one) for one in told]
    heads = {(one["id"], one["object"], one["created"], one["model"]) for one in pieces}
    assert len(heads) == 1
    assert next(iter(heads))[1] == "chat.completion.chunk"
    *deltas, last, usage = pieces
    assert deltas[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert last["choices"] == [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}]
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens_details"] == {"reasoning_tokens": THOUGHT_TOKENS}
    assert all(one["usage"] is None for one in pieces[:-1])
    kinds = ["reasoning" in one["choices"][0]["delta"] for one in deltas[1:]]
    assert kinds == sorted(kinds, reverse=True)
    assert "".join(one["choices"][0]["delta"].get("reasoning_content") or "" for one in deltas) == THINKING
    assert "".join(one["choices"][0]["delta"].get("content") or "" for one in deltas) == CONTENT


def test_a_stream_without_usage(scripted: str) -> None:
    *told, _ = events(scripted, CHAT)
    assert not any("usage" in json.loads(one) for one in told)


def told_logprobs(said: Any) -> tuple[list[str], list[float]]:
    """Tokens and their log-probabilities, of a chat or a text."""
    if "content" in said:
        return [one["token"] for one in said["content"]], [one["logprob"] for one in said["content"]]
    return said["tokens"], said["token_logprobs"]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
def test_a_stream_says_what_the_whole_response_says(micro: str, path: str) -> None:
    asked: dict[str, Any] = {"seed": 5, "n": 3, "max_tokens": 40, "stop": [", no"], "logprobs": True}
    asked |= CHAT if "chat" in path else {"prompt": "User: Make 24 from 3, 8, 1.\nAssistant:", "logprobs": 0}
    _, whole = post(micro, asked, path)
    *told, _ = events(micro, {**asked, "stream_options": {"include_usage": True}}, path)
    pieces = [json.loads(one) for one in told]
    assert pieces[-1]["usage"] == whole["usage"]
    total = 0
    for choice in whole["choices"]:
        mine = [one for piece in pieces for one in piece["choices"] if one["index"] == choice["index"]]
        if "chat" in path:
            for name in ("content", "reasoning_content"):
                assert "".join(one["delta"].get(name) or "" for one in mine) == (choice["message"][name] or "")
            total += len(choice["logprobs"]["content"])
        else:
            text = "".join(one["text"] for one in mine)
            assert text == choice["text"]
            assert ", no" not in text
            assert "".join(choice["logprobs"]["tokens"]).startswith(text)
            total += len(choice["logprobs"]["token_logprobs"])
        assert mine[-1]["finish_reason"] == choice["finish_reason"]
        (tokens, logp), (same_tokens, same_logp) = (told_logprobs(one["logprobs"]) for one in (mine[-1], choice))
        assert tokens == same_tokens
        # Batch mates may differ, and with them the rounding of matrix products.
        assert logp == pytest.approx(same_logp, abs=1e-4)
    assert total == whole["usage"]["completion_tokens"]
    assert len({json.dumps(choice) for choice in whole["choices"]}) > 1


def test_a_seed_gives_the_same_again_whatever_else_runs(micro: str) -> None:
    asked = {**CHAT, "seed": 7, "max_tokens": 30}
    alone = post(micro, asked)[1]["choices"]
    assert post(micro, asked)[1]["choices"] == alone
    assert post(micro, {**asked, "n": 4})[1]["choices"][0] == alone[0]
    assert post(micro, {**asked, "seed": 8})[1]["choices"] != alone


def test_two_turns_with_the_openai_client(micro: str) -> None:
    """DeepSeek's published example: the answer goes back into the history, its reasoning does not have to."""
    client = OpenAI(base_url=micro, api_key="none", max_retries=0)
    messages: list[Any] = [{"role": "user", "content": "Make 24 from 3, 8, 1."}]
    first = client.chat.completions.create(model="micro", messages=messages, temperature=0)
    message = first.choices[0].message
    assert message.reasoning_content  # type: ignore[attr-defined]
    assert first.usage is not None
    assert first.usage.completion_tokens_details is not None
    assert first.usage.completion_tokens_details.reasoning_tokens
    follow = {"role": "user", "content": "Make 15 from 9, 6, 1."}
    plain = [*messages, {"role": "assistant", "content": message.content}, follow]
    second = client.chat.completions.create(model="micro", messages=plain, temperature=0, max_tokens=40)
    with_reasoning = [*messages, message.model_dump(exclude_none=True), follow]
    again = client.chat.completions.create(model="micro", messages=with_reasoning, temperature=0, max_tokens=40)
    assert again.choices[0].message == second.choices[0].message
    assert again.usage == second.usage
    thinking, content = "", ""
    for chunk in client.chat.completions.create(model="micro", messages=messages, temperature=0, stream=True):
        thinking += getattr(chunk.choices[0].delta, "reasoning_content", None) or ""
        content += chunk.choices[0].delta.content or ""
    assert (thinking, content) == (message.reasoning_content, message.content)  # type: ignore[attr-defined]


def test_errors_with_the_openai_client(scripted: str) -> None:
    client = OpenAI(base_url=f"{scripted}/v1", api_key="none", max_retries=0)
    with pytest.raises(BadRequestError, match="looks like a bound") as refused:
        client.chat.completions.create(
            model="micro", messages=[{"role": "user", "content": "?"}], extra_body={"thinking_budget": 5}
        )
    assert refused.value.param == "thinking_budget"


def test_a_budget_over_http() -> None:
    low = Settings(efforts={"low": 6})
    with serving(native(settings=low), low) as url:
        for asked in (
            {"thinking": {"type": "enabled", "budget_tokens": 6}},
            {"thinking_token_budget": 6},
            {"reasoning_effort": "low"},
        ):
            _, told = post(url, {**CHAT, **asked})
            message = told["choices"][0]["message"]
            assert message["content"] == CONTENT
            assert message["reasoning_content"] == "8 - 3 ="
            assert told["usage"]["completion_tokens_details"]["reasoning_tokens"] == 6


def test_max_tokens_includes_the_thinking(scripted: str) -> None:
    _, told = post(scripted, {**CHAT, "max_tokens": 5})
    choice = told["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("", "length")
    assert told["usage"]["completion_tokens"] == 5


def test_what_has_no_effect_is_named(scripted: str) -> None:
    client = OpenAI(base_url=scripted, api_key="none", max_retries=0)
    raw = client.chat.completions.with_raw_response.create(
        model="micro",
        messages=[{"role": "user", "content": "?"}],
        presence_penalty=1.0,
        extra_body={"top_k": 5, "a\r\nb": 1},
    )
    assert raw.headers["x-reckon-ignored"] == "top_k, a??b"


def test_texts(scripted: str) -> None:
    status, told = post(scripted, {"prompt": ["one", "two"], "n": 2, "max_tokens": 4}, "/completions")
    assert status == 200
    assert [choice["index"] for choice in told["choices"]] == [0, 1, 2, 3]
    assert {choice["text"] for choice in told["choices"]} == {" <think> 8 - 3"}
    assert told["usage"]["completion_tokens"] == 16
    _, told = post(scripted, {"prompt": ids("one")}, "/v1/completions")
    assert told["choices"][0]["text"] == THOUGHT + ANSWER


def test_models_health_and_metrics(scripted: str) -> None:
    for prefix in ("", "/v1"):
        status, told = get(scripted, f"{prefix}/models")
        assert (status, json.loads(told)["data"][0]["id"]) == (200, "micro")
        assert json.loads(get(scripted, f"{prefix}/models/micro")[1])["max_model_len"] == 512
        assert get(scripted, f"{prefix}/models/a/b")[0] == 404
        assert json.loads(get(scripted, f"{prefix}/health")[1]) == {"status": "ok", "running": 0, "waiting": 0}
    before = get(scripted, "/metrics")[1]
    post(scripted, CHAT)
    after = get(scripted, "/metrics")[1]

    def count(text: str, name: str) -> int:
        return next((int(line.split()[-1]) for line in text.splitlines() if line.startswith(name)), 0)

    name = 'reckon_tokens_total{kind="completion"}'
    assert count(after, name) - count(before, name) == ALL_TOKENS
    name = 'reckon_requests_total{path="chat",status="200"}'
    assert count(after, name) - count(before, name) == 1


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": []}, "messages"),
        ({}, "messages"),
        ({"messages": [{"role": "wizard", "content": "?"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages.0.content.0.type"),
        ({"messages": [{"role": "user", "content": "a" * 600}]}, "messages"),
        ({"messages": [{"role": "user", "content": "?"}] * 600}, "messages"),
        ({**CHAT, "n": 16384}, "n"),
        ({**CHAT, "stream": "yes", "stream_options": 5}, "stream"),
        ({**CHAT, "max_tokens": 10**9}, "max_tokens"),
        ({**CHAT, "max_tokens": 0}, "max_tokens"),
        ({**CHAT, "max_tokens": "5"}, "max_tokens"),
        ({**CHAT, "max_tokens": 5.5}, "max_tokens"),
        ({**CHAT, "temperature": False}, "temperature"),
        ({**CHAT, "stream": "yes"}, "stream"),
        ({**CHAT, "temperature": -1}, "temperature"),
        ({**CHAT, "top_logprobs": 5}, "top_logprobs"),
        ({**CHAT, "response_format": {"type": "json_object"}}, "response_format.type"),
        ({**CHAT, "tools": [{"type": "function"}]}, "tools"),
        ({**CHAT, "stop": [""]}, "stop.0"),
        ({**CHAT, "stop": 5}, "stop"),
        (b'{"messages": [{"role": "user", "content": "\xff\xfe"}]}', None),
        (b'{"messages": [{"role": "user", "content": "\\ud800"}]}', None),
        (b'{"temperature": NaN, "messages": [{"role": "user", "content": "?"}]}', "temperature"),
        (b'{"seed": 1' + b"0" * 5000 + b"}", None),
        (b"[" * 100_000, None),
        (b"not json", ""),
        (b"", None),
    ],
)
def test_what_cannot_be_served_is_a_400_that_says_why(scripted: str, body: Any, param: str | None) -> None:
    status, told = post(scripted, body)
    assert status == 400
    assert told["error"]["type"] == "invalid_request_error"
    assert told["error"]["message"]
    if param is not None:
        assert (told["error"]["param"] or "") == param


@pytest.mark.parametrize(
    "body", [{"prompt": []}, {"prompt": ""}, {"prompt": [[]]}, {"prompt": [10**6]}, {"prompt": "a", "echo": True}]
)
def test_texts_that_cannot_be_served(scripted: str, body: Any) -> None:
    assert post(scripted, body, "/v1/completions")[0] == 400


def test_only_json_is_read(scripted: str) -> None:
    """A page of another server can send text without asking first."""
    assert post(scripted, CHAT, Content_Type="text/plain")[0] == 400


def test_what_is_not_there_is_a_404_in_json(scripted: str) -> None:
    assert post(scripted, {**CHAT, "model": "gpt"})[1]["error"]["code"] == "model_not_found"
    for path in ("/v1/nothing", "/pause", "/update_weights", "/invocations", "/docs"):
        status, told = get(scripted, path)
        assert (status, json.loads(told)["error"]["type"]) == (404, "invalid_request_error")
    assert post(scripted, {}, "/v1/models")[0] == 405


def test_an_engine_that_fails_is_a_500_and_goes_on() -> None:
    engine = Scripted()
    with serving(native(engine)) as url:
        engine.fail = True
        status, told = post(url, CHAT)
        assert (status, told["error"]["message"]) == (500, "the engine failed (RuntimeError)")
        engine.script = lambda _: [*ids(" 24"), END]
        assert post(url, CHAT)[1]["choices"][0]["message"]["content"] == "24"


def test_an_error_in_mid_stream_is_the_last_event() -> None:
    engine = Scripted(step_s=0.02)
    with serving(native(engine)) as url:
        client = OpenAI(base_url=url, api_key="none", max_retries=0)
        stream = client.chat.completions.create(model="micro", messages=[{"role": "user", "content": "?"}], stream=True)
        told = 0
        with pytest.raises(Exception, match="the engine failed"):  # noqa: PT012
            for _ in stream:
                told += 1
                engine.fail = told == 3
        assert told >= 3


def test_a_response_that_takes_too_long_and_signs_of_life() -> None:
    settings = Settings(request_s=0.3, keep_alive_s=0.05)
    with serving(native(Scripted(step_s=0.15), settings), settings) as url:
        assert post(url, CHAT)[0] == 504
        assert json.loads(events(url, CHAT)[-1])["error"]["code"] == "timeout"
        import urllib.request

        data = json.dumps({**CHAT, "stream": True}).encode()
        request = urllib.request.Request(f"{url}/chat/completions", data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request) as response:
            assert b"\n\n: keep-alive\n\n" in response.read()


def test_a_stream_that_waits_for_its_first_word_shows_signs_of_life() -> None:
    settings = Settings(keep_alive_s=0.05)
    with serving(native(Scripted(step_s=0.3), settings), settings) as url, connect(url) as connection:
        send_post(connection, {"prompt": "one", "max_tokens": 1, "stream": True}, "/v1/completions")
        start = time.monotonic()
        told = b""
        while b"[DONE]" not in told:
            told += connection.recv(65536)
            if b": keep-alive" in told and b'"text"' not in told:
                start = time.monotonic()
        assert told.index(b": keep-alive") < told.index(b'"text":" <think>"')
        assert time.monotonic() - start < 5


def test_all_that_is_answered_is_counted(scripted: str) -> None:
    def counted() -> set[str]:
        return {line for line in get(scripted, "/metrics")[1].splitlines() if line.startswith("reckon_requests_total")}

    before = counted()
    post(scripted, {"messages": []})
    post(scripted, CHAT, Host="evil.example")
    get(scripted, "/v1/nothing")
    post(scripted, CHAT, "/chat/completions")
    new = {line.partition(" ")[0].removeprefix("reckon_requests_total") for line in counted() - before}
    chat = {f'{{path="chat",status="{code}"}}' for code in (200, 400, 403)}
    assert chat | {'{path="other",status="404"}'} <= new


def test_the_description_is_of_this_server(scripted: str) -> None:
    described = json.loads(get(scripted, "/openapi.json")[1])
    assert set(described["paths"]) == {
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/models",
        "/v1/models/{name}",
        "/v1/health",
        "/v1/metrics",
    }
    assert "422" not in json.dumps(described)
    fields = described["components"]["schemas"]["ChatAsk"]["properties"]
    assert fields["max_tokens"]["anyOf"][0] == {"type": "integer", "minimum": 1, "maximum": 512}
    assert fields["n"]["anyOf"][0] == {"type": "integer", "minimum": 1, "maximum": 8}
    tokens = described["components"]["schemas"]["TextAsk"]["properties"]["prompt"]["anyOf"][2]["items"]
    assert tokens == {"type": "integer", "minimum": 0, "maximum": 391}
    prompt = described["components"]["schemas"]["TextAsk"]["properties"]["prompt"]["anyOf"]
    assert prompt[2]["maxItems"] == prompt[3]["items"]["maxItems"] == 511
    assert post(scripted, {"prompt": [1] * 511}, "/v1/completions")[0] == 200
    assert post(scripted, {"prompt": [1] * 512}, "/v1/completions")[0] == 400
