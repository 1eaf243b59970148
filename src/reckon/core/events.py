"""What happened in a run: ``events.jsonl``, one JSON object per line, only ever appended to."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from reckon.core.store import append_jsonl


class EventLog:
    """The events of one run. :func:`reckon.core.store.read_jsonl` reads them back."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def emit(self, event: str, step: int, **payload: Any) -> None:
        """Write one event, stamped with the time (unix seconds); a kill after this returns does not lose it.

        Numbers that are not finite become null. Raises DataError if the disk refuses.
        """
        append_jsonl(self.path, [{"event": event, "step": step, "time": time.time(), **payload}])
