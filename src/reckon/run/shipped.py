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


def recipe_path(name: str) -> Path:
    """The file of a shipped recipe or method, or of a path. Raises ConfigError naming what exists."""
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        return path
    for folder, names in ((_shipped(), recipe_names()), (_shipped() / METHODS, method_names())):
        if name in names:
            return folder / f"{name}.yaml"
    raise ConfigError(
        f"there is no recipe {name!r}",
        fix=f"Use one of {', '.join(recipe_names())} or the path of a .yaml file; the methods that preset can name are "
        f"{', '.join(method_names())}",
    )


def _names(folder: Path) -> list[str]:
    return sorted(path.name.removesuffix(".yaml") for path in folder.iterdir() if path.name.endswith(".yaml"))


def _shipped() -> Path:
    return Path(str(files("reckon") / "recipes"))
