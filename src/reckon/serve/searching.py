"""Test-time search on the engine that all other responses are generated with."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from reckon.core.errors import ReckonError
from reckon.core.records import Rollout
from reckon.engine.base import Completion, Engine, Request, Sampling
from reckon.models.template import CHAT, PromptTemplate
from reckon.search.base import Method
from reckon.search.methods import build_method
from reckon.search.sampler import answer
from reckon.search.scorers import Confidence
from reckon.serve.checks import budget
from reckon.serve.choice import Plan
from reckon.serve.prompt import ChatPrompts, Message
from reckon.serve.refusal import Refusal
from reckon.serve.schema import ChatAsk, SearchAsk
from reckon.serve.settings import Settings
from reckon.serve.worker import News, Worker

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class SharedEngine(Engine):
    """The worker's engine, for one search in a thread of its own: as wide as its share, and beside everybody else.

    ``submit`` and ``poll`` are for the search's thread, everything else for the event loop that this was made in.

    Args:
        width: requests that are with the worker at a time; the others wait here.
    """

    def __init__(self, worker: Worker, width: int) -> None:
        self.version = 0
        self._worker, self._width = worker, width
        self._loop = asyncio.get_running_loop()
        self._news: SimpleQueue[Completion | Refusal] = SimpleQueue()
        self._open = 0
        self._waiting: deque[Request] = deque()
        self._running: dict[int, int] = {}
        self._closed = False

    def submit(self, requests: Sequence[Request]) -> None:
        self._open += len(requests)
        self._loop.call_soon_threadsafe(self._queue, list(requests))

    def poll(self) -> list[Completion]:
        """Wait for a request to end. Raises Refusal if one was given up, or after :meth:`close`."""
        done: list[Completion] = []
        while self._open and not (done and self._news.empty()):
            news = self._news.get()
            if isinstance(news, Refusal):
                raise news
            done.append(news)
            self._open -= 1
        return done

    def cancel(self, ids: Sequence[int]) -> list[Completion]:
        """Nothing comes back: a search cancels only when it is given up, and :meth:`close` ends its requests then."""
        return []

    def score(
        self, prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]], temperature: float = 1.0
    ) -> list[list[float]]:
        raise NotImplementedError("a worker generates; it scores nothing")

    def close(self) -> None:
        """End what is under way, and the search with its next :meth:`poll`."""
        self._closed = True
        self._waiting.clear()
        self._worker.cancel(list(self._running.values()))
        self._news.put(Refusal(500, "the search was given up"))

    def _queue(self, requests: Sequence[Request]) -> None:
        self._waiting.extend(requests)
        self._fill()

    def _fill(self) -> None:
        while self._waiting and len(self._running) < self._width and not self._closed:
            request = self._waiting.popleft()
            self._running[request.id] = self._worker.submit(partial(_renamed, request), partial(self._take, request.id))

    def _take(self, id_: int, news: News) -> None:
        if news.error is not None:
            self._news.put(news.error)
        elif news.completion is not None:
            del self._running[id_]
            self._news.put(replace(news.completion, id=id_))
            self._fill()


class Searches:
    """Finds answers to chats by searching.

    Args:
        encoder: the one thread that encodes.

    Attributes:
        width: responses of one search that are generated at once.
    """

    def __init__(
        self,
        worker: Worker,
        prompts: ChatPrompts,
        tokenizer: PreTrainedTokenizerBase,
        encoder: Executor,
        settings: Settings,
    ) -> None:
        self.width = min(settings.search_width, worker.max_running)
        self._worker, self._prompts, self._encoder, self._settings = worker, prompts, encoder, settings
        self._tokenizer = _Tokenizer(tokenizer, encoder)
        # As many as can have their places at once, so that none waits for a thread.
        self._threads = ThreadPoolExecutor((worker.max_running + settings.max_waiting) // self.width, "search")

    def method(self, ask: ChatAsk, wanted: SearchAsk) -> Method:
        """The method that is asked for. Raises Refusal if there is none, or for what does not go with a search."""
        if wanted.budget > self._settings.search_tokens:
            most = self._settings.search_tokens
            message = f"a search may generate {most} tokens here, and {wanted.budget} are asked for"
            raise Refusal(400, message, param="search.budget", code="search_budget_exceeded")
        refused = {
            "n": (ask.n or 1) > 1,
            "logprobs": bool(ask.logprobs),
            "a budget of thinking": budget(ask, self._settings) is not None,
        }
        for name, there in refused.items():
            if there:
                raise Refusal(400, f"{name} does not go together with search", param="search", code="unsupported")
        try:
            return build_method({"kind": wanted.method})
        except ReckonError as error:
            raise Refusal(400, str(error), param="search.method", code="unknown_method") from None

    async def find(
        self, method: Method, tokens: int, plan: Plan, messages: Sequence[Message], options: Mapping[str, Any]
    ) -> Rollout:
        """The response that a search of at most ``tokens`` generated tokens chooses, and what it cost.

        Cancelling this ends the search. Raises Refusal if it cannot be carried out.
        """
        engine = SharedEngine(self._worker, self.width)
        search = partial(
            answer,
            str(messages[-1]["content"]),
            method,
            tokens,
            engine=engine,
            tokenizer=self._tokenizer,
            template=_Chat(lambda turns: self._encode(turns, options), messages, plan.prompt.ids),
            sampling=Sampling(plan.max_tokens, plan.temperature, plan.top_p, stop_ids=plan.end_ids),
            scorer=Confidence() if method.needs_scorer else None,
            seed=plan.seed,
        )
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, search)
        except ReckonError as error:
            raise Refusal(400, str(error), param="search") from None
        finally:
            engine.close()

    def stop(self) -> None:
        """Take no more searches."""
        self._threads.shutdown(wait=False)

    def _encode(self, messages: Sequence[Message], options: Mapping[str, Any]) -> list[int]:
        return self._encoder.submit(self._prompts.chat, messages, options).result().ids


class _Chat(PromptTemplate):
    """A chat in the place of a question."""

    def __init__(
        self, encode: Callable[[Sequence[Message]], list[int]], messages: Sequence[Message], ids: list[int]
    ) -> None:
        super().__init__(CHAT)
        self._encode, self._messages, self._ids = encode, messages, ids

    def render(self, question: str, tokenizer: Any) -> tuple[str, list[int]]:
        return "", list(self._ids)

    def render_after(self, examples: Sequence[tuple[str, str]], question: str, tokenizer: Any) -> list[int]:
        """The chat, the responses as its further turns, and the question as the last."""
        told = [(role, text) for pair in examples for role, text in zip(("user", "assistant"), pair, strict=True)]
        # The first example's question is the chat itself.
        turns = [{"role": role, "content": text} for role, text in [*told[1:], ("user", question)]]
        return self._encode([*self._messages, *turns])


class _Tokenizer:
    """Encodes where everybody does; any thread may decode."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, encoder: Executor) -> None:
        self.decode = tokenizer.decode
        self._tokenizer, self._encoder = tokenizer, encoder

    def __call__(self, text: str, **options: Any) -> Any:
        return self._encoder.submit(self._tokenizer, text, **options).result()


def _renamed(request: Request, id_: int) -> Request:
    return replace(request, id=id_)
