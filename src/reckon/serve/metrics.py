"""Counters in the text format that Prometheus reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from reckon.serve.wire import Json

_BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Seconds."""


class Histogram:
    """How many values are at most each bound."""

    def __init__(self) -> None:
        self._counts = [0] * len(_BOUNDS)
        self._sum, self._count = 0.0, 0

    def add(self, value: float) -> None:
        self._sum, self._count = self._sum + value, self._count + 1
        for place, bound in enumerate(_BOUNDS):
            self._counts[place] += value <= bound

    def lines(self, name: str) -> Iterator[str]:
        for bound, count in zip(_BOUNDS, self._counts, strict=True):
            yield f'{name}_bucket{{le="{bound:g}"}} {count}'
        yield f'{name}_bucket{{le="+Inf"}} {self._count}'
        yield f"{name}_sum {self._sum:.6f}"
        yield f"{name}_count {self._count}"


class Metrics:
    """What a server has done since it began.

    Attributes:
        first: seconds from a request to the first piece of its response.
        whole: to the last.
    """

    def __init__(self) -> None:
        self.first, self.whole = Histogram(), Histogram()
        self._answers: Counter[tuple[str, int]] = Counter()
        self._tokens: Counter[str] = Counter()

    def answered(self, path: str, status: int) -> None:
        """A request has been answered."""
        self._answers[path, status] += 1

    def spent(self, usage: Json) -> None:
        """A response has ended."""
        self._tokens["prompt"] += usage["prompt_tokens"]
        self._tokens["completion"] += usage["completion_tokens"]
        self._tokens["reasoning"] += usage["completion_tokens_details"].get("reasoning_tokens", 0)

    def text(self, running: int, waiting: int) -> str:
        """All of it; ``running`` and ``waiting`` responses are under way now."""
        lines = [*_head("reckon_requests_total", "counter", "Requests answered, by path and status.")]
        for (path, status), count in sorted(self._answers.items()):
            lines.append(f'reckon_requests_total{{path="{path}",status="{status}"}} {count}')
        lines += _head("reckon_tokens_total", "counter", "Tokens of ended responses; reasoning is part of completion.")
        for kind in ("prompt", "completion", "reasoning"):
            lines.append(f'reckon_tokens_total{{kind="{kind}"}} {self._tokens[kind]}')
        for name, number, meaning in (
            ("reckon_responses_running", running, "Responses being generated."),
            ("reckon_responses_waiting", waiting, "Responses waiting for a place in the batch."),
        ):
            lines += [*_head(name, "gauge", meaning), f"{name} {number}"]
        for name, histogram, meaning in (
            ("reckon_first_piece_seconds", self.first, "From a request to the first piece of its response."),
            ("reckon_response_seconds", self.whole, "From a request to the end of its response."),
        ):
            lines += [*_head(name, "histogram", meaning), *histogram.lines(name)]
        return "\n".join(lines) + "\n"


def _head(name: str, kind: str, meaning: str) -> Iterator[str]:
    yield f"# HELP {name} {meaning}"
    yield f"# TYPE {name} {kind}"
