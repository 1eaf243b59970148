"""Responses as OpenAI's API words them: pieces of a stream, and the whole put together from its pieces."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from reckon.serve.choice import Delta

Json = dict[str, Any]
Kind = Literal["chat", "text"]

_PREFIX = {"chat": "chatcmpl", "text": "cmpl"}
_CHUNK = {"chat": "chat.completion.chunk", "text": "text_completion"}
_WHOLE = {"chat": "chat.completion", "text": "text_completion"}


class Wire:
    """The pieces of one response; all have the same id, time and model."""

    def __init__(self, kind: Kind, model: str) -> None:
        self.kind = kind
        self._head = {
            "id": f"{_PREFIX[kind]}-{uuid.uuid4().hex}",
            "object": _CHUNK[kind],
            "created": int(time.time()),
            "model": model,
        }

    def opening(self, index: int) -> Iterator[Json]:
        """The first piece of a choice; a text has none."""
        if self.kind == "chat":
            yield self._piece(index, {"delta": {"role": "assistant", "content": ""}})

    def pieces(self, index: int, delta: Delta) -> Iterator[Json]:
        """What is new of a choice: thinking, then answer."""
        if delta.thinking:
            thinking = {"reasoning_content": delta.thinking, "reasoning": delta.thinking}
            yield self._piece(index, {"delta": {"content": None, **thinking}})
        if delta.answer:
            yield self._piece(
                index, {"delta": {"content": delta.answer}} if self.kind == "chat" else {"text": delta.answer}
            )

    def closing(self, index: int, finish: str | None, logprobs: Json | None = None) -> Json:
        """The last piece of a choice; without a ``finish``, log-probabilities in between."""
        return self._piece(index, {"delta": {}} if self.kind == "chat" else {"text": ""}, finish, logprobs)

    def usage(self, usage: Json) -> Json:
        """The last piece of all."""
        return {**self._head, "choices": [], "usage": usage}

    def _piece(self, index: int, told: Json, finish: str | None = None, logprobs: Json | None = None) -> Json:
        return {
            **self._head,
            "choices": [{"index": index, **told, "logprobs": logprobs, "finish_reason": finish}],
        }


def usage(prompt: int, completion: int, reasoning: int | None, cached: int = 0) -> Json:
    """Tokens, in OpenAI's words and (the prompt's) in DeepSeek's; ``reasoning`` is None where nobody knows."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {} if reasoning is None else {"reasoning_tokens": reasoning},
        "prompt_cache_hit_tokens": cached,
        "prompt_cache_miss_tokens": prompt - cached,
    }


def chat_logprobs(texts: Sequence[str], logp: Sequence[float]) -> Json:
    """The log-probabilities (nats) of a chat's tokens. A token with part of a character has no bytes to show."""
    entries = [
        {
            "token": text,
            "logprob": value,
            "bytes": None if "\N{REPLACEMENT CHARACTER}" in text else list(text.encode()),
            "top_logprobs": [],
        }
        for text, value in zip(texts, logp, strict=True)
    ]
    return {"content": entries, "refusal": None}


def text_logprobs(texts: Sequence[str], logp: Sequence[float]) -> Json:
    """The same for a text."""
    offsets = [0]
    for text in texts[:-1]:
        offsets.append(offsets[-1] + len(text))
    return {
        "tokens": list(texts),
        "token_logprobs": list(logp),
        "top_logprobs": None,
        "text_offset": offsets[: len(texts)],
    }


class Whole:
    """Puts the pieces of a stream together to the response that the same request has without streaming."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self._head: Json = {}
        self._texts: dict[int, dict[str, list[str]]] = {}
        self._finish: dict[int, str] = {}
        self._logprobs: dict[int, Json] = {}

    def add(self, piece: Json) -> None:
        self._head |= {**piece, "object": _WHOLE[self.kind]}
        for choice in piece["choices"]:
            texts = self._texts.setdefault(choice["index"], {"content": [], "reasoning_content": []})
            told = choice["delta"] if self.kind == "chat" else {"content": choice["text"]}
            for name, parts in texts.items():
                parts.append(told.get(name) or "")
            if choice["finish_reason"] is not None:
                self._finish[choice["index"]] = choice["finish_reason"]
            if choice["logprobs"] is not None:
                known = self._logprobs.setdefault(choice["index"], {})
                for name, new in choice["logprobs"].items():
                    known[name] = [*known[name], *new] if isinstance(known.get(name), list) and new else new

    def json(self) -> Json:
        """The response."""
        choices = []
        for index, texts in sorted(self._texts.items()):
            content, thinking = ("".join(texts[name]) for name in ("content", "reasoning_content"))
            message = {
                "role": "assistant",
                "content": content,
                "reasoning_content": thinking or None,
                "reasoning": thinking or None,
            }
            told = {"message": message} if self.kind == "chat" else {"text": content}
            end = {"logprobs": self._logprobs.get(index), "finish_reason": self._finish.get(index)}
            choices.append({"index": index, **told, **end})
        return {**self._head, "choices": choices}
