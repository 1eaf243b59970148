r"""Verifiers of answers that have a gold one, by name: ours, and those of others to compare it with.

``math`` is ours (:mod:`reckon.tasks.math`). ``math-verify`` is Math-Verify, called plainly. ``boxed`` compares strings:
what the last ``\boxed`` holds with the gold, after the normalisation of MATH (Hendrycks et al. 2021, arXiv 2103.03874).
``exact`` compares the text of the one ``<answer>``.
"""

from __future__ import annotations

import difflib
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from reckon.core.errors import ConfigError
from reckon.core.records import Verdict
from reckon.sandbox.limits import Limits
from reckon.sandbox.pool import Outcome, shared_pool
from reckon.tasks.answer import final_answer

Item = tuple[str, str, str | None]
"""A response, its gold answer, and the kind of answer if that is known."""

Verifier = Callable[[Sequence[Item]], list[Verdict]]
"""The verdicts on responses, in their order. Does not raise on any text."""


def verifier(name: str) -> Verifier:
    """Raises ConfigError, with the nearest name, if there is none of that name."""
    if name not in VERIFIERS:
        near = difflib.get_close_matches(name, list(VERIFIERS), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"there is no verifier {name!r}{hint}", fix=f"Use one of: {', '.join(VERIFIERS)}")
    return VERIFIERS[name]


def _math(items: Sequence[Item]) -> list[Verdict]:
    from reckon.tasks.math import verify_all

    return verify_all(items)


def _math_verify(items: Sequence[Item]) -> list[Verdict]:
    # Longer than its own three alarms of five seconds, so that what it does about them is seen.
    pool = shared_pool("reckon.tasks.plain_math_verify:judge", limits=Limits(timeout_s=20.0))
    asked = {place: [response, gold] for place, (response, gold, _) in enumerate(items)}
    return [_verdict(outcome) for outcome in pool.map(asked).values()]


def _verdict(outcome: Outcome) -> Verdict:
    if outcome.status == "ok":
        return Verdict(**outcome.value, seconds=outcome.seconds)
    return Verdict(None, outcome.status, detail={"why": outcome.detail}, seconds=outcome.seconds)


def _one_by_one(judge: Callable[[str, str], Verdict]) -> Verifier:
    def judge_all(items: Sequence[Item]) -> list[Verdict]:
        verdicts = []
        for response, gold, _ in items:
            start = time.perf_counter()
            verdict = judge(response, gold)
            verdicts.append(replace(verdict, seconds=time.perf_counter() - start))
        return verdicts

    return judge_all


def _exact(response: str, gold: str) -> Verdict:
    answer, reason = final_answer(response)
    if answer is None:
        return Verdict(0.0, reason)
    return _compared(answer, answer == gold.strip())


def _boxed(response: str, gold: str) -> Verdict:
    answer = last_box(response)
    if answer is None:
        return Verdict(0.0, "no answer")
    return _compared(answer, _normal(answer) == _normal(gold))


def _compared(answer: str, equal: bool) -> Verdict:
    return Verdict(float(equal), "correct" if equal else "wrong", answer)


def last_box(text: str) -> str | None:
    r"""What the last ``\boxed{...}`` or ``\fbox{...}`` holds; None if there is none or it never ends."""
    begin = max(text.rfind(r"\boxed{"), text.rfind(r"\fbox{"))
    if begin < 0:
        return None
    depth = 0
    for place in range(text.index("{", begin), len(text)):
        depth += (text[place] == "{") - (text[place] == "}")
        if depth == 0:
            return text[text.index("{", begin) + 1 : place]
    return None


_REWRITES = [
    (r"\n|\\!|\\left|\\right|\^\{?\\circ\}?|\\?\$|\\?%", ""),  # spacing, sizes, degrees, currency, percent
    (r"\\\\", r"\\"),
    (r"\\[td]frac", r"\\frac"),
    (r"\\text\{ .*$", ""),  # units
    (r"(^|[ {])\.(?=\d)", r"\g<1>0."),
    (r"^[^=]{1,2}=(?=[^=]*$)", ""),  # x = 5
    (r"\\sqrt([^{\\])", r"\\sqrt{\1}"),
    (r"\s", ""),
    (r"\\frac([^{\\])([^{\\])", r"\\frac{\1}{\2}"),
    (r"\\frac([^{\\])(?=\{)", r"\\frac{\1}"),
    (r"(\\frac\{[^{}]*\})([^{\\])", r"\1{\2}"),
    (r"^0\.5$", r"\\frac{1}{2}"),
    (r"^(-?\d+)/(-?\d+)$", r"\\frac{\1}{\2}"),
]
r"""In this order: what MATH's comparison takes for the same way of writing an answer."""


def _normal(answer: str) -> str:
    for pattern, replacement in _REWRITES:
        answer = re.sub(pattern, replacement, answer.strip())
    return answer


VERIFIERS: dict[str, Verifier] = {
    "math": _math,
    "math-verify": _math_verify,
    "boxed": _one_by_one(_boxed),
    "exact": _one_by_one(_exact),
}
