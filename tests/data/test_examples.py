from __future__ import annotations

import json
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reckon.core.errors import ConfigError, DataError
from reckon.core.records import Rollout
from reckon.data.examples import Examples, SFTData, Tokenised, Tokeniser, load_examples
from reckon.data.layouts import Example, Turn
from reckon.data.micro import build_tokenizer
from reckon.models.template import TEMPLATES, PromptTemplate

TOKENIZER = build_tokenizer()
EOS = TOKENIZER.eos_token_id
MICRO = PromptTemplate("micro")
CHAT = (
    "{% for m in messages %}{% if m.role == 'tool' or m.content == 'refuse' %}{{ raise_exception('no') }}{% endif %}"
    "<{{ m.role }}>{{ m.content }}\n{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)


def example(*texts: str, system: str | None = None) -> Example:
    turns = [Turn("user" if index % 2 == 0 else "assistant", text) for index, text in enumerate(texts)]
    return Example("e", tuple([Turn("system", system), *turns] if system else turns))


def tokenised(found: Example, template: str = "micro", tokenizer: Any = TOKENIZER) -> Tokenised:
    [one] = Tokeniser(PromptTemplate(template), tokenizer)([found])
    return one


def written(folder: Path, rows: list[Any], name: str = "rows.jsonl") -> str:
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(folder / name)


def numbered(count: int) -> list[dict[str, str]]:
    return [{"question": f"{index}?", "response": f"<think> x </think> {index}"} for index in range(count)]


def ids(items: list[Tokenised]) -> list[str]:
    return [item.question for item in items]


@pytest.fixture
def chat() -> Any:
    tokenizer = build_tokenizer()
    tokenizer.chat_template = CHAT
    return tokenizer


def test_a_question_is_rendered_as_it_is_sampled() -> None:
    for template in ("micro", "r1-zero", "{question} "):
        one = tokenised(example("2+2?", "4"), template)
        text, prompt_ids = PromptTemplate(template).render("2+2?", TOKENIZER)
        assert (one.prompt, one.prompt_ids.tolist()) == (text, prompt_ids)


def test_the_response_is_the_last_turn_and_the_end() -> None:
    one = tokenised(example("2+2?", "<think> 2 + 2 = 4 </think> <answer> 4 </answer>"))
    assert one.response == " <think> 2 + 2 = 4 </think> <answer> 4 </answer>"
    assert TOKENIZER.convert_ids_to_tokens(one.response_ids)[:3] == [" <think>", " 2", " +"]
    assert one.response_ids[-1] == EOS
    assert list(one.response_ids).count(EOS) == 1


@pytest.mark.parametrize(
    ("template", "response", "expected"),
    [
        ("micro", "4", " 4"),
        ("micro", " 4", " 4"),
        ("micro", "\n4", "\n4"),
        ("Q: {question}\nA: ", "4", "4"),
        ("Q: {question}\n", "<think> a </think> 4", "<think> a </think> 4"),
        ("{question} <think>", "<think> a </think> 4", " a </think> 4"),
        ("{question} <think>", "<think>a</think> 4", " a</think> 4"),
        ("{question} <think>\n", "\n<think> a </think> 4", "a </think> 4"),
        ("{question} <think>\n", "a </think> 4", "a </think> 4"),
    ],
)
def test_prompt_and_response_meet_in_one_space_and_one_think(template: str, response: str, expected: str) -> None:
    one = tokenised(example("2+2?", response), template)
    assert one.response == expected
    assert (one.prompt + one.response).count("<think>") <= 1


def test_thinking_that_the_template_opens_must_end_somewhere() -> None:
    with pytest.raises(DataError, match=r"e: the template opens <think> and the response never closes it"):
        tokenised(example("2+2?", "4"), "{question} <think>")


def test_turns_are_joined_in_the_templates_own_form() -> None:
    several = example("a?", "<think> x </think> A.", "b?", "B.", "c?", "<think> z </think> C.", system="Be brief.")
    assert tokenised(several).prompt == (
        "User: Be brief.\n\na?\nAssistant: A.\n\nUser: b?\nAssistant: B.\n\nUser: c?\nAssistant:"
    )
    assert tokenised(several).response == " <think> z </think> C."
    opening = tokenised(several, "Solve this.\n\nUser: {question}\nAssistant: <think>")
    assert opening.prompt == (
        "Solve this.\n\nUser: Be brief.\n\na?\nAssistant: A.\n\nUser: b?\nAssistant: B.\n\nUser: c?\nAssistant: <think>"
    )
    assert opening.response == " z </think> C."
    assert tokenised(several, "r1-zero").prompt.startswith(TEMPLATES["r1-zero"].partition("User: {")[0])
    assert tokenised(several, "r1-zero").prompt.count("Below,") == 1


def test_a_chat_template_is_given_the_turns_as_they_are(chat: Any) -> None:
    several = example("a?", "<think> x </think> A.", "b?", "B.", system="Be brief.")
    one = tokenised(several, "chat", chat)
    assert one.prompt == "<system>Be brief.\n<user>a?\n<assistant><think> x </think> A.\n<user>b?\n<assistant>"
    assert one.response == "B."
    assert one.prompt_ids.tolist() == chat(one.prompt, add_special_tokens=False)["input_ids"]
    assert tokenised(example("a?", "A."), "chat", chat).prompt == "<user>a?\n<assistant>"


def test_what_does_not_fit_the_tokenizer_is_refused(chat: Any) -> None:
    with pytest.raises(DataError, match=r"e: the chat template refuses the conversation \(no\)"):
        tokenised(example("refuse", "A", "b", "B"), "chat", chat)
    with pytest.raises(ConfigError, match="no chat template"):
        tokenised(example("a", "A", "b", "B"), "chat")
    chat.eos_token = None
    with pytest.raises(ConfigError, match="no end-of-text token"):
        tokenised(example("a", "A"), "micro", chat)


PLAIN = st.text(st.characters(max_codepoint=0x17F, exclude_characters="\x00{}<>"), min_size=1).filter(str.strip)


@given(st.lists(st.tuples(PLAIN, PLAIN), min_size=1, max_size=3))
def test_every_turn_is_in_the_prompt_and_the_response_comes_back(turns: list[tuple[str, str]]) -> None:
    texts = [text for turn in turns for text in turn]
    one = tokenised(example(*texts))
    assert TOKENIZER.decode(one.response_ids, skip_special_tokens=True).strip() == texts[-1].strip()
    assert TOKENIZER.decode(one.prompt_ids) == one.prompt
    place = 0
    for text in texts[:-1]:
        place = one.prompt.index(text.strip(), place) + len(text.strip())


def test_the_rollout_is_one_that_nobody_sampled_or_judged() -> None:
    one = tokenised(example("2+2?", "4"))
    rollout = one.rollout()
    assert (rollout.task, rollout.problem.id, rollout.problem.question, rollout.finish) == ("sft", "e", "2+2?", "stop")
    assert (rollout.logp, rollout.verdict, rollout.reward) == ([], None, None)
    assert rollout.prompt_ids == TOKENIZER(one.prompt)["input_ids"]
    assert Rollout.from_dict(json.loads(json.dumps(rollout.to_dict()))) == rollout


# ---------------------------------------------------------------------------------------------- the split


def test_the_split_is_a_function_of_the_question(tmp_path: Path) -> None:
    rows = numbered(400)
    config = SFTData(data=(written(tmp_path, rows),), heldout=0.2)
    found = load_examples(config, MICRO, TOKENIZER)
    assert (found.rows, found.unusable, found.too_long) == (400, 0, 0)
    assert 0.14 < len(found.heldout) / 400 < 0.26
    assert sorted(ids(found.heldout) + ids(found.train)) == sorted(row["question"] for row in rows)
    # The order of rows, other rows, and whether a question stands first of several: none of them matters.
    other = [{"question": row["question"], "response": "no"} for row in reversed(rows[:300])]
    chatty = [
        {"messages": [{"role": "user", "content": row["question"]}, {"role": "assistant", "content": "z"}] * 2}
        for row in rows[:100]
    ]
    again = load_examples(
        SFTData(data=(written(tmp_path, other, "o.jsonl"), written(tmp_path, chatty, "c.jsonl")), heldout=0.2),
        MICRO,
        TOKENIZER,
    )
    kept, held = set(ids(found.train)), set(ids(found.heldout))
    assert set(ids(again.train)) <= kept
    assert set(ids(again.heldout)) == {row["question"] for row in rows[:300]} & held
    assert len(again.train) + len(again.heldout) == 400
    larger = load_examples(config.model_copy(update={"heldout": 0.4}), MICRO, TOKENIZER)
    assert held < set(ids(larger.heldout))


def test_answers_to_one_question_are_on_one_side(tmp_path: Path) -> None:
    rows = [{**row, "response": text} for row in numbered(30) for text in ("a", "b")]
    found = load_examples(SFTData(data=(written(tmp_path, rows),), heldout=0.3), MICRO, TOKENIZER)
    assert found.heldout
    assert not set(ids(found.heldout)) & set(ids(found.train))
    assert len(found.heldout) % 2 == len(found.train) % 2 == 0


def test_something_is_held_out_of_little_data_unless_nothing_shall_be(tmp_path: Path) -> None:
    source = written(tmp_path, numbered(2))
    assert [len(part) for part in (load_examples(SFTData(data=(source,)), MICRO, TOKENIZER).heldout,)] == [1]
    nothing = load_examples(SFTData(data=(source,), heldout=0), MICRO, TOKENIZER)
    assert (len(nothing.train), nothing.heldout) == (2, [])


def test_long_examples_are_dropped_and_counted_never_cut(tmp_path: Path) -> None:
    rows = [*numbered(20), {"question": "long?", "response": "word " * 100}]
    source = written(tmp_path, rows)
    whole = load_examples(SFTData(data=(source,), heldout=0), MICRO, TOKENIZER)
    longest = max(len(item) for item in whole.train if item.question != "long?")
    assert len(whole.train) == 21
    fitting = load_examples(SFTData(data=(source,), heldout=0, max_tokens=longest), MICRO, TOKENIZER)
    assert (len(fitting.train), fitting.too_long) == (20, 1)
    assert all(item.response_ids[-1] == EOS for item in fitting.train)


def test_the_limit_takes_the_same_examples_whatever_their_order(tmp_path: Path, monkeypatch: Any) -> None:
    rows = numbered(50)
    some = load_examples(SFTData(data=(written(tmp_path, rows),), limit=10), MICRO, TOKENIZER)
    monkeypatch.setattr("reckon.data.examples._CHUNK", 3)
    turned = load_examples(SFTData(data=(written(tmp_path, rows[::-1]),), limit=10), MICRO, TOKENIZER)
    assert ids(some.train) == ids(turned.train)
    assert len(some.train) == 10
    assert ids(some.heldout) == ids(load_examples(SFTData(data=(written(tmp_path, rows),)), MICRO, TOKENIZER).heldout)


def test_rows_without_an_example_are_counted(tmp_path: Path) -> None:
    rows = [*numbered(5), {"question": "cut?", "response": "<think> a", "finish": "stop"}]
    assert load_examples(SFTData(data=(written(tmp_path, rows),)), MICRO, TOKENIZER).unusable == 1


def test_nothing_to_train_on_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no example is left to train on: 0 rows"):
        load_examples(SFTData(data=(written(tmp_path, []),)), MICRO, TOKENIZER)
    with pytest.raises(DataError, match=r"5 rows, 5 examples, 0 held out, 5 longer than 3 tokens"):
        load_examples(SFTData(data=(written(tmp_path, numbered(5)),), max_tokens=3), MICRO, TOKENIZER)


# ------------------------------------------------------------------------------------------------ epochs


def items(count: int) -> list[Tokenised]:
    return list(Tokeniser(MICRO, TOKENIZER)([example(f"{index}?", "A") for index in range(count)]))


def asked(source: Examples, step: int) -> list[str]:
    return [rollout.problem.question for rollout in source.collect(step, lambda: None).rollouts]


@given(st.integers(1, 30), st.integers(1, 12), st.integers(1, 3))
def test_an_epoch_has_every_example_once(count: int, batch: int, epochs: int) -> None:
    source = Examples(EVERY[:count], batch, seed=0)
    steps = [asked(source, step + 1) for step in range(source.steps(epochs))]
    for epoch in range(epochs):
        part = steps[epoch * source.steps(1) : (epoch + 1) * source.steps(1)]
        assert sorted(chain.from_iterable(part)) == sorted(ids(EVERY[:count]))
        assert all(len(step) == batch for step in part[:-1])
        assert len(part[-1]) == (count % batch or batch)


EVERY = items(30)


def test_a_step_is_a_function_of_its_number() -> None:
    source = Examples(EVERY, 7, seed=3)
    steps = [asked(source, step) for step in range(1, 11)]
    assert steps[:5] != steps[5:]
    assert asked(Examples(EVERY, 7, seed=3), 8) == steps[7]
    assert asked(source, 2) == steps[1]
    assert asked(Examples(EVERY, 7, seed=4), 1) != steps[0]
    assert source.save() == {}


def test_collecting_can_be_stopped() -> None:
    def check() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Examples(EVERY, 7, seed=3).collect(1, check)
