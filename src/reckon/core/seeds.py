"""Seeds are counters: every random choice is a hash of what it is for, so no generator state is ever saved.

A resumed run asks for the same names and gets the same numbers, whatever happened in between.
"""

from __future__ import annotations

import hashlib


def seed_for(*parts: str | int) -> int:
    """A 63-bit seed for the choice named by ``parts``, e.g. ``seed_for(run, "rollout", step, problem, sample)``."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
