"""c2-lattice verify: is the database sound? The broker is asked; with --db FILE this process looks itself, and only reads.

Exit status 0: sound; 1: damaged, or it cannot be judged. One sentence says so, and where it is damaged what to do.
"""

from __future__ import annotations

import os

from lattice import settings, typed
from lattice.cli import show
from lattice.errors import Conflict, NotFound
from lattice.exclusive import Exclusive

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lattice.cli.door import Door

PATIENCE_S = 600.0  # a million events take a while


def ask(door: Door, as_json: bool) -> int:
    """The running broker's database."""
    said = door.call("GET", "/events/verify", timeout_s=PATIENCE_S)
    return _tell(said, as_json, "put the newest good copy in its place", typed.own_script("launch.py", "--restore"))


def look(db: str, as_json: bool) -> int:
    """A file: a copy, or the database of a stopped broker. NotFound without one, Conflict when a broker has it open."""
    from lattice.domain import soundness

    path = settings.database_file(os.path.abspath(os.path.expanduser(db)))
    if not os.path.lexists(path):
        raise NotFound(f"there is no file {path}", hint=f"{typed.own_script('launch.py', '--backups')} shows which copies there are")
    lock = Exclusive(path + ".lock") if os.path.lexists(path + ".lock") else None
    if lock is not None and not lock.acquire():
        raise Conflict(f"a broker has {path} open", hint="without --db that broker is asked: c2-lattice verify")
    try:
        said = soundness.of_file(path)
    finally:
        if lock is not None:
            lock.release()
    said["message"] = f"{path}: {said['message']}"
    return _tell(said, as_json, "see which copies there are", typed.own_script("launch.py", "--backups"))


def _tell(said: dict[str, object], as_json: bool, what: str, line: str) -> int:
    if as_json:
        print(show.as_json(said), flush=True)
    else:
        print(show.said("verify", said) + ("" if said["ok"] else f"\n{what}: {line}"), flush=True)
    return 0 if said["ok"] else 1
