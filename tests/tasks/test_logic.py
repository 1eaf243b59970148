import itertools
import random
import re

import pytest

from reckon.core.records import Problem
from reckon.tasks.check import check_task
from reckon.tasks.logic import (
    LogicTask,
    Puzzle,
    Statement,
    answer_text,
    is_heldout,
    puzzle_text,
    random_puzzle,
    solutions,
)

Config = LogicTask.Config
GOLD = {"Anna": "knight", "Bert": "knave", "Carl": "knight"}
PROBLEM = Problem("logic:x", "Anna says Bert is a knave. ... Who is what?", GOLD)
PUZZLE = (Statement("is", (1,), (False,)), Statement("is", (0, 2), (False, False)), Statement("same", (0, 2), (True,)))


def answer(text: str) -> str:
    return f"<think> hm </think> <answer>{text}</answer>"


def solved_from_text(question: str) -> list[dict[str, str]]:
    """All solutions of a question, found from its words alone: another way than the task's."""
    said = re.findall(r"(\w+) says ([^.]*)\.", question)
    names = [name for name, _ in said]

    def true(claim: str, roles: dict[str, str]) -> bool:
        pair = re.fullmatch(r"(\w+) and (\w+) are (not )?the same", claim)
        if pair:
            return (roles[pair[1]] == roles[pair[2]]) != bool(pair[3])
        return all(roles[name] == role for name, role in re.findall(r"(\w+) is a (knight|knave)", claim))

    found = []
    for chosen in itertools.product(["knight", "knave"], repeat=len(names)):
        roles = dict(zip(names, chosen, strict=True))
        if all(true(claim, roles) == (roles[name] == "knight") for name, claim in said):
            found.append(roles)
    return found


def renamed(puzzle: Puzzle, order: tuple[int, ...]) -> Puzzle:
    """The same puzzle with its people counted in another order."""
    said = {order[person]: statement.renamed(order) for person, statement in enumerate(puzzle)}
    return tuple(said[person] for person in range(len(puzzle)))


def test_a_puzzle_in_words() -> None:
    names = ["Anna", "Bert", "Carl"]
    assert puzzle_text(PUZZLE, names) == (
        "Anna says Bert is a knave. Bert says Anna is a knave and Carl is a knave. "
        "Carl says Anna and Carl are the same. Who is what?"
    )
    assert solutions(PUZZLE) == [(True, False, True), (True, False, False)]
    assert answer_text((True, False, True), names) == "Anna knight, Bert knave, Carl knight"


@pytest.mark.parametrize("people", [2, 3, 4, 5])
def test_every_problem_has_the_gold_as_its_only_solution(people: int) -> None:
    config = Config(people=people, train_problems=60, heldout_problems=1)
    for problem in LogicTask(config).problems("train"):
        assert solved_from_text(problem.question) == [problem.gold]
        assert len(problem.gold) == people


def test_all_kinds_of_statements_occur() -> None:
    text = " ".join(problem.question for problem in LogicTask(Config(train_problems=100)).problems("train"))
    for words in ("is a knight.", "is a knave.", "are the same.", "are not the same.", "is a knave and "):
        assert words in text


def test_neither_names_nor_the_order_of_people_carry_a_held_out_puzzle_over() -> None:
    rng = random.Random(0)
    for _ in range(100):
        puzzle, _ = random_puzzle(rng, 3)
        forms = [renamed(puzzle, order) for order in itertools.permutations(range(3))]
        assert len({is_heldout(form) for form in forms}) == 1
    assert LogicTask(Config(train_problems=50)).problems("train")[0].id.startswith("logic:")


def test_about_one_puzzle_in_ten_is_held_out_and_the_split_never_changes() -> None:
    """Shipped models were pretrained without the held-out puzzles; another hash would leak them."""
    rng = random.Random(1)
    held = [is_heldout(random_puzzle(rng, 3)[0]) for _ in range(1000)]
    assert 0.05 < sum(held) / len(held) < 0.16
    assert [index for index in range(60) if held[index]] == [5, 12, 28, 41]


@pytest.mark.parametrize(
    "text",
    [
        "Anna knight, Bert knave, Carl knight",
        "Carl knight, Anna knight, Bert knave.",
        "ANNA: Knight; bert: KNAVE; (Carl) knight!",
        "Anna is a knight, Bert is a knave and Carl is a knight.",
        "- Anna: knight\n- Bert: knave\n- Carl: knight",
        "Anna knight Bert knave Carl knight",
    ],
)
def test_case_order_and_punctuation_do_not_matter(text: str) -> None:
    verdict = LogicTask().verify(PROBLEM, answer(text))
    assert (verdict.score, verdict.extracted) == (1.0, "Anna knight, Bert knave, Carl knight")


@pytest.mark.parametrize(
    "text",
    [
        "Anna knight, Bert knave",
        "Anna knight, Bert knave, Carl knight, Dora knave",
        "Anna knight, Bert knave, Carl knight, Carl knight",
        "Anna knight, Bert knave, Carl knight, Carl knave",
        "Anna not knight, Bert knave, Carl knight",
        "Anna is not a knight, Bert knave, Carl knight",
        "Anna knight, Bert knave, Carl knight or knave",
        "Anna knight or Anna knave, Bert knave, Carl knight",
        "knight, knave, knight",
        "Anna knights, Bert knave, Carl knight",
        "Anna \u212anight, Bert knave, Carl knight",
        "Anna knight, Bert knave, Carl knight because I say so",
        "Anna knight" + " " * 500 + ", Bert knave, Carl knight",
    ],
)
def test_all_else_is_unreadable(text: str) -> None:
    verdict = LogicTask().verify(PROBLEM, answer(text))
    assert (verdict.score, verdict.reason, verdict.extracted) == (0.0, "not one role for each", None)


def test_a_wrong_answer_is_read_and_scores_nothing() -> None:
    verdict = LogicTask().verify(PROBLEM, answer("Anna knave, Bert knave, Carl knight"))
    assert (verdict.score, verdict.reason) == (0.0, "wrong")
    assert verdict.extracted == "Anna knave, Bert knave, Carl knight"


def test_the_rules_can_be_told_and_change_nothing_else() -> None:
    plain, told = (LogicTask(Config(rules=rules, train_problems=5)).problems("train") for rules in (False, True))
    assert [problem.id for problem in plain] == [problem.id for problem in told]
    assert [problem.gold for problem in plain] == [problem.gold for problem in told]
    for short, long in zip(plain, told, strict=True):
        assert short.question in long.question
        assert "always lie" in long.question
        assert all(f"{name} knight-or-knave" in long.question for name in short.gold)


@pytest.mark.parametrize("rules", [False, True])
def test_the_self_check_passes(rules: bool) -> None:
    config = Config(people=[2, 3, 4], rules=rules, train_problems=40, heldout_problems=10)
    report = check_task(LogicTask(config), problems=8, deadline_s=30)
    assert report.failures == []
    assert report.golds == 16
