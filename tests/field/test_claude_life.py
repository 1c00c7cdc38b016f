"""A real Claude Code session's lives: compacted, resumed, adopted, without a broker, asked for leave, as a plugin, uninstalled."""

from __future__ import annotations

import os
import re
import signal
import time
import unittest
from typing import Any

from tests.field.minds import Shown
from tests.field.scripted_model import Step
from tests.field.test_claude_mail import NOTICE, reader
from tests.field.workplace import Screen, Talk, WorkplaceCase, children, lives, obeying, thaw
from tests.running import until

COMMAND = """python3 -c 'open("made.txt", "w")'"""


class Working(WorkplaceCase):
    """Sessions with a task in hand and a file locked."""

    def setUp(self) -> None:
        super().setUp()
        self.app = self.place.file("app.py", "first = 1\n")
        self.task = int(self.person().post("/tasks", {"title": "Write the parser", "workspace": "here"})["task_id"])

    def orders(self) -> dict[str, Step | list[Step]]:
        return {
            "BEGIN": [Step("claim_task", {"task_id": self.task}), Step("lock_file", {"file_path": self.app}), self.read()],
            "READ": self.read(),
            "FINISH": Step("complete_task", {"task_id": self.task, "artifacts": {"summary": "written"}}),
            "CHANGE": Step("Edit", {"file_path": self.app, "old_string": "first = 1", "new_string": "changed = 1"}),
            "WHO": Step("list_peers"),
        }

    def read(self) -> Step:
        return Step("Read", {"file_path": self.app})

    def task_now(self) -> dict[str, Any]:
        return dict(self.person().get(f"/tasks/{self.task}")["task"])

    def is_told_of_its_work(self, shown: Shown, peer: str) -> None:
        for word in (f"you are {peer}", f"#{self.task}", "Write the parser", "app.py"):
            self.assertIn(word, shown.new)


class Capsules(Working):
    def test_after_a_compaction_and_after_a_clear_the_model_is_shown_who_it_is_and_its_work(self) -> None:
        obey = obeying(self.orders())

        def mind(shown: Shown) -> str | Step | list[Step]:
            is_to_sum_up = "create a detailed summary" in shown.new
            return "<summary>All was discussed.</summary>" if is_to_sum_up else obey(shown)

        screen = self.screen("alice", mind)
        screen.enter("BEGIN now")
        until(lambda: self.task_now()["assigned_to"] == "alice", "the task is alice's")
        screen.until_text("Done:")
        screen.enter("/compact")
        screen.until_text("ompacted")
        began = time.monotonic()
        screen.enter("What now?")
        self.is_told_of_its_work(self.model.until_shown("alice", "What now", after=began), "alice")
        until(lambda: "Done:" in screen.text().rpartition("What now?")[2], "the turn has ended")
        screen.enter("/clear")
        until(lambda: "What now?" not in screen.text(), "the screen is cleared")
        began = time.monotonic()
        screen.enter("And now?")
        self.is_told_of_its_work(self.model.until_shown("alice", "And now", after=began), "alice")

    def test_after_a_resume_the_same_peer_is_shown_its_work(self) -> None:
        """No id was chosen: the session is known by itself."""
        first = self.talk("first", obeying(self.orders()), PEER_ID="")
        first.turn("BEGIN now")
        peer = str(self.task_now()["assigned_to"])
        self.assertRegex(peer, "^worker-")
        first.close()
        second = self.talk("second", obeying(self.orders()), "--resume", first.session_id(), PEER_ID="")
        second.turn("FINISH it")
        self.is_told_of_its_work(self.model.until_shown("second", "FINISH"), peer)
        self.assertEqual((self.task_now()["status"], self.task_now()["assigned_to"]), ("completed", peer))


class Adoptions(Working):
    def test_who_takes_a_frozen_sessions_id_goes_on_and_the_first_revived_is_refused(self) -> None:
        first = self.talk("first", obeying(self.orders()), PEER_ID="carol")
        first.turn("BEGIN now")
        frozen = [first.pid, *children(first.pid)]
        self.addCleanup(thaw, frozen)
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        until(lambda: time.time() - self.person().get("/peer/carol")["last_heartbeat"] > 4.5, "a beat is missed")
        second = self.talk("second", obeying(self.orders()), PEER_ID="carol")
        second.turn("READ it")
        second.turn("CHANGE it")
        second.turn("FINISH it")
        self.assertEqual(self.place.content("app.py"), "changed = 1\n")
        self.assertEqual((self.task_now()["status"], self.task_now()["assigned_to"]), ("completed", "carol"))
        self.place.file("app.py", "first = 1\n")
        thaw(frozen)
        first.turn("FINISH it")
        self.assertIn("completed", self.last_result("first"))
        self.assertNotIn('"ok":true', self.last_result("first").replace(" ", ""))
        first.turn("WHO is it")
        self.assertRegex(self.last_result("first"), r'"your_id": ?"(?!carol")')
        first.turn("READ it")
        first.turn("CHANGE it")
        self.assertIn("carol", self.last_result("first"))
        self.assertEqual(self.place.content("app.py"), "first = 1\n")

    def test_a_session_adopts_a_killed_ones_work_and_the_first_resumed_is_refused(self) -> None:
        first = self.talk("first", obeying(self.orders()), PEER_ID="carol")
        first.turn("BEGIN now")
        servers = children(first.pid)
        first.kill()
        until(lambda: not any(map(lives, servers)), "its server ends with it")
        adopt = Step("Bash", {"command": f"{os.path.join(self.home, '.local', 'bin', 'c2-lattice')} adopt carol"})
        dave = self.talk("dave", obeying({**self.orders(), "ADOPT": adopt}))
        dave.turn("ADOPT the work")
        self.assertIn(str(self.task), self.last_result("dave"))
        self.assertEqual(self.task_now()["assigned_to"], "dave")
        again = self.talk("again", obeying(self.orders()), "--resume", first.session_id(), PEER_ID="carol")
        again.turn("FINISH it")
        self.assertIn("dave", self.last_result("again"))
        again.turn("CHANGE it")
        self.assertIn("dave", self.last_result("again"))
        self.assertEqual(self.place.content("app.py"), "first = 1\n")
        dave.turn("READ it")
        dave.turn("CHANGE it")
        dave.turn("FINISH it")
        self.assertEqual(self.place.content("app.py"), "changed = 1\n")
        self.assertEqual((self.task_now()["status"], self.task_now()["assigned_to"]), ("completed", "dave"))


class WithoutBroker(Working):
    def edits(self, how: str) -> Talk:
        """A session whose flag is up, so that each hook asks; then the broker is gone in this way, and it works on."""
        alice = self.place.broker.enrol("alice", workspace="here", working_dir=self.place.project)
        alice.post("/lock", {"file_path": self.place.file("other.py", "")})
        writes = [Step("Write", {"file_path": self.place.file(f"new{number}.py"), "content": "x = 1\n"}) for number in range(3)]
        run = Step("Bash", {"command": "python3 -c 'print(6 * 7)' > told.txt"})
        bob = self.talk("bob", obeying({"WORK": [*writes, run], "HELLO": Step("Read", {"file_path": self.app})}))
        bob.turn("HELLO")
        getattr(self.place.broker, how)()
        began = time.monotonic()
        bob.turn("WORK on")
        print(f"{self.id()}: a prompt, three edits, a command and a stop: {time.monotonic() - began:.1f} s", flush=True)
        self.assertEqual([self.place.content(f"new{number}.py") for number in range(3)], ["x = 1\n"] * 3)
        self.assertEqual(self.place.content("told.txt"), "42\n")
        return bob

    def test_edits_and_prompts_go_on_when_the_broker_was_killed(self) -> None:
        self.edits("kill")

    def test_edits_and_prompts_go_on_when_the_broker_hangs(self) -> None:
        self.addCleanup(self.place.broker.thaw)
        bob = self.edits("freeze")
        self.assertEqual(bob.process.poll(), None)


class Rewake(WorkplaceCase):
    options = ("--rewake",)

    def test_the_hook_that_waits_does_not_hold_a_one_shot_run_open(self) -> None:
        done = self.place.run(self.place.program, "-p", "Hello?", ANTHROPIC_BASE_URL=self.model.base_url("bob"), PEER_ID="bob")
        self.assertEqual((done.returncode, done.stdout.strip()), (0, "ok"), done.stderr)
        self.assertIn("you are bob", self.model.shown_to("bob")[0].all)


class Permissions(WorkplaceCase):
    """Opted in, the person answers at the page; the client's own prompt stands when nobody does."""

    def ask(self, wait_s: int) -> Screen:
        self.made = self.place.file("made.txt")
        orders = obeying({"RUN": Step("Bash", {"command": COMMAND})})
        screen = self.screen("bob", orders, allowed=("mcp__c2-lattice__*",), C2_LATTICE_PERMISSIONS=str(wait_s))
        screen.enter("RUN it")
        return screen

    def asked(self) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            found = self.person().get("/escalations?state=open&everywhere=1")["escalations"]
            return next((one for one in found if one["kind"] == "permission"), None)

        found: dict[str, Any] = until(look, "the person is asked")
        self.assertIn(COMMAND, found["text"])
        return found

    def test_the_person_allows_it(self) -> None:
        screen = self.ask(60)
        self.person().post(f"/escalations/{self.asked()['id']}/resolve", {"verdict": "approve"})
        until(lambda: os.path.exists(self.made), "the command runs")
        screen.until_text("Done:")

    def test_the_person_says_no_and_why(self) -> None:
        screen = self.ask(60)
        self.person().post(f"/escalations/{self.asked()['id']}/resolve", {"verdict": "changes", "answer": "not on a Friday"})
        shown = self.model.until_shown("bob", "not on a Friday")
        self.assertIn("said no", shown.new)
        self.assertFalse(os.path.exists(self.made))
        screen.until_text("❯")

    def test_nobody_answers_and_the_clients_own_prompt_stands(self) -> None:
        screen = self.ask(2)
        self.asked()
        until(lambda: not self.person().get("/escalations?state=open&everywhere=1")["escalations"], "it is withdrawn")
        screen.until_text("Do you want to proceed?")
        screen.press("Enter")
        until(lambda: os.path.exists(self.made), "the user's own yes counts")


class Plugin(WorkplaceCase):
    """The folder that install.py --plugin writes, in the client: tools, hooks and skill, and nothing else was installed."""

    def before_install(self) -> None:
        self.folder = os.path.join(self.home, "plugin")
        self.options = ("--plugin", self.folder)

    def test_tools_hooks_and_skill_work(self) -> None:
        alice = self.place.broker.enrol("alice", workspace="here", working_dir=self.place.project)
        beating = self.place.broker.beat_all([alice])
        self.addCleanup(beating.close)
        app = self.place.file("app.py", "first = 1\n")
        alice.post("/lock", {"file_path": app})
        write = Step("Write", {"file_path": app, "content": "second = 2\n"})
        orders = obeying({"CHANGE": [Step("Read", {"file_path": app}), write]}, reader)
        bob = self.talk("bob", orders, "--plugin-dir", self.folder, allowed=("mcp__plugin_c2-lattice_c2-lattice__*", "Write", "Read"))
        bob.turn("CHANGE it")
        shown = self.model.shown_to("bob")
        self.assertIn("you are bob", shown[0].all)
        self.assertIn("How to work beside other coding sessions", shown[0].all, "the skill is named to the model")
        self.assertIn("alice", shown[-1].result())
        self.assertEqual(self.place.content("app.py"), "first = 1\n")
        message = alice.post("/send", {"recipient_id": "bob", "category": "finding", "content": "the parser is broken"})["message_id"]
        self.model.until_shown("bob", NOTICE)
        self.model.until_shown("bob", "the parser is broken")
        until(lambda: self.state_of(message, "bob")["state"] == "read", "it is read")
        self.assertEqual(self.model.times_shown("bob", "the parser is broken"), 1)
        self.assertFalse(os.path.exists(self.place.settings), "nothing is in the user's settings")


class Uninstalled(WorkplaceCase):
    """What was in the user's settings, in whatever form, is there again byte for byte, also after sessions have run."""

    SETTINGS = (
        '{ "model" : "opus",\n\t"hooks": {"Stop": [ {"hooks":[{"type":"command","command":"true"}]} ], "PreToolUse":[]},\n'
        '  "permissions": {"allow": ["Bash(ls:*)"]} }'
    )

    def before_install(self) -> None:
        os.makedirs(os.path.dirname(self.place.settings), exist_ok=True)
        with open(self.place.settings, "w", encoding="utf-8", newline="") as file:
            file.write(self.SETTINGS)

    def test_settings_are_as_before_and_a_session_knows_nothing_of_it(self) -> None:
        alice = self.talk("alice", obeying({"WHO": Step("list_peers")}))
        alice.turn("WHO is there")
        self.assertIn("you are alice", self.model.shown_to("alice")[0].all)
        alice.close()
        self.place.install("--uninstall")
        with open(self.place.settings, encoding="utf-8", newline="") as file:
            self.assertEqual(file.read(), self.SETTINGS)
        bob = self.talk("bob", lambda shown: "Hello.")
        bob.turn("Hello?")
        self.assertEqual(re.findall("c2-lattice", self.model.shown_to("bob")[0].all), [])
        self.assertFalse(os.path.exists(os.path.join(self.home, ".local", "bin", "c2-lattice")))
        left = os.path.join(self.place.broker.state, "hooks")
        self.assertEqual(os.listdir(left) if os.path.isdir(left) else [], [], "no trace of a session that has ended")


if __name__ == "__main__":
    unittest.main()
