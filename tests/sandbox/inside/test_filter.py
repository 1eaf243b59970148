"""The table of system calls, against the kernel's headers where they are installed, and the filter as a program."""

from __future__ import annotations

import platform
import re
import struct
from pathlib import Path

import pytest

from reckon.sandbox.inside import filter as syscalls

HEADERS = {
    "x86_64": ("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "/usr/include/asm/unistd_64.h"),
    "aarch64": ("/usr/include/asm-generic/unistd.h",),
}
RENAMED = {"newfstatat": "fstatat"}  # in the generic header, which names calls by their first argument


def header(machine: str) -> dict[str, int]:
    """System calls by name, as the kernel's header has them."""
    path = next((Path(path) for path in HEADERS[machine] if Path(path).is_file()), None)
    if path is None:
        pytest.skip(f"the kernel's headers for {machine} are not installed")
    return {name: int(number) for name, number in re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", path.read_text())}


@pytest.mark.parametrize(("column", "machine"), [(0, "x86_64"), (1, "aarch64")])
def test_the_numbers_are_the_kernels(monkeypatch: pytest.MonkeyPatch, column: int, machine: str) -> None:
    known = header(machine)
    source = Path(syscalls.__file__).read_text()
    entries = re.findall(r"\b([a-z]\w+) (\d+|-) (\d+|-)(?=[,\n\"])", source)
    assert len(entries) > 200
    for name, *numbers in entries:
        if numbers[column] == "-":
            assert name not in known, name
        elif name in known or RENAMED.get(name) in known:
            assert known.get(name, known.get(RENAMED.get(name, ""))) == int(numbers[column]), name
        else:
            assert int(numbers[column]) > 424, f"{name} is in no header, and not new either"


def test_no_call_is_in_two_lists() -> None:
    lists = [syscalls.ALLOWED, syscalls.CONDITIONAL, *syscalls.REFUSED.values()]
    numbers = [number for calls in lists for number in calls.values()]
    assert len(numbers) == len(set(numbers))


# --------------------------------------------------------------------------- a machine for the filter's language

ALLOW, ASK, KILL = 0x7FFF0000, 0x7FC00000, 0x80000000
NOT_THERE = 0x50000 | 38
ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}.get(platform.machine(), 0)


def verdict(number: int, *arguments: int, pid: int = 77, architecture: int = ARCHITECTURE) -> int:
    """What the filter says of a call: the few instructions of classic BPF that it uses."""
    padded = [*arguments, *([0] * (6 - len(arguments)))]
    data = struct.pack("=iIQ6Q", number, architecture, 0, *(value & 0xFFFFFFFFFFFFFFFF for value in padded))
    code = list(struct.iter_unpack("=HBBI", syscalls.program(pid)))
    at = accumulator = 0
    while True:
        operation, yes, no, k = code[at]
        at += 1
        if operation == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, k)
        elif operation == 0x54:
            accumulator &= k
        elif operation == 0x05:
            at += k
        elif operation == 0x06:
            return k
        else:
            at += yes if (accumulator == k if operation == 0x15 else accumulator >= k) else no


def call(name: str, *arguments: int, pid: int = 77) -> int:
    tables = [syscalls.ALLOWED, syscalls.CONDITIONAL, *syscalls.REFUSED.values()]
    return verdict(next(table[name] for table in tables if name in table), *arguments, pid=pid)


pytestmark = pytest.mark.skipif(ARCHITECTURE == 0, reason="the jail has no table for this processor")


def test_every_call_gets_the_verdict_of_its_list() -> None:
    refused = {number for calls in syscalls.REFUSED.values() for number in calls.values()}
    for number in range(-1, 1100):
        if number in syscalls.CONDITIONAL.values():
            continue
        expected = ALLOW if number in syscalls.ALLOWED.values() else ASK if number in refused else NOT_THERE
        assert verdict(number) == expected, number
    assert verdict(0x40000000) == NOT_THERE


def test_calls_of_another_architecture_kill() -> None:
    assert verdict(1, architecture=0x40000003) == KILL


def test_only_ones_own_process_may_be_signalled_or_limited() -> None:
    assert [call("kill", pid, 9) for pid in (77, 78, 0, -1, 1)] == [ALLOW, ASK, ASK, ASK, ASK]
    assert [call("tgkill", pid, 5, 9) for pid in (77, 78)] == [ALLOW, ASK]
    assert [call("prlimit64", pid) for pid in (0, 77, 78)] == [ALLOW, ALLOW, ASK]
    assert call("kill", 1, 9, pid=1) == ALLOW


def test_only_pairs_of_unix_streams_are_sockets() -> None:
    stream, datagram, flags = 1, 2, 0o2004000
    assert call("socketpair", 1, stream | flags) == ALLOW
    assert call("socketpair", 1, datagram) == ASK
    assert call("socketpair", 2, stream) == ASK
    assert call("socket", 1, stream) == ASK
    assert call("sendto", 3, 0, 0, 0, 0, 0) == ALLOW
    assert call("sendto", 3, 0, 0, 0, 0x1000, 16) == ASK
    assert call("sendto", 3, 0, 0, 0, 0x100000000, 16) == ASK


def test_files_are_not_truncated_under_the_right_to_read() -> None:
    truncate, read, write, both = 0o1000, 0, 1, 2
    assert [call("openat", 0, 0, mode | truncate) for mode in (read, write, both, 3)] == [ASK, ALLOW, ALLOW, ASK]
    assert [call("openat", 0, 0, mode) for mode in (read, write, both, 3)] == [ALLOW] * 4


def test_descriptors_have_no_owners_who_are_signalled() -> None:
    assert call("fcntl", 0, 3) == ALLOW
    assert [call("fcntl", 0, command) for command in (8, 10, 15, 1024)] == [ASK] * 4
    assert call("ioctl", 0, 0x5401) == ALLOW
    assert [call("ioctl", 0, request) for request in (0x8901, 0x8902, 0x5412)] == [ASK] * 3


def test_threads_are_told_from_processes() -> None:
    def answer(flags: int, threads: int = 1) -> tuple[int, int]:
        return syscalls.Questions(-1, threads)._verdict(syscalls.CONDITIONAL["clone"], flags, 0)

    assert call("clone", 0x3D0F00) == ASK
    assert answer(0x3D0F00) == answer(0x7D0F00) == (0, 1)
    assert answer(0x3D0F00, threads=0) == (-11, 0)
    for flags in (17, 0x3D0F00 | 0x10000000, 0x1200011, 0x3C0F00):
        assert answer(flags) == (-1, 0)
