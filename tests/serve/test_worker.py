"""What becomes of requests when the engine does what no engine should."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

import pytest

from reckon.core.errors import ConfigError
from reckon.engine.base import Completion, Request, Sampling
from reckon.serve.worker import News, Worker
from tests.serve.serving import END, Scripted, ids


class Choosy(Scripted):
    """Does not take requests for one token, and breaks down when it is to cancel."""

    def __init__(self, error: Exception) -> None:
        super().__init__(lambda _: [*ids(" 24"), END])
        self.error = error

    def submit(self, requests: Sequence[Request]) -> None:
        if requests[0].sampling.max_new_tokens == 1:
            raise self.error
        super().submit(requests)

    def cancel(self, ids: Sequence[int]) -> list[Completion]:
        raise KeyError("no such request")


def made(limit: int, id_: int) -> Request:
    return Request(id_, [1], Sampling(limit, stop_ids=(END,)))


def ends(engine: Scripted, limits: Sequence[int], cancel: bool = False) -> list[News]:
    """The last news of requests for so many tokens each, one after the other."""

    async def run() -> list[News]:
        worker, found = Worker(engine), list[News]()
        worker.start()
        for limit in limits:
            ended: asyncio.Future[News] = asyncio.get_running_loop().create_future()

            def take(news: News, ended: asyncio.Future[News] = ended) -> None:
                if news.error is not None or news.completion is not None:
                    ended.set_result(news)

            id_ = worker.submit(partial(made, limit), take)
            if cancel:
                worker.end(id_)
            found.append(await asyncio.wait_for(ended, 10))
        await worker.stop()
        return found

    return asyncio.run(run())


@pytest.mark.parametrize(("error", "status"), [(ConfigError("too long"), 400), (RuntimeError("a bug"), 500)])
def test_a_request_that_the_engine_does_not_take_fails_alone(error: Exception, status: int) -> None:
    refused, served = ends(Choosy(error), [1, 5])
    assert refused.error is not None
    assert refused.error.status == status
    assert served.completion is not None
    assert served.completion.finish == "stop"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_nobody_waits_for_an_engine_that_has_stopped() -> None:
    told = [news.error for news in ends(Choosy(RuntimeError()), [5, 5], cancel=True)]
    assert [error and (error.status, error.message) for error in told] == [(500, "the engine has stopped")] * 2
