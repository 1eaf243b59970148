"""Where the answer is: in the one ``<answer>`` block after the one ``</think>``, and nowhere else.

The shape is R1-Zero's (arXiv 2501.12948, table 1). What is written inside the thinking is never judged, so a
model cannot be paid for guesses it did not settle on. The prompt may already have opened ``<think>``, so the
opening tag is not asked for here; :func:`reckon.rewards.rules.format_reward` asks for it.

Everything is found by plain substring search: the time is linear in the length of the response.
"""

from __future__ import annotations

THINK, END_THINK = "<think>", "</think>"
ANSWER, END_ANSWER = "<answer>", "</answer>"


def split(response: str) -> tuple[str, str | None]:
    """The thinking (without its tags) and what follows it; the latter is None if the thinking never ended."""
    thought, closed, rest = response.partition(END_THINK)
    before, opened, inside = thought.partition(THINK)
    if opened and not before.strip():
        thought = inside
    return thought, rest if closed else None


def thinking(response: str) -> str:
    """The text of the thinking; all of the response if the thinking never ended."""
    return split(response)[0]


def final_answer(response: str) -> tuple[str | None, str]:
    """The answer without surrounding whitespace, or None and the reason why there is none to judge.

    Reasons: ``unfinished thinking`` (never closed, or opened again), ``several thoughts``, ``no answer`` (none,
    empty, or never closed), ``several answers``.
    """
    _, rest = split(response)
    if rest is None:
        return None, "unfinished thinking"
    if END_THINK in rest:
        return None, "several thoughts"
    if THINK in rest:
        return None, "unfinished thinking"
    if rest.count(ANSWER) > 1 or rest.count(END_ANSWER) > 1:
        return None, "several answers"
    _, _, opened = rest.partition(ANSWER)
    answer, closed, _ = opened.partition(END_ANSWER)
    answer = answer.strip()
    return (answer, "") if closed and answer else (None, "no answer")
