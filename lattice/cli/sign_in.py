"""The sign-in file: how the person's browser gets onto the page without anything secret in an address or an argument.

A 0600 file in the state directory that only leads on to the page, with a one-time code behind the `#`, which
a browser never sends. The code works once and for 60 seconds; the file is overwritten by the next one and
goes when the broker is stopped.
"""

from __future__ import annotations

import html
import os
import sys
import time
import webbrowser
from collections.abc import Mapping
from urllib.parse import quote

from lattice import names
from lattice.clients import config_files
from lattice.guard.tokens import mint_ticket


def write(home: str, port: int, secret: bytes) -> str:
    """A fresh sign-in file for the broker on this port; its path."""
    code = mint_ticket(secret, peer=names.PERSON, role="system", workspace="", now=time.time())
    address = html.escape(f"http://127.0.0.1:{port}/dashboard#code={code}", quote=True)
    text = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="referrer" content="no-referrer">'
        f'<meta http-equiv="refresh" content="0;url={address}"><title>c2-lattice</title></head>'
        f'<body><p>Opening the page… <a href="{address}">go on</a></p></body></html>\n'
    )
    path = _path(home)
    forget(home)  # so that the new one is made new: for its owner alone, and no link is followed
    config_files.write(path, text)
    return path


def forget(home: str) -> None:
    try:
        os.unlink(_path(home))
    except FileNotFoundError:
        pass  # no sign-in is under way


def open_in_browser(path: str, environ: Mapping[str, str]) -> bool:
    """Open the file; False where there is no browser that has a window. The argument is only the file's path."""
    if os.name == "posix" and sys.platform != "darwin":
        # Without a display Python would take a browser for terminals, which would sit in this one.
        if not (environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY") or environ.get("BROWSER") or environ.get("WSL_DISTRO_NAME")):
            return False
    try:
        return webbrowser.open("file://" + quote(os.fsencode(path)) if os.name == "posix" else path)
    except (webbrowser.Error, OSError):
        return False


def _path(home: str) -> str:
    return os.path.join(home, "sign-in.html")
