"""The c2-lattice command as a process: whose it is, what it sends, and how it ends."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
import threading
import unittest

from lattice.agent import process
from lattice.cli.main import OWN
from lattice.errors import Conflict, NotFound
from lattice.web.server import Server
from tests.cli.house import TOP, House
from tests.cli.stand_in import StandIn

COMMAND = os.path.join("lattice", "cli", "command.py")
SECRET = "s" * 40
MAIL = {"messages": [{"id": 5, "from": "bob", "category": "finding", "content": "look\x1b[2J", "sent": "now", "receipt": "R1"}], "more": 0}


class WithBroker(House):
    def setUp(self) -> None:
        super().setUp()
        self.broker = StandIn(SECRET.encode())
        self.addCleanup(self.broker.stop)
        self.environ |= {"C2_LATTICE_SECRET": SECRET, "C2_LATTICE_PORT": str(self.broker.port)}

    def c2(self, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return self.run_script(COMMAND, *words, **environ)

    def calls(self, path: str) -> list[tuple[str, dict[str, object]]]:
        return [(subject, body) for _, where, subject, body in self.broker.calls if where == path]

    def record(self, peer: str, **more: object) -> None:
        """What an MCP server that runs beside this very process would have written."""
        folder = os.path.join(self.home, "sessions")
        os.makedirs(folder, mode=0o700, exist_ok=True)
        os.chmod(self.home, 0o700)
        said = {
            "peer": peer, "role": "worker", "port": self.broker.port, "client_pid": os.getpid(),
            "client_started": process.started(os.getpid()),
            "session": "", "pid": os.getpid(), "started": process.started(os.getpid()), "saved": 1.0,
            "token": self.broker.mint(peer, "peer"), **more,
        }  # fmt: skip
        with open(os.path.join(folder, f"{peer}@{self.broker.port}.json"), "w", encoding="utf-8") as file:
            json.dump(said, file)


class AsWhom(WithBroker):
    def test_outside_a_session_it_is_the_person(self) -> None:
        done = self.c2("send", "alice", "hello")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(self.calls("/sign-in")[0][0], "command-center/system")
        self.assertEqual([(subject, body["content"]) for subject, body in self.calls("/send")], [("command-center", "hello")])

    def test_the_person_signs_in_once_and_again_when_the_token_is_dead(self) -> None:
        self.c2("peers")
        self.c2("peers")
        self.assertEqual(len(self.calls("/sign-in")), 1)
        path = os.path.join(self.home, "sessions", f"command-center@{self.broker.port}.json")
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode) if os.name != "nt" else 0o600, 0o600)
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"peer": "command-center", "token": "c2t1.dead.dead"}, file)
        self.assertEqual(self.c2("peers").returncode, 0)
        self.assertEqual(len(self.calls("/sign-in")), 2)

    def test_under_a_coding_client_it_is_the_peer_of_its_server(self) -> None:
        self.record("alice")
        self.assertEqual(self.c2("tasks").returncode, 0)
        self.assertEqual([subject for subject, _ in self.calls("/tasks")], ["alice"])
        self.assertEqual(self.calls("/sign-in") + self.calls("/register"), [])

    def test_a_nested_session_is_itself_though_the_name_is_inherited(self) -> None:
        self.record("alice-2")
        self.c2("tasks", PEER_ID="alice")
        self.assertEqual([subject for subject, _ in self.calls("/tasks")], ["alice-2"])

    def test_the_session_id_of_the_client_finds_its_peer(self) -> None:
        self.record("bob", client_pid=1, client_started="x", session="sess-1")
        self.c2("tasks", CLAUDE_CODE_SESSION_ID="sess-1", CLAUDECODE="1")
        self.assertEqual([subject for subject, _ in self.calls("/tasks")], ["bob"])

    def test_two_sessions_under_one_client_are_told_apart_or_refused(self) -> None:
        self.record("a", session="s1")
        self.record("b", session="s2")
        done = self.c2("tasks")
        self.assertEqual((done.returncode, self.calls("/tasks")), (4, []))
        self.assertIn("a, b", done.stderr)
        self.c2("tasks", CLAUDE_CODE_SESSION_ID="s2")
        self.assertEqual([subject for subject, _ in self.calls("/tasks")], ["b"])

    def test_an_agents_shell_without_a_peer_is_not_taken_for_the_person(self) -> None:
        done = self.c2("tasks", CLAUDECODE="1")
        self.assertEqual((done.returncode, self.broker.calls), (4, []))
        self.assertIn("PEER_ID", done.stderr)

    def test_a_named_session_without_a_server_enrols_once_and_stays_the_same_process(self) -> None:
        for _ in range(2):
            self.assertEqual(self.c2("tasks", PEER_ID="carl", PEER_ROLE="architect").returncode, 0)
        self.assertEqual([(subject, body["id"]) for subject, body in self.calls("/register")], [("carl/architect", "carl")])
        self.assertEqual([subject for subject, _ in self.calls("/tasks")], ["carl", "carl"])
        self.broker.answers["/tasks"] = lambda request: self._first_time_unknown()
        self.assertEqual(self.c2("tasks", PEER_ID="carl", PEER_ROLE="architect").returncode, 0)
        first, second = (body for _, body in self.calls("/register"))
        self.assertEqual((first["process"], second["resume"]), (second["process"], "r" * 32))

    def _first_time_unknown(self) -> dict[str, object]:
        self.broker.answers.pop("/tasks")
        raise NotFound("not registered", code="not_registered")

    def test_a_session_whose_token_is_dead_says_so_and_takes_nobodys_place(self) -> None:
        self.record("alice", token="c2t1.old.old")
        done = self.c2("tasks")
        self.assertEqual(done.returncode, 4)
        self.assertEqual(self.calls("/register") + self.calls("/sign-in"), [])


class Ending(WithBroker):
    def test_a_refusal_is_one_sentence_and_status_one(self) -> None:
        self.broker.answers["/tasks/claim"] = Conflict("task 7 is held by bob\x1b[2J", hint="ask bob")
        done = self.c2("claim", "7")
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stderr, "c2-lattice: task 7 is held by bob\\x1b[2J (ask bob)\n")

    def test_a_wrong_line_is_two_and_nothing_is_sent(self) -> None:
        for words in (("claim",), ("frobnicate",), ("tasks", "--port"), ("tasks", "--port", "x")):
            self.assertEqual(self.c2(*words).returncode, 2, words)
        self.assertEqual(self.broker.headers, [])

    def test_no_broker_is_three_and_nothing_is_made(self) -> None:
        before = self.files()
        free = Server(0, lambda request: None)  # type: ignore[arg-type,return-value]
        port = free.port
        free.stop()
        done = self.c2("peers", C2_LATTICE_PORT=str(port))
        self.assertEqual((done.returncode, done.stderr.count("\n")), (3, 1))
        self.assertIn("c2-lattice start", done.stderr)
        self.assertEqual(self.files(), before)

    def test_another_program_on_the_port_is_three_and_gets_no_ticket(self) -> None:
        self.broker.is_foreign = True
        done = self.c2("peers")
        self.assertEqual(done.returncode, 3)
        self.assertIn("not our broker", done.stderr)
        self.assertFalse([one for one in self.broker.headers if "authorization" in one])

    def test_another_secret_is_three_and_a_bad_one_is_four(self) -> None:
        self.assertEqual(self.c2("peers", C2_LATTICE_SECRET="t" * 40).returncode, 3)
        done = self.c2("peers", C2_LATTICE_SECRET="short")
        self.assertEqual((done.returncode, done.stderr.count("\n")), (4, 1))

    def test_a_session_is_opened_where_the_person_stands(self) -> None:
        self.c2("spawn", "w1")
        self.c2("spawn", "w1", "--working-dir", "sub")
        folders = [os.path.normpath(str(body["working_dir"])) for _, body in self.calls("/spawn")]
        self.assertEqual(folders, [self.folder, os.path.join(self.folder, "sub")])
        self.record("alice")
        self.c2("spawn", "w1")
        self.assertNotIn("working_dir", self.calls("/spawn")[-1][1])

    def test_with_json_a_refusal_is_json_too(self) -> None:
        self.broker.answers["/send"] = NotFound("no such peer", hint="peers")
        done = self.c2("send", "x", "y", "--json")
        self.assertEqual((done.returncode, done.stderr), (1, "c2-lattice: no such peer (peers)\n"))
        self.assertEqual(json.loads(done.stdout), {"error": "no such peer", "code": "not_found", "retryable": False, "hint": "peers"})

    def test_json_is_the_brokers_answer_and_nothing_else(self) -> None:
        self.broker.answers["/peers"] = {"peers": [{"id": "é\x1b"}]}
        self.assertEqual(json.loads(self.c2("peers", "--json").stdout), {"peers": [{"id": "é\x1b"}]})

    def test_text_goes_through_a_pipe_and_no_sequence_reaches_the_terminal(self) -> None:
        self.broker.answers["/peers"] = {"peers": [{"id": "a\x1b]0;x\x07", "role": "worker"}]}
        self.assertNotIn("\x1b", self.c2("peers").stdout)

    def test_a_write_of_unknown_outcome_is_made_again_with_the_same_key(self) -> None:
        def late(request: object) -> dict[str, object]:
            self.broker.answers.pop("/memory")
            raise SystemExit  # the connection ends without an answer

        self.broker.answers["/memory"] = late
        hook, threading.excepthook = threading.excepthook, lambda problem: None
        self.addCleanup(setattr, threading, "excepthook", hook)
        self.c2("remember", "k", "v")
        keys = [body["idempotency_key"] for _, body in self.calls("/memory")]
        self.assertEqual((len(keys), len(set(keys))), (2, 1))

    def test_what_a_short_verb_loads_is_light(self) -> None:
        code = (
            f"import sys; sys.path.insert(0, {TOP!r}); sys.argv = ['c2-lattice', 'peers']\n"
            "from lattice.cli.main import main\nmain()\nprint('|'.join(sys.modules))"
        )
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", code], env=self.environ, capture_output=True, text=True, timeout=60, check=False
        )
        loaded = set(done.stdout.splitlines()[-1].split("|"))
        self.assertIn("lattice.web.client", loaded)
        self.assertFalse(
            loaded
            & {
                "argparse",
                "typing",
                "dataclasses",
                "logging",
                "pathlib",
                "subprocess",
                "socket",
                "http",
                "sqlite3",
                "inspect",
                "urllib",
                "shutil",
            }
        )


class Mail(WithBroker):
    def setUp(self) -> None:
        super().setUp()
        self.broker.answers["/inbox/take"] = MAIL

    def test_a_sessions_mail_is_acknowledged_once_it_is_written_out(self) -> None:
        self.record("alice")
        done = self.c2("inbox")
        self.assertIn("│ look\\x1b[2J", done.stdout)
        self.assertEqual([body["way"] for _, body in self.calls("/inbox/take")], ["tool"])
        self.assertEqual([body["receipts"] for _, body in self.calls("/inbox/ack")], [["R1"]])

    def test_the_persons_mail_through_a_pipe_is_given_back(self) -> None:
        done = self.c2("inbox")
        self.assertIn("look", done.stdout)
        self.assertEqual(self.calls("/inbox/ack"), [])
        self.assertEqual([body["receipts"] for _, body in self.calls("/inbox/return")], [["R1"]])

    @unittest.skipIf(os.name == "nt", "pseudo terminals are POSIX")
    def test_the_persons_mail_on_a_terminal_is_read(self) -> None:
        ours, theirs = os.openpty()
        try:
            argv = [sys.executable, "-I", "-S", os.path.join(TOP, COMMAND), "inbox"]
            subprocess.run(argv, env=self.environ, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, timeout=60, check=False)
            self.assertIn(b"look", os.read(ours, 65536))
        finally:
            os.close(ours)
            os.close(theirs)
        self.assertEqual([body["receipts"] for _, body in self.calls("/inbox/ack")], [["R1"]])

    @unittest.skipIf(os.name == "nt", "pipes of POSIX")
    def test_mail_whose_reader_has_gone_is_given_back(self) -> None:
        self.record("alice")
        ours, theirs = os.pipe()
        os.close(ours)
        argv = [sys.executable, "-I", "-S", os.path.join(TOP, COMMAND), "inbox"]
        done = subprocess.run(
            argv, env=self.environ, stdin=subprocess.DEVNULL, stdout=theirs, stderr=subprocess.PIPE, timeout=60, check=False
        )
        os.close(theirs)
        self.assertEqual((done.returncode, done.stderr), (1, b""))
        self.assertEqual(self.calls("/inbox/ack"), [])
        self.assertEqual([body["receipts"] for _, body in self.calls("/inbox/return")], [["R1"]])


class Help(House):
    def test_help_names_every_verb_and_needs_no_broker(self) -> None:
        for words in ((), ("help",), ("--help",)):
            done = self.run_script(COMMAND, *words)
            self.assertEqual(done.returncode, 0)
            self.assertTrue(re.search(r"^  list-tasks ", done.stdout, re.M))
        self.assertIn("usage: c2-lattice claim TASK_ID", self.run_script(COMMAND, "claim", "--help").stdout)
        self.assertEqual(self.files(), {})

    def test_every_word_of_the_commands_own_tells_what_it_does_and_a_wrong_line_leads_there(self) -> None:
        for word, what in OWN.items():
            for words in ((word, "--help"), (word, "-h"), ("help", word)):
                done = self.run_script(COMMAND, *words)
                self.assertEqual((done.returncode, done.stderr), (0, ""), words)
                self.assertIn(f"usage: c2-lattice {word} ", done.stdout)
                self.assertIn(what, done.stdout)
        done = self.run_script(COMMAND, "wait", "--timeout", "soon")
        self.assertEqual((done.returncode, done.stderr), (2, "c2-lattice: --timeout needs a number; c2-lattice help wait\n"))
        for words in (("page", "--status"), ("start", "--stop"), ("status", "--json"), ("stop", "now"), ("stop", "--port")):
            done = self.run_script(COMMAND, *words)
            self.assertEqual((done.returncode, done.stderr.count("\n")), (2, 1), done.stderr)
            self.assertIn(f"; c2-lattice help {words[0]}\n", done.stderr)
        self.assertEqual(self.files(), {})


if __name__ == "__main__":
    unittest.main()
