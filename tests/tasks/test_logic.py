import hashlib
import itertools
import json
import random
import re
from pathlib import Path

import pytest

from reckon.core.errors import DataError
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
        if claim.startswith("if "):
            condition, _, consequence = claim.removeprefix("if ").partition(" then ")
            return true(consequence, roles) or not true(condition, roles)
        for words, combine in ((" if and only if ", bool.__eq__), (" or ", bool.__or__)):
            if words in claim:
                left, _, right = claim.partition(words)
                return bool(combine(true(left, roles), true(right, roles)))
        if " is not a " in claim:
            return not true(claim.replace(" is not a ", " is a "), roles)
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


@pytest.mark.parametrize("statements", ["basic", "full"])
@pytest.mark.parametrize("people", [2, 3, 4, 5, 8])
def test_every_problem_has_the_gold_as_its_only_solution(people: int, statements: str) -> None:
    config = Config(people=people, statements=statements, train_problems=30, heldout_problems=1)
    for problem in LogicTask(config).problems("train"):
        assert solved_from_text(problem.question) == [problem.gold]
        assert len(problem.gold) == people


def test_the_basic_puzzles_are_those_the_shipped_models_were_pretrained_on() -> None:
    """Another generator would leak held-out puzzles into what the models know, and change every published number."""
    rng = random.Random(7)
    puzzles = [random_puzzle(rng, rng.choice([2, 3, 4, 5]))[0] for _ in range(500)]
    said = repr([[(one.kind, one.people, one.knights) for one in puzzle] for puzzle in puzzles])
    assert hashlib.sha256(said.encode()).hexdigest().startswith("f3286bd182d04fc2")
    problems = LogicTask(Config(people=[2, 3, 4, 5], seed=3, rules=True, heldout_problems=40)).problems("heldout")
    asked = repr([(problem.id, problem.question, problem.gold) for problem in problems])
    assert hashlib.sha256(asked.encode()).hexdigest().startswith("9f72c3ec7ae2ca46")


@pytest.mark.parametrize(
    ("statement", "text", "false_for"),
    [
        (Statement("not", (1,), (False,)), "Bert is not a knave", [(1, 0), (0, 0)]),
        (Statement("or", (0, 1), (True, False)), "Anna is a knight or Bert is a knave", [(0, 1)]),
        (Statement("if", (0, 1), (True, False)), "if Anna is a knight then Bert is a knave", [(1, 1)]),
        (Statement("iff", (1, 0), (True, False)), "Bert is a knight if and only if Anna is a knave", [(1, 1), (0, 0)]),
    ],
)
def test_the_full_statements(statement: Statement, text: str, false_for: list[tuple[int, int]]) -> None:
    assert statement.text(["Anna", "Bert"]) == text
    for assignment in itertools.product((True, False), repeat=2):
        true = assignment not in [tuple(map(bool, one)) for one in false_for]
        assert statement.holds(assignment) == true
        assert statement.renamed((0, 1)).holds(assignment) == true
        assert statement.renamed((1, 0)).holds(assignment[::-1]) == true


def test_all_kinds_of_full_statements_occur() -> None:
    config = Config(statements="full", train_problems=100, heldout_problems=20)
    text = " ".join(problem.question for problem in LogicTask(config).problems("train"))
    for words in ("is not a", " or ", "says if ", " then ", " if and only if ", "are the same.", " is a knave and "):
        assert words in text


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


@pytest.mark.parametrize("people", [3, 7])
def test_nor_does_another_wording_of_the_same_statements(people: int) -> None:
    """Beyond five people the split is that of a description which does not try all orders."""
    rng = random.Random(0)
    found = set()
    for _ in range(60):
        puzzle, _ = random_puzzle(rng, people, "full")
        order = list(range(people))
        rng.shuffle(order)
        assert is_heldout(renamed(puzzle, tuple(order))) == is_heldout(puzzle)
        assert len(solutions(renamed(puzzle, tuple(order)))) == 1
        found.add(is_heldout(puzzle))
    assert found == {True, False}


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
        "(1) Anna is a knight\n(2) Bert is a knave\n(3) Carl is a knight",
        "(1) Anna is a knight, (2) Bert is a knave, (3) Carl is a knight",
        "1. Anna is a knight\n2. Bert is a knave\n10) Carl is a knight",
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
        "Anna knight, 2 Bert knave, Carl knight",
        "(1) Anna is a knight\n(2) Bert is a knave\n(3) Bert is a knight",
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


QUIZ = (
    "A very special island is inhabited only by knights and knaves. Knights always tell the truth, and knaves always "
    'lie. You meet 2 inhabitants: {0}, and {1}. {0} remarked, "{1} is not a {2}". {1} stated, "{0} is a knight". '
    "So who is a knight and who is a knave?"
)


def row(first: str = "Zoey", second: str = "Oliver", role: str = "knave", **changed: object) -> dict[str, object]:
    quiz = QUIZ.format(first, second, role)
    return {"quiz": quiz, "names": [first, second], "solution": [True, False], "index": 0, **changed}


def task_with(folder: Path, rows: list[dict[str, object]], **settings: object) -> LogicTask:
    (folder / "kk.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    return LogicTask(Config(path=str(folder / "kk.jsonl"), **settings))


def test_published_puzzles_are_read(tmp_path: Path) -> None:
    task = task_with(tmp_path, [row(), row(), row(role="knight")])
    found = [*task.problems("train")]
    assert [problem.question for problem in found] == [row()["quiz"], row(role="knight")["quiz"]]
    assert found[0].gold == {"Zoey": "knight", "Oliver": "knave"}
    verdict = task.verify(found[0], answer("(1) Zoey is a knight\n(2) Oliver is a knave"))
    assert (verdict.score, verdict.extracted) == (1.0, "Zoey knight, Oliver knave")
    told = task_with(tmp_path, [row()], rules=True).problems("train")[0]
    assert told.question == f"{row()['quiz']} Answer in this form, naming everyone: " + (
        "Zoey knight-or-knave, Oliver knight-or-knave"
    )


def test_a_published_puzzle_keeps_its_split_under_other_names(tmp_path: Path) -> None:
    roles = [f"knave-{number}" for number in range(60)]
    splits = []
    for first, second in (("Zoey", "Oliver"), ("Mia", "Noah")):
        task = task_with(tmp_path, [row(first, second, role) for role in roles])
        held = {problem.question for problem in task.problems("heldout")}
        assert not held & {problem.question for problem in task.problems("train")}
        splits.append([QUIZ.format(first, second, role) in held for role in roles])
    assert splits[0] == splits[1]
    assert 0 < sum(splits[0]) < 20


def test_puzzles_in_which_knaves_tell_the_truth(tmp_path: Path) -> None:
    quiz = str(row()["quiz"]).replace(
        "Knights always tell the truth, and knaves", "Knaves always tell the truth, and knights"
    )
    assert task_with(tmp_path, [row(quiz=quiz)]).problems("train")[0].gold == {"Zoey": "knave", "Oliver": "knight"}
    with pytest.raises(DataError, match=r"kk\.jsonl:1: those who tell the truth are called 'pioneer'"):
        task_with(tmp_path, [row(quiz=quiz.replace("Knaves", "Pioneers"))]).problems("train")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"quiz": 3}, "'quiz' must be text"),
        ({"solution": [True]}, "lists of one length"),
        ({"solution": ["True", "False"]}, "true and false"),
        ({"names": ["Zoey", "zoey"]}, "the same name"),
        ({"names": ["Zoey", "O'Neil"]}, "letters A to Z"),
        ({"names": "Zoey"}, "lists of one length"),
    ],
)
def test_bad_rows(tmp_path: Path, changed: dict[str, object], message: str) -> None:
    with pytest.raises(DataError) as error:
        task_with(tmp_path, [row(**changed)]).problems("train")
    assert "kk.jsonl:1" in str(error.value)
    assert message in str(error.value)


def test_a_file_without_held_out_puzzles(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no row falls into the heldout split"):
        task_with(tmp_path, [row()]).problems("heldout")


@pytest.mark.parametrize(("rules", "statements"), [(False, "basic"), (True, "basic"), (True, "full")])
def test_the_self_check_passes(rules: bool, statements: str) -> None:
    config = Config(people=[2, 3, 4], statements=statements, rules=rules, train_problems=40, heldout_problems=10)
    report = check_task(LogicTask(config), problems=8, deadline_s=30)
    assert report.failures == []
    assert report.golds == 16
