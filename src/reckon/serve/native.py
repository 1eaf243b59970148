"""Responses from an engine in this process, all of them in one continuous batch."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from reckon.core.seeds import seed_for
from reckon.engine.base import Completion
from reckon.serve.backend import Backend, Bounds
from reckon.serve.checks import budget
from reckon.serve.choice import Choice, Delta, Plan
from reckon.serve.places import Places
from reckon.serve.prompt import ChatPrompts, Prompt
from reckon.serve.refusal import Refusal
from reckon.serve.schema import ChatAsk, ModelCard, SearchAsk, TextAsk
from reckon.serve.searching import Searches
from reckon.serve.settings import Settings
from reckon.serve.text import Tags, decoder
from reckon.serve.wire import Json, Wire, chat_logprobs, text_logprobs, usage
from reckon.serve.worker import News, Worker

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from reckon.engine.base import Engine

SMALLEST = 1e-4
"""Temperatures below are greedy, and so is this top-p: numbers that vanish in single precision would be neither."""


class Native(Backend):
    """Serves one model.

    Args:
        names: what requests may call it; the first is its own.
        context: the most tokens of prompt and response.
        end_ids: tokens that end a response.
        max_running: as the engine was built with.
    """

    def __init__(
        self,
        engine: Engine,
        tokenizer: PreTrainedTokenizerBase,
        *,
        names: Sequence[str],
        context: int,
        end_ids: tuple[int, ...],
        max_running: int,
        settings: Settings,
        template: str | None = None,
    ) -> None:
        self._context, self._settings, self._end_ids = context, settings, end_ids
        self._prompts = ChatPrompts(tokenizer, template, settings.thinking)
        self._worker, self._places = Worker(engine), Places(max_running, settings.max_waiting)
        self._tokenizer, self._decode, self._tags = tokenizer, decoder(tokenizer), Tags.of(tokenizer)
        self._closing = tokenizer.encode(settings.closing, add_special_tokens=False) if settings.closing else []
        now = int(time.time())
        self._cards = [ModelCard(id=name, created=now, max_model_len=context) for name in names]
        # One thread, since a tokenizer cannot encode for two at once; the event loop must not wait for a long text.
        self._encoder = ThreadPoolExecutor(1, "encoder")
        self._searches = Searches(
            self._worker, self._places, self._prompts, tokenizer, self._encoder, context, settings
        )
        self.bounds = Bounds(context, len(tokenizer), self._searches.bounds)

    @property
    def load(self) -> tuple[int, int]:
        return self._places.load

    @property
    def healthy(self) -> bool:
        return self._worker.alive

    async def start(self) -> None:
        self._worker.start()

    async def stop(self) -> None:
        await self._worker.stop()
        self._searches.stop()
        self._encoder.shutdown()

    async def models(self) -> Sequence[ModelCard]:
        return self._cards

    def answer(self, ask: ChatAsk | TextAsk) -> AsyncIterator[Json]:
        if isinstance(ask, ChatAsk) and ask.search is not None:
            return self._search(ask, ask.search)
        return self._sample(ask)

    async def _sample(self, ask: ChatAsk | TextAsk) -> AsyncIterator[Json]:
        with self._places.taken(ask.choices):
            prompts = await asyncio.get_running_loop().run_in_executor(self._encoder, self._encode, ask)
            plans = self._plans(ask, prompts)
            choices = [Choice(plan, self._tags, self._decode, self._closing) for plan in plans]
            wire = Wire("chat" if isinstance(ask, ChatAsk) else "text", ask.model or self._cards[0].id)
            async for piece in self._pieces(wire, choices, ask.logprobs is not None and ask.logprobs is not False):
                yield piece
        read = sum(len(prompt.ids) for prompt in prompts)
        written = sum(len(choice.tokens) for choice in choices)
        yield wire.usage(usage(read, written, sum(choice.thought for choice in choices)))

    async def _search(self, ask: ChatAsk, wanted: SearchAsk) -> AsyncIterator[Json]:
        """The response that a search chooses, in one piece; the usage counts all that it generated."""
        method = self._searches.method(wanted)
        with self._places.taken(self._searches.width):
            prompts = await asyncio.get_running_loop().run_in_executor(self._encoder, self._encode, ask)
            [plan] = self._plans(ask, prompts)
            wire = Wire("chat", ask.model or self._cards[0].id)
            for piece in wire.opening(0):
                yield piece
            messages = [message.turn() for message in ask.messages]
            found = await self._searches.find(method, wanted.budget, plan, messages, self._options(ask))
        # It is all there: nothing may go on from where it was cut off.
        choice = Choice(replace(plan, max_tokens=len(found.response_ids)), self._tags, self._decode, self._closing)
        for delta in (choice.feed(found.response_ids), choice.end(Completion(0, finish=found.finish))):
            for piece in wire.pieces(0, delta):
                yield piece
        yield wire.closing(0, choice.finish)
        assert found.verdict is not None
        yield wire.usage(usage(len(plan.prompt.ids), found.verdict.detail["search"]["generated"], choice.thought))

    def _options(self, ask: ChatAsk) -> dict[str, Any]:
        """Variables for the model's own template."""
        options = ask.chat_template_kwargs.model_dump(exclude_none=True) if ask.chat_template_kwargs else {}
        off = {"enable_thinking": False, "thinking": False} if budget(ask, self._settings) == 0 else {}
        return {**options, **off}

    def _encode(self, ask: ChatAsk | TextAsk) -> list[Prompt]:
        if isinstance(ask, ChatAsk):
            prompts = [self._prompts.chat([message.turn() for message in ask.messages], self._options(ask))]
        else:
            written = [self._prompts.text(one) if isinstance(one, str) else one for one in ask.prompts]
            if max(map(max, written)) >= len(self._tokenizer):
                raise Refusal(400, f"token ids end at {len(self._tokenizer) - 1}", param="prompt")
            prompts = [Prompt(ids, "answer") for ids in written]
        for prompt in prompts:
            if not 0 < len(prompt.ids) < self._context:
                raise Refusal(
                    400,
                    f"the prompt has {len(prompt.ids)} tokens; the model's context holds {self._context}, and the "
                    "response must have room in it",
                    param="messages" if isinstance(ask, ChatAsk) else "prompt",
                    code="context_length_exceeded",
                )
        return prompts

    def _plans(self, ask: ChatAsk | TextAsk, prompts: Sequence[Prompt]) -> list[Plan]:
        """One for each choice. A response has what is left of the context, if that is less than was asked for."""
        chat = isinstance(ask, ChatAsk)
        seed = secrets.randbits(62) if ask.seed is None else ask.seed
        common = Plan(
            prompt=prompts[0],
            max_tokens=ask.limit or self._context,
            temperature=1.0 if ask.temperature is None else ask.temperature * (ask.temperature >= SMALLEST),
            top_p=1.0 if ask.top_p is None else max(ask.top_p, SMALLEST),
            stops=ask.stops,
            end_ids=self._end_ids,
            seed=seed,
            budget=budget(ask, self._settings) if isinstance(ask, ChatAsk) else None,
            split=chat and self._settings.thinking != "never",
        )
        places = [prompt for prompt in prompts for _ in range(ask.n or 1)]
        return [
            replace(
                common,
                prompt=prompt,
                max_tokens=min(common.max_tokens, self._context - len(prompt.ids)),
                seed=seed_for(seed, index),
            )
            for index, prompt in enumerate(places)
        ]

    async def _pieces(self, wire: Wire, choices: Sequence[Choice], logprobs: bool) -> AsyncIterator[Json]:
        """Run the choices side by side to their ends."""
        news: asyncio.Queue[tuple[int, News]] = asyncio.Queue()
        ids: dict[int, int] = {}

        def submit(index: int) -> None:
            ids[index] = self._worker.submit(choices[index].request, lambda one: news.put_nowait((index, one)))

        left = len(choices)
        try:
            for index, choice in enumerate(choices):
                for piece in (*wire.opening(index), *wire.pieces(index, choice.begin())):
                    yield piece
                if choice.finish is None:
                    submit(index)
                else:
                    left -= 1
                    yield wire.closing(index, choice.finish)
            while left:
                index, one = await news.get()
                choice = choices[index]
                for piece in wire.pieces(index, self._take(choice, one, ids[index])):
                    yield piece
                if one.completion is None:
                    continue
                if choice.finish is None:
                    submit(index)
                else:
                    left -= 1
                    yield wire.closing(index, choice.finish, self._logprobs(wire, choice) if logprobs else None)
        finally:
            self._worker.cancel(list(ids.values()))

    def _take(self, choice: Choice, news: News, id_: int) -> Delta:
        """Tell a choice the news, and end its request where a stop string ended the choice."""
        if news.error is not None:
            raise news.error
        going = choice.finish is None
        delta = choice.feed(news.tokens)
        if news.completion is not None:
            last = choice.end(news.completion)
            return Delta(delta.thinking + last.thinking, delta.answer + last.answer)
        if going and choice.finish is not None:
            self._worker.end(id_)
        return delta

    def _logprobs(self, wire: Wire, choice: Choice) -> Json:
        texts = [self._tokenizer.decode([token]) for token in choice.tokens]
        return (chat_logprobs if wire.kind == "chat" else text_logprobs)(texts, choice.logp)
