"""The link to the broker: proof before secrets, enrolling again, repeating what may be repeated, and no lies."""

from __future__ import annotations

import os
import socket
import tempfile
import threading
import unittest
from typing import Any

from lattice import settings as settings_module
from lattice.agent import link as link_module
from lattice.agent.identity import Identity
from lattice.agent.link import Link
from lattice.errors import Conflict, Forbidden, NotFound, Refusal, Unauthorized, Unavailable
from lattice.guard import tokens
from lattice.web.server import Answer
from tests.agent.scripted import ScriptedBroker, foreign_program

CANARY = "canary-0123456789abcdef0123456789abcdef"


class WithLink(unittest.TestCase):
    def setUp(self) -> None:
        self.home = self.enterContext(tempfile.TemporaryDirectory())
        self.state = os.path.join(self.home, "state")
        settings_module.make_home(self.state)

    def broker(self, **more: Any) -> ScriptedBroker:
        return self.enterContext(ScriptedBroker(self.state, **more))

    def link(self, port: int, **environ: str) -> Link:
        environ = {
            "C2_LATTICE_HOME": self.state,
            "C2_LATTICE_DB": os.path.join(self.home, "db"),
            "C2_LATTICE_PORT": str(port),
            "C2_LATTICE_WORKSPACE": "w",
            **environ,
        }
        settings = settings_module.read(environ)
        link = Link(settings, Identity(settings, environ, os.getppid()), working_dir=self.home)
        self.addCleanup(link.close)
        return link

    def refusal(self, link: Link, name: str = "list_tasks", **values: Any) -> Refusal:
        with self.assertRaises(Refusal) as caught:
            link.ask(name, values)
        return caught.exception


class Proof(WithLink):
    def test_a_foreign_program_is_named_with_its_port_and_hears_no_secret(self) -> None:
        for answer in (
            b'HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{"status":"ok"}',
            b"SSH-2.0-x\r\n",
            b"",
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
            b'HTTP/1.1 200 OK\r\nContent-Length: 44\r\n\r\n{"status":"ok","proof":"' + b"0" * 8 + b'","pid":1 }   ',
        ):
            with self.subTest(answer=answer), foreign_program(answer) as (port, got):
                refusal = self.refusal(self.link(port, C2_LATTICE_SECRET=CANARY))
                self.assertEqual(refusal.code, "foreign_program", refusal.message)
                self.assertIn(str(port), refusal.message)
                self.assertIn("C2_LATTICE_PORT", refusal.hint)
                self.assertNotIn(CANARY.encode(), bytes(got))
                self.assertNotIn(b"Ticket", bytes(got))
                self.assertNotIn(b"authorization", bytes(got).lower())

    def test_another_users_broker_is_as_foreign(self) -> None:
        broker = self.broker(secret=b"x" * 32)
        self.assertEqual(self.refusal(self.link(broker.port)).code, "foreign_program")
        self.assertEqual({path for path, _, _ in broker.heard}, {"/health"})

    def test_every_new_connection_is_proven_before_the_token_goes_over_it(self) -> None:
        broker = self.broker()
        broker.always["/tasks"] = {"tasks": []}
        link = self.link(broker.port)
        link.ask("list_tasks", {})
        for client in link._spare:
            client.close()
        broker.heard.clear()
        link.ask("list_tasks", {})
        self.assertEqual([path for path, _, _ in broker.heard], ["/health", "/tasks"])
        self.assertEqual([authorization for _, _, authorization in broker.heard], ["", "Bearer token-1"])

    def test_a_program_that_takes_the_port_between_two_calls_gets_nothing(self) -> None:
        broker = self.broker()
        broker.always["/tasks"] = {"tasks": []}
        link = self.link(broker.port)
        link.ask("list_tasks", {})
        broker.secret = b"y" * 32
        for client in link._spare:
            client.close()
        broker.heard.clear()
        self.assertEqual(self.refusal(link).code, "foreign_program")
        self.assertEqual({authorization for _, _, authorization in broker.heard}, {""})

    def test_an_unusable_secret_is_an_error_that_says_why(self) -> None:
        tokens.load_secret(self.state)
        os.chmod(os.path.join(self.state, "secret"), 0o644)
        refusal = self.refusal(self.link(1))
        self.assertEqual(refusal.code, "secret")
        self.assertIn("chmod 600", refusal.message)


class Enrolling(WithLink):
    def test_the_ticket_goes_first_and_the_token_after(self) -> None:
        broker = self.broker()
        broker.always["/tasks"] = {"tasks": []}
        link = self.link(broker.port, PEER_ID="alice")
        link.ask("list_tasks", {})
        said = broker.bodies("/register")[0]
        self.assertEqual(
            (said["id"], said["named"], said["fallback"], said["workspace"], said["client_pid"]), ("alice", True, True, "w", os.getppid())
        )
        self.assertEqual(said["process"], link.process)
        ticket = next(authorization for path, _, authorization in broker.heard if path == "/register")
        self.assertEqual(tokens.read_ticket(broker.secret, ticket.removeprefix("Ticket "), 0)[:3], ("alice", "worker", "w"))
        self.assertEqual((link.id, link.role), ("alice", "worker"))

    def test_it_enrols_again_when_it_is_not_known_any_more(self) -> None:
        for refusal in (
            NotFound("who?", code="not_registered"),
            Unauthorized("old", code="token_expired"),
            Unauthorized("?", code="bad_token"),
        ):
            with self.subTest(code=refusal.code):
                broker = self.broker()
                broker.script["/tasks"] = [{"tasks": []}, refusal, {"tasks": [1]}]
                link = self.link(broker.port)
                link.ask("list_tasks", {})
                self.assertEqual(link.ask("list_tasks", {}), {"tasks": [1]})
                first, second = broker.bodies("/register")
                self.assertEqual((second["id"], second["resume"]), (first["id"], "resume-secret"))

    def test_a_broker_that_never_knows_it_is_not_asked_for_ever(self) -> None:
        broker = self.broker()
        broker.always["/tasks"] = NotFound("who?", code="not_registered")
        self.assertEqual(self.refusal(self.link(broker.port)).code, "not_registered")
        self.assertLessEqual(len(broker.bodies("/register")), 4)

    def test_who_was_ended_says_so_at_every_call_and_tries_no_more(self) -> None:
        broker = self.broker()
        broker.script["/tasks"] = [Unauthorized("you were ended by the person", code="killed")]
        link = self.link(broker.port)
        for _ in range(3):
            refusal = self.refusal(link)
            self.assertEqual(refusal.code, "killed")
            self.assertIn("ended by the person", refusal.message)
            self.assertIn("resume", refusal.hint)
        self.assertEqual((len(broker.bodies("/tasks")), len(broker.bodies("/register"))), (1, 1))

    def test_who_was_ended_before_may_not_enrol_and_hears_why(self) -> None:
        broker = self.broker()
        broker.always["/register"] = Unauthorized("alice was ended by arch", code="killed")
        link = self.link(broker.port, PEER_ID="alice")
        self.assertEqual([self.refusal(link).code for _ in range(3)], ["killed"] * 3)
        self.assertEqual(len(broker.bodies("/register")), 1)

    def test_a_held_seat_is_said_once(self) -> None:
        broker = self.broker()
        broker.always["/register"] = {
            "ok": True,
            "id": "a",
            "role": "worker",
            "token": "t",
            "resume": "r",
            "workspace": "w",
            "seat": {"held_by": "arch-1"},
        }
        link = self.link(broker.port, PEER_ID="a", PEER_ROLE="architect")
        link.enrol()
        self.assertIn("arch-1", link.notes())
        self.assertEqual(link.notes(), "")

    def test_an_id_that_lives_elsewhere_is_told(self) -> None:
        broker = self.broker()
        broker.always["/register"] = {
            "ok": True,
            "id": "alice-2",
            "role": "worker",
            "token": "t",
            "resume": "r",
            "workspace": "w",
            "seat": {},
        }
        link = self.link(broker.port, PEER_ID="alice")
        link.enrol()
        self.assertIn("you are alice-2", link.notes())

    def test_a_session_newer_than_its_broker_says_how_to_restart_it_once(self) -> None:
        broker = self.broker()
        broker.health = {"version": "4.9.0", "wire": 4}
        broker.always["/tasks"] = {"tasks": []}
        link = self.link(broker.port)
        for _ in range(2):
            link.ask("list_tasks", {})
            for client in link._spare:
                client.close()
        note = link.notes()
        self.assertEqual(note.count("launch.py --restart"), 1)
        self.assertIn("4.9.0", note)

    def test_many_calls_at_once_enrol_once(self) -> None:
        broker = self.broker()
        broker.always["/tasks"] = {"tasks": []}
        link = self.link(broker.port)
        together = threading.Barrier(8)
        calls = [threading.Thread(target=lambda: (together.wait(), link.ask("list_tasks", {}))) for _ in range(8)]
        for call in calls:
            call.start()
        for call in calls:
            call.join()
        self.assertEqual((len(broker.bodies("/register")), len(broker.bodies("/tasks"))), (1, 8))

    def test_an_unnamed_session_whose_id_still_lives_takes_a_new_one(self) -> None:
        broker = self.broker()
        broker.script["/register"] = [Conflict("it lives")]
        link = self.link(broker.port)
        link.enrol()
        first, second = broker.bodies("/register")
        self.assertNotEqual(first["id"], second["id"])
        self.assertEqual(link.id, second["id"])

    def test_a_ticket_that_lapsed_on_its_way_because_the_clock_was_set_is_minted_anew(self) -> None:
        broker = self.broker()
        broker.script["/register"] = [Unauthorized("too old", code="ticket_expired")] * 2
        link = self.link(broker.port)
        link.enrol()
        self.assertEqual(len({authorization for path, _, authorization in broker.heard if path == "/register"}), 3)

    def test_tickets_that_always_lapse_are_said_to(self) -> None:
        broker = self.broker()
        broker.always["/register"] = Unauthorized("too old", code="ticket_expired")
        self.assertEqual(self.refusal(self.link(broker.port)).code, "ticket_expired")
        self.assertLess(len(broker.bodies("/register")), 10)


class Repeating(WithLink):
    def test_a_write_of_unknown_outcome_is_repeated_with_the_same_key(self) -> None:
        broker = self.broker()
        broker.script["/memory"] = [Answer(200, b"no json"), {"ok": True, "version": 1}]
        link = self.link(broker.port)
        self.assertEqual(link.ask("set_memory", {"key": "k", "value": "v"})["version"], 1)
        first, second = broker.bodies("/memory")
        self.assertEqual(first, second)
        self.assertTrue(first["idempotency_key"])

    def test_it_is_repeated_for_as_long_as_there_is_patience(self) -> None:
        broker = self.broker()
        broker.script["/memory"] = [Answer(200, b"no json")] * 6 + [{"ok": True, "version": 1}]
        self.assertEqual(self.link(broker.port).ask("set_memory", {"key": "k", "value": "v"})["version"], 1)
        self.assertEqual(len({str(body) for body in broker.bodies("/memory")}), 1)

    def test_what_may_have_been_done_is_not_called_undone_because_the_broker_was_gone_afterwards(self) -> None:
        self.addCleanup(setattr, link_module, "PATIENCE_S", link_module.PATIENCE_S)
        link_module.PATIENCE_S = 0.3
        broker = self.broker()
        broker.always["/memory"] = Unavailable("the broker is stopping", code="stopping")
        broker.script["/memory"] = [Answer(200, b"no json")]
        self.assertEqual(self.refusal(self.link(broker.port), "set_memory", key="k", value="v").code, "unknown_outcome")
        self.assertEqual(self.refusal(self.link(broker.port), "set_memory", key="k", value="v").code, "stopping")

    def test_an_enrolment_of_unknown_outcome_is_repeated_whatever_it_was_for(self) -> None:
        broker = self.broker()
        broker.script["/register"] = [Answer(200, b"no json")]
        broker.always["/register"] = {"ok": True, "id": "a", "role": "architect", "token": "t", "resume": "r", "workspace": "w", "seat": {}}
        broker.always["/spawn"] = {"ok": True}
        self.assertEqual(self.link(broker.port, PEER_ID="a").ask("spawn_worker", {}), {"ok": True})

    def test_two_writes_have_two_keys(self) -> None:
        broker = self.broker()
        broker.always["/memory"] = {"ok": True}
        link = self.link(broker.port)
        for _ in range(2):
            link.ask("set_memory", {"key": "k", "value": "v"})
        first, second = broker.bodies("/memory")
        self.assertNotEqual(first["idempotency_key"], second["idempotency_key"])

    def test_a_refusal_is_not_repeated_and_comes_as_it_is(self) -> None:
        broker = self.broker()
        broker.always["/memory"] = Forbidden("paused by arch", code="paused")
        refusal = self.refusal(self.link(broker.port), "set_memory", key="k", value="v")
        self.assertEqual((refusal.code, refusal.message), ("paused", "paused by arch"))
        self.assertEqual(len(broker.bodies("/memory")), 1)

    def test_a_broker_that_is_stopping_or_too_busy_is_waited_for(self) -> None:
        for code in ("stopping", "unavailable", "too_many_connections", "readers_busy", "database_busy"):
            with self.subTest(code=code):
                broker = self.broker()
                broker.script["/tasks"] = [Unavailable("call again", code=code), {"tasks": []}]
                self.assertEqual(self.link(broker.port).ask("list_tasks", {}), {"tasks": []})

    def test_a_beat_neither_starts_a_broker_nor_waits_for_one(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        link = self.link(port)
        with self.assertRaises(Unavailable) as caught:
            link.ask("heartbeat", {}, patient=False)
        self.assertEqual(caught.exception.code, "unreachable")
        self.assertFalse(os.path.exists(os.path.join(self.state, "broker.log")))

    def test_the_token_that_a_beat_brings_is_used_from_then_on(self) -> None:
        broker = self.broker()
        broker.always["/tasks"] = {"tasks": []}
        broker.beat["token"] = "renewed"
        link = self.link(broker.port)
        link.ask("heartbeat", {})
        link.ask("list_tasks", {})
        self.assertEqual(broker.heard[-1][2], "Bearer renewed")

    def test_paths_and_queries_are_built_from_the_contract(self) -> None:
        broker = self.broker()
        broker.always.update({"/tasks/7": {}, "/memory": {}, "/runs/r%2F1/resume": {}})
        link = self.link(broker.port)
        link.ask("get_task", {"task_id": 7})
        link.ask("get_memory", {"key": "a b&c=ü", "history": True})
        link.ask("resume_run", {"run_id": "r/1"})
        self.assertEqual(broker.bodies("/memory"), [{"key": "a b&c=ü", "history": "true"}])
        self.assertEqual(list(broker.bodies("/runs/r%2F1/resume")[0]), ["idempotency_key"])


if __name__ == "__main__":
    unittest.main()
