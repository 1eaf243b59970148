import pytest
from hypothesis import given
from hypothesis import strategies as st

from reckon.tasks.math.extract import final_answer
from reckon.tasks.math.region import SEAM


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"\boxed{4}", "4"),
        (r"\boxed {4}", "4"),
        (r"\fbox{4}", "4"),
        (r"\framebox{4}", "4"),
        (r"\boxed 42.", "42"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{\{1\}}", r"\{1\}"),
        (r"\boxed{\boxed{4}}", r"\boxed{4}"),
        (r"open { and \boxed{4}", "4"),
        (r"} shut and \boxed{4}", "4"),
        (r"\boxed{3 never closed, but \boxed{4}", "4"),
        (r"\boxed{2} and \boxed{3}", "2, 3"),
        (r"$\boxed{2}$, $\boxed{3}$", "2, 3"),
        (r"\boxed{4}\boxed{4}", "4"),
        (r"\boxed{3} was my first try, but it was wrong: \boxed{4}", "4"),
        ("<answer> 4 </answer>", " 4 "),
        ("<answer>3</answer> No, I have to correct that: <answer>4</answer>", "4"),
        ("<answer>The answer is 4.</answer>", "4"),
        ("The answer is 4.", "4"),
        ("The answer is 4.5 cm. It is long.", "4.5 cm"),
        ("the answers are 1 and 2", "1 and 2"),
        ("**Answer:** 4\n", "4"),
        ("ANSWER: 4", "4"),
        ("## Final Answer\n\n4", "4"),
        ("The answer is:\n$$\n4\n$$", "\n4\n"),
        ("The answer is:\n\\[\n4\n\\]", "\n4\n"),
        ("The answer is 4, because 2 + 2 = 4.", "4"),
        ("The answer is 3. That is not right, so I start again. The answer is 4.", "4"),
        ("答案是4。因为 2 + 2 = 4。", "4"),
        ("最终答案：4", "4"),
        ("故选 B", "B"),
        ("因此选（B）。", "（B）"),
    ],
)
def test_the_answer(text: str, answer: str) -> None:
    assert final_answer(text).text == answer


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no answer"),
        ("4", "no answer"),
        ("It is 4.", "no answer"),
        (r"\boxed{}", "no answer"),
        (r"\boxed{4}, that is: \boxed{}", "no answer"),
        (r"\boxed{4}, that is: \boxed{5", "no answer"),
        ("<answer>4", "no answer"),
        ("<answer></answer>", "no answer"),
        ("<answer>4</answer> <answer>5", "no answer"),
        ("The answer is", "no answer"),
        ("I selected the 选项 of the 答案", "no answer"),
        ("<answer>4</answer><answer>5</answer>", "hedged"),
        ("Answer: 4\nAnswer: 5", "hedged"),
        (r"\boxed{4} <answer>5</answer>", "hedged"),
        (rf"\boxed{{4}}{SEAM}\boxed{{4}}", "hedged"),
        ("The answer is 3 or the answer is 4", "hedged"),
    ],
)
def test_no_answer(text: str, reason: str) -> None:
    found = final_answer(text)
    assert (found.text, found.reason) == (None, reason)


PIECES = [
    "\\boxed{",
    "\\boxed",
    "}",
    "{",
    "\\}",
    "4",
    " ",
    "\n",
    "<answer>",
    "</answer>",
    "answer is ",
    "答案：",
    "and",
    SEAM,
]


@given(st.lists(st.sampled_from(PIECES), max_size=60))
def test_total_and_consistent(pieces: list[str]) -> None:
    found = final_answer("".join(pieces))
    assert (found.text is None) == bool(found.reason)
