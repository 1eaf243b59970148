"""What may be asked, as OpenAI's API words it, and which of it means something here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

MAX_CHOICES, MAX_MESSAGES, MAX_PROMPTS, MAX_STOPS = 8, 512, 8, 16
"""In one request; choices are of each prompt."""

Stop = Annotated[str, Field(min_length=1, max_length=256)]

CHANGES_MEANING = (
    "tools",
    "functions",
    "logit_bias",
    "best_of",
    "search",
    "echo",
    "suffix",
    "prefix",
    "audio",
    "modalities",
    "prompt_embeds",
    "guided_json",
    "guided_regex",
    "guided_choice",
    "guided_grammar",
    "structured_outputs",
)
"""Keys of other servers without which a response would be another one than was asked for."""


def _whole(value: Any) -> Any:
    """JSON knows one kind of number: 7.0 is an integer there."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


_WHOLE = BeforeValidator(_whole)
# The bounds stand before the validator: behind it they would not be in the description.
Integer = Annotated[int, _WHOLE]
Count = Annotated[int, Field(ge=1), _WHOLE]
Natural = Annotated[int, Field(ge=0), _WHOLE]


# All that is wrong with a long list is more than anybody could be told, or wait for.
Ids = Annotated[list[Natural], Field(min_length=1, fail_fast=True)]


class _Loose(BaseModel):
    """Unknown keys are kept, so that they can be judged and named. Nothing is taken for what it is not: no text or
    truth value for a number."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False, strict=True)


class TextPart(_Loose):
    """A piece of a message's text."""

    type: Literal["text"]
    text: str


class Message(_Loose):
    """A turn of a chat. ``reasoning_content`` and ``reasoning`` of earlier turns are accepted and dropped."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | Annotated[list[TextPart], Field(fail_fast=True)] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: Annotated[list[dict[str, Any]], Field(fail_fast=True)] | None = None
    prefix: Literal[False] | None = Field(None, description="continuing the assistant's words is not supported")

    def turn(self) -> dict[str, Any]:
        """As a template takes it: text in one piece, no reasoning, OpenAI's newer name for the system gone."""
        content = self.content
        if isinstance(content, list):
            content = "".join(part.text for part in content)
        told: dict[str, Any] = {**(self.model_extra or {})}
        told |= {"role": "system" if self.role == "developer" else self.role, "content": content or ""}
        return {**told, "tool_calls": self.tool_calls} if self.tool_calls else told


class StreamOptions(_Loose):
    """``include_usage`` adds a last event with the usage."""

    include_usage: bool = False


class ThinkingSwitch(_Loose):
    """DeepSeek's and Anthropic's switch."""

    type: Literal["enabled", "disabled", "adaptive"] | None = None
    budget_tokens: Natural | None = None


class TemplateOptions(_Loose):
    """vLLM's and SGLang's switches for chat templates."""

    enable_thinking: bool | None = None
    thinking: bool | None = None


class ResponseFormat(_Loose):
    """Only text is supported."""

    type: Literal["text"]


class SearchAsk(BaseModel):
    """A search for the answer: by which method, and how much it may generate in all."""

    model_config = ConfigDict(extra="forbid", strict=True)

    method: str = Field(min_length=1, max_length=64)
    budget: Annotated[Count, Field(description="tokens that are generated at most")]
    samples: Count | None = Field(
        None, description="responses, or steps of them, that are sampled at most; default: the maximum"
    )


class _Ask(_Loose):
    """What the two kinds of requests have in common."""

    model: str | None = Field(None, min_length=1, max_length=256, description="default: the model served")
    max_tokens: Count | None = Field(None, description="default: what is left of the context")
    temperature: float | None = Field(None, ge=0, le=100)
    top_p: float | None = Field(None, ge=0, le=1)
    presence_penalty: float | None = Field(None, description="accepted, no effect")
    frequency_penalty: float | None = Field(None, description="accepted, no effect")
    n: Annotated[int, Field(ge=1, le=MAX_CHOICES), _WHOLE] | None = None
    seed: Integer | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=MAX_STOPS)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _is_text(cls, asked: Any) -> Any:
        try:
            if isinstance(asked, dict):
                json.dumps(asked, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError("half of a surrogate pair is no text") from None
        return asked

    @property
    def stops(self) -> tuple[str, ...]:
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    def wants_usage(self) -> bool:
        """Whether a stream ends with an event for the usage."""
        return self.stream_options is not None and self.stream_options.include_usage

    def unknown(self) -> Iterator[tuple[str, Any]]:
        """The keys that mean nothing here, dotted where they are inside of others, and their values."""
        for name, value in (self.model_extra or {}).items():
            yield name, value
            if isinstance(value, dict):
                yield from ((f"{name}.{inner}", value[inner]) for inner in value)
        for name in type(self).model_fields:
            part = getattr(self, name)
            if isinstance(part, _Loose):
                yield from ((f"{name}.{inner}", value) for inner, value in (part.model_extra or {}).items())


class ChatAsk(_Ask):
    """The body of ``/chat/completions``."""

    messages: Annotated[list[Message], Field(min_length=1, max_length=MAX_MESSAGES, fail_fast=True)]
    max_completion_tokens: Count | None = Field(None, description="the same as max_tokens")
    logprobs: bool | None = Field(None, description="of all tokens, with the last piece of a stream")
    top_logprobs: Annotated[int, Field(ge=0, le=0), _WHOLE] | None = Field(
        None, description="only the sampled token's is known"
    )
    response_format: ResponseFormat | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max", "ultra"] | None = None
    thinking: ThinkingSwitch | None = None
    thinking_token_budget: Natural | None = None
    chat_template_kwargs: TemplateOptions | None = None
    search: SearchAsk | None = None

    @property
    def choices(self) -> int:
        """Responses that are asked for."""
        return self.n or 1

    @property
    def limit(self) -> int | None:
        """Tokens that the response may have, thinking included."""
        given = [tokens for tokens in (self.max_tokens, self.max_completion_tokens) if tokens is not None]
        return min(given, default=None)

    @property
    def thinks(self) -> bool:
        """Whether thinking is not switched off."""
        options = self.chat_template_kwargs or TemplateOptions()
        off = self.thinking is not None and self.thinking.type == "disabled"
        return not off and options.enable_thinking is not False and options.thinking is not False

    @property
    def explicit_budget(self) -> int | None:
        """Tokens of thinking, where they are given as a number; the smaller of two."""
        given = [self.thinking_token_budget, self.thinking.budget_tokens if self.thinking else None]
        return min((tokens for tokens in given if tokens is not None), default=None)


class TextAsk(_Ask):
    """The body of ``/completions``: texts, or their tokens, which the model continues as they are."""

    prompt: (
        Annotated[str, Field(min_length=1)]
        | Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1, max_length=MAX_PROMPTS)]
        | Ids
        | Annotated[list[Ids], Field(min_length=1, max_length=MAX_PROMPTS)]
    )
    logprobs: Annotated[int, Field(ge=0, le=1), _WHOLE] | None = Field(
        None, description="only the sampled token's is known"
    )

    @property
    def choices(self) -> int:
        """Responses that are asked for, of all prompts."""
        return (self.n or 1) * len(self.prompts)

    @property
    def limit(self) -> int | None:
        """Tokens that the response may have."""
        return self.max_tokens

    @property
    def prompts(self) -> list[str | list[int]]:
        """The prompts, one by one."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        if isinstance(self.prompt[0], int):
            return [[token for token in self.prompt if isinstance(token, int)]]
        return [one for one in self.prompt if not isinstance(one, int)]


class ModelCard(BaseModel):
    """A model that is served. ``max_model_len``: its context, where that is known."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "reckon"
    max_model_len: int | None = None


class ModelList(BaseModel):
    """All models that are served."""

    object: Literal["list"] = "list"
    data: list[ModelCard]


class Health(BaseModel):
    """Whether requests are served, and how many responses are under way."""

    status: Literal["ok", "failing"]
    running: int
    waiting: int
