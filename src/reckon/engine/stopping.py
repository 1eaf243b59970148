"""Where a response ends: stop ids and stop strings, whatever way the tokenizer cuts the text."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from transformers import PreTrainedTokenizerBase

from reckon.engine.base import Sampling

_PARTIAL = "\N{REPLACEMENT CHARACTER}"


class StopMatcher:
    """Tells whether a response's newest token ends it.

    Decoding text at every token of every row would cost more than a small model's forward, so :meth:`watch` gives
    the few token ids that can end a response at all, and :meth:`ends` is asked about those alone.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._watched: dict[tuple[tuple[str, ...], tuple[int, ...]], frozenset[int]] = {}

    def watch(self, sampling: Sampling) -> frozenset[int]:
        """The stop ids, and every token that may bring the last character of a stop string."""
        key = (sampling.stop, sampling.stop_ids)
        if key not in self._watched:
            # A token with part of a character (byte-level tokenizers) may complete any.
            wanted = {stop[-1] for stop in sampling.stop} | {_PARTIAL}
            texts = self._texts if sampling.stop else {}
            enders = (id_ for id_, text in texts.items() if not wanted.isdisjoint(text))
            self._watched[key] = frozenset(sampling.stop_ids).union(enders)
        return self._watched[key]

    def ends(self, sampling: Sampling, token_ids: Sequence[int]) -> bool:
        """Whether the last of ``token_ids``, a watched one, ends the response; the tokens before it did not."""
        if token_ids[-1] in sampling.stop_ids:
            return True
        if not sampling.stop:
            return False
        # A character takes at most four tokens (the bytes of UTF-8), so this tail holds any stop string whole.
        tail = self._decode(token_ids[-4 * max(map(len, sampling.stop)) - 4 :])
        return any(stop in tail for stop in sampling.stop)

    @cached_property
    def _texts(self) -> dict[int, str]:
        """What each token adds to a text. Decoded after another token: some tokenizers drop a leading space."""
        before = self._tokenizer.encode("a", add_special_tokens=False)
        prefix = self._decode(before)
        return {
            id_: self._decode([*before, id_]).removeprefix(prefix) for id_ in set(self._tokenizer.get_vocab().values())
        }

    def _decode(self, token_ids: Sequence[int]) -> str:
        text = self._tokenizer.decode(list(token_ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)
        assert isinstance(text, str)
        return text
