from __future__ import annotations

import json
import math
import time
from pathlib import Path

from reckon.core.events import EventLog
from reckon.core.store import read_jsonl


def test_events_are_appended_with_step_and_time(tmp_path: Path) -> None:
    path = tmp_path / "run" / "events.jsonl"
    before = time.time()
    EventLog(path).emit("run_start", 0, name="r1")
    EventLog(path).emit("eval", 40, **{"pass@1": {"value": 0.5}})
    first, second = read_jsonl(path)
    assert first == {"event": "run_start", "step": 0, "time": first["time"], "name": "r1"}
    assert (second["event"], second["step"], second["pass@1"]) == ("eval", 40, {"value": 0.5})
    assert before <= first["time"] <= second["time"] <= time.time()


def test_numbers_that_are_not_finite_become_null(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    EventLog(path).emit("eval", 1, loss=math.nan, nested={"max": [math.inf, 1.5]})

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    row = json.loads(path.read_text(), parse_constant=refuse)
    assert row["loss"] is None
    assert row["nested"] == {"max": [None, 1.5]}


def test_the_log_of_a_stage_sees_and_forgets_only_its_own(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    run, first, second = EventLog(path), EventLog(path, "first"), EventLog(path, "second")
    assert first.rows() == []
    first.forget(lambda row: False)
    run.emit("run_start", 0)
    first.emit("eval", 0)
    first.emit("eval", 2)
    second.emit("eval", 2)
    assert [(row["stage"], row["step"]) for row in first.rows()] == [("first", 0), ("first", 2)]
    first.forget(lambda row: row["step"] == 0)
    assert [(row.get("stage"), row["step"]) for row in read_jsonl(path)] == [(None, 0), ("first", 0), ("second", 2)]
