"""Another database in the place of one: whole or not at all, killed at any step, and nothing of the old one lost."""

from __future__ import annotations

import os
import tempfile
import unittest
from collections.abc import Callable
from unittest import mock

from lattice.store import swap
from lattice.store.database import Database
from lattice.store.migrate import CannotOpen

OLD = {"": b"the old one", "-wal": b"its log", "-shm": b"its index"}
STEPS = ("rename", "replace", "unlink", "mkdir")


class Killed(BaseException):
    """As SIGKILL: nothing after it is done."""


class Swapping(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = self.enterContext(tempfile.TemporaryDirectory())
        self.path = os.path.join(self.folder, "notes.db")
        self.room = swap.room(self.path, os.path.join(self.folder, "backups", "notes-1"))

    def lay(self) -> None:
        for end, content in OLD.items():
            with open(self.path + end, "wb") as file:
                file.write(content)

    def new(self, content: bytes = b"the new one") -> str:
        path = os.path.join(self.room, "new.partial")
        with open(path, "wb") as file:
            file.write(content)
        return path

    def read(self, path: str) -> bytes:
        with open(path, "rb") as file:
            return file.read()

    def at_place(self) -> dict[str, bytes]:
        return {end: self.read(self.path + end) for end in ("", "-wal", "-shm") if os.path.exists(self.path + end)}

    def kept(self, folder: str) -> dict[str, bytes]:
        return {name.removeprefix("notes.db"): self.read(os.path.join(folder, name)) for name in os.listdir(folder)}

    def killed_at(self, step: int, call: Callable[[], object]) -> bool:
        """Run the call and be killed before its `step`th change of a name; whether it came so far."""
        left = [step]

        def counted(real: Callable[..., object]) -> Callable[..., object]:
            def change(*arguments: object, **named: object) -> object:
                if left[0] == 0:
                    raise Killed
                left[0] -= 1
                return real(*arguments, **named)

            return change

        with mock.patch.multiple(os, **{name: counted(getattr(os, name)) for name in STEPS}):
            try:
                call()
            except Killed:
                return True
        return False

    def test_the_old_one_is_kept_whole_and_the_new_one_is_there(self) -> None:
        self.lay()
        folder = swap.replace(self.path, self.new(), self.room, "20260101-090000")
        self.assertEqual({"": b"the new one"}, self.at_place())
        self.assertEqual((os.path.join(self.room, "20260101-090000"), OLD), (folder, self.kept(folder)))
        self.assertFalse(swap.waits(self.path))

    def test_for_an_empty_one_the_place_is_free(self) -> None:
        self.lay()
        folder = swap.replace(self.path, "", self.room, "now")
        self.assertEqual(({}, OLD), (self.at_place(), self.kept(folder)))

    def test_where_there_is_none_nothing_is_kept(self) -> None:
        self.assertEqual("", swap.replace(self.path, self.new(), self.room, "now"))
        self.assertEqual({"": b"the new one"}, self.at_place())

    def test_two_of_one_second_have_two_folders(self) -> None:
        folders = set()
        for _ in range(3):
            self.lay()
            folders.add(swap.replace(self.path, self.new(), self.room, "now"))
        self.assertEqual(3, len(folders))
        self.assertTrue(all(self.kept(folder) == OLD for folder in folders))

    def test_killed_at_any_step_it_is_the_old_one_or_is_not_opened_or_the_new_one_and_doing_it_again_ends_it(self) -> None:
        seen = set()
        for first, again in ((b"the new one", b"the new one"), (b"the new one", b""), (b"", b"the new one")):
            for step in range(20):
                with self.subTest(first=first, again=again, step=step):
                    self.setUp()
                    self.lay()
                    was_killed = self.killed_at(
                        step, lambda first=first: swap.replace(self.path, self.new(first) if first else "", self.room, "now")
                    )
                    state = self.state(first)
                    seen.add(state)
                    if not was_killed:
                        break
                    folder = swap.replace(self.path, self.new(again) if again else "", self.room, "later")
                    self.assertEqual({"": again} if again else {}, self.at_place())
                    kept = [self.kept(os.path.join(self.room, name)) for name in os.listdir(self.room) if not name.endswith(".partial")]
                    self.assertIn(OLD, kept, "whole, in one folder")
                    if state != "new":
                        self.assertEqual(OLD, self.kept(folder), "and that is the one which is named")
            self.assertFalse(was_killed)
            self.assertGreater(step, 5)
        self.assertEqual({"old", "waits", "new"}, seen)

    def state(self, new: bytes) -> str:
        """What the broker would find: the old one whole, the new one, or that it must not look."""
        if swap.waits(self.path):
            with self.assertRaises(CannotOpen) as caught:
                Database(self.path)
            self.assertEqual(("unfinished_restore", 65), (caught.exception.code, caught.exception.exit_status))
            self.assertIn(f"launch.py --restore --db {self.path}", str(caught.exception))
            return "waits"
        there = self.at_place()
        self.assertIn(there, (OLD, {"": new} if new else {}))
        return "old" if there == OLD else "new"

    def test_backups_on_another_file_system_are_not_used(self) -> None:
        real = os.stat

        def elsewhere(path: object, **named: object) -> os.stat_result:
            found = list(real(path, **named))  # type: ignore[arg-type]
            if str(path).endswith("notes-1"):
                found[2] += 1
            return os.stat_result(found)

        with mock.patch.object(os, "stat", elsewhere):
            self.assertEqual(self.path + ".aside", swap.room(self.path, self.room))


if __name__ == "__main__":
    unittest.main()
