"""Test-time search on the engine that all other responses are generated with."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, ClassVar

from reckon.core.errors import ReckonError
from reckon.core.records import Rollout
from reckon.engine.base import Completion, Engine, Request, Sampling
from reckon.models.template import CHAT, PromptTemplate
from reckon.search.base import Growth, Method, Node, Tree
from reckon.search.methods import METHODS, build_method
from reckon.search.sampler import answer
from reckon.search.scorers import Confidence
from reckon.serve.backend import SearchBounds
from reckon.serve.choice import Plan
from reckon.serve.places import Places
from reckon.serve.prompt import ChatPrompts, Message
from reckon.serve.refusal import Refusal
from reckon.serve.schema import SearchAsk
from reckon.serve.settings import Settings
from reckon.serve.worker import News, Worker

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


_NOBODY = -1
"""No request has this id."""


class SharedEngine(Engine):
    """The worker's engine, for one search in a thread of its own: as wide as its share, and beside everybody else.

    ``submit``, ``poll`` and ``cancel`` are for the search's thread, ``close`` for the event loop that this was made in.

    Args:
        width: requests that are with the worker at a time; the others wait here.
        max_context: the most tokens of prompt and response.
    """

    def __init__(self, worker: Worker, width: int, max_context: int) -> None:
        self.version, self.max_context = 0, max_context
        self._worker, self._width = worker, width
        self._loop = asyncio.get_running_loop()
        self._news: SimpleQueue[tuple[int, Completion | Refusal]] = SimpleQueue()
        self._kept: deque[tuple[int, Completion | Refusal]] = deque()
        self._open: set[int] = set()
        self._waiting: deque[Request] = deque()
        self._running: dict[int, int] = {}
        self._closed = False

    def submit(self, requests: Sequence[Request]) -> None:
        self._open.update(request.id for request in requests)
        self._loop.call_soon_threadsafe(self._queue, list(requests))

    def poll(self) -> list[Completion]:
        """Wait for a request to end. Raises Refusal if one was given up, or after :meth:`close`."""
        done: list[Completion] = []
        while self._open and not (done and not self._kept and self._news.empty()):
            id_, news = self._kept.popleft() if self._kept else self._news.get()
            self._open.discard(id_)
            if isinstance(news, Refusal):
                raise news
            done.append(news)
        return done

    def cancel(self, ids: Sequence[int]) -> list[Completion]:
        """End these requests and wait for what they had. After :meth:`close`, which ended them, nothing comes back."""
        wanted, ended = self._open.intersection(ids), list[Completion]()
        if wanted and not self._closed:
            self._loop.call_soon_threadsafe(self._end, set(wanted))
        known, self._kept = self._kept, deque()
        while wanted and not self._closed:
            id_, news = known.popleft() if known else self._news.get()
            if id_ not in wanted:
                self._kept.append((id_, news))
                continue
            wanted.remove(id_)
            self._open.remove(id_)
            if isinstance(news, Completion):
                ended.append(replace(news, finish="cancelled"))
        self._kept.extend(known)
        return ended

    def score(
        self, prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]], temperature: float = 1.0
    ) -> list[list[float]]:
        raise NotImplementedError("a worker generates; it scores nothing")

    def close(self) -> None:
        """End what is under way, and the search with its next :meth:`poll`."""
        self._closed = True
        self._waiting.clear()
        self._worker.cancel(list(self._running.values()))
        self._news.put((_NOBODY, Refusal(500, "the search was given up")))

    def _queue(self, requests: Sequence[Request]) -> None:
        self._waiting.extend(requests)
        self._fill()

    def _end(self, ids: set[int]) -> None:
        for request in self._waiting:
            if request.id in ids:
                self._news.put((request.id, Completion(request.id, finish="cancelled")))
        self._waiting = deque(request for request in self._waiting if request.id not in ids)
        for id_ in ids & self._running.keys():
            self._worker.end(self._running[id_])

    def _fill(self) -> None:
        while self._waiting and len(self._running) < self._width and not self._closed:
            request = self._waiting.popleft()
            self._running[request.id] = self._worker.submit(partial(_renamed, request), partial(self._take, request.id))

    def _take(self, id_: int, news: News) -> None:
        if news.error is not None:
            self._news.put((id_, news.error))
        elif news.completion is not None:
            self._news.put((id_, replace(news.completion, id=id_)))
        else:
            return
        del self._running[id_]
        self._fill()


class Searches:
    """Finds answers to chats by searching.

    Args:
        places: that searches share with everybody.
        encoder: the one thread that encodes.
        context: the most tokens of prompt and response.

    Attributes:
        bounds: what one search may ask for.
        width: responses of one search that are generated at once.
    """

    def __init__(
        self,
        worker: Worker,
        places: Places,
        prompts: ChatPrompts,
        tokenizer: PreTrainedTokenizerBase,
        encoder: Executor,
        context: int,
        settings: Settings,
    ) -> None:
        self.bounds = SearchBounds(tuple(METHODS), settings.search_tokens, settings.search_samples)
        self.width = min(settings.search_width, places.running)
        self._worker, self._prompts, self._encoder, self._context = worker, prompts, encoder, context
        self._tokenizer = _Tokenizer(tokenizer, encoder)
        # As many as can have their places at once, so that none waits for a thread.
        self._threads = ThreadPoolExecutor((places.running + places.waiting) // self.width, "search")

    def method(self, wanted: SearchAsk) -> Method:
        """The method that is asked for. Raises Refusal if there is none."""
        try:
            method = build_method({"kind": wanted.method})
        except ReckonError as error:
            raise Refusal(400, str(error), param="search.method", code="unknown_method") from None
        samples = wanted.samples or self.bounds.samples
        return _Ended(choose=method.choose, aggregate=method.aggregate, method=method, samples=samples)

    async def find(
        self, method: Method, tokens: int, plan: Plan, messages: Sequence[Message], options: Mapping[str, Any]
    ) -> Rollout:
        """The response that a search of at most ``tokens`` generated tokens chooses, and what it cost.

        Cancelling this ends the search. Raises Refusal if it cannot be carried out.
        """
        engine = SharedEngine(self._worker, self.width, self._context)
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


class _Ended(Method):
    """Another method, which ends when it has sampled enough."""

    kind: ClassVar[str] = "ended"

    method: Method
    samples: int

    @property
    def needs_scorer(self) -> bool:
        return self.method.needs_scorer

    def grow(self, tree: Tree) -> Growth:
        growth = self.method.grow(tree)
        nodes: list[Node] | None = None
        with suppress(StopIteration):
            while (left := self.samples - len(tree.nodes)) > 0:
                orders = next(growth) if nodes is None else growth.send(nodes)
                nodes = yield orders[:left]


class _Chat(PromptTemplate):
    """A chat in the place of a question.

    Args:
        encode: from turns to a prompt.
        ids: the prompt of the chat itself.
    """

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
