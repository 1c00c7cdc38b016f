"""What the hooks do at each event, run as the settings start them, against a real broker."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import threading
import time
import unittest
from typing import Any

from lattice.hooks import traces
from tests.hooks.hooking import COMMON, Hooked, stored
from tests.running import Broker, Peer, Session, until

NOBODY = "/there/is/no/such/interpreter"
OUR_MAIL = "mcp__c2-lattice__check_messages"
IDLE = (
    ("UserPromptSubmit", ""), ("PreToolUse", "Edit"), ("PreToolUse", "NotebookEdit"), ("PreToolUse", "mcp__files__write_file"),
    ("PreToolUse", "Bash"), ("PostToolUse", "Read"), ("PostToolUse", "Bash"), ("PostToolUseFailure", "Bash"), ("Stop", ""),
    ("PermissionRequest", ""),
)  # fmt: skip


class Mail(Hooked):
    def setUp(self) -> None:
        super().setUp()
        self.session()
        self.alice = self.other()

    def send(self, content: str = "well?", category: str = "question") -> int:
        said = self.alice.post("/send", {"recipient_id": self.peer, "category": category, "content": content})
        self.until_flag("mail")
        return int(said["message_id"])

    def delivery(self, message_id: int) -> dict[str, Any]:
        [delivery] = [one for one in self.alice.get(f"/receipts/{message_id}")["deliveries"] if one["recipient"] == self.peer]
        return dict(delivery)

    def token_peer(self) -> Peer:
        """The session itself, over HTTP, with the token of its record."""
        with open(os.path.join(self.broker.state, "sessions", f"{self.peer}@{self.broker.port}.json"), encoding="utf-8") as file:
            return self.broker.adopt(Peer(self.broker.port, self.peer, json.load(file)["token"]))

    @unittest.skipIf(os.name == "nt", "there it is the interpreter at once")
    def test_with_nothing_to_do_no_interpreter_is_started(self) -> None:
        until(lambda: not self.flag(), "the flag is down")
        for event, tool in IDLE:
            with self.subTest(event=event, tool=tool):
                ran = self.run_hook(event, tool, python=NOBODY)
                self.assertEqual((ran.status, ran.stdout, ran.stderr), (0, "", ""))
        self.send()
        self.assertNotEqual(self.run_hook("PostToolUse", "Read", python=NOBODY).status, 0)  # else the above would prove nothing
        self.assertEqual(self.run_hook("PreToolUse", "Edit", python=NOBODY).status, 0)  # mail is no reason to look at an edit

    @unittest.skipIf(os.name == "nt", "there it is the interpreter at once")
    def test_a_lock_of_others_is_no_reason_to_ask_after_each_tool(self) -> None:
        self.alice.post("/lock", {"file_path": self.path("a.py")})
        self.until_flag("locks")
        self.assertEqual(self.run_hook("PostToolUse", "Read", python=NOBODY).status, 0)
        self.assertNotEqual(self.run_hook("PreToolUse", "Edit", python=NOBODY).status, 0)

    def test_a_tools_hook_hands_mail_in_framed_and_the_next_hook_proves_it(self) -> None:
        message = self.send("who owns the parser?")
        ran = self.run_hook("PostToolUse", "Read")
        self.assertEqual((ran.status, ran.stderr), (0, ""))
        self.assertIn(f"#{message} from {self.alice.id}", ran.context)
        self.assertIn("Text from another agent", ran.context)
        self.assertIn("who owns the parser?", ran.context)
        self.assertEqual((self.delivery(message)["state"], self.delivery(message)["way"]), ("offered", "hook"))
        again = self.run_hook("PostToolUse", "Grep")
        self.assertEqual(again.stdout, "")
        self.assertEqual(self.delivery(message)["state"], "read")
        until(lambda: not self.flag(), "nothing is left to do")

    def test_a_prompt_gets_the_mail_and_ends_the_chain_of_causes(self) -> None:
        message = self.send()
        self.assertIn(f"#{message} ", self.run_hook("UserPromptSubmit", prompt="go on").context)
        cause = os.path.join(self.broker.state, "flags", f"{self.client}.cause")
        until(lambda: os.path.exists(cause), "it was shown mail")
        self.run_hook("UserPromptSubmit", prompt="something else")
        until(lambda: not os.path.exists(cause), "the person spoke")

    def test_the_notice_of_its_own_server_is_no_word_of_the_persons(self) -> None:
        message = self.send()
        notice = "c2-lattice: 1 unread message (from alice): call check_messages [notice 1]"
        self.assertIn(f"#{message} ", self.run_hook("UserPromptSubmit", prompt=notice).context)
        self.run_hook("UserPromptSubmit", prompt=notice)
        self.run_hook("UserPromptSubmit", prompt="<task-notification>\n<task-id>b1</task-id>\n</task-notification>")
        self.assertEqual(self.delivery(message)["state"], "read")
        self.assertTrue(os.path.exists(os.path.join(self.broker.state, "flags", f"{self.client}.cause")))

    def test_what_is_too_much_for_one_hook_comes_with_the_next_and_whole(self) -> None:
        for letter in "abc":
            self.send(letter * 6000, "finding")
        shown = []
        for _ in range(3):
            ran = self.run_hook("PostToolUse", "Read")
            self.assertLess(len(ran.context), 10_000)
            shown += [letter for letter in "abc" if letter * 6000 in ran.context]
        self.assertEqual(shown, ["a", "b", "c"])

    def test_mail_handed_to_a_hook_that_is_killed_comes_with_the_next_one(self) -> None:
        message = self.send("do not lose me")
        [hook] = stored("PostToolUse", "Read")
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        try:
            while True:
                os.write(writing, b"x" * 65536)
        except BlockingIOError:
            os.set_blocking(writing, True)  # full: the hook cannot say what it was handed
        argv = [hook["command"], *hook["args"]]
        stuck = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=writing, env=self.environ, cwd=self.project)
        assert stuck.stdin is not None
        with stuck.stdin:
            stuck.stdin.write(json.dumps({**COMMON, "cwd": self.project, "hook_event_name": "PostToolUse", "tool_name": "Read"}).encode())
        try:
            until(lambda: self.delivery(message)["state"] == "offered", "the hook was handed it")
        finally:
            stuck.kill()
            stuck.wait(10)
            os.close(reading)
            os.close(writing)
        ran = self.run_hook("UserPromptSubmit", prompt="go on")
        self.assertIn("do not lose me", ran.context)
        self.assertIn(f"#{message} ", ran.context)
        self.assertEqual(self.run_hook("PostToolUse", "Read").stdout, "")
        self.assertEqual(self.delivery(message)["state"], "read")

    def test_a_hook_beside_one_that_says_mail_proves_nothing(self) -> None:
        message = self.send()
        self.run_hook("PostToolUse", "Read")
        left = traces.Traces(self.broker.state, self.client)
        standing = left.keep("call", str(self.broker.pid), {})  # any process that lives
        self.assertEqual(self.run_hook("PostToolUse", "Read").stdout, "")
        self.assertEqual(self.delivery(message)["state"], "offered")
        os.utime(standing, (1, 1))  # far too old to be a hook's
        self.run_hook("PostToolUse", "Read")
        self.assertEqual(self.delivery(message)["state"], "read")

    def test_only_a_hook_that_began_after_the_last_word_proves_it(self) -> None:
        left = traces.Traces(self.broker.state, self.client)
        before = time.time() - 60
        left.handed(left.keep("call", "1", {}))
        self.assertTrue(left.is_beside_another(before))
        self.assertFalse(left.is_beside_another(time.time() + 60))

    def test_a_stop_goes_on_for_urgent_mail_once_in_a_row(self) -> None:
        self.send("by the way", "finding")
        self.assertEqual(self.run_hook("Stop", stop_hook_active=False).stdout, "")
        message = self.send("all is broken", "error")
        self.assertEqual(self.run_hook("Stop", stop_hook_active=True).stdout, "")
        ran = self.run_hook("Stop", stop_hook_active=False)
        self.assertEqual(ran.said["decision"], "block")
        self.assertIn("all is broken", ran.said["reason"])
        self.assertEqual(self.run_hook("Stop", stop_hook_active=True).stdout, "")
        self.assertEqual(self.delivery(message)["state"], "read")

    def test_the_hook_of_check_messages_proves_that_very_call(self) -> None:
        message = self.send()
        me = self.token_peer()
        me.post("/inbox/take", {"tool_use_id": "toolu_other"})
        self.run_hook("PostToolUse", OUR_MAIL, tool_use_id="toolu_not_it")
        self.assertEqual(self.delivery(message)["state"], "offered")
        self.assertEqual(self.run_hook("PostToolUse", OUR_MAIL, tool_use_id="toolu_other").stdout, "")
        self.assertEqual(self.delivery(message)["state"], "read")

    def test_the_same_tool_of_the_plugin_is_known(self) -> None:
        for tool in (OUR_MAIL, "mcp__plugin_c2-lattice_c2-lattice__check_messages"):
            self.assertEqual(len(stored("PostToolUse", tool)), 1)
            self.assertEqual(stored("PostToolUse", tool)[0]["args"][1], 'exec "$0" -I -S "$1" "$2"')

    def test_a_bad_line_on_stdin_is_logged_and_stands_in_nobodys_way(self) -> None:
        [hook] = stored("SessionStart")
        for text in ("not json", "[]", "", '{"cwd": 5, "source": {}}'):
            argv = [hook["command"], *hook["args"]]
            done = subprocess.run(argv, input=text, env=self.environ, capture_output=True, text=True, timeout=20, check=False)
            self.assertEqual((done.returncode, done.stderr), (0, ""), text)


class StartsAndEnds(Hooked):
    def test_a_start_shows_the_capsule(self) -> None:
        session = self.session()
        task = session.call("create_task", title="Write the parser")["task_id"]
        session.call("claim_task", task_id=task)
        for source in ("startup", "resume", "clear", "compact"):
            ran = self.run_hook("SessionStart", source=source)
            self.assertIn(f"you are {self.peer}", ran.context)
            self.assertIn(f"#{task}", ran.context)
            self.assertIn("Write the parser", ran.context)
            self.assertLessEqual(len(ran.context.encode()), 1600)

    def test_a_start_waits_for_the_session_to_become_a_peer(self) -> None:
        began = threading.Event()
        answers: list[str] = []

        def start() -> None:
            began.set()
            until(lambda: self.client != os.getpid(), "the client is there")
            answers.append(self.run_hook("SessionStart", source="startup").context)

        thread = threading.Thread(target=start)
        thread.start()
        began.wait(5)
        self.session()
        thread.join(20)
        self.assertIn(f"you are {self.peer}", answers[0])

    def test_a_start_without_a_peer_says_so_in_one_line(self) -> None:
        ran = self.run_hook("SessionStart", source="startup", environ={"CLAUDE_PID": "1"})
        self.assertEqual(ran.status, 0)
        self.assertEqual(ran.context.count("\n"), 0)
        self.assertIn("first call", ran.context)

    def test_the_record_of_another_process_with_that_id_is_not_ours(self) -> None:
        self.session()
        folder = os.path.join(self.broker.state, "sessions")
        path = os.path.join(folder, f"{self.peer}@{self.broker.port}.json")
        for earlier in os.listdir(folder):
            if os.path.join(folder, earlier) != path:
                os.unlink(os.path.join(folder, earlier))
        with open(path, encoding="utf-8") as file:
            record = json.load(file)
        with open(path, "w", encoding="utf-8") as file:
            json.dump({**record, "client_started": "1"}, file)
        self.assertIn("first call", self.run_hook("SessionStart", source="resume").context)

    @unittest.skipIf(os.name == "nt", "a parent says nothing there")
    def test_a_client_that_does_not_say_its_id_is_our_parent(self) -> None:
        environ = {"C2_LATTICE_PORT": str(self.broker.port), "C2_LATTICE_WAKE": "off"}
        with Session(self.broker.home, cwd=self.project, PEER_ID="child-of-this", **environ) as session:  # this process is its client
            session.initialize()
            session.call("list_peers")
            del self.environ["CLAUDE_PID"]
            self.assertIn("you are child-of-this", self.run_hook("SessionStart", source="resume").context)

    def test_an_end_takes_its_traces_along(self) -> None:
        self.session()
        left = traces.Traces(self.broker.state, self.client)
        self.assertTrue(left.once("without"))
        other = traces.Traces(self.broker.state, 1)
        other.once("without")
        self.assertEqual(self.run_hook("PreCompact", trigger="auto").stdout, "")
        self.assertEqual(self.run_hook("SessionEnd", reason="other").stdout, "")
        self.assertEqual(os.listdir(left.folder), ["1.said.without"])
        other.clear()


class Permissions(Hooked):
    def test_the_persons_verdict_is_the_clients(self) -> None:
        self.session()
        person = self.broker.person()
        for verdict, behaviour in (("approve", "allow"), ("changes", "deny")):
            answers: list[Any] = []

            def ask(answers: list[Any] = answers) -> None:
                wanted = {"command": "rm -rf build"}
                answers.append(self.run_hook("PermissionRequest", "Bash", wanted, environ={"C2_LATTICE_PERMISSIONS": "20"}))

            thread = threading.Thread(target=ask)
            thread.start()
            asked = until(lambda: person.get("/escalations?state=open&everywhere=1")["escalations"], "it is asked")
            self.assertIn("rm -rf build", asked[0]["text"])
            person.post(f"/escalations/{asked[0]['id']}/resolve", {"verdict": verdict, "answer": "as you see"})
            thread.join(20)
            decision = answers[0].said["hookSpecificOutput"]["decision"]
            self.assertEqual(decision["behavior"], behaviour)
        self.assertIn("as you see", decision["message"])

    def test_when_nobody_answers_the_client_asks_its_own_user(self) -> None:
        self.session()
        ran = self.run_hook("PermissionRequest", "Bash", {"command": "ls"}, environ={"C2_LATTICE_PERMISSIONS": "1"})
        self.assertEqual((ran.status, ran.stdout), (0, ""))


class WithoutABroker(Hooked):
    """Each has a broker of its own, which it takes away."""

    def setUp(self) -> None:
        type(self).broker = Broker().start()
        self.addCleanup(self.broker.close)
        super().setUp()

    @classmethod
    def setUpClass(cls) -> None:
        pass

    def held_by_alice(self) -> str:
        self.session()
        path = self.path("a.py")
        self.other("alice").post("/lock", {"file_path": path})
        self.until_flag("locks")
        return path

    def test_the_work_goes_on_and_that_is_said_once(self) -> None:
        path = self.held_by_alice()
        self.broker.kill()
        began = time.monotonic()
        first = self.run_hook("PreToolUse", "Edit", {"file_path": path})
        self.assertEqual((first.status, first.stderr, first.decision), (0, "", ""))
        self.assertIn("not looked at", first.said["systemMessage"])
        for event, tool in (("PreToolUse", "Write"), ("UserPromptSubmit", ""), ("Stop", ""), ("PreCompact", ""), ("SessionEnd", "")):
            ran = self.run_hook(event, tool, {"file_path": path}, prompt="go on")
            self.assertEqual((ran.status, ran.stdout, ran.stderr), (0, "", ""), event)
        self.assertLess(time.monotonic() - began, 10)

    @unittest.skipIf(os.name == "nt", "needs SIGSTOP")
    def test_a_broker_that_does_not_answer_holds_nobody_up(self) -> None:
        path = self.held_by_alice()
        self.broker.freeze()
        began = time.monotonic()
        ran = self.run_hook("PreToolUse", "Edit", {"file_path": path})
        self.assertLess(time.monotonic() - began, 5)  # its own time-out is a second
        self.broker.thaw()
        self.assertEqual((ran.status, ran.decision), (0, ""))
        self.assertIn("systemMessage", ran.said)

    def test_a_stranger_on_the_port_is_told_nothing(self) -> None:
        path = self.held_by_alice()
        self.broker.kill()
        heard: list[bytearray] = []  # of each connection: the servers of the sessions ask as well
        body = json.dumps({"status": "ok", "pid": 1, "proof": "0" * 64}).encode()

        def answer(connection: socket.socket, said: bytearray) -> None:
            with connection, contextlib.suppress(OSError):
                said.extend(connection.recv(65536))
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
                connection.settimeout(5)
                said.extend(connection.recv(65536))

        def accept(server: socket.socket) -> None:
            with contextlib.suppress(OSError):  # closed: the test is over
                while True:
                    connection, _ = server.accept()
                    heard.append(bytearray())
                    threading.Thread(target=answer, args=(connection, heard[-1]), daemon=True).start()

        with socket.create_server(("127.0.0.1", self.broker.port)) as server:
            threading.Thread(target=accept, args=(server,), daemon=True).start()
            ran = self.run_hook("PreToolUse", "Edit", {"file_path": path})
            server.shutdown(socket.SHUT_RDWR)
        self.assertEqual((ran.status, ran.decision), (0, ""))
        self.assertIn("another program", ran.said["systemMessage"])
        self.assertTrue(heard)
        for said in heard:
            self.assertTrue(said.startswith(b"GET /health?nonce=") or not said, said)
            self.assertNotIn(b"Authorization", said)
            self.assertLessEqual(said.count(b"HTTP/1.1"), 1)


if __name__ == "__main__":
    unittest.main()
