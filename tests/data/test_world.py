from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from reckon.core.records import Problem
from reckon.data.micro import MicroText, Texts, build_tokenizer, text_at
from reckon.data.world import WorldText, vocabulary
from reckon.models.load import load_model, shipped_models
from reckon.tasks import arithmetic, countdown
from reckon.tasks.base import Task
from reckon.tasks.general import GeneralTask, SafetyTask
from reckon.tasks.logic import LogicTask

MIX = WorldText()
TEXTS = [text_at(MIX, 0, index) for index in range(3000)]
TOKENIZER = build_tokenizer(MIX.words)
SUM = re.compile(r"(\d+) ([-+*/]) (\d+) = (\d+)")
GENERAL, SAFETY, LOGIC = GeneralTask(), SafetyTask(), LogicTask()
LISTED = {problem.question: problem for task in (GENERAL, SAFETY) for problem in task.problems("train")}


def exchanges(texts: list[str]) -> Iterator[tuple[str, str]]:
    """Every question with its response."""
    for text in texts:
        for part in text.split("User: ")[1:]:
            question, _, response = part.removesuffix("\n\n").partition("\nAssistant:")
            yield question, response


def kind(question: str) -> str:
    if question.startswith("Make "):
        return "countdown"
    if question.startswith("Compute "):
        return "arithmetic"
    if question.endswith("Who is what?"):
        return "logic"
    return LISTED[question].id.partition(":")[0]


PAIRS = list(exchanges(TEXTS))


def test_every_sum_is_right() -> None:
    sums = [one for text in TEXTS for one in SUM.findall(text)]
    assert len(sums) > 8000
    for a, sign, b, result in sums:
        assert arithmetic.apply(sign, int(a), int(b), 99) == int(result)


def test_every_statement_is_judged_rightly_under_what_is_tried() -> None:
    found = 0
    for question, response in PAIRS:
        if kind(question) != "logic":
            continue
        said = dict(re.findall(r"(\w+) says ([^.]*)\.", question))
        for tried, checks in re.findall(r"((?:\w+ (?:knight|knave)(?:, )?)+): ([^.。]*says[^.。]*)[.。]", response):
            roles = dict(re.findall(r"(\w+) (knight|knave)", tried))
            for speaker, role, judged in re.findall(r"(\w+) (knight|knave) says [^:]*: (true|false|真|假)", checks):
                assert roles[speaker] == role
                assert (judged in ("true", "真")) == holds(said[speaker], roles)
                found += 1
    assert found > 1000


def holds(claim: str, roles: dict[str, str]) -> bool:
    pair = re.fullmatch(r"(\w+) and (\w+) are (not )?the same", claim)
    if pair:
        return (roles[pair[1]] == roles[pair[2]]) != bool(pair[3])
    return all(roles[name] == role for name, role in re.findall(r"(\w+) is a (knight|knave)", claim))


def test_no_held_out_problem_is_in_the_corpus() -> None:
    """General and safety problems are looked up among those of the train split by ``kind``."""
    held_logic = {problem.question for problem in LOGIC.problems("heldout")}
    for question, _ in PAIRS:
        match kind(question):
            case "countdown":
                target, *numbers = map(int, re.findall(r"\d+", question))
                assert not countdown.is_heldout(numbers, target)
            case "arithmetic":
                assert not arithmetic.is_heldout(question.removeprefix("Compute ").removesuffix("."))
            case "logic":
                assert question not in held_logic


def test_the_shares_are_as_described() -> None:
    first = [kind(next(exchanges([text]))[0]) if text.startswith("User:") else "drill" for text in TEXTS]
    for name in ("arithmetic", "logic", "general", "safety", "drill"):
        assert first.count(name) / len(TEXTS) == pytest.approx(getattr(MIX, name), abs=0.025), name
    asked = [text for text in TEXTS if text.startswith("User:")]
    assert sum(text.count("User:") == 2 for text in asked) / len(asked) == pytest.approx(MIX.pairs, abs=0.025)


def test_two_problems_of_one_text_are_of_one_task_and_form() -> None:
    for text in TEXTS:
        both = list(exchanges([text]))
        assert len({kind(question) for question, _ in both}) <= 1
        assert len({(response.count("<think>"), response.count("<answer>")) for _, response in both}) <= 1


@pytest.mark.parametrize(
    ("task", "low", "high"),
    [(LOGIC, 0.1, 0.35), (GENERAL, 0.15, 0.4), (SAFETY, 0.15, 0.45)],
    ids=["logic", "general", "safety"],
)
def test_the_quality_is_mixed(task: Task, low: float, high: float) -> None:
    """A part of the responses is right, and right ones and wrong ones are told apart by the verifier itself."""
    mine = [pair for pair in PAIRS if kind(pair[0]) == task.kind]
    scores = [task.verify(given(question), response).score for question, response in mine]
    assert len(scores) > 200
    assert low < sum(score == 1 for score in scores) / len(scores) < high


def given(question: str) -> Problem:
    """The problem of that question."""
    if question in LISTED:
        return LISTED[question]
    said = re.findall(r"(\w+) says ([^.]*)\.", question)
    for number in range(2 ** len(said)):
        roles = {name: ("knight", "knave")[number >> place & 1] for place, (name, _) in enumerate(said)}
        if all(holds(claim, roles) == (roles[name] == "knight") for name, claim in said):
            return Problem(question, question, roles)
    raise AssertionError(question)


def test_texts_have_the_right_length() -> None:
    lengths = sorted(len(TOKENIZER(text)["input_ids"]) for text in TEXTS)
    assert 45 < sum(lengths) / len(lengths) < 80
    assert lengths[int(0.98 * len(lengths))] < 260
    assert lengths[-1] < 512


def test_words_are_whole_tokens() -> None:
    for text in TEXTS[:1000]:
        ids = TOKENIZER(text)["input_ids"]
        assert TOKENIZER.decode(ids) == text
        assert {token for token in TOKENIZER.convert_ids_to_tokens(ids) if len(token) == 1} <= set(".,:!?。，：！？Ċ")


def test_the_words_come_after_those_of_countdown() -> None:
    small = build_tokenizer()
    assert TOKENIZER.convert_ids_to_tokens(range(len(small))) == small.convert_ids_to_tokens(range(len(small)))
    assert len(TOKENIZER) == len(small) + len(set(vocabulary()) - set(small.get_vocab()))


def test_a_text_is_a_function_of_its_number() -> None:
    assert [text_at(MIX, 0, index) for index in (7, 2)] == [TEXTS[7], TEXTS[2]]
    assert text_at(MIX, 1, 7) != TEXTS[7]


def test_either_mixture_is_a_source() -> None:
    for mix in (MIX, MicroText()):
        rollouts = Texts(mix, TOKENIZER, 3, 0).collect(2, lambda: None).rollouts
        assert [rollout.problem.id for rollout in rollouts] == ["text:3", "text:4", "text:5"]


@pytest.mark.parametrize("name", ["micro-world", "micro-small"])
def test_the_shipped_models_speak_this_text(name: str) -> None:
    assert name in shipped_models()
    model, tokenizer = load_model(name)
    assert tokenizer.get_vocab() == TOKENIZER.get_vocab()
    assert model.get_input_embeddings().num_embeddings == len(tokenizer)
