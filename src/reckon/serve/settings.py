"""What one server allows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, field_validator

from reckon.core.config import Strict
from reckon.core.errors import ConfigError

Thinking = Literal["auto", "always", "never"]

EFFORTS: Mapping[str, int | None] = {
    "none": 0,
    "minimal": 512,
    "low": 2048,
    "medium": 8192,
    "high": 16384,
    "xhigh": 16384,
    "max": None,
    "ultra": None,
}
"""Tokens of thinking that each ``reasoning_effort`` allows; None: as many as the response may have."""


class Settings(Strict):
    """Limits, and how thinking is told from the answer. Everything beyond a limit is refused, never cut.

    Attributes:
        max_body: bytes of a request.
        max_depth: of the brackets in a request's JSON.
        max_waiting: responses that may wait for a place in the batch; beyond it the answer is 429.
        body_s: for the whole body to arrive.
        header_s: for a connection's next request line and headers to arrive.
        stalled_s: for a client that has stopped reading to go on.
        request_s: from a request to the last byte of its response.
        drain_s: for the requests under way to end when the server is told to stop.
        keep_alive_s: between two signs of life on a stream that has nothing to say.
        silent: connections that have not sent a request yet; the oldest goes when there are more.
        efforts: tokens of thinking for each ``reasoning_effort``, laid over :data:`EFFORTS`.
        closing: a sentence that ends thinking which has used up its budget, before the closing tag.
        search_tokens: that one search may generate.
        search_samples: responses, or steps of them, that one search may sample; what it does with each of them takes
            time that grows with their number.
        search_width: responses of one search that are generated at once; it takes as many places.
        thinking: ``auto`` goes by the prompt and the tags, ``always`` takes a response for thinking until
            ``</think>``, whether it was opened or not (R1's first chat template), and ``never`` takes nothing for it.
    """

    max_body: int = Field(2**20, ge=1024)
    max_depth: int = Field(32, ge=4)
    max_waiting: int = Field(64, ge=0)
    body_s: float = Field(10.0, gt=0)
    header_s: float = Field(5.0, gt=0)
    stalled_s: float = Field(30.0, gt=0)
    request_s: float = Field(600.0, gt=0)
    drain_s: float = Field(30.0, ge=0)
    keep_alive_s: float = Field(15.0, gt=0)
    silent: int = Field(256, ge=1)
    efforts: dict[str, int | None] = Field({})
    closing: str = ""
    search_tokens: int = Field(65536, ge=1)
    search_samples: int = Field(1024, ge=1)
    search_width: int = Field(8, ge=1)
    thinking: Thinking = "auto"

    @field_validator("efforts")
    @classmethod
    def _known(cls, efforts: dict[str, int | None]) -> dict[str, int | None]:
        for name, tokens in efforts.items():
            if name not in EFFORTS or (tokens is not None and tokens < 0):
                raise ConfigError(
                    f"effort {name}={tokens} is not one", fix=f"Use {', '.join(EFFORTS)}, and 0 tokens or more"
                )
        return {**EFFORTS, **efforts}

    def effort(self, name: str) -> int | None:
        """Tokens of thinking for one of :data:`EFFORTS`, None for no bound."""
        return self.efforts.get(name, EFFORTS[name])
