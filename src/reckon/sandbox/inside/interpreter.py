"""What a fresh interpreter does with a script, done by one that already runs.

This file, and no other of the project, runs text as code: inside the jail, in a process that holds nothing else.
"""

from __future__ import annotations

import atexit
import builtins
import contextlib
import gc
import os
import sys
import types
from collections.abc import Callable
from typing import Any, NoReturn

SCRIPT = "main.py"
"""What a program's source is called in its folder."""


def run(source: bytes, folder: str) -> NoReturn:
    """Runs a script as ``__main__`` to the end of the process: output, tracebacks and exit code as usual."""
    path = os.path.join(folder, SCRIPT)
    module = types.ModuleType("__main__")
    module.__file__ = path
    module.__dict__["__builtins__"] = builtins
    sys.modules["__main__"] = module
    sys.argv, sys.path = [path], [folder, *sys.path]
    code = 0
    try:
        exec(compile(source, path, "exec", dont_inherit=True), module.__dict__)
    except BaseException as error:
        code = _end(error)
    os._exit(_leave(module, code) & 0xFF)


def open_streams() -> None:
    """Opens standard streams as an interpreter does that finds pipes there. To be done ahead: which pipes is no matter.

    The old ones stay open: nothing is buffered in them.
    """
    ends = os.pipe()
    for fd, end in enumerate((ends[0], ends[1], ends[1])):
        os.dup2(end, fd)
    for end in ends:
        os.close(end)
    sys.stdin, sys.stdout = _stream(0, "r", "surrogateescape"), _stream(1, "w", "surrogateescape")
    sys.stderr = _stream(2, "w", "backslashreplace", buffering=1)
    vars(sys).update(__stdin__=sys.stdin, __stdout__=sys.stdout, __stderr__=sys.stderr)


def _stream(fd: int, mode: str, errors: str, buffering: int = -1) -> Any:
    return os.fdopen(fd, mode, buffering, encoding="utf-8", errors=errors, closefd=False)


def _end(error: BaseException) -> int:
    """The exit code after an exception that nothing caught, which is shown without the frame of this file."""
    if isinstance(error, SystemExit):
        if error.code is None or isinstance(error.code, int):
            return error.code or 0
        _show(lambda: print(error.code, file=sys.stderr))
        return 1
    trace = error.__traceback__.tb_next if error.__traceback__ else None
    _show(lambda: sys.excepthook(type(error), error.with_traceback(trace), trace))
    return 1


def _show(show: Callable[[], object]) -> None:
    with contextlib.suppress(BaseException):
        show()


def _leave(module: types.ModuleType, code: int) -> int:
    """Waits for threads, runs exit functions and finalizers, writes out what is buffered."""
    with contextlib.suppress(BaseException):
        if "threading" in sys.modules:
            sys.modules["threading"]._shutdown()
    with contextlib.suppress(BaseException):
        atexit._run_exitfuncs()
    written = _flush()
    with contextlib.suppress(BaseException):
        module.__dict__.clear()
        gc.collect()
    return code if _flush() and written else 120


def _flush() -> bool:
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None and not stream.closed:
                stream.flush()
    except BaseException:
        return False
    return True
