"""Lines for a person to type: quoted for the shell of this platform, and right in whatever folder they are typed."""

from __future__ import annotations

import os
import shlex
import sys

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def as_typed(*words: str) -> str:
    """Words as a line that a shell of this platform reads as these words."""
    if os.name == "nt":
        import subprocess

        return subprocess.list2cmdline(words)
    return shlex.join(words)


def own_script(name: str, *options: str) -> str:
    """The line that runs a script of this checkout, from whatever folder."""
    return as_typed(sys.executable, os.path.join(TOP, name), *options)
