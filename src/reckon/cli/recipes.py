"""``reckon recipes``: list, show and copy the recipes and the methods that ship with the package."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="List, show or copy the shipped recipes and methods.", invoke_without_command=True)


@app.callback()
def listing(
    context: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array.")] = False
) -> None:
    """List the shipped recipes and the methods that ``preset`` names, with the first sentence of their comments."""
    if context.invoked_subcommand is not None:
        return
    from reckon.run.shipped import method_names, method_path, recipe_names, recipe_path

    kinds = (("recipe", recipe_names(), recipe_path), ("method", method_names(), method_path))
    rows = [
        {"name": name, "kind": kind, "about": _about(path_of(name))} for kind, names, path_of in kinds for name in names
    ]
    if as_json:
        typer.echo(json.dumps(rows))
        return
    width = max(len(row["name"]) for row in rows)
    for kind, heading in (("recipe", "Recipes"), ("method", "\nMethods, for --set preset=NAME")):
        typer.echo(heading)
        for row in rows:
            if row["kind"] == kind:
                typer.echo(f"  {row['name']:<{width}}  {row['about']}")
    typer.echo("\nNext: reckon recipes show NAME, reckon recipes copy NAME, or reckon run NAME")


@app.command()
def show(name: Annotated[str, typer.Argument(help="A shipped recipe or method; methods/r1 is the method.")]) -> None:
    """Print a recipe or a method."""
    from reckon.run.shipped import recipe_path

    typer.echo(recipe_path(name).read_text(), nl=False)


@app.command()
def copy(
    name: Annotated[str, typer.Argument(help="A shipped recipe.")],
    to: Annotated[Path | None, typer.Argument(help="Where to; the default is NAME.yaml here.")] = None,
) -> None:
    """Copy a recipe to a file of your own."""
    from reckon.core.errors import ConfigError
    from reckon.core.store import write_text
    from reckon.run.shipped import method_names, recipe_names, recipe_path

    if name in method_names() and name not in recipe_names():
        fix = f"Copy a recipe, and write `preset: {name}` in it"
        raise ConfigError(f"{name} is a method: a part of a recipe, not one to run", fix=fix)
    target = to or Path(f"{name}.yaml")
    if target.exists():
        raise ConfigError("this file exists", where=str(target), fix="Name another one: reckon recipes copy NAME FILE")
    write_text(target, recipe_path(name).read_text())
    typer.echo(f"{target}\n\nNext: reckon run {target}")


def _about(path: Path) -> str:
    """The first sentence of the comment at the top of a recipe."""
    lines = [line.lstrip("# ") for line in path.read_text().splitlines() if line.startswith("#")]
    # An abbreviation (Dr., alg.) does not end it.
    return re.split(r"(?<=[^.]{3})\. (?=[A-Z])", " ".join(lines))[0].rstrip(".") + "."
