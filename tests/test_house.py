"""The rules of the house that no other tool checks."""

from __future__ import annotations

import ast
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted((ROOT / "src" / "reckon").rglob("*.py"))

BANNED = {
    "eval": "runs text as code",
    "exec": "runs text as code",
    "os.system": "runs text as a shell command",
    "torch.load": "unpickles",
    "torch.save": "pickles",
    "yaml.load": "builds any object; use reckon.core.config.load_yaml",
}
BANNED_IMPORTS = {"pickle", "dill", "cloudpickle", "shelve", "marshal"}

RUNS_PROGRAMS = ROOT / "src" / "reckon" / "sandbox" / "inside" / "interpreter.py"
"""What the jail exists for: programs of models run there, in a process that holds nothing else."""

# Put together here so that this file does not contain what it looks for.
MACHINE_PATH = re.compile(r"(?<![\w.:/])/(?:" + "|".join(["home", "root", "Users", "work"]) + r")/\w")


def loaded_after(*command: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after running ``command``."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *command], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines() if "|" in line}


def offences(path: Path) -> Iterator[str]:
    """Calls and imports in a file that this project does not use, with their lines."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import | ast.ImportFrom):
            named = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            for name in BANNED_IMPORTS.intersection(module.partition(".")[0] for module in named):
                yield f"{path.name}:{node.lineno}: import {name}"
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name in BANNED:
                yield f"{path.name}:{node.lineno}: {name} {BANNED[name]}"
            if any(word.arg == "shell" and ast.unparse(word.value) != "False" for word in node.keywords):
                yield f"{path.name}:{node.lineno}: shell=True runs text as a shell command"


def test_importing_reckon_is_quick_and_loads_nothing_heavy() -> None:
    def seconds() -> float:
        """Processor time, which unlike the clock's does not depend on what else the machine is doing."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", "import reckon"], cwd=ROOT, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(seconds() for _ in range(5)) < 0.3
    modules = loaded_after("-c", "import reckon")
    assert "reckon" in modules
    assert not modules & {"torch", "transformers", "numpy"}


def test_help_does_not_load_torch() -> None:
    modules = loaded_after("-m", "reckon", "--help")
    assert "reckon" in modules
    assert not modules & {"torch", "transformers", "datasets"}


def test_no_source_file_is_longer_than_500_lines() -> None:
    lengths = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    assert {name: length for name, length in lengths.items() if length > 500} == {}


def test_no_source_file_runs_text_or_unpickles() -> None:
    found = {path: list(offences(path)) for path in SOURCES}
    [allowed] = found.pop(RUNS_PROGRAMS)
    assert allowed.endswith("exec runs text as code")
    assert [offence for listed in found.values() for offence in listed] == []


def test_the_search_for_offences_finds_them(tmp_path: Path) -> None:
    path = tmp_path / "bad.py"
    path.write_text("import pickle\nfrom dill import loads\neval(x)\ntorch.load(p)\nrun(c, shell=True)\nmodel.eval()\n")
    assert [offence.split(":")[1] for offence in offences(path)] == ["1", "2", "3", "4", "5"]


def test_layers_are_in_order() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_file_names_a_place_on_someones_machine() -> None:
    git = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        listed = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout, so there is no list of files")
    found = []
    for name in filter(None, listed.split("\0")):
        path = ROOT / name
        if path.is_file() and b"\0" not in (data := path.read_bytes()):
            found += [f"{name}: {match}" for match in MACHINE_PATH.findall(data.decode(errors="replace"))]
    assert found == []


@pytest.mark.parametrize("script", sorted((ROOT / "experiments").rglob("*.py")), ids=lambda path: path.name)
def test_the_scripts_of_experiments_find_what_they_import(script: Path) -> None:
    spec = spec_from_file_location(f"experiment_{script.stem}", script)
    assert spec is not None
    assert spec.loader is not None
    spec.loader.exec_module(module_from_spec(spec))
