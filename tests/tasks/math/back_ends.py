"""Back ends that fail, for the tests of what becomes of a verdict then."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from reckon.tasks.math.symbolic import compare


def dies(_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def hangs(_: Any) -> None:
    time.sleep(600)


def dies_on_seven(argument: dict[str, str]) -> dict[str, str]:
    """As the real one, but for answers with a 7 in them."""
    if "7" in argument["answer"]:
        dies(argument)
    return compare(argument)
