"""Damage: was it the database? Asked when something failed that does not fail.

No function looks twice at what it reads: the tables hold what the contract let in. So where one fails (no JSON where there
was some, a blob where a text was), it is a mistake of ours, or a row is not what was written; `verify` knows which.
"""

from __future__ import annotations

import logging
import sqlite3
import threading

from lattice.domain import soundness
from lattice.errors import Internal, Refusal
from lattice.store.database import Database

log = logging.getLogger("lattice.broker")

LOOK_S = 5.0  # of reading; a database that takes longer is not judged on the way
AGAIN_S = 60.0  # what was found counts for so long


class Damage:
    """Thread safe; one look at a time, the others wait for what it finds."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()  # guards what follows
        self._found = ""
        self._looked = float("-inf")

    def behind(self, fault: Exception, now: float) -> Refusal | None:
        """What to say instead of the fault: that the database is damaged, and where. None when it is not, or that cannot be told.

        `now` is monotonic.
        """
        if isinstance(fault, Refusal):
            return fault
        with self._lock:
            if now - self._looked >= AGAIN_S:
                self._found = self._look()
                self._looked = now
                if self._found:
                    log.error("the database is damaged: %s", self._found)
            found = self._found
        if not found:
            return None
        return Internal(f"the database is damaged: {found}", code="read_failed", hint="the person runs: c2-lattice verify")

    def _look(self) -> str:
        try:
            said = self._database.read(soundness.verify, within_s=LOOK_S)
        except Refusal:
            return ""  # it cannot be told now
        except (sqlite3.Error, UnicodeDecodeError) as broken:  # what SQLite says of a broken schema may itself be no UTF-8
            return f"it cannot be read: {broken}"
        return "" if said["ok"] else str(soundness.from_afar(said)["message"])
