"""Open a coding session that has an identity waiting for it.

The ticket travels in a 0600 file of its own in the state directory, never in an argument or a variable;
one file for one session, so two spawns at once cannot take each other's identity. What is opened is our
launcher (`cli/spawned.py`), by path: it reads the file, and becomes the client.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Mapping

from lattice.clients import terminal
from lattice.clients.adapters import ADAPTERS
from lattice.errors import BadRequest, Internal
from lattice.names import check_peer_id

LAUNCHER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "cli", "spawned.py")


def spawn(
    home: str,
    *,
    peer: str,
    role: str,
    ticket: str,
    port: int,
    workspace: str,
    working_dir: str,
    prompt: str,
    way: str,
    tmux: str,
    environ: Mapping[str, str],
    client: str = "claude",
) -> dict[str, object]:
    """Open the session; {peer_id, way, pid (or None), detail}. BadRequest or Internal, and then no file is left.

    `home` is the state directory, `ticket` a signed one for exactly this peer, role and workspace, `tmux` the TMUX of
    whoever asked, `environ` what the new process shall find (a session's own variables are taken out by the launcher).
    """
    peer = check_peer_id(peer)
    adapter = ADAPTERS[client](environ, home)
    if not os.path.isabs(working_dir) or not os.path.isdir(working_dir):
        raise BadRequest(f"working_dir {working_dir!r} is no folder on this machine", hint="name an existing folder, absolute")
    program = adapter.program()
    if not program:
        raise BadRequest(f"{adapter.title} is not on PATH of the broker", hint="start the broker from a shell that finds it")
    card = {
        "peer": peer, "role": role, "ticket": ticket, "workspace": workspace, "port": port, "prompt": prompt,
        "working_dir": working_dir, "home": home, "client": adapter.name, "program": program,
    }  # fmt: skip
    log = os.path.join(home, "logs", f"{peer}.log") if way in ("auto", "headless") else ""
    try:
        if log:
            os.makedirs(os.path.dirname(log), mode=0o700, exist_ok=True)
        path = write_ticket(home, peer, card)
    except OSError as problem:
        raise Internal(f"Failed to spawn: {problem}", code="spawn_failed") from None
    argv = [os.path.realpath(sys.executable), "-I", "-S", LAUNCHER, path]
    try:
        opened = terminal.open_session(way, argv=argv, environ=environ, cwd=home, title=peer, log_path=log, tmux=tmux)
    except BaseException:
        os.unlink(path)
        raise
    return {"peer_id": peer, "way": opened.way, "pid": opened.pid, "detail": opened.detail}


def write_ticket(home: str, peer: str, card: Mapping[str, object]) -> str:
    """A new 0600 file with the card; its path."""
    folder = os.path.join(home, "tickets")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    path = os.path.join(folder, f"{peer}.{os.urandom(6).hex()}.json")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    try:
        with open(os.open(path, flags, 0o600), "w", encoding="utf-8") as file:
            json.dump(card, file)
            _forget_old(folder, os.fstat(file.fileno()).st_mtime)
    except OSError:  # the disk is full: half a ticket is none
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        raise
    return path


def _forget_old(folder: str, now: float) -> None:
    """Remove what no session came for. A ticket counts for minutes, so a day is safe."""
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        try:
            if os.lstat(path).st_mtime < now - 86_400:
                os.unlink(path)
        except OSError:
            continue  # somebody else was quicker
