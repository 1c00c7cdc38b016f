"""A database read as it lies there leaves no trace, and what its -wal file would lose is said."""

from __future__ import annotations

import os
import shutil
import sqlite3
import struct
import tempfile
import unittest
from contextlib import closing

from lattice.store import wal
from lattice.store.still import forget_views, still

PAGE, FRAME = 4096, 4096 + 24
COMMITS = 40


class Lying(unittest.TestCase):
    """A database whose writer was killed: `COMMITS` rows, each a commit of its own, most of them in the -wal file."""

    def setUp(self) -> None:
        folder = self.enterContext(tempfile.TemporaryDirectory())
        living, self.folder = os.path.join(folder, "living"), os.path.join(folder, "killed")
        os.mkdir(living)
        os.mkdir(self.folder)
        path = os.path.join(living, "notes.db")
        self.path = os.path.join(self.folder, "notes.db")
        with closing(sqlite3.connect(path, isolation_level=None)) as writer:
            writer.execute("PRAGMA journal_mode=WAL")
            writer.execute("CREATE TABLE notes (id INTEGER PRIMARY KEY, text)")
            writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            for number in range(COMMITS):
                writer.execute("INSERT INTO notes (text) VALUES (?)", (str(number) * 900,))
            for end in ("", "-wal", "-shm"):
                shutil.copy(path + end, self.path + end)
        self.log = self.path + "-wal"

    def files(self) -> dict[str, bytes]:
        found = {}
        for name in os.listdir(self.folder):
            with open(os.path.join(self.folder, name), "rb") as file:
                found[name] = file.read()
        return found

    def rows(self) -> int:
        before = self.files()
        try:
            with still(self.path) as connection:
                return int(connection.execute("SELECT COUNT(*) FROM notes").fetchone()[0])
        finally:
            self.assertEqual(before, self.files())

    def change(self, at: int, data: bytes) -> None:
        with open(self.log, "rb+") as file:
            file.seek(at)
            file.write(data)

    def flip(self, at: int) -> None:
        with open(self.log, "rb") as file:
            file.seek(at)
            (old,) = file.read(1)
        self.change(at, bytes([old ^ 1]))

    def frames(self) -> int:
        return (os.path.getsize(self.log) - 32) // FRAME


class Reading(Lying):
    def test_what_is_in_the_wal_file_is_read_and_no_file_is_changed_or_made(self) -> None:
        self.assertEqual(COMMITS, self.rows())
        os.unlink(self.path + "-shm")
        self.assertEqual(COMMITS, self.rows())
        with open(self.path + "-shm", "wb") as file:
            file.write(os.urandom(32768))
        self.assertEqual(COMMITS, self.rows())

    def test_without_a_wal_file_the_database_alone_is_read(self) -> None:
        for end in ("-wal", "-shm"):
            os.unlink(self.path + end)
        self.assertEqual(0, self.rows())

    def test_it_cannot_be_written(self) -> None:
        with still(self.path) as connection, self.assertRaises(sqlite3.OperationalError):
            connection.execute("DELETE FROM notes")

    def test_a_text_that_is_no_utf_8_is_spelled_out(self) -> None:
        with closing(sqlite3.connect(self.path)) as writer, writer:
            writer.execute("UPDATE notes SET text = CAST(x'61ff62' AS TEXT) WHERE id = 1")
        with still(self.path) as connection:
            self.assertEqual(("a\\xffb",), connection.execute("SELECT text FROM notes WHERE id = 1").fetchone())

    def test_what_a_killed_reading_left_is_removed_and_nothing_else(self) -> None:
        view = os.path.join(self.folder, "notes.db.look-abc")
        os.mkdir(view)
        os.link(self.path, os.path.join(view, "database"))
        os.mkdir(os.path.join(self.folder, "notes.db.mine"))
        forget_views(self.path)
        self.assertEqual({"notes.db", "notes.db-wal", "notes.db-shm", "notes.db.mine"}, set(os.listdir(self.folder)))


class WhatAWalFileWouldLose(Lying):
    def lost(self) -> None:
        with self.assertRaisesRegex(sqlite3.DatabaseError, "would be lost"):
            self.rows()

    def test_a_damaged_beginning(self) -> None:
        for at in range(32):
            with self.subTest(at):
                self.flip(at)
                self.lost()
                self.flip(at)
        self.change(0, b"\0" * 32)
        self.lost()

    def test_a_flipped_bit_in_any_frame_but_those_of_the_last_two_commits(self) -> None:
        ends = [frame for frame in range(self.frames()) if self.ends_a_commit(frame)]
        self.assertEqual(COMMITS, len(ends))
        for frame in range(self.frames()):
            for inside in (0, 5, 9, 17, 1000):  # page number, size at a commit, salt, checksum, page
                with self.subTest(frame=frame, inside=inside):
                    at = 32 + frame * FRAME + inside
                    self.flip(at)
                    if frame <= ends[-3]:
                        self.lost()
                    elif frame > ends[-2] and inside != 5:  # a crash looks like that, and SQLite's own judgement counts
                        self.assertEqual(COMMITS - 1, self.rows())
                    self.flip(at)
        self.assertEqual(COMMITS, self.rows())

    def ends_a_commit(self, frame: int) -> bool:
        with open(self.log, "rb") as file:
            file.seek(32 + frame * FRAME + 4)
            return file.read(4) != b"\0" * 4

    def test_zeros_in_the_middle(self) -> None:
        self.change(32 + 3 * FRAME, b"\0" * FRAME)
        self.lost()

    def test_a_file_of_noise(self) -> None:
        self.change(0, os.urandom(os.path.getsize(self.log)))
        self.lost()


class WhatACrashLeaves(Lying):
    def test_a_file_cut_off_anywhere_is_an_earlier_moment(self) -> None:
        size = os.path.getsize(self.log)
        seen = []
        for cut in [*range(0, 40), *range(40, size, 997), size]:
            with open(self.log, "rb+") as file:
                whole = file.read()
                file.truncate(cut)
            seen.append(self.rows())
            with open(self.log, "wb") as file:
                file.write(whole)
        self.assertEqual(sorted(seen), seen)
        self.assertEqual((0, COMMITS), (seen[0], seen[-1]))

    def test_zeros_where_the_file_grew_before_the_power_went(self) -> None:
        with open(self.log, "ab") as file:
            file.write(b"\0" * 10_000)
        self.assertEqual(COMMITS, self.rows())
        self.change(0, b"\0" * os.path.getsize(self.log))
        self.assertEqual(0, self.rows())

    def test_frames_of_a_commit_that_never_ended(self) -> None:
        with open(self.log, "rb") as file:
            salts = file.read(32)[16:24]
        with open(self.log, "ab") as file:
            for number in range(3):
                file.write(struct.pack(">II", number + 2, 0) + salts + os.urandom(8) + os.urandom(PAGE))
        self.assertEqual(COMMITS, self.rows())

    def test_frames_of_an_earlier_life_of_the_file(self) -> None:
        with closing(sqlite3.connect(self.path, isolation_level=None)) as writer:
            writer.execute("PRAGMA wal_autocheckpoint=0")
            writer.execute("PRAGMA wal_checkpoint(RESTART)")
            writer.execute("INSERT INTO notes (text) VALUES ('after')")
            copied = os.path.join(os.path.dirname(self.folder), "again")
            shutil.copytree(self.folder, copied)
        self.folder, self.path, self.log = copied, os.path.join(copied, "notes.db"), os.path.join(copied, "notes.db-wal")
        self.assertGreater(self.frames(), 10)
        self.assertEqual(COMMITS + 1, self.rows())

    def test_the_checksum_is_sqlites(self) -> None:
        self.assertEqual("", wal.damaged_header(self.log))
        self.assertEqual("", wal.passed_over(self.log, self.frames()))
        self.assertIn("frame 1", wal.passed_over(self.log, 0), "all of it was committed, so with none of it taken something is lost")


if __name__ == "__main__":
    unittest.main()
