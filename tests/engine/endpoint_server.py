"""A real server of OpenAI's API on this machine, which answers by rule and fails as it is told to."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Json = dict[str, Any]


def chat(text: str | None, **more: Any) -> Json:
    """What a server says to ``/chat/completions``; ``more`` is of the choice."""
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "completion_tokens_details": {"reasoning_tokens": 2}}
    return {"choices": [{"message": {"content": text}, "finish_reason": "stop", **more}], "usage": usage}


def plain(text: str, **more: Any) -> Json:
    """What a server says to ``/completions``."""
    return {"choices": [{"text": text, "finish_reason": "stop", **more}], "usage": {"completion_tokens": 3}}


class Server:
    """Answers every request with what ``answer`` makes of its body, once ``faults`` are used up.

    A fault is given the handler of a request, and says and does there what it likes.
    """

    def __init__(self, answer: Callable[[Json], Json]) -> None:
        self.answer = answer
        self.faults: list[Callable[[Any], None]] = []
        self.models: list[str] | None = ["judge"]
        self.bodies: list[Json] = []
        self.paths: list[str] = []
        self.headers: list[Message] = []
        self.open = self.most_open = 0
        self.lock = threading.Lock()
        self.url = ""
        self.ended = threading.Event()


@contextmanager
def serving(answer: Callable[[Json], Json]) -> Iterator[Server]:
    """A server at work; its address is ``url``."""
    server = Server(answer)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        state = server

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            if server.models is None:
                return say(self, 404, {"error": "no such page"})
            return say(self, 200, {"data": [{"id": name} for name in server.models]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with server.lock:
                server.bodies.append(body)
                server.paths.append(self.path)
                server.headers.append(self.headers)
                server.open += 1
                server.most_open = max(server.most_open, server.open)
                fault = server.faults.pop(0) if server.faults else None
            try:
                if fault is not None:
                    fault(self)
                else:
                    say(self, 200, server.answer(body))
            except (BrokenPipeError, ConnectionResetError):
                pass  # The client did not wait.
            finally:
                with server.lock:
                    server.open -= 1

    class Http(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 256

    http = Http(("127.0.0.1", 0), Handler)
    server.url = f"http://127.0.0.1:{http.server_port}/v1"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.ended.set()
        http.shutdown()
        http.server_close()
        thread.join()


def say(handler: Any, status: int, body: Json | bytes, **headers: str) -> None:
    """Send a whole answer; JSON unless it is bytes."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    handler.send_response(status)
    for name, value in {"Content-Type": "application/json", "Content-Length": str(len(data)), **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(data)


def status(code: int, message: str = "as told", **headers: str) -> Callable[[Any], None]:
    """A fault: an error of HTTP."""
    return lambda handler: say(handler, code, {"error": {"message": message}}, **headers)


def raw(data: bytes, **headers: str) -> Callable[[Any], None]:
    """A fault: these bytes in the place of an answer."""
    return lambda handler: say(handler, 200, data, **headers)


def disconnect(handler: Any) -> None:
    """A fault: the connection ends in the middle of the answer."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"choices": [')
    handler.close_connection = True


def hang(handler: Any) -> None:
    """A fault: no answer at all, as long as anybody waits."""
    handler.state.ended.wait(30)
    handler.close_connection = True


def drip(handler: Any) -> None:
    """A fault: a byte now and then, so that no single wait is long."""
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    handler.close_connection = True
    while not handler.state.ended.is_set():
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.02)
