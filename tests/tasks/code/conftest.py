"""A sandbox for the tests that run code, and a problem for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from reckon.sandbox.config import SandboxConfig, open_sandbox

from reckon.core.errors import ConfigError
from reckon.core.records import Problem
from reckon.sandbox.program import Sandbox
from reckon.tasks.code import CodeTask


@pytest.fixture(scope="session")
def sandbox() -> Sandbox:
    try:
        return open_sandbox(SandboxConfig())
    except ConfigError as error:
        pytest.skip(f"no sandbox fit for code on this machine: {error}")


@pytest.fixture
def task_of(tmp_path: Path, sandbox: Sandbox) -> Callable[..., tuple[CodeTask, list[Problem]]]:
    """A task of these rows, all held out, and its problems: ``task_of(rows, score="fraction")``."""

    def make(rows: list[dict[str, Any]], **settings: Any) -> tuple[CodeTask, list[Problem]]:
        path = tmp_path / "problems.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        task = CodeTask(CodeTask.Config(heldout_path=str(path), **settings))
        return task, list(task.problems("heldout"))

    return make
