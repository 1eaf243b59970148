import pytest

from reckon.tasks.math.words import (
    Clock,
    choice,
    clock,
    date,
    gold_choice,
    gold_option,
    in_base,
    normal,
    option,
    texts,
    truth,
)


@pytest.mark.parametrize(
    ("text", "letters"), [("B", "B"), ("(C)", "C"), ("AC", "AC"), ("A, C", "AC"), ("A and C", "AC")]
)
def test_gold_choices(text: str, letters: str) -> None:
    assert gold_choice(text) == frozenset(letters)


@pytest.mark.parametrize("text", ["x", "M", "AA", "12", "Beta", "b", ""])
def test_golds_that_are_no_choice(text: str) -> None:
    assert gold_choice(text) is None


@pytest.mark.parametrize(
    ("text", "letters"),
    [
        ("b", "B"),
        (r"\text{(B)}", "B"),
        ("B. Paris", "B"),
        ("Option B", "B"),
        ("选项B", "B"),
        ("B, C", "BC"),
        ("ABCD", "ABCD"),
    ],
)
def test_choices(text: str, letters: str) -> None:
    assert choice(text) == frozenset(letters)


@pytest.mark.parametrize("text", ["B or C", "not B", "B. or C", "(B) (C)", "Paris", "", "B because"])
def test_texts_that_choose_nothing(text: str) -> None:
    assert choice(text) is None


def test_golds_with_a_letter_and_a_value() -> None:
    assert gold_option("(B) 12") == gold_option(r"\text{(B)} 12") == ("B", "12")
    for text in ("(B)", "(A) (B)", "(A) and (C)", "(A)+1", "(A)-3", "B 12", "f(A) 2"):
        assert gold_option(text) is None


def test_answers_with_a_letter_and_a_value() -> None:
    for text in ("(B) 12", "B. 12", "b) 12", r"\text{(B)} 12", "Option B: 12"):
        assert option(text) == ("B", "12")
    for text in ("B", "(B)", "12", "12B"):
        assert option(text) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("Yes", True), ("true.", True), ("是的", True), ("No", False), ("不是", False), ("Yes, it is even", True)),
        *(("Yes and no", None), ("Yes, or no", None), ("not false", None), ("maybe", None), ("", None)),
    ],
)
def test_truth(text: str, value: bool | None) -> None:
    assert truth(text) is value


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("March 5, 2024", (2024, 3, 5)),
        ("5 March 2024", (2024, 3, 5)),
        ("Sept. 5", (None, 9, 5)),
        ("2024-03-05", (2024, 3, 5)),
        ("2024年3月5日", (2024, 3, 5)),
        ("the 5th of March", None),
        ("2024-13-05", None),
        ("March 50", None),
        ("March", None),
        ("3/4", None),
    ],
)
def test_dates(text: str, day: tuple[int | None, int, int] | None) -> None:
    assert date(text) == day


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("3:30 PM", Clock(3, 30, 0, True)),
        (r"3:30\text{ a.m.}", Clock(3, 30, 0, False)),
        ("15:30", Clock(15, 30, 0, None)),
        ("3 pm", Clock(3, 0, 0, True)),
        ("下午3点半", Clock(3, 30, 0, True)),
        ("3:5", None),
        ("2:60", None),
        ("25:00", None),
        ("3", None),
    ],
)
def test_times(text: str, time: Clock | None) -> None:
    assert clock(text) == time


@pytest.mark.parametrize(
    ("first", "second", "meets"),
    [
        ("3:30 PM", "15:30", True),
        ("3:30 PM", "3:30", True),
        ("3:30 AM", "3:30", True),
        ("12:15 AM", "0:15", True),
        ("12:15 PM", "12:15", True),
        ("3:30 PM", "3:30 AM", False),
        ("3:30 AM", "15:30", False),
        ("12:00", "0:00", False),
        ("3:30", "15:30", False),
    ],
)
def test_times_that_may_be_the_same(first: str, second: str, meets: bool) -> None:
    one, other = clock(first), clock(second)
    assert one is not None
    assert other is not None
    assert one.meets(other) is other.meets(one) is meets


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (r"1011_{2}", ("1011", 2)),
        (r"ff_{16}", ("FF", 16)),
        ("0xFF", ("FF", 16)),
        ("1011 base 2", ("1011", 2)),
        ("0101", ("101", None)),
        ("1021_2", None),
        ("12_{1}", None),
        ("x+1", None),
    ],
)
def test_numbers_in_a_base(text: str, number: tuple[str, int | None] | None) -> None:
    assert in_base(text) == number


def test_texts_are_compared_without_case_articles_and_punctuation() -> None:
    assert normal(r"\text{The Parabola.}") == normal("parabola")
    assert normal("not a parabola") != normal("parabola")
    assert texts("Bob and Alice") == texts("Alice, Bob")
