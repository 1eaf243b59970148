import subprocess
import sys
from pathlib import Path

import pytest

from reckon.core.errors import ConfigError
from reckon.tasks.check import check_task
from reckon.tasks.countdown import CountdownTask
from reckon.tasks.registry import TASKS, build_task, load_plugin

PLUGIN = """from reckon.tasks import Problem, Task, Verdict, final_answer

WORDS = {"train": ["stop", "draw", "lamp", "time"], "heldout": ["star", "live"]}

class Reverse(Task):
    kind = "reverse"

    def problems(self, split):
        return [Problem(f"reverse:{word}", f"Write {word} backwards.", word[::-1]) for word in WORDS[split]]

    def verify(self, problem, response):
        answer, reason = final_answer(response)
        return Verdict(float(answer == problem.gold), reason, answer)

    def gold_response(self, problem):
        return f"<think> letter by letter </think> <answer>{problem.gold}</answer>"
"""

HEAD = "from reckon.tasks import Problem, Task, Verdict, TaskConfig\n"
BODY = "    def problems(self, split): return []\n    def verify(self, problem, response): return Verdict(0.0)\n"


def write(folder: Path, text: str, name: str = "my_task.py") -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_a_task_is_built_from_its_settings() -> None:
    task = build_task({"kind": "countdown", "numbers": [3, 4], "seed": 5})
    assert isinstance(task, CountdownTask)
    assert (task.config.numbers, task.config.seed) == ((3, 4), 5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {},
            "no task.kind is given. Use one of: arithmetic, choice, code, countdown, general, gsm8k, instructions, ",
        ),
        ({"kind": "countdwn"}, "there is no task 'countdwn'; did you mean 'countdown'?"),
        ({"kind": ["countdown"]}, "there is no task ['countdown']"),
        ({"kind": "zzz"}, "mix, reasoning_gym, safety; a task of your own comes in by --plugin FILE."),
        ({"kind": "countdown", "max_numbr": 9}, "unknown key max_numbr; did you mean max_number?"),
        ({"kind": "gsm8k", "zzz": 9}, "unknown key zzz; valid here: path"),
        ({"kind": "countdown", "max_value": "many"}, "should be a valid integer"),
        ({"kind": "countdown", "max_number": 200}, "max_number must not exceed max_value"),
    ],
)
def test_errors_name_what_would_be_right(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        build_task(settings)
    assert message in str(error.value)


def test_a_users_task_in_about_fifteen_lines_passes_its_self_check(tmp_path: Path) -> None:
    assert len([line for line in PLUGIN.splitlines() if line.strip()]) <= 15
    assert load_plugin(write(tmp_path, PLUGIN)) == ["reverse"]
    task = build_task({"kind": "reverse"})
    report = check_task(task)
    assert report.failures == []
    assert (report.problems, report.golds) == (6, 6)


def test_loading_a_plugin_again_replaces_it(tmp_path: Path) -> None:
    load_plugin(write(tmp_path, PLUGIN))
    load_plugin(write(tmp_path, PLUGIN.replace('"lamp"', '"moon"')))
    assert build_task({"kind": "reverse"}).problems("train")[2].id == "reverse:moon"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\n", "defines no subclass of reckon.tasks.Task"),
        ("from reckon.tasks.countdown import CountdownTask\n", "defines no subclass"),
        ("import no_such_module_anywhere\n", "my_task.py:1: the plugin does not import: ModuleNotFoundError"),
        ("x = 1\nx = 1 / 0\n", "my_task.py:2: the plugin does not import: ZeroDivisionError"),
        ("x = (\n", "my_task.py:1: the plugin does not import: SyntaxError"),
        ("raise SystemExit(3)\n", "my_task.py:1: the plugin does not import: SystemExit"),
        (HEAD + "class A(Task):\n    kind = 'a'\n", "class A: the task does not define: problems, verify"),
        (HEAD + "class A(Task):\n" + BODY, "class A: the task has no kind"),
        (HEAD + "class A(Task):\n    kind = 'gsm8k'\n" + BODY, "class A: the kind 'gsm8k' is taken"),
        (
            HEAD + "".join(f"class {name}(Task):\n    kind = 'a'\n" + BODY for name in "AB"),
            "the kind 'a' is taken",
        ),
        (HEAD + "class A(Task):\n    kind = 'a'\n    Config = dict\n" + BODY, "Config is not a subclass"),
    ],
)
def test_a_bad_plugin_is_one_clear_error_and_registers_nothing(tmp_path: Path, text: str, message: str) -> None:
    before = dict(TASKS)
    with pytest.raises(ConfigError) as error:
        load_plugin(write(tmp_path, text))
    assert message in str(error.value)
    assert before == TASKS


def test_a_missing_plugin_or_one_that_is_not_python(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such plugin file"):
        load_plugin(tmp_path / "none.py")
    with pytest.raises(ConfigError, match="not a Python file"):
        load_plugin(write(tmp_path, PLUGIN, name="my_task.txt"))


def test_tasks_and_rewards_do_not_import_torch() -> None:
    code = (
        "import sys, reckon.tasks.registry, reckon.tasks.check, reckon.tasks.reflection, reckon.rewards.spec;"
        "sys.exit('torch' in sys.modules or 'datasets' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
