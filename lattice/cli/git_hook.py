"""Our lines in a repository's pre-commit hook: put in, looked up, taken out. `core.hooksPath` is respected.

A hook that is there stays as it is, with our lines after its first; a hook that is no shell script, or that git does
not run, is refused with the line to add by hand.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping

from lattice.clients import config_files
from lattice.clients.base import Refused
from lattice.clients.config_files import Unreadable

SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "pre_commit.py")
_BEGIN = "# c2-lattice: begin (install.py --git-hook --uninstall takes it out)\n"
_END = "# c2-lattice: end\n"
_FIRST_LINE = "#!/bin/sh\n"
_SHELL = re.compile(r"#!\s*\S*(/|/env\s+)(ba|da|z|a|k)?sh\b")


def add(folder: str, environ: Mapping[str, str], *, dry_run: bool = False) -> list[str]:
    """Put our lines in; sentences, [] when they are there already. Refused."""
    path = find(folder, environ)
    text = _read(path)
    if text is None:
        changed = _FIRST_LINE + block()
    else:
        rest = _without(text)
        head, newline, tail = rest.partition("\n")
        if rest.strip() and not _SHELL.match(head):
            raise Refused(f"{path} is no shell script; add this line to it by hand: {command()}")
        if os.name != "nt" and not os.access(path, os.X_OK):
            raise Refused(f"{path} is not executable, so git does not run it; remove it, or: chmod +x {path}")
        changed = head + "\n" + block() + tail if newline or head else _FIRST_LINE + block()
    if changed == text:
        return []
    if dry_run:
        return [f"would put a check of locks into {path}"]
    config_files.write(path, changed, 0o755)
    return [f"put a check of locks into {path}: it refuses a commit of what another session holds (git commit --no-verify goes past it)"]


def remove(folder: str, environ: Mapping[str, str], *, dry_run: bool = False) -> list[str]:
    """Take our lines out; a hook that is nothing else goes. Sentences."""
    path = find(folder, environ)
    text = _read(path)
    if text is None or _BEGIN not in text:
        return []
    if dry_run:
        return [f"would take the check of locks out of {path}"]
    left = _without(text)
    if left.strip() in ("", _FIRST_LINE.strip()):
        os.unlink(path)
        return [f"removed {path}"]
    config_files.write(path, left, 0o755)
    return [f"took the check of locks out of {path}"]


def look(folder: str, environ: Mapping[str, str]) -> str:
    """What is there, in a sentence. Refused when the folder is in no repository."""
    path = find(folder, environ)
    text = _read(path) or ""
    if _BEGIN not in text:
        return f"{path}: no check of locks"
    return f"{path}: checks locks" + ("" if block() in text else " (of another checkout or interpreter: run install.py --git-hook)")


def find(folder: str, environ: Mapping[str, str]) -> str:
    """The path of the pre-commit hook, there or not. Refused."""
    ask = ["git", "-C", folder, "rev-parse", "--git-path", "hooks/pre-commit"]
    try:
        done = subprocess.run(ask, env=dict(environ), stdin=subprocess.DEVNULL, capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.SubprocessError) as problem:
        raise Refused(f"git cannot be run: {problem}") from None
    if done.returncode:
        raise Refused(f"{folder} is in no git repository")
    return os.path.join(folder, os.fsdecode(done.stdout).rstrip("\r\n"))


def command() -> str:
    python = os.path.realpath(sys.executable).replace("\\", "/")
    return f"{shlex.quote(python)} -I -S {shlex.quote(SCRIPT.replace(os.sep, '/'))} || exit 1"


def block() -> str:
    script = shlex.quote(SCRIPT.replace(os.sep, "/"))
    return f"{_BEGIN}if [ -e {script} ]; then {command()}; fi\n{_END}"


def _read(path: str) -> str | None:
    try:
        return config_files.read(path)
    except Unreadable as problem:
        raise Refused(str(problem)) from None


def _without(text: str) -> str:
    start, end = text.find(_BEGIN), text.find(_END)
    return text if start < 0 or end < start else text[:start] + text[end + len(_END) :]
