"""A client of any server that speaks OpenAI's API: vLLM, SGLang, llama.cpp, DeepSeek, OpenAI itself.

Unlike an :class:`reckon.engine.base.Engine` it has texts and no tokens, and no weights that could be published to it.
"""

from __future__ import annotations

import asyncio
import math
import os
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from reckon.core.config import Strict
from reckon.core.errors import ConfigError
from reckon.core.text import clean
from reckon.engine.base import Sampling

if TYPE_CHECKING:
    from openai import APIStatusError, AsyncOpenAI

CONNECT_S = 10.0
"""Longer than that no server takes to accept a connection."""

REACHES = 3
"""Attempts to find a server before the first query."""

FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 60.0
"""Between two attempts: doubled from the first to the longest."""

PATIENCE_S = 600.0
"""A server that asks for a longer pause than that is not waited for."""

CHECK_S = 0.1
"""How often ``check`` is called."""

SEEDS = 2**31
"""Seeds are sent modulo this: some servers keep 32 bits of them, and reserve one value."""

UNREADABLE = (ValueError, RecursionError)
"""What reading an answer raises that is no JSON, or other JSON than the API has, or too deeply nested."""

INTERRUPTED = {"abort", "error", "insufficient_system_resource"}
"""Finish reasons of a server that gave up on a response."""


class EndpointConfig(Strict):
    """Where a server is and how to ask it.

    Attributes:
        base_url: the root of its API, such as ``http://localhost:8000/v1``.
        model: as the server calls it.
        api_key_env: the *name* of the environment variable that holds the key; None where none is needed.
        concurrency: requests under way at once.
        timeout_s: for one attempt, from the question to the last byte of the answer.
        retries: further attempts after overload, failures of the server, timeouts and lost connections.
        extra_body: laid over every request, for what is particular to a server; null takes a field out.
    """

    base_url: str
    model: str = Field(min_length=1)
    api_key_env: str | None = None
    concurrency: int = Field(64, ge=1, le=1000)
    timeout_s: float = Field(600.0, gt=0)
    retries: int = Field(5, ge=0)
    extra_body: dict[str, Any] = Field({})

    @field_validator("base_url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        parts = urlsplit(url)
        _ = parts.port  # Raises ValueError if it is none.
        if "@" in parts.netloc:
            # An error of pydantic's would repeat the password.
            raise ConfigError(
                "the address holds a user name or password",
                where="endpoint.base_url",
                why="It would be written into every record of the run",
                fix="Put the key into an environment variable and its name into endpoint.api_key_env",
            )
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ValueError("should be an address like http://localhost:8000/v1")
        return url

    @field_validator("api_key_env")
    @classmethod
    def _is_a_name(cls, name: str | None) -> str | None:
        if name is not None and not re.fullmatch(r"[A-Z][A-Z0-9_]*", name):
            # It may be the key itself, which must not be repeated.
            raise ConfigError(
                "this is not the name of an environment variable (capitals, digits and underscores)",
                where="endpoint.api_key_env",
                why="A key written into a recipe would be copied into every record of the run",
                fix="Put the key into an environment variable and name it here, e.g. api_key_env: OPENAI_API_KEY",
            )
        return name


@dataclass(frozen=True, slots=True)
class Query:
    """One response to ask for.

    Attributes:
        prompt: a text, which the model continues (a base model knows nothing else); or the messages of a chat, each
            with ``role`` and ``content``.
        sampling: its ``stop_ids`` are not sent: the server knows how its model ends a text.
    """

    prompt: str | Sequence[Mapping[str, str]]
    sampling: Sampling
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of a query.

    Attributes:
        text: without the reasoning, where the server tells them apart. A stop string is kept if the server says which
            one it was.
        finish: ``error`` where there is no response; ``error`` and ``lasting`` then say why.
        prompt_tokens, completion_tokens, reasoning_tokens: as the server counts them, None if it does not.
        seconds: from the first attempt to the end of the last.
        lasting: asking again would not help: the server understood the query and refused it.
    """

    text: str = ""
    reasoning: str | None = None
    finish: Literal["stop", "length", "error"] = "stop"
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    reasoning_tokens: int | None = None
    seconds: float = 0.0
    attempts: int = 1
    error: str = ""
    lasting: bool = False


class Endpoint:
    """A server and the model asked there. Safe to share between threads.

    Raises ConfigError if the ``openai`` package is missing, or the key's environment variable empty.
    """

    def __init__(self, config: EndpointConfig) -> None:
        try:
            import openai  # noqa: F401
        except ImportError:
            raise ConfigError(
                "the openai package is not installed, with which servers are asked",
                where=f"endpoint {config.base_url}",
                fix="Run `pip install 'reckon[endpoint]'`",
            ) from None
        self.config = config
        self._key = _key(config)
        self._reached = self._worked = False
        self._served: list[str] = []

    def complete_all(
        self,
        queries: Sequence[Query],
        on_done: Callable[[int, Reply], None] | None = None,
        check: Callable[[], None] | None = None,
    ) -> list[Reply]:
        """A reply to each query, in their order. What fails is a reply with finish ``error``, and the others go on.

        It may be called anywhere, also where an event loop is running (which it blocks).

        Args:
            on_done: called with the place of a query and its reply as soon as it is there.
            check: called again and again; this one and ``on_done`` may raise to abandon the work.

        Raises:
            ConfigError: nothing answers at that address, or it does not know the key or the model.
        """
        work = self._checked(queries, on_done, check)
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(work)
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(asyncio.run, work).result()

    async def _checked(
        self,
        queries: Sequence[Query],
        on_done: Callable[[int, Reply], None] | None,
        check: Callable[[], None] | None,
    ) -> list[Reply]:
        work = asyncio.create_task(self._complete_all(queries, on_done))
        while not (await asyncio.wait({work}, timeout=CHECK_S))[0]:
            if check is not None:
                check()
        return work.result()

    async def _complete_all(
        self, queries: Sequence[Query], on_done: Callable[[int, Reply], None] | None
    ) -> list[Reply]:
        replies: dict[int, Reply] = {}
        waiting = iter(range(len(queries)))

        async def worker(client: AsyncOpenAI) -> None:
            for place in waiting:
                replies[place] = await self._complete(client, queries[place])
                if on_done is not None:
                    on_done(place, replies[place])

        async with self._client() as client:
            if queries and not self._reached:
                await self._reach(client)
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(min(len(queries), self.config.concurrency)):
                        group.create_task(worker(client))
            except BaseExceptionGroup as failed:
                raise failed.exceptions[0] from None
        return [replies[place] for place in range(len(queries))]

    def _client(self) -> AsyncOpenAI:
        from openai import AsyncOpenAI, Timeout

        # A server that needs no key gets a word in its place: left out, the package would send it the one that the
        # environment has for OpenAI.
        client = AsyncOpenAI(
            base_url=self.config.base_url,
            api_key=self._key or "none",
            timeout=Timeout(None, connect=CONNECT_S),
            max_retries=0,
        )
        client.organization = client.project = None  # These come from there too.
        return client

    async def _reach(self, client: AsyncOpenAI) -> None:
        """Make sure that something answers, before a batch waits for it; and remember which models it serves."""
        from openai import APIConnectionError, APIStatusError

        for wait in (0.0, *_waits(REACHES - 1)):
            await asyncio.sleep(wait)
            try:
                async with asyncio.timeout(2 * CONNECT_S):
                    listed = await client.get("/models", cast_to=object)
                self._served = _Models.model_validate(listed).names
            except APIConnectionError as error:
                told = self._told(error)
                continue
            except (APIStatusError, TimeoutError, *UNREADABLE):
                pass  # Somebody is there. Not every server has such a list, shows it to everybody, or is idle.
            self._reached = True
            return
        raise self._wrong(
            f"nothing answers at this address ({told})", "Start the server, or correct endpoint.base_url"
        ) from None

    async def _complete(self, client: AsyncOpenAI, query: Query) -> Reply:
        """The reply to one query, after as many attempts as it takes and the config allows."""
        from openai import APIConnectionError, APIStatusError

        path, body = self._request(query)
        start, waits = time.monotonic(), _waits(self.config.retries)
        for attempt in range(1, 2 + self.config.retries):
            pause = 0.0
            try:
                async with asyncio.timeout(self.config.timeout_s):
                    answer = await client.post(path, cast_to=object, body=body)
                reply = _Answer.model_validate(answer).reply(query)
            except APIStatusError as error:
                self._refuse(error)
                reply = Reply(finish="error", error=self._told(error), lasting=not _passing(error))
                pause = _retry_after(error.response.headers)
            except TimeoutError:
                reply = Reply(finish="error", error=f"no answer within {self.config.timeout_s:g} s")
            except (APIConnectionError, *UNREADABLE) as error:
                reply = Reply(finish="error", error=self._told(error), lasting=isinstance(error, UnicodeEncodeError))
            else:
                self._worked = True
            reply = replace(reply, attempts=attempt, seconds=time.monotonic() - start)
            if reply.finish != "error" or reply.lasting or attempt > self.config.retries or pause > PATIENCE_S:
                break
            await asyncio.sleep(pause + next(waits))
        return reply

    def _request(self, query: Query) -> tuple[str, dict[str, Any]]:
        """The path and the body that ask for it."""
        prompt, sampling = query.prompt, query.sampling
        plain = isinstance(prompt, str)
        body = {
            "model": self.config.model,
            "prompt" if plain else "messages": prompt if plain else list(prompt),
            "max_tokens": sampling.max_new_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "stop": list(sampling.stop) or None,
            "seed": query.seed % SEEDS,
            **self.config.extra_body,
        }
        path = "/completions" if plain else "/chat/completions"
        return path, {name: value for name, value in body.items() if value is not None}

    def _refuse(self, error: APIStatusError) -> None:
        """Raise ConfigError where no query could be answered, whichever it is."""
        status, told = error.status_code, self._told(error)
        if status == 401:
            name = self.config.api_key_env
            fix = f"Put a valid key into {name}" if name else "Name the variable that holds it in endpoint.api_key_env"
            raise self._wrong(f"the server does not accept the key ({told})", fix) from None
        if status == 402 or error.code == "insufficient_quota":
            raise self._wrong(f"the account has no credit left ({told})", "Top it up and run again") from None
        unknown = bool(self._served) and self.config.model not in self._served
        if status == 404 or (not self._worked and (status == 403 or (status in (400, 422) and unknown))):
            fix = f"Its models are {', '.join(self._served[:8])}" if unknown else "Check endpoint.model"
            raise self._wrong(
                f"the server does not offer {self.config.model!r} ({told})",
                f"{fix}. If the model is right, the address may not be: most end in /v1",
            ) from None

    def _wrong(self, what: str, fix: str) -> ConfigError:
        return ConfigError(what, where=f"endpoint {self.config.base_url}", fix=fix)

    def _told(self, error: Exception) -> str:
        """One line about a failure, which never shows the key, whatever the server says."""
        from openai import APIStatusError

        if isinstance(error, APIStatusError):
            body: Any = error.body
            said = body.get("message", body) if isinstance(body, dict) else body
            text = f"{error.status_code}: {said or 'no reason given'}"
        elif isinstance(error, UNREADABLE):
            found = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
            text = f"this is not what such a server says: {found}"
        else:
            cause = error.__cause__ or error
            text = f"{type(cause).__name__}: {cause}"
        text = " ".join(clean(text).split())
        if self._key:
            text = text.replace(self._key, "***")
        return text if len(text) <= 300 else f"{text[:300]}..."


# ------------------------------------------------------------------------------------------- the server's answer


class _Model(BaseModel):
    id: str


class _Models(BaseModel):
    data: list[_Model]

    @property
    def names(self) -> list[str]:
        return [model.id for model in self.data]


class _Message(BaseModel):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None


class _Choice(BaseModel):
    """The one response; ``stop_reason`` and ``matched_stop`` are vLLM's and SGLang's words for the stop string."""

    message: _Message | None = None
    text: str | None = None
    finish_reason: str | None = None
    stop_reason: Any = None
    matched_stop: Any = None

    @model_validator(mode="after")
    def _has_one(self) -> _Choice:
        if self.message is None and self.text is None:
            raise ValueError("there is no response in it")
        return self


class _Details(BaseModel):
    reasoning_tokens: int | None = None


class _Usage(BaseModel):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    completion_tokens_details: _Details | None = None


class _Answer(BaseModel):
    choices: list[_Choice] = Field(min_length=1)
    usage: _Usage | None = None

    def reply(self, query: Query) -> Reply:
        """What it says, as the reply to a query."""
        choice, usage = self.choices[0], self.usage or _Usage()
        message = choice.message or _Message(content=choice.text)
        if choice.finish_reason == "content_filter":
            return Reply(finish="error", error="the server withheld the response (content_filter)", lasting=True)
        if choice.finish_reason in INTERRUPTED:
            return Reply(finish="error", error=f"the server gave up ({choice.finish_reason})")
        text = message.content or ""
        stop = next((word for word in (choice.stop_reason, choice.matched_stop) if word in query.sampling.stop), "")
        return Reply(
            text=text if text.endswith(stop) else text + stop,
            reasoning=message.reasoning_content or message.reasoning,
            finish="length" if choice.finish_reason == "length" else "stop",
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            reasoning_tokens=(usage.completion_tokens_details or _Details()).reasoning_tokens,
        )


# ------------------------------------------------------------------------------------------------ what went wrong


def _key(config: EndpointConfig) -> str:
    """The key, "" where none is needed. Raises ConfigError, which never shows it."""
    if config.api_key_env is None:
        return ""
    key = os.environ.get(config.api_key_env, "").strip()
    if not key or not key.isascii() or not key.isprintable():
        raise ConfigError(
            f"the environment variable {config.api_key_env} {'holds no usable key' if key else 'is not set'}",
            where="endpoint.api_key_env",
            fix=f"Set it before the run: export {config.api_key_env}=...",
        )
    return key


def _passing(error: APIStatusError) -> bool:
    """Whether the same request may succeed later."""
    return error.status_code in (408, 429) or error.status_code >= 500


def _waits(count: int) -> Iterator[float]:
    """Seconds before each further attempt, doubling, and scattered so that those who failed together part."""
    for number in range(count):
        yield min(LONGEST_WAIT_S, FIRST_WAIT_S * 2**number) * random.uniform(0.5, 1.5)


def _retry_after(headers: Mapping[str, str]) -> float:
    """Seconds that the server asks to be left alone: a number or a date."""
    text = headers.get("retry-after", "")
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - time.time()
        except (ValueError, OverflowError):
            return 0.0
    return max(seconds, 0.0) if math.isfinite(seconds) else 0.0
