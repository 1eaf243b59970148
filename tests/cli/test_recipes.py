from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from reckon.algorithms.policy_gradient import PolicyGradient
from reckon.cli import app
from reckon.core.errors import ConfigError
from reckon.run.kinds import RLRecipe
from reckon.run.recipe import read_recipe
from reckon.run.shipped import method_names, method_path, recipe_names, recipe_path

run = CliRunner().invoke


def test_recipes_and_methods_are_listed_with_one_whole_sentence_each() -> None:
    rows = json.loads(run(app, ["recipes", "--json"]).stdout)
    assert [row["name"] for row in rows] == [*recipe_names(), *method_names()]
    about = {row["name"]: row["about"] for row in rows}
    assert about["dr-grpo"] == "Dr. GRPO: GRPO without the division by std and by length (arXiv 2503.20783)."
    assert all(len(text) > 30 and text.endswith(".") for text in about.values())
    listed = run(app, ["recipes"]).stdout
    assert all(name in listed for name in about)


def test_a_copied_recipe_is_the_recipe(tmp_path: Path) -> None:
    assert run(app, ["recipes", "copy", "r1-zero", str(tmp_path / "mine.yaml")]).exit_code == 0
    assert read_recipe(str(tmp_path / "mine.yaml"), []) == read_recipe("r1-zero", [])
    assert "clip_high: 0.28" in run(app, ["recipes", "show", "dapo"]).stdout


def test_a_method_is_not_copied_as_if_it_could_be_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="write `preset: dapo` in it"):
        run(app, ["recipes", "copy", "dapo", str(tmp_path / "mine.yaml")], catch_exceptions=False)
    assert not (tmp_path / "mine.yaml").exists()


def test_a_method_is_found_beside_a_recipe_of_its_name() -> None:
    assert recipe_path("r1") != recipe_path("methods/r1") == method_path("r1")
    recipe = read_recipe("r1-zero", ["preset=r1"])
    assert isinstance(recipe, RLRecipe)
    assert isinstance(recipe.algorithm, PolicyGradient)
    assert recipe.algorithm.clip_high == 10
