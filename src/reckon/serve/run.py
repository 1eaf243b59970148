"""Starting a server and ending it: what may be bound, with which key, and a graceful end."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from reckon.core.errors import ConfigError
from reckon.serve.backend import Backend
from reckon.serve.gate import Access
from reckon.serve.settings import Settings

if TYPE_CHECKING:
    import uvicorn

HEADER_BYTES = 16 * 1024
"""Of a request's line and headers together."""


def require_server() -> None:
    """Raises ConfigError if what a server needs is not installed."""
    try:
        import fastapi  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"a server needs the {error.name} package, which is not installed",
            where="reckon serve",
            fix="Run `pip install 'reckon[serve]'`",
        ) from None


def bind(host: str, port: int, key: str | None) -> socket.socket:
    """A socket that has the address; it listens when the server is ready. Port 0 is any free one.

    Raises:
        ConfigError: the address is not this machine's or is taken, or is open to others and there is no key.
    """
    if not key and not _is_loopback(host):
        raise ConfigError(
            f"{host} can be reached from other machines, and there is no key",
            where="--host",
            why="Anybody there could use the model",
            fix="Put a key into the environment variable RECKON_API_KEY, or serve on 127.0.0.1",
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"cannot listen there: {error.strerror or error}",
            where=f"{host} port {port}",
            fix="Choose another port with --port",
        ) from None
    return listener


def make_server(backend: Backend, settings: Settings, access: Access) -> uvicorn.Server:
    """A server that is not running yet."""
    import uvicorn

    from reckon.serve.app import create_app
    from reckon.serve.connection import guarded

    logging.getLogger("uvicorn.error").addFilter(_quiet)
    return uvicorn.Server(
        uvicorn.Config(
            create_app(backend, settings, access),
            http=guarded(settings),
            ws="none",
            lifespan="on",
            h11_max_incomplete_event_size=HEADER_BYTES,
            timeout_graceful_shutdown=max(1, round(settings.drain_s)),
            log_level="warning",
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
        )
    )


def serve(server: uvicorn.Server, listener: socket.socket, ready: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT; requests under way then have ``settings.drain_s`` to end.

    A second SIGINT ends it at once. ``ready`` is called when requests are taken.
    """
    with _signals():
        asyncio.run(_serve(server, listener, ready))


async def _serve(server: uvicorn.Server, listener: socket.socket, ready: Callable[[], None]) -> None:
    work = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started and not work.done():
        await asyncio.sleep(0.01)
    if not work.done():
        ready()
    await work


@contextmanager
def _signals() -> Iterator[None]:
    """uvicorn repeats a signal that ended it, for whoever listened before: nobody needs to."""
    kept = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


def _quiet(record: logging.LogRecord) -> bool:
    """Passes over what any stranger could fill the log with."""
    return not record.getMessage().startswith(("Invalid HTTP request", "Unsupported upgrade"))


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
