"""What ties the child of a zygote to it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from reckon.sandbox.inside.kernel import MACHINE

ZYGOTE = """
import os, signal, sys
from reckon.sandbox.inside.bonds import Bonds
from reckon.sandbox.inside.messages import Setup
bonds = Bonds(Setup(False, sys.argv[1]))
if not bonds.fork():
    os.kill(os.getppid(), signal.SIGKILL)
    while os.getppid() == bonds._parent:
        pass
    try:
        bonds.tie()
    except ProcessLookupError:
        print("noticed", flush=True)
    os._exit(0)
signal.pause()
"""


@pytest.mark.skipif(not MACHINE, reason="there is nothing to be tied with")
def test_a_child_notices_that_its_zygote_died_before_it_was_tied(tmp_path: Path) -> None:
    """Else nobody would be left to end it."""
    command = [sys.executable, "-c", ZYGOTE, str(tmp_path)]
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=20)
    assert ran.stdout == "noticed\n"
