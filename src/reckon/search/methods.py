"""From a method's name to the method."""

from __future__ import annotations

import difflib
from typing import Any

from reckon.core.config import Tree as Settings
from reckon.core.config import parse
from reckon.core.errors import ConfigError
from reckon.search.base import Method
from reckon.search.beam import Beam, Dvts
from reckon.search.force import Force
from reckon.search.independent import BestOfN, Vote, WeightedVote
from reckon.search.mcts import Mcts
from reckon.search.rebase import Rebase
from reckon.search.revise import Revise

METHODS: dict[str, type[Method]] = {
    method.kind: method for method in (Vote, WeightedVote, BestOfN, Beam, Dvts, Rebase, Mcts, Revise, Force)
}


def build_method(settings: Settings, source: str = "search") -> Method:
    """The method that ``settings`` describe: ``kind`` and the settings of that kind.

    Raises:
        ConfigError: no such kind or setting (the nearest valid one is named), or a value that is not allowed.
    """
    kind = str(settings.get("kind"))
    if kind not in METHODS:
        near = difflib.get_close_matches(kind, METHODS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"there is no method {kind!r}{hint}", where=source, fix=f"Use one of: {', '.join(METHODS)}")
    own = {key: value for key, value in settings.items() if key != "kind"}
    return parse(METHODS[kind], own, f"{source} ({kind})")


def unscored(method: Method) -> ConfigError:
    """The error of a method that has no scorer and needs one: itself, or the rule by which it was told to choose."""
    if method.ranks or method.choose == type(method).model_fields["choose"].default:
        needs, without = f"the method {method.kind}", [name for name in METHODS if not METHODS[name]().needs_scorer]
        fix = f"Name one, or use a method that needs none: {', '.join(without)}"
    else:
        needs, fix = f"the rule `choose: {method.choose}`", "Name one, or use `choose: vote`, which needs none"
    return ConfigError(f"{needs} needs a scorer", why="It goes by how promising (partial) responses are", fix=fix)


def resolved(method: Method) -> dict[str, Any]:
    """The method's settings with all defaults, as :func:`build_method` takes them."""
    return {"kind": method.kind, **method.model_dump(mode="json")}
