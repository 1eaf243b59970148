"""Answers that are found by searching, over real connections."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

import pytest

from reckon.engine.native import NativeEngine
from reckon.models.load import load_model
from reckon.search.methods import METHODS
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
    thinks_then_answers,
    until,
)

OTHER = " <answer> 8 * 3 + 1 </answer>"


@pytest.fixture(scope="module")
def micro() -> Iterator[str]:
    with serving(native(NativeEngine(*load_model("micro"), max_running=64))) as url:
        yield url


@pytest.fixture(scope="module")
def limited() -> Iterator[str]:
    with serving(native(settings=Settings(search_tokens=1000, search_samples=5))) as url:
        yield url


def asked(method: str, budget: int, **more: Any) -> dict[str, Any]:
    return {**CHAT, **more, "search": {"method": method, "budget": budget}}


def outvoted() -> Scripted:
    """Every third response has another answer than the rest."""
    number = count()

    def script(_: Sequence[int]) -> list[int]:
        return [*ids(THOUGHT + (OTHER if next(number) % 3 == 0 else ANSWER)), END]

    return Scripted(script)


def test_a_vote_is_an_ordinary_response_that_cost_more() -> None:
    one, other = len(ids(THOUGHT + ANSWER)) + 1, len(ids(THOUGHT + OTHER)) + 1
    engine = outvoted()
    with serving(native(engine)) as url:
        status, told = post(url, asked("vote", 3 * 512, max_tokens=512 - 60))
    assert status == 200
    [choice] = told["choices"]
    assert choice["message"]["content"] == ANSWER.strip()
    assert choice["message"]["reasoning_content"].startswith("8 - 3 = 5")
    assert choice["finish_reason"] == "stop"
    usage = told["usage"]
    assert usage["completion_tokens_details"] == {"reasoning_tokens": len(ids(THOUGHT))}
    assert 2 * one + other <= usage["completion_tokens"] <= 3 * 512
    assert usage["completion_tokens"] == sum(other if n % 3 == 0 else one for n in range(len(engine.seen)))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_streams_what_it_says_whole(micro: str, method: str) -> None:
    body = asked(method, 150, seed=3, max_tokens=60)
    status, whole = post(micro, body)
    assert status == 200
    assert 0 < whole["usage"]["completion_tokens"] <= 150
    *told, done = events(micro, {**body, "stream_options": {"include_usage": True}})
    assert done == "[DONE]"
    *pieces, usage = [json.loads(one) for one in told]
    assert usage["usage"] == whole["usage"]
    for name in ("content", "reasoning_content"):
        texts = [piece["choices"][0]["delta"].get(name) or "" for piece in pieces]
        assert "".join(texts) == (whole["choices"][0]["message"][name] or "")
    assert pieces[-1]["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"]


def test_a_revision_sees_the_chat_and_the_response() -> None:
    engine = Scripted()
    with serving(native(engine)) as url:
        assert post(url, asked("revise", 160, max_tokens=80))[0] == 200
    first, second = engine.seen[0].prompt_ids, engine.seen[1].prompt_ids
    assert list(second[: len(first)]) == list(first)
    assert len(second) > len(first) + len(ids(THOUGHT + ANSWER))


@pytest.mark.parametrize("length", [100, 400])
def test_revisions_have_what_is_left_of_the_context(length: int) -> None:
    """Without max_tokens the first response may have all of it; later prompts are longer, or show fewer responses."""
    engine = Scripted(lambda _: [*ids(" 24") * length, END])
    body = asked("revise", 5 * (length + 1))
    with serving(native(engine)) as url:
        status, told = post(url, body)
    assert (status, told["choices"][0]["finish_reason"]) == (200, "stop")
    assert len(engine.seen) >= 5
    shows = [len(request.prompt_ids) > length for request in engine.seen]
    assert shows == [False, *[length == 100] * (len(shows) - 1)]
    for request in engine.seen:
        assert len(request.prompt_ids) + request.sampling.max_new_tokens <= 512


@pytest.mark.parametrize(
    ("body", "param", "said"),
    [
        (asked("wote", 100), "search.method", "did you mean 'vote'?"),
        (asked("vote", 1001), "search.budget", "search.budget may be 1000 here, and is 1001"),
        ({**CHAT, "search": {"method": "vote", "budget": 9, "samples": 6}}, "search.samples", "may be 5 here"),
        (asked("vote", 0), "search.budget", ""),
        (asked("vote", 100, n=2), "search", "n does not"),
        (asked("vote", 100, logprobs=True), "search", "logprobs"),
        (asked("vote", 100, reasoning_effort="low"), "search", "budget of thinking"),
        ({**CHAT, "search": {"method": "vote", "budget": 9, "width": 10**9}}, "search.width", ""),
        ({**CHAT, "search": {"method": "vote"}}, "search.budget", ""),
    ],
)
def test_what_cannot_be_searched_is_a_400_that_says_why(limited: str, body: Any, param: str, said: str) -> None:
    status, told = post(limited, body)
    assert (status, told["error"]["param"]) == (400, param)
    assert said in told["error"]["message"]


def test_the_bounds_of_a_search_are_in_the_description(limited: str) -> None:
    schemas = json.loads(get(limited, "/openapi.json")[1])["components"]["schemas"]
    asked_ = schemas["SearchAsk"]["properties"]
    assert asked_["method"]["enum"] == list(METHODS)
    assert (asked_["budget"]["minimum"], asked_["budget"]["maximum"]) == (1, 1000)
    assert asked_["samples"]["anyOf"][0] == {"type": "integer", "minimum": 1, "maximum": 5}
    assert schemas["SearchAsk"]["additionalProperties"] is False


@pytest.mark.parametrize("wanted", [1, 3, None])
def test_a_search_ends_with_the_last_of_its_samples(wanted: int | None) -> None:
    engine = Scripted()
    settings = Settings(search_samples=70)
    body = asked("best-of-n", 60_000, max_tokens=40)
    if wanted is not None:
        body["search"]["samples"] = wanted
    with serving(native(engine, settings), settings) as url:
        status, told = post(url, body)
    assert (status, len(engine.seen)) == (200, wanted or 70)
    assert told["choices"][0]["message"]["content"] == ANSWER.strip()


@pytest.mark.parametrize("method", METHODS)
def test_every_method_ends_with_its_samples(micro: str, method: str) -> None:
    body = asked(method, 5000, seed=3, max_tokens=20)
    body["search"]["samples"] = 3
    status, told = post(micro, body)
    assert status == 200
    assert 0 < told["usage"]["completion_tokens"] <= 60


def test_a_text_is_not_searched_for(limited: str) -> None:
    body = {"prompt": "a", "search": {"method": "vote", "budget": 9}}
    assert post(limited, body, "/v1/completions")[1]["error"]["param"] == "search"


def test_others_are_served_beside_a_search_which_keeps_to_its_places() -> None:
    most = 0

    def script(prompt: Sequence[int]) -> list[int]:
        nonlocal most
        most = max(most, len(engine.live) + 1)
        return thinks_then_answers(prompt)

    engine = Scripted(script, step_s=0.002)
    with serving(native(engine, Settings(search_width=3), 4)) as url:
        results: list[int] = []
        search = threading.Thread(target=lambda: results.append(post(url, asked("vote", 2000, max_tokens=100))[0]))
        search.start()
        until(lambda: len(engine.live) == 3)
        assert post(url, CHAT)[1]["choices"][0]["message"]["content"] == ANSWER.strip()
        assert not results
        search.join(20)
    assert results == [200]
    assert most == 4


def test_a_client_that_leaves_ends_its_search_and_a_failing_engine_is_told() -> None:
    engine = Scripted(step_s=0.002)
    # Places and a thread for one search alone, so that one which did not end would be in the way of the next.
    with serving(native(engine, Settings(max_waiting=0), 8)) as url:
        connection = connect(url)
        send_post(connection, asked("beam", 60_000))
        until(lambda: bool(engine.live))
        connection.close()
        until(lambda: not engine.live and json.loads(get(url, "/health")[1])["running"] == 0, 2.0)
        engine.fail = True
        assert post(url, asked("vote", 500))[0] == 500
        assert post(url, asked("vote", 500))[0] == 200
