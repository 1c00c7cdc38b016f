"""The hook that wakes an idle session: once for each mail, one at a time, and not where it would be in the way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import unittest

from lattice.clients import claude_hooks
from tests.hooks.hooking import COMMON, Hooked, stored
from tests.running import until


class Waking(Hooked):
    def start(self, **environ: str) -> subprocess.Popen[str]:
        [hook] = stored("Stop", word="Wake")
        process = subprocess.Popen(
            [hook["command"], *hook["args"]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            cwd=self.project, env={**self.environ, **environ},
        )  # fmt: skip
        self.addCleanup(self.end, process)
        assert process.stdin is not None
        process.stdin.write(json.dumps({**COMMON, "cwd": self.project, "hook_event_name": "Stop"}))
        process.stdin.close()
        process.stdin = None
        return process

    def end(self, process: subprocess.Popen[str]) -> None:
        process.kill()
        process.communicate()

    def waits(self, process: subprocess.Popen[str]) -> None:
        """It is the one hook of this session that waits. Read, never locked: who tries the lock keeps the hook from it."""
        path = os.path.join(self.broker.state, "hooks", f"{self.client}.wake")

        def holder() -> str:
            try:
                with open(path, encoding="utf-8") as file:
                    return file.read().strip()
            except FileNotFoundError:
                return ""

        until(lambda: holder() == str(process.pid), "it waits")

    def test_it_is_opt_in_and_runs_beside_the_session(self) -> None:
        self.assertNotIn("Wake", json.dumps(claude_hooks.entries()))
        found = [hook for event in ("SessionStart", "Stop") for hook in stored(event, word="Wake")]
        self.assertEqual([hook["asyncRewake"] for hook in found], [True, True])

    @unittest.skipIf(os.name == "nt", "looks at a lock as POSIX has it")
    def test_mail_ends_it_with_two_and_a_notice_without_the_text_once(self) -> None:
        self.session()
        alice = self.other()
        waiting = self.start()
        self.waits(waiting)
        until(lambda: "rewake" in self.broker.person().get(f"/peer/{self.peer}")["ways"], "the page says that it is woken so")
        second = self.start()
        self.assertEqual((second.wait(20), waiting.poll()), (0, None))  # one waits already
        alice.post("/send", {"recipient_id": self.peer, "category": "question", "content": "the secret plan"})
        out, err = waiting.communicate(timeout=20)
        self.assertEqual((waiting.returncode, out), (2, ""))
        self.assertIn(f"1 unread message from {alice.id}", err)
        self.assertIn("check_messages", err)
        self.assertNotIn("secret plan", err)
        again = self.start()  # the session left its mail where it is: it is not woken for that again
        self.waits(again)
        alice.post("/send", {"recipient_id": self.peer, "category": "error", "content": "more"})
        _, err = again.communicate(timeout=20)
        self.assertEqual(again.returncode, 2)
        self.assertIn("2 unread messages", err)
        self.assertIn("urgent", err)

    def test_where_nobody_attends_or_the_client_has_an_inbox_it_ends_at_once(self) -> None:
        for environ in (
            {"CLAUDE_CODE_ENTRYPOINT": "sdk-cli"}, {"CLAUDE_CODE_SESSION_ATTENDED": "0"}, {"CLAUDE_CODE_MESSAGING_SOCKET": "/tmp/1.sock"},
            {"C2_LATTICE_WAKE": "off"},
        ):  # fmt: skip
            self.assertEqual(self.start(**environ).wait(20), 0, environ)

    def test_it_ends_with_its_client(self) -> None:
        client = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
        waiting = self.start(CLAUDE_PID=str(client.pid))
        client.communicate()
        self.assertEqual(waiting.wait(20), 0)


if __name__ == "__main__":
    unittest.main()
