"""The broker from outside: found, started once, told from strangers, stopped; with the real one."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import threading
import time
import unittest
from typing import Any
from unittest import mock

from lattice import daemon
from lattice import settings as settings_module
from lattice.errors import Unavailable
from lattice.exclusive import Exclusive
from lattice.guard import tokens
from tests.agent.scripted import ScriptedBroker, foreign_program
from tests.running import PYTHON, TOP, Broker, Session, brokers_of, environment, figure, free_port, temporary_home, until


class WithHome(unittest.TestCase):
    def setUp(self) -> None:
        self.home = self.enterContext(temporary_home())

    def settings(self, **environ: str) -> Any:
        return settings_module.read(environment(self.home, **environ))

    def secret(self) -> bytes:
        return tokens.load_secret(os.path.join(self.home, "state"))


class Who(WithHome):
    def test_ours_foreign_and_none_are_told_apart(self) -> None:
        state = os.path.join(self.home, "state")
        with ScriptedBroker(state) as broker:
            self.assertEqual(daemon.probe(broker.port, self.secret()), "ours")
            self.assertEqual(daemon.probe(broker.port, b"z" * 32), "foreign")
        self.assertEqual(daemon.probe(free_port(), self.secret()), "none")
        for answer in (b"", b"hello\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]"):
            with foreign_program(answer) as (port, got):
                self.assertEqual(daemon.probe(port, self.secret()), "foreign")
                self.assertNotIn(self.secret(), bytes(got))

    def test_a_broker_that_dies_while_it_is_asked_is_gone_and_no_stranger(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as dying:

            def die() -> None:
                connection, _ = dying.accept()
                connection.recv(65536)
                dying.close()
                connection.close()

            thread = threading.Thread(target=die)
            thread.start()
            self.assertEqual(daemon.look(dying.getsockname()[1], self.secret()), "none")
            thread.join(5)

    def test_what_takes_a_connection_and_says_nothing_is_silent(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as mute:
            port = mute.getsockname()[1]
            self.assertEqual(daemon.look(port, self.secret(), 0.2), "silent")
            self.assertEqual(daemon.probe(port, self.secret(), 0.2), "foreign")

    def test_who_takes_the_port_just_when_it_is_to_stop_gets_no_ticket(self) -> None:
        with ScriptedBroker(os.path.join(self.home, "state")) as broker:
            heard = broker.answer

            def answer(request: Any) -> Any:
                answered = heard(request)
                broker.secret = b"y" * 32  # from the first connection on it is another
                return answered

            broker.server.answer = answer
            with self.assertRaises(Unavailable) as caught:
                daemon.stop(broker.port, self.secret())
            self.assertEqual(caught.exception.code, "foreign_program")
            self.assertEqual({"/health"}, {path for path, _, _ in broker.heard})

    def test_the_port_is_the_settings_then_a_running_brokers_then_7899(self) -> None:
        self.assertEqual(daemon.find(self.settings(C2_LATTICE_PORT="4711")), 4711)
        self.assertEqual(daemon.find(self.settings()), 7899)
        state = os.path.join(self.home, "state")
        with ScriptedBroker(state) as broker:
            for number, (port, started) in enumerate(((broker.port, 1.0), (free_port(), 2.0))):
                with open(settings_module.broker_file(state, port), "w", encoding="utf-8") as file:
                    json.dump({"port": port, "started_at": started, "database": f"x{number}", "pid": 0}, file)
            self.assertEqual(daemon.find(self.settings()), broker.port, "a card whose broker is gone is passed over")


class Start(WithHome):
    def test_a_foreign_program_on_the_port_is_named_and_nothing_is_started(self) -> None:
        with foreign_program(b'HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{"status":"ok"}') as (port, got):
            with self.assertRaises(Unavailable) as caught:
                daemon.start(self.settings(C2_LATTICE_PORT=str(port)))
            self.assertEqual(caught.exception.code, "foreign_program")
            self.assertIn(str(port), caught.exception.message)
            self.assertNotIn(self.secret(), bytes(got))
        self.assertFalse(os.path.exists(os.path.join(self.home, "state", "broker.log")))

    def test_who_waits_for_another_to_start_it_goes_on_when_it_is_up(self) -> None:
        state = os.path.join(self.home, "state")
        settings = self.settings(C2_LATTICE_PORT=str(free_port()))
        self.secret()  # makes the home
        held = daemon.hold_starts(settings)
        self.addCleanup(held.release)
        found: list[int] = []
        waiting = threading.Thread(target=lambda: found.append(daemon.start(settings)))
        waiting.start()
        with ScriptedBroker(state, port=int(settings.port)):
            waiting.join(10)
            self.assertEqual([settings.port], found, "though the lock is held")

    def test_it_is_started_detached_found_again_and_stopped(self) -> None:
        settings = self.settings(C2_LATTICE_PORT=str(free_port()))
        port = daemon.start(settings)
        self.assertEqual(port, settings.port)
        self.assertEqual(daemon.start(settings), port, "it runs already")
        card = until(lambda: settings_module.running_brokers(settings.home), "its card")[0]
        pid = int(str(card["pid"]))
        self.assertEqual(os.getsid(pid), pid, "a session of its own")
        self.assertEqual(self.settings().port, 0)
        self.assertEqual(daemon.find(self.settings()), port, "found without being told")
        self.assertEqual(os.stat(os.path.join(settings.home, "broker.log")).st_mode & 0o777, 0o600)
        self.assertTrue(daemon.stop(port, self.secret()))
        self.assertFalse(daemon.stop(port, self.secret()))
        until(lambda: not os.path.exists(f"/proc/{pid}"), "it is gone, and no zombie")

    def test_once_it_is_stopped_another_can_have_its_database_at_once(self) -> None:
        for _ in range(figure(3, 20)):
            settings = self.settings(C2_LATTICE_PORT=str(free_port()))
            port = daemon.start(settings)
            self.assertTrue(daemon.stop(port, self.secret()))
            sole = Exclusive(settings.db + ".lock")
            self.assertTrue(sole.acquire())
            sole.release()

    def test_one_that_is_just_ending_is_waited_for_and_one_that_stays_is_named(self) -> None:
        settings = self.settings(C2_LATTICE_PORT=str(free_port()))
        self.secret()
        ending = Exclusive(settings.db + ".lock")  # what is left of it: no port any more, and still the database
        self.assertTrue(ending.acquire())
        with mock.patch.object(daemon, "TAKEN_S", 0.5), self.assertRaises(Unavailable) as caught:
            daemon.start(settings)
        self.assertIn("another broker has", caught.exception.message)
        plain = daemon._last_words

        def last_words(path: str, log_from: int) -> str:
            said = plain(path, log_from)
            ending.release()
            return said

        with mock.patch.object(daemon, "_last_words", last_words):
            self.assertEqual(daemon.start(settings), settings.port)
        self.assertTrue(daemon.stop(settings.port, self.secret()))

    def test_a_session_with_blocked_signals_starts_a_broker_that_hears_them(self) -> None:
        settings = self.settings(C2_LATTICE_PORT=str(free_port()))
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
        try:
            port = daemon.start(settings)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        pid = int(str(until(lambda: settings_module.running_brokers(settings.home), "its card")[0]["pid"]))
        with open(f"/proc/{pid}/status", encoding="utf-8") as file:
            masks = dict(line.split(":", 1) for line in file)
        self.assertEqual(int(masks["SigBlk"], 16), 0, "it inherited none of the mask")
        self.assertTrue(daemon.stop(port, self.secret()))

    def test_many_sessions_at_once_start_one_broker_and_all_enrol(self) -> None:
        port, count = str(free_port()), figure(8, 40, 200)
        sessions = [Session(self.home, C2_LATTICE_PORT=port, PEER_ID=f"s{number}") for number in range(count)]
        for session in sessions:
            self.addCleanup(session.close)
        asked = []
        for session in sessions:
            session.ask("initialize", {"protocolVersion": "2025-11-25", "capabilities": {}})
            asked.append(session.ask("tools/call", {"name": "list_peers", "arguments": {}}))
        ids = set()
        for session, id in zip(sessions, asked, strict=True):
            result = session.answer(id, 60)["result"]
            self.assertFalse(result.get("isError"), result)
            ids.add(result["structuredContent"]["your_id"])
        self.assertEqual(ids, {f"s{number}" for number in range(count)})
        self.assertEqual(len(settings_module.running_brokers(os.path.join(self.home, "state"))), 1)
        peers = sessions[0].call("list_peers")["peers"]
        self.assertEqual(len(peers), count - 1)


class Lives(WithHome):
    """One session through what happens to its broker."""

    def setUp(self) -> None:
        super().setUp()
        self.broker = self.enterContext(Broker(self.home))
        self.session = self.enterContext(Session(self.home, C2_LATTICE_PORT=str(self.broker.port), PEER_ID="alice"))
        self.session.initialize()

    def test_a_killed_broker_is_replaced_within_the_call(self) -> None:
        self.session.call("set_memory", key="k", value="before")
        self.broker.kill()
        self.assertEqual(self.session.call("get_memory", key="k")["value"], "before")
        self.assertEqual(self.session.call("list_peers")["your_id"], "alice")

    def test_calls_while_the_broker_restarts_are_neither_lost_nor_doubled(self) -> None:
        self.session.call("list_peers")
        done = threading.Event()
        killed: list[int] = []
        made: list[int] = []

        def kill() -> None:
            """Each broker of this home once a call went through: the sessions start the next one, and on a slow machine get to use it."""
            went_through = 0
            while not done.wait(0.05):
                for card in brokers_of(self.home):
                    pid = int(str(card["pid"]))
                    if pid not in killed and len(made) > went_through:
                        went_through = len(made)
                        os.kill(pid, signal.SIGKILL)
                        killed.append(pid)

        thread = threading.Thread(target=kill, daemon=True)
        thread.start()
        try:
            while len(killed) < figure(3, 20) and len(made) < 20_000:
                made.append(self.session.call("create_task", title=f"t{len(made)}")["task_id"])
        finally:
            done.set()
            thread.join(20)
        self.assertGreaterEqual(len(killed), figure(3, 20))
        made.append(self.session.call("create_task", title=f"t{len(made)}")["task_id"])
        self.assertEqual(len(set(made)), len(made))
        with contextlib.closing(sqlite3.connect(self.broker.database)) as database:
            titles = [title for (title,) in database.execute("SELECT title FROM tasks")]
        self.assertEqual(sorted(titles), sorted(f"t{number}" for number in range(len(made))))

    def test_a_stopped_broker_is_not_started_by_a_session_that_only_beats(self) -> None:
        self.session.call("list_peers")
        self.broker.stop()
        self.session.request("tools/list")
        time.sleep(0.5)  # several beats' worth of trying: it begins with 0.1 s between two
        self.assertEqual(daemon.probe(self.broker.port, self.secret()), "none")

    def test_a_frozen_broker_is_waited_for_and_is_not_called_foreign(self) -> None:
        self.session.call("list_peers")
        self.broker.freeze()
        id = self.session.ask("tools/call", {"name": "list_peers", "arguments": {}})
        timer = threading.Timer(1.0, self.broker.thaw)
        timer.start()
        self.assertFalse(self.session.answer(id)["result"].get("isError"))
        timer.join()

    def test_mail_taken_by_a_process_that_is_killed_comes_back_marked(self) -> None:
        self.session.call("list_peers")
        self.broker.person().post("/send", {"recipient_id": "alice", "category": "finding", "content": "keep me"})
        first = until(lambda: self.session.call("check_messages")["messages"], "the mail")
        self.session.kill()
        with Session(self.home, C2_LATTICE_PORT=str(self.broker.port), PEER_ID="alice") as again:
            again.initialize()
            second = until(lambda: again.call("check_messages")["messages"], "it comes back")
        self.assertEqual(second[0]["id"], first[0]["id"])
        self.assertTrue(second[0]["redelivered"])

    def test_mail_that_was_proven_does_not_come_back(self) -> None:
        self.session.call("list_peers")
        message = self.broker.person().post("/send", {"recipient_id": "alice", "category": "finding", "content": "once"})
        until(lambda: self.session.call("check_messages")["messages"], "the mail")
        self.assertNotIn("waiting", self.session.call("list_peers"), "taken mail waits no more")
        time.sleep(0.25)  # what the proof needs between the flush and the next call
        self.session.call("list_peers")
        receipts = f"/receipts/{message['message_id']}"
        until(lambda: '"read"' in json.dumps(self.broker.person().get(receipts)), "the broker knows that it was read")
        self.session.kill()
        with Session(self.home, C2_LATTICE_PORT=str(self.broker.port), PEER_ID="alice") as again:
            again.initialize()
            self.assertEqual(again.call("check_messages")["messages"], [])


class Script(unittest.TestCase):
    def test_the_script_runs_isolated_from_any_folder(self) -> None:
        done = subprocess.run(
            [*PYTHON, os.path.join(TOP, "mcp_server.py")],
            input=b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n',
            capture_output=True,
            cwd="/",
            timeout=20,
            check=False,
        )
        self.assertEqual((done.returncode, json.loads(done.stdout)["result"], done.stderr), (0, {}, b""))


if __name__ == "__main__":
    unittest.main()
