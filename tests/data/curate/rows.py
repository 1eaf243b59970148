"""Rows made by hand for the tests of curation."""

from __future__ import annotations

from typing import Any

Row = dict[str, Any]


def row(name: str, response: str = "<think> yes. </think> <answer> 1 </answer>", **columns: Any) -> Row:
    """A sample row; its problem is the name up to the first ``-``."""
    return {
        "id": name,
        "task": "countdown",
        "problem": name.partition("-")[0],
        "question": "Make 24 from 3, 8, 1.",
        "prompt": "User: Make 24 from 3, 8, 1.\nAssistant:",
        "response": response,
        "score": 1.0,
        "finish": "stop",
        "tokens": 10,
        "source": "here",
        **columns,
    }


def thought(text: str) -> str:
    return f"<think>{text}</think> <answer> 1 </answer>"


def ids(rows: list[Row]) -> list[str]:
    return [each["id"] for each in rows]
