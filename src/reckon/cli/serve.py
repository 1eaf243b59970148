"""``reckon serve``: a model behind OpenAI's API, with a page to chat."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reckon.core.errors import ConfigError

if TYPE_CHECKING:
    from reckon.serve.backend import Backend
    from reckon.serve.settings import Settings

KEY_ENV = "RECKON_API_KEY"

_OPTIONS = {"request_s": "timeout", "max_waiting": "max-waiting"}
"""Settings that are called otherwise here."""


def command(
    model: Annotated[str | None, typer.Argument(help="A model's folder, its name on the hub, or micro.")] = None,
    upstream: Annotated[
        str | None, typer.Option(help="Instead of a model: the address of a server to stand in front of.")
    ] = None,
    upstream_key_env: Annotated[
        str | None, typer.Option(help="The environment variable that holds that server's key.")
    ] = None,
    host: Annotated[str, typer.Option(help=f"Beyond this machine a key is needed, in {KEY_ENV}.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 8000,
    name: Annotated[list[str] | None, typer.Option(help="What requests may call the model.")] = None,
    template: Annotated[
        str | None,
        typer.Option(
            help="r1-zero, micro, chat, or a text with {question} in it. [default: chat if the model has a chat "
            "template, else micro]"
        ),
    ] = None,
    thinking: Annotated[
        str, typer.Option(help="What is thinking: auto (by the prompt and the tags), always (until </think>), never.")
    ] = "auto",
    effort: Annotated[
        list[str] | None, typer.Option(help="Tokens of thinking for a reasoning_effort, such as low=1000.")
    ] = None,
    closing: Annotated[str, typer.Option(help="A sentence that ends thinking whose budget is used up.")] = "",
    engine: Annotated[str, typer.Option(help="native or vllm.")] = "native",
    max_running: Annotated[int, typer.Option(min=1, help="Responses generated at once.")] = 64,
    max_waiting: Annotated[int, typer.Option(min=0, help="Responses that may wait; beyond them: 429.")] = 64,
    timeout: Annotated[float, typer.Option(help="Seconds that a response may take.")] = 600.0,
    search_tokens: Annotated[int, typer.Option(min=1, help="The most tokens of one search.")] = 65536,
    search_samples: Annotated[int, typer.Option(min=1, help="The most responses of one search.")] = 1024,
    allow_host: Annotated[list[str] | None, typer.Option(help="A name this server goes by; * is any.")] = None,
    allow_origin: Annotated[
        list[str] | None, typer.Option(help="A page that may ask from a browser, such as https://chat.example.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1...")] = "cpu",
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "float32",
) -> None:
    """Serve a model, or stand in front of another server. With a key in RECKON_API_KEY, requests must bring it."""
    from reckon.serve.run import require_server

    if (model is None) == (upstream is None):
        raise ConfigError("give a model or --upstream, one of them", where="reckon serve")
    require_server()
    from reckon.serve.gate import Access
    from reckon.serve.run import bind, make_server, serve

    settings = _settings(
        thinking=thinking,
        efforts=_efforts(effort or []),
        closing=closing,
        max_waiting=max_waiting,
        request_s=timeout,
        search_tokens=search_tokens,
        search_samples=search_samples,
    )
    key = os.environ.get(KEY_ENV) or None
    listener = bind(host, port, key)
    if model is None:
        from reckon.serve.upstream import Upstream

        backend: Backend = Upstream(str(upstream), upstream_key_env, settings, max_running)
    else:
        names = name or [Path(model).name if Path(model).exists() else model]
        backend = _native(model, names, template, engine, max_running, device, dtype, settings)
    hosts = ["*"] if key and not allow_host else [*(allow_host or []), host]
    address, bound = listener.getsockname()[:2]
    shown = f"[{address}]" if ":" in address else address

    def ready() -> None:
        print(f"Serving {model or upstream} at http://{shown}:{bound} (the API: /v1)", file=sys.stderr, flush=True)

    access = Access(key, tuple(hosts), tuple(allow_origin or []))
    serve(make_server(backend, settings, access), listener, ready)


def _native(
    model: str,
    names: list[str],
    template: str | None,
    engine: str,
    max_running: int,
    device: str,
    dtype: str,
    settings: Settings,
) -> Backend:
    from reckon.engine.build import NativeConfig, VllmConfig, build_engine
    from reckon.models.load import end_ids, load_model
    from reckon.serve.native import Native

    kinds: dict[str, NativeConfig | VllmConfig] = {"native": NativeConfig(), "vllm": VllmConfig(kind="vllm")}
    if engine not in kinds:
        raise ConfigError(f"unknown engine {engine!r}", where="--engine", fix="Use native or vllm")
    network, tokenizer = load_model(model, dtype, device)
    network.requires_grad_(False)
    context: int = getattr(network.config.get_text_config(), "max_position_embeddings", None) or 2**20
    return Native(
        build_engine(kinds[engine], network, tokenizer, max_running),
        tokenizer,
        names=names,
        context=context,
        end_ids=end_ids(network, tokenizer),
        max_running=max_running,
        settings=settings,
        template=template,
    )


def _settings(**given: Any) -> Settings:
    from pydantic import ValidationError

    from reckon.serve.settings import Settings

    try:
        return Settings(**given)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        raise ConfigError(first["msg"], where=f"--{_OPTIONS.get(name, name)}") from None


def _efforts(given: list[str]) -> dict[str, int | None]:
    efforts: dict[str, int | None] = {}
    for one in given:
        name, equals, tokens = one.partition("=")
        if not equals or not (tokens.isdigit() or tokens == "all"):
            raise ConfigError(f"{one!r} is not like low=1000 or high=all", where="--effort")
        efforts[name] = None if tokens == "all" else int(tokens)
    return efforts
