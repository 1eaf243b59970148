"""Which code a response answers with: the last Python block after the thinking, or what stands in ``<answer>``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from textwrap import dedent, indent

from reckon.tasks.answer import ANSWER, END_ANSWER, END_THINK, THINK, split
from reckon.tasks.code.gold import FunctionGold, Gold

MAX_CODE = 64 * 1024
"""Characters. Longer code is not run: a compiler can be made to need minutes and gigabytes for it."""

_FENCE = re.compile(r"(?:^[ \t]*|(?<=[ \t]))(?P<ticks>`{3,})[ \t]*(?P<language>[^\s`]*)[^\n`]*$", re.MULTILINE)
_PYTHON = {"python", "python3", "py"}
_ANSWERS = {
    "function": re.compile(r"\b(?:return|yield|raise)\b"),
    "program": re.compile(r"\b(?:print|write|writelines)\b"),
}


@dataclass(frozen=True)
class Code:
    """Code to be judged.

    Attributes:
        prelude: what is run before it: the imports and helpers of the problem.
        solution: the code, which defines the function asked for, or is the program.
    """

    prelude: str
    solution: str


def code_of(response: str, gold: Gold) -> tuple[Code | None, str]:
    """The code, or None and the reason why there is none to judge.

    A function's answer may be the function, with or without what the prompt gives, or only its body. What cannot be an
    answer, because it returns (or, a program: prints) nothing, is not run.
    """
    text, why = answer_text(response)
    if text is None:
        return None, why
    if len(text) > MAX_CODE:
        return None, "too long"
    try:
        text.encode()
    except UnicodeEncodeError:
        return None, "not text"
    if isinstance(gold, FunctionGold):
        name = re.escape(gold.entry_point)
        signature = rf"^(?:async[ \t]+)?def[ \t]+{name}\b"
        if re.search(rf"{signature}|^{name}[ \t]*[:=]", text, re.MULTILINE):
            return Code(re.split(signature, gold.prompt, maxsplit=1, flags=re.MULTILINE)[0], text), ""
    if not _ANSWERS[gold.kind].search(text):
        return None, "gives nothing"
    if isinstance(gold, FunctionGold):
        text = gold.prompt.rstrip() + "\n" + indent(dedent(text), "    ")
    return Code("", text), ""


def answer_text(response: str) -> tuple[str | None, str]:
    """The text of the answer, or None and the reason why there is none. The time is linear in the response's length.

    What precedes ``</think>`` is never looked at; a response with neither tag has no thinking. In the rest, a block is
    what stands between ``` fences; one that is never closed was cut off, and is no answer.
    """
    _, rest = split(response)
    if rest is None and THINK in response:
        return None, "unfinished thinking"
    rest = response if rest is None else rest
    if END_THINK in rest or THINK in rest:
        return None, "several thoughts"
    if rest.count(ANSWER) > 1 or rest.count(END_ANSWER) > 1:
        return None, "several answers"
    _, opened, inside = rest.partition(ANSWER)
    if opened:
        inside, closed, _ = inside.partition(END_ANSWER)
        if not closed:
            return None, "unfinished answer"
    blocks, unfinished = _blocks(inside if opened else rest)
    if unfinished:
        return None, "unfinished block"
    codes = [code for language, code in blocks if language in _PYTHON]
    codes = codes or [code for language, code in blocks if not language]
    text = codes[-1] if codes else inside.strip("\r\n") if opened and not blocks else ""
    return (text, "") if text.strip() else (None, "no code")


def _blocks(text: str) -> tuple[list[tuple[str, str]], bool]:
    """The fenced blocks, as (language, code), and whether one is left open."""
    blocks: list[tuple[str, str]] = []
    opened: re.Match[str] | None = None
    for fence in _FENCE.finditer(text):
        begins_line = fence.start() == 0 or text[fence.start() - 1] == "\n"
        language = fence["language"].lower()
        if opened is None:
            # Words may precede it, "Here it is: ```python", but then it has to be clear that it opens a block.
            opened = fence if begins_line or language in _PYTHON else None
        elif begins_line and not language and len(fence["ticks"]) >= len(opened["ticks"]):
            code = text[opened.end() + 1 : fence.start()]
            # A block in a list is indented as a whole.
            blocks.append((opened["language"].lower(), dedent(code) if opened[0][:1].isspace() else code))
            opened = None
    return blocks, opened is not None
