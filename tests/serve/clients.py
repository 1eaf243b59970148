"""The clients people have, unmodified, against a server: ``python tests/serve/clients.py URL``.

Each has DeepSeek's published conversation of two turns: reasoning and answer are read apart, and the history goes back
without the reasoning. Plain and streaming. Prints a line for each client that is installed.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

QUESTIONS = ("Make 24 from 3, 8, 1.", "Make 15 from 9, 6, 1.")
MODEL = "micro"

Said = tuple[str, str]
"""Reasoning and answer."""


def with_openai(url: str, messages: list[Any], stream: bool) -> Said:
    from openai import OpenAI

    client = OpenAI(base_url=url, api_key="none")
    if not stream:
        response = client.chat.completions.create(model=MODEL, messages=messages, temperature=0, seed=1)
        message: Any = response.choices[0].message
        usage: Any = response.usage
        assert usage.completion_tokens_details.reasoning_tokens > 0
        assert message.reasoning == message.reasoning_content
        return message.reasoning_content, message.content
    reasoning, content = "", ""
    pieces: Any = client.chat.completions.create(model=MODEL, messages=messages, temperature=0, seed=1, stream=True)
    for chunk in pieces:
        delta = chunk.choices[0].delta
        if getattr(delta, "reasoning_content", None):
            reasoning += delta.reasoning_content
        else:
            content += delta.content or ""
    return reasoning, content


def with_langchain(url: str, messages: list[Any], stream: bool) -> Said:
    from langchain_deepseek import ChatDeepSeek

    model = ChatDeepSeek(api_base=url, api_key="none", model=MODEL, temperature=0)
    if not stream:
        message = model.invoke(messages)
        assert message.usage_metadata["output_token_details"]["reasoning"] > 0
        return message.additional_kwargs["reasoning_content"], message.content
    parts = list(model.stream(messages))
    reasoning = "".join(part.additional_kwargs.get("reasoning_content", "") for part in parts)
    return reasoning, "".join(str(part.content) for part in parts)


def litellm_as(provider: str) -> Callable[[str, list[Any], bool], Said]:
    def ask(url: str, messages: list[Any], stream: bool) -> Said:
        import litellm

        asked: dict[str, Any] = {"model": f"{provider}/{MODEL}", "api_base": url, "api_key": "none", "temperature": 0}
        if not stream:
            response = litellm.completion(messages=messages, **asked)
            message = response.choices[0].message
            assert response.usage.completion_tokens_details.reasoning_tokens > 0
            return message.reasoning_content, message.content
        reasoning, content = "", ""
        for chunk in litellm.completion(messages=messages, stream=True, **asked):
            delta = chunk.choices[0].delta
            reasoning += getattr(delta, "reasoning_content", None) or ""
            content += delta.content or ""
        return reasoning, content

    return ask


def with_curl(url: str, messages: list[Any], stream: bool) -> Said:
    body = json.dumps({"model": MODEL, "messages": messages, "temperature": 0, "stream": stream})
    command = ["curl", "-sSN", "--fail-with-body", "--noproxy", "*", f"{url}/chat/completions"]
    command += ["-H", "Content-Type: application/json", "-d", body]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if not stream:
        message = json.loads(told)["choices"][0]["message"]
        return message["reasoning_content"], message["content"]
    events = [line.removeprefix("data: ") for line in told.splitlines() if line]
    assert events.pop() == "[DONE]"
    deltas = [json.loads(event)["choices"][0]["delta"] for event in events]
    return tuple("".join(delta.get(name) or "" for delta in deltas) for name in ("reasoning_content", "content"))  # type: ignore[return-value]


CLIENTS: dict[str, tuple[str, Callable[[str, list[Any], bool], Said]]] = {
    "openai": ("openai", with_openai),
    "langchain-deepseek": ("langchain_deepseek", with_langchain),
    "litellm (openai/)": ("litellm", litellm_as("openai")),
    "litellm (hosted_vllm/)": ("litellm", litellm_as("hosted_vllm")),
    "litellm (deepseek/)": ("litellm", litellm_as("deepseek")),
}


def two_turns(ask: Callable[[str, list[Any], bool], Said], url: str, stream: bool) -> list[Said]:
    """The conversation; the first answer goes back without its reasoning."""
    messages: list[Any] = [{"role": "user", "content": QUESTIONS[0]}]
    first = ask(url, messages, stream)
    assert all(first), first
    assert "think>" not in "".join(first)
    messages += [{"role": "assistant", "content": first[1]}, {"role": "user", "content": QUESTIONS[1]}]
    return [first, ask(url, messages, stream)]


def main(url: str) -> int:
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # Else it asks another server for prices.
    expected = two_turns(with_curl, url, False)
    failed = 0
    for name, (module, ask) in {"curl": ("json", with_curl), **CLIENTS}.items():
        if importlib.util.find_spec(module) is None:
            continue
        number = subprocess.run(["curl", "--version"], capture_output=True, text=True).stdout.split()[1]
        if module != "json":
            number = version(module.replace("_", "-"))
        for stream in (False, True):
            try:
                same = two_turns(ask, url, stream) == expected
                told = "ok" if same else "another answer"
            except Exception as error:
                same, told = False, f"{type(error).__name__}: {error}"
            failed += not same
            print(f"{name} {number}, {'streaming' if stream else 'plain'}: {told}")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
