"""The page: one HTML file with its style and script in it, and the policy that lets nothing else
run."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Document:
    """The page and its Content-Security-Policy."""

    html: str
    policy: str


def page() -> Document:
    """``page.html`` with ``page.css`` and ``page.js`` in it."""
    html, style, script = (
        (FOLDER / f"page.{kind}").read_text(encoding="utf-8") for kind in ("html", "css", "js")
    )
    html = html.replace("/* page.css */", style).replace("/* page.js */", script)
    policy = {
        "default-src": "'none'",
        "script-src": _hash(script),
        "style-src": _hash(style),
        "connect-src": "'self'",
        "media-src": "'self'",
        "img-src": "data:",  # the icon
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return Document(html, "; ".join(f"{name} {value}" for name, value in policy.items()))


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"
