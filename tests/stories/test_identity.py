"""One id, one living process; and the one broker is found wherever it is."""

from __future__ import annotations

import contextlib
import glob
import os
import signal
import sqlite3
import subprocess
import sys
import unittest

from tests.running import PYTHON, TOP, Broker, Session, brokers_of, free_port, temporary_home, until

# A coding client in one line: it starts the MCP server on its own pipes and is its parent process.
CLIENT = "import subprocess, sys; sys.exit(subprocess.call(sys.argv[1:]))"


class OneIdOneLivingProcess(unittest.TestCase):
    def setUp(self) -> None:
        self.broker = self.enterContext(Broker())
        self.home, self.port = self.broker.home, str(self.broker.port)

    def session(self, *, command: tuple[str, ...] = (), cwd: str = "", **environ: str) -> Session:
        session = self.enterContext(Session(self.home, command=command, cwd=cwd, C2_LATTICE_PORT=self.port, **environ))
        session.initialize()
        return session

    def test_ctrl_c_and_start_again_keeps_the_peer_its_mail_its_task_and_its_lock(self) -> None:
        person = self.broker.person()
        first = self.session(PEER_ID="alice")
        task = first.call("create_task", title="long work")["task_id"]
        first.call("claim_task", task_id=task)
        first.call("lock_file", file_path="a.py")
        person.post("/send", {"recipient_id": "alice", "category": "finding", "content": "do not lose me"})
        first.process.send_signal(signal.SIGINT)
        first.process.wait(10)
        second = self.session(PEER_ID="alice")
        self.assertEqual(second.call("list_peers")["your_id"], "alice")
        self.assertEqual([letter["content"] for letter in person.get("/messages-for/alice")["messages"]], ["do not lose me"])
        self.assertIn("do not lose me", second.call("check_messages")["messages"][0]["content"])
        self.assertEqual(second.call("get_task", task_id=task)["task"]["assigned_to"], "alice")
        self.assertEqual([lock["peer_id"] for lock in second.call("list_locks")["locks"]], ["alice"])
        second.call("complete_task", task_id=task, artifacts={"summary": "ended by the second process"})

    def test_a_killed_server_that_its_client_starts_again_is_the_same_unnamed_peer(self) -> None:
        first = self.session()
        was = first.call("list_peers")["your_id"]
        first.kill()
        second = self.session()
        now = until(lambda: second.call("list_peers")["your_id"], "an id")
        self.assertEqual(now, was)

    def test_a_second_living_process_with_the_same_name_becomes_another_peer_and_is_told(self) -> None:
        first = self.session(PEER_ID="alice")
        self.assertEqual(first.call("list_peers")["your_id"], "alice")
        second = self.session(PEER_ID="alice")
        result = second.result("list_peers")
        self.assertEqual(result["structuredContent"]["your_id"], "alice-2")
        self.assertIn("alice", result["content"][0]["text"])
        self.assertEqual(first.call("list_peers")["your_id"], "alice")
        self.broker.person().post("/send", {"recipient_id": "alice", "category": "finding", "content": "for the first"})
        self.assertEqual(second.call("check_messages")["messages"], [])
        self.assertEqual(len(first.call("check_messages")["messages"]), 1)

    def test_a_server_that_is_asked_for_nothing_leaves_no_peer(self) -> None:
        with Session(self.home, C2_LATTICE_PORT=self.port, PEER_ID="ghost") as session:
            session.initialize()
        with Session(self.home, C2_LATTICE_PORT=self.port, PEER_ID="ghost") as session:
            session.initialize()
            session.request("tools/list")
        self.assertEqual(self.broker.person().get("/dashboard/data")["peers"], [])

    def test_two_repositories_have_an_architect_each_and_one_repository_has_one(self) -> None:
        folders = []
        for name in ("one", "two"):
            folder = os.path.join(self.home, name)
            os.makedirs(os.path.join(folder, ".git"))
            with open(os.path.join(folder, ".git", "config"), "w", encoding="utf-8") as file:
                file.write(f'[remote "origin"]\n\turl = https://user@git.example/{name}.git\n')
            with open(os.path.join(folder, ".git", "HEAD"), "w", encoding="utf-8") as file:
                file.write("ref: refs/heads/main\n")
            folders.append(folder)
        one = self.session(cwd=folders[0], PEER_ID="arch-one", PEER_ROLE="architect")
        two = self.session(cwd=folders[1], PEER_ID="arch-two", PEER_ROLE="architect")
        late = self.session(cwd=folders[0], PEER_ID="arch-late", PEER_ROLE="architect")
        self.assertEqual(one.call("list_peers")["your_role"], "architect")
        self.assertEqual(two.call("list_peers")["your_role"], "architect")
        result = late.result("list_peers")
        self.assertEqual(result["structuredContent"]["your_role"], "worker")
        self.assertIn("arch-one", result["content"][0]["text"], "it says who holds the seat")
        self.assertEqual([peer["id"] for peer in two.call("list_peers")["peers"]], [], "another repository is another workspace")

    @unittest.skipIf(os.name == "nt", "pseudo terminals are POSIX")
    def test_a_person_who_starts_it_in_a_terminal_is_told_what_it_is(self) -> None:
        ours, theirs = os.openpty()
        try:
            server = subprocess.Popen(
                [*PYTHON, os.path.join(TOP, "mcp_server.py")], stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                env=self.broker.environ, cwd=self.home,
            )  # fmt: skip
            os.write(ours, b"\x04")  # Ctrl-D
            out, said = server.communicate(timeout=20)
        finally:
            os.close(ours)
            os.close(theirs)
        self.assertEqual((0, b""), (server.returncode, out))
        self.assertIn(b"install.py registers it there", said)

    def test_sigterm_and_a_vanished_client_end_the_server(self) -> None:
        session = self.session(PEER_ID="t")
        session.call("list_peers")
        session.process.send_signal(signal.SIGTERM)
        session.process.wait(5)
        client = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", CLIENT, *PYTHON, os.path.join(TOP, "mcp_server.py")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**self.broker.environ, "PEER_ID": "orphan"}, cwd=self.home,
        )  # fmt: skip
        assert client.stdin is not None and client.stdout is not None
        with client.stdin, client.stdout:
            client.stdin.write(b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "list_peers", "arguments": {}}}\n')
            client.stdin.flush()
            self.assertIn(b"orphan", client.stdout.readline())
            with open(f"/proc/{client.pid}/task/{client.pid}/children", encoding="utf-8") as file:
                server = int(file.read().split()[0])
            client.kill()
            client.wait()
            # its pipes are still open at our end, as a terminal's would be: it must notice by its parent
            until(lambda: not os.path.exists(f"/proc/{server}") or _zombie(server), "the server goes when its client is gone", 20)


class TheBrokerIsFound(unittest.TestCase):
    def test_a_broker_on_another_port_and_database_is_found(self) -> None:
        home = self.enterContext(temporary_home())
        port = str(free_port())
        elsewhere = os.path.join(home, "elsewhere.db")
        with Broker(home, C2_LATTICE_PORT=port, C2_LATTICE_DB=elsewhere) as broker, Session(home, PEER_ID="alice") as session:
            session.initialize()
            session.call("list_peers")
            self.assertEqual([peer["id"] for peer in broker.person().get("/dashboard/data")["peers"]], ["alice"])
            self.assertEqual([card["port"] for card in brokers_of(home)], [int(port)])
        self.assertFalse(os.path.exists(os.path.join(home, "lattice.db")), "no second broker was started")

    def test_a_session_lives_through_a_restart_of_the_broker(self) -> None:
        with Broker() as broker, Session(broker.home, C2_LATTICE_PORT=str(broker.port), PEER_ID="alice") as session:
            session.initialize()
            task = session.call("create_task", title="t")["task_id"]
            session.call("claim_task", task_id=task)
            broker.kill()
            broker.start()
            self.assertEqual(session.call("get_task", task_id=task)["task"]["assigned_to"], "alice")
            session.call("complete_task", task_id=task, artifacts={"summary": "after the restart"})

    def test_a_session_starts_the_broker_again_when_it_is_gone(self) -> None:
        home = self.enterContext(temporary_home())
        with Session(home, C2_LATTICE_PORT=str(free_port()), PEER_ID="alice") as session:
            session.initialize()
            session.call("set_memory", key="k", value="v")
            card = brokers_of(home)[0]
            os.kill(int(card["pid"]), signal.SIGKILL)
            until(lambda: not brokers_of(home), "it is gone")
            self.assertEqual(session.call("get_memory", key="k")["value"], "v")
            self.assertEqual(len(brokers_of(home)), 1)

    def test_a_database_one_migration_older_is_migrated_and_keeps_what_it_holds(self) -> None:
        home = self.enterContext(temporary_home())
        path = os.path.join(home, "lattice.db")
        scripts = sorted(glob.glob(os.path.join(TOP, "lattice", "store", "migrations", "*.sql")))
        with Broker(home) as broker:
            now = _version(path)
            broker.stop()
        self.assertEqual(now, len(scripts))
        os.remove(path)
        with contextlib.closing(sqlite3.connect(path)) as older:
            older.execute(f"PRAGMA application_id = {_APPLICATION_ID.get('id', 0)}")
            for number, script in enumerate(scripts[:-1], 1):
                with open(script, encoding="utf-8") as file:
                    older.executescript(file.read())
                older.execute(f"PRAGMA user_version = {number}")
            older.commit()
        with Broker(home) as broker:
            self.assertEqual(_version(path), len(scripts))
            broker.enrol("alice").post("/memory", {"key": "k", "value": "v"})

    def test_a_newer_database_is_refused_untouched(self) -> None:
        with Broker() as broker:
            broker.stop()
            with contextlib.closing(sqlite3.connect(broker.database)) as newer:
                newer.execute("PRAGMA user_version = 9999")
                newer.commit()
            with self.assertRaises(AssertionError) as refused:
                broker.start()
            self.assertIn("newer", str(refused.exception))
            self.assertNotIn("Traceback", str(refused.exception))
            self.assertEqual(_version(broker.database), 9999)


_APPLICATION_ID: dict[str, int] = {}


def _version(path: str) -> int:
    with contextlib.closing(sqlite3.connect(path)) as database:
        _APPLICATION_ID["id"] = database.execute("PRAGMA application_id").fetchone()[0]
        return int(database.execute("PRAGMA user_version").fetchone()[0])


def _zombie(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


if __name__ == "__main__":
    unittest.main()
