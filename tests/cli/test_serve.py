from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from reckon.cli import serve
from reckon.core.errors import ConfigError, DataError, ReckonError
from tests.serve.serving import CHAT, get, post, until

PROGRAM = "import typer; from reckon.cli import serve; typer.run(serve.command)"


def fails(*arguments: str) -> ReckonError:
    """The error that a command line ends with."""
    app = typer.Typer()
    app.command()(serve.command)
    found = CliRunner().invoke(app, list(arguments)).exception
    assert isinstance(found, ReckonError), found
    return found


@pytest.mark.parametrize(
    ("arguments", "error", "told"),
    [
        ((), ConfigError, "give a model or --upstream"),
        (("micro", "--upstream", "http://127.0.0.1:1/v1"), ConfigError, "give a model or --upstream"),
        (("micro", "--host", "0.0.0.0"), ConfigError, "RECKON_API_KEY"),
        (("micro", "--host", "192.0.2.1"), ConfigError, "RECKON_API_KEY"),
        (("micro", "--effort", "low"), ConfigError, "--effort"),
        (("micro", "--effort", "lots=5"), ConfigError, "effort lots=5"),
        (("micro", "--thinking", "perhaps"), ConfigError, "--thinking"),
        (("micro", "--engine", "magic", "--port", "0"), ConfigError, "--engine"),
        (("no/such/folder", "--port", "0"), DataError, "no such model folder"),
        (("micro", "--template", "x", "--port", "0"), ConfigError, "template"),
    ],
)
def test_what_cannot_be_served(
    arguments: tuple[str, ...], error: type[ReckonError], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(serve.KEY_ENV, raising=False)
    found = fails(*arguments)
    assert isinstance(found, error)
    assert told in str(found)


def test_a_port_that_is_taken() -> None:
    from reckon.serve.run import bind

    with bind("127.0.0.1", 0, None) as listener:
        listener.listen()
        found = fails("micro", "--port", str(listener.getsockname()[1]))
    assert "cannot listen there" in str(found)


def test_without_the_packages_it_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fastapi", None)
    assert "reckon[serve]" in str(fails("micro"))


@contextmanager
def running(*arguments: str, **environment: str) -> Iterator[tuple[str, Any]]:
    """The command at work; its address and its process."""
    command = [sys.executable, "-c", PROGRAM, *arguments, "--port", "0"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert " at http://127.0.0.1:" in line, line + process.stderr.read()
        yield line.split(" at ")[1].split()[0], process
    finally:
        process.kill()
        process.wait()


def test_sigterm_lets_the_requests_under_way_end() -> None:
    named = ("micro", "--name", "deepseek-reasoner", "--template", "micro")
    with running(*named, RECKON_API_KEY="secret") as (url, process):
        key = {"Authorization": "Bearer secret"}
        assert post(url, CHAT)[0] == 401
        asked = {**CHAT, "model": "deepseek-reasoner", "max_tokens": 480, "n": 8, "temperature": 1.5, "seed": 1}
        found: list[Any] = []
        thread = threading.Thread(target=lambda: found.append(post(url, asked, **key)))
        thread.start()
        until(lambda: '"running":8' in get(url, "/health")[1])
        process.send_signal(signal.SIGTERM)
        thread.join(60)
        status, told = found[0]
        assert status == 200
        assert len(told["choices"]) == 8
        assert process.wait(30) == 0
        assert process.stderr.read() == ""
