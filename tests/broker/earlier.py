"""Databases as earlier versions of the program left them: made by their migrations alone, with something in every table.

The content is what a broker of today did (`work`), carried into the tables as they were then; its log is written anew
without the columns that came later. Tables that stay empty are filled from what their own schema says. All of it follows
the migrations folder, so a new migration needs no word here.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import sqlite3
import tempfile
from typing import Any

from lattice.domain import events
from lattice.domain.caller import BROKER
from lattice.store import migrate
from lattice.store.database import Database, Tx
from tests.broker.broking import House

NEWEST = len([name for name in os.listdir(migrate.MIGRATIONS) if name.endswith(".sql")])
CHECKED = re.compile(r"CHECK \((\w+) IN \(([^)]*)\)\)")


def work(house: House) -> dict[str, Any]:
    """Something of everything. What is needed to go on with it: first, second (tasks), claim, lock (tokens), receipt."""
    house.crew("ann", "bob")
    house.post("arch", "/runs", id="r1", name="shop", goal="sell")
    first = house.task("arch", "ground", run_id="r1")
    second = house.task("arch", "walls", blocked_by=[first], run_id="r1")
    claim = house.post("ann", "/tasks/claim", task_id=first)["token"]
    lock = house.post("ann", "/lock", file_path="/r/a.py", reason="work")["token"]
    house.post("bob", "/lock", file_path="/r/b.py", shared=True)
    house.post("bob", "/lock", file_path="/r/gone.py")
    house.post("bob", "/unlock", file_path="/r/gone.py")
    house.send("bob", "ann", "taken", idempotency_key="k1")
    house.send("arch", "ann", "waiting")
    receipt = house.take("ann", max=1)[0]["receipt"]
    house.post("ann", "/memory", key="port", value="8080", type="decision")
    house.post("ann", "/memory", key="port", value="8081", type="decision")
    house.post("bob", "/escalations", kind="blocker", text="which way?")
    house.post("bob", "/conversation", turn_type="assistant", content="hm")
    return {"first": first, "second": second, "claim": claim, "lock": lock, "receipt": receipt}


def migrations_up_to(version: int, folder: str) -> str:
    """A migrations folder with the first ones alone."""
    os.makedirs(folder)
    for name in sorted(os.listdir(migrate.MIGRATIONS))[: version + 1]:
        if name.endswith(".sql") and int(name[:4]) <= version:
            shutil.copy(os.path.join(migrate.MIGRATIONS, name), folder)
    return folder


def carry(newer: str, older: str, version: int) -> None:
    """Make the database `older` of that version, with what is in `newer`."""
    with tempfile.TemporaryDirectory() as folder:
        Database(older, migrations_dir=migrations_up_to(version, os.path.join(folder, "migrations"))).close()
    with contextlib.closing(sqlite3.connect(older)) as database, database:
        database.execute("ATTACH ? AS newer", (newer,))
        for table in tables(database):
            columns = ", ".join(f'"{name}"' for name in _columns(database, table))
            database.execute(f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM newer.{table}")
        _write_the_log_anew(database)
        for table in tables(database):
            _fill(database, table)
        _tell_the_log(database)
        assert not database.execute("PRAGMA foreign_key_check").fetchall()
        assert database.execute("PRAGMA main.user_version").fetchone() == (version,)


def everything(path: str) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table."""
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        database.row_factory = sqlite3.Row
        return {table: [dict(row) for row in database.execute(f"SELECT * FROM {table} ORDER BY 1, 2")] for table in tables(database)}


def tables(database: sqlite3.Connection) -> list[str]:
    return [
        row[0]
        for row in database.execute("SELECT name FROM main.sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name")
    ]


def _columns(database: sqlite3.Connection, table: str) -> list[str]:
    return [row[1] for row in database.execute(f"PRAGMA main.table_xinfo({table})") if not row[6]]  # not the computed ones


def _write_the_log_anew(database: sqlite3.Connection) -> None:
    """As the program of that time did: without the columns that came later."""
    there = {kind: set(_columns(database, fold.table)) for kind, fold in events.FOLDED.items()}
    database.row_factory = sqlite3.Row
    previous = events.GENESIS
    for row in database.execute("SELECT * FROM main.events ORDER BY seq").fetchall():
        data = json.loads(row["data"])
        if row["kind"] in there and data:
            data = {name: value for name, value in data.items() if name in there[row["kind"]]}
        text = events.canonical(data)
        digest = hashlib.sha256(text.encode()).hexdigest()
        link = events._link(
            previous, *(row[name] for name in ("seq", "at", "actor", "op", "kind", "subject", "run_id", "workspace")), digest
        )
        database.execute(
            "UPDATE main.events SET data = ?, digest = ?, prev = ?, hash = ? WHERE seq = ?", (text, digest, previous, link, row["seq"])
        )
        previous = link
    database.row_factory = None


def _tell_the_log(database: sqlite3.Connection) -> None:
    """Every write has its event: so have the rows that were filled in, if the log carries such things."""
    database.row_factory = sqlite3.Row
    tx = Tx(database, 1.0, "fill")
    told = {kind for (kind,) in database.execute("SELECT DISTINCT kind FROM main.events")}
    for kind, fold in events.FOLDED.items():
        if kind in told or fold.table not in tables(database):
            continue
        for row in database.execute(f"SELECT * FROM main.{fold.table}").fetchall():
            key = [row[name] for name in fold.key]
            data = events.folded(fold, dict(fold.missing) | dict(row))
            there = {name: value for name, value in data.items() if name in row.keys()}
            events.append(tx, BROKER, kind, [tuple(key) if len(key) > 1 else key[0]], events.canonical(there))
    database.row_factory = None


def _fill(database: sqlite3.Connection, table: str) -> None:
    """Two rows that the table takes, where it has none."""
    if database.execute(f"SELECT COUNT(*) FROM main.{table}").fetchone()[0]:
        return
    (sql,) = database.execute("SELECT sql FROM main.sqlite_master WHERE name = ?", (table,)).fetchone()
    allowed = {name: [json.loads(one.strip().replace("'", '"')) for one in listed.split(",")] for name, listed in CHECKED.findall(sql)}
    points = {row[3]: (row[2], row[4]) for row in database.execute(f"PRAGMA main.foreign_key_list({table})").fetchall()}
    for parent in {parent for parent, _ in points.values()} - {table}:
        _fill(database, parent)
    for number in (1, 2):
        values: dict[str, object] = {}
        for _, name, kind, _, _, _, hidden in database.execute(f"PRAGMA main.table_xinfo({table})").fetchall():
            if hidden:
                continue
            if name in points:
                parent, column = points[name]
                found = database.execute(f"SELECT {column} FROM main.{parent} ORDER BY 1 LIMIT 2").fetchall()
                values[name] = found[number % len(found)][0]
            elif name in allowed:
                values[name] = allowed[name][number % len(allowed[name])]
            else:
                values[name] = number if kind == "INTEGER" else number + 0.5 if kind == "REAL" else f"{name} {number}"
        names = ", ".join(f'"{name}"' for name in values)
        database.execute(f"INSERT INTO main.{table} ({names}) VALUES ({', '.join('?' * len(values))})", tuple(values.values()))
