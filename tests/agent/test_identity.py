"""Which peer a process is: the order of what decides, and what is remembered."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import tempfile
import unittest
from typing import Any

from lattice import settings as settings_module
from lattice.agent import identity as module
from lattice.agent import process
from lattice.agent.identity import Identity
from lattice.errors import BadRequest

PORT = 7001


class WhoAmI(unittest.TestCase):
    def setUp(self) -> None:
        self.home = self.enterContext(tempfile.TemporaryDirectory())

    def identity(self, client_pid: int = 0, **environ: str) -> Identity:
        environ = {"C2_LATTICE_HOME": self.home, **environ}
        return Identity(settings_module.read(environ), environ, client_pid or os.getppid())

    def ticket(self, **card: Any) -> str:
        path = os.path.join(self.home, "ticket.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(card, file)
        os.chmod(path, 0o600)
        return path

    def record(self, **changed: Any) -> str:
        """A record as an ended process of this client left it."""
        card = {
            "peer": "worker-abc123",
            "role": "worker",
            "resume": "old-secret",
            "port": PORT,
            "named": False,
            "client_pid": os.getppid(),
            "client_started": process.started(os.getppid()),
            "session": "s-1",
            "pid": 2**22,
            "started": "1",
            "saved": 5.0,
            **changed,
        }
        os.makedirs(os.path.join(self.home, "sessions"), exist_ok=True)
        path = os.path.join(self.home, "sessions", f"{card['peer']}@{PORT}.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(card, file)
        return path

    def test_without_anything_it_is_a_new_unnamed_worker(self) -> None:
        wanted = self.identity().wanted(PORT)
        self.assertRegex(wanted.peer, r"\Aworker-[0-9a-f]{6}\Z")
        self.assertEqual((wanted.role, wanted.resume, wanted.ticket, wanted.named), ("worker", "", "", False))
        self.assertRegex(self.identity(PEER_ROLE="architect").wanted(PORT).peer, r"\Aarchitect-")

    def test_peer_id_names_it(self) -> None:
        wanted = self.identity(PEER_ID="alice", PEER_ROLE="architect").wanted(PORT)
        self.assertEqual((wanted.peer, wanted.role, wanted.named), ("alice", "architect", True))
        with self.assertRaises(BadRequest):
            self.identity(PEER_ID="command-center").wanted(PORT)
        with self.assertRaises(BadRequest):
            self.identity(PEER_ID="a/../b").wanted(PORT)

    def test_a_ticket_file_wins_and_is_used_once(self) -> None:
        self.record()
        path = self.ticket(peer="s1", role="worker", ticket="T")
        spawned = self.identity(C2_LATTICE_TICKET=path, PEER_ID="other", PEER_ROLE="architect")
        wanted = spawned.wanted(PORT)
        self.assertEqual((wanted.peer, wanted.role, wanted.ticket, wanted.named), ("s1", "worker", "T", True))
        self.assertFalse(os.path.exists(path))
        self.assertEqual(spawned.wanted(PORT)[:4], ("s1", "worker", "", ""), "the same peer, by a ticket of its own")

    def test_two_spawned_sessions_have_two_identities_and_a_restart_keeps_its_own(self) -> None:
        path = self.ticket(peer="s1", role="worker", ticket="T")
        first = self.identity(C2_LATTICE_TICKET=path)
        wanted = first.wanted(PORT)
        first.keep(wanted.peer, wanted.role, "secret-1", PORT, wanted.named)
        second = self.identity(C2_LATTICE_TICKET=path)
        self.assertEqual(second.wanted(PORT)[:3], ("s1", "worker", "secret-1"))

    def test_a_ticket_file_that_others_could_have_written_is_not_taken(self) -> None:
        path = self.ticket(peer="s1", role="architect", ticket="T")
        os.chmod(path, 0o666)
        self.assertEqual(self.identity(C2_LATTICE_TICKET=path, PEER_ID="me").wanted(PORT).peer, "me")
        os.chmod(path, 0o600)
        link = os.path.join(self.home, "link")
        os.symlink(path, link)
        self.assertEqual(self.identity(C2_LATTICE_TICKET=link, PEER_ID="me").wanted(PORT).peer, "me")

    def test_the_same_client_process_is_the_same_peer(self) -> None:
        self.record()
        self.assertEqual(self.identity().wanted(PORT), module.Wanted("worker-abc123", "worker", "old-secret", "", False, True))
        self.assertNotEqual(self.identity().wanted(PORT + 1).peer, "worker-abc123", "another broker, another peer")

    def test_a_reused_process_id_is_not_the_same_client(self) -> None:
        self.record(client_started="1", session="")
        self.assertNotEqual(self.identity().wanted(PORT).peer, "worker-abc123")

    def test_the_clients_session_id_is_the_second_key(self) -> None:
        self.record(client_pid=2**22, client_started="9")
        self.assertEqual(self.identity(CLAUDE_CODE_SESSION_ID="s-1").wanted(PORT).peer, "worker-abc123")
        self.assertNotEqual(self.identity(CLAUDE_CODE_SESSION_ID="s-2").wanted(PORT).peer, "worker-abc123")
        self.assertNotEqual(self.identity().wanted(PORT).peer, "worker-abc123")

    def test_a_record_whose_server_still_runs_is_not_taken(self) -> None:
        child = subprocess.Popen([sys.executable, "-I", "-S", "-c", "input()"], stdin=subprocess.PIPE)
        self.record(pid=child.pid, started=process.started(child.pid), client_pid=2**22)
        self.assertNotEqual(self.identity(CLAUDE_CODE_SESSION_ID="s-1").wanted(PORT).peer, "worker-abc123")
        child.communicate(b"\n")
        self.assertEqual(self.identity(CLAUDE_CODE_SESSION_ID="s-1").wanted(PORT).peer, "worker-abc123")

    def test_the_environment_wins_over_a_record(self) -> None:
        self.record()
        wanted = self.identity(PEER_ID="custom", PEER_ROLE="architect").wanted(PORT)
        self.assertEqual((wanted.peer, wanted.role, wanted.resume), ("custom", "architect", ""))
        self.assertEqual(self.identity(PEER_ROLE="architect").wanted(PORT).role, "architect")

    def test_a_named_peer_finds_its_resume_secret_again(self) -> None:
        self.identity(PEER_ID="alice").keep("alice", "worker", "r-1", PORT, True)
        self.assertEqual(self.identity(2**22, PEER_ID="alice").wanted(PORT).resume, "r-1")

    def test_what_it_became_stays_for_this_process(self) -> None:
        me = self.identity(PEER_ID="alice")
        me.keep("alice-2", "worker", "r-2", PORT, True)
        self.assertEqual(me.wanted(PORT)[:3], ("alice-2", "worker", "r-2"))

    def test_a_spawned_session_that_became_another_stays_that_one_too(self) -> None:
        me = self.identity(C2_LATTICE_TICKET=self.ticket(peer="s1", role="worker", ticket="T"))
        me.wanted(PORT)
        me.keep("s1-2", "worker", "r-2", PORT, True)
        self.assertEqual(me.wanted(PORT)[:3], ("s1-2", "worker", "r-2"))

    def test_an_id_that_lives_elsewhere_is_given_up_for_a_new_one(self) -> None:
        self.record()
        me = self.identity()
        self.assertEqual(me.wanted(PORT).peer, "worker-abc123")
        me.start_anew()
        fresh = me.wanted(PORT)
        self.assertNotEqual(fresh.peer, "worker-abc123")
        self.assertEqual(me.wanted(PORT), fresh, "one new id, however often it is asked for")

    def test_records_are_0600_in_a_0700_folder(self) -> None:
        old = os.umask(0)
        self.addCleanup(os.umask, old)
        self.identity().keep("worker-1", "worker", "r", PORT, False)
        folder = os.path.join(self.home, "sessions")
        self.assertEqual(stat.S_IMODE(os.stat(folder).st_mode), 0o700)
        self.assertEqual(
            [(name, stat.S_IMODE(os.stat(os.path.join(folder, name)).st_mode)) for name in os.listdir(folder)],
            [(f"worker-1@{PORT}.json", 0o600)],
        )

    def test_old_records_are_removed(self) -> None:
        path = self.record()
        os.utime(path, (1, 1))
        self.identity().keep("worker-1", "worker", "r", PORT, False)
        self.assertFalse(os.path.exists(path))

    def test_damaged_records_are_as_good_as_none(self) -> None:
        path = self.record()
        for content in (b"", b"{", b"[]", b'{"peer": 3}', b"\xff"):
            with open(path, "wb") as file:
                file.write(content)
            self.assertFalse(self.identity().wanted(PORT).resume)

    def test_a_record_whose_server_runs_is_kept_however_old_it_looks_and_an_ended_ones_is_not(self) -> None:
        me = os.getpid()
        runs = self.record(peer="alice", pid=me, started=process.started(me))
        ended = self.record(peer="bob")
        for path in (runs, ended):
            os.utime(path, (0, 0))  # written before the clock was set forward, by ten years
        self.identity(PEER_ID="carol").keep("carol", "worker", "secret", PORT, True)
        self.assertEqual((True, False), (os.path.exists(runs), os.path.exists(ended)))


class Processes(unittest.TestCase):
    def test_a_process_is_known_by_its_id_and_start(self) -> None:
        mine = process.started(os.getpid())
        self.assertTrue(mine)
        self.assertEqual(process.started(os.getpid()), mine)
        self.assertTrue(process.is_alive(os.getpid(), mine))
        self.assertFalse(process.is_alive(os.getpid(), mine + "0"), "the id was used again")

    def test_who_has_ended_is_not_alive(self) -> None:
        child = subprocess.Popen([sys.executable, "-I", "-S", "-c", ""])
        start = process.started(child.pid)
        child.wait()
        self.assertFalse(process.is_alive(child.pid, start))
        self.assertFalse(process.is_alive(0))
        self.assertFalse(process.is_alive(-1))


if __name__ == "__main__":
    unittest.main()
