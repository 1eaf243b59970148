from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reckon.core.errors import DataError
from reckon.data.layouts import LAYOUTS, Columns, Turn, read_examples
from reckon.tasks.answer import final_answer, thinking

Pairs = list[tuple[str, str]]

THOUGHT = "<think> hm </think> 4"
OPEN_THOUGHTS = "<|begin_of_thought|>\n\nhm\n\n<|end_of_thought|>\n\n<|begin_of_solution|>\n\n4\n\n<|end_of_solution|>"


def said(*texts: str) -> Pairs:
    """User and assistant in turn."""
    return [(("user", "assistant")[index % 2], text) for index, text in enumerate(texts)]


def messages(*texts: str) -> list[dict[str, str]]:
    return [{"role": role, "content": text} for role, text in said(*texts)]


def shared(*texts: str) -> list[dict[str, str]]:
    return [{"from": {"user": "human", "assistant": "gpt"}[role], "value": text} for role, text in said(*texts)]


def written(folder: Path, *rows: Any) -> str:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def pairs_of(examples: Any) -> list[Pairs]:
    return [[(turn.role, turn.text) for turn in example.turns] for example in examples]


def read(folder: Path, row: dict[str, Any], columns: Columns | None = None) -> list[Pairs]:
    [examples] = read_examples(written(folder, row), columns)
    return pairs_of(examples)


OPENR1 = {
    "problem": "2+2?",
    "generations": ["<think> a </think> 4", "<think> b </think> 5", "<think> c", "<think> d </think> 4"],
    "correctness_math_verify": [True, False, True, True],
    "is_reasoning_complete": [True, True, False, True],
    "messages": messages("2+2?", "unused"),
}

CASES: dict[str, tuple[dict[str, Any], list[Pairs]]] = {
    "messages": ({"messages": messages("2+2?", "4")}, [said("2+2?", "4")]),
    "several turns": (
        {"messages": [{"role": "system", "content": "Be brief."}, *messages("a", "b", "c", "d")]},
        [[("system", "Be brief."), *said("a", "b", "c", "d")]],
    ),
    "reasoning of a message": (
        {
            "messages": [
                {"role": "user", "content": "2+2?"},
                {"role": "assistant", "content": "4", "reasoning_content": "hm"},
            ]
        },
        [said("2+2?", THOUGHT)],
    ),
    "AM": (
        {
            "messages": [
                {"role": "user", "content": "2+2?", "info": {"think_content": None}},
                {"role": "assistant", "content": THOUGHT, "info": {"think_content": "hm", "answer_content": "4"}},
            ]
        },
        [said("2+2?", THOUGHT)],
    ),
    "AM without tags": (
        {
            "messages": [
                {"role": "user", "content": "2+2?"},
                {"role": "assistant", "content": "4", "info": {"think_content": "hm"}},
            ]
        },
        [said("2+2?", THOUGHT)],
    ),
    "ShareGPT": ({"conversations": shared("2+2?", "4")}, [said("2+2?", "4")]),
    "OpenThoughts": (
        {"system": "Use <|begin_of_thought|>.", "conversations": shared("2+2?", OPEN_THOUGHTS)},
        [said("2+2?", THOUGHT)],
    ),
    "OpenThoughts, cut off": ({"conversations": shared("2+2?", "<|begin_of_thought|>\n\nhm")}, []),
    "Bespoke-Stratos": (
        {"system": "Think.", "conversations": shared("2+2?", OPEN_THOUGHTS)},
        [[("system", "Think."), *said("2+2?", THOUGHT)]],
    ),
    "an empty system": ({"system": "", "conversations": shared("2+2?", "4")}, [said("2+2?", "4")]),
    "OpenThoughts metadata": (
        {"problem": "2+2?", "deepseek_reasoning": "hm\n", "deepseek_solution": "4", "domain": "math"},
        [said("2+2?", THOUGHT)],
    ),
    "OpenR1-Math": (OPENR1, [said("2+2?", "<think> a </think> 4"), said("2+2?", "<think> d </think> 4")]),
    "OpenR1-Math, none right": ({**OPENR1, "correctness_math_verify": [False, None, False, False]}, []),
    "s1K": (
        {"question": "2+2?", "solution": "x", "thinking_trajectories": ["hm"], "attempt": "4"},
        [said("2+2?", THOUGHT)],
    ),
    "s1K-1.1": (
        {
            "question": "2+2?",
            "solution": "x",
            "thinking_trajectories": ["other"],
            "attempt": "other",
            "deepseek_thinking_trajectory": "hm",
            "deepseek_attempt": ["4"],
        },
        [said("2+2?", THOUGHT)],
    ),
    "LIMO": (
        {"question": "2+2?", "solution": "hm", "answer": "4"},
        [said("2+2?", "<think> hm </think> <answer> 4 </answer>")],
    ),
    "prompt and completion": ({"prompt": "2+2?", "completion": "4"}, [said("2+2?", "4")]),
    "TRL's lists": (
        {"prompt": messages("a", "b", "c"), "completion": [{"role": "assistant", "content": "d"}]},
        [said("a", "b", "c", "d")],
    ),
    "prompt and response": ({"prompt": "2+2?", "response": "4"}, [said("2+2?", "4")]),
    "Alpaca": ({"instruction": "Add.", "input": "2, 2", "output": "4"}, [said("Add.\n\n2, 2", "4")]),
    "Alpaca without input": ({"instruction": "2+2?", "input": "", "output": "4"}, [said("2+2?", "4")]),
    "Dolly": ({"instruction": "Add.", "context": "2, 2", "response": "4"}, [said("Add.\n\n2, 2", "4")]),
    "OpenMathReasoning": (
        {"problem": "2+2?", "generated_solution": THOUGHT, "expected_answer": "4"},
        [said("2+2?", THOUGHT)],
    ),
    "NuminaMath": ({"source": "x", "problem": "2+2?", "solution": "It is 4."}, [said("2+2?", "It is 4.")]),
    "GSM8K": (
        {"question": "How many?", "answer": "He has 2*3 = <<2*3=6>>6.\nSo 6/2 = <<6/2=3>>3.\n#### 3"},
        [said("How many?", "<think> He has 2*3 = 6.\nSo 6/2 = 3. </think> <answer> 3 </answer>")],
    ),
    "question and answer": ({"question": "2+2?", "answer": "4"}, [said("2+2?", "4")]),
    "a sample": (
        {"id": "s1", "prompt": "User: 2+2?\nAssistant:", "question": "2+2?", "response": THOUGHT, "finish": "stop"},
        [said("2+2?", THOUGHT)],
    ),
    "a sample, cut off": ({"question": "2+2?", "response": THOUGHT, "finish": "length"}, []),
    "curated": (
        {"question": "2+2?", "prompt": "x", "response": "4", "messages": messages("2+2?", "4")},
        [said("2+2?", "4")],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_rows_are_read_as_they_are(tmp_path: Path, name: str) -> None:
    row, expected = CASES[name]
    assert read(tmp_path, row) == expected


@pytest.mark.parametrize("name", CASES)
def test_a_parquet_copy_reads_the_same(tmp_path: Path, name: str) -> None:
    row, expected = CASES[name]
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "a.parquet")
    [examples] = read_examples(str(tmp_path / "a.parquet"))
    assert pairs_of(examples) == expected


def test_every_layout_has_a_case_of_its_own() -> None:
    met = {next(x.name for x in LAYOUTS if set(x.columns) <= set(row)) for row, _ in CASES.values()}
    assert met == {layout.name for layout in LAYOUTS}


def test_the_id_is_the_rows_own_or_its_place(tmp_path: Path) -> None:
    source = written(tmp_path, {**OPENR1, "uuid": "u-1"}, {"id": 7, "prompt": "a", "completion": "b"}, CASES["s1K"][0])
    ids = [[example.id for example in examples] for examples in read_examples(source)]
    assert ids == [["u-1", "u-1"], ["7"], [f"{source}:3"]]


def test_columns_can_be_named(tmp_path: Path) -> None:
    row = {"q": "2+2?", "t": "hm", "a": "4", "messages": messages("x", "y")}
    assert read(tmp_path, row, Columns(question="q", response="a")) == [said("2+2?", "4")]
    assert read(tmp_path, row, Columns(question="q", thinking="t", response="a")) == [said("2+2?", THOUGHT)]
    with pytest.raises(DataError, match=r"rows\.jsonl:1: .*no column 'b' \(it has: q, t, a, messages\)"):
        read(tmp_path, row, Columns(question="q", response="b"))


def test_unknown_columns_are_named_with_the_nearest_layout(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        read(tmp_path, {"prompts": "a", "completions": "b"})
    assert "rows.jsonl:1: no known layout" in str(error.value)
    assert "prompts, completions" in str(error.value)
    assert "'prompt and completion', needs prompt, completion" in str(error.value)
    assert "columns: {question:" in str(error.value)
    with pytest.raises(DataError, match="fits the columns text;"):
        read(tmp_path, {"text": "a"})
    with pytest.raises(DataError, match=r"\(none\)"):
        read(tmp_path, {})


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"messages": "hi"}, "messages must be a list of messages"),
        ({"messages": ["hi"]}, "messages must be a list of messages"),
        ({"messages": []}, "take turns"),
        ({"messages": messages("a")}, "the roles are user"),
        ({"messages": messages("a", "b", "c")}, "the roles are user, assistant, user"),
        ({"messages": messages("a", "b") * 2 + messages("c")}, "take turns"),
        ({"messages": [*messages("a", "b"), {"role": "tool", "content": "c"}]}, "unknown role 'tool'"),
        ({"messages": [{"content": "c"}]}, "unknown role None"),
        ({"messages": [*messages("a"), {"role": "system", "content": "x"}, *messages("a", "b")[1:]]}, "be the first"),
        ({"messages": messages("a", " ")}, "a turn is empty"),
        ({"messages": [{"role": "user", "content": None}]}, "must be text, not NoneType"),
        ({"prompt": 3, "completion": "a"}, "prompt must be text, not int"),
        (
            {"question": "a", "thinking_trajectories": [], "attempt": "b"},
            "thinking_trajectories must be text, not list",
        ),
        ({**OPENR1, "correctness_math_verify": [True]}, "lists of one length"),
        ({**OPENR1, "generations": None}, "lists of one length"),
    ],
)
def test_a_row_that_does_not_fit_its_layout_is_named_with_its_line(
    tmp_path: Path, row: dict[str, Any], message: str
) -> None:
    source = written(tmp_path, {"messages": messages("a", "b")}, row)
    with pytest.raises(DataError) as error:
        list(read_examples(source))
    assert "rows.jsonl:2: the row does not fit the layout" in str(error.value)
    assert message in str(error.value)


WORDS = st.text(min_size=1).filter(lambda text: text.strip() and "<|" not in text and "<think>" not in text)


@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=4), st.booleans())
def test_conversations_come_back_in_either_spelling(tmp_path_factory: Any, turns: Pairs, other: bool) -> None:
    texts = [text for turn in turns for text in turn]
    row = {"conversations": shared(*texts)} if other else {"messages": messages(*texts)}
    [examples] = read_examples(written(tmp_path_factory.getbasetemp(), row))
    assert [turn.text for turn in examples[0].turns] == texts
    assert isinstance(examples[0].turns[0], Turn)


PLAIN = st.text(st.characters(codec="utf-8", exclude_characters="<>#|"), min_size=1).filter(str.strip)


@given(PLAIN, PLAIN)
def test_what_becomes_thinking_is_found_as_thinking(tmp_path_factory: Any, working: str, answer: str) -> None:
    folder = tmp_path_factory.getbasetemp()
    for row in (
        {"question": "a", "answer": f"{working}<<1+1=2>>\n#### {answer}"},
        {"question": "a", "solution": working, "answer": answer},
    ):
        [[_, (_, response)]] = read(folder, row)
        assert thinking(response).strip() == working.strip()
        assert final_answer(response) == (answer.strip(), "")
