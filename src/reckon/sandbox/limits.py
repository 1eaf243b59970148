"""What a worker or a program may use."""

from __future__ import annotations

from pydantic import Field

from reckon.core.config import Strict


class Limits(Strict):
    """The most that one job may use.

    Attributes:
        timeout_s: wall-clock seconds, by a clock that never jumps, from the moment the job begins.
        memory_mb: address space of each process, in MiB.
        output_kb: what comes back, in KiB.
    """

    timeout_s: float = Field(default=5.0, gt=0)
    memory_mb: int = Field(default=1024, gt=0)
    output_kb: int = Field(default=64, gt=0)
