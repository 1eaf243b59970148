"""From a task's name in a recipe to the task. The list is closed; only a plugin file adds to it."""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import ValidationError

from reckon.core.errors import ConfigError
from reckon.tasks.base import Task, TaskConfig
from reckon.tasks.countdown import CountdownTask
from reckon.tasks.gsm8k import Gsm8kTask

TASKS: dict[str, type[Task]] = {task.kind: task for task in (CountdownTask, Gsm8kTask)}


def build_task(settings: Mapping[str, Any]) -> Task:
    """The task that ``settings`` describe: ``kind`` and the settings of that kind's ``Config``.

    Raises:
        ConfigError: no such kind or setting (the nearest valid one is named), or a value that is not allowed.
    """
    values = dict(settings)
    kind = values.pop("kind", None)
    if kind is None:
        raise ConfigError("no kind is given", where="task", fix=f"Set task.kind to one of: {', '.join(sorted(TASKS))}")
    if not isinstance(kind, str) or kind not in TASKS:
        raise ConfigError(
            f"there is no task {kind!r}{_nearest(str(kind), TASKS)}",
            where="task.kind",
            fix=f"Use one of: {', '.join(sorted(TASKS))}; a task of your own comes in by --plugin FILE",
        )
    task = TASKS[kind]
    try:
        config = task.Config(**values)
    except ValidationError as error:
        raise ConfigError(_explain(error, task), where=f"task ({kind})") from error
    return task(config)


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


def _explain(error: ValidationError, task: type[Task]) -> str:
    problems = []
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            valid = task.Config.model_fields
            problems.append(f"{key!r} is not a setting{_nearest(key, valid)} (settings: {', '.join(valid) or 'none'})")
        else:
            message = item["msg"].removeprefix("Value error, ")
            problems.append(f"{key}: {message}" if key else message)
    return "; ".join(problems)


def _nearest(word: str, valid: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(valid), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
