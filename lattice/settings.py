"""Settings: one table of environment names, and where things are kept.

C2_LATTICE_HOME   the state directory (0700): secret, sessions/, flags/, hooks/, tickets/, backups/, broker.log,
                  and one broker-PORT.json for each running broker
C2_LATTICE_DB     the database file (0600), its lock beside it; its copies in backups/, in a folder of its own
"""

from __future__ import annotations

import os
from collections import namedtuple

DEFAULT_PORT = 7899

TYPE_CHECKING = False  # `typing` is not loaded beside a session (design D13); checkers know this name
if TYPE_CHECKING:
    from typing import NamedTuple

    class Setting(NamedTuple):
        """One row of the table."""

        name: str
        env: str
        kind: str
        default: str | int
        why: str

else:
    Setting = namedtuple("Setting", "name env kind default why")

SETTINGS = (
    Setting("port", "C2_LATTICE_PORT", "port", 0, "the broker's port; unset: the running broker's, else 7899"),
    Setting("home", "C2_LATTICE_HOME", "path", "~/.c2-lattice", "the state directory"),
    Setting("db", "C2_LATTICE_DB", "path", "~/.c2-lattice.db", "the database"),
    Setting("secret", "C2_LATTICE_SECRET", "text", "", "the secret itself, instead of the file in the state directory"),
    Setting("workspace", "C2_LATTICE_WORKSPACE", "text", "", "names the workspace; unset: found from the repository"),
    Setting("rate", "C2_LATTICE_RATE", "count", 10, "messages a minute for each peer"),
    Setting("keep_days", "C2_LATTICE_KEEP_DAYS", "count", 30, "days that what is over is kept: read mail, ended tasks and runs, the log"),
    Setting("keep_mb", "C2_LATTICE_KEEP_MB", "count", 1024, "megabytes of the database above which it is kept for shorter, but for a day"),
    Setting("allow_host", "C2_LATTICE_ALLOW_HOST", "text", "", "one more Host header to accept, such as 127.0.0.1:8000"),
    Setting("toolsets", "C2_LATTICE_TOOLSETS", "text", "core", "the MCP server's tools, by comma: core (22), lead, extra, all"),
    Setting("spawn", "C2_LATTICE_SPAWN", "text", "ask", "ask: the person approves each spawned session; allow: no question"),
    Setting("wake", "C2_LATTICE_WAKE", "text", "on", "off: an idle session is not woken when mail comes"),
    Setting("autolock", "C2_LATTICE_AUTOLOCK", "text", "off", "on: an edit of a free file locks it until the session's turn ends"),
    Setting("permissions", "C2_LATTICE_PERMISSIONS", "count", 0, "seconds a permission prompt waits for the person; unset: it does not"),
    Setting("ticket", "C2_LATTICE_TICKET", "path", "", "a 0600 file with the ticket of a spawned session"),
    Setting("peer_id", "PEER_ID", "text", "", "the id this session wants"),
    Setting("peer_role", "PEER_ROLE", "text", "", "architect asks for the seat; else worker"),
    Setting("peer_dir", "PEER_DIR", "path", "", "base of relative lock paths and of the workspace; unset: the working directory"),
)  # fmt: skip

if TYPE_CHECKING:

    class Settings(NamedTuple):
        """The values of the table, by its names. A test holds the two equal."""

        port: int
        home: str
        db: str
        secret: str
        workspace: str
        rate: int
        keep_days: int
        keep_mb: int
        allow_host: str
        toolsets: str
        spawn: str
        wake: str
        autolock: str
        permissions: int
        ticket: str
        peer_id: str
        peer_role: str
        peer_dir: str

else:
    Settings = namedtuple("Settings", [setting.name for setting in SETTINGS])


class BadSetting(ValueError):
    """A setting that cannot be used; the message names the variable, its value and what is allowed."""


def read(environ: dict[str, str]) -> Settings:
    """The settings in `environ`, paths made absolute. BadSetting when one cannot be used."""
    return Settings._make([_value(setting, environ.get(setting.env, "").strip()) for setting in SETTINGS])


def _value(setting: Setting, text: str) -> str | int:
    if setting.kind == "path":
        chosen = text or str(setting.default)
        return os.path.abspath(os.path.expanduser(chosen)) if chosen else ""
    if not text:
        return setting.default
    if setting.kind == "text":
        return text
    highest = 65535 if setting.kind == "port" else 1_000_000
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= highest):
        raise BadSetting(f"{setting.env}={text}: must be a whole number from 1 to {highest}")
    return int(text)


def make_home(home: str) -> None:
    """Make the state directory, 0700. PermissionError when it is not ours alone: others could then read the secret."""
    os.makedirs(home, mode=0o700, exist_ok=True)
    if os.name == "nt":
        return  # a user's profile folder is closed to others by its ACL
    found = os.stat(home)
    if found.st_uid != os.getuid():
        raise PermissionError(f"{home} belongs to another user")
    if found.st_mode & 0o077:
        raise PermissionError(f"{home} is open to other users; close it with: chmod 700 {home}")


def database_file(db: str) -> str:
    """The file itself, where `db` is a link to it: its lock and its -wal are beside that."""
    return os.path.realpath(db) if os.path.islink(db) else db


def write_record(path: str, record: dict[str, object]) -> None:
    """Write a JSON file of the state directory: 0600, beside and then renamed, so that nobody reads half of it."""
    import json  # here: see `running_brokers`

    draft = f"{path}.{os.getpid()}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0), 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(record, file)
    os.replace(draft, path)


def broker_file(home: str, port: int) -> str:
    return os.path.join(home, f"broker-{port}.json")


def running_brokers(home: str) -> list[dict[str, object]]:
    """What the broker files of this home say, newest first: {port, database, pid, version, wire, started_at}.

    A file may outlive its broker (kill -9): whoever uses an entry proves the broker first.
    """
    import json  # here: a hook reads the settings at each edit, and needs no broker's card

    found = []
    try:
        entries = os.listdir(home)
    except OSError:
        return []
    for entry in entries:
        if not (entry.startswith("broker-") and entry.endswith(".json")):
            continue
        try:
            with open(os.path.join(home, entry), encoding="utf-8") as file:
                card = json.load(file)
        except (OSError, ValueError):
            continue  # being written, or damaged: as good as not there
        if isinstance(card, dict) and isinstance(card.get("port"), int):
            found.append(card)
    found.sort(key=lambda card: -float(card.get("started_at") or 0))
    return found
