"""The recipes and methods that come with the package, by name."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from reckon.core.errors import ConfigError

METHODS = "methods"
"""The folder of the published methods, among the shipped recipes."""


def recipe_names() -> list[str]:
    """The recipes shipped with the package."""
    return _names(_shipped())


def method_names() -> list[str]:
    """The published methods that ``preset`` can name."""
    return _names(_shipped() / METHODS)


def method_path(name: str) -> Path:
    """The file of a published method, which is one of :func:`method_names`."""
    return _shipped() / METHODS / f"{name}.yaml"


def recipe_path(name: str) -> Path:
    """The file of a shipped recipe or method, or of a path. Raises ConfigError naming what exists.

    Where a recipe has the name of a method, ``methods/NAME`` is the method.
    """
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        return path
    if name in recipe_names():
        return _shipped() / f"{name}.yaml"
    method = name.removeprefix(f"{METHODS}/")
    if method in method_names():
        return method_path(method)
    raise ConfigError(
        f"there is no recipe {name!r}",
        fix=f"Use one of {', '.join(recipe_names())} or the path of a .yaml file; the methods that preset can name are "
        f"{', '.join(method_names())}",
    )


def _names(folder: Path) -> list[str]:
    return sorted(path.name.removesuffix(".yaml") for path in folder.iterdir() if path.name.endswith(".yaml"))


def _shipped() -> Path:
    return Path(str(files("reckon") / "recipes"))
