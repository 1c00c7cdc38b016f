"""Which session a hook runs in: the client process it was started by, and the peer that this process's MCP server is.

The client is CLAUDE_PID, else our parent (the shell of a hook becomes it, so that is the client). Its MCP server has
written a record: peer, port, token. A record counts when its client is this very process, by id and start.
"""

from __future__ import annotations

import os
import sys
from collections import namedtuple

from lattice.agent import process
from lattice.hooks import compact_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

Session = namedtuple("Session", "peer port token runs")  # runs: its MCP server is there
_MAX_BYTES = 16_384
_STARTS_ARE_CHEAP = sys.platform == "win32" or os.path.isdir("/proc/self")  # elsewhere it takes a program


def client_pid(environ: Mapping[str, str]) -> int:
    """The client's process id; 0 when nobody says it."""
    said = environ.get("CLAUDE_PID", "")
    if said.isascii() and said.isdigit():
        return int(said)
    return os.getppid() if os.name != "nt" else 0  # on Windows a parent says nothing: it may be a shell that has ended


def find(home: str, client: int) -> Session | None:
    """The peer of that client process, None while it has none."""
    if client <= 0:
        return None
    folder = os.path.join(home, "sessions")
    try:
        entries = [entry for entry in os.listdir(folder) if entry.endswith(".json")]
    except OSError:
        return None
    peer = _named_by_flag(home, client)
    ours = _newest(folder, [entry for entry in entries if entry.startswith(peer + "@")], client) if peer else None
    return ours or _newest(folder, entries, client)


def _named_by_flag(home: str, client: int) -> str:
    """The flag begins with the peer's id: with it one record is read instead of all."""
    try:
        with open(os.path.join(home, "flags", str(client)), encoding="utf-8") as file:
            return file.read(200).partition(":")[0]
    except (OSError, ValueError):
        return ""


def _newest(folder: str, entries: list[str], client: int) -> Session | None:
    start = process.started(client) if _STARTS_ARE_CHEAP and entries else ""
    best: tuple[bool, float] = (False, -1.0)
    found = None
    for entry in entries:
        try:
            with open(os.path.join(folder, entry), "rb") as file:
                record = compact_json.loads(file.read(_MAX_BYTES).decode("utf-8"))
        except (OSError, ValueError):
            continue  # being pruned, or damaged: as good as not there
        if not isinstance(record, dict) or record.get("client_pid") != client:
            continue
        if _STARTS_ARE_CHEAP and record.get("client_started") != start:
            continue
        peer, port, token, saved = (record.get(name) for name in ("peer", "port", "token", "saved"))
        if not (isinstance(peer, str) and isinstance(port, int) and isinstance(token, str) and token):
            continue
        rank = (_runs(record.get("pid")), float(saved) if isinstance(saved, (int, float)) else 0.0)
        if rank > best:
            best, found = rank, Session(peer, port, token, rank[0])
    return found


def _runs(pid: object) -> bool:
    """A server that has ended leaves its record: good for asking while there is no other of the same client."""
    return isinstance(pid, int) and pid > 0 and process.is_alive(pid)
