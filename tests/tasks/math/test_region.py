import pytest
from hypothesis import given
from hypothesis import strategies as st

from reckon.tasks.math.region import SEAM, after_thinking


@pytest.mark.parametrize(
    ("response", "text", "unfinished"),
    [
        ("answer", "answer", False),
        ("<think>a</think>answer", f"{SEAM}answer", False),
        ("a</think>answer", "answer", False),
        ("<think>a</think>b</think>answer", "answer", False),
        ("<think>a", "", True),
        ("answer<think>a", "answer", True),
        ("<think>a</think>answer<think>b", f"{SEAM}answer", True),
        ("<think>a</think>answer<think>b</think>", f"{SEAM}answer{SEAM}", False),
        ("answer<|im_end|>", "answer\n", False),
        ("answer<｜end▁of▁sentence｜>", "answer\n", False),
        ("", "", False),
    ],
)
def test_what_is_judged(response: str, text: str, unfinished: bool) -> None:
    assert after_thinking(response) == (text, unfinished)


@given(st.lists(st.sampled_from(["<think>", "</think>", "x", "<|im_end|>", SEAM])))
def test_no_tag_is_left(pieces: list[str]) -> None:
    text, _ = after_thinking("".join(pieces))
    assert "<think>" not in text
    assert "</think>" not in text
