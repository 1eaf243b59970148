"""Problems made by rule: drawn until there are enough different ones, each in the split that a hash gives it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable

from reckon.core.errors import ConfigError
from reckon.core.records import Problem

_DRAWS = 10_000
_DRAWS_PER_PROBLEM = 100

Draw = Callable[[], tuple[Hashable, bool, Problem]]
"""Draws a problem: what makes two problems the same one, whether it is held out, and the problem itself."""


def held_out(key: str, one_in: int) -> bool:
    """Whether a hash puts the problem named ``key`` into the held-out split, as it does with one in ``one_in``."""
    digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % one_in == 0


def generate(draw: Draw, split: str, wanted: int) -> list[Problem]:
    """The first ``wanted`` different problems of a split, in the order drawn.

    Raises:
        ConfigError: there do not seem to be so many.
    """
    found: dict[Hashable, Problem] = {}
    for _ in range(_DRAWS + _DRAWS_PER_PROBLEM * wanted):
        key, heldout, problem = draw()
        if key not in found and heldout == (split == "heldout"):
            found[key] = problem
            if len(found) == wanted:
                return list(found.values())
    raise ConfigError(
        f"found only {len(found)} different {split} problems of the {wanted} asked for",
        where="task",
        fix=f"Allow more or larger numbers (or people), or lower {split}_problems",
    )
