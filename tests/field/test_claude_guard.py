"""Files that another session holds, in real Claude Code sessions with the installed hooks: refused before they change.

Alice and bob are two real sessions on one broker; what is asserted is what bob's model was shown and what is on disk.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import unittest
from typing import Any

from tests.field.minds import Mind, Shown
from tests.field.scripted_model import Step
from tests.field.test_claude_mail import reader
from tests.field.workplace import Talk, WorkplaceCase, children, obeying, thaw
from tests.running import Peer, until

FIRST = "first = 1\n"


class Guarded(WorkplaceCase):
    def setUp(self) -> None:
        super().setUp()
        self.app = self.place.file("app.py", FIRST)
        git = ["git", "-c", "user.name=nobody", "-c", "user.email=nobody@example.invalid"]
        for words in (["init", "-q"], ["add", "app.py"], ["commit", "-q", "-m", "first"]):
            subprocess.run([*git, *words], cwd=self.place.project, env=self.place.environ, check=True, timeout=20, capture_output=True)

    def alice(self) -> Talk:
        talk = self.talk("alice", obeying({
            "LOCK": Step("lock_file", {"file_path": self.app}), "RELEASE": Step("unlock_file", {"file_path": self.app}),
            "READ": Step("Read", {"file_path": self.app}), "CHANGE": self.edit("first = 1", "late = 1"),
        }))  # fmt: skip
        talk.turn("LOCK it")
        self.assertEqual([one["peer_id"] for one in self.locks()], ["alice"])
        return talk

    def edit(self, old: str, new: str) -> Step:
        return Step("Edit", {"file_path": self.app, "old_string": old, "new_string": new})

    def locks(self) -> list[dict[str, Any]]:
        return list(self.person().get("/locks?everywhere=1")["locks"])


class Edits(Guarded):
    def test_an_edit_of_a_held_file_is_refused_and_goes_through_once_its_holder_let_go(self) -> None:
        """The refused session queues, is told that the file is free, and edits."""
        alice = self.alice()
        again: list[str] = []

        def told(shown: Shown) -> str | Step:
            if "app.py" in shown.new and "[peer-message" in shown.new and not again:
                again.append(shown.new)
                return Step("lock_file", {"file_path": self.app})
            if again and len(again) < 3 and shown.results:
                again.append(shown.result())
                return [Step("Read", {"file_path": self.app}), self.edit("first = 1", "second = 2")][len(again) - 2]
            return reader(shown)

        bob = self.talk("bob", obeying({
            "READ": Step("Read", {"file_path": self.app}), "CHANGE": self.edit("first = 1", "second = 2"),
            "QUEUE": Step("lock_file", {"file_path": self.app, "queue": True}),
        }, told))  # fmt: skip
        bob.turn("READ it")
        bob.turn("CHANGE it")
        refused = self.last_result("bob")
        for word in ("c2-lattice", "app.py", "alice", "queue"):
            self.assertIn(word, refused)
        self.assertEqual(self.place.content("app.py"), FIRST)
        bob.turn("QUEUE for it")
        alice.turn("RELEASE it")
        until(lambda: "second = 2" in self.place.content("app.py"), "bob is told, and edits")
        self.assertEqual([one["peer_id"] for one in self.locks()], ["bob"])

    def test_an_edit_of_a_free_file_is_not_asked_about(self) -> None:
        self.alice()
        free = self.place.file("free.py")
        bob = self.talk("bob", obeying({"WRITE": Step("Write", {"file_path": free, "content": "x = 1\n"})}))
        bob.turn("WRITE it")
        self.assertEqual(self.place.content("free.py"), "x = 1\n")


class Commands(Guarded):
    def test_a_shell_command_that_would_change_a_held_file_is_refused(self) -> None:
        self.alice()
        with open(self.app, "a", encoding="utf-8") as file:  # alice's work, which `git checkout --` would throw away
            file.write("work = 1\n")
        before = self.place.content("app.py")
        commands = {
            "SED": "sed -i s/first/zeroth/ app.py", "REDIRECT": "echo broken > app.py", "CHECKOUT": "git checkout -- app.py",
            "CHAIN": "cd .. && (cd project; echo x >> ./app.py)", "REMOVE": "rm -f app.py",
        }  # fmt: skip
        bob = self.talk("bob", obeying({word: Step("Bash", {"command": command}) for word, command in commands.items()}))
        for word in commands:
            bob.turn(f"{word} it")
            with self.subTest(commands[word]):
                refused = self.last_result("bob")
                self.assertIn("alice", refused)
                self.assertIn("app.py", refused)
                self.assertEqual(self.place.content("app.py"), before)

    def test_a_harmless_command_runs_and_one_that_cannot_be_read_is_reported_after(self) -> None:
        self.alice()
        script = self.place.file("fix.py", "open('app.py', 'w').write('fixed = 1\\n')\n")
        self.talk("bob", obeying({
            "LOOK": Step("Bash", {"command": "grep -n first app.py && git status --short"}),
            "FIX": Step("Bash", {"command": f"python3 {script}"}),
        }, reader)).turn("LOOK at it")  # fmt: skip
        self.assertIn("first = 1", self.last_result("bob"))
        self.model.minds["alice"] = reader
        bob = self.sessions["bob"]
        bob.turn("FIX it")
        self.assertEqual(self.place.content("app.py"), "fixed = 1\n")
        self.model.until_shown("bob", r"changed files that alice holds")
        self.model.until_shown("alice", r"bob changed what you hold")


class Lapsed(Guarded):
    def test_a_frozen_sessions_own_late_edit_is_refused(self) -> None:
        """Its lock lapses while it is stopped in the middle of its turn; meanwhile another had the file."""
        self.alice()
        alice = self.sessions["alice"]
        with open(self.record("alice"), encoding="utf-8") as file:
            token = json.load(file)["token"]
        as_alice = self.place.broker.adopt(Peer(self.place.broker.port, "alice", token))
        as_alice.post("/lock", {"file_path": self.app, "ttl_s": 5})
        alice.turn("READ it")
        stopped = [alice.pid, *children(alice.pid)]
        late: Mind = self.model.minds["alice"]

        def freezing(shown: Shown) -> Any:
            if "CHANGE" in shown.new and not shown.results:
                for pid in stopped:
                    os.kill(pid, signal.SIGSTOP)
            return late(shown)

        self.addCleanup(thaw, stopped)
        self.model.minds["alice"] = freezing
        ended = alice.ends()
        alice.say("CHANGE it")
        self.model.until_shown("alice", "CHANGE")
        bob = self.place.broker.enrol("bob", workspace="here", working_dir=self.place.project)
        until(lambda: bob.call("POST", "/lock", {"file_path": self.app})[0] == 200, "the lock lapses, and bob has it", 20, 0.2)
        with open(self.app, "w", encoding="utf-8") as file:
            file.write("first = 1\nbob = 1\n")
        bob.post("/unlock", {"file_path": self.app})
        thaw(stopped)
        until(lambda: alice.ends() > ended, "alice's turn ends")
        refused = self.last_result("alice")
        self.assertIn("bob had it since", refused)
        self.assertIn("lock_file", refused)
        self.assertEqual(self.place.content("app.py"), "first = 1\nbob = 1\n")


if __name__ == "__main__":
    unittest.main()
