"""``reckon check``: can this machine run Reckon, and do the tasks judge what they should?"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from reckon.sandbox.proof import Proof


def command(
    task: Annotated[list[str] | None, typer.Option(help="Check this task. [default: countdown and plugins']")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="A task setting: task.KEY=VALUE.")] = None,
    plugin: Annotated[list[Path] | None, typer.Option(help="A Python file that defines a task.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check the environment, the jail and the tasks; exit code 3 if a task fails its self-check."""
    from reckon.core.config import apply_overrides
    from reckon.core.errors import ConfigError, DataError
    from reckon.sandbox.proof import prove
    from reckon.tasks.check import check_task
    from reckon.tasks.registry import build_task, load_plugin

    plugged = [kind for file in plugin or [] for kind in load_plugin(file)]
    # Only tasks that make their own problems: others would have to be downloaded, which nobody asked for.
    kinds = task or ["countdown", "arithmetic", "logic", "instructions", "general", "safety", *plugged]
    if settings and len(kinds) > 1:
        raise ConfigError(f"--set is for one task, not for {', '.join(kinds)}", fix="Add --task KIND")
    found, proof = _environment(), prove()
    reports: dict[str, Any] = {}
    for kind in kinds:
        tree = apply_overrides({"task": {"kind": kind}}, settings or [])
        if list(tree) != ["task"]:
            raise ConfigError("only settings of the task can be set here", where="--set", fix="Write task.KEY=VALUE")
        report = check_task(build_task(tree["task"]))
        reports[kind] = {**asdict(report), "ok": report.ok}
    if as_json:
        typer.echo(json.dumps({"environment": found, "sandbox": asdict(proof), "tasks": reports}))
    else:
        _print_environment(found)
        _print_sandbox(proof)
        _print_tasks(reports)
        typer.echo("\nNext: reckon run r1-zero")
    failed = [kind for kind, report in reports.items() if not report["ok"]]
    if failed:
        raise DataError(
            f"the self-check failed for: {', '.join(failed)}",
            why="A model trained against a verifier with a hole learns the hole",
            fix="Mend verify() of the task; the failures are listed above",
        )


def _environment() -> dict[str, Any]:
    import os
    import platform
    import shutil

    import torch
    import transformers

    import reckon
    from reckon.models.load import model_folder

    return {
        "reckon": reckon.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "cores": os.cpu_count(),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "disk_free_gb": round(shutil.disk_usage(".").free / 1e9, 1),
        "micro_model": (model_folder("micro") / "config.json").is_file(),
    }


def _print_environment(found: dict[str, Any]) -> None:
    for name, value in found.items():
        typer.echo(f"{name:<14} {value if value is not None else 'none'}")


def _print_sandbox(proof: Proof) -> None:
    from reckon.sandbox.proof import TIERS

    typer.echo(f"sandbox        tier {proof.tier} of {max(TIERS)}")
    for layer in TIERS[max(TIERS)]:
        tried = [evidence for evidence in proof.evidence if evidence.layer == layer]
        held = "; ".join(f"{one.attack}: {one.found}" for one in tried if one.holds)
        typer.echo(f"  {layer:<12} {held or 'nothing was stopped'}")
        for one in tried:
            if not one.holds:
                typer.echo(f"  {'':<12} NOT STOPPED: {one.attack} ({one.found})")


def _print_tasks(reports: dict[str, Any]) -> None:
    for kind, report in reports.items():
        state = "sound" if report["ok"] else "FAILED"
        typer.echo(
            f"task {kind}: {state}; {report['problems']} problems, {report['golds']} golds, "
            f"{report['verdicts']} verdicts, slowest {report['slowest_s'] * 1000:.1f} ms"
        )
        for failure in report["failures"]:
            typer.echo(f"  - {failure}")
