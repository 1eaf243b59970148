import pytest

from reckon.tasks.math.units import agree, read_unit


@pytest.mark.parametrize(
    ("phrase", "unit"),
    [
        ("cm", "centimeter"),
        ("centimetres", "centimeter"),
        ("cm^2", "centimeter^2"),
        ("cm^{2}", "centimeter^2"),
        ("square cm", "centimeter^2"),
        ("cm squared", "centimeter^2"),
        ("平方厘米", "centimeter^2"),
        ("km/h", "kilometer*hour^-1"),
        ("kilometers per hour", "kilometer*hour^-1"),
        ("kph", "kilometer*hour^-1"),
        ("mph", "mile*hour^-1"),
        ("m/s^2", "meter*second^-2"),
        ("m s^{-2}", "meter*second^-2"),
        ("dollars", "dollar"),
        ("apples", "apple"),
        ("red apples", "apple*red"),
        ("boxes", "box"),
        ("个", "item"),
        ("个苹果", "苹果"),
        ("°C", "celsius"),
        ("°", "degree"),
        ("cm or m", None),
        ("more", None),
        ("million", None),
        ("不", None),
        ("三", None),
        ("= 5", None),
        ("one two three four five six", None),
    ],
)
def test_reading(phrase: str, unit: str | None) -> None:
    assert read_unit(phrase) == unit


@pytest.mark.parametrize(
    ("first", "second", "agreed"),
    [
        ("meter", "meter", True),
        ("meter", "", True),
        ("", "meter", True),
        ("meter", "centimeter", False),
        ("meter", "meter^2", False),
        ("item", "苹果", True),
        ("item", "meter", False),
        ("item", "yuan", False),
        ("apple", "orange", False),
    ],
)
def test_agreement(first: str, second: str, agreed: bool) -> None:
    assert agree(first, second) is agreed
