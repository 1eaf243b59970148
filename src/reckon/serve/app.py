"""The HTTP side: routes, errors, and a stream's life from the first byte to the last."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from reckon import __version__
from reckon.serve.answering import Answering
from reckon.serve.backend import Backend, Bounds
from reckon.serve.checks import beside_search, check
from reckon.serve.gate import Access, Gate
from reckon.serve.metrics import Metrics
from reckon.serve.refusal import ErrorReply, Refusal
from reckon.serve.schema import ChatAsk, Health, ModelCard, ModelList, TextAsk
from reckon.serve.settings import Settings

IGNORED = "x-reckon-ignored"
"""The header that names the keys of a request which had no effect."""

_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorReply, "description": meaning}
    for status, meaning in {
        400: "The request is malformed, beyond a limit, or asks for what is not supported",
        401: "The key is missing or wrong",
        403: "Another host or origin than allowed",
        404: "There is no such model",
        408: "The body did not arrive in time",
        413: "The body is too large",
        429: "Too much is waiting; Retry-After says when to try again",
        500: "The server failed",
        502: "The server behind this one failed",
        504: "The response took too long",
    }.items()
}
_PLAIN_ERRORS: dict[int | str, dict[str, Any]] = {status: _ERRORS[status] for status in (400, 401, 403, 408, 413)}
_PAGE_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


def create_app(backend: Backend, settings: Settings, access: Access) -> ASGIApp:
    """The whole application: what uvicorn runs."""
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await backend.start()
        yield
        await backend.stop()

    app = FastAPI(
        title="reckon",
        version=__version__,
        summary="A model in the dialect of OpenAI's API, thinking apart from the answer.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    routes = _api(backend, settings, metrics)
    app.include_router(routes, prefix="/v1")
    app.include_router(routes, include_in_schema=False)
    _add_page(app)
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(HTTPException, _other)
    _describe(app, backend.bounds, settings)
    gate = Gate(app, access, settings, metrics)
    return CORSMiddleware(
        gate,
        allow_origins=list(access.origins),
        allow_methods=["GET", "POST"],
        allow_headers=["*"],
        expose_headers=[IGNORED, "retry-after"],
    )


def _api(backend: Backend, settings: Settings, metrics: Metrics) -> APIRouter:
    api = APIRouter()
    answering = Answering(backend, settings, metrics)

    async def respond(ask: ChatAsk | TextAsk, request: Request) -> Response:
        ignored = check(ask, backend.bounds, settings)
        await _known(ask.model, backend)
        response = await (answering.stream if ask.stream else answering.whole)(ask, request)
        if ignored:
            response.headers[IGNORED] = ", ".join(_harmless(name) for name in ignored[:20])
        return response

    responses = {200: {"content": {"text/event-stream": {}}, "model": dict[str, Any]}, **_ERRORS}

    @api.post("/chat/completions", responses=responses)
    async def chat(ask: ChatAsk, request: Request) -> Response:
        """Continue a chat. With ``stream`` the pieces come as server-sent events."""
        return await respond(ask, request)

    @api.post("/completions", responses=responses)
    async def complete(ask: TextAsk, request: Request) -> Response:
        """Continue a text as it is. With ``stream`` the pieces come as server-sent events."""
        return await respond(ask, request)

    one_of_them = {"operationId": "model", "parameters": {"name": "$response.body#/data/0/id"}}

    @api.get("/models", responses={200: {"links": {"model": one_of_them}}, **_PLAIN_ERRORS, 502: _ERRORS[502]})
    async def models() -> ModelList:
        """All models that are served."""
        return ModelList(data=list(await backend.models()))

    missing = {**_PLAIN_ERRORS, 404: _ERRORS[404], 502: _ERRORS[502]}

    @api.get("/models/{name:path}", operation_id="model", responses=missing)
    async def model(name: str) -> ModelCard:
        """One of them."""
        return await _known(name, backend)

    @api.get("/health", responses={**_PLAIN_ERRORS, 503: {"model": Health}})
    async def health() -> Response:
        """Whether requests are served."""
        running, waiting = backend.load
        told = Health(status="ok" if backend.healthy else "failing", running=running, waiting=waiting)
        return JSONResponse(told.model_dump(), 200 if backend.healthy else 503)

    @api.get("/metrics", response_class=PlainTextResponse, responses=_PLAIN_ERRORS)
    async def counters() -> str:
        """Counters, as Prometheus reads them."""
        return metrics.text(*backend.load)

    return api


def _add_page(app: FastAPI) -> None:
    """The web page and its two files."""
    folder = files("reckon.serve") / "page"

    def serve(path: str, file: str, media: str) -> None:
        data = (folder / file).read_bytes()

        @app.get(path, include_in_schema=False)
        async def page() -> Response:
            return Response(data, media_type=media, headers=_PAGE_HEADERS)

    serve("/", "index.html", "text/html; charset=utf-8")
    serve("/page.js", "page.js", "text/javascript; charset=utf-8")
    serve("/page.css", "page.css", "text/css; charset=utf-8")


async def _known(name: str | None, backend: Backend) -> ModelCard:
    """The model of that name, or the first. Raises Refusal if there is none."""
    cards: Sequence[ModelCard] = await backend.models()
    for card in cards:
        if name in (None, card.id):
            return card
    names = ", ".join(card.id for card in cards)
    raise Refusal(
        404, f"there is no model {_harmless(str(name))!r} here, but {names}", param="model", code="model_not_found"
    )


async def _refused(_: Request, error: Any) -> JSONResponse:
    return JSONResponse(error.body(), error.status, error.headers)


async def _malformed(_: Request, error: Any) -> JSONResponse:
    """The first thing wrong with a body, and where; the value is not repeated."""
    errors = error.errors()
    where = _key(errors[0])
    # Of the forms that a value may have, the one it came closest to.
    first = max((one for one in errors if f"{_key(one)}.".startswith(f"{where}.")), key=lambda one: len(_key(one)))
    where = _key(first)
    message = f"{where}: {first['msg']}" if where else first["msg"]
    refusal = Refusal(400, message, param=where or None, code=first["type"])
    return JSONResponse(refusal.body(), 400)


def _key(error: dict[str, Any]) -> str:
    """Where in a body an error is, ``messages.0.content``, without the names of forms, such as ``list[TextPart]``."""
    if error["type"] == "json_invalid":
        return ""
    parts = [str(part) for part in error["loc"] if part != "body"]
    return ".".join(part for part in parts if part.isdecimal() or (part.isidentifier() and part != "str"))


async def _other(_: Request, error: Any) -> JSONResponse:
    """No such page, or not with that method."""
    refusal = Refusal(error.status_code, str(error.detail), headers=error.headers)
    return JSONResponse(refusal.body(), error.status_code, refusal.headers)


def _describe(app: FastAPI, bounds: Bounds, settings: Settings) -> None:
    """Put the bounds into the description, and take the framework's own error out of it: ours is 400."""
    describe: Callable[[], dict[str, Any]] = app.openapi

    def openapi() -> dict[str, Any]:
        described = describe()
        for path in described["paths"].values():
            for operation in path.values():
                operation["responses"].pop("422", None)
        for name in ("HTTPValidationError", "ValidationError"):
            described["components"]["schemas"].pop(name, None)
        schemas = described["components"]["schemas"]
        chat, text = (schemas[ask]["properties"] for ask in ("ChatAsk", "TextAsk"))
        _, _, ids, lists = text["prompt"]["anyOf"]
        if bounds.context is not None:
            for tokens in (chat["max_tokens"], chat["max_completion_tokens"], text["max_tokens"]):
                tokens["anyOf"][0]["maximum"] = bounds.context
            ids["maxItems"] = lists["items"]["maxItems"] = bounds.context - 1
        if bounds.vocabulary is not None:
            ids["items"]["maximum"] = lists["items"]["items"]["maximum"] = bounds.vocabulary - 1
        if bounds.search is None:
            del chat["search"], schemas["SearchAsk"]
        else:
            asked = schemas["SearchAsk"]["properties"]
            asked["method"] = {"type": "string", "enum": list(bounds.search.methods)}
            asked["budget"]["maximum"] = bounds.search.budget
            asked["samples"]["anyOf"][0]["maximum"] = bounds.search.samples
            schemas["ChatAsk"] |= beside_search(settings)
        return described

    app.openapi = openapi  # type: ignore[method-assign]


def _harmless(name: str) -> str:
    """A client's word, fit for a header or a message."""
    return re.sub(r"[^\w./-]", "?", name[:100], flags=re.ASCII) or "?"
