"""One HTML file that opens offline: style, scripts and data inlined, and a policy that lets nothing else in."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
from collections.abc import Sequence
from importlib.resources import files
from string import Template
from typing import Any


def offline_page(template: str, styles: Sequence[str], scripts: Sequence[str], title: str, data: Any) -> str:
    """The page of files in ``report/page``: a template with ``$csp``, ``$title``, ``$style``, ``$script``, ``$data``.

    Args:
        styles, scripts: joined in order, so that a later one may use what an earlier one defines.
        title: plain text.
        data: JSON-ready; the scripts read it from the element with id ``data``.
    """
    page = files("reckon.report") / "page"
    style, script = (
        "".join((page / name).read_text(encoding="utf-8") for name in names) for names in (styles, scripts)
    )
    policy = [
        "default-src 'none'",
        f"script-src '{_digest(script)}'",
        f"style-src '{_digest(style)}'",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    whole = Template((page / template).read_text(encoding="utf-8")).substitute(
        csp="; ".join(policy), title=html.escape(title), style=style, script=script, data=embedded(data)
    )
    return whole.encode("utf-8", "replace").decode("utf-8")


def embedded(data: Any) -> str:
    """JSON that no HTML parser can see an end tag or a comment in; NaN and infinities become null."""
    text = json.dumps(_finite(data), ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=str)
    return text.translate({ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"})


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _digest(source: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(source.encode("utf-8")).digest()).decode()
