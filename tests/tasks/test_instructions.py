import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from reckon.core.errors import ConfigError, DataError
from reckon.core.records import Problem
from reckon.tasks.check import check_task
from reckon.tasks.instructions import InstructionsTask
from reckon.tasks.instructions.checks import INSTRUCTIONS, read_instruction

Config = InstructionsTask.Config
TASK = InstructionsTask()


def problem(*instructions: dict[str, Any], question: str = "Write about rain.") -> Problem:
    return Problem("x", question, {"instructions": list(instructions), "example": None})


NO_COMMA = {"id": "punctuation:no_comma"}
TITLE = {"id": "detectable_format:title"}
LOWER = {"id": "change_case:english_lowercase"}
BULLETS = {"id": "detectable_format:number_bullet_lists", "num_bullets": 2}


def write(folder: Path, *rows: dict[str, Any]) -> Config:
    (folder / "ifeval.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Config(path=str(folder / "ifeval.jsonl"), train_problems=5)


def row(**changed: Any) -> dict[str, Any]:
    found = {
        "key": 7,
        "prompt": "Write a poem of at least 3 lines without commas.",
        "instruction_id_list": ["punctuation:no_comma", "length_constraints:number_words"],
        "kwargs": [{}, {"relation": "at least", "num_words": 10}],
    }
    return {**found, **changed}


# ------------------------------------------------------------------------------------------ what is judged


@pytest.mark.parametrize(
    ("response", "score", "reason"),
    [
        ("No comma here.", 1.0, "followed"),
        ("One, two.", 0.0, "not followed"),
        ("<think> one, two, three </think> No comma here.", 1.0, "followed"),
        ("one, two, three </think> No comma here.", 1.0, "followed"),
        ("<think> one </think> In short, this: <answer> No comma here. </answer>", 1.0, "followed"),
        ("<think> one </think> <answer> One, two. </answer>", 0.0, "not followed"),
        ("<think> No comma here", 0.0, "unfinished thinking"),
        ("<think> a </think> <answer> b </answer> <answer> c </answer>", 0.0, "several answers"),
        ("<think> a </think> <answer> b", 0.0, "no answer"),
        ("<think> a </think>", 0.0, "no answer"),
        ("", 0.0, "no answer"),
        ("Write  about rain.", 0.0, "the prompt again"),
        ("rain " * 30_000, 0.0, "too long"),
    ],
)
def test_the_text_after_the_thinking_is_judged(response: str, score: float, reason: str) -> None:
    verdict = TASK.verify(problem(NO_COMMA), response)
    assert (verdict.score, verdict.reason) == (score, reason)


def test_both_readings_and_each_instruction_are_in_the_detail() -> None:
    verdict = TASK.verify(problem(NO_COMMA, TITLE, LOWER), "Sure, here it is:\n<<rain>> it fell on the roof all night")
    assert verdict.detail == {
        "instructions": ["punctuation:no_comma", "detectable_format:title", "change_case:english_lowercase"],
        "figures": {
            "prompt strict": [False],
            "prompt loose": [True],
            "instruction strict": [False, True, False],
            "instruction loose": [True, True, True],
        },
    }


@pytest.mark.parametrize(
    ("text", "strict", "loose"),
    [
        ("<<rain>> it falls.\nIs that fine, sir?", False, True),
        ("Sure, sir:\n<<rain>> it falls.\nIs that fine, sir?", False, True),
        ("Sure, sir:\n<<rain>> it, falls.\nIs that fine, sir?", False, False),
        ("<<rain>> it falls.", True, True),
    ],
)
def test_the_loose_reading_drops_the_first_and_the_last_line(text: str, strict: bool, loose: bool) -> None:
    for reading, followed in (("strict", strict), ("loose", loose)):
        task = InstructionsTask(Config(reading=reading))
        assert task.verify(problem(NO_COMMA), text).score == followed


def test_the_loose_reading_drops_asterisks() -> None:
    capital = {"id": "keywords:existence", "keywords": ["rain falls"]}
    verdict = TASK.verify(problem(capital), "The **rain** falls.")
    figures = verdict.detail["figures"]
    assert (figures["instruction strict"], figures["instruction loose"]) == ([False], [True])


def test_the_score_can_be_the_share_that_is_followed() -> None:
    asked = problem(NO_COMMA, TITLE, LOWER, BULLETS)
    text = "it rained for many hours on the old roof"
    assert TASK.verify(asked, text).score == 0.0
    assert InstructionsTask(Config(score="share")).verify(asked, text).score == 0.5


# ------------------------------------------------------------------------------------------ published prompts


def test_published_rows_are_held_out_and_training_prompts_are_made(tmp_path: Path) -> None:
    task = InstructionsTask(write(tmp_path, row(), row(key=8, prompt="Another.")))
    first, second = task.problems("heldout")
    assert (first.id, first.question, second.id) == ("ifeval:7", row()["prompt"], "ifeval:8")
    assert first.gold == {
        "instructions": [
            {"id": "punctuation:no_comma"},
            {"id": "length_constraints:number_words", "num_words": 10, "relation": "at least"},
        ],
        "example": None,
    }
    assert task.gold_response(first) is None
    assert task.verify(first, "a b c d e f g h i j").score == 1.0
    assert task.verify(first, "a b c d e f g h i").score == 0.0
    assert len(task.problems("train")) == 5
    assert json.loads(json.dumps(first.gold)) == first.gold


def test_parameters_that_are_null_are_those_of_other_instructions(tmp_path: Path) -> None:
    empty = dict.fromkeys(("num_bullets", "relation", "num_words", "keywords"))
    kwargs = [empty, {**empty, "relation": "at least", "num_words": 10}]
    (found,) = InstructionsTask(write(tmp_path, row(kwargs=kwargs))).problems("heldout")
    assert found.gold["instructions"][0] == {"id": "punctuation:no_comma"}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"instruction_id_list": ["punctuation:no_coma", "x"]},
            "no instruction 'punctuation:no_coma'; did you mean 'punc",
        ),
        ({"instruction_id_list": ["x", "x"]}, "there is no instruction 'x'"),
        ({"kwargs": [{"num_words": 3}, {}]}, "'punctuation:no_comma' has no parameter 'num_words'"),
        (
            {"kwargs": [{}, {"relation": "at least", "num_word": 3}]},
            "no parameter 'num_word'; did you mean 'num_words'?",
        ),
        ({"kwargs": [{}, {"relation": "at least"}]}, "is not told its 'num_words'"),
        ({"kwargs": [{}, {"relation": "at most", "num_words": 3}]}, "cannot have this 'relation'"),
        ({"kwargs": [{}, {"relation": "at least", "num_words": -3}]}, "cannot have this 'num_words'"),
        ({"kwargs": [{}]}, "lists of one length"),
        ({"kwargs": "none"}, "lists of one length"),
        ({"prompt": " "}, "'prompt' must be text"),
    ],
)
def test_what_is_not_known_is_an_error_and_never_counts_as_followed(
    tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError) as error:
        InstructionsTask(write(tmp_path, row(**changed))).problems("heldout")
    assert "ifeval.jsonl:1" in str(error.value)
    assert message in str(error.value)


def test_a_key_that_is_there_twice_and_an_empty_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"ifeval\.jsonl:2: the key 7 is there twice"):
        InstructionsTask(write(tmp_path, row(), row())).problems("heldout")
    with pytest.raises(DataError, match="no prompts"):
        InstructionsTask(write(tmp_path)).problems("heldout")


def test_without_langdetect_the_error_comes_before_the_first_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "langdetect", None)
    with pytest.raises(ConfigError, match="pip install langdetect"):
        InstructionsTask()


# ------------------------------------------------------------------------------------------ generated prompts


def test_generated_prompts_can_be_followed_and_have_every_instruction() -> None:
    task = InstructionsTask(Config(train_problems=200))
    seen = set()
    for one in task.problems("train"):
        gold = task.gold_response(one)
        assert gold is not None
        assert task.verify(one, gold).score == 1.0, one.question
        assert task.verify(one, f"<think> \n </think>{one.gold['example']}").score == 1.0
        for told in one.gold["instructions"]:
            seen.add(told["id"])
            read_instruction(told["id"], {key: value for key, value in told.items() if key != "id"}, "")
    assert seen == {*INSTRUCTIONS}


def test_prompts_are_a_function_of_the_settings_and_no_combination_is_in_both_splits() -> None:
    def build(seed: int) -> InstructionsTask:
        return InstructionsTask(Config(instructions=[1], seed=seed, train_problems=120, heldout_problems=15))

    def asked(one: Problem) -> tuple[str, ...]:
        request = one.question[: one.question.find(".") + 1 or one.question.find("?") + 1]
        return (request, *(told["id"] for told in one.gold["instructions"]))

    task = build(0)
    assert task.problems("train") == build(0).problems("train")
    assert task.problems("train") != build(1).problems("train")
    held = {asked(one) for one in task.problems("heldout")} | {asked(one) for one in build(1).problems("heldout")}
    trained = {asked(one) for one in task.problems("train")} | {asked(one) for one in build(1).problems("train")}
    assert not held & trained


def test_no_generated_prompt_is_followed_by_saying_nothing() -> None:
    for one in InstructionsTask(Config(instructions=[1], train_problems=60)).problems("train"):
        for empty in ("Yes.", "no", "1 2 3", "[]"):
            assert TASK.verify(one, empty).score == 0.0, one.question


def test_the_self_check_passes() -> None:
    task = InstructionsTask(Config(train_problems=10, heldout_problems=3))
    report = check_task(task, problems=3, deadline_s=30)
    assert report.failures == []
    assert report.golds == 6


def test_hostile_texts_are_judged_at_once() -> None:
    everything = [
        {"id": "length_constraints:number_sentences", "relation": "at least", "num_sentences": 3},
        {"id": "detectable_format:json_format"},
        {"id": "keywords:forbidden_words", "forbidden_words": ["a", "(a+)+b"]},
        {"id": "language:response_language", "language": "fr"},
        {"id": "detectable_format:number_highlighted_sections", "num_highlights": 3},
        {
            "id": "length_constraints:nth_paragraph_first_word",
            "num_paragraphs": 3,
            "nth_paragraph": 2,
            "first_word": "a",
        },
        *(NO_COMMA, TITLE, LOWER, BULLETS),
    ]
    texts = ["[" * 50_000, "* " * 15_000, "<<" * 30_000, ". " * 15_000, "\n \n" * 30_000, "a" * 99_000]
    TASK.verify(problem(*everything), "the language profiles are read at the first call")
    for text in [*texts, "a." * 30_000, "\ud800" * 1000, "<<a" * 30_000, "*a" * 30_000, "[a" * 30_000]:
        start = time.process_time()
        assert TASK.verify(problem(*everything), text).score == 0.0
        assert time.process_time() - start < 1.0, text[:10]
