"""From a task's name in a recipe to the task. The list is closed; only a plugin file adds to it."""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import inspect
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from reckon.core.config import Tree, parse
from reckon.core.errors import ConfigError
from reckon.tasks.arithmetic import ArithmeticTask
from reckon.tasks.base import Task, TaskConfig
from reckon.tasks.choice import ChoiceTask
from reckon.tasks.code import CodeTask
from reckon.tasks.countdown import CountdownTask
from reckon.tasks.general import GeneralTask, SafetyTask
from reckon.tasks.gsm8k import Gsm8kTask
from reckon.tasks.instructions import InstructionsTask
from reckon.tasks.logic import LogicTask
from reckon.tasks.math import MathTask
from reckon.tasks.mix import MixTask
from reckon.tasks.reasoning_gym import ReasoningGymTask

TASKS: dict[str, type[Task]] = {
    task.kind: task
    for task in (
        CountdownTask,
        ArithmeticTask,
        LogicTask,
        ReasoningGymTask,
        GeneralTask,
        SafetyTask,
        InstructionsTask,
        MathTask,
        Gsm8kTask,
        ChoiceTask,
        CodeTask,
        MixTask,
    )
}


def build_task(settings: Tree, source: str = "task") -> Task:
    """The task that ``settings`` describe: ``kind`` and the settings of that kind's ``Config``.

    Args:
        source: names the settings in errors about what has no line of its own.

    Raises:
        ConfigError: no such kind or setting (the nearest valid one is named), or a value that is not allowed.
    """
    kind = settings.get("kind")
    choices = f"Use one of: {', '.join(sorted(TASKS))}; a task of your own comes in by --plugin FILE"
    if kind is None:
        raise ConfigError("no task.kind is given", where=source, fix=choices)
    if not isinstance(kind, str) or kind not in TASKS:
        near = difflib.get_close_matches(str(kind), list(TASKS), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"there is no task {kind!r}{hint}", where=source, fix=choices)
    task = TASKS[kind]
    return task(
        parse(task.Config, {key: value for key, value in settings.items() if key != "kind"}, f"{source} ({kind})")
    )


def resolved(task: Task) -> dict[str, Any]:
    """The task's settings with all defaults, as :func:`build_task` takes them."""
    return {"kind": task.kind, **task.config.model_dump(mode="json")}


def load_plugin(path: str | Path) -> list[str]:
    """Import a user's Python file and register every task it defines; returns their kinds.

    Loading the same file again replaces what it registered before.

    Raises:
        ConfigError: the file is missing, does not import, defines no complete task, or a kind is taken.
    """
    file = Path(path).resolve()
    if not file.is_file():
        raise ConfigError("there is no such plugin file", where=str(path))
    module = _import(file)
    classes = [
        value
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, Task) and value.__module__ == module.__name__
    ]
    if not classes:
        raise ConfigError("the plugin defines no subclass of reckon.tasks.Task", where=str(path))
    for task in classes:
        _require_complete(task, where=f"{path}, class {task.__name__}")
    kinds = [task.kind for task in classes]
    for task in classes:
        taken = task.kind in TASKS and TASKS[task.kind].__module__ != module.__name__
        if taken or kinds.count(task.kind) > 1:
            where = f"{path}, class {task.__name__}"
            raise ConfigError(f"the kind {task.kind!r} is taken", where=where, fix="Give the task another kind")
    TASKS.update(zip(kinds, classes, strict=True))
    return kinds


def _import(file: Path) -> ModuleType:
    name = f"reckon_plugin_{hashlib.blake2b(str(file).encode(), digest_size=8).hexdigest()}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ConfigError("the plugin is not a Python file", where=str(file), fix="Give it a name that ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
        line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else None
        where = f"{file}:{line}" if line else str(file)
        raise ConfigError(f"the plugin does not import: {type(error).__name__}: {error}", where=where) from error
    return module


def _require_complete(task: type[Task], where: str) -> None:
    if inspect.isabstract(task):
        missing = ", ".join(sorted(task.__abstractmethods__))
        raise ConfigError(f"the task does not define: {missing}", where=where)
    if not isinstance(getattr(task, "kind", None), str) or not task.kind:
        raise ConfigError("the task has no kind", where=where, fix='Add a line such as: kind = "my-task"')
    if not (inspect.isclass(task.Config) and issubclass(task.Config, TaskConfig)):
        raise ConfigError("Config is not a subclass of reckon.tasks.TaskConfig", where=where)
