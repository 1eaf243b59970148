import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reckon.tasks.code.extract import MAX_CODE, answer_text, code_of
from reckon.tasks.code.gold import FunctionGold, ProgramGold

PROMPT = 'import math\n\ndef helper(x):\n    return -x\n\ndef twice(x: int) -> int:\n    """Twice x."""\n'
FUNCTION = FunctionGold(prompt=PROMPT, entry_point="twice", reference="    return 2 * x\n", tests="")
PROGRAM = ProgramGold(tests=(("1", "2"),))
BLOCK = "```python\nprint(1)\n```"


@pytest.mark.parametrize(
    ("response", "text"),
    [
        (BLOCK, "print(1)\n"),
        (f"<think> hm </think>\nSo:\n\n{BLOCK}\n\nIt prints 1.", "print(1)\n"),
        (f"```python\nprint(0)\n```\nNo: {BLOCK}", "print(1)\n"),
        (f"Not ``` nor ```\n{BLOCK}", "print(1)\n"),
        (f"```python\nprint(0)\n```\nNo:\n{BLOCK}", "print(1)\n"),
        (f"{BLOCK}\nwhich prints\n```\n1\n```", "print(1)\n"),
        (f"{BLOCK}\nand run it by\n```bash\npython x.py\n```", "print(1)\n"),
        ("```\nprint(1)\n```", "print(1)\n"),
        ("```Python3\nprint(1)\n```", "print(1)\n"),
        ("```py\nprint(1)\n```", "print(1)\n"),
        ("````python\nx = '''\n```\n'''\nprint(1)\n````", "x = '''\n```\n'''\nprint(1)\n"),
        ("1. First\n   ```python\n   if 1:\n       print(1)\n   ```", "if 1:\n    print(1)\n"),
        ("<think> </think> <answer>print(1)</answer>", "print(1)"),
        ("<answer>\n    return 1\n</answer>", "    return 1"),
        (f"<think> </think> <answer>\n{BLOCK}\n</answer> Good luck!", "print(1)\n"),
        (f"<think>{BLOCK}\n</think> <answer> print(2) </answer>", " print(2) "),
        (f"<think> </think> {BLOCK} <answer>\n```py\nprint(2)\n```</answer>", "print(2)\n"),
    ],
)
def test_texts_of_answers(response: str, text: str) -> None:
    assert answer_text(response) == (text, "")


@pytest.mark.parametrize(
    ("response", "why"),
    [
        ("", "no code"),
        ("print(1)", "no code"),
        ("<answer></answer>", "no code"),
        ("<answer>\n```python\n```\n</answer>", "no code"),
        ("```bash\nls\n```", "no code"),
        ("<answer>\n```bash\nls\n```\n</answer>", "no code"),
        (f"<think> {BLOCK}", "unfinished thinking"),
        (f"<think> \n{BLOCK}\n", "unfinished thinking"),
        (f"<think>\n{BLOCK}\n</think> Done.", "no code"),
        (f"hm\n{BLOCK}\n</think> Done.", "no code"),
        (f"<think> a </think>\n{BLOCK}\n<think> b </think>\n{BLOCK}", "several thoughts"),
        (f"<think> a </think>\n{BLOCK}\n<think> b", "several thoughts"),
        (f"<answer>{BLOCK}</answer> <answer>{BLOCK}</answer>", "several answers"),
        (f"<answer>\n{BLOCK}\n", "unfinished answer"),
        ("```python\nprint(1)\n", "unfinished block"),
        (f"{BLOCK}\n```python\nprint(2)", "unfinished block"),
    ],
)
def test_what_is_no_answer(response: str, why: str) -> None:
    assert answer_text(response) == (None, why)


def solution(code: str) -> tuple[str, str] | str:
    found, why = code_of(f"```python\n{code}\n```", FUNCTION)
    return (found.prelude, found.solution) if found else why


def test_a_whole_function_has_the_helpers_of_its_prompt() -> None:
    code = "def twice(x):\n    return 2 * x"
    assert solution(code) == ("import math\n\ndef helper(x):\n    return -x\n\n", code + "\n")


def test_a_function_may_be_defined_in_other_ways() -> None:
    for code in ("twice = lambda x: x + x", "async def twice(x): return x", f"{PROMPT}    return 2 * x"):
        assert solution(code) == ("import math\n\ndef helper(x):\n    return -x\n\n", code + "\n")


@pytest.mark.parametrize("code", ["    return 2 * x", "return 2 * x", "  y = x\n  return x + y"])
def test_a_body_is_put_below_the_prompt(code: str) -> None:
    found = solution(code)
    assert isinstance(found, tuple)
    assert found[0] == ""
    assert compile(found[1], "solution", "exec")
    assert found[1].startswith(PROMPT)


def test_what_can_be_no_answer_is_not_run() -> None:
    assert solution("9**9**9**9") == "gives nothing"
    assert solution("def thrice(x): pass") == "gives nothing"
    assert code_of("<answer>9**9**9**9</answer>", PROGRAM) == (None, "gives nothing")
    assert code_of("<answer>print(1)</answer>", PROGRAM)[0] is not None


def test_code_that_is_too_long_or_no_text() -> None:
    assert solution("return 1" + "#" * MAX_CODE) == "too long"
    assert solution("return '\ud800'") == "not text"


@given(
    st.lists(st.sampled_from(["<think>", "</think>", "<answer>", "</answer>", "```", "python", "\n", "return 1", " "]))
)
def test_thinking_is_never_an_answer(parts: list[str]) -> None:
    text = "".join(parts)
    found, _ = code_of(f"<think>{text}return secret</think>{text}", FUNCTION)
    assert found is None or "secret" not in found.solution


@pytest.mark.parametrize(
    "text", ["```\n", "<answer>", "</think>", "`", " ", "\n", "a```b", "``` ` ", "\t```python x\n"]
)
def test_time_is_linear(text: str) -> None:
    start = time.process_time()
    code_of(text * (1_000_000 // len(text)), FUNCTION)
    assert time.process_time() - start < 1.0
