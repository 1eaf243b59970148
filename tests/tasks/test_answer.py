import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reckon.tasks.answer import final_answer, split, thinking

TAGS = ["<think>", "</think>", "<answer>", "</answer>", "<answer", "24", " ", "\n", "wait"]


@pytest.mark.parametrize(
    ("response", "answer", "reason"),
    [
        ("<think> hm </think> <answer> 24 </answer>", "24", ""),
        ("hm </think><answer>24</answer>", "24", ""),
        (" <think> <answer>7</answer> no </think> so <answer>24</answer> done", "24", ""),
        ("</think><answer>a\nb</answer>", "a\nb", ""),
        ("", None, "unfinished thinking"),
        ("<answer>24</answer>", None, "unfinished thinking"),
        ("<think> <answer>24</answer>", None, "unfinished thinking"),
        ("<think> a </think> <think> b <answer>24</answer>", None, "unfinished thinking"),
        ("<think> a </think> <answer>24</answer> </think>", None, "several thoughts"),
        ("<think> a </think> <think> b </think> <answer>24</answer>", None, "several thoughts"),
        ("a </think> 24", None, "no answer"),
        ("a </think> <answer>24", None, "no answer"),
        ("a </think> 24</answer>", None, "no answer"),
        ("a </think> </answer>24<answer>", None, "no answer"),
        ("a </think> <answer> \n </answer>", None, "no answer"),
        ("a </think> <Answer>24</Answer>", None, "no answer"),
        ("a </think> <answer>24</answer> <answer>24</answer>", None, "several answers"),
        ("a </think> <answer>24</answer> or 25</answer>", None, "several answers"),
        ("a </think> <answer><answer>24</answer></answer>", None, "several answers"),
    ],
)
def test_only_the_one_answer_after_the_one_thought_is_read(response: str, answer: str | None, reason: str) -> None:
    assert final_answer(response) == (answer, reason)


@pytest.mark.parametrize(
    ("response", "parts"),
    [
        ("<think> a </think> b", (" a ", " b")),
        (" \n<think>a</think>b", ("a", "b")),
        ("a</think>b</think>c", ("a", "b</think>c")),
        ("a <think> b", ("a <think> b", None)),
        ("a", ("a", None)),
    ],
)
def test_split(response: str, parts: tuple[str, str | None]) -> None:
    assert split(response) == parts
    assert thinking(response) == parts[0]


@given(st.lists(st.sampled_from(TAGS), max_size=12).map("".join))
@settings(deadline=None)
def test_an_answer_is_what_stands_between_the_only_tags_after_the_thinking(response: str) -> None:
    answer, reason = final_answer(response)
    if answer is None:
        assert reason
    else:
        assert response.count("</think>") == 1
        after = response[response.index("</think>") :]
        assert after[after.index("<answer>") + 8 : after.index("</answer>")].strip() == answer


@pytest.mark.parametrize(
    "piece", ["a", "<", "<think>", "</think>", "<answer>", "</answer>", "</think><answer>", "<answer></answer>"]
)
def test_a_million_characters_take_no_time(piece: str) -> None:
    response = "</think>" + piece * (1_000_000 // len(piece))
    start = time.process_time()
    assert final_answer(response)[0] is None
    assert time.process_time() - start < 0.25
