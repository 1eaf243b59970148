import pytest

from reckon.sandbox.limits import Limits
from reckon.sandbox.program import Sandbox
from reckon.tasks.code.extract import Code
from reckon.tasks.code.functions import judge_function
from reckon.tasks.code.generate import K15, Agreement, breaking, function_tests, program_tests
from reckon.tasks.code.gold import FunctionGold, ProgramGold
from reckon.tasks.code.inputs import mutated
from reckon.tasks.code.judging import run_rounds
from reckon.tasks.code.programs import judge_program
from reckon.tasks.code.suite import Suite, record

LIMITS = Limits(timeout_s=2)
PROMPT = 'def halves(numbers):\n    """The halves of the even numbers."""\n'
RIGHT = "def halves(numbers):\n    return [n // 2 for n in numbers if n % 2 == 0]\n"
ALSO = "def halves(numbers):\n    return list(map(lambda n: n >> 1, filter(lambda n: not n & 1, numbers)))\n"
WRONG = "def halves(numbers):\n    return [int(n / 2) for n in numbers if n % 2 == 0 and n > 0]\n"


def test_the_default_rule_is_k15s() -> None:
    assert (K15.agree, K15.valid, K15.passing) == (0.7, 40 / 50, 0.9)


def test_tests_of_a_function(sandbox: Sandbox) -> None:
    inputs = mutated([[[1, 2, 3, 4]], [[-2, 0]]], 20)
    made = function_tests(PROMPT, "halves", [RIGHT, ALSO] * 5, inputs, sandbox, LIMITS)
    assert (made.why, made.tests, made.dropped, made.passing) == ("", 20, [], [True] * 10)
    assert isinstance(made.gold, FunctionGold)
    [suite] = run_rounds(sandbox, [record(made.gold, LIMITS)])
    assert isinstance(suite, Suite)
    codes = [Code("", RIGHT), Code("", ALSO), Code("", WRONG)]
    verdicts = run_rounds(sandbox, [judge_function(suite, code, LIMITS) for code in codes])
    assert [verdict.reason for verdict in verdicts] == ["correct", "correct", "wrong"]


def test_solutions_have_to_agree(sandbox: Sandbox) -> None:
    inputs = [[[2, 4]], [[6]], [[8, 1]], [[10]], [[-2]]]
    # Seven of ten agree on the negative number, and so decide; but then three of ten fail a test.
    made = function_tests(PROMPT, "halves", [RIGHT] * 7 + [WRONG] * 3, inputs, sandbox, LIMITS)
    assert made.gold is None
    assert made.why == "only 7 of 10 solutions pass all tests"
    assert made.passing == [True] * 7 + [False] * 3
    # Six do not: the input is dropped, the tests left are passed by all, and are four of five inputs: enough.
    made = function_tests(PROMPT, "halves", [RIGHT] * 6 + [WRONG] * 4, inputs, sandbox, LIMITS)
    assert made.dropped == [([[-2]], "6 of 10 solutions agree, 0 give no output")]
    assert (made.why, made.tests, made.passing) == ("", 4, [True] * 10)
    made = function_tests(PROMPT, "halves", [RIGHT] * 6 + [WRONG] * 4, inputs[2:], sandbox, LIMITS)
    assert (made.gold, made.why) == (None, "only 2 of 3 inputs became tests")


def test_what_cannot_be_an_expected_value(sandbox: Sandbox) -> None:
    prompt, rule = "def f(x):\n", Agreement(valid=0.1)
    code = "def f(x):\n    return [[1], float('nan'), object(), f, iter([]), {'a': (1.5, None)}][x]\n"
    made = function_tests(prompt, "f", [code], [[x] for x in range(6)], sandbox, LIMITS, rule)
    assert [given for given, _ in made.dropped] == [[1], [2], [3], [4]]
    raising = "def f(x):\n    return 1 // x\n"
    made = function_tests(prompt, "f", [raising] * 3, [[0], [1]], sandbox, LIMITS, rule)
    assert made.dropped == [([0], "0 of 3 solutions agree, 3 give no output")]


def test_tests_of_a_program(sandbox: Sandbox) -> None:
    right = "print(sum(map(int, input().split())))"
    also = "import sys\nsys.stdout.write(str(eval('+'.join(sys.stdin.read().split()))) + ' \\n\\n')"
    inputs = ["1 2\n", "3 4 5\n", "0\n", "7 x\n", "9 9\n", "5\n"]
    made = program_tests([right, also, right], inputs, sandbox, LIMITS)
    assert made.dropped == [("7 x\n", "0 of 3 solutions agree, 3 give no output")]
    assert isinstance(made.gold, ProgramGold)
    assert made.gold.tests == (("1 2\n", "3"), ("3 4 5\n", "12"), ("0\n", "0"), ("9 9\n", "18"), ("5\n", "5"))
    assert made.gold.reference == right
    judged = [judge_program(made.gold, Code("", code), LIMITS, every_test=True) for code in (also, "print(3)")]
    assert [one.passes for one in run_rounds(sandbox, judged)] == ["11111", "10000"]


def test_nothing_agrees(sandbox: Sandbox) -> None:
    made = program_tests(["print(1)", "print(2)"], ["a", "b"], sandbox, LIMITS)
    assert (made.gold, made.tests, made.why) == (None, 0, "only 0 of 2 inputs became tests")


def test_the_tests_that_break_wrong_solutions() -> None:
    assert breaking(["1101", "1001", "1110", "1111"]) == [2, 3]
    assert breaking(["111"]) == []
    assert breaking([]) == []
    assert breaking(["0111", "1011"]) == [0, 1]


def test_rules_out_of_range() -> None:
    for rule in ({"agree": 0.5}, {"passing": 0}, {"valid": 1.1}):
        with pytest.raises(ValueError):  # noqa: PT011
            Agreement(**rule)  # type: ignore[arg-type]
