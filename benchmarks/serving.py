"""Many streams at once against one after the other: ``python -m benchmarks.serving [--seconds 60] [--streams 64]``.

Starts ``reckon serve micro`` and asks it over real connections. The last line of the output is one JSON object: tokens
per second one by one and together, errors, and what the server holds (resident memory, file descriptors, threads) after
a warm-up and at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

SERVE = [sys.executable, "-m", "reckon", "serve"]
TOKENS = 200
PROMPT = "User: Make 24 from 3, 8, 1.\nAssistant: <think>"


@dataclass
class Tally:
    """What came of a number of streams."""

    tokens: int = 0
    responses: int = 0
    errors: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Tokens per second."""
        return self.tokens / self.seconds


@dataclass
class Held:
    """What a process holds; ``rss_mb`` in MiB."""

    rss_mb: float
    descriptors: int
    threads: int

    @classmethod
    def by(cls, pid: int) -> Held:
        process = Path("/proc") / str(pid)
        pages = int((process / "statm").read_text().split()[1])
        held = (len(list((process / name).iterdir())) for name in ("fd", "task"))
        return cls(round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1), *held)


async def stream(url: str, seed: int, tally: Tally) -> None:
    """Ask for one response, read it as it comes, and count its tokens by the server's own usage."""
    parts = urlsplit(url)
    body = {"prompt": PROMPT, "max_tokens": TOKENS, "seed": seed, "stream": True}
    data = json.dumps({**body, "stream_options": {"include_usage": True}}).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        writer.write(f"{head}Content-Length: {len(data)}\r\nConnection: close\r\n\r\n".encode() + data)
        end = b""
        while part := await reader.read(65536):
            # The usage and the end come last; the rest is only read.
            end = (end + part)[-2000:]
        if b"data: [DONE]" not in end:
            tally.errors.append(end.decode(errors="replace")[-200:])
            return
        usage = json.loads(b'{"usage":' + end.rpartition(b'"usage":')[2].partition(b"\n")[0])["usage"]
        tally.tokens += usage["completion_tokens"]
        tally.responses += 1
    except OSError as error:
        tally.errors.append(str(error))
    finally:
        writer.close()


async def keep_asking(url: str, streams: int, seconds: float) -> Tally:
    """So many streams at a time, each followed by the next until the time is over."""
    tally, start = Tally(), time.monotonic()

    async def one(number: int) -> None:
        seed = number
        while time.monotonic() - start < seconds:
            await stream(url, seed, tally)
            seed += streams

    await asyncio.gather(*(one(number) for number in range(streams)))
    tally.seconds = time.monotonic() - start
    return tally


def measure(url: str, pid: int, streams: int, seconds: float) -> dict[str, object]:
    asyncio.run(keep_asking(url, streams, min(5.0, seconds)))
    before = Held.by(pid)
    single = asyncio.run(keep_asking(url, 1, max(2.0, seconds / 6)))
    together = asyncio.run(keep_asking(url, streams, seconds))
    time.sleep(1.0)
    after = Held.by(pid)
    return {
        "streams": streams,
        "seconds": round(together.seconds, 1),
        "responses": together.responses,
        "errors": (single.errors + together.errors)[:5],
        "one_by_one_tokens_per_s": round(single.rate),
        "together_tokens_per_s": round(together.rate),
        "ratio": round(together.rate / single.rate, 2),
        "before": asdict(before),
        "after": asdict(after),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--streams", type=int, default=64)
    given = parser.parse_args()
    command = [*SERVE, "micro", "--port", "0", "--max-running", str(given.streams)]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stderr is not None
        line = server.stderr.readline()
        if " at http://" not in line:
            sys.exit(f"the server does not start: {line}{server.stderr.read()}")
        url = line.split(" at ")[1].split()[0]
        print(json.dumps(measure(url, server.pid, given.streams, given.seconds)))
    finally:
        server.terminate()
        server.wait(60)


if __name__ == "__main__":
    main()
