"""Identity: which peer this process is, across its own restarts.

Looked at in this order; the first that is there decides:

1. the ticket file of a spawned session (C2_LATTICE_TICKET): its id, and no other; read once, then gone
2. PEER_ID
3. a record of this state directory with the same client process (its id and start time), else with the
   client's own session id, whose server process has ended: the same session with a new server
4. a new id, `worker-3fa9c1`

A record is one 0600 file per id and broker port in `sessions/` and holds the id's resume secret; it is written before
the broker is asked for the id. It does not decide whether the id is free: the broker does. PEER_ROLE wins over the role
of a record.
"""

from __future__ import annotations

import functools
import json
import os
import stat
import time
from collections import namedtuple

from lattice import names
from lattice.agent import process
from lattice.settings import write_record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

Client = namedtuple("Client", "pid started session")
# is_ours: we hold its resume secret, and the process that it was last given to has ended
Wanted = namedtuple("Wanted", "peer role resume ticket named is_ours", defaults=(False,))

KEEP_S = 30 * 86_400  # a record not used for so long belongs to nobody who comes back
MAX_RECORDS = 500
_MAX_BYTES = 16_384


def client_of(environ: dict[str, str], pid: int) -> Client:
    """The program that started us: by process, and by the session id it gave us where it gives one."""
    return Client(pid, process.started(pid), environ.get("CLAUDE_CODE_SESSION_ID", "")[:100])


class Identity:
    """Who this process wants to be on the broker of one port. Not shared between threads: the link's lock guards it."""

    def __init__(self, settings: Any, environ: dict[str, str], client_pid: int) -> None:
        self._settings = settings
        self._folder = os.path.join(settings.home, "sessions")
        self._environ = environ
        self._client_pid = client_pid
        self._ticket: dict[str, str] | None = None
        self._mine: tuple[str, str, bool] | None = None  # id, role, named: since the first enrolment, whatever records say

    @functools.cached_property
    def client(self) -> Client:
        return client_of(self._environ, self._client_pid)  # at its first use: on macOS it runs a program

    def wanted(self, port: int) -> Wanted:
        """The id, role and proof of ownership to enrol with now."""
        if self._mine is not None:
            peer, role, named = self._mine
            return self._known(peer, role, port, named)
        settings = self._settings
        if self._ticket is None:
            self._ticket = _consume(settings.ticket) if settings.ticket else {}
        if self._ticket.get("peer"):
            role = "architect" if self._ticket.get("role") == "architect" else "worker"
            ticket = self._ticket.pop("ticket", "")
            return self._known(self._ticket["peer"], role, port, True)._replace(ticket=ticket)
        role = self._asked_role()
        chosen = settings.peer_id.strip()
        if chosen:
            return self._known(names.check_peer_id(chosen), role, port, True)
        found = self._of_this_client(port)
        if found:
            role = role if settings.peer_role.strip() else str(found.get("role") or role)
            resume = str(found.get("resume") or "")
            return Wanted(str(found["peer"]), role, resume, "", bool(found.get("named")), bool(resume))
        return Wanted(names.new_id(role), role, "", "", False)

    def keep(self, peer: str, role: str, resume: str, port: int, named: bool, token: str = "") -> None:
        """Write down what the broker answered, so that the next process of this session, its shell and its hooks are the same peer."""
        self._mine = peer, role, named
        self._write(self._record(peer, role, resume, port, named, token), port)
        self._prune()

    def promise(self, wanted: Wanted, port: int) -> str:
        """A resume secret for an id that has none yet, written down before the broker is asked for the id: should we be ended
        before we hear the answer, whoever comes after us has it. "" where there is a record, or none can be made.
        """
        resume = names.new_key()
        try:
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
            with open(os.open(self._path(wanted.peer, port), flags, 0o600), "w", encoding="utf-8") as file:
                json.dump(self._record(wanted.peer, wanted.role, resume, port, wanted.named, ""), file)
        except OSError:
            return ""
        return resume

    def withdraw(self, peer: str, port: int) -> None:
        """The id became another's: what was promised for it is nothing."""
        path = self._path(peer, port)
        if _is_promise(read(path)):
            _remove(path)

    def _record(self, peer: str, role: str, resume: str, port: int, named: bool, token: str) -> dict[str, object]:
        return {
            "peer": peer, "role": role, "resume": resume, "port": port, "named": named,
            "client_pid": self.client.pid, "client_started": self.client.started, "session": self.client.session,
            "pid": os.getpid(), "started": process.started(os.getpid()), "saved": time.time(), "token": token,
        }  # fmt: skip

    def renew(self, token: str, port: int) -> None:
        """The broker gave a new token: the session's shell and hooks must find it too."""
        if self._mine is None:
            return
        record = read(self._path(self._mine[0], port))
        if record.get("pid") == os.getpid():
            self._write({**record, "token": token}, port)

    def _write(self, record: dict[str, object], port: int) -> None:
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        write_record(self._path(str(record["peer"]), port), record)

    def forget(self, port: int) -> None:
        """The id was never used: leave no trace of it."""
        if self._mine is not None:
            _remove(self._path(self._mine[0], port))

    def start_anew(self) -> None:
        """The id belongs to another living process: the next one wanted is a new one."""
        role = self._asked_role()
        self._mine = names.new_id(role), role, False

    def _asked_role(self) -> str:
        return "architect" if self._settings.peer_role.strip().lower() == "architect" else "worker"

    def _path(self, peer: str, port: int) -> str:
        return os.path.join(self._folder, f"{peer}@{port}.json")

    def _known(self, peer: str, role: str, port: int, named: bool) -> Wanted:
        record = read(self._path(peer, port))
        resume = str(record.get("resume") or "")
        return Wanted(peer, role, resume, "", named, bool(resume) and not _is_promise(record) and not _is_held(record, False))

    def _of_this_client(self, port: int) -> dict[str, object]:
        """The newest record of this client whose server has ended."""
        client = self.client
        best: tuple[tuple[bool, float], dict[str, object]] | None = None
        for path in self._records():
            if not path.endswith(f"@{port}.json"):
                continue
            record = read(path)
            if not isinstance(record.get("peer"), str):
                continue
            same_client = bool(client.started) and (record.get("client_pid"), record.get("client_started")) == (client.pid, client.started)
            same_session = bool(client.session) and record.get("session") == client.session
            if not (same_client or same_session) or _is_held(record, same_client):
                continue
            saved = record.get("saved")
            rank = (same_client, float(saved) if isinstance(saved, (int, float)) else 0.0)
            if best is None or rank > best[0]:
                best = rank, record
        return best[1] if best else {}

    def _records(self) -> list[str]:
        try:
            entries = os.listdir(self._folder)
        except OSError:
            return []
        return [os.path.join(self._folder, entry) for entry in entries if entry.endswith(".json")]

    def _prune(self) -> None:
        """Remove old records, and the oldest beyond MAX_RECORDS: a directory does not grow for ever.

        None whose server runs, however old it looks: the clock may have been set, and hooks find their session by it.
        """
        aged = []
        for path in self._records():
            try:
                aged.append((os.stat(path).st_mtime, path))
            except OSError:
                continue  # another process pruned it
        aged.sort(reverse=True)
        oldest = time.time() - KEEP_S
        for index, (changed, path) in enumerate(aged):
            if (index >= MAX_RECORDS or changed < oldest) and not _runs(read(path)):
                _remove(path)


def _is_promise(record: dict[str, object]) -> bool:
    """Did this very process write it, before it was enrolled?"""
    return record.get("pid") == os.getpid() and not record.get("token")


def _runs(record: dict[str, object]) -> bool:
    """Whether the server process that wrote the record is there."""
    pid, started = record.get("pid"), record.get("started")
    return isinstance(pid, int) and isinstance(started, str) and process.is_alive(pid, started)


def _is_held(record: dict[str, object], same_client: bool) -> bool:
    """Whether it belongs to another server process that runs. One of our own client may be ending: it gets a second."""
    if record.get("pid") == os.getpid():
        return False
    give_up = time.monotonic() + (1.0 if same_client else 0.0)
    while _runs(record):
        if time.monotonic() >= give_up:
            return True
        time.sleep(0.05)
    return False


def _consume(path: str) -> dict[str, str]:
    """What the ticket file of a spawned session says, and remove it; {} when there is none that is ours alone."""
    descriptor = -1
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or (os.name != "nt" and (found.st_uid != os.getuid() or found.st_mode & 0o077)):
            return {}
        card = json.loads(os.read(descriptor, _MAX_BYTES).decode("utf-8"))
    except (OSError, ValueError):
        return {}  # consumed before: this is a later process of the same session, and has a record
    finally:
        if descriptor >= 0:
            os.close(descriptor)
    _remove(path)
    if not isinstance(card, dict):
        return {}
    return {key: value for key, value in card.items() if key in ("peer", "role", "ticket") and isinstance(value, str)}


def read(path: str) -> dict[str, object]:
    """What a record says now; {} when it is gone, or damaged."""
    try:
        with open(path, "rb") as file:
            record = json.loads(file.read(_MAX_BYTES))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass  # gone already, or not ours to remove
