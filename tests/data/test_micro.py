from __future__ import annotations

import re
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reckon.data.micro import MicroText, Texts, build_tokenizer, text_at
from reckon.models.template import TEMPLATES
from reckon.tasks.countdown import is_heldout

MIX = MicroText()
TEXTS = [text_at(MIX, 0, index) for index in range(3000)]
TOKENIZER = build_tokenizer()
STEP = re.compile(r"(\d+) ([-+*/]) (\d+) = (\d+)")


def test_every_sum_in_the_corpus_is_right() -> None:
    steps = [step for text in TEXTS for step in STEP.findall(text)]
    assert len(steps) > 10_000
    for a, sign, b, c in steps:
        left, right = Fraction(a), Fraction(b)
        value = {"+": left + right, "-": left - right, "*": left * right, "/": left / right if right else None}[sign]
        assert value == int(c)
        assert 0 <= int(c) <= MIX.max_value


def test_no_held_out_problem_is_in_the_corpus() -> None:
    found = [re.search(r"Make (\d+) from ([\d, ]+)\.", text) for text in TEXTS]
    problems = [([int(n) for n in match[2].split(",")], int(match[1])) for match in found if match]
    assert len(problems) > 2000
    assert not any(is_heldout(nums, target) for nums, target in problems)


def test_the_mixture_is_as_described() -> None:
    problems = [text for text in TEXTS if text.startswith("User:")]

    def share(words: str) -> float:
        return sum(bool(re.search(words, text)) for text in problems) / len(problems)

    assert len(problems) / len(TEXTS) == pytest.approx(1 - MIX.drill, abs=0.03)
    assert share("</think> <answer>") == pytest.approx(MIX.tagged, abs=0.04)
    assert share("[一-鿿]") > 0.2
    assert share("wait|hmm|let me try|try again|等等|试试") > 0.1
    assert share("check:|检查") > 0.03


def test_text_is_a_function_of_its_number() -> None:
    assert [text_at(MIX, 0, index) for index in (5, 3)] == [TEXTS[5], TEXTS[3]]
    assert text_at(MIX, 1, 5) != TEXTS[5]


def test_the_tokenizer_keeps_numbers_and_words_whole() -> None:
    tokens = TOKENIZER.convert_ids_to_tokens(
        TOKENIZER(TEMPLATES["micro"].format(question="Make 24 from 3, 8, 12."))["input_ids"]
    )
    assert tokens == ["User:", " Make", " 24", " from", " 3", ",", " 8", ",", " 12", ".", "\nAssistant:"]
    assert all(TOKENIZER.decode(TOKENIZER(text)["input_ids"]) == text for text in TEXTS[:300])


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_the_tokenizer_encodes_any_text(text: str) -> None:
    import unicodedata

    text = unicodedata.normalize("NFC", text)
    assert TOKENIZER.decode(TOKENIZER(text)["input_ids"]) == text


def test_texts_are_rollouts_whose_every_token_but_the_first_is_learned() -> None:
    first, *_ = Texts(MIX, TOKENIZER, 4, 0).collect(1, lambda: None).rollouts
    assert len(first.prompt_ids) == 1
    assert TOKENIZER.decode(first.prompt_ids + first.response_ids[:-1]) == TEXTS[0]
    assert first.response_ids[-1] == TOKENIZER.eos_token_id
