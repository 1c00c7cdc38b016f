"""Databases for tests of a broker in this process: begun at once, and without waiting for the disk.

A database is SQLite's, migrated by the product; only that is done once for all tests of a module. What is synced to
the disk when is not what these tests are about: nothing here loses power. `tests/store/` and `tests/storms/` sync.
"""

from __future__ import annotations

import functools
import os
import tempfile

from lattice.broker.app import Broker
from lattice.store import confined
from lattice.store.database import Database


def begin(path: str) -> None:
    """An empty database of this version at `path`, if there is none."""
    if not os.path.exists(path):
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(_migrated())


def unsynced(broker: Broker) -> None:
    """From now on this broker's commits do not wait for the disk."""
    connection = broker.database._connection
    confined.release(connection)
    connection.execute("PRAGMA synchronous=OFF")
    confined.confine(connection, writes=True)


@functools.cache
def _migrated() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "template.db")
        Database(path).close()
        with open(path, "rb") as file:
            return file.read()
