"""Errors as OpenAI's API words them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel


class ErrorBody(BaseModel):
    """What is wrong; ``param`` is the key at fault, ``code`` a word for programs."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorReply(BaseModel):
    """The body of every answer that is not a success."""

    error: ErrorBody


class Refusal(Exception):
    """A request that is not served: an HTTP status, and what the client is told."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """The error as JSON."""
        kind = _KINDS.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        told = ErrorBody(message=self.message, type=kind, param=self.param, code=self.code)
        return ErrorReply(error=told).model_dump()


_KINDS = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
