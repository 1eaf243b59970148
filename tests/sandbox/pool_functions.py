"""What the tests of the pool have it call: a function that does as it is told, however badly."""

from __future__ import annotations

import ctypes
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reckon.sandbox.worker import REPLY


def act(order: list[Any]) -> Any:
    """Calls the action that the first element names with the others."""
    name, *arguments = order
    return ACTIONS[name](*arguments)


def square(number: int) -> int:
    return number * number


def nap(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def wait(_: Any) -> None:
    threading.Event().wait()


def spin_in_c() -> int:
    return math.factorial(10**8)


def deadlock() -> None:
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


def ignore_signals() -> None:
    for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_IGN)
    time.sleep(100)


def stop_itself() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def daemonise(file: str) -> None:
    """A process with no tie to this one left, but for its ancestry, that writes its id into a file."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.setsid()
            Path(file).write_text(str(os.getpid()))
            time.sleep(100)
        os._exit(0)
    os.wait()
    while not Path(file).exists() or not Path(file).read_text():
        time.sleep(0.001)


def daemonise_and_spin(file: str) -> None:
    daemonise(file)
    subprocess.Popen(["sleep", "100"], start_new_session=True)
    while True:
        pass


def leave_a_child() -> str:
    subprocess.Popen(["sleep", "100"])
    return "done"


def leave_a_thread() -> int:
    threading.Thread(target=time.sleep, args=(100,), daemon=True).start()
    return os.getpid()


def leave_an_alarm() -> int:
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    return os.getpid()


def both() -> int:
    """Returns twice, in two processes."""
    os.fork()
    return 7


def fail(text: str) -> None:
    raise ValueError(text)


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError


def fail_unspeakably() -> None:
    raise Unspeakable


def segfault() -> None:
    ctypes.string_at(0)


def abort() -> None:
    os.abort()


def use_memory(megabytes: int) -> int:
    return len(bytearray(megabytes << 20))


def print_much(megabytes: int) -> str:
    line = b"x" * (1 << 20)
    for _ in range(megabytes):
        os.write(1, line)
        os.write(2, line)
    print("and", "x" * 10_000)
    print("more", file=sys.stderr)
    return "printed"


def say_much(kilobytes: int) -> str:
    return "x" * (kilobytes << 10)


def say_the_unsayable() -> object:
    return object()


def write_garbage(size: int) -> str:
    """Writes to every pipe it has."""
    for fd in range(3, 64):
        try:
            os.write(fd, os.urandom(size))
        except OSError:
            continue
    return "written"


def forge_a_reply() -> str:
    """Writes what would be a reply, if it knew what a reply begins with, to every pipe it has."""
    for fd in range(3, 64):
        try:
            os.write(fd, REPLY.pack(b"12345678", 0, 4) + b"true")
        except OSError:
            continue
    time.sleep(0.1)
    return "forged"


def close_everything() -> None:
    os.closerange(0, 64)
    time.sleep(100)


def kill_the_keeper() -> None:
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(100)


def environment(name: str) -> str | None:
    return os.environ.get(name)


def clock() -> float:
    return time.time()


def quit_quietly(code: int) -> None:
    sys.exit(code)


ACTIONS: dict[str, Callable[..., Any]] = {
    action.__name__: action
    for action in [
        square,
        nap,
        wait,
        spin_in_c,
        deadlock,
        ignore_signals,
        stop_itself,
        daemonise,
        daemonise_and_spin,
        leave_a_child,
        leave_a_thread,
        leave_an_alarm,
        both,
        fail,
        fail_unspeakably,
        segfault,
        abort,
        use_memory,
        print_much,
        say_much,
        say_the_unsayable,
        write_garbage,
        forge_a_reply,
        close_everything,
        kill_the_keeper,
        environment,
        clock,
        quit_quietly,
        os._exit,
    ]
}
