from __future__ import annotations

import asyncio
import logging
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from typing import Any

import pytest

from reckon.core.errors import ConfigError, Interrupted
from reckon.engine import endpoint as module
from reckon.engine.base import Sampling
from reckon.engine.endpoint import Endpoint, EndpointConfig, Query, Reply
from tests.engine.endpoint_server import Server, chat, disconnect, drip, hang, plain, raw, say, serving, status

pytest.importorskip("openai", reason="the extra `endpoint` is not installed")

KEY = "sk-verysecret-0123456789"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short waits, no proxy, and a key of OpenAI's in the environment that nobody here may be sent."""
    monkeypatch.setattr(module, "FIRST_WAIT_S", 0.001)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-openai")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-openai")
    monkeypatch.setenv("RECKON_TEST_KEY", KEY)


def echo(body: dict[str, Any]) -> dict[str, Any]:
    if "prompt" in body:
        return plain(f"after {body['prompt']}")
    return chat(f"to {body['messages'][-1]['content']}")


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(echo) as found:
        yield found


def client(server: Server, **settings: Any) -> Endpoint:
    config = {"base_url": server.url, "model": "judge", "timeout_s": 5.0, "retries": 3, **settings}
    return Endpoint(EndpointConfig(**config))


def asked(text: str, seed: int = 0, **more: Any) -> Query:
    return Query([{"role": "user", "content": text}], Sampling(16, **more), seed)


# ----------------------------------------------------------------------------------------------- what is asked


def test_a_chat_and_a_text_are_asked_as_the_api_has_it(server: Server) -> None:
    sampling = Sampling(20, temperature=0.5, top_p=0.9, stop=("</answer>",))
    queries = [Query([{"role": "user", "content": "hi"}], sampling, seed=2**40 + 3), Query("2 + 2 =", Sampling(4))]
    talk, text = client(server, concurrency=1, extra_body={"top_k": 5}).complete_all(queries)
    assert (talk.text, text.text) == ("to hi", "after 2 + 2 =")
    assert server.paths == ["/v1/chat/completions", "/v1/completions"]
    assert server.bodies[0] == {
        "model": "judge",
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": 20,
        "temperature": 0.5,
        "top_p": 0.9,
        "stop": ["</answer>"],
        "seed": 3 + 2**40 % 2**31,
        "top_k": 5,
    }
    assert server.bodies[1]["prompt"] == "2 + 2 ="
    assert "stop" not in server.bodies[1]


def test_extra_body_replaces_and_removes_fields(server: Server) -> None:
    extra = {"max_tokens": None, "max_completion_tokens": 9, "temperature": 0.1}
    client(server, extra_body=extra).complete_all([asked("hi")])
    assert server.bodies[0]["temperature"] == 0.1
    assert server.bodies[0]["max_completion_tokens"] == 9
    assert "max_tokens" not in server.bodies[0]


# ------------------------------------------------------------------------------------------- what the server says


def test_a_reply_holds_all_that_the_server_tells(server: Server) -> None:
    (reply,) = client(server).complete_all([asked("hi")])
    assert reply.seconds > 0
    assert reply == Reply("to hi", None, "stop", 7, 3, 2, reply.seconds)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (chat("x", finish_reason="length"), {"text": "x", "finish": "length"}),
        (chat("x", finish_reason=None), {"text": "x", "finish": "stop"}),
        (chat(None, finish_reason="length"), {"text": "", "finish": "length"}),
        (chat("", message={"content": "x", "reasoning_content": "why"}), {"text": "x", "reasoning": "why"}),
        (chat("", message={"content": "x", "reasoning": "why"}), {"text": "x", "reasoning": "why"}),
        ({"choices": chat("x")["choices"]}, {"text": "x", "completion_tokens": None}),
        (chat("x", stop_reason="END"), {"text": "xEND"}),
        (chat("x", matched_stop="END"), {"text": "xEND"}),
        (chat("xEND", stop_reason="END"), {"text": "xEND"}),
        (chat("x", stop_reason=151645), {"text": "x"}),
        (chat("x", finish_reason="content_filter"), {"finish": "error", "lasting": True, "attempts": 1}),
    ],
)
def test_dialects_are_understood(server: Server, answer: dict[str, Any], expected: dict[str, Any]) -> None:
    server.answer = lambda body: answer
    query = Query([{"role": "user", "content": "hi"}], Sampling(16, stop=("END",)))
    (reply,) = client(server).complete_all([query])
    assert {name: getattr(reply, name) for name in expected} == expected


# ------------------------------------------------------------------------------------------------ what goes wrong


@pytest.mark.parametrize(
    "fault",
    [
        status(500),
        status(503),
        status(408),
        status(429),
        status(429, Retry_After="0"),
        disconnect,
        raw(b'{"choices": [{"mess'),
        raw(b"<html>busy</html>", Content_Type="text/html"),
        raw(b"{}"),
        raw(b'{"choices": []}'),
        raw(b'{"choices": [{"finish_reason": "stop"}]}'),
        raw(b"[1, 2]"),
        raw(b"[" * 100_000 + b"]" * 100_000),
        raw(b'{"choices": [{"message": {"content": null}, "finish_reason": "abort"}]}'),
        raw(b'{"error": {"message": "upstream"}}'),
    ],
)
def test_what_may_pass_is_asked_again(server: Server, fault: Callable[[Any], None]) -> None:
    server.faults = [fault, fault]
    (reply,) = client(server).complete_all([asked("hi")])
    assert (reply.text, reply.attempts, reply.error) == ("to hi", 3, "")


@pytest.mark.parametrize("fault", [hang, drip])
def test_an_answer_that_takes_too_long_is_given_up(server: Server, fault: Callable[[Any], None]) -> None:
    server.faults = [fault]
    (reply,) = client(server, timeout_s=0.3).complete_all([asked("hi")])
    assert (reply.text, reply.attempts) == ("to hi", 2)
    server.faults = [fault]
    (reply,) = client(server, timeout_s=0.3, retries=0).complete_all([asked("hi")])
    assert (reply.finish, reply.error, reply.lasting) == ("error", "no answer within 0.3 s", False)


def test_one_failure_is_not_everybodys(server: Server) -> None:
    server.faults = [status(400, "this prompt is too long")]
    replies = client(server, concurrency=1).complete_all([asked(str(n)) for n in range(3)])
    assert [reply.text for reply in replies] == ["", "to 1", "to 2"]
    assert (replies[0].error, replies[0].attempts, replies[0].lasting) == ("400: this prompt is too long", 1, True)
    assert len(server.bodies) == 3


def test_retries_end(server: Server) -> None:
    server.faults = [status(500, "broken")] * 10
    (reply,) = client(server, retries=2).complete_all([asked("hi")])
    assert (reply.finish, reply.error, reply.attempts, reply.lasting) == ("error", "500: broken", 3, False)


def test_a_text_that_cannot_be_sent_is_asked_once(server: Server) -> None:
    replies = client(server, concurrency=1).complete_all([asked("\ud800"), asked("hi")])
    assert [(reply.text, reply.lasting) for reply in replies] == [("", True), ("to hi", False)]


@pytest.mark.parametrize("date", [False, True])
def test_a_server_that_asks_to_be_left_alone_is(server: Server, date: bool) -> None:
    server.faults = [status(429, Retry_After=formatdate(time.time() + 2, usegmt=True) if date else "0.5")]
    start = time.monotonic()
    (reply,) = client(server).complete_all([asked("hi")])
    assert reply.attempts == 2
    assert 0.4 < time.monotonic() - start < 3


def test_a_pause_beyond_patience_ends_the_attempts(server: Server) -> None:
    server.faults = [status(429, "come back tomorrow", Retry_After="86400")]
    (reply,) = client(server).complete_all([asked("hi")])
    assert (reply.error, reply.attempts) == ("429: come back tomorrow", 1)


def test_nonsense_in_retry_after_is_passed_over(server: Server) -> None:
    nonsense = ("soon", "nan", "-5", "Mon, 01 Jan 99999999999999999999 00:00:00 GMT")
    server.faults = [status(503, Retry_After=text) for text in nonsense]
    (reply,) = client(server, retries=4).complete_all([asked("hi")])
    assert (reply.text, reply.attempts) == ("to hi", 5)


@pytest.mark.parametrize(
    ("fault", "model", "says"),
    [
        (status(401, f"wrong key {KEY}"), "judge", "does not accept the key"),
        (status(402), "judge", "no credit left"),
        (status(404, "no such model"), "juge", "Its models are judge"),
        (status(404), "judge", "most end in /v1"),
        (status(403), "judge", "does not offer"),
        (status(400, "Model Not Exist"), "juge", "Its models are judge"),
    ],
)
def test_what_no_query_can_get_past_stops_the_batch_at_once(
    server: Server, fault: Callable[[Any], None], model: str, says: str
) -> None:
    server.faults = [fault] * 100
    with pytest.raises(ConfigError, match=says) as raised:
        client(server, model=model, concurrency=2, api_key_env="RECKON_TEST_KEY").complete_all([asked("hi")] * 100)
    assert len(server.bodies) <= 4
    assert server.url in str(raised.value)
    assert KEY not in str(raised.value)


def test_an_account_without_credit_is_not_asked_again(server: Server) -> None:
    error = {"error": {"message": "pay", "code": "insufficient_quota"}}
    server.faults = [lambda handler: say(handler, 429, error)]
    with pytest.raises(ConfigError, match="no credit left"):
        client(server).complete_all([asked("hi")])


def test_a_refusal_after_answers_is_of_that_query_alone(server: Server) -> None:
    judge = client(server)
    judge.complete_all([asked("hi")])
    server.faults = [status(403, "flagged")]
    (reply,) = judge.complete_all([asked("hi")])
    assert (reply.error, reply.lasting) == ("403: flagged", True)


def test_an_address_where_nobody_is() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(ConfigError, match="nothing answers at this address"):
        Endpoint(EndpointConfig(base_url=url, model="judge")).complete_all([asked("hi")] * 50)


def test_a_server_without_a_list_of_models_is_as_good(server: Server) -> None:
    server.models = None
    assert client(server).complete_all([asked("hi")])[0].text == "to hi"


def test_a_server_that_leaves_later_fails_its_queries_alone() -> None:
    with serving(echo) as server:
        judge = client(server, retries=1)
        judge.complete_all([asked("hi")])
    replies = judge.complete_all([asked("hi")] * 3)
    assert [reply.finish for reply in replies] == ["error"] * 3
    assert "ConnectError" in replies[0].error


# --------------------------------------------------------------------------------------------- many at once


def test_replies_come_in_order_whatever_order_they_are_ready_in(server: Server) -> None:
    def slow_first(body: dict[str, Any]) -> dict[str, Any]:
        time.sleep(0.1 if body["seed"] == 0 else 0)
        return echo(body)

    server.answer, ready = slow_first, list[int]()
    replies = client(server, concurrency=8).complete_all(
        [asked(str(n), n) for n in range(40)], lambda place, reply: ready.append(place)
    )
    assert [reply.text for reply in replies] == [f"to {n}" for n in range(40)]
    assert sorted(ready) == list(range(40))
    assert ready[0] != 0
    assert server.most_open <= 8


def test_as_many_at_once_as_allowed(server: Server) -> None:
    together = threading.Barrier(6, timeout=5)

    def meet(body: dict[str, Any]) -> dict[str, Any]:
        together.wait()
        return echo(body)

    server.answer = meet
    replies = client(server, concurrency=6).complete_all([asked("hi")] * 12)
    assert [reply.text for reply in replies] == ["to hi"] * 12
    assert server.most_open == 6


def test_faults_of_every_sort_among_many(server: Server) -> None:
    server.faults = [status(429), status(500), disconnect, raw(b"{"), hang, status(503, Retry_After="0.1")] * 3
    replies = client(server, concurrency=16, timeout_s=1.0, retries=10).complete_all(
        [asked(str(n)) for n in range(200)]
    )
    assert [reply.text for reply in replies] == [f"to {n}" for n in range(200)]
    assert sum(reply.attempts - 1 for reply in replies) == 18


def test_nothing_to_ask_asks_nobody() -> None:
    assert Endpoint(EndpointConfig(base_url="http://127.0.0.1:9", model="m")).complete_all([]) == []


def test_it_works_where_an_event_loop_is_running(server: Server) -> None:
    async def inside() -> list[Reply]:
        return client(server).complete_all([asked("hi")])

    assert asyncio.run(inside())[0].text == "to hi"


def test_check_and_on_done_can_abandon_the_work(server: Server) -> None:
    def stop(*_: Any) -> None:
        raise Interrupted("enough")

    server.faults = [hang] * 4
    start = time.monotonic()
    with pytest.raises(Interrupted, match="enough"):
        client(server, timeout_s=60).complete_all([asked("hi")] * 4, check=stop)
    server.faults = []
    with pytest.raises(Interrupted, match="enough"):
        client(server).complete_all([asked("hi")] * 4, stop)
    assert time.monotonic() - start < 5


# ------------------------------------------------------------------------------------------------------- secrets


def test_the_key_goes_to_the_server_and_nowhere_else(
    server: Server, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    server.faults = [status(500, f"Bearer {KEY} is"), status(400, f"bad {KEY}")]
    judge = client(server, api_key_env="RECKON_TEST_KEY")
    (reply,) = judge.complete_all([asked("hi")])
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"
    assert reply.error == "400: bad ***"
    shown = capfd.readouterr()
    for text in (repr(reply), repr(judge.config), judge.config.model_dump_json(), caplog.text, shown.out, shown.err):
        assert KEY not in text


def test_no_server_is_sent_what_the_environment_has_for_openai(server: Server) -> None:
    client(server).complete_all([asked("hi")])
    assert "of-openai" not in str(server.headers[0])


@pytest.mark.parametrize("value", [None, "", "  \n", "sk-with\na-newline", "schlüssel"])
def test_a_key_that_is_not_there_is_said_at_once(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    monkeypatch.delenv("RECKON_TEST_KEY")
    if value is not None:
        monkeypatch.setenv("RECKON_TEST_KEY", value)
    with pytest.raises(ConfigError, match="RECKON_TEST_KEY") as raised:
        Endpoint(EndpointConfig(base_url="http://127.0.0.1:9", model="m", api_key_env="RECKON_TEST_KEY"))
    assert not (value or "").strip() or (value or "").strip() not in str(raised.value)


def test_a_key_in_the_place_of_its_name_is_refused_unseen() -> None:
    for key in (KEY, "gsk_abcDEF123"):
        with pytest.raises(ConfigError, match="not the name of an environment variable") as raised:
            EndpointConfig(base_url="http://127.0.0.1:9", model="m", api_key_env=key)
        assert key not in str(raised.value)


def test_a_password_in_the_address_is_refused_unseen() -> None:
    with pytest.raises(ConfigError, match="user name or password") as raised:
        EndpointConfig(base_url="https://me:hunter2@example.org/v1", model="m")
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://x/v1", "", "http://x:99999", "http://[x"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="base_url"):
        EndpointConfig(base_url=url, model="m")


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(ConfigError, match=r"pip install 'reckon\[endpoint\]'"):
        Endpoint(EndpointConfig(base_url="http://127.0.0.1:9", model="m"))
