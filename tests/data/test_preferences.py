from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reckon.core.errors import DataError
from reckon.data.micro import build_tokenizer
from reckon.data.preferences import PreferenceData, Preferences, Split, Unit, load_preferences
from reckon.learn.reward_model import Reader

TOKENIZER = build_tokenizer()


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def pairs(count: int) -> list[dict[str, Any]]:
    return [{"question": f"Say {n}.", "chosen": f"{n}", "rejected": f"{n} {n}"} for n in range(count)]


def load(tmp_path: Path, rows: list[dict[str, Any]], **settings: Any) -> Split:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    config = PreferenceData(data=(str(path),), **settings)
    return load_preferences(config, Reader(TOKENIZER, config.card("micro")))


def texts(unit: Unit) -> list[str]:
    end = TOKENIZER.eos_token
    return [TOKENIZER.decode(r.prompt_ids + r.response_ids).removesuffix(end) for r in unit]


def only(tmp_path: Path, row: dict[str, Any], **settings: Any) -> Unit:
    """What becomes of one row, among others so that both sides have some."""
    others = [{**pair, "response": "x", "label": 1} for pair in pairs(40)]
    split = load(tmp_path, [*others, {"id": "it", **row}], heldout=0.3, **settings)
    [unit] = [unit for unit in (*split.train, *split.heldout) if unit[0].problem.id == "it"]
    return unit


@pytest.mark.parametrize(
    "row",
    [
        {"question": "Is it?", "chosen": "yes.", "rejected": "no.", "chosen_score": 1.0, "task": "general"},
        {"prompt": "Is it?", "chosen": "yes.", "rejected": "no."},
        {
            "prompt": "Is it?",
            "chosen": [user("Is it?"), assistant("yes.")],
            "rejected": [user("Is it?"), assistant("no.")],
        },
        {"prompt": [user("Is it?")], "chosen": [assistant("yes.")], "rejected": [assistant("no.")]},
        {"chosen": [user("Is it?"), assistant("yes.")], "rejected": [user("Is it?"), assistant("no.")]},
    ],
    ids=["ours", "prompt", "repeated", "messages", "implicit"],
)
def test_pairs_in_every_layout(tmp_path: Path, row: dict[str, Any]) -> None:
    unit = only(tmp_path, row)
    assert texts(unit) == ["User: Is it?\nAssistant: yes.", "User: Is it?\nAssistant: no."]
    assert [rollout.reward for rollout in unit] == [None, None]


@pytest.mark.parametrize(
    "row",
    [
        {"question": "Is it?", "response": "no.", "label": 0},
        {"prompt": "Is it?", "completion": "no.", "label": False},
        {"prompt": [user("Is it?")], "completion": [assistant("no.")], "label": 0.0},
    ],
)
def test_labels_in_every_layout(tmp_path: Path, row: dict[str, Any]) -> None:
    unit = only(tmp_path, row, loss="pointwise")
    assert texts(unit) == ["User: Is it?\nAssistant: no."]
    assert [rollout.reward for rollout in unit] == [0.0]


def test_a_longer_conversation_names_its_speakers(tmp_path: Path) -> None:
    before = [user("Say 3."), assistant("3"), user("Again.")]
    row = {"chosen": [*before, assistant("3")], "rejected": [*before, assistant("4")]}
    question = "User: Say 3.\n\nAssistant: 3\n\nUser: Again."
    assert only(tmp_path, row)[0].problem.question == question


@pytest.mark.parametrize(
    ("row", "settings", "message"),
    [
        ({"question": "a", "chosen": "b"}, {}, "chosen and rejected; it has question, chosen"),
        ({"chosen": "a", "rejected": "b"}, {}, "a question or prompt"),
        ({"question": "a", "chosen": "b", "rejected": 3}, {}, "rejected is neither a text nor a list"),
        ({"question": "a", "chosen": "b", "rejected": []}, {}, "rejected is neither a text nor a list"),
        (
            {"chosen": [user("a"), assistant("b")], "rejected": [user("c"), assistant("b")]},
            {},
            "do not answer the same question",
        ),
        ({"question": "a", "response": "b"}, {"loss": "pointwise"}, "and a label"),
        ({"question": "a", "response": "b", "label": 0.5}, {"loss": "pointwise"}, "a label is 0 or 1, not 0.5"),
    ],
)
def test_a_row_that_does_not_fit_is_named(
    tmp_path: Path, row: dict[str, Any], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message) as error:
        load(tmp_path, [row], **settings)
    assert error.value.where.endswith("rows.jsonl:1")


def test_what_cannot_be_read_or_is_too_long_is_counted(tmp_path: Path) -> None:
    rows = [{**p, "chosen": f"<think> a </think> {p['chosen']}", "rejected": "<think> b </think> c"} for p in pairs(40)]
    split = load(tmp_path, rows, reads="summary", heldout=0.3)
    assert (split.unread, split.too_long) == (0, 0)
    longest = max(len(r.prompt_ids + r.response_ids) for unit in (*split.train, *split.heldout) for r in unit)
    rows[0]["rejected"] = "<think> without an end"
    rows[1]["chosen"] += " and so on" * 9
    split = load(tmp_path, rows, reads="summary", heldout=0.3, max_tokens=longest)
    assert (split.unread, split.too_long) == (1, 1)
    assert len(split.train) + len(split.heldout) == 38


def test_nothing_left_is_an_error_with_the_counts(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="30 without anything to read, 0 too long") as error:
        load(tmp_path, pairs(30), reads="summary")
    assert "reads: response" in str(error.value)


def test_no_question_is_on_both_sides_and_more_data_moves_none(tmp_path: Path) -> None:
    few, many = (load(tmp_path, pairs(n) * 2, heldout=0.3) for n in (40, 80))

    def asked(units: list[Unit]) -> set[str]:
        return {unit[0].problem.question for unit in units}

    assert not asked(many.train) & asked(many.heldout)
    assert asked(few.train) < asked(many.train)
    assert asked(few.heldout) < asked(many.heldout)
    assert 0.15 < len(many.heldout) / (2 * 80) < 0.45
    assert len(many.train) + len(many.heldout) == 160


def test_an_epoch_has_every_pair_once_in_an_order_of_its_own(tmp_path: Path) -> None:
    split = load(tmp_path, pairs(50), heldout=0.3)
    source = Preferences(split.train, 8, seed=1)
    steps = source.steps(1)
    assert steps == -(-len(split.train) // 8)
    assert source.steps(3) == 3 * steps

    def epoch(number: int) -> list[list[str]]:
        found = (source.collect(number * steps + step, lambda: None).rollouts for step in range(1, steps + 1))
        return [[rollout.response for rollout in rollouts] for rollouts in found]

    first, second = epoch(0), epoch(1)
    assert [len(step) for step in first[:-1]] == [16] * (steps - 1)
    assert 0 < len(first[-1]) <= 16
    flat = [[name for step in each for name in step] for each in (first, second)]
    assert sorted(flat[0]) == sorted(flat[1]) == sorted(r.response for unit in split.train for r in unit)
    assert flat[0] != flat[1]
    # A pair stays a pair: "n", then "n n".
    assert all(rejected == f"{chosen}{chosen}" for chosen, rejected in zip(flat[0][::2], flat[0][1::2], strict=True))
    assert epoch(0) == first
    assert Preferences(split.train, 8, seed=2).collect(1, lambda: None) != source.collect(1, lambda: None)
