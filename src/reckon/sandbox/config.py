"""Which sandbox a recipe asks for."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from reckon.core.config import Strict
from reckon.core.errors import ConfigError
from reckon.sandbox.fusion import SandboxFusion
from reckon.sandbox.jail import LocalSandbox
from reckon.sandbox.limits import Limits
from reckon.sandbox.program import Sandbox
from reckon.sandbox.proof import prove

SAFE_TIER = 2
"""Below it a program can read the user's files and reach the network."""


class SandboxConfig(Strict):
    """Where untrusted programs run.

    Attributes:
        kind: ``local`` is the jail on this machine, ``fusion`` a SandboxFusion server.
        url: of the server.
        workers: how many programs run at a time; as many as there are processors, if none are given.
        allow_weak: run programs on this machine even where the jail is below tier 2.
        limits: of every program.
    """

    kind: Literal["local", "fusion"] = "local"
    url: str | None = None
    workers: int | None = Field(default=None, gt=0)
    allow_weak: bool = False
    limits: Limits = Limits(timeout_s=10.0)

    @model_validator(mode="after")
    def _url_belongs_to_fusion(self) -> Self:
        if (self.kind == "fusion") != (self.url is not None):
            raise ValueError("kind: fusion needs the server's url, and kind: local has none")
        return self


_lock = threading.Lock()
_shared: dict[tuple[int | None, Path | None], LocalSandbox] = {}


def open_sandbox(config: SandboxConfig, preload: Path | None = None) -> Sandbox:
    """The sandbox a recipe asks for; that on this machine is one for the whole process and all who preload the same.

    ``preload``: see :class:`reckon.sandbox.jail.LocalSandbox`; a server does without it.

    Raises ConfigError where this machine can only offer a weaker one than tier 2 and that is not allowed.
    """
    if config.url is not None:
        return SandboxFusion(config.url, workers=config.workers)
    proof = prove()
    if proof.tier < SAFE_TIER and not config.allow_weak:
        raise ConfigError(
            f"This machine can only hold untrusted programs at tier {proof.tier}: {proof.missing(SAFE_TIER)}",
            where="sandbox",
            why="Code written by a model could read your files and use the network",
            fix="Run on Linux 5.13 or newer with Landlock and seccomp, set sandbox.kind: fusion with the url of a "
            "SandboxFusion server, or, if nothing here is worth protecting, set sandbox.allow_weak: true",
        )
    with _lock:
        key = config.workers, preload
        if key not in _shared:
            _shared[key] = LocalSandbox(workers=config.workers, preload=preload)
        return _shared[key]
