"""Traces: small files in `hooks/` of the state directory, from one hook of a session to its next.

    CLIENT.said.WORD      this was said to the session once, and is not said again
    CLIENT.call.PID       the call that hook PID makes, until it has said what it was handed: whoever finds PID gone makes
                          it again, with the same idempotency key, so that mail handed to a hook that was ended on its
                          way is handed in all the same
    CLIENT.handed         its time is when a hook last said mail: one that began before that proves nothing
    CLIENT.watch.CALL     what held files looked like before a command that could not be read
    CLIENT.wake           whoever waits to wake the session holds it
    CLIENT.woken          how much mail it was woken for

All 0600, all of one client process by its id; gone with the session, or when the process is gone.
"""

from __future__ import annotations

import os
import time

from lattice.agent import process
from lattice.hooks import compact_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

STANDS_S = 20.0  # no hook takes so long: what stands longer was left, whoever has its process id by now
_MAX_BYTES = 4 * 1024 * 1024


class Traces:
    def __init__(self, home: str, client: int) -> None:
        self.folder = os.path.join(home, "hooks")
        self._client = str(client)

    def path(self, kind: str, name: str = "") -> str:
        plain = "".join(sign if sign.isalnum() or sign in "-_" else "_" for sign in name)[:120]
        return os.path.join(self.folder, f"{self._client}.{kind}" + (f".{plain}" if plain else ""))

    def once(self, word: str) -> bool:
        """True the first time in this session."""
        try:
            os.close(self._open(self.path("said", word), os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except OSError:
            return False  # said before; or not to be written, and then silence is better than a word at each edit
        return True

    def keep(self, kind: str, name: str, value: object) -> str:
        """Write it down; the path, "" when that cannot be done."""
        path = self.path(kind, name)
        try:
            descriptor = self._open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
        except OSError:
            return ""
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(compact_json.dumps(value))
        return path

    def take(self, kind: str, name: str) -> Any:
        """What was written down, which is then gone; None when there is nothing."""
        path = self.path(kind, name)
        value = read(path)
        remove(path)
        return value

    def abandoned(self) -> tuple[str, dict[str, Any]] | None:
        """(path, call) of a hook that was ended before it had said what it was handed; it is the finder's now."""
        for entry, stands in self._calls():
            if stands:
                continue
            taken = self.path("call", str(os.getpid()))
            try:
                os.rename(os.path.join(self.folder, entry), taken)  # of two finders one gets it
            except OSError:
                continue
            call = read(taken)
            if isinstance(call, dict):
                return taken, call
            remove(taken)
        return None

    def handed(self, path: str) -> None:
        """What the call at `path` answered has been said."""
        last = self.path("handed")
        try:
            os.replace(path, last)
            os.utime(last)
        except OSError:
            pass  # cleared meanwhile: the session ends

    def is_beside_another(self, began: float) -> bool:
        """Does another hook say mail just now, or did one after this one `began` (seconds since 1970)? Then this one proves nothing."""
        if any(stands for _, stands in self._calls()):
            return True
        try:
            handed = os.stat(self.path("handed")).st_mtime
        except OSError:
            return False
        return began <= handed < time.time() + STANDS_S  # later than now: the clock was set back since

    def begin(self) -> None:
        """A client process starts: what an earlier one of its id left is not its own, nor is what dead ones left."""
        for entry in self._entries():
            client, _, rest = entry.partition(".")
            is_left = rest.partition(".")[0] in ("said", "call", "handed", "watch") if client == self._client else _is_dead(client)
            if is_left:
                remove(os.path.join(self.folder, entry))

    def clear(self) -> None:
        """The session ends."""
        for entry in self._entries():
            if entry.startswith(self._client + "."):
                remove(os.path.join(self.folder, entry))

    def _calls(self) -> list[tuple[str, bool]]:
        """(entry, is the hook that makes it still there) of the calls of other hooks of this session."""
        found = []
        for entry in self._entries():
            pid = entry.removeprefix(f"{self._client}.call.")
            if entry == pid or not pid.isdigit() or int(pid) == os.getpid():
                continue
            try:
                age = time.time() - os.stat(os.path.join(self.folder, entry)).st_mtime
            except OSError:
                continue  # said by now
            found.append((entry, abs(age) < STANDS_S and process.is_alive(int(pid))))
        return found

    def _entries(self) -> list[str]:
        try:
            return os.listdir(self.folder)
        except OSError:
            return []

    def _open(self, path: str, how: int) -> int:
        how |= getattr(os, "O_NOFOLLOW", 0)
        try:
            return os.open(path, how, 0o600)
        except FileNotFoundError:
            os.makedirs(self.folder, mode=0o700, exist_ok=True)
            return os.open(path, how, 0o600)


def _is_dead(client: str) -> bool:
    return client.isdigit() and not process.is_alive(int(client))


def read(path: str) -> Any:
    """The value in the file, None when there is none that can be read."""
    try:
        with open(path, "rb") as file:
            return compact_json.loads(file.read(_MAX_BYTES).decode("utf-8"))
    except (OSError, ValueError):
        return None


def remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass  # gone already
