"""What a request must pass before anything of it is looked at: who asks, from where, and how much."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reckon.serve.metrics import Metrics
from reckon.serve.refusal import Refusal
from reckon.serve.settings import Settings

OPEN_PATHS = {"/", "/page.js", "/page.css", "/health", "/v1/health"}
"""Need no key: the page, which asks for one, and the sign of life."""

_COUNTED = {"/chat/completions": "chat", "/completions": "completions"}
"""Paths whose answers are counted apart; a label for any path that strangers ask for would have no end."""

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
_ALIKE = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


@dataclass(frozen=True)
class Access:
    """Who may ask.

    Attributes:
        key: that requests must bring; None: none.
        hosts: names that a request may call this server by, beside those of loopback; ``*``: any.
        origins: pages of other servers that may ask from a browser; ``*``: any.
    """

    key: str | None = field(default=None, repr=False)
    hosts: Collection[str] = ()
    origins: Collection[str] = ()
    _digest: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_digest", _hash((self.key or "").encode()))

    def check(self, headers: dict[bytes, bytes], path: str) -> None:
        """Raises Refusal: 403 for a wrong host or origin, 401 for a wrong key.

        A page of another server that a browser shows could otherwise ask in the user's name, by this server's own
        address or, after rebinding its name to it, by that name.
        """
        host = headers.get(b"host", b"").decode("latin-1")
        if "*" not in self.hosts and _name(host) not in {*_LOOPBACK, *self.hosts}:
            raise Refusal(403, "this server does not go by that name (see --allow-host)", code="wrong_host")
        origin = headers.get(b"origin", b"").decode("latin-1")
        own = origin in (f"http://{host}", f"https://{host}")
        if origin and not own and not {"*", origin}.intersection(self.origins):
            raise Refusal(403, "pages of other servers may not ask (see --allow-origin)", code="wrong_origin")
        if self.key is None or path in OPEN_PATHS:
            return
        kind, _, given = headers.get(b"authorization", b"").partition(b" ")
        # Digests are compared, so that neither the key's length nor its beginning shows in the time it takes.
        if kind.lower() != b"bearer" or not hmac.compare_digest(_hash(given.strip()), self._digest):
            raise Refusal(
                401,
                "this server needs a key, as 'Authorization: Bearer KEY', and this is not it",
                code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )


class Gate:
    """Middleware that lets through what is allowed to ask, with its body read whole.

    The body is counted as it comes; a request that is refused before its end closes the connection.
    """

    def __init__(self, app: ASGIApp, access: Access, settings: Settings, metrics: Metrics) -> None:
        self._app, self._access, self._settings, self._metrics = app, access, settings, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        send = self._counting(scope["path"], send)
        try:
            self._access.check(headers, scope["path"])
            body = await self._body(headers, receive)
        except Refusal as refusal:
            await answer(send, refusal)
            return
        if body is not None:
            await self._app(scope, _replaying(body, receive), send)

    def _counting(self, path: str, send: Send) -> Send:
        name = _COUNTED.get(path.removeprefix("/v1"), "other")

        async def counting(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._metrics.answered(name, message["status"])
            await send(message)

        return counting

    async def _body(self, headers: dict[bytes, bytes], receive: Receive) -> bytes | None:
        """The whole body; None if the client has gone."""
        most = self._settings.max_body
        length = headers.get(b"content-length", b"0")
        body = bytearray()
        try:
            async with asyncio.timeout(self._settings.body_s):
                more = True
                while more:
                    if len(body) > most or not length.isdigit() or len(length) > 18 or int(length) > most:
                        raise Refusal(413, f"the body has more than {most} bytes", code="too_large")
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    body += message.get("body", b"")
                    more = message.get("more_body", False)
        except TimeoutError:
            raise Refusal(408, f"the body did not arrive within {self._settings.body_s:g} s") from None
        if len(body) > most:
            raise Refusal(413, f"the body has more than {most} bytes", code="too_large")
        if _deeper(bytes(body), self._settings.max_depth):
            raise Refusal(400, f"the body is nested more than {self._settings.max_depth} levels deep", code="too_deep")
        return bytes(body)


async def answer(send: Send, refusal: Refusal) -> None:
    """Send a refusal, and close the connection: its body may not have been read."""
    body = json.dumps(refusal.body()).encode()
    headers = {
        "content-type": "application/json",
        "content-length": str(len(body)),
        "connection": "close",
        **refusal.headers,
    }
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": refusal.status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


def _replaying(body: bytes, receive: Receive) -> Receive:
    """Gives the body that was read, and then what the connection gives."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Any:
        return messages.pop() if messages else await receive()

    return replay


def _deeper(body: bytes, most: int) -> bool:
    """Whether the brackets of a JSON text are nested more than ``most`` levels deep; they need not match.

    A level at a time is taken away, since a loop over all brackets would keep everybody waiting.
    """
    brackets = _STRING.sub(b"", body).translate(_ALIKE, _NO_BRACKETS)
    for _ in range(most):
        brackets = brackets.replace(b"[]", b"")
    return b"[]" in brackets or brackets.count(b"[") > most


def _name(host: str) -> str:
    """The name in a Host header, without the port; "" if there is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _hash(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
