"""Rewriting responses into the form that they are to be learned in."""

from __future__ import annotations

import re
from abc import abstractmethod
from typing import Literal

from reckon.core.store import Row
from reckon.data.curate.base import Dropped, Scoped, Sifted
from reckon.tasks.answer import ANSWER, END_THINK, THINK, final_answer, thinking
from reckon.tasks.reflection import has_han

_END = r"(?=[.!。！])"
# A word of success or failure ends a sentence: "no number is left" says nothing of the attempt.
_VERDICT = re.compile(
    r"(?P<failure>(?:(?:\bnot|n['’]t) (?:right|correct)|\b(?:no|wrong|incorrect)"
    rf"|不太?(?:对|正确|行)|(?<!没)错了?){_END})"
    rf"|(?P<success>(?:\b(?:yes|right|correct)|对|正确|是的|没错){_END})",
    re.IGNORECASE,
)
_CHECK = re.compile(r"(?:\bcheck|检查)\s*[:：]", re.IGNORECASE)
_ORNAMENT = re.compile(
    r"(?:(?:wait|hmm|let me try|try again|again|actually|check|answer|i give up|so)\b"
    r"|等等|再试一次|再试|检查|试试|换一个|答案|算了|所以|[\s.,:;!。，：；！、])+",
    re.IGNORECASE,
)


class _Rewrite(Scoped):
    @abstractmethod
    def rewritten(self, row: Row) -> tuple[str | None, str]:
        """The new response, or None and why there is none."""

    def sift(self, rows: list[Row], seed: int) -> Sifted:
        sifted = Sifted([], [])
        for row in rows:
            response, why = self.rewritten(row)
            if response is None:
                sifted.dropped.append(Dropped(row, why))
            else:
                sifted.kept.append({**row, "response": response})
        return sifted


class Summarise(_Rewrite):
    """Put the derivation that worked between thinking and answer, as R1's readable form has it. The column ``tokens``
    goes on counting the response as it was sampled.

    ::

        <think> 8 - 1 = 7, 7 * 3 = 21, no. 8 / 1 = 8, 8 * 3 = 24, yes. </think> <answer> ( 8 / 1 ) * 3 </answer>
        <think> ...                                                    </think> 8 / 1 = 8, 8 * 3 = 24. <answer> ...

    R1 had a language model write its summaries (arXiv 2501.12948, sec. 2.3.1). This rule needs none, and works where
    thinking is a chain of attempts, each ended by a word of success or failure ("yes.", "no.", "对。", "不对。"). The
    summary is the last attempt if it ended in success; if failure has the last word, or there are no such words, it is
    what follows the last of them. These words are left out, and so are words of reconsideration before an attempt, and
    what stands before a check ("check:", "检查："), which says it again.

    A row is dropped if that leaves nothing, or if there is no answer to put it before. One where something stands there
    already stays as it is.
    """

    kind: Literal["summarise"] = "summarise"

    def rewritten(self, row: Row) -> tuple[str | None, str]:
        response = row["response"]
        answer, why = final_answer(response)
        if answer is None:
            return None, why
        before, _, rest = response.partition(END_THINK)
        between, _, end = rest.partition(ANSWER)
        if between.strip():
            return response, ""
        summary, why = summary_of(thinking(response))
        return (f"{before}{END_THINK} {summary} {ANSWER}{end}", "") if summary else (None, why)


def summary_of(thought: str) -> tuple[str | None, str]:
    """The derivation that worked, as a sentence, or None and why there is none; the rule is :class:`Summarise`'s."""
    verdicts = list(_VERDICT.finditer(thought))
    starts = [0, *(verdict.end() for verdict in verdicts)]
    found = ""
    for start, verdict in zip(reversed(starts[:-1]), reversed(verdicts), strict=True):
        if verdict.lastgroup == "failure" or found:
            break
        found = _plain(thought[start : verdict.start()])
    found = found or _plain(thought[starts[-1] :])
    if not found:
        return None, "no attempt succeeded" if verdicts else "nothing to sum up"
    return found + ("。" if has_han(found) else "."), ""


def _plain(attempt: str) -> str:
    """An attempt, or its check where it has one, without words of reconsideration before it and marks after it."""
    attempt = _CHECK.split(attempt)[-1]
    ornament = _ORNAMENT.match(attempt)
    return attempt[ornament.end() if ornament else 0 :].rstrip(" \n\t.,:;!。，：；！、")


class DropThinking(_Rewrite):
    """Leave the thinking empty: ``<think> </think>`` and what followed it (R1's trivial queries carry no thoughts).

    The answer stays where every verifier looks for it. The format reward pays nothing for an empty thinking, so this is
    for prompts where brevity is worth more than that, and must come after a ``format`` filter.
    """

    kind: Literal["drop_thinking"] = "drop_thinking"

    def rewritten(self, row: Row) -> tuple[str | None, str]:
        before, closed, rest = row["response"].partition(END_THINK)
        if not closed:
            return None, "unfinished thinking"
        lead, opened, _ = before.partition(THINK)
        # Where the prompt opened the thinking, the response does not.
        start = lead + opened if opened and not lead.strip() else ""
        return f"{start} {END_THINK}{rest}", ""
