"""The jail attacks itself, and finds out when the kernel allows less."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from reckon.sandbox.inside import filter as syscalls
from reckon.sandbox.inside import kernel
from reckon.sandbox.proof import TIERS, Evidence, Proof, prove

RESTRICTED = """
import ctypes, json, struct, sys
from reckon.sandbox.inside import kernel

# A filter as containers have it: these calls are not permitted, all others are.
refused = json.loads(sys.argv[1])
def instruction(code, k, yes=0, no=0):
    return struct.pack("=HBBI", code, yes, no, k)
program = instruction(0x20, 0)
for number in refused:
    program += instruction(0x15, number, 0, 1) + instruction(0x06, 0x50001)
program += instruction(0x06, 0x7FFF0000)
kernel.no_new_privileges()
code = ctypes.create_string_buffer(program, len(program))
sock_fprog = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
if refused:
    assert ctypes.CDLL(None).prctl(22, 2, sock_fprog, 0, 0) == 0

from reckon.sandbox.jail import LocalSandbox
from reckon.sandbox.program import Program
from reckon.sandbox.proof import prove
proof = prove()
box = LocalSandbox()
missing = [proof.missing(tier) for tier in (1, 2, 3)]
print(json.dumps([proof.tier, box.tier, missing, box.run(Program("print(7)")).stdout]))
box.close()
"""


def under(*refused: str) -> tuple[int, int, list[str], str]:
    """Tier by proof and of a sandbox, what each tier misses, and what a program prints, under such a kernel."""
    if sys.platform != "linux" or not kernel.MACHINE:
        pytest.skip("not Linux on a machine the jail knows")
    known = {name: number for calls in syscalls.REFUSED.values() for name, number in calls.items()}
    known |= {"landlock_create_ruleset": 444}
    numbers = json.dumps([known[name] for name in refused])
    done = subprocess.run([sys.executable, "-c", RESTRICTED, numbers], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    found: tuple[int, int, list[str], str] = tuple(json.loads(done.stdout))
    return found


def test_every_layer_has_evidence_and_the_tier_follows_from_it() -> None:
    proof = prove()
    assert {item.layer for item in proof.evidence} == set(TIERS[3])
    assert all(item.attack and item.found for item in proof.evidence)
    assert proof.missing(proof.tier) == ""
    for tier in range(proof.tier + 1, 4):
        assert proof.missing(tier)


def test_it_is_proven_once_and_quickly() -> None:
    prove.cache_clear()
    began = time.monotonic()
    first = prove()
    assert time.monotonic() - began < 15
    assert prove() is first


def test_what_is_missing_is_named_by_layer() -> None:
    proof = Proof(2, (Evidence("seccomp", "fork", True, "EPERM"), Evidence("namespaces", "start", False, "EPERM")))
    assert proof.missing(2) == ""
    assert proof.missing(3) == "namespaces: start: EPERM"


def test_without_namespaces_it_is_tier_2() -> None:
    """As in a container, which may not unshare."""
    if prove().tier < 2:
        pytest.skip("tier 2 does not hold here")
    proven, tier, missing, printed = under("unshare", "mount", "setns")
    assert (proven, tier, printed) == (2, 2, "7\n")
    assert "namespaces: start" in missing[2]
    assert "unshare" in missing[2]


@pytest.mark.parametrize("call", ["landlock_create_ruleset", "landlock_restrict_self", "seccomp"])
def test_without_one_of_the_filters_it_is_tier_1(call: str) -> None:
    proven, tier, missing, printed = under(call)
    assert (proven, tier, printed) == (1, 1, "7\n")
    assert ("landlock" if "landlock" in call else "seccomp") in missing[1]


def test_a_layer_that_does_nothing_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The attacks that seccomp and Landlock are to stop, without them."""
    from reckon.sandbox import proof
    from reckon.sandbox.cell import Cell

    run = Cell.run
    monkeypatch.setattr(Cell, "run", lambda cell, program, **_: run(cell, program, landlock=False, seccomp=False))
    found = proof._attack(False)
    by_layer = {layer: {item.holds for item in found if item.layer == layer} for layer in TIERS[2]}
    assert by_layer["limits"] == {True}
    assert by_layer["landlock"] == {False}
    assert False in by_layer["seccomp"]
