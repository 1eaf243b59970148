import random
import re
from pathlib import Path
from typing import get_args

import pytest
import yaml
from pydantic import ValidationError

from reckon.core.config import Strict, parse
from reckon.core.errors import ConfigError, DataError
from reckon.data.curate import Curated, Entry, Operations, apply
from reckon.data.curate.filters import Correct, Finished, Length, Score
from reckon.data.curate.problems import Cap, Dedup, PassRate
from reckon.tasks.countdown import CountdownTask
from tests.data.curate.rows import Row, ids, row


class Recipe(Strict):
    operations: Operations


def operations(*trees: Row) -> Operations:
    return parse(Recipe, {"operations": list(trees)}, "test").operations


def test_operations_are_applied_in_order_and_everything_is_accounted_for() -> None:
    rows = [row("a-1"), row("a-2"), row("b-1", score=0.0), row("c-1", "x", finish="length"), row("c-2", "y")]
    curated = apply(rows, (Correct(), Dedup(), Finished()), seed=0)
    assert ids(curated.rows) == ["a-1", "c-2"]
    assert curated.ledger == [
        Entry("correct", 5, 4, {"wrong": 1}),
        Entry("dedup", 4, 3, {"said before": 1}),
        Entry("finished", 3, 2, {"ended by length": 1}),
    ]
    assert [(by, drop.row["id"]) for by, drop in curated.dropped] == [
        ("correct", "b-1"),
        ("dedup", "a-2"),
        ("finished", "c-1"),
    ]


def test_the_order_of_the_rows_decides_nothing_but_theirs() -> None:
    rows = [row(f"{n % 9}-{n}", f"text {n % 50}", score=float(n % 3 > 0)) for n in range(200)]
    recipe = operations({"kind": "correct"}, {"kind": "cap", "max": 3}, {"kind": "limit", "rows": 10})
    mixed = random.Random(1).sample(rows, len(rows))
    assert set(ids(apply(rows, recipe, 7).rows)) == set(ids(apply(mixed, recipe, 7).rows))
    assert set(ids(apply(rows, recipe, 7).rows)) != set(ids(apply(rows, recipe, 8).rows))


def test_without_rows_nothing_more_is_applied() -> None:
    curated = apply([row("a", score=0.0)], (Correct(), Dedup()), seed=0)
    assert [entry.operation for entry in curated.ledger] == ["correct"]
    assert apply([], (Correct(),), seed=0) == Curated([], [], [])


def test_a_missing_column_or_task_is_an_error_and_not_a_reason() -> None:
    rows = [{"id": "a", "task": "countdown", "problem": "a", "question": "q", "response": "r"}]
    with pytest.raises(DataError, match="length needs the column 'tokens'; the rows have id, problem"):
        apply(rows, (Length(max=3),), seed=0)
    with pytest.raises(DataError, match="'countdwn', of which there are no rows; there are rows of countdown"):
        apply([row("a")], (Correct(tasks=("countdwn",)),), seed=0)


def test_a_task_may_have_been_dropped_before() -> None:
    rows = [row("a"), row("b", task="logic", score=0.0)]
    curated = apply(rows, (Correct(), Score(min=0, tasks=("logic",))), seed=0)
    assert curated.ledger[1] == Entry("score", 1, 1, {})


def test_operations_are_read_from_recipes() -> None:
    read = operations({"kind": "pass_rate", "low": 0.1}, {"kind": "cap", "max": 4, "tasks": ["logic"]})
    assert read == (PassRate(low=0.1), Cap(max=4, tasks=("logic",)))
    with pytest.raises(ConfigError, match="did you mean correct"):
        operations({"kind": "corect"})
    with pytest.raises(ConfigError, match="did you mean max"):
        operations({"kind": "cap", "maxx": 4})


@pytest.mark.parametrize(
    ("trees", "message"),
    [
        ([{"kind": "pairs"}, {"kind": "correct"}], "pairs makes rows of another form"),
        ([{"kind": "labels", "threshold": 1}, {"kind": "dedup"}], "labels makes rows of another form"),
        ([{"kind": "correct"}, {"kind": "pass_rate"}], "pass_rate must come before correct"),
        ([{"kind": "dedup"}, {"kind": "cap", "max": 1}, {"kind": "pass_rate"}], "pass_rate must come before cap"),
    ],
)
def test_orders_that_cannot_be_meant(trees: list[Row], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        operations(*trees)


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        Correct().tasks = ("a",)


PAGE = (Path(__file__).resolve().parents[3] / "docs" / "curation.md").read_text(encoding="utf-8")


def test_every_operation_and_setting_is_documented_with_its_default() -> None:
    union = get_args(get_args(get_args(Operations)[0])[0])[0]
    for operation in get_args(union):
        fields = dict(operation.model_fields)
        kind = fields.pop("kind").default
        mark = " \\*" if fields.pop("tasks", None) else ""
        [settings] = re.findall(rf"^\| `{kind}`{mark} \| ([^|]*)\|", PAGE, re.MULTILINE)
        shown = re.findall(r"`(\w+)`(?: \((\w[\w.]*)\))?", settings)
        defaults = {name: "" if field.is_required() else _shown(field.default) for name, field in fields.items()}
        assert dict(shown) == defaults, kind


def _shown(default: object) -> str:
    if default is None:
        return "none"
    return f"{default:g}" if isinstance(default, float) else str(default).lower()


def test_the_documented_example_does_what_it_says() -> None:
    [example] = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    read = operations(*yaml.safe_load(example)["operations"])
    problem = CountdownTask(CountdownTask.Config(train_problems=1)).problems("train")[0]
    good = "<think> 1 + 1 = 2, no. 8 * 3 = 24, yes. </think> <answer> 8 * 3 </answer>"
    rows = [row("a-1", good, question=problem.question), row("a-2", score=0.0), row("b-1", good), row("b-2", good)]
    curated = apply(rows, read, seed=0)
    assert [each["response"] for each in curated.rows] == [good.replace("<answer>", "8 * 3 = 24. <answer>")]
    assert {drop.row["id"]: (by, drop.why) for by, drop in curated.dropped} == {
        "a-2": ("correct", "wrong"),
        "b-1": ("pass_rate", "solved too often"),
        "b-2": ("pass_rate", "solved too often"),
    }
