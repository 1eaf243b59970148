"""Programs on a server: a real one over HTTP, which runs them in our own jail."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from reckon.core.errors import ConfigError, ReckonError
from reckon.sandbox import fusion
from reckon.sandbox.config import SandboxConfig, open_sandbox
from reckon.sandbox.fusion import SandboxFusion
from reckon.sandbox.limits import Limits
from reckon.sandbox.program import Program, Sandbox


class Server(ThreadingHTTPServer):
    """SandboxFusion's interface. ``faults`` are what it does before it behaves: HTTP codes or words."""

    daemon_threads = True

    def __init__(self, sandbox: Sandbox) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.sandbox = sandbox
        self.faults: list[int | str] = []
        self.requests: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: object) -> None:
        """Nothing is logged."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append(body)
        fault = self.server.faults.pop(0) if self.server.faults else None
        if isinstance(fault, int):
            self.send_error(fault)
        elif fault == "hang up":
            self.connection.close()
        elif fault == "cut short":
            self.answer(b"{", length=100)
        elif fault == "no JSON":
            self.answer(b"<html>")
        elif fault == "error":
            self.answer(json.dumps({"status": "SandboxError", "message": "no room", "run_result": None}).encode())
        elif self.path != "/run_code":
            self.send_error(404)
        else:
            self.answer(json.dumps(self.run(body)).encode())

    def answer(self, data: bytes, length: int | None = None) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(length or len(data)))
        self.end_headers()
        self.wfile.write(data)

    def run(self, body: dict[str, Any]) -> dict[str, Any]:
        assert body["language"] == "python"
        files = {path: base64.b64decode(data).decode() for path, data in body["files"].items()}
        limits = Limits(timeout_s=body["run_timeout"], memory_mb=body["memory_limit_MB"], output_kb=1024)
        ran = self.server.sandbox.run(Program(body["code"], stdin=body["stdin"], files=files, limits=limits))
        late = ran.status == "timed out"
        result = {
            "status": "TimeLimitExceeded" if late else "Finished",
            "execution_time": ran.seconds,
            "return_code": None if late else ran.exit_code,
            "stdout": ran.stdout,
            "stderr": ran.stderr,
        }
        done = "Success" if ran.exit_code == 0 else "Failed"
        return {"status": done, "message": "", "compile_result": None, "run_result": result, "files": {}}


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    server = Server(open_sandbox(SandboxConfig(allow_weak=True)))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def server(running: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setattr(fusion, "_PAUSE_S", 0.01)
    running.faults.clear()
    running.requests.clear()
    return running


def test_a_program_runs_there_with_its_input_files_and_limits(server: Server) -> None:
    program = Program(
        "print(input(), open('data/f').read()); import sys; sys.exit(3)",
        stdin="in\n",
        files={"data/f": "ü"},
        limits=Limits(timeout_s=7, memory_mb=300),
    )
    ran = SandboxFusion(server.url).run(program)
    assert (ran.status, ran.exit_code, ran.stdout) == ("exited", 3, "in ü\n")
    assert ran.seconds > 0
    (asked,) = server.requests
    assert (asked["run_timeout"], asked["memory_limit_MB"], asked["language"]) == (7, 300, "python")


@pytest.mark.parametrize(
    ("source", "status", "code"),
    [
        ("while True: pass", "timed out", None),
        ("raise ValueError('x')", "exited", 1),
        ("import ctypes; ctypes.string_at(0)", "killed", -11),
        ("print('x' * 5000)", "too much output", None),
    ],
)
def test_every_way_to_end_is_told_apart(server: Server, source: str, status: str, code: int | None) -> None:
    ran = SandboxFusion(server.url).run(Program(source, limits=Limits(timeout_s=0.3, output_kb=2)))
    assert (ran.status, ran.exit_code) == (status, code)
    assert len(ran.stdout) <= 2048


def test_signals_are_read_from_a_shells_exit_codes_too() -> None:
    result = {"status": "Finished", "return_code": 137, "stdout": None, "stderr": "Killed", "execution_time": None}
    ran = fusion._ran(result, Program(""))
    assert (ran.status, ran.exit_code, ran.stdout, ran.stderr, ran.seconds) == ("killed", -9, "", "Killed", 0.0)


def test_programs_come_back_in_order(server: Server) -> None:
    programs = [Program(f"print({number})") for number in range(12)]
    assert [ran.stdout for ran in SandboxFusion(server.url).run_all(programs)] == [f"{n}\n" for n in range(12)]


@pytest.mark.parametrize(
    "faults", [[503], [500, 502, 429], ["hang up"], ["cut short"], ["no JSON", "hang up"], ["error"]]
)
def test_failures_of_the_server_are_tried_again(server: Server, faults: list[int | str]) -> None:
    server.faults[:] = faults
    assert SandboxFusion(server.url).run(Program("print(1)")).stdout == "1\n"
    assert len(server.requests) == len(faults) + 1


def test_failures_of_the_program_are_not(server: Server) -> None:
    assert SandboxFusion(server.url).run(Program("1 / 0")).exit_code == 1
    assert len(server.requests) == 1


def test_a_program_the_server_cannot_run_has_failed_to_start(server: Server) -> None:
    server.faults[:] = ["error", "error"]
    ran = SandboxFusion(server.url).run(Program("print(1)"))
    assert (ran.status, ran.stderr) == ("failed to start", "no room")


def test_a_server_that_stays_broken_is_an_error_that_says_what_to_do(server: Server) -> None:
    server.faults[:] = [500] * 9
    with pytest.raises(ReckonError, match=r"HTTP 500.*server runs") as caught:
        SandboxFusion(server.url + "/").run(Program("print(1)"))
    assert len(server.requests) == 4
    assert caught.value.where == f"{server.url}/run_code"


def test_a_server_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fusion, "_PAUSE_S", 0.01)
    with pytest.raises(ReckonError, match="refused"):
        SandboxFusion("http://127.0.0.1:1").run(Program("print(1)"))


def test_a_wrong_path_is_an_error_at_once(server: Server) -> None:
    with pytest.raises(ConfigError, match="HTTP 404"):
        SandboxFusion(server.url + "/elsewhere").run(Program("print(1)"))
    assert len(server.requests) == 1
