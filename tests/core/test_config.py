from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, RootModel, model_validator

from reckon.core.config import MAX_BYTES, Strict, Tree, apply_overrides, digest, load_yaml, parse, to_yaml
from reckon.core.errors import ConfigError


class Countdown(Strict):
    kind: Literal["countdown"] = "countdown"
    numbers: tuple[int, ...] = (3, 4)


class Gsm8k(Strict):
    kind: Literal["gsm8k"] = "gsm8k"
    path: Path


class Clip(Strict):
    clip_low: float = 0.2
    clip_high: float = 0.2
    norm: Literal["token-mean", "sequence-mean"] = "token-mean"

    @model_validator(mode="after")
    def ordered(self) -> Clip:
        if self.clip_high < self.clip_low:
            raise ValueError("clip_high should not be below clip_low")
        return self


class Recipe(Strict):
    model: str
    seed: int = 0
    lr: float = 1e-5
    words: tuple[str, ...] = ()
    task: Annotated[Countdown | Gsm8k, Field(discriminator="kind")] = Countdown()
    clip: Clip | None = None
    stages: tuple[Clip, ...] = ()


RECIPE = """\
model: base   # a comment
lr: 1e-4
task:
  kind: countdown
  numbers: [3, 4]
clip:
  clip_high: 0.28
stages:
  - clip_low: 0.1
  - norm: token-mean
"""


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "recipe.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def load(folder: Path, text: str, *overrides: str) -> Recipe:
    tree = load_yaml(write(folder, text))
    return parse(Recipe, apply_overrides(tree, overrides), "recipe.yaml")


def error_of(folder: Path, text: str, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(folder, text, *overrides)
    return str(caught.value).replace(f"{folder}/", "")


def test_a_recipe_becomes_a_model(tmp_path: Path) -> None:
    recipe = load(tmp_path, RECIPE)
    assert recipe.lr == 1e-4
    assert recipe.task == Countdown(numbers=(3, 4))
    assert recipe.clip == Clip(clip_high=0.28)
    assert [stage.clip_low for stage in recipe.stages] == [0.1, 0.2]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("clip_high", "clip_hihg", "recipe.yaml:7: unknown key clip.clip_hihg; did you mean clip_high?"),
        ("lr:", "learning_rate:", "recipe.yaml:2: unknown key learning_rate; valid here: model, seed, lr,"),
        ("clip_low", "clip_lo", "recipe.yaml:9: unknown key stages.0.clip_lo; did you mean clip_low?"),
        ("numbers", "number", "recipe.yaml:5: unknown key task.number; did you mean numbers?"),
        ("countdown", "coutndown", 'recipe.yaml:4: task.kind = "coutndown" is unknown; did you mean countdown?'),
        ("kind: countdown", "", "recipe.yaml:3: task.kind is missing; valid here: countdown, gsm8k."),
        ("token-mean", "tokenmean", 'recipe.yaml:10: stages.1.norm = "tokenmean" is unknown; did you mean token-mean?'),
        ("1e-4", "fast", 'recipe.yaml:2: lr = "fast": should be a valid number.'),
        ("1e-4", "true", "recipe.yaml:2: lr = true: should be a valid number."),
        ("1e-4", ".inf", "recipe.yaml:2: lr = Infinity: should be a finite number."),
        ("[3, 4]", "[3, '4']", 'recipe.yaml:5: task.numbers.1 = "4": should be a valid integer.'),
        ("0.28", "0.1", "recipe.yaml:6: clip: clip_high should not be below clip_low."),
        ("model: base", "seed: 1", "recipe.yaml: model is missing."),
    ],
)
def test_an_error_names_the_line_the_value_and_the_nearest_key(
    tmp_path: Path, old: str, new: str, expected: str
) -> None:
    assert error_of(tmp_path, RECIPE.replace(old, new, 1)).startswith(expected)


def test_all_problems_are_listed_in_one_error(tmp_path: Path) -> None:
    message = error_of(tmp_path, RECIPE.replace("lr: 1e-4", "lr: x\nsede: 1"), "clip.clip_hihg=1")
    assert message.startswith("recipe.yaml: 3 settings cannot be used:")
    assert "\n  recipe.yaml:2: lr" in message
    assert "\n  recipe.yaml:3: unknown key sede; did you mean seed?" in message
    assert "\n  --set clip.clip_hihg=1: unknown key clip.clip_hihg; did you mean clip_high?" in message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: 2\na: 3\n", "recipe.yaml:3: not a valid recipe: key 'a' is written twice, first in line 1"),
        ("a: 1\nb: [1, 2\n", "recipe.yaml:3: not a valid recipe: while parsing a flow sequence"),
        ("a: 1\nb: !!python/object/apply:os.getcwd []\n", "recipe.yaml:2: not a valid recipe: tag"),
        ("a: &x 1\nb: *x\n", "recipe.yaml:1: not a valid recipe: anchors and aliases are not allowed"),
        ("? [a]\n: 1\n", "recipe.yaml:1: not a valid recipe: a key should be a word"),
        ("a: 1\nb: \x07\n", "recipe.yaml:2: not YAML: character"),
        ("a: 1\n---\nb: 2\n", "recipe.yaml:2: not a valid recipe: expected a single document"),
        ("a: " + "9" * 5000, "recipe.yaml:1: not a valid recipe: '9999"),
        ("a: " + "[" * 1000, "recipe.yaml:1: not a valid recipe: nested more than 32 levels deep"),
        ("# " + "x" * MAX_BYTES, "recipe.yaml: larger than 256 KiB"),
        ("", "recipe.yaml: should be a mapping of settings"),
        ("- a\n", "recipe.yaml: should be a mapping of settings"),
        (b"a: 1\nb: \xff\n", "recipe.yaml:2: not UTF-8 text"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused_with_its_line(tmp_path: Path, text: str | bytes, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_yaml(write(tmp_path, text))
    assert str(caught.value).replace(f"{tmp_path}/", "").startswith(expected)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.yaml", tmp_path):
        with pytest.raises(ConfigError) as caught:
            load_yaml(path)
        assert str(caught.value).startswith(f"{path}: cannot read this file: ")


def test_scalars_follow_yaml_1_2(tmp_path: Path) -> None:
    tree = load_yaml(write(tmp_path, "a: [no, 1e-5, 010, 1:30, 2024-01-01, ~, true, '1', -.inf]"))
    assert tree["a"] == ["no", 1e-5, 10, "1:30", "2024-01-01", None, True, "1", float("-inf")]


def test_settings_replace_add_and_leave_the_tree_alone(tmp_path: Path) -> None:
    tree = load_yaml(write(tmp_path, RECIPE))
    before = copy.deepcopy(tree)
    overrides = ["seed=7", "clip.clip_low=0.1", "stages.1.clip_high=0.5", "words=[a, 'b c']", "model=a=b"]
    recipe = parse(Recipe, apply_overrides(tree, overrides), "recipe.yaml")
    assert recipe.seed == 7
    assert recipe.clip == Clip(clip_low=0.1, clip_high=0.28)
    assert recipe.stages[1].clip_high == 0.5
    assert recipe.words == ("a", "b c")
    assert recipe.model == "a=b"
    assert tree == before


def test_a_later_setting_wins(tmp_path: Path) -> None:
    assert load(tmp_path, RECIPE, "clip={clip_high: 0.9}", "clip.clip_high=0.4", "seed=1", "seed=2") == load(
        tmp_path, RECIPE, "clip.clip_high=0.4", "seed=2"
    )


@pytest.mark.parametrize("overrides", [("task.path=x", "task.kind=gsm8k"), ("task.kind=gsm8k", "task.path=x")])
def test_another_kind_starts_its_section_anew(tmp_path: Path, overrides: tuple[str, str]) -> None:
    assert load(tmp_path, RECIPE, *overrides).task == Gsm8k(path=Path("x"))
    assert load(tmp_path, RECIPE, "task.kind=countdown").task == Countdown(numbers=(3, 4))


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("lr", "--set lr: should look like a.b=value."),
        ("a..b=1", "--set a..b=1: should look like a.b=value."),
        ("lr.x=1", "--set lr.x=1: 'x' cannot be set inside 0.0001, which is not a section."),
        ("stages.9.norm=x", "--set stages.9.norm=x: '9' is not an index of a list of 2."),
        ("lr=[1", "--set lr=[1: not a valid recipe:"),
        ("task.numbers.0=x", '--set task.numbers.0=x: task.numbers.0 = "x": should be a valid integer.'),
        ("task.kind=gsm8k", "recipe.yaml:3: task.path is missing."),
    ],
)
def test_a_wrong_setting_is_quoted(tmp_path: Path, setting: str, expected: str) -> None:
    assert error_of(tmp_path, RECIPE, setting).startswith(expected)


class AnyTask(RootModel[Annotated[Countdown | Gsm8k, Field(discriminator="kind")]]):
    """A file whose ``kind`` stands at its top."""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("kind: countdown\nnubmers: [1]\n", "recipe.yaml:2: unknown key nubmers; did you mean numbers?"),
        ("kind: countdwn\n", 'recipe.yaml:1: kind = "countdwn" is unknown; did you mean countdown?'),
        ("numbers: [1]\n", "recipe.yaml: kind is missing; valid here: countdown, gsm8k."),
        ("kind: gsm8k\n", "recipe.yaml: path is missing."),
    ],
)
def test_a_choice_of_models_at_the_top(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(AnyTask, load_yaml(write(tmp_path, text)), "recipe.yaml")
    assert str(caught.value).replace(f"{tmp_path}/", "").startswith(expected)


def test_part_of_a_tree_keeps_its_lines(tmp_path: Path) -> None:
    tree = load_yaml(write(tmp_path, RECIPE))
    with pytest.raises(ConfigError, match=r"recipe\.yaml:5: unknown key numbers; valid here: clip_low"):
        parse(Clip, {key: value for key, value in tree["task"].items() if key != "kind"}, "recipe.yaml")


def test_a_config_is_frozen(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="frozen"):
        load(tmp_path, RECIPE).seed = 3  # type: ignore[misc]


class Anything(BaseModel):
    data: dict[str, Any]


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
trees = st.dictionaries(
    st.text(), st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)
)


@given(data=trees)
@settings(max_examples=50, deadline=None)
def test_what_is_written_is_read_back(tmp_path_factory: pytest.TempPathFactory, data: Tree) -> None:
    model = Anything(data=data)
    path = write(tmp_path_factory.getbasetemp(), to_yaml(model))
    assert parse(Anything, load_yaml(path), "recipe.yaml") == model


def test_a_resolved_recipe_holds_its_defaults(tmp_path: Path) -> None:
    recipe = load(tmp_path, RECIPE)
    again = parse(Recipe, load_yaml(write(tmp_path, to_yaml(recipe))), "recipe.yaml")
    assert again == recipe
    assert "seed: 0" in to_yaml(recipe)


def test_the_digest_is_of_the_values(tmp_path: Path) -> None:
    recipe = load(tmp_path, RECIPE)
    lines = RECIPE.splitlines(keepends=True)
    assert digest(load(tmp_path, "".join(lines[2:] + lines[:2]))) == digest(recipe)
    assert digest(load(tmp_path, RECIPE, "seed=0")) == digest(recipe)
    assert digest(load(tmp_path, RECIPE, "seed=1")) != digest(recipe)
    assert digest(Anything(data={"b": 1, "a": 2})) == digest(Anything(data=json.loads('{"a": 2, "b": 1}')))
