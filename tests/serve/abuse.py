"""What hostile and careless clients do to a real server: ``python -m tests.serve.abuse [--seconds 60]``.

Starts ``reckon serve micro`` and abuses it at full size, where the tests do so at a size that they can wait for. Each
line of the output is one JSON object: what was done, what came of it, and whether that is as it should be. Two minutes
and two free cores are needed: it measures how long a good client waits meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict
from multiprocessing import get_context
from typing import Any
from urllib.parse import urlsplit

from benchmarks.serving import SERVE, Held

KEY = "k" * 31 + "x" + "k" * 32
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
ASKED = {"messages": [{"role": "user", "content": "Make 24 from 3, 8, 1."}], "seed": 1}
SILENT = 1000
HUGE = 300_000_000

Attack = Callable[[str], Awaitable[str]]


@contextmanager
def server(*options: str, **environment: str) -> Iterator[tuple[str, int]]:
    """A server in a process of its own: its address and the process."""
    command = [*SERVE, "micro", "--port", "0", *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment})
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert " at http://" in line, line
        yield line.split(" at ")[1].split()[0], process.pid
    finally:
        process.terminate()
        process.wait(60)


def told(name: str, ok: bool, **more: Any) -> bool:
    print(json.dumps({"check": name, "ok": ok, **more}), flush=True)
    return ok


def request(body: Any, *headers: str) -> bytes:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    extra = "".join(f"{header}\r\n" for header in headers).encode()
    return HEAD + extra + b"Content-Length: %d\r\n\r\n" % len(data) + data


async def opened(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    parts = urlsplit(url)
    return await asyncio.open_connection(parts.hostname, parts.port)


async def said(url: str, data: bytes) -> bytes:
    """All that a server says until it closes."""
    reader, writer = await opened(url)
    answer = b""
    with suppress(OSError):
        writer.write(data)
        while part := await reader.read(65536):
            answer += part
    writer.close()
    return answer


def status(answer: bytes) -> str:
    """The status of an answer, or that there was none."""
    return answer.split()[1].decode() if answer.startswith(b"HTTP/1.1 ") else "closed"


# ------------------------------------------------------------------------------------------------ bodies and sockets


def sends(data: bytes) -> Attack:
    async def attack(url: str) -> str:
        return status(await said(url, data))

    return attack


def asks(body: Any) -> Attack:
    return sends(request(body, "Connection: close"))


def drips(start: bytes, byte: bytes, pause: float = 0.05) -> Attack:
    """Sends the beginning of a request, and then a byte now and then, until it is closed."""

    async def attack(url: str) -> str:
        reader, writer = await opened(url)
        writer.write(start)
        reading = asyncio.ensure_future(reader.read(65536))
        while not reading.done():
            with suppress(OSError):
                writer.write(byte)
            await asyncio.sleep(pause)
        writer.close()
        with suppress(OSError):
            return status(reading.result())
        return "closed"

    return attack


def floods(header: bytes, chunk: bytes) -> Attack:
    """Sends 300 MB, if it is let."""

    async def attack(url: str) -> str:
        reader, writer = await opened(url)
        sent = 0
        with suppress(OSError):
            writer.write(HEAD + header + b"\r\n\r\n")
            while sent < HUGE and not reader.at_eof():
                writer.write(chunk)
                await writer.drain()
                sent += len(chunk)
        answer = b""
        with suppress(OSError):
            answer = await reader.read(100)
        writer.close()
        return f"{status(answer)} after {sent >> 20} MB" if sent < HUGE else "read all of it"

    return attack


async def does_not_read(url: str) -> str:
    """Asks for far more than what the buffers between hold."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port)) as connection:
        connection.setblocking(False)
        connection.send(request({**ASKED, "n": 8, "stream": True}) * 200)
        with suppress(ConnectionError):
            for _ in range(200):
                await asyncio.sleep(0.5)
                with suppress(BlockingIOError):
                    connection.send(b" ")
            return "served"
    return "closed"


async def pipelines(url: str) -> str:
    several = request({**ASKED, "max_tokens": 3}) * 19 + request({**ASKED, "max_tokens": 3}, "Connection: close")
    return f"{(await said(url, several)).count(b'HTTP/1.1 200')} of 20"


async def stays_silent(url: str) -> str:
    crowd = []
    for _ in range(SILENT):
        crowd.append(await opened(url))
        await asyncio.sleep(0.001)
    ends = await asyncio.gather(*(reader.read() for reader, _ in crowd), return_exceptions=True)
    for _, writer in crowd:
        writer.close()
    return f"closed {len(ends)}"


ATTACKS: dict[str, tuple[Attack, set[str]]] = {
    "300 MB": (floods(b"Content-Length: 300000000", b" " * 2**20), {"413", "closed"}),
    "chunks without end": (
        floods(b"Transfer-Encoding: chunked", b"100000\r\n" + b" " * 2**20 + b"\r\n"),
        {"413", "closed"},
    ),
    "slow headers": (drips(HEAD + b"X-Slow: ", b"a"), {"closed"}),
    "slow body": (drips(HEAD + b"Content-Length: 100000\r\n\r\n", b" "), {"408"}),
    "silent connections": (stays_silent, {"closed"}),
    "does not read": (does_not_read, {"closed"}),
    "pipelining": (pipelines, {"20"}),
    "bad UTF-8": (asks(b'{"messages": [{"role": "user", "content": "\xff\xfe"}]}'), {"400"}),
    "deep JSON": (asks(b"[" * 500_000), {"400"}),
    "a hostile key": (asks({**ASKED, "think" * 200_000: 1}), {"200"}),
    "n=16384": (asks({**ASKED, "n": 16384}), {"400"}),
    "max_tokens=10^9": (asks({**ASKED, "max_tokens": 10**9}), {"400"}),
    "empty messages": (asks({"messages": []}), {"400"}),
    "unknown role": (asks({"messages": [{"role": "wizard", "content": "?"}]}), {"400"}),
}


async def waits(url: str, until: Callable[[], bool]) -> list[float]:
    """Seconds that a good client waits for each of its answers."""
    times = []
    while not until():
        start = time.perf_counter()
        assert status(await said(url, request({**ASKED, "max_tokens": 32}, "Connection: close"))) == "200"
        times.append(time.perf_counter() - start)
        await asyncio.sleep(0.02)
    return times


def p95(times: list[float]) -> float:
    return round(statistics.quantiles(times, n=20)[-1], 4)


def run_attacks(names: list[str], url: str) -> list[tuple[str, float]]:
    """These attacks at once: what comes of each, and after how many seconds."""

    async def timed(name: str) -> tuple[str, float]:
        start = time.monotonic()
        return await ATTACKS[name][0](url), round(time.monotonic() - start, 2)

    async def run() -> list[tuple[str, float]]:
        return await asyncio.gather(*map(timed, names))

    return asyncio.run(run())


async def abuse_sockets(url: str, pid: int, attackers: Executor) -> bool:
    """Every attack on its own, then all of them at once, beside a good client."""
    loop = asyncio.get_running_loop()
    start = time.monotonic()
    alone = p95(await waits(url, lambda: time.monotonic() - start > 10))
    before, ok = Held.by(pid), True
    for names in [*([name] for name in ATTACKS), [*ATTACKS]]:
        work = loop.run_in_executor(attackers, run_attacks, names, url)
        among, start = await waits(url, work.done), time.monotonic()
        among += await waits(url, lambda start=start: time.monotonic() - start > 2)  # type: ignore[misc]
        outcomes = dict(zip(names, await work, strict=True))
        good = all(outcome.split()[0] in ATTACKS[name][1] and took < 90 for name, (outcome, took) in outcomes.items())
        good &= p95(among) < 2 * alone
        ok &= told("sockets", good, outcomes=outcomes, p95_s=p95(among), p95_alone_s=alone, answers=len(among))
    grown = Held.by(pid).rss_mb - before.rss_mb
    return ok & told("memory", grown < 100, grown_mb=round(grown, 1))


# --------------------------------------------------------------------------------------------------------- strangers


async def abuse_key(url: str, asks: int = 3000) -> bool:
    """Requests without the key, from elsewhere, and for what is not there; and the time that a refusal takes."""
    right = f"Authorization: Bearer {KEY}"
    ok = True
    for name, headers, expected in (
        ("no key", [], "401"),
        ("wrong key", ["Authorization: Bearer wrong"], "401"),
        ("prefix of the key", [f"Authorization: Bearer {KEY[:-1]}"], "401"),
        ("right key", [right], "200"),
        ("page of another server", [right, "Origin: http://evil.example"], "403"),
    ):
        outcome = status(await said(url, request({**ASKED, "max_tokens": 2}, *headers, "Connection: close")))
        ok &= told(name, outcome == expected, outcome=outcome)
    for path in ("/docs", "/pause", "/update_weights", "/shutdown", "/load_lora_adapter", "/collective_rpc"):
        asked = f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{right}\r\nConnection: close\r\n\r\n".encode()
        ok &= told(path, status(await said(url, asked)) == "404")
    times: dict[str, list[float]] = {"wrong": [], "prefix": []}
    rng = random.Random(0)
    for _ in range(asks):
        name, key = rng.choice([("wrong", "z" + KEY[1:-1] + "y"), ("prefix", KEY[:-1] + "y")])
        data = f"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n\r\n".encode()
        start = time.perf_counter()
        await said(url, data)
        times[name].append(1e6 * (time.perf_counter() - start))
    apart = statistics.median(times["prefix"]) - statistics.median(times["wrong"])
    both, by_chance = times["wrong"] + times["prefix"], []
    for _ in range(1000):
        rng.shuffle(both)
        cut = len(times["wrong"])
        by_chance.append(abs(statistics.median(both[cut:]) - statistics.median(both[:cut])))
    p = sum(chance >= abs(apart) for chance in by_chance) / len(by_chance)
    medians = {f"{name}_us": round(statistics.median(found), 1) for name, found in times.items()}
    return ok & told("timing of a refusal", p > 0.01, p=p, **medians)


async def abuse_host(url: str) -> bool:
    """Without a key, a name that was rebound to this machine is not served."""
    asked = HEAD.replace(b"localhost", b"evil.example") + b"Content-Length: 2\r\nConnection: close\r\n\r\n{}"
    return told("another host", status(await said(url, asked)) == "403")


# ------------------------------------------------------------------------------------------------- leaving, and crowds


async def health(url: str) -> dict[str, Any]:
    answer = await said(url, b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    found: dict[str, Any] = json.loads(answer.partition(b"\r\n\r\n")[2])
    return found


async def leave(url: str, pid: int, times: int = 100) -> bool:
    """Disconnect in mid-stream, so many times."""
    await said(url, request({**ASKED, "stream": True, "n": 4, "max_tokens": 50}, "Connection: close"))
    before, gone = Held.by(pid), []
    for _ in range(times):
        reader, writer = await opened(url)
        writer.write(request({**ASKED, "stream": True, "n": 4, "temperature": 1}))
        await reader.readuntil(b'"reasoning_content"')
        writer.transport.abort()
        start = time.perf_counter()
        while (await health(url))["running"]:
            pass
        gone.append(1000 * (time.perf_counter() - start))
    await asyncio.sleep(1)
    after = Held.by(pid)
    left = (await health(url)) != {"status": "ok", "running": 0, "waiting": 0}
    ok = not left and after.threads <= before.threads and after.descriptors <= before.descriptors
    median, most = round(statistics.median(gone), 1), round(max(gone), 1)
    return told(f"{times} disconnects", ok, gone_ms=median, most_ms=most, before=asdict(before), after=asdict(after))


async def crowd(url: str, pid: int, clients: int, seconds: float) -> bool:
    """So many clients that ask again and again, whatever they are told."""
    outcomes: Counter[str] = Counter()
    before, start = Held.by(pid), time.monotonic()

    async def client(number: int) -> None:
        while time.monotonic() - start < seconds:
            answer = await said(url, request({**ASKED, "seed": number, "stream": True}, "Connection: close"))
            outcome = status(answer)
            if outcome == "200" and b"data: [DONE]" not in answer:
                outcome = "200 without an end"
            if outcome == "429" and b"\r\nretry-after: 1\r\n" not in answer:
                outcome = "429 without Retry-After"
            outcomes[outcome] += 1
            await asyncio.sleep(0.2)

    await asyncio.gather(*(client(number) for number in range(clients)))
    end = time.monotonic()
    assert status(await said(url, request({**ASKED, "max_tokens": 5}, "Connection: close"))) == "200"
    recovered, grown = time.monotonic() - end, Held.by(pid).rss_mb - before.rss_mb
    ok = set(outcomes) == {"200", "429"} and recovered < 5 and grown < 100
    return told(
        f"{clients} clients for {seconds:g} s",
        ok,
        **outcomes,
        recovered_s=round(recovered, 2),
        grown_mb=round(grown, 1),
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--seconds", type=float, default=60.0, help="of overload")
    given = parser.parse_args()
    # In a process of their own, so that the good client waits for nobody but the server.
    with server() as (url, pid), ProcessPoolExecutor(1, get_context("spawn")) as attackers:
        list(attackers.map(len, "."))
        ok = asyncio.run(abuse_sockets(url, pid, attackers))
        ok &= asyncio.run(abuse_host(url))
        ok &= asyncio.run(leave(url, pid))
    with server(RECKON_API_KEY=KEY) as (url, _):
        ok &= asyncio.run(abuse_key(url))
    with server("--max-running", "8", "--max-waiting", "8") as (url, pid):
        ok &= asyncio.run(crowd(url, pid, 160, given.seconds))
    return int(not ok)


if __name__ == "__main__":
    sys.exit(main())
