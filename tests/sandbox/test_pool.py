"""The pool against code that hangs, crashes, and leaves things behind: real processes, real signals."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from reckon.core.errors import ReckonError
from reckon.sandbox.limits import Limits
from reckon.sandbox.pool import Pool, shared_pool

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere detached processes outlive their worker")

ROOT = Path(__file__).resolve().parents[2]
ACT = "tests.sandbox.pool_functions:act"
MARK = "RECKON_TEST_MARK"
NUMBERS = itertools.count()
TIMEOUT = 0.3


@pytest.fixture(scope="module")
def mark() -> Iterator[str]:
    """A variable in the environment of all processes of the pool that most tests share."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(MARK, mark := f"{os.getpid()}-shared")
        yield mark


@pytest.fixture(scope="module")
def pool(mark: str) -> Iterator[Pool]:
    """One pool for all that can be done to it."""
    with Pool(ACT, workers=2, limits=Limits(timeout_s=TIMEOUT, memory_mb=400, output_kb=16)) as pool:
        pool.call(["square", 1])
        yield pool
    assert marked(mark) == {}


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Another mark, for pools of the test's own, of which nothing is to be left."""
    monkeypatch.setenv(MARK, mark := f"{os.getpid()}-{next(NUMBERS)}")
    yield mark
    assert eventually(lambda: not marked(mark))


def marked(mark: str) -> dict[int, list[str]]:
    """The processes that carry a mark, zombies included: their id, command, state and parent."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal() and int(folder.name) != os.getpid():
            try:
                stat = (folder / "stat").read_text()
                environ = (folder / "environ").read_bytes()
            except OSError:
                continue
            name, _, rest = stat.rpartition(")")
            state, parent = rest.split()[:2]
            if f"{MARK}={mark}".encode() in environ.split(b"\0"):
                found[int(folder.name)] = [name.partition("(")[2], state, parent]
    return found


def keeper(mark: str) -> int:
    """The process that this one started."""
    [pid] = [pid for pid, (_, _, parent) in marked(mark).items() if int(parent) == os.getpid()]
    return pid


def eventually(condition: Callable[[], bool], seconds: float = 3.0) -> bool:
    limit = time.monotonic() + seconds
    while not condition() and time.monotonic() < limit:
        time.sleep(0.01)
    return condition()


def assert_whole(pool: Pool, mark: str) -> None:
    """Two workers that work, and no other process."""
    assert eventually(lambda: len({nap.value for nap in pool.map({n: ["nap", 0.05] for n in range(4)}).values()}) == 2)
    assert len(marked(mark)) == 3


# ------------------------------------------------------------------------------------------ what it is for


def test_results_come_back_by_key(pool: Pool) -> None:
    outcomes = pool.map({f"job {n}": ["square", n] for n in range(500)})
    assert [(key, outcome.status, outcome.value) for key, outcome in outcomes.items()] == [
        (f"job {n}", "ok", n * n) for n in range(500)
    ]
    assert all(0 < outcome.seconds < TIMEOUT for outcome in outcomes.values())
    assert pool.map({}) == {}


def test_any_json_goes_there_and_back(pool: Pool) -> None:
    value = {"text": "答案 \ud800 \x00 \n", "list": [1.5, None, True, [], {}], "long": "x" * 10_000}
    with Pool("json:loads", workers=1) as other:
        assert other.call(json.dumps(value)).value == value
    with pytest.raises(TypeError, match="not JSON serializable"):
        pool.call(["square", object()])


def test_an_argument_may_be_larger_than_a_pipe(pool: Pool) -> None:
    assert pool.call(["fail", "x" * 3_000_000]).detail == "ValueError: " + "x" * 238


def test_all_workers_share_the_work(pool: Pool) -> None:
    start = time.monotonic()
    outcomes = pool.map({n: ["nap", 0.1] for n in range(10)})
    assert time.monotonic() - start < 0.8
    assert len({outcome.value for outcome in outcomes.values()}) == 2


def test_a_short_call_does_not_wait_for_a_long_map(pool: Pool) -> None:
    with ThreadPoolExecutor() as threads:
        start = time.monotonic()
        long = threads.submit(pool.map, {n: ["nap", 0.01] for n in range(200)})
        time.sleep(0.1)
        assert pool.call(["square", 3]).value == 9
        short = time.monotonic() - start
        assert {outcome.status for outcome in long.result().values()} == {"ok"}
        assert short < (time.monotonic() - start) / 2


# ------------------------------------------------------------------------------------------ F15: hangs

HANGS = ["spin_in_c", "deadlock", "ignore_signals", "stop_itself", "close_everything"]


@pytest.mark.parametrize("order", [*([name] for name in HANGS), ["nap", 100]], ids=lambda order: order[0])
def test_what_hangs_is_killed_at_its_deadline(pool: Pool, mark: str, order: list[Any]) -> None:
    start = time.monotonic()
    outcome = pool.call(order)
    assert time.monotonic() - start < TIMEOUT + 0.5
    if order == ["close_everything"]:
        assert (outcome.status, outcome.detail) == ("crashed", "the worker died of SIGKILL")
    else:
        assert (outcome.status, outcome.detail) == ("timed out", "no result after 0.3 s")
        assert TIMEOUT <= outcome.seconds < TIMEOUT + 0.5
    assert outcome.value is None
    assert_whole(pool, mark)


def test_detached_processes_are_killed_too(pool: Pool, mark: str, tmp_path: Path) -> None:
    outcome = pool.call(["daemonise_and_spin", str(tmp_path / "pid")])
    assert outcome.status == "timed out"
    daemon = int((tmp_path / "pid").read_text())
    assert not Path(f"/proc/{daemon}").exists()
    assert not any(name == "sleep" for name, _, _ in marked(mark).values())
    assert_whole(pool, mark)


def test_a_result_is_kept_and_what_it_left_behind_is_not(pool: Pool, mark: str, tmp_path: Path) -> None:
    assert pool.call(["leave_a_child"]).value == "done"
    assert not any(name == "sleep" for name, _, _ in marked(mark).values())
    assert pool.call(["daemonise", str(tmp_path / "pid")]).status == "ok"
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text()}").exists()
    first = pool.call(["leave_a_thread"]).value
    assert not Path(f"/proc/{first}").exists()
    assert [outcome.value for outcome in pool.map({n: ["both"] for n in range(20)}).values()] == [7] * 20
    assert_whole(pool, mark)


def test_an_alarm_does_not_ring_in_the_next_job(pool: Pool) -> None:
    pools = pool.map({n: ["leave_an_alarm"] for n in range(2)})
    naps = pool.map({n: ["nap", 0.15] for n in range(2)})
    assert [outcome.status for outcome in [*pools.values(), *naps.values()]] == ["ok"] * 4


def test_a_kill_loses_only_the_guilty_job(pool: Pool) -> None:
    bad = {10: ["deadlock"], 40: ["segfault"], 41: ["_exit", 0], 77: ["spin_in_c"]}
    outcomes = pool.map({n: bad.get(n, ["square", n]) for n in range(100)})
    assert {n: outcome.status for n, outcome in outcomes.items() if outcome.status != "ok"} == {
        10: "timed out",
        40: "crashed",
        41: "crashed",
        77: "timed out",
    }
    assert all(outcome.value == n * n for n, outcome in outcomes.items() if n not in bad)


# ------------------------------------------------------------------------------------------ F16: crashes


@pytest.mark.parametrize(
    ("order", "detail"),
    [
        (["fail", "no"], "ValueError: no"),
        (["fail_unspeakably"], "Unspeakable"),
        (["quit_quietly", 0], "SystemExit: 0"),
        (["_exit", 0], "the worker exited with 0"),
        (["_exit", 3], "the worker exited with 3"),
        (["segfault"], "the worker died of SIGSEGV"),
        (["abort"], "the worker died of SIGABRT"),
        (["use_memory", 2000], "MemoryError: "),
        (["say_much", 16], "the result is larger than 16 KiB"),
        (["say_the_unsayable"], "TypeError: Object of type object is not JSON serializable"),
        (["write_garbage", 40], "the worker wrote garbage to its keeper"),
        (["write_garbage", 100_000], "the worker wrote garbage to its keeper"),
        (["write_garbage", 5], "the worker wrote garbage to its keeper"),
        (["forge_a_reply"], "the worker wrote garbage to its keeper"),
        (["no such action"], "KeyError: 'no such action'"),
    ],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, list) else "",
)
def test_a_crash_is_no_result_and_says_why(pool: Pool, mark: str, order: list[Any], detail: str) -> None:
    outcome = pool.call(order)
    assert (outcome.status, outcome.value, outcome.detail) == ("crashed", None, detail)
    assert_whole(pool, mark)


def test_a_printed_gigabyte_goes_nowhere(own: str, capfd: pytest.CaptureFixture[str]) -> None:
    before = resident_mb()
    with Pool(ACT, workers=1, limits=Limits(timeout_s=20)) as patient:
        assert patient.call(["print_much", 512]).value == "printed"
        assert {patient.call(["say_much", 1000]).status for _ in range(50)} == {"crashed"}
    assert resident_mb() - before < 50
    assert capfd.readouterr() == ("", "")


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 2**20


def test_kills_leak_nothing(pool: Pool, mark: str) -> None:
    def held() -> tuple[int, int, int]:
        fds = [len(os.listdir(f"/proc/{pid}/fd")) for pid in (os.getpid(), keeper(mark))]
        return fds[0], fds[1], threading.active_count()

    assert_whole(pool, mark)
    before = held()
    worker = next(pid for pid in marked(mark) if pid != keeper(mark))
    least = len(os.listdir(f"/proc/{worker}/fd"))
    outcomes = pool.map({n: ["_exit", 1] for n in range(200)})
    assert {outcome.detail for outcome in outcomes.values()} == {"the worker exited with 1"}
    assert_whole(pool, mark)
    assert held() == before
    for pid in marked(mark).keys() - {keeper(mark)}:
        assert len(os.listdir(f"/proc/{pid}/fd")) <= least + 1


# ------------------------------------------------------------------------------------------ F18: from anywhere

ORDERS: dict[int, list[Any]] = {0: ["square", 4], 1: ["fail", "x"], 2: ["_exit", 9], 3: ["nap", 100], 4: ["square", 5]}
EXPECTED = [
    ("ok", 16, ""),
    ("crashed", None, "ValueError: x"),
    ("crashed", None, "the worker exited with 9"),
    ("timed out", None, "no result after 0.3 s"),
    ("ok", 25, ""),
]


def judged(pool: Pool) -> list[tuple[str, Any, str]]:
    return [(outcome.status, outcome.value, outcome.detail) for outcome in pool.map(ORDERS).values()]


def test_threads_get_what_the_main_thread_gets(pool: Pool) -> None:
    assert judged(pool) == EXPECTED
    with ThreadPoolExecutor(3) as threads:
        assert list(threads.map(judged, [pool] * 3)) == [EXPECTED] * 3


def test_workers_outlive_the_thread_that_started_them(own: str) -> None:
    with Pool(ACT, workers=1) as pool:
        with ThreadPoolExecutor(1) as threads:
            first = threads.submit(pool.call, ["nap", 0]).result()
        assert pool.call(["nap", 0]).value == first.value


def test_coroutines_get_what_the_main_thread_gets_and_the_loop_goes_on(pool: Pool) -> None:
    async def ask() -> tuple[list[tuple[str, Any, str]], int]:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.01)
                ticks += 1

        ticking = asyncio.create_task(tick())
        outcomes = await asyncio.gather(*(pool.acall(order) for order in ORDERS.values()))
        ticking.cancel()
        return [(outcome.status, outcome.value, outcome.detail) for outcome in outcomes], ticks

    outcomes, ticks = asyncio.run(ask())
    assert outcomes == EXPECTED
    assert ticks > TIMEOUT / 0.01 / 3


def test_a_cancelled_coroutine_loses_only_its_own_result(pool: Pool) -> None:
    async def ask() -> Any:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(pool.acall(["nap", 0.2]), 0.05)
        return await pool.acall(["square", 6])

    assert asyncio.run(ask()).value == 36


def test_an_interrupted_map_begins_no_more_jobs(pool: Pool) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        pool.map({n: ["nap", 0.05] for n in range(1000)})
    signal.signal(signal.SIGINT, before)
    start = time.monotonic()
    assert pool.call(["square", 2]).value == 4
    assert time.monotonic() - start < 2.0


def test_a_forked_child_has_workers_of_its_own(pool: Pool, mark: str) -> None:
    mine = pool.call(["nap", 0]).value
    shared = shared_pool(ACT, workers=1)
    theirs = shared.call(["nap", 0]).value
    child = os.fork()
    if child == 0:
        code = 1
        try:
            values = [pool.call(["nap", 0]).value, shared.call(["nap", 0]).value]
            code = 0 if judged(pool) == EXPECTED and not {mine, theirs} & set(values) else 2
            pool.close()
            shared.close()
        finally:
            os._exit(code)
    assert judged(pool) == EXPECTED
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert pool.call(["square", 8]).value == 64
    assert shared_pool(ACT, workers=1) is shared
    assert shared.call(["nap", 0]).value == theirs
    shared.close()
    assert shared_pool(ACT, workers=1) is not shared


def test_a_ray_actor_gets_what_the_main_thread_gets(pool: Pool) -> None:
    ray = pytest.importorskip("ray", reason="Ray is not installed")
    ray.init(
        num_cpus=1, include_dashboard=False, log_to_driver=False, runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}}
    )
    try:

        @ray.remote
        class Actor:
            def judge(self) -> Any:
                with Pool(ACT, workers=2, limits=Limits(timeout_s=TIMEOUT)) as own:
                    return [(outcome.status, outcome.value, outcome.detail) for outcome in own.map(ORDERS).values()]

        assert ray.get(Actor.remote().judge.remote()) == EXPECTED
    finally:
        ray.shutdown()


def test_a_forked_child_lets_go_of_the_parent_s_pipes(own: str) -> None:
    def pipes(pid: int) -> set[str]:
        links = [os.path.realpath(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
        return {Path(link).name for link in links if "pipe:" in link}

    with Pool(ACT, workers=1) as pool:
        pool.call(["square", 1])
        theirs = pipes(keeper(own)) & pipes(os.getpid())
        assert len(theirs) == 2
        child = os.fork()
        if child == 0:
            try:
                time.sleep(100)
            finally:
                os._exit(0)
        try:
            assert eventually(lambda: not pipes(child) & theirs)
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        assert pool.call(["square", 2]).value == 4


def test_signals_meant_for_the_parent_stay_with_it(own: str) -> None:
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD, signal.SIGTERM])
    try:
        with Pool(ACT, workers=1, limits=Limits(timeout_s=TIMEOUT)) as pool:
            assert pool.call(["_exit", 1]).detail == "the worker exited with 1"
            assert os.getpgid(keeper(own)) == keeper(own)  # no Ctrl-C reaches it
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


# ------------------------------------------------------------------------------------------ F21: clocks

JUMPS = """
import itertools, time
_real, _jump = time.time, itertools.cycle([0, 3600, -3600])
time.time = lambda: _real() + next(_jump)
"""


def test_a_clock_that_jumps_moves_no_deadline(own: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text(JUMPS)
    monkeypatch.syspath_prepend(tmp_path)
    with Pool(ACT, workers=1, limits=Limits(timeout_s=TIMEOUT)) as pool:
        times = [pool.call(["clock"]).value for _ in range(3)]
        assert max(times) - min(times) > 3000
        for _ in range(2):
            nap, hang = pool.call(["nap", 0.15]), pool.call(["deadlock"])
            assert (nap.status, hang.status) == ("ok", "timed out")
            assert 0.15 <= nap.seconds < TIMEOUT <= hang.seconds < TIMEOUT + 0.5


# ------------------------------------------------------------------------------------------ lives of processes


def test_workers_are_replaced_after_so_many_jobs(own: str) -> None:
    with Pool(ACT, workers=1, recycle_after=5) as pool:
        pids = [pool.call(["nap", 0]).value for _ in range(20)]
    assert [len(set(pids[at : at + 5])) for at in range(0, 20, 5)] == [1] * 4
    assert len(set(pids)) == 4


def test_idle_workers_cost_nothing(pool: Pool, mark: str) -> None:
    def used() -> dict[int, str]:
        return {
            pid: "".join(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "ctxt" in line)
            for pid in marked(mark)
        }

    assert_whole(pool, mark)
    time.sleep(0.1)
    before = used()
    time.sleep(0.5)
    assert used() == before


@pytest.mark.parametrize("state", ["idle", "busy", "with its pipes held open"])
def test_when_the_parent_is_killed_nothing_of_it_stays(own: str, tmp_path: Path, state: str) -> None:
    script = f"""
        import os, subprocess
        from reckon.sandbox.pool import Pool
        pool, state = Pool({ACT!r}, workers=2), {state!r}
        print(pool.call(["square", 2]).value, flush=True)
        if state == "busy":
            pool.map({{n: ["daemonise_and_spin", {str(tmp_path)!r} + f"/{{n}}"] for n in range(2)}})
        if state.startswith("with"):
            for fd in map(int, os.listdir("/proc/self/fd")):
                if fd > 2 and os.path.exists(f"/proc/self/fd/{{fd}}"):
                    os.set_inheritable(fd, True)
            print(subprocess.Popen(["sleep", "100"], env={{}}, close_fds=False, stdout=-3).pid, flush=True)
        input()
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    )
    assert parent.stdin is not None
    assert parent.stdout is not None
    holder = None
    with parent.stdin, parent.stdout:
        assert parent.stdout.readline() == b"4\n"
        if state == "busy":
            assert eventually(lambda: all((tmp_path / name).exists() for name in "01"))
        if state.startswith("with"):
            holder = int(parent.stdout.readline())
        assert len(marked(own)) >= 3
        parent.kill()
        parent.wait()
    assert eventually(lambda: not marked(own))
    if holder is not None:
        os.kill(holder, signal.SIGKILL)


@pytest.mark.parametrize("late", [0.0, TIMEOUT], ids=["", "after its deadline"])
def test_a_result_counts_however_late_it_is_read(pool: Pool, mark: str, late: float) -> None:
    assert_whole(pool, mark)
    workers = marked(mark).keys() - {keeper(mark)}
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(pool.call, ["nap", 0.08])
        time.sleep(0.04)
        os.kill(keeper(mark), signal.SIGSTOP)
        time.sleep(0.08 + late)
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        os.kill(keeper(mark), signal.SIGCONT)
        assert waiting.result().value in workers
    assert_whole(pool, mark)


def test_a_keeper_that_is_terminated_leaves_nothing(own: str, tmp_path: Path) -> None:
    file = tmp_path / "pid"
    with Pool(ACT, workers=1) as pool, ThreadPoolExecutor() as threads:
        waiting = threads.submit(pool.call, ["daemonise_and_spin", str(file)])
        assert eventually(lambda: file.exists() and any(name == "sleep" for name, _, _ in marked(own).values()))
        before = set(marked(own))
        os.kill(keeper(own), signal.SIGTERM)
        assert eventually(lambda: not before & set(marked(own)))
        pool.close()
        with pytest.raises(ReckonError):
            waiting.result()


def test_a_lost_keeper_costs_no_result(pool: Pool, mark: str) -> None:
    with ThreadPoolExecutor() as threads:
        answers = threads.submit(pool.map, {n: ["nap", 0.02] for n in range(60)})
        time.sleep(0.2)
        os.kill(keeper(mark), signal.SIGKILL)
        outcomes = answers.result()
    assert {outcome.status for outcome in outcomes.values()} == {"ok"}
    assert_whole(pool, mark)


def test_a_job_that_kills_the_keeper_is_given_up_in_the_end(pool: Pool, mark: str) -> None:
    outcome = pool.call(["kill_the_keeper"])
    assert (outcome.status, outcome.detail) == ("crashed", "the keeper of its worker died, twice")
    assert_whole(pool, mark)


def test_a_closed_pool_takes_no_jobs_and_leaves_no_waiting(own: str) -> None:
    pool = Pool(ACT, workers=1, limits=Limits(timeout_s=50))
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(pool.map, {n: ["nap", 30] for n in range(3)})
        assert eventually(lambda: len(marked(own)) == 2)
        pool.close()
        with pytest.raises(ReckonError, match="the pool was closed"):
            waiting.result(5)
    assert marked(own) == {}
    pool.close()
    with pytest.raises(ReckonError, match="the pool is closed"):
        pool.call(["square", 1])


def test_a_pool_that_is_never_used_starts_nothing(own: str) -> None:
    with Pool("no.such:function"):
        assert marked(own) == {}


# ------------------------------------------------------------------------------------------ starting


@pytest.mark.parametrize(
    ("function", "why"),
    [
        ("no.such.module:verify", "ModuleNotFoundError: No module named 'no'"),
        ("tests.sandbox.pool_functions:nothing", "has no attribute 'nothing'"),
        ("math:pi", "TypeError: math:pi is no function"),
        ("broken:verify", "ZeroDivisionError: division by zero"),
    ],
)
def test_what_cannot_start_is_an_error_and_no_verdict(
    own: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str, why: str
) -> None:
    (tmp_path / "broken.py").write_text(f"open({str(tmp_path / 'tries')!r}, 'a').write('x')\n1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    with Pool(function, workers=2) as pool:
        with pytest.raises(ReckonError, match="worker processes cannot be started") as error:
            pool.map({1: 2, 3: 4})
        assert why in str(error.value)
        assert str(error.value).startswith(function)
        if function.startswith("broken"):
            assert (tmp_path / "tries").read_text() == "xx"
    assert marked(own) == {}


def test_a_start_that_fails_once_is_tried_again(own: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flag = tmp_path / "tried"
    (tmp_path / "moody.py").write_text(
        f"import pathlib\nflag = pathlib.Path({str(flag)!r})\n"
        "if not flag.exists():\n    flag.touch()\n    raise OSError('not today')\n"
        "def answer(value):\n    return value\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with Pool("moody:answer", workers=1) as pool:
        assert pool.call(5).value == 5


def test_a_slow_import_is_not_on_the_job_s_time(own: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slow.py").write_text(
        "import time\ntime.sleep(0.5)\nprint('noise')\ndef answer(value):\n    return value\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with Pool("slow:answer", workers=1, limits=Limits(timeout_s=0.2)) as pool:
        assert pool.call(5).value == 5


def test_workers_have_one_core_each(pool: Pool) -> None:
    assert pool.call(["environment", "OMP_NUM_THREADS"]).value == "1"
