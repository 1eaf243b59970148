"""How strong the jail is on this machine, found out by attacking it from within.

Each layer is put on alone, so that what is refused is refused by it, and a program tries what the layer is there to
stop. What would be done if it were not stopped is harmless: nothing is sent, no one is signalled, and a file that
could be made is removed.
"""

from __future__ import annotations

import functools
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from reckon.core.errors import ReckonError
from reckon.sandbox.cell import Cell
from reckon.sandbox.limits import Limits
from reckon.sandbox.program import Program, Ran

Layer = Literal["limits", "landlock", "seccomp", "namespaces"]

TIERS: dict[int, tuple[Layer, ...]] = {
    3: ("limits", "landlock", "seccomp", "namespaces"),
    2: ("limits", "landlock", "seccomp"),
    1: ("limits",),
}
"""What each tier is made of."""


@dataclass(frozen=True)
class Evidence:
    """What came of one attack.

    Attributes:
        layer: what was to stop it.
        attack: what was tried.
        holds: whether it was stopped.
        found: what happened instead, in words: ``EPERM``.
    """

    layer: Layer
    attack: str
    holds: bool
    found: str


@dataclass(frozen=True)
class Proof:
    """Attributes:
    tier: the strongest tier all of whose layers hold; 1 if none does.
    evidence: of every attack.
    """

    tier: int
    evidence: tuple[Evidence, ...]

    def missing(self, tier: int) -> str:
        """What keeps this machine from a tier, in words; empty if nothing does."""
        return "; ".join(
            f"{item.layer}: {item.attack}: {item.found}"
            for item in self.evidence
            if item.layer in TIERS[tier] and not item.holds
        )


@functools.cache
def prove() -> Proof:
    """Attacks the jail and says what held. Takes less than a second, once per process."""
    with ThreadPoolExecutor(2) as threads:
        plain, spaced = threads.map(_attack, (False, True))
    evidence = (*plain, *spaced)
    broken = {item.layer for item in evidence if not item.holds}
    tier = next((tier for tier, layers in TIERS.items() if not broken.intersection(layers)), 1)
    return Proof(tier, evidence)


def _attack(namespaces: bool) -> list[Evidence]:
    layers: tuple[Layer, ...] = ("namespaces",) if namespaces else ("limits", "landlock", "seccomp")
    try:
        cell = Cell(namespaces)
    except ReckonError as error:
        if not namespaces:
            raise
        return [Evidence("namespaces", "start", False, error.what)]
    try:
        found = [item for layer in layers for item in _tried(cell, layer)]
        return found if namespaces else found + _deadline(cell)
    finally:
        cell.close()


def _tried(cell: Cell, layer: Layer) -> list[Evidence]:
    """Runs the attacks of a layer with that layer alone."""
    source = _PRELUDE + _ATTACKS[layer] + "print(json.dumps(tried))\n"
    limits = Limits(timeout_s=5.0, memory_mb=256)
    ran = cell.run(Program(source, limits=limits), landlock=layer == "landlock", seccomp=layer == "seccomp")
    if ran.status != "exited" or ran.exit_code != 0:
        why = ran.stderr.strip().rpartition("\n")[2] or ran.status
        return [Evidence(layer, "start", False, why)]
    return [Evidence(layer, attack, holds, found) for attack, holds, found in json.loads(ran.stdout)]


def _deadline(cell: Cell) -> list[Evidence]:
    """Limits that are kept from outside."""

    def run(source: str) -> Ran:
        limits = Limits(timeout_s=0.2, memory_mb=256, output_kb=1)
        return cell.run(Program(source, limits=limits), landlock=False, seccomp=False)

    spun, printed = run("while True: pass"), run("while True: print('x' * 1000)")
    return [
        Evidence("limits", "run beyond the deadline", spun.status == "timed out", spun.status),
        Evidence("limits", "print without end", printed.status == "too much output", printed.status),
    ]


_PRELUDE = """
import ctypes, errno, json, os, socket, sys
tried = []
def attempt(attack, action, *codes):
    try:
        found = str(action())
        holds = False
    except MemoryError:
        holds, found = not codes, "MemoryError"
    except OSError as error:
        found = errno.errorcode.get(error.errno, str(error))
        holds = found in codes
    tried.append((attack, holds, found))
def connect():
    with socket.socket() as it:
        it.settimeout(1)
        return it.connect_ex(("127.0.0.1", 9)) and it.connect(("127.0.0.1", 9))
def fork():
    child = os.fork()
    if child == 0:
        os._exit(0)
    return os.waitpid(child, 0)
def call(name, *arguments):
    libc = ctypes.CDLL(None, use_errno=True)
    result = getattr(libc, name)(*arguments)
    if result == -1:
        raise OSError(ctypes.get_errno(), name)
    return result
"""

_ATTACKS: dict[Layer, str] = {
    "limits": """
def many():
    files = [open("/dev/null") for _ in range(1000)]
    return f"{len(files)} files"
def fill():
    with open("large", "wb") as file:
        return file.truncate(1 << 40)
attempt("take 512 MB of 256", lambda: f"{len(bytearray(512 << 20))} bytes")
attempt("open 1000 files", many, "EMFILE")
attempt("make a file of a terabyte", fill, "EFBIG")
def inherited():
    for fd in range(3, 1024):
        try:
            os.fstat(fd)
            yield fd
        except OSError:
            pass
tried.append(("find open descriptors above 2", not list(inherited()), str(list(inherited()))))
tried.append(("read the environment", not os.environ, f"{len(os.environ)} variables"))
""",
    "landlock": """
def make():
    path = f"/tmp/reckon-proof-{os.getpid()}"
    open(path, "x").close()
    os.unlink(path)
    return "made"
attempt("read /etc/passwd", lambda: open("/etc/passwd").close() or "read", "EACCES")
attempt("list /", lambda: os.listdir("/"), "EACCES")
attempt("make a file in /tmp", make, "EACCES", "ENOENT")
""",
    "seccomp": """
attempt("connect", connect, "EPERM")
attempt("fork", fork, "EPERM")
attempt("signal others", lambda: os.kill(0, 0), "EPERM")
attempt("ptrace", lambda: call("ptrace", 0, 0, 0, 0), "EPERM")
attempt("unshare", lambda: call("unshare", 0), "EPERM")
attempt("change the mode of a file", lambda: os.chmod(".", 0o700), "EPERM")
attempt("io_uring_setup", lambda: call("syscall", 425, 1, None), "EPERM")
""",
    "namespaces": """
attempt("connect", connect, "ENETUNREACH")
attempt("read /etc/passwd", lambda: open("/etc/passwd").close() or "read", "ENOENT")
attempt("list processes", lambda: os.listdir("/proc"), "ENOENT")
attempt("write to the standard library", lambda: open(os.__file__, "r+b").close() or "opened", "EROFS", "EACCES")
attempt("signal the parent", lambda: os.kill(os.getppid() or 1 << 22, 0), "ESRCH")
tried.append(("see the machine's name", os.uname().nodename == "sandbox", os.uname().nodename))
""",
}
