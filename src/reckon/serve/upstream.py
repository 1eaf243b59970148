"""Responses from another server of OpenAI's API, such as vLLM, put into our dialect."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from reckon.core.errors import ConfigError
from reckon.engine.endpoint import CONNECT_S, EndpointConfig
from reckon.serve.backend import Backend, Bounds
from reckon.serve.checks import budget
from reckon.serve.choice import Delta
from reckon.serve.places import Places
from reckon.serve.refusal import Refusal
from reckon.serve.schema import ChatAsk, ModelCard, TextAsk
from reckon.serve.settings import Settings
from reckon.serve.text import Cutter
from reckon.serve.wire import Json, Wire, usage

if TYPE_CHECKING:
    from openai import AsyncOpenAI

_FRESH_S = 30.0
"""How long a list of models is good for."""


class Upstream(Backend):
    """Passes requests on, and their answers back.

    Thinking is taken from ``reasoning_content`` or ``reasoning``, whichever the server speaks, else from the tags in
    its text. Limits are kept here; budgets of thinking are the server's to keep (vLLM's ``thinking_token_budget``).

    Args:
        base_url: the root of the server's API.
        key_env: the name of the environment variable that holds its key.
        most: responses under way at once; beyond them and ``settings.max_waiting`` the answer is 429.

    Raises:
        ConfigError: the address or the key is none, or the ``openai`` package is missing.
    """

    bounds = Bounds(keys=frozenset({"top_k", "min_p", "repetition_penalty"}))

    def __init__(self, base_url: str, key_env: str | None, settings: Settings, most: int = 256) -> None:
        try:
            config = EndpointConfig(base_url=base_url, model="any", api_key_env=key_env)
        except ValidationError as error:
            raise ConfigError(error.errors()[0]["msg"], where=f"--upstream {base_url}") from None
        key = os.environ.get(key_env, "") if key_env else "none"
        if not key:
            raise ConfigError(f"the environment variable {key_env} is not set", where="--upstream-key-env")
        self._client = _client(config.base_url, key)
        self._settings = settings
        # Who has to wait does so there.
        self._places = Places(most + settings.max_waiting, 0)
        self._cards: list[ModelCard] = []
        self._asked = -_FRESH_S

    @property
    def load(self) -> tuple[int, int]:
        return self._places.load

    @property
    def healthy(self) -> bool:
        return True

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        await self._client.close()

    async def models(self) -> Sequence[ModelCard]:
        if time.monotonic() - self._asked > _FRESH_S:
            async with _worded():
                listed: Any = await self._client.get("/models", cast_to=object, options={"timeout": CONNECT_S})
                self._cards = [
                    ModelCard(id=one["id"], created=int(time.time()), max_model_len=one.get("max_model_len"))
                    for one in listed["data"]
                ]
            self._asked = time.monotonic()
        return self._cards

    async def answer(self, ask: ChatAsk | TextAsk) -> AsyncIterator[Json]:
        with self._places.taken(ask.choices):
            async for piece in self._answer(ask):
                yield piece

    async def _answer(self, ask: ChatAsk | TextAsk) -> AsyncIterator[Json]:
        from openai import AsyncStream

        kind, path = ("chat", "/chat/completions") if isinstance(ask, ChatAsk) else ("text", "/completions")
        model = ask.model or (await self.models())[0].id
        wire = Wire("chat" if kind == "chat" else "text", model)
        choices: dict[int, _Dialect] = {}
        spent: Json = {}
        async with _worded():
            body = {**self._body(ask), "model": model}
            stream = await self._client.post(
                path, cast_to=object, body=body, stream=True, stream_cls=AsyncStream[object]
            )
            try:
                async for said in stream:
                    piece: Any = said
                    spent = piece.get("usage") or spent
                    for choice in piece["choices"]:
                        index = choice["index"]
                        if index not in choices:
                            choices[index] = _Dialect(kind == "chat", self._settings)
                            for one in wire.opening(index):
                                yield one
                        for one in choices[index].pieces(wire, index, choice):
                            yield one
            finally:
                await stream.close()
        yield wire.usage(_usage(spent))

    def _body(self, ask: ChatAsk | TextAsk) -> Json:
        """The request as the server is asked it: known keys alone, and in its words."""
        body = ask.model_dump(exclude_none=True, exclude_unset=True, exclude={"user", "max_completion_tokens"})
        unknown = ask.model_extra or {}
        body = {key: value for key, value in body.items() if key not in unknown or key in self.bounds.keys}
        body |= {"stream": True, "stream_options": {"include_usage": True}}
        if isinstance(ask, ChatAsk):
            body["messages"] = [message.turn() for message in ask.messages]
            tokens = budget(ask, self._settings)
            if tokens == 0:
                body["chat_template_kwargs"] = {"enable_thinking": False, "thinking": False}
            elif tokens is not None:
                body["thinking_token_budget"] = tokens
        if ask.limit is not None:
            body["max_tokens"] = ask.limit
        return body


class _Dialect:
    """Puts the pieces of one choice into our words."""

    def __init__(self, chat: bool, settings: Settings) -> None:
        state = {"auto": "undecided", "always": "thinking", "never": "answer"}[settings.thinking]
        self._cutter = Cutter(state) if chat else None  # type: ignore[arg-type]
        self._told = False

    def pieces(self, wire: Wire, index: int, choice: Json) -> list[Json]:
        said = choice.get("delta", choice)
        thinking = said.get("reasoning_content") or said.get("reasoning") or ""
        text = said.get("content") or said.get("text") or ""
        if thinking:
            # The server tells thinking apart itself, so tags in its text are text.
            self._cutter = None
        delta = Delta(thinking, text)
        finish = choice.get("finish_reason")
        if self._cutter is not None:
            cut = self._cutter.feed(text)
            if finish is not None:
                cut += self._cutter.rest()
            delta = Delta(*("".join(part for is_it, part in cut if is_it == kind) for kind in (True, False)))
        pieces = list(wire.pieces(index, delta))
        if choice.get("logprobs") or finish is not None:
            pieces.append(wire.closing(index, finish, choice.get("logprobs")))
        return pieces


def _usage(said: Json) -> Json:
    """The server's usage in our words."""
    read = said.get("prompt_tokens_details") or {}
    written = said.get("completion_tokens_details") or {}
    reasoning = written.get("reasoning_tokens", said.get("reasoning_tokens"))
    return usage(
        said.get("prompt_tokens", 0), said.get("completion_tokens", 0), reasoning, read.get("cached_tokens") or 0
    )


@asynccontextmanager
async def _worded() -> AsyncIterator[None]:
    """Turns the server's failures into refusals: its verdict on a request is passed on, the rest is a bad gateway."""
    from openai import APIConnectionError, APIError, APIStatusError

    try:
        yield
    except APIStatusError as error:
        said: Any = error.body
        message = said.get("message") if isinstance(said, dict) else None
        wait = {"Retry-After": error.response.headers.get("retry-after", "1")} if error.status_code == 429 else None
        if error.status_code in (400, 404, 413, 422, 429):
            raise Refusal(
                400 if error.status_code == 422 else error.status_code,
                str(message or "the server behind this one refused the request"),
                headers=wait,
            ) from None
        raise Refusal(502, f"the server behind this one failed ({error.status_code})") from None
    except APIConnectionError as error:
        raise Refusal(502, f"the server behind this one cannot be reached ({type(error).__name__})") from None
    except APIError as error:
        raise Refusal(502, f"the server behind this one failed: {error.message}") from None
    except (KeyError, TypeError, AttributeError, ValueError):
        raise Refusal(502, "the server behind this one does not speak OpenAI's API") from None


def _client(base_url: str, key: str) -> AsyncOpenAI:
    try:
        from openai import AsyncOpenAI, Timeout
    except ImportError:
        raise ConfigError(
            "the openai package is not installed, with which servers are asked",
            where=f"--upstream {base_url}",
            fix="Run `pip install 'reckon[endpoint]'`",
        ) from None
    client = AsyncOpenAI(base_url=base_url, api_key=key, timeout=Timeout(None, connect=CONNECT_S), max_retries=0)
    client.organization = client.project = None  # The environment has these for OpenAI.
    return client
