"""R7: whatever the files of a database look like, the broker opens what is whole, or refuses, says what to do, and touches nothing.

One broker works, is stopped or killed, and leaves its files and one copy of them. Each fixture damages them in one way; then
the real broker is started on them. What it may open is a moment of the log that it had acknowledged, found by its hashes.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import unittest
from collections.abc import Callable
from typing import NamedTuple

from lattice.store import backup
from tests.figures import measured
from tests.running import PYTHON, TOP, Broker, Dropped, Wire, chance, end_brokers, figure, temporary_home, until

PAGE = 4096
FRAME = PAGE + 24
# What a refusal has to name, by what it says.
WAYS_OUT = {
    "is damaged": (r"in its place: .*launch\.py --restore --db ", r"put aside whole, into "),
    "is not a c2-lattice database": (r"Move it away, or choose another file with C2_LATTICE_DB",),
    "was written by a newer": (r"launch\.py --restore --db ", r"C2_LATTICE_DB"),
    "which is not there": (r"take the link away",),
    "cannot be opened for reading and writing": (r"C2_LATTICE_DB",),
}
EXIT_CODES = {65, 73, 77}

Damage = Callable[["Files"], None]


class Files:
    """The files of one database, to be damaged."""

    def __init__(self, path: str, chosen: random.Random) -> None:
        self.path, self.chosen = path, chosen

    def size(self, end: str = "") -> int:
        return os.path.getsize(self.path + end)

    def read(self, end: str = "") -> bytes:
        with open(self.path + end, "rb") as file:
            return file.read()

    def write(self, at: int, data: bytes, end: str = "") -> None:
        with open(self.path + end, "rb+") as file:
            file.seek(at)
            file.write(data)

    def put(self, data: bytes, end: str = "") -> None:
        self.remove(end)
        with open(self.path + end, "wb") as file:
            file.write(data)

    def cut(self, size: int, end: str = "") -> None:
        os.truncate(self.path + end, max(0, size))

    def remove(self, end: str = "") -> None:
        if os.path.isdir(self.path + end):
            os.rmdir(self.path + end)
        elif os.path.lexists(self.path + end):
            os.unlink(self.path + end)

    def noise(self, size: int) -> bytes:
        return self.chosen.randbytes(size)

    def page(self) -> int:
        """Where some page that is not the first begins."""
        return PAGE * self.chosen.randrange(1, self.size() // PAGE)


class Fixture(NamedTuple):
    """`killed`: with a -wal file. `expect`: "refused", "whole" (all that was acknowledged is there), "" (either, or an earlier moment)."""

    name: str
    killed: bool
    expect: str
    damage: Damage


def other_program(files: Files) -> None:
    files.remove()
    with contextlib.closing(sqlite3.connect(files.path)) as theirs, theirs:
        theirs.execute("CREATE TABLE theirs (x)")
        theirs.execute("INSERT INTO theirs VALUES ('dear to somebody')")


def pragma(text: str) -> Damage:
    def damage(files: Files) -> None:
        with contextlib.closing(sqlite3.connect(files.path)) as database:
            database.execute(f"PRAGMA {text}")

    return damage


def two_pages_swapped(files: Files) -> None:
    whole, one = files.read(), files.page()
    other = next(at for at in iter(files.page, None) if at != one)
    first, second = whole[one : one + PAGE], whole[other : other + PAGE]
    files.write(one, second)
    files.write(other, first)


def elsewhere(files: Files) -> None:
    folder = os.path.join(os.path.dirname(files.path), "disk")
    os.mkdir(folder)
    os.rename(files.path, os.path.join(folder, "real.db"))
    os.symlink(os.path.join(folder, "real.db"), files.path)


def log_of_another_database(files: Files) -> None:
    other = files.path + ".other"
    with contextlib.closing(sqlite3.connect(other, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE theirs (x)")
        for number in range(50):
            database.execute("INSERT INTO theirs VALUES (?)", ("x" * 3000 + str(number),))
        shutil.copy(other + "-wal", files.path + "-wal")


def socket_there(files: Files) -> None:
    files.remove()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(files.path)


def _made() -> list[Fixture]:
    found: list[Fixture] = []

    def add(name: str, expect: str, damage: Damage, *, killed: bool = False) -> None:
        found.append(Fixture(name, killed, expect, damage))

    add("nothing wrong, stopped", "whole", lambda files: None)
    add("nothing wrong, killed", "whole", lambda files: None, killed=True)
    # the header
    add("noise in place of the header", "refused", lambda files: files.write(0, files.noise(100)))
    add("zeros in place of the header", "refused", lambda files: files.write(0, b"\0" * 100))
    add("zeros in place of the first page", "refused", lambda files: files.write(0, b"\0" * PAGE))
    add("noise behind the header", "refused", lambda files: files.write(100, files.noise(PAGE - 100)))
    add("a page size that there is not", "refused", lambda files: files.write(16, b"\x12\x34"))
    add("another page size", "refused", lambda files: files.write(16, b"\x08\x00"))
    add("another file format", "refused", lambda files: files.write(18, b"\x09\x09"))
    add("another text encoding", "", lambda files: files.write(56, b"\0\0\0\3"))
    add("a page count of zero", "", lambda files: files.write(28, b"\0\0\0\0"))
    add("another program's number", "refused", pragma("application_id=7"))
    add("no program's number", "refused", pragma("application_id=0"))
    add("a newer version", "refused", pragma("user_version=77"))
    add("no version", "refused", pragma("user_version=0"))
    add("an older version than it is", "refused", pragma("user_version=1"))
    # the length
    for size in (1, 16, 99, 100, 512, PAGE - 1, PAGE, 3 * PAGE):
        add(f"cut off at {size:,} bytes", "refused", lambda files, size=size: files.cut(size))  # type: ignore[misc]
    add("half of it", "refused", lambda files: files.cut(files.size() // 2))
    add("the last page gone", "refused", lambda files: files.cut(files.size() - PAGE))
    add("the last byte gone", "refused", lambda files: files.cut(files.size() - 1))
    add("some length", "refused", lambda files: files.cut(files.chosen.randrange(PAGE, files.size() - 1)))
    add("nothing in it", "refused", lambda files: files.cut(0))
    add("nothing in it, with its log", "refused", lambda files: files.cut(0), killed=True)
    add("gone, with its log there", "refused", lambda files: files.remove(), killed=True)
    add("noise at its end", "", lambda files: files.write(files.size(), files.noise(1000)))
    # pages
    for number in range(1, 6):
        add(f"some page is zeros ({number})", "", lambda files: files.write(files.page(), b"\0" * PAGE))
        add(f"some page is noise ({number})", "", lambda files: files.write(files.page(), files.noise(PAGE)))
    add("a quarter of the pages are noise", "refused", lambda files: files.write(files.size() // 2, files.noise(files.size() // 4)))
    add("two pages in each other's place", "", two_pages_swapped)
    add("zeros in the middle, killed", "", lambda files: files.write(files.page(), b"\0" * PAGE), killed=True)
    # the log of what is not in it yet
    add("its log is noise", "refused", lambda files: files.put(files.noise(files.size("-wal")), "-wal"), killed=True)
    add("its log is a text", "refused", lambda files: files.put(b"hello, world\n" * 500, "-wal"), killed=True)
    add("its log begins with noise", "refused", lambda files: files.write(0, files.noise(32), "-wal"), killed=True)
    add("its log begins with zeros", "refused", lambda files: files.write(0, b"\0" * 32, "-wal"), killed=True)
    add("its log has a wrong byte", "refused", lambda files: files.write(32 + 2 * FRAME + 500, files.noise(8), "-wal"), killed=True)
    add("its log has a hole", "refused", lambda files: files.write(32 + FRAME, b"\0" * 3 * FRAME, "-wal"), killed=True)
    add("its log is another database's", "refused", log_of_another_database, killed=True)
    for size in (0, 1, 31, 32, 33, 32 + FRAME, 32 + 5 * FRAME + 99):
        add(f"its log cut off at {size:,} bytes", "", lambda files, size=size: files.cut(size, "-wal"), killed=True)  # type: ignore[misc]
    add("its log cut off somewhere", "", lambda files: files.cut(files.chosen.randrange(files.size("-wal")), "-wal"), killed=True)
    add("its log gone", "", lambda files: files.remove("-wal"), killed=True)
    add("a log of noise beside a whole one", "refused", lambda files: files.put(files.noise(9000), "-wal"))
    add("its log is a folder", "refused", lambda files: os.mkdir(files.path + "-wal"))
    # the index of the log
    add("the index of its log gone", "whole", lambda files: files.remove("-shm"), killed=True)
    add("the index of its log is noise", "whole", lambda files: files.put(files.noise(32768), "-shm"), killed=True)
    add("the index of its log is empty", "whole", lambda files: files.cut(0, "-shm"), killed=True)
    # a journal, which only the very first write has
    add("a journal of noise", "", lambda files: files.put(files.noise(5000), "-journal"))
    add("an empty journal", "whole", lambda files: files.put(b"", "-journal"))
    # other things than a database
    add("a text", "refused", lambda files: files.put(b"# notes\n" * 1000))
    add("another program's database", "refused", other_program)
    add("a folder", "refused", lambda files: (files.remove(), os.mkdir(files.path)) and None)
    add("a pipe", "refused", lambda files: (files.remove(), os.mkfifo(files.path)) and None)
    add("a socket", "refused", socket_there)
    add("a link to where it is", "whole", elsewhere)
    add("a link to nowhere", "refused", lambda files: (files.remove(), os.symlink(files.path + ".gone", files.path)) and None)
    add("a link to itself", "refused", lambda files: (files.remove(), os.symlink(files.path, files.path)) and None)
    return found


FIXTURES = _made()
SOME = figure(8, len(FIXTURES))


@unittest.skipIf(os.name == "nt", "pipes, sockets and links of POSIX")
class DamagedFiles(unittest.TestCase):
    time_bound_s = 300.0

    def setUp(self) -> None:
        self.home = self.enterContext(temporary_home())
        self.broker = Broker(self.home)
        self.addCleanup(self.broker.close)
        self.path = self.broker.database
        self.backups = backup.folder_of(self.path, os.path.join(self.broker.state, "backups"))
        self.kept: dict[bool, str] = {}
        self.hashes: list[str] = []
        self.work()

    def work(self) -> None:
        """Two lots of work: a copy between them, the files as a stop leaves them, and as a kill does."""
        for round in range(2):
            self.broker.start()
            self.some_work(round)
            if round == 0:
                backup.back_up(self.path, os.path.join(self.backups, "hourly-20260101-090000Z.db"))
                self.some_work(7)
                self.assertEqual(0, self.broker.stop())
            else:
                self.broker.kill()
            kept = os.path.join(self.home, "killed" if round else "stopped")
            os.mkdir(kept)
            for name in os.listdir(self.home):
                if name.startswith(os.path.basename(self.path)) and not name.endswith(".lock"):
                    shutil.copy(os.path.join(self.home, name), kept)
            self.kept[bool(round)] = kept
        self.assertGreater(os.path.getsize(os.path.join(self.kept[True], "lattice.db-wal")), 32 + 12 * FRAME)
        with contextlib.closing(sqlite3.connect(self.path)) as database:
            self.hashes = [row[0] for row in database.execute("SELECT hash FROM events ORDER BY seq")]
        self.acknowledged = {killed: self.newest_in(kept) for killed, kept in self.kept.items()}

    def some_work(self, round: int) -> None:
        ann, bob = (self.broker.enrol(f"{name}{round}") for name in ("ann", "bob"))
        for number in range(6):
            ann.post("/send", {"recipient_id": bob.id, "category": "finding", "content": f"letter {number} " + "x" * 900})
            bob.post("/tasks", {"title": f"task {number}", "description": "y" * 500})
            ann.post("/memory", {"key": f"k{round}-{number}", "value": "z" * 900})
            bob.post("/lock", {"file_path": f"/r/{round}-{number}.py"})
        bob.post("/inbox/take", {})

    def newest_in(self, kept: str) -> int:
        copied = os.path.join(self.home, "counting")
        shutil.copytree(kept, copied)
        with contextlib.closing(sqlite3.connect(os.path.join(copied, "lattice.db"))) as database:
            newest = int(database.execute("SELECT MAX(seq) FROM events").fetchone()[0])
        shutil.rmtree(copied)
        return newest

    # -- one fixture

    def lay(self, fixture: Fixture, chosen: random.Random) -> None:
        for name in os.listdir(self.home):
            if name.startswith(os.path.basename(self.path)):
                found = os.path.join(self.home, name)
                shutil.rmtree(found) if os.path.isdir(found) and not os.path.islink(found) else os.unlink(found)
        shutil.rmtree(os.path.join(self.home, "disk"), ignore_errors=True)
        for name in os.listdir(self.kept[fixture.killed]):
            shutil.copy(os.path.join(self.kept[fixture.killed], name), self.home)
        fixture.damage(Files(self.path, chosen))

    def originals(self) -> dict[str, str]:
        """Digest of everything that is there, but of what a broker that is refused writes: its log and its lock."""
        found = {}
        for folder, folders, names in os.walk(self.home):
            for name in folders + names:
                path = os.path.join(folder, name)
                if name.endswith((".lock", "broker.out", "broker.log", "secret")):
                    continue
                found[os.path.relpath(path, self.home)] = digest(path)
        return found

    def start(self) -> tuple[int | None, str]:
        """(exit code or None when it serves, what it said so far)"""
        self.end()
        with open(os.path.join(self.home, "broker.out"), "wb") as out:
            self.broker.process = process = subprocess.Popen(
                [*PYTHON, os.path.join(TOP, "broker.py")], env=self.broker.environ, cwd=self.home, stdin=subprocess.DEVNULL, stdout=out,
                stderr=out, start_new_session=True,
            )  # fmt: skip
        until(lambda: process.poll() is not None or self.serves(), "it serves or ends", 20)
        return process.poll(), self.said()

    def serves(self) -> bool:
        with contextlib.suppress(OSError, Dropped), contextlib.closing(Wire(self.broker.port, timeout_s=5)) as wire:
            return wire.call("GET", "/health")[0] == 200
        return False

    def said(self) -> str:
        with open(os.path.join(self.home, "broker.out"), encoding="utf-8") as file:
            return file.read()

    def end(self) -> None:
        """Nobody may be on the port any more: a fixture that failed may have left somebody."""
        self.broker.stop()
        end_brokers(self.home)

    def stop(self) -> str:
        self.assertEqual(0, self.broker.stop())
        return self.said()

    def opened(self, fixture: Fixture) -> tuple[str, str]:
        """(whole, earlier, or silent; what it said), when it serves."""
        verdict = self.broker.person().get("/events/verify")
        said = self.stop()
        with contextlib.closing(sqlite3.connect(self.path)) as database:
            hashes = [row[0] for row in database.execute("SELECT hash FROM events ORDER BY seq")]
        common = next(
            (at for at, pair in enumerate(zip(hashes, self.hashes, strict=False)) if pair[0] != pair[1]), min(len(hashes), len(self.hashes))
        )
        newest = self.acknowledged[fixture.killed]
        if common >= newest:
            state = "whole"
        elif common and len(hashes) <= common + 5:  # what the new broker itself wrote
            state = "earlier"
        else:
            state = "silent"
        return (state if verdict["ok"] else "unsound"), said

    def test_each_is_opened_whole_or_refused_with_the_way_out_and_nothing_of_it_is_touched(self) -> None:
        chosen = chance(self)
        some = FIXTURES if SOME >= len(FIXTURES) else chosen.sample(FIXTURES, SOME)
        outcomes: dict[str, list[str]] = {}
        deleted = 0
        for fixture in some:
            with self.subTest(fixture.name):
                self.lay(fixture, chosen)
                before = self.originals()
                code, said = self.start()
                self.assertNotIn("Traceback", said)
                if code is None:
                    outcome, said = self.opened(fixture)
                    self.assertNotIn("Traceback", said)
                else:
                    outcome = "refused"
                    self.refused(code, said)
                    after = self.originals()
                    changed = {name for name, content in before.items() if after.get(name) != content}
                    deleted += sum(
                        os.path.getsize(os.path.join(self.home, name)) for name in changed if os.path.exists(os.path.join(self.home, name))
                    )
                    self.assertEqual((set(), set()), (changed, set(after) - set(before)), f"{said}")
                outcomes.setdefault(outcome, []).append(fixture.name)
                if fixture.expect:
                    self.assertEqual(fixture.expect, outcome, said)
        for outcome, names in outcomes.items():
            print(f"{outcome}: {', '.join(names)}")
        silent = len(outcomes.get("silent", []))
        measured(
            self, "R7", fixtures=len(some), refused=len(outcomes.get("refused", [])), opened_whole=len(outcomes.get("whole", [])),
            opened_as_after_a_crash=len(outcomes.get("earlier", [])), damage_left_to_verify=len(outcomes.get("unsound", [])), silent=silent,
            bytes_deleted=deleted,
        )  # fmt: skip
        self.assertEqual(0, silent, outcomes)

    def refused(self, code: int, said: str) -> None:
        self.assertIn(code, EXIT_CODES, said)
        (sentence,) = [line for line in said.splitlines() if line.startswith("c2-lattice broker: ")]
        (ways,) = [ways for words, ways in WAYS_OUT.items() if words in sentence] or [()]
        self.assertTrue(ways, sentence)
        for way in ways:
            self.assertRegex(sentence, way)
        self.assertIn(self.path, sentence)

    def test_the_way_out_that_is_printed_leads_out(self) -> None:
        chosen = chance(self)
        refused = [fixture for fixture in FIXTURES if fixture.expect == "refused" and "log" in fixture.name or "page" in fixture.name]
        for fixture in chosen.sample(refused, figure(1, 6)):
            with self.subTest(fixture.name):
                self.lay(fixture, chosen)
                before = self.originals()
                code, said = self.start()
                if code is None:
                    self.stop()
                    continue
                line = re.search(r"in its place: (.*) \(or --fresh", said)
                assert line is not None, said
                done = subprocess.run(
                    ["/bin/sh", "-c", f"{line[1]} --no-browser"], env=self.broker.environ, cwd="/", stdin=subprocess.DEVNULL,
                    capture_output=True, text=True, timeout=60, check=False,
                )  # fmt: skip
                self.assertEqual((0, ""), (done.returncode, done.stderr), done.stdout)
                kept = re.search(r"what was there is kept in (.*)", done.stdout)
                assert kept is not None
                were = {
                    name: found
                    for name, found in before.items()
                    if name in ("lattice.db", "lattice.db-wal", "lattice.db-journal", "lattice.db-shm")
                }
                self.assertEqual(were, {name: digest(os.path.join(kept[1], name)) for name in os.listdir(kept[1])})
                person = self.broker.person()
                self.assertTrue(person.get("/events/verify")["ok"])
                remembered = {one["key"]: one["value"] for one in person.get("/memory?everywhere=true")["memory"]}
                self.assertEqual("z" * 900, remembered["k0-5"], "what the copy had")
                stopped = subprocess.run(
                    [sys.executable, os.path.join(TOP, "launch.py"), "--stop"],
                    env=self.broker.environ,
                    capture_output=True,
                    timeout=30,
                    check=False,
                )
                self.assertEqual(0, stopped.returncode)


def digest(path: str) -> str:
    if os.path.islink(path):
        return f"link to {os.readlink(path)}"
    if not os.path.isfile(path):
        return f"kind {os.stat(path).st_mode:o}"
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


if __name__ == "__main__":
    unittest.main()
