from __future__ import annotations

from transformers import PreTrainedTokenizerFast

from reckon.engine.base import Sampling
from reckon.engine.stopping import StopMatcher


def test_only_tokens_that_can_end_a_response_are_watched(tokenizer: PreTrainedTokenizerFast) -> None:
    watched = StopMatcher(tokenizer).watch(Sampling(1, stop=("</think>",), stop_ids=(7,)))
    assert 7 in watched
    assert tokenizer.encode("think>")[-1] in watched
    assert tokenizer.encode("a")[-1] not in watched


def test_without_stop_strings_only_the_stop_ids_are_watched(tokenizer: PreTrainedTokenizerFast) -> None:
    assert StopMatcher(tokenizer).watch(Sampling(1, stop_ids=(7, 9))) == {7, 9}


def test_a_watched_token_ends_only_what_it_completes(tokenizer: PreTrainedTokenizerFast) -> None:
    stops, sampling = StopMatcher(tokenizer), Sampling(1, stop=("等等", "no."), stop_ids=(7,))
    for text, ended in [("等", False), ("等 等", False), ("wait 等等", True), ("so.", False), ("say no.", True)]:
        assert stops.ends(sampling, tokenizer.encode(text)) == ended, text
    assert stops.ends(sampling, [5, 7])
    assert not stops.ends(sampling, [7, 5])
