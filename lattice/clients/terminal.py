"""Open a place for a session to run in: a tmux window, a terminal window, or no window at all.

Argument lists only. Nothing that another program chose (a folder, an id, a prompt) is ever read by a
shell, by tmux's formats or by AppleScript: the program that is opened is our own launcher, it gets the
path of a file, and goes to the folder by itself. Every process that is started here is waited for by a
thread of its own, so none stays a zombie; none inherits a descriptor of ours.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from lattice.errors import BadRequest, Internal

WAYS = ("tmux", "terminal", "headless")
ANSWER_S = 10.0  # tmux and osascript answer at once, or something is wrong
PLAIN = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z")

# First found wins. What stands before the program, for each terminal that takes an argument list.
TERMINALS = (
    ("x-terminal-emulator", ("-e",)),
    ("gnome-terminal", ("--",)),
    ("konsole", ("-e",)),
    ("xfce4-terminal", ("-x",)),
    ("kitty", ()),
    ("alacritty", ("-e",)),
    ("foot", ()),
    ("xterm", ("-e",)),
)

# The words come as arguments and are quoted by AppleScript itself; none of them is part of the script.
APPLESCRIPT = """on run argv
  set theCommand to "exec"
  repeat with anArgument in argv
    set theCommand to theCommand & " " & quoted form of (contents of anArgument)
  end repeat
  tell application "Terminal"
    activate
    do script theCommand
  end tell
end run
"""


class Opened(NamedTuple):
    """How it was opened, the process id where that is the session's own, and where to look."""

    way: str
    pid: int | None
    detail: str


def open_session(
    way: str,
    *,
    argv: Sequence[str],
    environ: Mapping[str, str],
    cwd: str,
    title: str = "",
    log_path: str = "",
    tmux: str = "",
) -> Opened:
    """Run `argv` in a new place. `way` auto: inside tmux if the caller is, else a window if there is a display, else headless.

    `environ` is the whole environment of what is started, `cwd` a folder that exists, `tmux` the caller's TMUX,
    `log_path` where a headless session's output goes. BadRequest when the way is not possible here, Internal
    (code spawn_failed) when it should have been and failed; `auto` tries the next way instead.
    """
    if way not in (*WAYS, "auto"):
        raise BadRequest(f"way must be one of: auto, {', '.join(WAYS)}")
    problems = []
    for one in WAYS if way == "auto" else (way,):
        try:
            if one == "tmux":
                return _in_tmux(list(argv), environ, cwd, title, tmux)
            if one == "terminal":
                return _in_terminal(list(argv), environ, cwd)
            return _headless(list(argv), environ, cwd, log_path)
        except (BadRequest, Internal) as problem:
            if way != "auto":
                raise
            problems.append(problem.message)
    raise Internal(f"Failed to spawn: {'; '.join(problems)}", code="spawn_failed")


def _in_tmux(argv: list[str], environ: Mapping[str, str], cwd: str, title: str, tmux: str) -> Opened:
    socket, session = read_tmux(tmux)
    program = shutil.which("tmux", path=environ.get("PATH"))
    if program is None:
        raise BadRequest("tmux is not on PATH")
    # No -c: tmux expands formats in it, and `#(...)` there runs a shell. The name is one of ours or left out.
    name = ["-n", title] if PLAIN.match(title) else []
    # After `--`, several words are run as they are; a single one would go through a shell.
    if len(argv) < 2:
        raise BadRequest("a session in tmux needs a program and an argument")
    where = ["-t", f"${session}:"] if session else []
    _ask([program, "-S", socket, "new-window", "-d", *where, *name, "--", *argv], environ, cwd)
    return Opened("tmux", None, f"a tmux window{' named ' + title if name else ''}")


def read_tmux(value: str) -> tuple[str, str]:
    """The socket and the session number of a TMUX value "socket,pid,session". BadRequest when it is not ours to use."""
    socket, _, rest = value.partition(",")
    parts = rest.split(",")
    if not os.path.isabs(socket) or len(parts) != 2 or not all(part.isascii() and part.isdigit() for part in parts):
        raise BadRequest("not inside tmux" if not value else "the TMUX value is not of the form socket,pid,session")
    try:
        found = os.lstat(socket)
    except (OSError, ValueError):
        raise BadRequest("the tmux server is gone") from None
    if not stat.S_ISSOCK(found.st_mode) or (os.name != "nt" and found.st_uid != os.getuid()):
        raise BadRequest("the tmux socket is not a socket of this user")
    return socket, parts[1]


def _in_terminal(argv: list[str], environ: Mapping[str, str], cwd: str) -> Opened:
    if os.name == "nt":
        process = _start(argv, environ, cwd, flags=getattr(subprocess, "CREATE_NEW_CONSOLE", 0))
        return Opened("terminal", process.pid, "a console window")
    if sys.platform == "darwin":
        _ask(["/usr/bin/osascript", "-", *argv], environ, cwd, APPLESCRIPT.encode("ascii"))
        return Opened("terminal", None, "a window of Terminal")
    if not (environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY")):
        raise BadRequest("no display to open a terminal on")
    for name, before in TERMINALS:
        program = shutil.which(name, path=environ.get("PATH"))
        if program is not None:
            _start([program, *before, *argv], environ, cwd)
            return Opened("terminal", None, f"a window of {name}")
    raise Internal("No terminal emulator found", code="spawn_failed", hint=f"install one of {', '.join(name for name, _ in TERMINALS)}")


def _headless(argv: list[str], environ: Mapping[str, str], cwd: str, log_path: str) -> Opened:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
    try:
        log = os.open(log_path or os.devnull, flags, 0o600)
    except OSError as problem:
        raise Internal(f"Failed to spawn: {log_path}: {problem.strerror}", code="spawn_failed") from None
    try:
        inside = {name: value for name, value in environ.items() if name not in ("TMUX", "TMUX_PANE")}
        process = _start(argv, inside, cwd, output=log, flags=getattr(subprocess, "CREATE_NO_WINDOW", 0))
    finally:
        os.close(log)
    return Opened("headless", process.pid, f"no window; its output is in {log_path}")


def _start(
    argv: list[str], environ: Mapping[str, str], cwd: str, output: int = subprocess.DEVNULL, flags: int = 0
) -> subprocess.Popen[bytes]:
    try:
        process = subprocess.Popen(
            argv, env=dict(environ), cwd=cwd, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            start_new_session=True, close_fds=True, creationflags=flags,
        )  # fmt: skip
    except (OSError, ValueError) as problem:
        raise Internal(f"Failed to spawn: {problem}", code="spawn_failed") from None
    threading.Thread(target=process.wait, name=f"reap-{process.pid}", daemon=True).start()
    return process


def _ask(argv: list[str], environ: Mapping[str, str], cwd: str, text: bytes = b"") -> None:
    """Run a program that hands the work to a server and ends; Internal when it says no."""
    try:
        done = subprocess.run(argv, env=dict(environ), cwd=cwd, input=text, capture_output=True, timeout=ANSWER_S, check=False)
    except (OSError, ValueError, subprocess.TimeoutExpired) as problem:
        raise Internal(f"Failed to spawn: {problem}", code="spawn_failed") from None
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip()[:300]
        raise Internal(f"Failed to spawn: {os.path.basename(argv[0])}: {said or done.returncode}", code="spawn_failed")
