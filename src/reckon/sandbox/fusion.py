"""Programs on a SandboxFusion server (https://github.com/bytedance/SandboxFusion), through its HTTP interface."""

from __future__ import annotations

import base64
import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from reckon.core.errors import ConfigError, ReckonError
from reckon.sandbox.program import Program, Ran

_TRIES = 4
_PAUSE_S = 0.5
"""Before the second try; twice as long before each one after it."""
_GRACE_S = 60.0
"""How long beyond a program's deadline its answer may take: the server queues what it cannot run at once."""


class SandboxFusion:
    """Runs programs on a server. Safe to use from any thread.

    What keeps the programs there is the server's business and taken on trust; its own default is a plain process.
    Files beside the program are sent, its limits too; what it was refused is not told.
    """

    tier = 2

    def __init__(self, url: str, workers: int | None = None) -> None:
        """``url``: of the server, without the path of its interface. ``workers``: requests at a time."""
        if not url.startswith(("http://", "https://")):
            raise ConfigError(
                f"{url!r} is no address of a server", where="sandbox.url", fix="Give one as http://host:8080"
            )
        self._url = url.rstrip("/") + "/run_code"
        self._workers = workers or 4 * (os.cpu_count() or 1)

    def run(self, program: Program) -> Ran:
        """Runs a program to its end.

        Only failures of the server are tried again: no connection, an answer of 429 or 5xx or none, an error on its
        side. Raises ReckonError if it cannot be reached at all, and ConfigError if it does not take such a request.
        """
        failure = ""
        for attempt in range(_TRIES):
            if attempt:
                time.sleep(_PAUSE_S * 2 ** (attempt - 1))
            try:
                answer = self._post(program)
            except urllib.error.HTTPError as error:
                if error.code != 429 and error.code < 500:
                    raise self._refused(error) from error
                failure = f"HTTP {error.code}"
            except (OSError, ValueError, http.client.HTTPException) as error:
                failure = str(getattr(error, "reason", error)) or type(error).__name__
            else:
                if answer.get("status") != "SandboxError" and isinstance(answer.get("run_result"), dict):
                    return _ran(answer["run_result"], program)
                failure = str(answer.get("message") or "the server reports an error of its own")
                if attempt == 1:
                    return Ran("failed to start", None, "", failure, 0.0)
        raise ReckonError(
            f"The SandboxFusion server does not answer: {failure}",
            where=self._url,
            why="Without it no program can be judged",
            fix="See that the server runs and can be reached from here, or set sandbox.kind: local",
        )

    def run_all(self, programs: Sequence[Program]) -> list[Ran]:
        """Runs programs side by side; results in the order of the programs."""
        with ThreadPoolExecutor(self._workers) as threads:
            return list(threads.map(self.run, programs))

    def close(self) -> None:
        """Nothing is held open."""

    def _post(self, program: Program) -> dict[str, Any]:
        limits = program.limits
        body = {
            "code": program.source,
            "language": "python",
            "stdin": program.stdin,
            "run_timeout": limits.timeout_s,
            "compile_timeout": limits.timeout_s,
            "memory_limit_MB": limits.memory_mb,
            "files": {path: base64.b64encode(text.encode()).decode() for path, text in program.files.items()},
        }
        request = urllib.request.Request(
            self._url, json.dumps(body).encode(), {"Content-Type": "application/json"}, method="POST"
        )
        with urllib.request.urlopen(request, timeout=limits.timeout_s + _GRACE_S) as response:
            answer = json.load(response)
        if not isinstance(answer, dict):
            raise ValueError("its answer is no JSON object")
        return answer

    def _refused(self, error: urllib.error.HTTPError) -> ConfigError:
        return ConfigError(
            f"The server refuses the request with HTTP {error.code}",
            where=self._url,
            why="It may not be a SandboxFusion server, or not at this path",
            fix="Set sandbox.url to where its /run_code is found",
        )


def _ran(result: dict[str, Any], program: Program) -> Ran:
    """The server's account of a program as ours."""
    most = program.limits.output_kb << 10
    streams = [(result.get(name) or "").encode("utf-8", "replace") for name in ("stdout", "stderr")]
    stdout, stderr = (stream[:most].decode("utf-8", "replace") for stream in streams)
    seconds = float(result.get("execution_time") or 0.0)
    if result.get("status") == "TimeLimitExceeded":
        return Ran("timed out", None, stdout, stderr, seconds)
    if max(map(len, streams)) > most:
        return Ran("too much output", None, stdout, stderr, seconds)
    code = int(result.get("return_code") or 0)
    signal = code - 128 if 128 < code < 160 else -code  # of a shell, and of a process started without one
    if signal > 0:
        return Ran("killed", -signal, stdout, stderr, seconds)
    return Ran("exited", code, stdout, stderr, seconds)
