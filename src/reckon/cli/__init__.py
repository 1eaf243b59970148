"""The command line. A command is a module of this package; it imports what is heavy inside its functions."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Annotated, NoReturn

import typer

from reckon import __version__
from reckon.cli import (
    chat,
    check,
    compare,
    compare_methods,
    eval,
    lineage,
    recipes,
    report,
    run,
    search,
    serve,
    verify,
)
from reckon.core.errors import DataError, Interrupted, ReckonError
from reckon.core.text import clean

app = typer.Typer(
    help="Train language models to reason with reinforcement learning.",
    epilog="With --debug anywhere on the line, or RECKON_DEBUG=1, errors come with a traceback.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("run")(run.command)
app.command("eval")(eval.command)
app.command("compare")(compare.command)
app.command("search")(search.command)
app.command("chat")(chat.command)
app.command("serve")(serve.command)
app.command("report")(report.report)
app.command("lineage")(lineage.command)
app.command("compare-methods")(compare_methods.command)
app.command("verify")(verify.command)
app.command("check")(check.command)
app.add_typer(recipes.app, name="recipes")

_CTRL_C = 130
"""What typer makes of a KeyboardInterrupt."""

_SPINS = "3000"
"""How often an idle thread of GNU's OpenMP asks for work before it sleeps. By default so long that two runs on the same
cores make each other ten times slower; with this, they take turns. Alone, a run is as fast as before."""


@app.callback(invoke_without_command=True)
def _options(version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False) -> None:
    if version:
        typer.echo(f"reckon {__version__}")
        raise typer.Exit


def share_cores() -> None:
    """Let PyTorch's idle threads sleep, unless the user has decided. To be called before torch is imported."""
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", _SPINS)


def main() -> NoReturn:
    """Run the command line and leave with the exit code of what happened: 0, or that of the error's class."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    debug = len(arguments) < len(sys.argv) - 1 or os.environ.get("RECKON_DEBUG") == "1"
    share_cores()
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        # A terminal that cannot show or send a character gets a question mark, not a crash.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        app(arguments, prog_name="reckon")
    except SystemExit as leave:
        sys.exit(Interrupted.exit_code if leave.code == _CTRL_C else leave.code)
    except Exception as error:
        if debug:
            traceback.print_exception(error)
        code, paragraph = _explain(error)
        print(clean(f"reckon: {paragraph}"), file=sys.stderr)
        sys.exit(code)
    sys.exit(0)


def _explain(error: Exception) -> tuple[int, str]:
    """The exit code and the paragraph for an error."""
    if isinstance(error, ReckonError):
        return error.exit_code, str(error)
    if isinstance(error, OSError):
        # Files, disks and ports belong to the machine we run on, not to us.
        where = str(error.filename or "")
        return DataError.exit_code, str(DataError(error.strerror or str(error), where=where))
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return ReckonError.exit_code, (
        f"{what}. This is our bug, not yours. Please report it, with the command and what it prints with --debug."
    )
