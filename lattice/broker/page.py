"""The page as bytes: `dashboard.html` and the headers that fence it in.

Promises: the file is read once; the policy allows exactly its one script and its one style element, by the
hash of their text, and nothing else of any origin but calls to ours; no cookie. The page itself holds no data.
A missing file is an answer too (404, plain text): the broker serves on without its page.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re

_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)
_STYLE = re.compile(r"<style>(.*?)</style>", re.DOTALL)


class BadPage(ValueError):
    """The file has not exactly one script and one style element, so no policy could let it run."""


def default_path() -> str:
    """`dashboard.html` beside the package."""
    return os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "dashboard.html")


class Page:
    """`status`, `content_type`, and `answer()`: what GET /dashboard answers. Read-only after it is made; any thread may ask."""

    def __init__(self, path: str = "") -> None:
        """Reads the file now. BadPage when it is there and cannot be fenced in."""
        path = path or default_path()
        try:
            with open(path, encoding="utf-8", newline=None) as file:
                text = file.read()  # newlines as LF: the browser hashes them so, however the file was checked out
        except FileNotFoundError:
            self.status, self.content_type = 404, "text/plain; charset=utf-8"
            self._body = b"dashboard.html is missing beside broker.py; everything else works\n"
            self._headers: tuple[tuple[str, str], ...] = ()
            return
        self.status, self.content_type = 200, "text/html; charset=utf-8"
        self._body = text.encode("utf-8")
        self._headers = (
            ("Content-Security-Policy", policy(text)),
            ("Referrer-Policy", "no-referrer"),
            ("Cross-Origin-Opener-Policy", "same-origin"),
            ("X-Frame-Options", "DENY"),
        )

    def answer(self) -> tuple[bytes, tuple[tuple[str, str], ...]]:
        """The body and its own headers; the server adds those that every answer has."""
        return self._body, self._headers


def policy(text: str) -> str:
    """The Content-Security-Policy for this HTML. BadPage unless it has one script and one style element."""
    return (
        f"default-src 'none'; script-src '{_hash(_SCRIPT, '<script', text)}'; style-src '{_hash(_STYLE, '<style', text)}'; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'"
    )


def _hash(pattern: re.Pattern[str], opening: str, text: str) -> str:
    found = pattern.findall(text)
    if len(found) != 1 or text.lower().count(opening) != 1:
        raise BadPage(f"the page must have exactly one {opening}> element, without attributes")
    return "sha256-" + base64.b64encode(hashlib.sha256(found[0].encode("utf-8")).digest()).decode("ascii")
