"""A response as it comes: tokens to text, and thinking apart from the answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from reckon.models.template import response_text
from reckon.tasks.answer import END_THINK, THINK

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Decode = Callable[[list[int]], str]
State = Literal["undecided", "thinking", "answer"]

_PARTIAL = "\N{REPLACEMENT CHARACTER}"

_LONGEST = 4
"""Bytes, and so at most tokens, of one character in UTF-8."""


class TextStream:
    """Text from tokens, as soon as it cannot change any more.

    A character may need several tokens, and a token's text may depend on the one before it. So the newest tokens
    are decoded together with those of the piece before, which bounds the cost for each.
    """

    def __init__(self, decode: Decode) -> None:
        self._decode = decode
        self._before: list[int] = []
        self._new: list[int] = []

    def feed(self, tokens: Sequence[int]) -> str:
        self._new += tokens
        text = self.rest()
        held = 0
        while text.endswith(_PARTIAL) and held < min(_LONGEST - 1, len(self._new)):
            # The end of it may be the beginning of a character.
            held += 1
            text = self._text(self._new[:-held])
        if text.endswith(_PARTIAL):
            if len(self._new) < _LONGEST:
                return ""
            # No character is that long: these bytes are none.
            text, held = self.rest(), 0
        if not text:
            return ""
        clear = len(self._new) - held
        self._before, self._new = self._new[:clear], self._new[clear:]
        return text

    def rest(self) -> str:
        """The text of the tokens that :meth:`feed` has kept back."""
        return self._text(self._new)

    def drop(self) -> None:
        """Forget those, and what came before them."""
        self._before, self._new = [], []

    def _text(self, new: list[int]) -> str:
        return self._decode(self._before + new)[len(self._decode(self._before)) :]


class ThoughtStream:
    """Cuts a stream of text into (is it thinking, piece); the tags belong to the thinking.

    What may be the beginning of a tag is kept back until it is clear.
    """

    def __init__(self, thinking: bool) -> None:
        self.thinking = thinking
        self._kept = ""

    def feed(self, text: str) -> list[tuple[bool, str]]:
        self._kept += text
        pieces = []
        while (tag := END_THINK if self.thinking else THINK) in self._kept:
            before, _, self._kept = self._kept.partition(tag)
            pieces += [(True, before + tag)] if self.thinking else [(False, before), (True, tag)]
            self.thinking = not self.thinking
        keep = _overlap(self._kept, tag)
        clear = self._kept[: len(self._kept) - keep]
        self._kept = self._kept[len(clear) :]
        return [piece for piece in [*pieces, (self.thinking, clear)] if piece[1]]

    def rest(self) -> list[tuple[bool, str]]:
        """What :meth:`feed` has kept back."""
        return [(self.thinking, self._kept)] if self._kept else []


@dataclass(frozen=True, slots=True)
class Tags:
    """How a tokenizer writes ``<think>`` and ``</think>``.

    Attributes:
        open_ids, close_ids: the tokens that are such a tag; empty where the tags are ordinary text.
        opening, closing: the tokens that write one.
    """

    open_ids: frozenset[int]
    close_ids: frozenset[int]
    opening: tuple[int, ...]
    closing: tuple[int, ...]

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase) -> Tags:
        (open_ids, opening), (close_ids, closing) = _written(tokenizer, THINK), _written(tokenizer, END_THINK)
        whole = bool(open_ids and close_ids)
        none: frozenset[int] = frozenset()
        return cls(open_ids if whole else none, close_ids if whole else none, opening, closing)


def _written(tokenizer: PreTrainedTokenizerBase, tag: str) -> tuple[frozenset[int], tuple[int, ...]]:
    """The tokens that are this tag, whatever space is around it; and the fewest tokens that write it."""
    ways = [tuple(tokenizer.encode(space + tag, add_special_tokens=False)) for space in ("", " ", "\n")]
    whole = [way for way in ways if len(way) == 1 and tokenizer.decode(list(way)).strip() == tag]
    return frozenset(way[0] for way in whole), min(ways, key=len)


class Splitter:
    """Tells thinking from the answer, and drops the tags between them and the space around both.

    A response is thinking from the start if its prompt says so, or if it begins with ``<think>``; the first
    ``</think>`` ends it for good: later tags are part of the answer. Where the tokenizer has tokens for the tags, only
    these count, so that a model can write about tags; elsewhere text that may become a tag is kept back until it is
    clear.

    Attributes:
        state: undecided until the response has begun.
        thought: tokens that went into thinking, tags included.
    """

    def __init__(self, tags: Tags, decode: Decode, state: State) -> None:
        self.state: State = state
        self.thought = 0
        self._tags, self._text = tags, TextStream(decode)
        self._cutter = Cutter(state, whole=bool(tags.close_ids))
        self._unsure = 0

    def feed(self, tokens: Sequence[int]) -> tuple[str, str]:
        """The thinking and the answer that these tokens bring."""
        pieces: list[tuple[bool, str]] = []
        for part in self._parts(tokens):
            was = self._cutter.state
            if part[0] in self._marks(was):
                pieces += self._cutter.feed(self._text.rest())
                self._text.drop()
                pieces += self._cutter.turn()
            else:
                pieces += self._cutter.feed(self._text.feed(part))
            self._count(was, len(part))
        return _joined(pieces)

    def rest(self) -> tuple[str, str]:
        """What was kept back, at the end of the response."""
        return _joined([*self._cutter.feed(self._text.rest()), *self._cutter.rest()])

    def _marks(self, state: State) -> frozenset[int]:
        """The tokens that end this state."""
        by_state = {"undecided": self._tags.open_ids, "thinking": self._tags.close_ids}
        return by_state.get(state, frozenset())

    def _parts(self, tokens: Sequence[int]) -> Iterator[Sequence[int]]:
        """Cut around tags that are tokens; where they are text, any token may bring the end of one."""
        marks, start = self._tags.open_ids | self._tags.close_ids, 0
        for place, token in enumerate(tokens):
            if token in marks or not marks:
                if start < place:
                    yield tokens[start:place]
                yield tokens[place : place + 1]
                start = place + 1
        if start < len(tokens):
            yield tokens[start:]

    def _count(self, was: State, tokens: int) -> None:
        self.state = self._cutter.state
        if self.state == "undecided":
            self._unsure += tokens
        elif "thinking" in (was, self.state):
            self.thought += tokens + self._unsure
            self._unsure = 0


class Cutter:
    """The same for text that has been cut anywhere: (is it thinking, piece), as soon as each is clear.

    Args:
        whole: the caller finds the tags, and says so with :meth:`turn`; those in the text mean nothing.
    """

    def __init__(self, state: State, whole: bool = False) -> None:
        self.state: State = state
        self._whole = whole
        self._kept = ""
        self._begun = False

    def feed(self, text: str) -> list[tuple[bool, str]]:
        self._kept += text
        pieces: list[tuple[bool, str]] = []
        if self.state == "undecided":
            self._decide()
        if self.state == "thinking":
            thought, closed, rest = ("", "", "") if self._whole else self._kept.partition(END_THINK)
            if closed:
                self._kept = thought
                pieces += self.turn()
                self._kept = rest
            else:
                # Space is kept back too: it is dropped if the thinking ends after it.
                tail = 0 if self._whole else _overlap(self._kept, END_THINK)
                pieces += self._told(len(self._kept[: len(self._kept) - tail].rstrip()))
        if self.state == "answer":
            pieces += self._told(len(self._kept))
        return pieces

    def turn(self) -> list[tuple[bool, str]]:
        """A tag stands here: thinking begins, or ends."""
        pieces = self._told(len(self._kept.rstrip())) if self.state == "thinking" else []
        self.state = "thinking" if self.state == "undecided" else "answer"
        self._kept, self._begun = "", False
        return pieces

    def rest(self) -> list[tuple[bool, str]]:
        """What was kept back, at the end."""
        return self._told(len(self._kept.rstrip() if self.state == "thinking" else self._kept))

    def _decide(self) -> None:
        begun = self._kept.lstrip()
        if not self._whole and begun.startswith(THINK):
            self.turn()
            self._kept = begun.removeprefix(THINK)
        elif begun and (self._whole or not THINK.startswith(begun)):
            self.state = "answer"

    def _told(self, length: int) -> list[tuple[bool, str]]:
        """The first ``length`` characters of what was kept, without the space before the first word."""
        clear, self._kept = self._kept[:length], self._kept[length:]
        if not self._begun:
            clear = clear.lstrip()
        if not clear:
            return []
        self._begun = True
        return [(self.state == "thinking", clear)]


def _overlap(text: str, tag: str) -> int:
    """How much of the end of a text may be the beginning of a tag."""
    return next(n for n in range(min(len(tag) - 1, len(text)), -1, -1) if text.endswith(tag[:n]))


def _joined(pieces: list[tuple[bool, str]]) -> tuple[str, str]:
    thinking = "".join(text for is_thinking, text in pieces if is_thinking)
    return thinking, "".join(text for is_thinking, text in pieces if not is_thinking)


class StopText:
    """Ends a text before the first of some strings; what may be the beginning of one is kept back.

    Attributes:
        stopped: one of them has come.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self.stopped = False
        self._stops = stops
        self._kept = ""

    def feed(self, text: str) -> str:
        if self.stopped:
            return ""
        self._kept += text
        found = [place for place in map(self._kept.find, self._stops) if place >= 0]
        if found:
            self.stopped = True
            return self._kept[: min(found)]
        keep = max((_overlap(self._kept, stop) for stop in self._stops), default=0)
        clear = self._kept[: len(self._kept) - keep]
        self._kept = self._kept[len(clear) :]
        return clear

    def rest(self) -> str:
        return "" if self.stopped else self._kept


def decoder(tokenizer: PreTrainedTokenizerBase) -> Decode:
    """Tokens to text, special tokens left out."""
    return lambda tokens: response_text(tokens, tokenizer)
