"""Real servers on this machine, with an engine that writes what it is told to."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.error import HTTPError

from transformers import AutoTokenizer

from reckon.engine.base import Completion, Engine, Request
from reckon.models.load import model_folder
from reckon.serve.backend import Backend
from reckon.serve.gate import Access
from reckon.serve.native import Native
from reckon.serve.run import bind, make_server
from reckon.serve.settings import Settings

TOKENIZER = AutoTokenizer.from_pretrained(model_folder("micro"))
THOUGHT, ANSWER = " <think> 8 - 3 = 5, no. 3 * 8 = 24, yes. </think>", " <answer> 1 * 3 * 8 </answer>"
END = 0
"""The micro models' token for the end of a text."""

CHAT = {"messages": [{"role": "user", "content": "Make 24 from 3, 8, 1."}]}


def ids(text: str) -> list[int]:
    return list(TOKENIZER.encode(text))


def thinks_then_answers(prompt: Sequence[int]) -> list[int]:
    """What the engine writes by default; after thinking that was ended for it, the answer alone."""
    close = ids(" </think>")[0]
    return [*ids(ANSWER), END] if close in prompt else [*ids(THOUGHT + ANSWER), END]


class Scripted(Engine):
    """Writes ``script(prompt)`` for a prompt, a token at each step of ``step_s``, for ``rows`` requests at a time."""

    def __init__(
        self, script: Callable[[Sequence[int]], list[int]] = thinks_then_answers, step_s: float = 0.0, rows: int = 64
    ) -> None:
        self.version = 0
        self.script, self.step_s, self.rows = script, step_s, rows
        self.fail = False
        self.live: dict[int, tuple[Request, list[int], Completion]] = {}
        self.seen: list[Request] = []

    def submit(self, requests: Sequence[Request]) -> None:
        for request in requests:
            self.seen.append(request)
            self.live[request.id] = (request, self.script(request.prompt_ids), Completion(request.id))

    def poll(self) -> list[Completion]:
        time.sleep(self.step_s)
        if self.fail:
            self.fail = False
            raise RuntimeError("out of memory")
        done = []
        for request, script, completion in list(self.live.values())[: self.rows]:
            token = script[len(completion.token_ids)]
            completion.token_ids.append(token)
            completion.logp.append(-0.5)
            if self.on_token is not None:
                self.on_token(request.id, token)
            if token in request.sampling.stop_ids:
                completion.finish = "stop"
            elif len(completion.token_ids) == request.sampling.max_new_tokens:
                completion.finish = "length"
            else:
                continue
            done.append(completion)
            del self.live[request.id]
        return done

    def cancel(self, ids: Sequence[int]) -> list[Completion]:
        found = [self.live.pop(id_)[2] for id_ in ids if id_ in self.live]
        for completion in found:
            completion.finish = "cancelled"
        return found


def native(engine: Engine | None = None, settings: Settings | None = None, running: int = 64, **more: Any) -> Native:
    return Native(
        engine or Scripted(),
        TOKENIZER,
        names=["micro"],
        context=512,
        end_ids=(END,),
        max_running=running,
        settings=settings or Settings(),
        **more,
    )


@contextmanager
def serving(
    backend: Backend | None = None, settings: Settings | None = None, access: Access | None = None
) -> Iterator[str]:
    """A server at work; its address."""
    settings = settings or Settings()
    server = make_server(backend or native(settings=settings), settings, access or Access())
    listener = bind("127.0.0.1", 0, None)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])), daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


def post(url: str, body: Any, path: str = "/v1/chat/completions", **headers: str) -> tuple[int, Any]:
    """The status and the JSON that a request is answered with; a body of bytes is sent as it is."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {"Content-Type": "application/json", **{name.replace("_", "-"): text for name, text in headers.items()}}
    try:
        with urllib.request.urlopen(urllib.request.Request(url + path, data, named), timeout=30) as response:
            return response.status, json.load(response)
    except HTTPError as error:
        return error.code, json.load(error)


def get(url: str, path: str, **headers: str) -> tuple[int, str]:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    try:
        with urllib.request.urlopen(urllib.request.Request(url + path, headers=named), timeout=30) as response:
            return response.status, response.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


def events(url: str, body: Any, path: str = "/v1/chat/completions") -> list[str]:
    """The events of a stream, without ``data: ``."""
    data = json.dumps({**body, "stream": True}).encode()
    request = urllib.request.Request(url + path, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        text = response.read().decode()
    assert text.endswith("\n\n")
    parts = text.removesuffix("\n\n").split("\n\n")
    return [part.removeprefix("data: ") for part in parts if not part.startswith(":")]


def connect(url: str) -> socket.socket:
    host, _, port = url.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=30)


def send_post(connection: socket.socket, body: Any, path: str = "/v1/chat/completions") -> None:
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(data)}"
    connection.sendall(f"{head}\r\n\r\n".encode() + data)


def until(true: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for something to become true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never became true"
        time.sleep(0.005)
