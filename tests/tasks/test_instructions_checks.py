"""Each published instruction, and what other checkers of it get wrong."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reckon.tasks.instructions.checks import INSTRUCTIONS, read_instruction
from reckon.tasks.instructions.text import capital_words, is_in, paragraphs, sentences, words

PARAMETERS: dict[str, dict[str, Any]] = {
    "keywords:existence": {"keywords": ["rain", "(roof"]},
    "keywords:frequency": {"keyword": "rain", "frequency": 2, "relation": "at least"},
    "keywords:forbidden_words": {"forbidden_words": ["rain", "c++"]},
    "keywords:letter_frequency": {"letter": "#", "let_frequency": 2, "let_relation": "less than"},
    "language:response_language": {"language": "de"},
    "length_constraints:number_sentences": {"num_sentences": 2, "relation": "at least"},
    "length_constraints:number_paragraphs": {"num_paragraphs": 2},
    "length_constraints:number_words": {"num_words": 4, "relation": "less than"},
    "length_constraints:nth_paragraph_first_word": {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "rain"},
    "detectable_content:number_placeholders": {"num_placeholders": 2},
    "detectable_content:postscript": {"postscript_marker": "P.S."},
    "detectable_format:number_bullet_lists": {"num_bullets": 2},
    "detectable_format:constrained_response": {},
    "detectable_format:number_highlighted_sections": {"num_highlights": 2},
    "detectable_format:multiple_sections": {"section_spliter": "SECTION", "num_sections": 2},
    "detectable_format:json_format": {},
    "detectable_format:title": {},
    "combination:two_responses": {},
    "combination:repeat_prompt": {"prompt_to_repeat": "Write about rain."},
    "startend:end_checker": {"end_phrase": "Any other questions?"},
    "startend:quotation": {},
    "change_case:capital_word_frequency": {"capital_frequency": 2, "capital_relation": "at least"},
    "change_case:english_capital": {},
    "change_case:english_lowercase": {},
    "punctuation:no_comma": {},
}

FOLLOWED = [
    ("keywords:existence", "It rained through the (roof."),
    ("keywords:frequency", "RAIN and rainbows"),
    ("keywords:forbidden_words", "It trained us in C."),
    ("keywords:letter_frequency", "#one"),
    ("language:response_language", "Heute ist das Wetter leider sehr schlecht."),
    ("length_constraints:number_sentences", "One. Two!"),
    ("length_constraints:number_paragraphs", "one\n***\ntwo\n***"),
    ("length_constraints:number_words", "one two three."),
    ("length_constraints:nth_paragraph_first_word", "one\n\n\n\n**Rain**, two"),
    ("detectable_content:number_placeholders", "[name] and [date]"),
    ("detectable_content:postscript", "Bye.\np. s. rain"),
    ("detectable_format:number_bullet_lists", "List:\n* one\n  - two\n**bold** line\n---\n*cursive* line"),
    ("detectable_format:constrained_response", "Well. My answer is no."),
    ("detectable_format:number_highlighted_sections", "*one* and **two**"),
    ("detectable_format:multiple_sections", "SECTION 1\na\nSECTION 2\nb"),
    ("detectable_format:json_format", '```json\n{"a": [1]}\n```'),
    ("detectable_format:title", "<<rain>>\nIt falls."),
    ("combination:two_responses", "one\n******\ntwo"),
    ("combination:repeat_prompt", "Write about rain. It falls."),
    ("startend:end_checker", '"Rain. Any other questions?"'),
    ("startend:quotation", ' "rain" '),
    ("change_case:capital_word_frequency", "NASA sent a T-SHIRT up."),
    ("change_case:english_capital", "THE RAIN FALLS ON THE ROOF OF THE HOUSE."),
    ("change_case:english_lowercase", "the rain falls on the roof of the house."),
    ("punctuation:no_comma", "rain; roof"),
]
NOT_FOLLOWED = [
    ("keywords:existence", "It rained through the roof."),
    ("keywords:frequency", "Rain once."),
    ("keywords:forbidden_words", "The rain falls."),
    ("keywords:forbidden_words", "I like C++."),
    ("keywords:letter_frequency", "#one #two"),
    ("language:response_language", "The weather is really very bad today."),
    ("language:response_language", "1, 2, 3..."),
    ("language:response_language", "Погода сегодня плохая"),
    ("length_constraints:number_sentences", "One, i.e. the first, as Dr. No says"),
    ("length_constraints:number_paragraphs", "one\n***\n\n***\ntwo"),
    ("length_constraints:number_paragraphs", "one\n\ntwo"),
    ("length_constraints:number_words", "one two three four."),
    ("length_constraints:nth_paragraph_first_word", "rain\n\none"),
    ("length_constraints:nth_paragraph_first_word", "one\n\nrainy two"),
    ("length_constraints:nth_paragraph_first_word", "one\n\nrain\n\ntwo"),
    ("detectable_content:number_placeholders", "[] [name] [\n]"),
    ("detectable_content:postscript", "Bye.\nP.P.S. rain"),
    ("detectable_content:postscript", "The U.P.S. van"),
    ("detectable_format:number_bullet_lists", "* one"),
    ("detectable_format:number_bullet_lists", "* one\n* two\n* three"),
    ("detectable_format:constrained_response", "yes"),
    ("detectable_format:constrained_response", "My answer is yes. My answer is no. My answer is maybe."),
    ("detectable_format:number_highlighted_sections", "**one** ** ** and * two *"),
    ("detectable_format:multiple_sections", "Section 1\na\nSection 2\nb"),
    ("detectable_format:json_format", "12"),
    ("detectable_format:json_format", 'Here: {"a": 1}'),
    ("detectable_format:json_format", "[" * 50_000 + "]" * 50_000),
    ("detectable_format:title", "<< >> <<\nrain>>"),
    ("combination:two_responses", "one\n******\none"),
    ("combination:two_responses", "one\n******\ntwo\n******\nthree"),
    ("combination:repeat_prompt", "Write about rain."),
    ("combination:repeat_prompt", "Sure! Write about rain. It falls."),
    ("startend:end_checker", "Any other questions? Ask me."),
    ("startend:quotation", '"rain" falls'),
    ("startend:quotation", '"'),
    ("change_case:capital_word_frequency", "NASA sent a shirt up."),
    ("change_case:english_capital", "THE RAIN falls ON THE ROOF."),
    ("change_case:english_capital", "DAS WETTER IST HEUTE LEIDER SEHR SCHLECHT."),
    ("change_case:english_capital", "1 + 1 = 2"),
    ("change_case:english_lowercase", "the rain falls on the Roof."),
    ("change_case:english_lowercase", "das wetter ist heute leider sehr schlecht."),
    ("punctuation:no_comma", "rain, roof"),
    ("punctuation:no_comma", "雨，屋顶"),
]


def followed(name: str, text: str) -> bool:
    return read_instruction(name, PARAMETERS[name], "here").followed(text)


def test_all_25_published_instructions_are_known() -> None:
    assert {*INSTRUCTIONS} == {*PARAMETERS} == {name for name, _ in FOLLOWED} == {name for name, _ in NOT_FOLLOWED}
    assert len(INSTRUCTIONS) == 25


@pytest.mark.parametrize(("name", "text"), FOLLOWED)
def test_followed(name: str, text: str) -> None:
    assert followed(name, text)


@pytest.mark.parametrize(("name", "text"), NOT_FOLLOWED)
def test_not_followed(name: str, text: str) -> None:
    assert not followed(name, text)


@given(st.text(alphabet=st.sampled_from('aA .,!?*\n"[]<>-1#é雨\ud800'), max_size=60))
@settings(deadline=None, max_examples=60)
def test_no_text_raises(text: str) -> None:
    for name in PARAMETERS:
        assert followed(name, text) in (True, False)


def test_paragraphs_are_counted_and_picked_from_one_list() -> None:
    text = "\n\nfirst\n\n  \n\nrain comes second\n\n"
    assert paragraphs(text) == ["first", "rain comes second"]
    assert followed("length_constraints:nth_paragraph_first_word", text)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("...", 0),
        ("Hello there", 1),
        ("Hello there.", 1),
        ('He said "Go." Then he left.', 2),
        ("Dr. No met Mr. J. Smith at 3.30 p.m. in the U.S. office.", 1),
        ("Use tools, e.g. a hammer. Or none!", 2),
        ("1. Take it.\n2. Leave it.", 2),
        ("What?! No... Yes.", 3),
        ("A heading\n\nA sentence.", 2),
        ("A line\nthat goes on.", 1),
        ("今天下雨。我在家！", 2),
        ("ok. fine. good.", 3),
        ("So do I. You too.", 2),
        ("No. Never.", 2),
    ],
)
def test_sentences(text: str, count: int) -> None:
    assert len(sentences(text)) == count, sentences(text)


@pytest.mark.parametrize(
    ("text", "count"),
    [("", 0), ("The end.", 2), ("don't", 2), ("a-b c_d 3.5", 5), ("- * # !", 0), ("今天rain下", 4), ("日本語 です", 5)],
)
def test_words(text: str, count: int) -> None:
    assert len(words(text)) == count


def test_capital_words() -> None:
    assert capital_words("I saw THE T-SHIRT of the U.S. team, no COVID-19. DON'T!") == 6


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "It was a long and rainy day in the old town."),
        ("en", "IT WAS A LONG AND RAINY DAY IN THE OLD TOWN."),
        ("en", "yes"),
        ("de", "Der Himmel war grau und es regnete den ganzen Tag."),
        ("es", "El cielo estaba gris y llovía durante todo el día."),
        ("ru", "Небо было серым, и весь день шёл дождь."),
        ("hi", "आसमान भूरा था और पूरे दिन बारिश होती रही।"),
        ("zh", "天空灰蒙蒙的，整天都在下雨。"),
        ("ja", "空は灰色で、一日中雨が降っていました。"),
        ("ko", "하늘은 잿빛이었고 하루 종일 비가 왔다."),
        ("kn", "ಆಕಾಶ ಬೂದು ಬಣ್ಣದ್ದಾಗಿತ್ತು"),
        ("ar", "كانت السماء رمادية وهطل المطر طوال اليوم."),
        ("fa", "آسمان خاکستری بود و تمام روز باران می‌بارید."),
    ],
)
def test_languages_are_told_apart_and_always_in_the_same_way(language: str, text: str) -> None:
    assert all(is_in(language, text) for _ in range(5))
    for other in ("en", "de", "ru", "hi", "zh", "ja", "ko", "fa"):
        if other != language and text != "yes":
            assert not is_in(other, text)


def test_a_few_foreign_names_do_not_change_the_language() -> None:
    assert is_in("ru", "Вчера мы ездили в Berlin и весь день гуляли по городу.")
    assert not is_in("zh", "He said 你好 to me and then he left.")
