"""The page of every method: it has the method's preset, its links lead somewhere, and what it says to type is valid."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from reckon.run.kinds import RLRecipe
from reckon.run.recipe import read_recipe
from reckon.run.shipped import method_names, method_path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "methods"
SECTIONS = ["The loss", "What it changes, and why", "Where paper and public code differ", "Preset", "Measured"]

methods = pytest.mark.parametrize("method", method_names())


def text_of(method: str) -> str:
    return (FOLDER / f"{method}.md").read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def settings_in(command: str) -> list[str]:
    """What follows each ``--set``, as the shell would hand it over."""
    words = shlex.split(command, comments=True)
    return [words[k + 1] for k, word in enumerate(words) if word == "--set"]


def variations(text: str) -> list[str]:
    """The ``--set`` texts in prose: code spans, which may run over a line break, and indented lines."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"`(--set [^`]+)`", prose) + re.findall(r"^ {4}(--set .+)$", prose, re.MULTILINE)


def test_every_method_has_a_page_and_every_page_a_method() -> None:
    assert {path.stem for path in FOLDER.glob("*.md")} - {"README"} == set(method_names())


@methods
def test_a_page_has_the_form_of_all(method: str) -> None:
    text = text_of(method)
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == SECTIONS
    assert 35 <= len(text.splitlines()) <= 80
    assert f"Preset: `{method}`" in " ".join(text.partition("\n## ")[0].split())


@methods
def test_the_loss_is_the_first_thing_after_the_introduction(method: str) -> None:
    lines = text_of(method).splitlines()
    assert lines.index("## The loss") <= 8
    assert re.match(r" {4}loss +=", lines[lines.index("## The loss") + 2])


@methods
def test_the_preset_on_the_page_is_the_preset(method: str) -> None:
    assert blocks(text_of(method), "yaml") == [method_path(method).read_text(encoding="utf-8")]


def headings(page: Path) -> set[str]:
    """The names by which a link can point at a page's headings."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", sorted(FOLDER.glob("*.md")), ids=lambda page: page.stem)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    links = re.findall(r"(?<!!)\[[^\]]*\]\(([^)#\s]*)#?([^)\s]*)\)", page.read_text(encoding="utf-8"))
    assert links
    for target, heading in links:
        if "://" not in target:
            there = page.parent / target if target else page
            assert there.exists(), target
            assert not heading or heading in headings(there), heading


@pytest.mark.parametrize("page", sorted(FOLDER.glob("*.md")), ids=lambda page: page.stem)
def test_the_figure_of_a_page_is_its_methods(page: Path) -> None:
    # The files are made by the comparison.
    name = "all" if page.stem == "README" else page.stem
    figures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", page.read_text(encoding="utf-8"))
    assert figures == [f"../images/methods/{name}.svg"]


@methods
def test_the_commands_of_a_page_run_its_method(method: str) -> None:
    commands = [line for block in blocks(text_of(method), "sh") for line in block.replace("\\\n", " ").splitlines()]
    assert len(commands) >= 1
    for command in commands:
        assert shlex.split(command)[:3] == ["reckon", "run", "r1-zero"]
        recipe = read_recipe("r1-zero", settings_in(command))
        assert isinstance(recipe, RLRecipe)
        assert recipe.preset == method


@methods
def test_the_variations_that_a_page_names_are_valid(method: str) -> None:
    for variation in variations(text_of(method)):
        # More steps than a critic is pretrained for.
        read_recipe("r1-zero", [f"preset={method}", "steps=1000", *settings_in(variation)])
