"""What a user sees of an error, and how fast the help comes."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from reckon import cli
from reckon.core.errors import ConfigError, DataError, Interrupted


def run(monkeypatch: pytest.MonkeyPatch, failure: BaseException, *arguments: str) -> int:
    def fail(*args: object, **kwargs: object) -> None:
        raise failure

    monkeypatch.setattr("reckon.cli.app", fail)
    monkeypatch.setattr(sys, "argv", ["reckon", *arguments])
    monkeypatch.delenv("RECKON_DEBUG", raising=False)
    with pytest.raises(SystemExit) as leave:
        cli.main()
    assert isinstance(leave.value.code, int)
    return leave.value.code


@pytest.mark.parametrize(
    ("failure", "code", "words"),
    [
        (ConfigError("no such key", where="a.yaml:3", fix="Write lr"), 2, "a.yaml:3: no such key. Write lr."),
        (DataError("torn"), 3, "reckon: torn."),
        (Interrupted("stopped by SIGTERM"), 75, "stopped by SIGTERM"),
        (FileNotFoundError(2, "No such file or directory", "/gone"), 3, "/gone: No such file or directory."),
        (KeyError("x"), 70, "our bug"),
    ],
)
def test_an_error_is_one_paragraph_and_an_exit_code(
    failure: Exception, code: int, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, failure) == code
    out, err = capsys.readouterr()
    assert words in err
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert not out


def test_debug_adds_the_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, ConfigError("no"), "eval", "--debug") == 2
    assert "Traceback" in capsys.readouterr().err


def test_model_text_in_an_error_cannot_drive_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, DataError("bad answer '\x1b[2J\u202e'"))
    assert "bad answer ''" in capsys.readouterr().err


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "reckon", *arguments], capture_output=True, text=True, check=False)


def test_usage_errors_leave_with_2() -> None:
    result = command("eval", "model")
    assert result.returncode == 2
    assert "--task" in result.stderr


def test_ctrl_c_leaves_with_75() -> None:
    code = "import sys, reckon.cli as c\n" + (
        "@c.app.command()\ndef wait(): raise KeyboardInterrupt\nsys.argv = ['reckon', 'wait']\nc.main()"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 75


def test_help_does_not_load_torch() -> None:
    code = (
        "import sys, reckon.cli as c\nsys.argv = ['reckon', 'eval', '--help']\n"
        "try: c.main()\nexcept SystemExit: sys.exit(bool({'torch', 'transformers', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_the_installed_command_is_main() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"reckon": "reckon.cli:main"}


@pytest.mark.parametrize(
    ("user", "spins"), [({}, "3000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, None)]
)
def test_idle_threads_sleep_unless_the_user_has_decided(
    user: dict[str, str], spins: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in user.items():
        monkeypatch.setenv(name, value)
    cli.share_cores()
    assert os.environ.get("GOMP_SPINCOUNT") == spins
