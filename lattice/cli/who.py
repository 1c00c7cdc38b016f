"""Who the command line is: inside a coding session that session's peer, outside the person.

Looked at in this order; the first that is there decides:

1. the record of an MCP server whose client is one of our own parents (by process id and start time)
2. the record with the session id that the client put into the environment
3. PEER_ID, whose record may be a server's or our own
4. inside a coding session without any of these: nobody, and what to set is said
5. the person

An agent's shell is never taken for the person. Two sessions under one parent that cannot be told apart
are refused, not guessed.
"""

from __future__ import annotations

import os
import sys
from collections import namedtuple

from lattice import names
from lattice.agent import identity, process
from lattice.errors import Unauthorized
from lattice.settings import make_home, write_record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_PARENTS = 64

# peer "" is the person. `record` is the path that holds (or shall hold) the record, `known` what it says.
Who = namedtuple("Who", "peer role record known")


def find(settings, environ: Mapping[str, str], port: int) -> Who:  # type: ignore[no-untyped-def]
    """Who we are to the broker on this port. Unauthorized when that cannot be said."""
    folder = os.path.join(settings.home, "sessions")
    records = _records(folder, port)
    session = environ.get("CLAUDE_CODE_SESSION_ID", "")[:100]
    records = [one for one in records if one[1]["peer"] != names.PERSON]
    by_parent = _of_parents(records)
    if len({known["peer"] for _, known in by_parent}) > 1:
        by_session = [one for one in by_parent if session and one[1].get("session") == session]
        if not by_session:
            peers = ", ".join(sorted(str(known["peer"]) for _, known in by_parent))
            raise Unauthorized(f"several sessions run under this client ({peers})", hint="set PEER_ID to the one that you are")
        by_parent = by_session
    found = by_parent or [one for one in records if session and one[1].get("session") == session]
    if found:
        path, known = max(found, key=lambda one: _saved(one[1]))
        return Who(str(known["peer"]), str(known.get("role") or "worker"), path, known)
    chosen = settings.peer_id.strip()
    role = "architect" if settings.peer_role.strip().lower() == "architect" else "worker"
    if chosen:
        peer = names.check_peer_id(chosen)
        path = os.path.join(folder, f"{peer}@{port}.json")
        return Who(peer, role, path, dict(records).get(path, {}))
    if environ.get("CLAUDECODE") or session:
        raise Unauthorized(
            "this runs inside a coding session that has no peer yet",
            hint="register the MCP server (install.py) and start the session anew, or set PEER_ID",
        )
    return person(settings, port)


def person(settings, port: int) -> Who:  # type: ignore[no-untyped-def]
    """The person, with the token of the last sign-in on this port."""
    path = os.path.join(settings.home, "sessions", f"{names.PERSON}@{port}.json")
    return Who("", "system", path, read(path))


def read(path: str) -> dict[str, object]:
    """What a record says now; {} when it is gone, or names no peer."""
    found = identity.read(path)
    return found if isinstance(found.get("peer"), str) else {}


def keep(who: Who, known: dict[str, object]) -> None:
    """Write our own record."""
    make_home(os.path.dirname(os.path.dirname(who.record)))
    os.makedirs(os.path.dirname(who.record), mode=0o700, exist_ok=True)
    write_record(who.record, known)


def drop(who: Who) -> None:
    """Our own record was for nothing."""
    os.unlink(who.record)


def has_server(known: Mapping[str, object]) -> bool:
    """Does an MCP server of this peer run now?"""
    pid, started = known.get("pid"), known.get("started")
    return isinstance(pid, int) and isinstance(started, str) and pid > 0 and process.is_alive(pid, started)


def _records(folder: str, port: int) -> list[tuple[str, dict[str, object]]]:
    try:
        entries = os.listdir(folder)
    except OSError:
        return []
    paths = [os.path.join(folder, entry) for entry in sorted(entries) if entry.endswith(f"@{port}.json")]
    return [(path, known) for path in paths if (known := read(path))]


def _of_parents(records: list[tuple[str, dict[str, object]]]) -> list[tuple[str, dict[str, object]]]:
    """The records whose client is the nearest of our parents that is anybody's client and whose server runs; else has run."""
    clients = {known.get("client_pid") for _, known in records}
    for pid in parents() if records else ():
        if pid not in clients:
            continue
        start = process.started(pid)
        found = [one for one in records if one[1].get("client_pid") == pid and start and one[1].get("client_started") == start]
        if found:
            return [one for one in found if has_server(one[1])] or [max(found, key=lambda one: _saved(one[1]))]
    return []


def parents() -> list[int]:
    """The process ids of our parents, nearest first, as far as the platform tells."""
    parent_of = None if os.path.isdir("/proc/self") else _table()
    found: list[int] = []
    pid = os.getppid()
    while pid > 1 and pid not in found and len(found) < MAX_PARENTS:
        found.append(pid)
        pid = _parent(pid) if parent_of is None else parent_of.get(pid, 0)
    return found


def _parent(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read(4096).rpartition(b")")[2].split()[1])  # after the name: state, parent
    except (OSError, IndexError, ValueError):
        return 0


def _table() -> dict[int, int]:
    """Parent by process where there is no /proc. Empty on Windows: there the client's own variable has to do."""
    if sys.platform == "win32":
        return {}
    import subprocess

    try:
        done = subprocess.run(
            ["ps", "-A", "-o", "pid=,ppid="], stdin=subprocess.DEVNULL, capture_output=True, timeout=5, check=False,
            env={"PATH": "/bin:/usr/bin", "LC_ALL": "C"},
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return {}
    pairs = [line.split() for line in done.stdout.decode("ascii", "replace").splitlines()]
    return {int(pair[0]): int(pair[1]) for pair in pairs if len(pair) == 2 and pair[0].isdigit() and pair[1].isdigit()}


def _saved(known: Mapping[str, object]) -> float:
    saved = known.get("saved")
    return float(saved) if isinstance(saved, (int, float)) else 0.0
