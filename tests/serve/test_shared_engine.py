"""The engine of one search beside everybody else's requests, as :class:`reckon.engine.base.Engine` says it is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

import pytest

from reckon.engine.base import Completion, Request, Sampling
from reckon.serve.refusal import Refusal
from reckon.serve.searching import SharedEngine
from reckon.serve.worker import Worker
from tests.serve.serving import END, Scripted, until

Found = TypeVar("Found")


def asked(*ids: int) -> list[Request]:
    return [Request(id_, [id_ + 1], Sampling(1000, stop_ids=(END,))) for id_ in ids]


def shared(engine: Scripted, search: Callable[[SharedEngine], Found], width: int = 2) -> Found:
    """What a search finds in its thread, ``width`` requests at a time."""

    async def run() -> Found:
        worker = Worker(engine)
        worker.start()
        made = SharedEngine(worker, width, 2000)
        try:
            return await asyncio.wait_for(asyncio.to_thread(search, made), 20)
        finally:
            made.close()
            await worker.stop()

    return asyncio.run(run())


def test_what_is_cancelled_comes_back_once_with_what_it_had() -> None:
    # Requests 0 and 1 have places and 2 and 3 wait; the second ends by itself.
    engine = Scripted(lambda prompt: [9] * (5 if prompt[0] == 2 else 1000) + [END], step_s=0.001)

    def search(made: SharedEngine) -> tuple[list[Completion], list[Completion], list[Completion]]:
        made.submit(asked(0, 1, 2, 3))
        [first] = made.poll()
        return [first], made.cancel([0, 1, 3, 99]), made.cancel([0, 3])

    first, ended, again = shared(engine, search)
    assert [(one.id, one.finish, one.token_ids) for one in first] == [(1, "stop", [9] * 5 + [END])]
    had = {one.id: one for one in ended}
    assert {one.finish for one in ended} == {"cancelled"}
    assert (sorted(had), len(ended)) == ([0, 3], 2)
    assert had[3].token_ids == []
    assert len(had[0].token_ids) == len(had[0].logp) >= 6
    assert again == []


def test_the_others_go_on_and_are_polled_as_ever() -> None:
    engine = Scripted(lambda prompt: [9] * (1000 if prompt[0] == 1 else 3) + [END], step_s=0.001)

    def search(made: SharedEngine) -> tuple[list[Completion], list[int]]:
        made.submit(asked(0, 1, 2, 3))
        until(lambda: len(engine.seen) == 4 and len(engine.live) == 1)
        ended, polled = made.cancel([0]), list[Completion]()
        while found := made.poll():
            polled += found
        return ended, sorted(one.id for one in polled)

    ended, polled = shared(engine, search)
    assert [one.id for one in ended] == [0]
    assert polled == [1, 2, 3]
    assert not engine.live


def test_nothing_is_waited_for_once_the_search_is_given_up() -> None:
    engine = Scripted(lambda prompt: [9] * 1000 + [END], step_s=0.001)

    def search(made: SharedEngine) -> list[Completion]:
        made.submit(asked(0, 1, 2))
        until(lambda: len(engine.live) == 2)
        made._loop.call_soon_threadsafe(made.close)
        with pytest.raises(Refusal, match="given up"):
            made.poll()
        return made.cancel([0, 1, 2])

    assert shared(engine, search) == []
    assert not engine.live
