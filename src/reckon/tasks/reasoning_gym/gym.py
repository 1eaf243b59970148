"""What touches the package ``reasoning-gym``. Importing this module imports the package, which takes a second or two.

Workers of the pool import it to score: third-party scorers read a model's text, and some hang on it or raise.
"""

from __future__ import annotations

import dataclasses
import json
import os
from functools import lru_cache
from typing import Any

# Before numpy is imported: its threads would not survive the fork that makes a worker.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from reasoning_gym.factory import CURRICULA, DATASETS, create_curriculum

__all__ = ["has_levels", "names", "open_set", "parameters", "score"]

_SETS_KEPT = 64
_ITEMS_KEPT = 4096


def names() -> list[str]:
    """All sets that the installed version has."""
    return sorted(DATASETS)


def parameters(name: str) -> list[str]:
    """The settings that a set has."""
    return [field.name for field in dataclasses.fields(DATASETS[name][1])]


def has_levels(name: str) -> bool:
    """Whether a set has a curriculum."""
    return name in CURRICULA


def open_set(name: str, size: int, seed: int, level: int | None, params: dict[str, Any]) -> Any:
    """A data set of the package, whose items are ``{"question", "answer", "metadata"}``.

    Raises whatever its own checks raise.
    """
    kind, config_class = DATASETS[name]
    if level is None:
        return kind(config=config_class(size=size, seed=seed, **params))
    curriculum = create_curriculum(name)
    curriculum.set_global_level(level)
    config = curriculum.generate_configuration({"size": size, "seed": seed})
    return kind(config=dataclasses.replace(config, **params))


def score(job: dict[str, Any]) -> dict[str, Any]:
    """What a set's scorer gives an answer.

    Args:
        job: ``set`` (the arguments of :func:`open_set`), ``index`` of the item, its ``question``, and ``answer``.

    Returns:
        ``{"score": number}``; ``{"raised": name}`` of the exception if the scorer cannot read the answer; or
        ``{"lost": true}`` if the item is not the one that was asked.
    """
    settings = json.dumps(job["set"], sort_keys=True)
    item = _item(settings, job["index"])
    if item["question"] != job["question"]:
        return {"lost": True}
    try:
        return {"score": float(_set(settings).score_answer(job["answer"], item))}
    except Exception as error:
        return {"raised": type(error).__name__}


@lru_cache(maxsize=_SETS_KEPT)
def _set(settings: str) -> Any:
    return open_set(**json.loads(settings))


@lru_cache(maxsize=_ITEMS_KEPT)
def _item(settings: str, index: int) -> dict[str, Any]:
    found: dict[str, Any] = _set(settings)[index]
    return found
