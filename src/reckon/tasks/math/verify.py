"""The math verifier: a response and a gold answer in, a verdict with its reason out.

Layers, each of which may decide: the region after the thinking, the extraction of the answer, guards on its size, the
gold's kind, exact comparison, and for what that cannot tell the symbolic back end in the shared pool of killable
workers. All but the last are pure, take linear time, and never raise, whatever the response.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache

from reckon.core.errors import ReckonError
from reckon.core.records import Verdict
from reckon.sandbox.pool import Outcome, Pool, shared_pool
from reckon.tasks.math.extract import final_answer
from reckon.tasks.math.kinds import FORMULAS, KINDS, Judgement, display, judge, kind_of
from reckon.tasks.math.notation import MAX_CHARACTERS, guarded, tidy
from reckon.tasks.math.numeric import exactly_equal
from reckon.tasks.math.region import after_thinking
from reckon.tasks.math.values import Undecided

REASONS = (
    "correct", "wrong", "hedged", "no answer", "truncated", "unparsable answer", "unparsable gold", "timed out",
    "crashed",
)  # fmt: skip
"""All that a verdict's reason can be."""

_ABSENT = frozenset({"unparsable gold", "timed out", "crashed"})
_FUNCTION = "reckon.tasks.math.symbolic:compare"


@dataclass(frozen=True)
class _Question:
    """What the back end is asked: is this answer right?"""

    gold: str
    answer: str
    raw_gold: str
    raw_answer: str
    kind: str


class _Cache:
    """The last answers of the back end. Responses to one problem repeat a few answers."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: OrderedDict[_Question, Judgement] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, question: _Question) -> Judgement | None:
        with self._lock:
            return self._kept.get(question)

    def put(self, question: _Question, judgement: Judgement) -> None:
        with self._lock:
            self._kept[question] = judgement
            if len(self._kept) > self._size:
                self._kept.popitem(last=False)


_CACHE = _Cache(100_000)


def verify(response: str, gold: str, kind: str | None = None) -> Verdict:
    """Whether a response gives the gold answer; see :func:`verify_all`."""
    return verify_all([(response, gold, kind)])[0]


def verify_all(items: Sequence[tuple[str, str, str | None]], pool: Pool | None = None) -> list[Verdict]:
    """The verdict on each (response, gold, kind), in their order.

    The score is 1 for ``correct``, absent where nothing can be said of the answer (``unparsable gold``, ``timed out``,
    ``crashed``), and else 0. ``extracted`` reads the same for answers that are equal, as far as that is cheap to tell;
    ``detail`` has the ``kind`` and, as ``by``, the layer that decided.

    Args:
        items: a kind that is none of ``KINDS`` counts as None: the gold tells.
        pool: whose workers run the symbolic back end; None for the shared one.
    """
    found: list[Verdict | _Question] = []
    for response, gold, kind in items:
        start = time.perf_counter()
        one = _without_back_end(response, gold, kind)
        if isinstance(one, Verdict):  # from a cache: what the caller does to it must not come back
            one = replace(one, detail=dict(one.detail), seconds=time.perf_counter() - start)
        found.append(one)
    judged = _ask({one for one in found if isinstance(one, _Question)}, pool)
    return [_answered(one, *judged[one]) if isinstance(one, _Question) else one for one in found]


def is_judgeable(gold: str, kind: str | None = None) -> bool:
    """Whether there is a gold answer that responses can be compared with: it is not empty, ``proof``, or too large."""
    return _gold(gold)[1] is not None and bool(kind is None or kind in KINDS)


def _without_back_end(response: str, gold: str, kind: str | None) -> Verdict | _Question:
    """The verdict as far as it can be told here."""
    canonical, known = _gold(gold)
    if known is None:
        return _verdict(Judgement("unparsable gold", "gold"), None, None)
    kind = kind if kind in KINDS else known
    text, unfinished = after_thinking(response)
    extraction = final_answer(text)
    if extraction.text is None:
        reason = "truncated" if unfinished and extraction.reason == "no answer" else extraction.reason
        return _verdict(Judgement(reason, "extraction"), kind, None)
    raw = " ".join(extraction.text.split())
    if len(raw) > MAX_CHARACTERS or (why := guarded(raw)) is not None:
        why = guarded(raw[: MAX_CHARACTERS + 1])
        return _verdict(Judgement("unparsable answer", why or "size"), kind, raw[:80])
    return _decided(canonical, " ".join(gold.split()), raw, kind)


@lru_cache(maxsize=20_000)
def _gold(gold: str) -> tuple[str, str | None]:
    """A gold answer's canonical text and its kind; no kind if it cannot be judged."""
    raw = " ".join(gold.split())
    if guarded(raw) is not None:
        return "", None
    canonical = tidy(raw)
    return canonical, kind_of(canonical)


@lru_cache(maxsize=100_000)
def _decided(gold: str, raw_gold: str, raw: str, kind: str) -> Verdict | _Question:
    answer = tidy(raw)
    if not answer:
        return _verdict(Judgement("no answer", "extraction"), kind, None)
    try:
        judgement = judge(gold, answer, kind, exactly_equal)
        if judgement.reason != "unparsable gold" or kind not in FORMULAS:
            return _verdict(judgement, kind, display(answer))
    except Undecided:
        pass
    return _Question(gold, answer, raw_gold, raw, kind)


def _ask(questions: set[_Question], pool: Pool | None) -> dict[_Question, tuple[Judgement, float]]:
    """What the back end says of each, and how long it took. What it can say is kept."""
    judged = {one: (known, 0.0) for one in questions if (known := _CACHE.get(one)) is not None}
    unknown = questions - judged.keys()
    if not unknown:
        return judged
    try:
        outcomes = (pool or shared_pool(_FUNCTION)).map({one: asdict(one) for one in unknown})
    except ReckonError as error:
        outcomes = {one: Outcome("crashed", detail=str(error)) for one in unknown}
    for one, outcome in outcomes.items():
        if outcome.status == "ok":
            judgement = Judgement(outcome.value["reason"], outcome.value["by"])
            _CACHE.put(one, judgement)
        else:
            judgement = Judgement(outcome.status, outcome.detail or "pool")
        judged[one] = (judgement, outcome.seconds)
    return judged


def _answered(question: _Question, judgement: Judgement, seconds: float) -> Verdict:
    return replace(_verdict(judgement, question.kind, display(question.answer)), seconds=seconds)


def _verdict(judgement: Judgement, kind: str | None, extracted: str | None) -> Verdict:
    score = None if judgement.reason in _ABSENT else float(judgement.reason == "correct")
    return Verdict(score, judgement.reason, extracted, {"kind": kind, "by": judgement.by})
