"""The jail: programs behave as in a fresh interpreter, and hostile ones get nothing and leave nothing."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from reckon.core.errors import ConfigError, DataError, ReckonError
from reckon.sandbox import jail
from reckon.sandbox.cell import Cell
from reckon.sandbox.jail import LocalSandbox
from reckon.sandbox.limits import Limits
from reckon.sandbox.program import Program, Ran
from reckon.sandbox.proof import prove
from tests.sandbox.attacks import ATTACKS, PRELUDE

NEEDLE = "a secret of an earlier program"


@pytest.fixture(scope="module", params=[2, 3], ids=["tier2", "tier3"])
def sandbox(request: pytest.FixtureRequest) -> Iterator[LocalSandbox]:
    """A sandbox of one worker, warm."""
    if prove().tier < request.param:
        pytest.skip(f"tier {request.param} does not hold here: {prove().missing(request.param)}")
    box = LocalSandbox(request.param, workers=1)
    box.run(Program("pass"))
    yield box
    box.close()


@pytest.fixture(scope="module")
def weak() -> Iterator[LocalSandbox]:
    box = LocalSandbox(1, workers=1)
    yield box
    box.close()


def run(box: LocalSandbox, source: str, stdin: str = "", **limits: float) -> Ran:
    """Runs an indented source."""
    return box.run(Program(textwrap.dedent(source), stdin=stdin, limits=Limits(**{"timeout_s": 20.0, **limits})))


def descendants(pid: int) -> set[int]:
    """All processes that a process has started, and those they have."""
    found = set[int]()
    for task in Path(f"/proc/{pid}/task").glob("*"):
        with contextlib.suppress(OSError):
            found |= {int(child) for child in (task / "children").read_text().split()}
    return found.union(*map(descendants, found))


def lasting() -> set[int]:
    """All processes that this one has started, but for those that wait in cells for the next program."""
    return {pid for pid in descendants(os.getpid()) if not waits(pid)}


def waits(pid: int) -> bool:
    """Whether a process still holds its parent's sockets, which no program does; or has ended meanwhile."""
    try:
        parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        return bool(sockets(pid) & sockets(parent))
    except (FileNotFoundError, ProcessLookupError):
        return True


def sockets(pid: int) -> set[str]:
    """What a process holds open of them."""
    found = set[str]()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            found.add(os.readlink(f"/proc/{pid}/fd/{fd}"))
    return {name for name in found if name.startswith("socket:")}


# -------------------------------------------------------------------------------------------------- attacks


class Targets:
    """What the attacks are to reach: a secret file, sockets, this process."""

    def __init__(self, folder: Path) -> None:
        folder.chmod(0o755)
        self.secret = folder / "secret"
        self.secret.write_text("secret")
        self.secret.chmod(0o644)  # so that it is not its mode that protects it
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", 0))
        self.unix, self.abstract = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
        self.unix.bind(str(folder / "socket"))
        os.chmod(folder / "socket", 0o777)
        self.abstract.bind(f"\0reckon-test-{os.getpid()}")
        for it in (self.unix, self.abstract):
            it.listen()
        self.folder = folder

    def described(self, neighbour: str) -> dict[str, object]:
        return {
            "pid": os.getpid(),
            "secret": str(self.secret),
            "tcp": self.tcp.getsockname()[1],
            "udp": self.udp.getsockname()[1],
            "unix": self.unix.getsockname(),
            "abstract": f"\0reckon-test-{os.getpid()}",
            "neighbour": neighbour,
            "needle": [ord(letter) for letter in NEEDLE],
        }

    def reached(self) -> list[str]:
        """The sockets that somebody has written or connected to."""
        found = []
        for name in ("tcp", "udp", "unix", "abstract"):
            it: socket.socket = getattr(self, name)
            it.settimeout(0)
            with contextlib.suppress(BlockingIOError):
                it.recvfrom(10) if name == "udp" else it.accept()
                found.append(name)
        return found

    def state(self) -> object:
        status = self.secret.stat()
        return self.secret.read_text(), status.st_mode, status.st_uid, status.st_mtime, sorted(os.listdir(self.folder))


@pytest.fixture(scope="module")
def targets() -> Iterator[Targets]:
    """In a folder that everyone may enter; pytest's own is its user's alone."""
    with tempfile.TemporaryDirectory(prefix="reckon-targets-") as folder:
        yield Targets(Path(folder))


@pytest.fixture(scope="module")
def neighbour() -> Iterator[str]:
    """The folder of another program that runs."""
    box = LocalSandbox(1, workers=1)
    box.run(Program("pass"))
    (cell,) = box._cells

    def sleep() -> None:
        with contextlib.suppress(ReckonError):  # that it is closed
            box.run(Program("import time; open('up', 'w'); time.sleep(300)", limits=Limits(timeout_s=300)))

    thread = threading.Thread(target=sleep)
    thread.start()
    while not Path(cell._scratch, "up").exists():
        time.sleep(0.01)
    yield cell._scratch
    box.close()
    thread.join()


def shared_places() -> dict[str, list[str]]:
    """What lies where programs of all users may write."""
    return {place: sorted(os.listdir(place)) for place in ("/tmp", "/dev/shm", "/var/tmp") if os.path.isdir(place)}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_gets_nothing_and_leaves_nothing(
    sandbox: LocalSandbox, targets: Targets, neighbour: str, name: str
) -> None:
    attack = ATTACKS[name]
    processes, places, state = lasting(), shared_places(), targets.state()
    limits = (resource.getrlimit(resource.RLIMIT_NOFILE), os.getpriority(os.PRIO_PROCESS, 0))
    sandbox.run(Program(f"x = '{NEEDLE}'; input()", stdin=NEEDLE + "\n", files={"note": NEEDLE}))

    target = f"import json\nTARGET = json.loads({json.dumps(targets.described(neighbour))!r})\n"
    bounds = Limits(timeout_s=attack.timeout_s, memory_mb=512)
    began = time.monotonic()
    ran = sandbox.run(Program(PRELUDE + target + attack.source, limits=bounds))

    assert "ESCAPED" not in ran.stdout, ran
    assert ran.status in attack.ends, ran
    assert time.monotonic() - began < attack.timeout_s + 5.0
    if attack.denied and sandbox.tier in attack.seen:
        assert attack.denied in ran.denied, ran
    assert targets.reached() == []
    assert targets.state() == state
    assert lasting() == processes
    new = {place: sorted(set(names) - set(places[place])) for place, names in shared_places().items()}
    assert not any("left" in names for names in new.values()), new
    assert limits == (resource.getrlimit(resource.RLIMIT_NOFILE), os.getpriority(os.PRIO_PROCESS, 0))
    after = run(sandbox, "import os; print(sorted(os.listdir()), 6 * 7)")
    assert (after.status, after.stdout) == ("exited", "['main.py'] 42\n"), after
    assert after.seconds < 5.0


@pytest.mark.parametrize("fault", ["F22", "F23", "F24", "F25", "F26"])
def test_every_class_of_faults_has_attacks(fault: str) -> None:
    assert sum(attack.fault == fault for attack in ATTACKS.values()) >= 4


def test_the_attacks_would_work_without_the_jail(weak: LocalSandbox, targets: Targets) -> None:
    """So that the test above can fail. Those of tier 1 that harm nobody."""
    target = f"import json\nTARGET = json.loads({json.dumps(targets.described(str(targets.folder)))!r})\n"
    for name in ("through classes", "read the machine's files", "clone3", "swap a link while it is followed"):
        assert "ESCAPED" in weak.run(Program(PRELUDE + target + ATTACKS[name].source)).stdout, name
    for name in ("TCP", "UDP", "unix socket", "abstract socket"):
        weak.run(Program(PRELUDE + target + ATTACKS[name].source))
    assert targets.reached() == ["tcp", "udp", "unix", "abstract"]


# ------------------------------------------------------------------------------------- as a fresh interpreter

SCRIPTS = {
    "output": "print('a', 'ü', '\\U0001f600')\nimport sys\nsys.stderr.write('e\\n')",
    "input": "a = int(input()); b = input('? ')\nprint(a, repr(b))\nimport sys\nprint(sys.stdin.read())",
    "input as bytes": "import sys\nprint(sys.stdin.buffer.readline())\nprint(sys.stdin.buffer.read())",
    "input by descriptor": "print(open(0).read().split())",
    "input with the first lines read twice": "import sys\nprint(next(sys.stdin))\nprint(sys.stdin.readlines())",
    "end of input": "while True: input()",
    "main": "if __name__ == '__main__': print('main', __name__, __doc__, __builtins__)",
    "globals": "x = 1\ndef f(): return x + 1\nprint(f(), sorted(k for k in globals() if not k.startswith('__')))",
    "exit 3": "import sys\nprint('a')\nsys.exit(3)",
    "exit with words": "import sys\nsys.exit('words')",
    "exit None": "import sys\nsys.exit()",
    "quit": "raise SystemExit(True)",
    "exit at once": "import os\nprint('lost', end='')\nos._exit(7)",
    "exit of -1": "import sys\nsys.exit(-1)",
    "exception": "def f():\n    return 1 // 0\n\nf()",
    "exception in an exception": "try:\n    {}['a']\nexcept KeyError as e:\n    raise ValueError('b') from e",
    "syntax error": "print('never')\nif True\n    pass",
    "coding": "# -*- coding: latin-1 -*-\nprint('ü')",
    "recursion": "def f(n): return f(n + 1)\ntry:\n    f(0)\nexcept RecursionError as e:\n    print(e)",
    "assertion": "assert 1 == 2, 'no'",
    "hook": "import sys\nsys.excepthook = lambda *a: print('hooked', a[0].__name__)\nraise ValueError",
    "at exit": "import atexit\natexit.register(print, 'last')\nprint('first')",
    "at exit after an error": "import atexit\natexit.register(print, 'last')\nraise KeyError(1)",
    "threads outlive the script": "import threading, time\n"
    "threading.Thread(target=lambda: (time.sleep(0.05), print('thread'))).start()\nprint('script')",
    "error in a thread": "import threading\nt = threading.Thread(target=lambda: 1 / 0, name='t')\nt.start()\nt.join()",
    "unflushed file object": "out = open(1, 'w', closefd=False)\nout.write('late')",
    "finalizer": "class A:\n    def __del__(self): print('gone')\na = A()",
    "replaced stdout": "import io, sys\nsys.stdout = io.TextIOWrapper(io.FileIO(1, 'w'))\nprint('wrapped')",
    "closed stdout": "import sys\nsys.stdout.close()",
    "crash": "import ctypes\nctypes.string_at(0)",
    "futures": "from concurrent.futures import ThreadPoolExecutor\n"
    "with ThreadPoolExecutor(8) as e: print(sum(e.map(abs, range(100))))",
    "asyncio": "import asyncio\nasync def f():\n    await asyncio.sleep(0.01)\n    return 5\nprint(asyncio.run(f()))",
    "import": "import helper\nprint(helper.VALUE, helper.__name__)",
    "own files": "print(open('data/in.txt').read())\nopen('out.txt', 'w').write('x')\nprint(open('out.txt').read())",
    "own source": "import inspect\ndef f():\n    return 1\nprint(inspect.getsource(f), open(__file__).readline())",
    "future": "from __future__ import annotations\ndef f(x: y): pass\nprint(f.__annotations__)",
    "no future": "try:\n    def f(x: y): pass\nexcept NameError as e:\n    print(e)",
    "dataclasses and pickling of main": "import dataclasses, pickle\n@dataclasses.dataclass\nclass A:\n    x: int\n"
    "print(pickle.loads(pickle.dumps(A(3))))",
    "standard library": "import bz2, csv, ctypes, hashlib, lzma, sqlite3, ssl, tempfile, unittest, uuid, zoneinfo\n"
    "print(hashlib.md5(b'a').hexdigest(), sqlite3.connect(':memory:').execute('select 1').fetchall())\n"
    "with tempfile.TemporaryDirectory() as d: print(len(d) > 0)",
    "deep recursion in a thread": "import sys, threading\nsys.setrecursionlimit(100_000)\n"
    "threading.stack_size(256 << 20)\n"
    "def f(n): return 0 if n == 0 else 1 + f(n - 1)\nt = threading.Thread(target=lambda: print(f(50_000)))\n"
    "t.start()\nt.join()",
    "signals to oneself": "import signal\nsignal.signal(signal.SIGALRM, lambda *a: print('alarm'))\nsignal.alarm(1)\n"
    "signal.pause()",
    "arguments": "import os, sys\nprint(len(sys.argv), os.path.basename(sys.argv[0]), sys.flags.optimize)",
    "platform": "import os, platform, locale\nprint(platform.system(), os.cpu_count(), locale.getpreferredencoding())",
}

FILES = {"helper.py": "VALUE = 11\n", "data/in.txt": "données"}


def fresh(folder: Path, source: str, stdin: str) -> tuple[str, str, int]:
    """What a fresh interpreter makes of a script."""
    for name, text in {"main.py": source, **FILES}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    command = [sys.executable, "-I", "-S", "-B", "-X", "utf8", "-c", RUN_SCRIPT]
    done = subprocess.run(command, input=stdin.encode(), capture_output=True, cwd=folder, env={})
    return done.stdout.decode(), done.stderr.decode(), done.returncode


RUN_SCRIPT = """
import os, sys
sys.path.insert(0, os.getcwd())
os.execve(sys.executable, [sys.executable, "-S", "-s", "-B", "-X", "utf8", os.path.join(os.getcwd(), "main.py")],
          {"PYTHONHASHSEED": "0"})
"""


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_program_runs_as_in_a_fresh_interpreter(sandbox: LocalSandbox, tmp_path: Path, name: str) -> None:
    source, stdin = SCRIPTS[name], "12\n3 4\nrest of it\nüñ"
    stdout, stderr, code = fresh(tmp_path, source, stdin)
    ran = sandbox.run(Program(source, stdin=stdin, files=FILES))
    shown = re.sub(r'File "[^"]*/main\.py"', f'File "{tmp_path}/main.py"', ran.stderr)
    assert ran.status == ("exited" if code >= 0 else "killed")
    assert (ran.stdout, shown, ran.exit_code) == (stdout, stderr, code)
    assert ran.denied == ()


@pytest.mark.parametrize("name", ["exit", "quit"])
def test_exit_and_quit_are_there(sandbox: LocalSandbox, name: str) -> None:
    ran = run(sandbox, f"print('a')\n{name}(3)\nprint('b')")
    assert (ran.status, ran.exit_code, ran.stdout, ran.stderr) == ("exited", 3, "a\n", "")
    assert run(sandbox, f"{name}()").exit_code == 0
    assert run(sandbox, f"print({name})").stdout == f"Use {name}() or Ctrl-D (i.e. EOF) to exit\n"


def test_a_module_is_loaded_ahead(sandbox: LocalSandbox, tmp_path: Path) -> None:
    path = tmp_path / "ahead.py"
    path.write_text("LIST = [1]")
    program = Program("import ahead\nahead.LIST.append(2)\nprint(ahead.LIST)", files={"ahead.py": "LIST = [0]"})
    box = LocalSandbox(sandbox.tier, workers=1, preload=path)
    with contextlib.closing(box):
        assert box.run(program).stdout == "[1, 2]\n"
        path.unlink()
        # Neither loaded again, nor what the last program made of it.
        assert box.run(program).stdout == "[1, 2]\n"
        assert run(box, "import sys; print([p for p in sys.path if 'pytest' in p])").stdout == "[]\n"
    assert sandbox.run(program).stdout == "[0, 2]\n"


def test_a_module_that_is_not_there_starts_nothing(tmp_path: Path) -> None:
    with (
        contextlib.closing(LocalSandbox(1, workers=1, preload=tmp_path / "ahead.py")) as box,
        pytest.raises(ReckonError, match=r"does not start: .*ahead\.py"),
    ):
        box.run(Program("pass"))


def test_a_signal_to_oneself_ends_a_program(sandbox: LocalSandbox) -> None:
    """Except in a process namespace, whose first process the kernel protects from signals that it does not handle."""
    ran = run(sandbox, "import os, signal; os.kill(os.getpid(), signal.SIGTERM); print('lives')")
    died = ("killed", "", -signal.SIGTERM)
    assert (ran.status, ran.stdout, ran.exit_code) == (died if sandbox.tier == 2 else ("exited", "lives\n", 0))


def test_the_environment_is_empty_and_random_numbers_differ(sandbox: LocalSandbox) -> None:
    source = "import os, random\nprint(dict(os.environ), random.random(), os.urandom(8))"
    first, second = run(sandbox, source), run(sandbox, source)
    assert first.stdout.startswith("{} ")
    assert first.stdout != second.stdout


def test_sets_have_one_order_in_every_run() -> None:
    source = "print({'a', 'b', 'c', 'd', 'e', 'f', 'g'})"
    found = set()
    for _ in range(2):
        box = LocalSandbox(workers=1)
        found.add(box.run(Program(source)).stdout)
        box.close()
    assert len(found) == 1


# ------------------------------------------------------------------------------------------- limits and streams


def test_a_program_is_stopped_at_its_deadline(sandbox: LocalSandbox) -> None:
    ran = run(sandbox, "import sys\nprint('before', flush=True)\nwhile True: pass", timeout_s=0.3)
    assert (ran.status, ran.exit_code, ran.stdout) == ("timed out", None, "before\n")
    assert 0.3 <= ran.seconds < 3.0


def test_memory_is_limited_and_said_to_be(sandbox: LocalSandbox) -> None:
    ran = run(sandbox, "x = bytearray(300 << 20)", memory_mb=256)
    assert (ran.status, ran.exit_code, ran.denied) == ("exited", 1, ("memory",))
    assert run(sandbox, "x = bytearray(100 << 20); print(len(x))", memory_mb=256).stdout == f"{100 << 20}\n"


def test_output_is_cut_and_its_head_kept(sandbox: LocalSandbox) -> None:
    ran = run(sandbox, "for i in range(10 ** 7): print(i)", output_kb=2)
    assert (ran.status, ran.exit_code) == ("too much output", None)
    assert len(ran.stdout) == 2048
    assert ran.stdout.startswith("0\n1\n2\n")
    fits = run(sandbox, "print('x' * 2047)", output_kb=2)
    assert (fits.status, len(fits.stdout)) == ("exited", 2048)
    assert run(sandbox, "print('x' * 2048)", output_kb=2).status == "too much output"


def test_much_input_and_output_pass_and_unread_input_does_not_block(sandbox: LocalSandbox) -> None:
    text = "0123456789" * 300_000
    ran = run(sandbox, "import sys; sys.stdout.write(sys.stdin.read())", stdin=text, output_kb=4096)
    assert ran.stdout == text
    assert run(sandbox, "print('done')", stdin=text).stdout == "done\n"
    assert run(sandbox, "import os; os.close(0); print('closed')", stdin=text).stdout == "closed\n"


def test_bytes_that_are_no_text_and_lone_surrogates_do_no_harm(sandbox: LocalSandbox) -> None:
    ran = run(sandbox, "import sys; sys.stdout.buffer.write(b'a\\xff\\0b')")
    assert ran.stdout == "a\ufffd\0b"
    ran = sandbox.run(Program("print(len(input()))", stdin="a\ud800b\n", files={"x": "\udfff"}))
    assert ran.status == "exited"
    assert sandbox.run(Program("x = '\ud800'")).exit_code == 1


def test_a_program_of_many_megabytes_runs(sandbox: LocalSandbox) -> None:
    source = "x = '" + "a" * (8 << 20) + "'\nprint(len(x))"
    assert sandbox.run(Program(source)).stdout == f"{8 << 20}\n"


@pytest.mark.parametrize("path", ["/etc/passwd", "../up", "a/../../up", "main.py", "", ".", "a\0b"])
def test_files_lie_in_the_programs_folder(path: str) -> None:
    with pytest.raises(DataError):
        Program("pass", files={path: "text"})


def test_an_impossible_start_is_the_sandboxs_failure_and_said_to_be(sandbox: LocalSandbox) -> None:
    ran = sandbox.run(Program("print(1)", files={"x" * 300: "no file system takes such a name"}))
    assert (ran.status, ran.exit_code, ran.stdout) == ("failed to start", None, "")
    assert "name too long" in ran.stderr
    assert run(sandbox, "print(1)").stdout == "1\n"


# ------------------------------------------------------------------------------------------ workers and processes


def test_programs_run_side_by_side_and_come_back_in_order() -> None:
    box = LocalSandbox(workers=4)
    began = time.monotonic()
    programs = [Program(f"import time; time.sleep({1 if i < 4 else 0}); print({i})") for i in range(12)]
    assert [ran.stdout for ran in box.run_all(programs)] == [f"{i}\n" for i in range(12)]
    assert time.monotonic() - began < 3.9
    assert box.run_all([]) == []
    box.close()


def test_many_threads_share_a_sandbox(sandbox: LocalSandbox) -> None:
    found = dict[int, str]()
    threads = [
        threading.Thread(target=lambda i=i: found.update({i: sandbox.run(Program(f"print({i})")).stdout}))  # type: ignore[misc]
        for i in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {i: f"{i}\n" for i in range(20)}


@pytest.mark.parametrize("which", ["all", "those that wait"])
def test_lost_processes_are_replaced(which: str) -> None:
    """However many have gone at once."""
    before = descendants(os.getpid())
    with contextlib.closing(LocalSandbox(workers=3)) as box:
        box.run_all([Program("import time; time.sleep(1)")] * 3)
        deadline = time.monotonic() + 10
        while len(waiting := {pid for pid in descendants(os.getpid()) - before if waits(pid)}) < 3:
            assert time.monotonic() < deadline
        for pid in waiting if which == "those that wait" else descendants(os.getpid()) - before:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert run(box, "print('again')").stdout == "again\n"
        assert [ran.stdout for ran in box.run_all([Program("print('all')")] * 3)] == ["all\n"] * 3


def test_hundreds_of_kills_leave_no_descriptors_or_processes() -> None:
    box = LocalSandbox(workers=2)
    programs = [Program("while True: pass", limits=Limits(timeout_s=0.01))] * 150
    box.run_all(programs[:4])
    fds, processes = len(os.listdir("/proc/self/fd")), lasting()
    assert {ran.status for ran in box.run_all(programs)} == {"timed out"}
    assert len(os.listdir("/proc/self/fd")) == fds
    assert lasting() == processes
    box.close()


def test_closing_ends_what_runs_and_nothing_runs_afterwards(weak: LocalSandbox) -> None:
    del weak  # whose processes are there already
    before = lasting()
    box = LocalSandbox(workers=1)
    found = list[object]()

    def spin() -> None:
        try:
            found.append(run(box, "while True: pass", timeout_s=60))
        except ReckonError as error:
            found.append(error)

    thread = threading.Thread(target=spin)
    thread.start()
    time.sleep(0.5)
    box.close()
    thread.join(10)
    assert not thread.is_alive()
    assert isinstance(found[0], ReckonError)
    assert lasting() == before
    with pytest.raises(ReckonError):
        box.run(Program("pass"))


def test_a_process_that_was_starting_runs_nothing_either(monkeypatch: pytest.MonkeyPatch) -> None:
    before = lasting()
    box = LocalSandbox(workers=1)

    def started_too_late(namespaces: bool, preload: Path | None) -> Cell:
        box.close()
        return Cell(namespaces, preload)

    monkeypatch.setattr(jail, "Cell", started_too_late)
    with pytest.raises(ReckonError, match="closed"):
        box.run(Program("pass"))
    assert lasting() == before


OWNER = """
import os, sys, threading, time
from reckon.sandbox.jail import LocalSandbox
from reckon.sandbox.limits import Limits
from reckon.sandbox.program import Program
box = LocalSandbox(int(sys.argv[1]), workers=1)
print(box.run(Program("print(1)")).stdout, end="", flush=True)
spin = Program("import os\\nopen('marker', 'w')\\nwhile True: pass", limits=Limits(timeout_s=60))
thread = threading.Thread(target=box.run, args=(spin,), daemon=True)
thread.start()
time.sleep(0.4)
print("spins", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("tier", [1, 2, 3])
def test_when_the_owner_is_killed_everything_ends(tier: int, tmp_path: Path) -> None:
    if prove().tier < tier:
        pytest.skip(f"tier {tier} does not hold here")
    command, environment = [sys.executable, "-c", OWNER, str(tier)], {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "1\n"
        assert owner.stdout.readline() == "spins\n"
        family = descendants(owner.pid)
        assert len(family) >= 2
        owner.kill()
    deadline = time.monotonic() + 15
    while any(Path(f"/proc/{pid}").exists() for pid in family) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not [pid for pid in family if Path(f"/proc/{pid}").exists()]
    assert not os.listdir(tmp_path)


def test_a_forked_copy_of_the_owner_has_its_own_workers(sandbox: LocalSandbox) -> None:
    assert run(sandbox, "print('parent')").stdout == "parent\n"
    child = os.fork()
    if child == 0:
        code = 1
        with contextlib.suppress(BaseException):
            code = 0 if run(sandbox, "print('child')").stdout == "child\n" else 2
            sandbox.close()
        os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert run(sandbox, "print('still')").stdout == "still\n"


def test_nor_does_it_hold_what_the_owners_programs_wait_for(sandbox: LocalSandbox) -> None:
    found = list[Ran]()
    source = "import sys, time; time.sleep(0.5); print(len(sys.stdin.read()))"
    thread = threading.Thread(target=lambda: found.append(run(sandbox, source, "x" * 500_000, timeout_s=5)))
    thread.start()
    time.sleep(0.2)  # the input does not fit into a pipe, so its end has not come
    child = os.fork()
    if child == 0:
        signal.pause()
    thread.join()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert found[0].stdout == "500000\n"


def test_tiers_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ConfigError, match="no tier 4"):
        LocalSandbox(4)
