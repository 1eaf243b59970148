import importlib.util
import json
import sys
import time

import pytest

from reckon.core.errors import ConfigError
from reckon.core.records import Problem, Verdict
from reckon.sandbox.pool import Outcome
from reckon.tasks.check import check_task
from reckon.tasks.reasoning_gym import ReasoningGymTask
from reckon.tasks.reasoning_gym import task as module
from reckon.tasks.reasoning_gym.soundness import ANY_ORDER, EXACT, FORMS, REFUSED, objection, same

Config = ReasoningGymTask.Config
needs_gym = pytest.mark.skipif(
    importlib.util.find_spec("reasoning_gym") is None, reason="the package reasoning-gym is not installed"
)


def answer(text: str) -> str:
    return f"<think> hm </think> <answer>{text}</answer>"


def make(name: str, train: int = 12, heldout: int = 6, **settings: object) -> ReasoningGymTask:
    return ReasoningGymTask(Config(name=name, train_problems=train, heldout_problems=heldout, **settings))


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("simple_integration", "-3*X**3*sin(X) - 9*X**2*cos(X) + 13*X/4 + C"),
        ("intermediate_integration", "3*x*atan(x) - 3*log(x**2 + 1)/2 + E**(2*x)*sqrt(1 - 9*x) + C"),
        ("complex_arithmetic", "-5.0 + 20.0i"),
        ("fraction_simplification", "$\\dfrac{196}{271}$"),
        ("fraction_simplification", "233/380"),
        ("gsm_symbolic", "-72.5"),
        ("kakurasu", "1 0 1\n0 0 1"),
        ("knights_knaves", "Lily is an egoist, and Logan is an altruist."),
        ("knights_knaves", "Lily is a hero, Logan is a hero, and Ava is a villain"),
        ("n_queens", "_ Q _\nQ _ _"),
        ("quantum_lock", "C → A → C"),
        ("quantum_lock", "CAC"),
        ("bitwise_arithmetic", "-0x94b47bf"),
        ("complex_arithmetic", "7i"),
        ("complex_arithmetic", "-3 - i"),
        ("knight_swap", '["w,C1,A2", "B,B3,C1"]'),
        ("knight_swap", "No"),
        ("prime_factorization", "3 × 3 × 71"),
        ("palindrome_partitioning", '[["a","a","b"], ["aa","b"]]'),
        ("sokoban", "LRUD"),
        ("tower_of_hanoi", "Move disk 1 from Peg 1 to Peg 3\nMove disk 2 from Peg 1 to Peg 2"),
        ("survo", "6 9 24\n10 1 11"),
        ("time_intervals", "36 days, 15:43"),
        ("time_intervals", "10:21:28.080"),
    ],
)
def test_answers_in_the_form_asked_for(name: str, form: str) -> None:
    assert objection(name, form, form) == ""


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("simple_integration", "__import__('os').system('true')"),
        ("simple_integration", "exec(x)"),
        ("simple_integration", "open(C)"),
        ("simple_integration", "x.y"),
        ("simple_integration", "x[0]"),
        ("simple_integration", "'x'"),
        ("simple_integration", "9**9**9**9"),
        ("simple_integration", "x**999"),
        ("simple_integration", "(9) ** (999)"),
        ("intermediate_integration", "Integral(x**2*cos(x), x)"),
        ("n_queens", "().__class__"),
        ("complex_arithmetic", "nan"),
        ("complex_arithmetic", "-5.0 + 2 0.0i"),
        ("complex_arithmetic", "5.00000000000000000001"),
        ("bitwise_arithmetic", "0x_a_0"),
        ("knight_swap", "I think no"),
        ("prime_factorization", "3 × × 7"),
        ("prime_factorization", "3 × 7_1"),
        ("palindrome_partitioning", '["ab"]'),
        ("palindrome_partitioning", '[["a","b"],"ab"]'),
        ("palindrome_partitioning", '{"ab": 1}'),
        ("tower_of_hanoi", "do not Move disk 1 from Peg 1 to Peg 3"),
        ("tower_of_hanoi", "Move disk 1 from Peg 1 to Peg 3 or 2"),
        ("gsm_symbolic", "5 or 6"),
        ("gsm_symbolic", "the answer is 5"),
        ("knights_knaves", "Lily is an egoist. I think that Logan is an altruist."),
        ("fraction_simplification", "1/2 or 1/3"),
        ("kakurasu", "1 0 1 perhaps"),
        ("quantum_lock", "A or B"),
        ("sokoban", "go LRUD"),
        ("time_intervals", "89 days or so"),
    ],
)
def test_code_prose_and_hedges_never_reach_a_scorer(name: str, text: str) -> None:
    assert objection(name, text, "x" * 40) == "not in the form asked for"


@pytest.mark.parametrize("name", sorted(FORMS))
def test_forms_are_matched_in_linear_time(name: str) -> None:
    texts = ["1" * 4000, "A " * 2000, "Lily is a hero " * 300, "x*" * 2000, "(" * 4000, "1.1" * 1500, " " * 4000]
    start = time.process_time()
    for text in texts:
        objection(name, text, "x" * 2000)
        objection(name, f"{text}?", "x" * 2000)
    assert time.process_time() - start < 0.5


def test_an_answer_much_longer_than_the_gold_one_is_refused() -> None:
    assert objection("gcd", "7 " * 200, "7") == "too long"
    assert objection("gcd", "7", "7") == ""
    assert objection("rubiks_cube", "F" + " F" * 2000, None) == ""


@pytest.mark.parametrize(("text", "right"), [("True", True), ("true", True), ("False", False), ("anything", False)])
def test_the_gold_text_and_nothing_else(text: str, right: bool) -> None:
    assert same(text, "True") == right


def test_numbers_are_compared_exactly() -> None:
    assert same("2.9814112421", "2.98141124210")
    assert not same("2.981", "2.98141124210")


@pytest.mark.parametrize(
    ("text", "gold", "right"),
    [
        ("-309", "-309", True),
        ("1,010", "1010", True),
        ("-3,09", "-309", False),
        ("-3_09", "-309", False),
        ('["-44.3", "5"]', "['-44.3', '5.0']", True),
        ("[-44.3, 5]", "['-44.3', '5.0']", True),
        ("['-45.3', '5.0']", "['-44.3', '5.0']", False),
        ("['5.0', '-44.3']", "['-44.3', '5.0']", False),
        ("['-44.3', '5.0", "['-44.3', '5.0']", False),
        ("[[0, 1],\n [1, 0]]", "[[0,1],[1,0]]", True),
        ("[[0,1,1],[1,0]]", "[[0,1],[1,0]]", False),
        ("[[0,1],[1,0],[0,0]]", "[[0,1],[1,0]]", False),
        ("[0,1,1,0]", "[[0,1],[1,0]]", False),
        ("[[false,1],[1,0]]", "[[0,1],[1,0]]", False),
        ("3 6.560 \n1.5 2", "3.0 6.56\n1.5 2.0", True),
        ("3.0 6.58\n1.5 2.0", "3.0 6.56\n1.5 2.0", False),
        ("3.0 6.56 1.5 2.0", "3.0 6.56\n1.5 2.0", False),
        ("3.0 6.56 # or 7\n1.5 2.0", "3.0 6.56\n1.5 2.0", False),
        ("1 - 2", "1 -2", False),
        ("1.2.3", "1.2 3", False),
    ],
)
def test_lists_and_matrices_are_compared_number_by_number(text: str, gold: str, right: bool) -> None:
    assert same(text, gold) == right


@pytest.mark.parametrize(
    ("text", "gold", "right"),
    [
        ("0, -0.04", "-0.04, 0.0", True),
        ("-0.0400,0.0", "-0.04, 0.0", True),
        ("-0.04", "-0.04, 0.0", False),
        ("-0.04, 0.0, 0.0", "-0.04, 0.0", False),
        ("-0.04, 0.00000000000000000001", "-0.04, 0.0", False),
        ("nonsense 1,000", "0.0", False),
        ("1,000", "0.0", False),
        ("zzz, 0.0", "0.0", False),
    ],
)
def test_a_list_in_any_order(text: str, gold: str, right: bool) -> None:
    assert same(text, gold, any_order=True) == right


def test_no_set_has_two_rules() -> None:
    assert not {*REFUSED} & {*EXACT, *FORMS}
    assert not EXACT & {*FORMS}
    assert ANY_ORDER <= EXACT


def test_without_the_package_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    monkeypatch.delitem(sys.modules, "reckon.tasks.reasoning_gym.gym", raising=False)
    monkeypatch.delattr(sys.modules["reckon.tasks.reasoning_gym"], "gym", raising=False)
    with pytest.raises(ConfigError, match=r"pip install reasoning-gym==0\.1\.25"):
        make("gcd")


@pytest.mark.parametrize(
    ("outcome", "verdict"),
    [
        (Outcome("ok", {"score": 1.0}), Verdict(1.0, "correct", "7", {"score": 1.0})),
        (Outcome("ok", {"score": 0.999}), Verdict(0.0, "wrong", "7", {"score": 0.999})),
        (Outcome("ok", {"raised": "ValueError"}), Verdict(0.0, "unreadable answer", "7", {"raised": "ValueError"})),
        (Outcome("ok", {"lost": True}), Verdict(None, "the item cannot be made again", "7")),
        (Outcome("timed out"), Verdict(None, "timed out", "7")),
        (Outcome("crashed"), Verdict(None, "crashed", "7")),
    ],
)
def test_what_an_outcome_means(outcome: Outcome, verdict: Verdict) -> None:
    assert module._verdict(outcome, "7") == verdict


@needs_gym
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "countdwn"}, "no set 'countdwn'"),
        ({"name": "sokobann"}, "no set 'sokobann'; did you mean 'sokoban'?"),
        ({"name": "puzzle24"}, "the set 'puzzle24' cannot be used: its scorer runs the answer as code"),
        ({"name": "list_functions"}, "so no run could be resumed"),
        ({"name": "gcd", "params": {"min_number": 3}}, "no parameter 'min_number'; did you mean 'min_numbers'?"),
        ({"name": "gcd", "params": {"min_numbers": 0}}, "the set refuses its settings"),
        ({"name": "gsm_symbolic", "level": 2}, "has no curriculum"),
    ],
)
def test_config_errors(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        ReasoningGymTask(Config(**settings))
    assert message in str(error.value)


@needs_gym
def test_splits_are_disjoint_and_a_function_of_the_settings() -> None:
    first, again, other = make("gcd"), make("gcd"), make("gcd", seed=1)
    assert first.problems("train") == again.problems("train")
    assert first.problems("train") != other.problems("train")
    ids = {split: {problem.id for problem in first.problems(split)} for split in ("train", "heldout")}
    assert not ids["train"] & ids["heldout"]
    few = make("count_bits", train=60, heldout=4, params={"min_n": 1, "max_n": 8})
    questions = [problem.question for split in ("train", "heldout") for problem in few.problems(split)]
    assert len(questions) == len({*questions}) <= 8


@needs_gym
def test_levels_and_parameters_reach_the_set() -> None:
    def digits(**settings: object) -> int:
        return max(len(problem.gold["answer"]) for problem in make("chain_sum", **settings).problems("train"))

    assert digits(level=0) < digits(level=3)
    assert digits(params={"min_digits": 9, "max_digits": 9}) >= 9


@needs_gym
def test_only_a_score_of_exactly_one_is_right() -> None:
    task = make("gcd")
    problem = task.problems("train")[0]
    gold = problem.gold["answer"]
    assert task.verify(problem, answer(f" {gold} ")).score == 1.0
    partly = task.verify(problem, answer(f"it is {gold}"))
    assert (partly.score, partly.reason) == (0.0, "wrong")
    assert 0 < partly.detail["score"] < 1


@needs_gym
def test_a_scorer_that_raises_has_not_read_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    from reckon.tasks.reasoning_gym import gym

    class Set:
        def __getitem__(self, index: int) -> dict[str, object]:
            return {"question": "?"}

        def score_answer(self, text: str, item: object) -> float:
            return float(text)

    monkeypatch.setattr(gym, "_set", lambda settings: Set())
    job = {"set": {"name": "raises"}, "index": 0, "question": "?"}
    assert gym.score({**job, "answer": "0.5"}) == {"score": 0.5}
    assert gym.score({**job, "answer": "half"}) == {"raised": "ValueError"}
    assert gym.score({**job, "question": "??", "answer": "0.5"}) == {"lost": True}
    gym._item.cache_clear()


@needs_gym
def test_a_partition_is_a_list_of_its_parts() -> None:
    task = make("palindrome_partitioning", train=4, params={"max_string_len": 6, "max_substring_palindrome_len": 3})
    for problem in task.problems("train"):
        partitions = json.loads(problem.gold["answer"])
        letters = json.dumps(["".join(parts) if max(map(len, parts)) == 1 else parts for parts in partitions])
        texts = (json.dumps(partitions[::-1]), letters, json.dumps(partitions[1:]))
        assert [task.verify(problem, answer(text)).score for text in texts] == [1.0, 0.0, 0.0]


@needs_gym
@pytest.mark.parametrize("name", ["boxnet", "rush_hour"])
def test_sets_that_let_an_answer_try_every_move_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="tries every move"):
        make(name)


@needs_gym
def test_an_item_that_changed_gives_no_score() -> None:
    task = make("gcd")
    problem = task.problems("train")[0]
    changed = Problem(problem.id, "another question", problem.gold)
    assert task.verify(changed, answer(problem.gold["answer"])).score is None


@needs_gym
@pytest.mark.parametrize("name", ["n_queens", "binary_matrix", "string_insertion", "simple_integration"])
def test_an_answer_that_is_code_is_not_run(name: str, tmp_path: object) -> None:
    mark = f"{tmp_path}/ran"
    task = make(name, train=3, heldout=2)
    code = answer(f"__import__('pathlib').Path({mark!r}).touch()")
    verdicts = task.verify_all([(problem, code) for problem in task.problems("train")])
    assert [verdict.score for verdict in verdicts] == [0.0] * len(verdicts)
    assert not __import__("pathlib").Path(mark).exists()


@needs_gym
@pytest.mark.parametrize("name", sorted({*EXACT, *FORMS} - {"knight_swap"}))  # Its items take seconds to make.
def test_the_gold_answers_of_a_set_are_right_and_in_its_form(name: str) -> None:
    task = make(name, train=2, heldout=3)
    for problem in task.problems("heldout"):
        gold = problem.gold["answer"]
        assert gold is None or (objection(name, gold.strip(), gold) == "" and same(gold.strip(), gold))


@needs_gym
@pytest.mark.parametrize("name", ["chain_sum", "number_sorting", "game_of_life", "pool_matrix", "polynomial_equations"])
def test_a_number_more_is_wrong_and_the_gold_answer_right(name: str) -> None:
    task = make(name, train=3, heldout=2)
    for problem in task.problems("train"):
        gold = problem.gold["answer"]
        texts = (gold, f"{gold} 0", f"{gold}, 0", gold.replace("]", ", 0]", 1) + ("" if "]" in gold else "1"))
        assert [task.verify(problem, answer(text)).score for text in texts] == [1.0, 0.0, 0.0, 0.0]


@needs_gym
@pytest.mark.parametrize("name", ["gcd", "knights_knaves", "sokoban", "simple_integration", "game_of_life_halting"])
def test_the_self_check_passes(name: str) -> None:
    report = check_task(make(name, train=4, heldout=3), problems=2, deadline_s=30)
    assert report.failures == []
    assert report.golds == 4
