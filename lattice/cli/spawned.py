"""What a spawned session's window runs: read one ticket file, become the client.

    python -I -S spawned.py TICKET-FILE

Everything that says who the session is comes from the file (design S25): the folder, the id, the prompt
never stand in a shell line, in tmux's formats or in an environment that a terminal server might share.
What another session left in the environment about itself is taken out first, so a spawned session has
the identity meant for it and no other. The MCP server redeems the ticket and removes the file.
"""

from __future__ import annotations

import os
import sys

if __package__ in (None, ""):  # run by path: under -I our own folder is not on the path
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

import json
import stat
import subprocess
from collections.abc import Mapping

from lattice.clients.adapters import ADAPTERS
from lattice.clients.base import own_entry
from lattice.clients.claude import OF_ONE_SESSION

MAX_BYTES = 65_536  # a prompt has at most 4,000 characters; the rest is small
IDENTITY = ("PEER_ID", "PEER_ROLE", "PEER_DIR", "C2_LATTICE_TICKET", "C2_LATTICE_WORKSPACE", "C2_LATTICE_PORT", "C2_LATTICE_HOME")
PROMPTS = {
    "worker": "You are a c2-lattice worker, {peer}. Call check_messages and list_tasks, claim what you can do, and begin.",
    "architect": "You are the c2-lattice architect, {peer}. Call check_messages and list_tasks, and coordinate the workers.",
}


class BadTicket(Exception):
    """The file is not one that we may act on; the message says why."""


def main(argv: list[str] | None = None) -> int:
    """Does not return where the platform can replace a process. 78 when the ticket is unusable, 127 without the client."""
    words = sys.argv[1:] if argv is None else argv
    if len(words) != 1:
        return _fail("usage: spawned.py TICKET-FILE", 64)
    try:
        card = read_ticket(words[0])
        environ = session_environment(card, words[0], os.environ)
        line = session_line(card, environ)
        os.chdir(str(card["working_dir"]))
    except (BadTicket, OSError) as problem:
        return _fail(f"c2-lattice: this session cannot start: {problem}", 78)
    try:
        if os.name == "nt":  # execve there starts a second process and ends the first, and the console with it
            return subprocess.call(line, env=environ)
        os.execve(line[0], line, environ)
    except OSError as problem:
        return _fail(f"c2-lattice: {line[0]}: {problem.strerror or problem}", 127)


def read_ticket(path: str) -> dict[str, object]:
    """What the file says. BadTicket unless it is a regular file of this user alone with every member in it."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError as problem:
        raise BadTicket(f"{path}: {problem.strerror}") from None
    with open(handle, "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise BadTicket(f"{path} is no regular file")
        if os.name != "nt" and (found.st_uid != os.getuid() or found.st_mode & 0o077):
            raise BadTicket(f"{path} is not this user's alone")
        content = file.read(MAX_BYTES + 1)
    try:
        card = json.loads(content) if len(content) <= MAX_BYTES else None
    except ValueError:
        card = None
    if not isinstance(card, dict):
        raise BadTicket(f"{path} holds no ticket")
    for name in ("peer", "role", "ticket", "workspace", "prompt", "working_dir", "home", "client", "program"):
        if not isinstance(card.get(name), str):
            raise BadTicket(f"{path} does not say {name}")
    if not isinstance(card.get("port"), int) or card["client"] not in ADAPTERS:
        raise BadTicket(f"{path} names no port or no client that we know")
    return card


def session_environment(card: Mapping[str, object], path: str, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of the session: what the person has, without other sessions' names, with this one's."""
    said = {name: value for name, value in environ.items() if name not in OF_ONE_SESSION and name not in IDENTITY}
    said["PEER_ID"] = str(card["peer"])
    said["PEER_ROLE"] = str(card["role"])
    said["PEER_DIR"] = str(card["working_dir"])
    said["C2_LATTICE_TICKET"] = os.path.abspath(path)
    said["C2_LATTICE_PORT"] = str(card["port"])
    said["C2_LATTICE_HOME"] = str(card["home"])
    if card["workspace"]:
        said["C2_LATTICE_WORKSPACE"] = str(card["workspace"])
    return said


def session_line(card: Mapping[str, object], environ: Mapping[str, str]) -> list[str]:
    """The argument list of the client. Without a terminal to talk to it is the client's headless form."""
    adapter = ADAPTERS[str(card["client"])](environ, str(card["home"]))
    prompt = str(card["prompt"]).strip() or PROMPTS.get(str(card["role"]), PROMPTS["worker"]).format(peer=card["peer"])
    return adapter.session(str(card["program"]), prompt, headless=not sys.stdin.isatty(), entry=own_entry())


def _fail(sentence: str, status: int) -> int:
    print(sentence, file=sys.stderr, flush=True)
    if sys.stdin.isatty():  # a window of its own would close before anybody has read it
        print("press Enter to close this window", file=sys.stderr, flush=True)
        sys.stdin.readline()
    return status


if __name__ == "__main__":
    raise SystemExit(main())
