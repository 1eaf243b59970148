import itertools
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reckon.core.records import Verdict
from reckon.rewards.rules import (
    accuracy,
    format_reward,
    in_script,
    language,
    repeated_tokens,
    repetition,
    script_words,
    tag_reward,
    target_script,
    words,
)

GOOD = " <think> 8 - 1 = 7, no. </think> <answer> 8 * 3 </answer>\n"


def test_accuracy_is_the_verdicts_score_and_absent_stays_absent() -> None:
    assert accuracy(Verdict(1.0)) == 1.0
    assert accuracy(Verdict(0.0)) == 0.0
    assert accuracy(Verdict(None, "timeout")) is None
    assert accuracy(None) is None


def test_the_strict_form_scores_with_and_without_an_opened_prompt() -> None:
    assert format_reward(False, GOOD) == 1.0
    assert format_reward(True, GOOD.replace("<think>", "")) == 1.0
    assert format_reward(True, GOOD) == 0.0
    assert format_reward(False, GOOD.replace("<think>", "")) == 0.0
    assert format_reward(False, "<think>a</think><answer>b</answer>") == 1.0


@pytest.mark.parametrize(
    "response",
    [
        "",
        "<think> a </think>",
        "<answer> b </answer>",
        "<think> a </think> <answer> b",
        "<think> </think> <answer> b </answer>",
        "<think> a </think> <answer> </answer>",
        "junk <think> a </think> <answer> b </answer>",
        "<think> a </think> junk <answer> b </answer>",
        "<think> a </think> <answer> b </answer> junk",
        "<think> a </think> <answer> b </answer>\njunk",
        "<think> a </think> <answer> b </answer> <answer> b </answer>",
        "<think> a </think> <think> a </think> <answer> b </answer>",
        "<think> a <think> a </think> </think> <answer> b </answer>",
        "<think> a <answer> b </answer> </think>",
        "<think> a <answer> </think> b </answer>",
        "<think> a </answer> </think> <answer> b",
        "<answer> b </answer> <think> a </think>",
        "</think> a <think> <answer> b </answer>",
        "<Think> a </Think> <Answer> b </Answer>",
    ],
)
def test_any_other_form_scores_nothing(response: str) -> None:
    assert format_reward(False, response) == 0.0


@pytest.mark.parametrize("blank", ["\u200b", "\u2800", "\u3164", "\ufeff", "\u00a0", "\u0301", "\x00", "\u00ad\u2060"])
def test_what_cannot_be_seen_is_blank(blank: str) -> None:
    assert format_reward(False, f"<think>{blank}</think><answer>b</answer>") == 0.0
    assert format_reward(False, f"<think>a</think><answer>{blank}</answer>") == 0.0
    assert format_reward(False, f"<think>{blank}a</think><answer>b{blank}</answer>") == 1.0


@pytest.mark.parametrize("text", ["-", "½", "对", "π", "☺", "é", "€"])
def test_letters_numbers_and_signs_are_text(text: str) -> None:
    assert format_reward(False, f"<think>{text}</think><answer>{text}</answer>") == 1.0


@pytest.mark.parametrize(
    ("response", "score"),
    [
        ("<think> a </think> so b. <answer> b </answer>", 1.0),
        ("<think> a </think> <answer> b </answer>", 1.0),
        ("so <think> a </think> <answer> b </answer>", 0.0),
        ("<think> a </think> so b. <answer> b </answer> so", 0.0),
        ("<think> a </think> so <think> b. <answer> b </answer>", 0.0),
        ("<think> a </think> so </answer> b. <answer> b", 0.0),
        ("<think> </think> so b. <answer> b </answer>", 0.0),
        ("<think> a </think> so b. <answer> </answer>", 0.0),
        ("<think> a </think> so b.", 0.0),
    ],
)
def test_a_summary_may_stand_between_thinking_and_answer_where_that_is_allowed(response: str, score: float) -> None:
    assert format_reward(False, response, summary=True) == score


@pytest.mark.parametrize(
    ("opened", "response", "share"),
    [
        (False, GOOD, 1.0),
        (False, "", 0.0),
        (True, "", 0.25),
        (True, GOOD, 0.75),
        (True, "a </think> <answer> b </answer>", 1.0),
        (False, "<think> a </think>", 0.5),
        (False, "<think> a </think> <think> b </think> <answer> c </answer>", 0.5),
        (False, "</answer> <answer> </think> <think>", 1.0),
    ],
)
def test_tags_are_counted_wherever_they_stand(opened: bool, response: str, share: float) -> None:
    assert tag_reward(opened, response) == share


TAGS = ["<think>", "</think>", "<answer>", "</answer>"]


@given(st.lists(st.sampled_from([*TAGS, "a", " "]), max_size=9), st.booleans())
@settings(deadline=None)
def test_form_means_the_four_tags_in_order_and_two_parts_with_text(pieces: list[str], opened: bool) -> None:
    whole = ["<think>", *pieces] if opened else pieces
    solid = [piece for piece in whole if piece != " "]
    runs = [piece for piece, _ in itertools.groupby(solid)]
    once = all(solid.count(tag) == 1 for tag in TAGS)
    expected = once and runs == ["<think>", "a", "</think>", "<answer>", "a", "</answer>"]
    assert format_reward(opened, "".join(pieces)) == float(expected)


@pytest.mark.parametrize(
    ("thought", "latin"),
    [
        ("three right words 对", 0.75),
        ("we try again", 1.0),
        ("不对 等等", 0.0),
        ("", 0.0),
        ("8 * 3 = 24", 0.0),
        ("don't stop", 1.0),
        ("да yes", 0.5),
        ("naïve façade", 1.0),
        ("はい yes", 0.5),
        ("so x + y = 3 对", 0.5),
        ("yes ```python\nprint('no no no')\n``` 对", 0.5),
        ("yes ```对对对 no fence", 0.5),
        ("yes $\\alpha + beta gamma$ 对", 0.5),
        ("yes $$beta gamma$$ \\(beta\\) \\[ beta \\] \\frac12 对", 0.5),
        ("costs $5 and $6 对对", 0.5),
        ("yes <b> 对 </b>", 0.5),
        ("yes \\( 对 unclosed", 2 / 3),
    ],
)
def test_language_is_the_share_of_words_in_the_thinking(thought: str, latin: float) -> None:
    response = f"<think>{thought}</think> <answer> 完全不同的文字 </answer>"
    assert language(response, "latin") == pytest.approx(latin)


def test_han_counts_characters() -> None:
    assert language("<think>不对，等等 yes</think>", "han") == pytest.approx(4 / 5)
    assert language("<think>设 x 为 5</think>", "han") == 1.0
    assert language("不对 thinking that never ends", "han") == pytest.approx(2 / 6)


@given(st.text())
@settings(deadline=None)
def test_language_is_a_share_and_scripts_do_not_overlap(text: str) -> None:
    shares = language(text, "latin"), language(text, "han")
    assert all(0 <= share <= 1 for share in shares)
    assert sum(shares) <= 1 + 1e-12


def test_words_by_script() -> None:
    assert script_words("<think>yes 对 да x 3 + 4</think> no") == {"latin": 1, "han": 1, "cyrillic": 1}
    assert script_words("<think> 8 * 3 = 24 </think>") == {}


@pytest.mark.parametrize(
    ("text", "script", "count"),
    [
        ("сколько будет x, если y = 3", "cyrillic", 3),
        ("ёлка й", "cyrillic", 2),
        ("هذه مَدْرَسَة", "arabic", 2),
        ("٣ + ٤", "arabic", 0),
        ("हिन्दी में", "devanagari", 2),
        ("१२", "devanagari", 0),
        ("コーヒー を", "kana", 2),
        ("안녕 하세요", "hangul", 2),
        ("αβγ δ", "other", 2),
    ],
)
def test_words_of_other_scripts(text: str, script: str, count: int) -> None:
    code = "`" * 3
    assert script_words(f"<think> {text} $слово$ {code}код कोड 코드{code} 42 </think>") == (
        {script: count} if count else {}
    )


def test_japanese_is_written_in_han_too() -> None:
    response = "<think> 東京です yes </think>"
    assert script_words(response) == {"han": 2, "kana": 1, "latin": 1}
    assert language(response, "kana") == 3 / 4
    assert language(response, "han") == 2 / 4
    assert in_script(script_words(response), "latin") == 1


@pytest.mark.parametrize(
    ("question", "script"),
    [
        ("Make 24 from 3, 8, 1.", "latin"),
        ("向 Anna 问好。", "han"),
        ("Answer in Chinese: say hello to Anna.", "han"),
        ("answer in english, please: 你好", "latin"),
        ("请用英文回答： 向 Anna 问好。", "latin"),
        ("请用中文回答: say hello", "han"),
        ("Translate: he answered in Chinese.", "latin"),
        ("Translate into French: he left.", "latin"),
        ("Answer in French: bonjour", "latin"),
        ("Answer in Russian: how are you?", "cyrillic"),
        ("Привет тебе, Anna!", "cyrillic"),
        ("Solve x + y = 3", "latin"),
        ("東京の天気は？", "kana"),
        ("서울 날씨", "hangul"),
        ("كم عدد هذه الكتب؟", "arabic"),
        ("यह क्या है", "devanagari"),
        ("1 + 1", "latin"),
        ("", "latin"),
    ],
)
def test_the_script_that_a_question_asks_for(question: str, script: str) -> None:
    assert target_script(question) == script


@given(st.text(alphabet="ab 对中yes", max_size=30), st.text(alphabet="abc 不 \n", max_size=20))
@settings(deadline=None)
def test_a_code_fence_changes_nothing(text: str, code: str) -> None:
    assert language(f"{text}\n```{code}```\n", "latin") == language(f"{text}\n\n", "latin")


@pytest.mark.parametrize("piece", ["a", "$a", "$$a", "\\(", "\\(a", "\\[", "```", "<", "</a", "\\", "'a", "对"])
def test_a_million_characters_take_linear_time(piece: str) -> None:
    text = piece * (1_000_000 // len(piece))
    start = time.process_time()
    language(text, "latin")
    format_reward(False, text)
    assert time.process_time() - start < 3


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Make 24 from 3, 8, 1.", ["make", "24", "from", "3", "8", "1"]),
        ("( 8 / 1.5 )*x_1", ["(", "8", "/", "1.5", ")", "*", "x", "_", "1"]),
        ("Don't STOP!", ["don't", "stop"]),
        ("Ａ１，不对。", ["a", "1", "不", "对"]),
        (" .,;:!?、。 ", []),
    ],
)
def test_what_a_text_is_made_of(text: str, found: list[str]) -> None:
    assert words(text) == found


@pytest.mark.parametrize(
    ("text", "n", "share"),
    [
        ("5 5 5 5 5", 2, 3 / 4),
        ("a b a b", 2, 1 / 3),
        ("a b a b", 3, 0.0),
        ("A b, a B.", 2, 1 / 3),
        ("对 对对", 1, 2 / 3),
        ("a b", 3, 0.0),
        ("", 1, 0.0),
        ("<think> a b a b </think> <answer> c c c c </answer>", 2, 2 / 3),
        ("<think> a b a b </think> <answer> a b </answer>", 2, 1 / 3),
        ("<think> a b </think> a b <answer> a b </answer>", 2, 1 / 3),
        ("<think> a b </think> a b <answer> a </answer>", 2, 0.0),
    ],
)
def test_repetition_is_one_less_the_share_of_different_ngrams(text: str, n: int, share: float) -> None:
    assert repetition(text, n) == pytest.approx(share)


@given(st.text(alphabet="ab 对1<think>/"), st.integers(1, 4))
@settings(deadline=None)
def test_repetition_is_a_share_that_saying_all_again_raises(text: str, n: int) -> None:
    share = repetition(text, n)
    assert 0 <= share < 1
    if "</think>" not in text and len(words(text)) >= n and "<" not in text:
        assert repetition(f"{text} {text} {text} {text}", n) > share


@pytest.mark.parametrize("piece", ["a", "a ", "对", "'a", "1.", "<", "a\u0315\u0300", "（"])
def test_words_take_linear_time(piece: str) -> None:
    text = piece * (300_000 // len(piece))
    start = time.process_time()
    repetition(text, 10)
    assert time.process_time() - start < 3


@pytest.mark.parametrize(
    ("ids", "n", "again"),
    [
        ([5, 5, 5, 5, 5], 2, [0, 1, 1, 1, 1]),
        ([1, 2, 3, 1, 2, 3], 3, [0, 0, 0, 1, 1, 1]),
        ([1, 2, 3, 1, 2], 2, [0, 0, 0, 1, 1]),
        ([1, 2, 1, 2, 1, 2], 2, [0, 0, 1, 1, 1, 1]),
        ([1, 2, 1, 3, 1], 1, [0, 0, 1, 0, 1]),
        ([1, 2], 3, [0, 0]),
        ([], 1, []),
    ],
)
def test_tokens_that_say_again_what_was_said(ids: list[int], n: int, again: list[int]) -> None:
    assert repeated_tokens(ids, n) == [bool(flag) for flag in again]


@given(st.lists(st.integers(0, 2), max_size=30), st.integers(1, 5))
@settings(deadline=None)
def test_a_token_repeats_if_an_ngram_over_it_began_earlier_too(ids: list[int], n: int) -> None:
    grams = [ids[start : start + n] for start in range(len(ids) - n + 1)]
    expected = [
        any(grams[start] in grams[:start] for start in range(max(0, place - n + 1), min(place + 1, len(grams))))
        for place in range(len(ids))
    ]
    assert repeated_tokens(ids, n) == expected


def test_repeated_tokens_take_linear_time() -> None:
    start = time.process_time()
    assert sum(repeated_tokens([7] * 60_000, 40)) == 60_000 - 1
    assert time.process_time() - start < 3
