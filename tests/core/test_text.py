import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reckon.core.text import clean


@pytest.mark.parametrize(
    ("hostile", "safe"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b[2J\x1b[1;1Hgone", "gone"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://example.org\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x9b5mblink", "blink"),
        ("\x1bcreset", "reset"),
        ("\x1b]0;never closed", "0;never closed"),
        ("beep\x07 back\x08 return\r\n nul\x00 del\x7f", "beep back return\n nul del"),
        ("user\u202etxt.exe", "usertxt.exe"),
        ("\u2067a\u2069\u200fb", "ab"),
        ("lone \ud83d", "lone \ufffd"),
    ],
)
def test_escapes_controls_and_overrides_go(hostile: str, safe: str) -> None:
    assert clean(hostile) == safe


def test_ordinary_text_stays() -> None:
    text = "8 - 1 = 7,\n\t不对 等等, é, 🙂 <think> [31m </think>"
    assert clean(text) == text


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=()) | st.sampled_from("\x1b[]m;\x07\x9b")))
def test_nothing_dangerous_survives(text: str) -> None:
    left = clean(text)
    left.encode()
    assert not [c for c in left if unicodedata.category(c) == "Cc" and c not in "\n\t"]
