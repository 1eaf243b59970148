"""What of a response is judged: the text after the thinking."""

from __future__ import annotations

import re

from reckon.tasks.answer import END_THINK, THINK

SEAM = "\x1e"
"""Stands where a finished thought was taken out, so that answers on both sides of it are not read as one."""

_END_OF_TEXT = re.compile(r"<[|｜][^<>|｜\n]{1,40}[|｜]>|</s>|<eos>")


def after_thinking(response: str) -> tuple[str, bool]:
    """The text to be judged, and whether thinking that never ended was cut off it.

    Finished ``<think>...</think>`` blocks are removed. A ``</think>`` that remains (the prompt had opened the block)
    ends the thinking, the last of them; a ``<think>`` that remains begins thinking that never ended. Without tags, all
    of the response is judged. Linear in the response's length.
    """
    response = _END_OF_TEXT.sub("\n", response.replace(SEAM, " "))
    kept, position = [], 0
    while (start := response.find(THINK, position)) >= 0 and (end := response.find(END_THINK, start)) >= 0:
        kept.append(response[position:start])
        position = end + len(END_THINK)
    text = SEAM.join([*kept, response[position:]])
    text = text.rpartition(END_THINK)[2]
    text, unfinished, _ = text.partition(THINK)
    return text, bool(unfinished)
