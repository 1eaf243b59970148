"""What happened in a run: ``events.jsonl``, one JSON object per line, only ever appended to."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reckon.core.store import append_jsonl, read_jsonl, truncate_jsonl


class EventLog:
    """The events of one run, or of one stage of it.

    Args:
        stage: stamped on every event; the others in the file are then not seen and not touched.
    """

    def __init__(self, path: Path, stage: str | None = None) -> None:
        self.path, self.stage = path, stage

    def emit(self, event: str, step: int, **payload: Any) -> None:
        """Write one event, stamped with the time (unix seconds); a kill after this returns does not lose it.

        Numbers that are not finite become null. Raises DataError if the disk refuses.
        """
        own = {} if self.stage is None else {"stage": self.stage}
        append_jsonl(self.path, [{"event": event, "step": step, "time": time.time(), **own, **payload}])

    def rows(self) -> list[dict[str, Any]]:
        """The events so far."""
        return [row for row in (read_jsonl(self.path) if self.path.exists() else []) if self._own(row)]

    def forget(self, keep: Callable[[dict[str, Any]], bool]) -> None:
        """Remove the events that are not to be kept."""
        if self.path.exists():
            truncate_jsonl(self.path, lambda row: not self._own(row) or keep(row))

    def _own(self, row: dict[str, Any]) -> bool:
        return row.get("stage") == self.stage
