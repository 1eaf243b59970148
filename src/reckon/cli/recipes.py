"""``reckon recipes``: list, show and copy the recipes that ship with the package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="List, show or copy the shipped recipes.", invoke_without_command=True)


@app.callback()
def listing(
    context: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array.")] = False
) -> None:
    """List the shipped recipes, each with the first sentence of its comment."""
    if context.invoked_subcommand is not None:
        return
    from reckon.run.recipe import recipe_names, recipe_path

    rows = [{"name": name, "about": _about(recipe_path(name))} for name in recipe_names()]
    if as_json:
        typer.echo(json.dumps(rows))
        return
    width = max(len(row["name"]) for row in rows)
    for row in rows:
        typer.echo(f"{row['name']:<{width}}  {row['about']}")
    typer.echo("\nNext: reckon recipes show NAME, reckon recipes copy NAME, or reckon run NAME")


@app.command()
def show(name: Annotated[str, typer.Argument(help="A shipped recipe.")]) -> None:
    """Print a recipe."""
    from reckon.run.recipe import recipe_path

    typer.echo(recipe_path(name).read_text(), nl=False)


@app.command()
def copy(
    name: Annotated[str, typer.Argument(help="A shipped recipe.")],
    to: Annotated[Path | None, typer.Argument(help="Where to; the default is NAME.yaml here.")] = None,
) -> None:
    """Copy a recipe to a file of your own."""
    from reckon.core.errors import ConfigError
    from reckon.core.store import write_text
    from reckon.run.recipe import recipe_path

    target = to or Path(f"{name}.yaml")
    if target.exists():
        raise ConfigError("this file exists", where=str(target), fix="Name another one: reckon recipes copy NAME FILE")
    write_text(target, recipe_path(name).read_text())
    typer.echo(f"{target}\n\nNext: reckon run {target}")


def _about(path: Path) -> str:
    """The comment at the top of a recipe, up to its first full stop."""
    lines = [line.lstrip("# ") for line in path.read_text().splitlines() if line.startswith("#")]
    return " ".join(lines).split(". ")[0].rstrip(".") + "."
