"""The documentation is true: its commands parse, its example works, its links and paths lead somewhere."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
from pydantic import BaseModel
from pydantic_core import PydanticUndefined
from typer.testing import CliRunner

from reckon.cli import app
from reckon.run.kinds import KINDS, Recipe, RLRecipe, TaskRecipe, TrainRecipe
from reckon.run.recipe import makes, read_recipe, stages_of
from reckon.run.shipped import recipe_names, recipe_path
from reckon.stages.metrics import rollout_metrics, update_metrics
from reckon.tasks.check import check_task
from reckon.tasks.countdown import CountdownTask
from reckon.tasks.gsm8k import Gsm8kTask
from reckon.tasks.registry import build_task, load_plugin

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
MARK = "# not run in tests"
EXECUTED = {
    "reckon recipes",
    "reckon recipes show r1-zero",
    "reckon run r1-zero --dry-run",
    "reckon check --task in-order --plugin my_task.py",
}


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def command_lines() -> Iterator[tuple[Path, str]]:
    for page in PAGES:
        for block in blocks(page, "bash"):
            yield from ((page, line) for line in block.splitlines() if line.strip())


def named(pages: list[Path]) -> list[str]:
    return [str(page.relative_to(ROOT)) for page in pages]


def the_example() -> str:
    [example] = blocks(ROOT / "README.md", "python")
    return example


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder with the example in it as my_task.py."""
    (tmp_path / "my_task.py").write_text(the_example(), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def parse_command(line: str) -> None:
    """Parse a reckon command line as the command would, without running it."""
    name, *arguments = shlex.split(line, comments=True)
    command: Any = typer.main.get_command(app)
    context: Any = None
    while True:
        # What a group leaves over is the name of a command and its arguments.
        context = command.make_context(name, arguments, parent=context)
        rest = [*getattr(context, "_protected_args", []), *context.args]
        if not rest or not hasattr(command, "resolve_command"):
            return
        name, command, arguments = command.resolve_command(context, rest)


@pytest.mark.parametrize(("page", "line"), [pytest.param(page, line, id=line[:60]) for page, line in command_lines()])
def test_every_command_line_could_be_typed(page: Path, line: str) -> None:
    program, *arguments = shlex.split(line, comments=True)
    if program == "reckon":
        with suppress(typer.Exit):  # What `--list` does once it has listed.
            parse_command(line)
    elif program == "make":
        targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        assert set(arguments) <= set(targets)
    else:
        assert MARK in line


@pytest.mark.parametrize(
    "line", ["reckon rum r1-zero", "reckon run r1-zero --outt x", "reckon recipes shwo r1-zero", "reckon compare micro"]
)
def test_a_wrong_command_line_would_be_found(line: str) -> None:
    with pytest.raises(Exception, match=r"No such (command|option)|Missing (option|parameter)"):
        parse_command(line)


def test_the_executed_lines_are_in_the_docs() -> None:
    assert EXECUTED.issubset(line for _, line in command_lines())


@pytest.mark.parametrize("line", sorted(EXECUTED))
def test_what_is_cheap_is_executed(line: str, here: Path) -> None:
    result = CliRunner().invoke(app, shlex.split(line)[1:])
    assert result.exit_code == 0, result.output
    assert result.output


def recipe_of(line: str) -> list[str] | None:
    """The arguments of read_recipe for a line that runs a shipped recipe."""
    words = shlex.split(line, comments=True)
    if words[:2] != ["reckon", "run"] or words[2].endswith(".yaml"):
        return None
    return [words[2], *(words[i + 1] for i, word in enumerate(words) if word == "--set")]


def test_the_recipes_that_the_docs_run_are_valid(here: Path) -> None:
    load_plugin(here / "my_task.py")
    runs = [found for _, line in command_lines() if (found := recipe_of(line))]
    assert len(runs) > 5
    for name, *settings in runs:
        read_recipe(name, settings)


RUNS = {name: name for name in recipe_names()} | {"quickstart": "r1-zero"}
"""The recipe of each run directory that the docs name, which is called like its recipe unless --out says otherwise."""


def test_the_checkpoints_that_are_named_are_the_last_ones_of_their_stages() -> None:
    files = [*PAGES, *map(recipe_path, recipe_names())]
    text = "".join(file.read_text(encoding="utf-8") for file in files)
    found = set(re.findall(r"runs/([\w-]+)/stages/(\d+)-([\w-]+)/checkpoint/step-(\d+)", text))
    checkpoints = {row for row in found if row[0] in RUNS}
    assert {run for run, *_ in checkpoints} >= {"quickstart", "micro-base", "r1"}
    for run, number, name, step in checkpoints:
        stages: dict[str, Any] = stages_of(read_recipe(RUNS[run], []))
        assert list(stages)[int(number) - 1] == name
        assert stages[name].steps == int(step)


def test_the_example_is_one_example_of_at_most_15_lines() -> None:
    assert the_example() in blocks(ROOT / "docs" / "tasks.md", "python")
    assert len([line for line in the_example().splitlines() if line.strip()]) <= 15


def test_the_example_is_a_sound_task(here: Path) -> None:
    [kind] = load_plugin(here / "my_task.py")
    report = check_task(build_task({"kind": kind}), problems=20)
    assert report.failures == []
    assert report.golds == report.problems == 40


def test_the_self_check_finds_what_the_docs_say_it_finds(here: Path) -> None:
    path = here / "careless.py"
    path.write_text(re.sub(r" or not re\.fullmatch\(.*\):", ":", the_example()), encoding="utf-8")
    [kind] = load_plugin(path)
    failures = check_task(build_task({"kind": kind}), problems=2).failures
    assert any("the question echoed as the answer scores 1" in failure for failure in failures)


@pytest.mark.parametrize("page", PAGES, ids=named(PAGES))
def test_every_relative_link_leads_to_a_file(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    local = [target for target in targets if "://" not in target]
    assert [target for target in local if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=named(PAGES))
def test_every_path_of_the_code_exists(page: Path) -> None:
    paths = re.findall(r"\b(?:src/reckon|tests)/[\w./-]*\w", page.read_text(encoding="utf-8"))
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    pages = [page.relative_to(ROOT / "docs").as_posix() for page in PAGES[1:] if page.name != "README.md"]
    assert [page for page in pages if f"]({page})" not in index] == []


def settings_of(model: type[BaseModel], prefix: str = "", given: BaseModel | None = None) -> Iterator[tuple[str, str]]:
    """Every setting of a config model and its sections by dotted path, with its default as the docs write it.

    A section that may be unset is a setting too, and so is one of sections by kind of task, which stands as ``TASK``.
    ``given`` holds the defaults where they are not the class's own.
    """
    for name, field in model.model_fields.items():
        default = field.default if given is None else getattr(given, name)
        members = [field.annotation, *get_args(field.annotation)]
        sections = [part for part in members if isinstance(part, type) and issubclass(part, BaseModel)]
        if not sections or default in (None, {}):
            yield prefix + name, shown(default)
        inner = f"{prefix}{name}.TASK." if default == {} else f"{prefix}{name}."
        for section in sections:
            yield from settings_of(section, inner, default if isinstance(default, section) else None)


def shown(value: Any) -> str:
    """A default as the tables of the docs write it."""
    if value is PydanticUndefined:
        return "required"
    if value is None:
        return "none"
    if isinstance(value, tuple):
        return f"[{', '.join(json.dumps(item) if isinstance(item, str) else f'{item:g}' for item in value)}]"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def table_of(page: str, *sections: str) -> set[tuple[str, str]]:
    """Setting and default of every row of the tables of a page, or of some of its sections, by how their titles end.

    Kinds of a part of a recipe may share a setting's name.
    """
    parts = re.split(r"^## ", (ROOT / "docs" / page).read_text(encoding="utf-8"), flags=re.MULTILINE)
    chosen = [part for part in parts if not sections or part.partition("\n")[0].endswith(sections)]
    return {row for part in chosen for row in re.findall(r"^\| `([\w.]+)` \| ([^|]+) \|", part, re.MULTILINE)}


def kind_of(recipe: type[Recipe]) -> str:
    [kind] = get_args(recipe.model_fields["kind"].annotation)
    return str(kind)


@pytest.mark.parametrize("recipe", KINDS, ids=kind_of)
def test_the_settings_of_every_kind_are_documented_with_their_defaults_and_no_others(recipe: type[Recipe]) -> None:
    shared = {
        Recipe: "Every recipe",
        TrainRecipe: "Training",
        TaskRecipe: "Training on a task",
        RLRecipe: "The algorithm",
    }
    sections = [title for kind, title in shared.items() if issubclass(recipe, kind)]
    documented = table_of("recipes.md", f"`kind: {kind_of(recipe)}`", *sections)
    assert documented == set(settings_of(recipe))


ALGORITHMS = get_args(RLRecipe.model_fields["algorithm"].annotation)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_documented_default_of_an_algorithm_can_be_set(algorithm: type[BaseModel]) -> None:
    assert set_defaults("r1-zero", settings_of(algorithm, "algorithm.")) > 3


REQUIRED = {
    "task": "{kind: countdown}",
    "tasks": "{one: {kind: countdown}}",
    "model": "micro",
    "models": "[micro, micro-world]",
    "data": "[rows.jsonl]",
    "operations": "[{kind: correct}]",
    "steps": "1",
    "problems": "1",
}


@pytest.mark.parametrize("recipe", KINDS, ids=kind_of)
def test_every_documented_default_can_be_set(recipe: type[Recipe], tmp_path: Path) -> None:
    rows = [row for row in settings_of(recipe) if not row[0].startswith("algorithm.")]
    needed = [f"{name}: {REQUIRED[name]}\n" for name, default in rows if default == "required" and name in REQUIRED]
    path = tmp_path / "least.yaml"
    path.write_text(f"kind: {kind_of(recipe)}\n{''.join(needed)}", encoding="utf-8")
    assert set_defaults(str(path), rows) > 5


def set_defaults(recipe: str, rows: Iterable[tuple[str, str]]) -> int:
    """Set what has a default, outside sections that are unset or empty by default; returns how many."""
    settings = dict(rows)
    unset = tuple(f"{path}." for path, default in settings.items() if default in ("none", "{}"))
    given = [
        f"{path}={default}"
        for path, default in settings.items()
        if default not in ("required", "none") and not path.startswith(unset)
    ]
    read_recipe(recipe, given)
    return len(given)


STAGE_ROW = re.compile(r"^\| (\d+) `([\w-]+)` \| `(\w+)` \|([^|]*)\|([^|]*)\| (\w+) \|", re.MULTILINE)


def test_the_stages_of_r1_are_documented_as_its_recipe_has_them() -> None:
    def named_as(names: Iterable[str]) -> str:
        return ", ".join(f"`{name}`" for name in names)

    recipe = []
    for number, (name, stage) in enumerate(stages_of(read_recipe("r1", [])).items(), 1):
        sources = stage.sources()
        starts = [source for setting, source in sources.items() if setting.startswith("model")]
        reads = [source for setting, source in sources.items() if not setting.startswith("model")]
        kind = stage.model_dump()["kind"]
        recipe.append((str(number), name, kind, named_as(starts), named_as(reads), makes(stage)))
    text = (ROOT / "docs" / "pipelines.md").read_text(encoding="utf-8")
    assert [tuple(map(str.strip, row)) for row in STAGE_ROW.findall(text)] == recipe


def test_the_pipeline_that_the_docs_show_is_a_recipe(tmp_path: Path) -> None:
    [example] = blocks(ROOT / "docs" / "pipelines.md", "yaml")
    path = tmp_path / "mine.yaml"
    path.write_text(example, encoding="utf-8")
    assert list(stages_of(read_recipe(str(path), []))) == ["zero", "samples", "good", "sft", "table"]


def test_the_settings_of_the_tasks_are_documented_with_their_defaults() -> None:
    for task in (Gsm8kTask, CountdownTask):
        assert set(settings_of(task.Config, "task.")) <= table_of("tasks.md")


def test_every_column_of_the_metrics_is_documented() -> None:
    update = {"loss": 0.0, "grad_norm": 0.0, "lr": 0.0, "skipped": False, "update_tokens": 0}
    text = (ROOT / "docs" / "runs.md").read_text(encoding="utf-8")
    assert [name for name in (rollout_metrics([]) | update_metrics([update])) if f"`{name}`" not in text] == []


def test_every_command_and_option_is_documented() -> None:
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    commands: dict[str, Any] = dict(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    missing = [name for name in commands if f"## reckon {name}" not in text]
    for name, command in commands.items():
        section = text.partition(f"## reckon {name}")[2].partition("\n## ")[0]
        options = {option for parameter in command.params for option in parameter.opts if option.startswith("--")}
        missing += [f"{name} {option}" for option in sorted(options - {"--help"}) if f"`{option}" not in section]
    assert missing == []
