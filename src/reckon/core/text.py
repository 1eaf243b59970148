"""Model text is hostile: what a terminal may be shown of it."""

from __future__ import annotations

import re

_UNSAFE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # control sequences: colours, cursor moves
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)"  # titles, links, device strings
    r"|\x1b[ -/]*[0-~]"  # two-character escapes: reset, character sets
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f]"  # every control character but newline and tab
    r"|[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"  # marks that reorder what is read
)
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def clean(text: str) -> str:
    """Text that cannot move the cursor, recolour, retitle or reorder what a terminal shows.

    ANSI escapes, control characters (newline and tab stay) and bidirectional overrides are removed; a lone
    surrogate, which no terminal can be sent, becomes U+FFFD. An escape that never ends loses only its first
    character, so that nothing visible is hidden by it.
    """
    return _LONE_SURROGATE.sub("\ufffd", _UNSAFE.sub("", text))
