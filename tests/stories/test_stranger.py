"""What a stranger gets: nothing. Another web page, another program on the port, another user's id, a worker who says it is someone else."""

from __future__ import annotations

import http.server
import json
import os
import threading
import time
import unittest

from lattice.guard import tokens
from tests.running import Broker, Peer, Session, ToolFailed, Wire, temporary_home


class AStrangerAtTheDoor(unittest.TestCase):
    broker: Broker
    alice: Peer
    mallory: Peer
    arch: Peer

    @classmethod
    def setUpClass(cls) -> None:
        cls.broker = cls.enterClassContext(Broker())
        cls.alice = cls.broker.enrol("alice")
        cls.mallory = cls.broker.enrol("mallory")
        cls.arch = cls.broker.enrol("arch", "architect")

    def wire(self, **headers: str) -> Wire:
        wire = Wire(self.broker.port, headers=headers)
        self.addCleanup(wire.close)
        return wire

    def test_without_a_ticket_nobody_registers(self) -> None:
        for authorization in ({}, {"Authorization": "Ticket nonsense"}, {"Authorization": f"Bearer {self.alice.token}"}):
            status, said = self.wire(**authorization).call("POST", "/register", {"id": "eve"})
            self.assertEqual(status, 401, said)
            self.assertNotIn("token", said)
        self.assertTrue(self.wire().call("POST", "/register", {"id": "eve"})[1]["hint"])
        self.assertEqual(self.arch.call("GET", "/peer/eve")[0], 404)

    def test_a_ticket_of_another_secret_or_an_old_one_or_a_used_one_opens_nothing(self) -> None:
        other = tokens.mint_ticket(os.urandom(32), peer="eve", role="worker", workspace="", now=time.time())
        old = self.broker.ticket("eve", now=time.time() - 3600)
        for ticket in (other, old):
            self.assertEqual(self.wire(Authorization=f"Ticket {ticket}").call("POST", "/register", {"id": "eve"})[0], 401)
        once = self.wire(Authorization=f"Ticket {self.broker.ticket('frank')}")
        self.assertEqual(once.call("POST", "/register", {"id": "frank"})[0], 200)
        self.broker.person().post("/unregister", {"peer_id": "frank"})
        status, said = once.call("POST", "/register", {"id": "frank"})
        self.assertEqual((status, said["code"]), (409, "ticket_used"))

    def test_a_ticket_is_for_the_id_and_the_role_that_it_names(self) -> None:
        for_grace = {"Authorization": f"Ticket {self.broker.ticket('grace')}"}
        self.assertIn(self.wire(**for_grace).call("POST", "/register", {"id": "alice"})[0], (401, 403))
        for_heidi = {"Authorization": f"Ticket {self.broker.ticket('heidi')}"}
        status, said = self.wire(**for_heidi).call("POST", "/register", {"id": "heidi", "role": "architect"})
        self.assertTrue(status in (401, 403) or said["role"] == "worker", said)

    def test_another_host_name_gets_nothing_on_any_path(self) -> None:
        """As a page that has its own name resolve to 127.0.0.1 would ask."""
        authorization = f"Bearer {self.arch.token}"
        for host in (
            "evil.example",
            f"evil.example:{self.broker.port}",
            "127.0.0.1",
            f"127.0.0.1:{self.broker.port + 1}",
            "localhost.",
            "",
        ):
            for method, path in (("GET", "/health"), ("GET", "/peers"), ("GET", "/dashboard"), ("POST", "/register"), ("GET", "/nowhere")):
                status, said = self.wire(Authorization=authorization).call(method, path, {} if method == "POST" else None, {"Host": host})
                self.assertIn(status, (421, 400), f"{host} {path}: {said}")

    def test_another_origin_gets_nothing(self) -> None:
        authorization = f"Bearer {self.arch.token}"
        for headers in (
            {"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": f"http://127.0.0.1:{self.broker.port + 1}"},
            {"Origin": f"https://127.0.0.1:{self.broker.port}"}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"},
        ):  # fmt: skip
            wire = self.wire(Authorization=authorization)
            for method, path in (("GET", "/peers"), ("POST", "/send"), ("GET", "/health")):
                status, said = wire.call(method, path, {} if method == "POST" else None, headers)
                self.assertEqual(status, 403, f"{headers} {path}: {said}")
                self.assertFalse({name for name in wire.last_headers if name.startswith("access-control")})

    def test_a_form_on_another_page_cannot_post(self) -> None:
        wire = self.wire(Authorization=f"Bearer {self.alice.token}")
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
            status, said = wire.raw("POST", "/summary", b'{"summary": "x"}', {"Content-Type": kind})
            self.assertEqual(status, 415, said)

    def test_another_peers_id_cannot_be_taken(self) -> None:
        self.alice.post("/heartbeat", {"id": "alice"})
        status, said = self.broker.register("alice")
        self.assertEqual(status, 409, said)
        status, said = self.broker.register("alice", fallback=True)
        self.assertEqual((status, said["id"]), (200, "alice-2"))
        self.assertEqual(self.alice.get("/peer/alice")["id"], "alice", "and alice's token still counts")
        for id in ("command-center", "system", "human", "broadcast"):
            self.assertIn(self.broker.register(id)[0], (400, 401, 403))

    def test_another_peers_mail_is_neither_read_nor_consumed(self) -> None:
        self.arch.post("/send", {"recipient_id": "alice", "category": "finding", "content": "for alice alone"})
        for path in (
            "/messages/alice",
            "/messages-for/alice",
            "/conversation/alice?requester=alice",
            "/inbox/peek?peer_id=alice",
            "/messages-all",
        ):
            self.assertEqual(self.mallory.call("GET", path)[0], 403, path)
        self.arch.get("/messages/alice")  # the architect may look; nobody but alice consumes
        self.assertEqual([one["content"] for one in self.alice.get("/messages/alice")["messages"]], ["for alice alone"])

    def test_nobody_speaks_for_another(self) -> None:
        task = self.arch.post("/tasks", {"title": "t"})["task_id"]
        speaks = {
            "/send": {"sender_id": "alice", "recipient_id": "arch", "category": "finding", "content": "x"},
            "/heartbeat": {"id": "alice"}, "/summary": {"id": "alice", "summary": "x"},
            "/conversation": {"peer_id": "alice", "turn_type": "user", "content": "x"},
            "/lock": {"peer_id": "alice", "file_path": "/x"}, "/unlock": {"peer_id": "alice", "file_path": "/x"},
            "/tasks": {"title": "t", "created_by": "alice"}, "/tasks/claim": {"task_id": task, "peer_id": "alice"},
            "/tasks/complete": {"task_id": task, "peer_id": "alice", "artifacts": {"summary": "x"}},
            "/memory": {"key": "k", "value": "v", "peer_id": "alice"}, "/runs": {"id": "r", "name": "r", "created_by": "alice"},
        }  # fmt: skip
        for path, body in speaks.items():
            for liar in (self.mallory, self.arch):
                status, said = liar.call("POST", path, body)
                self.assertEqual(status, 403, f"{liar.id} {path}: {said}")

    def test_a_worker_has_none_of_the_architects_powers(self) -> None:
        for path, body in {
            "/pause": {"peer_id": "alice"}, "/kill-peer": {"peer_id": "alice"}, "/unregister": {"peer_id": "alice"},
            "/pause-all": {}, "/budget": {"peer_id": "alice", "token_budget": 1},
            "/spawn": {}, "/shutdown": {}, "/seat": {"peer_id": "mallory"},
        }.items():  # fmt: skip
            self.assertEqual(self.mallory.call("POST", path, body)[0], 403, path)
        self.assertEqual(self.mallory.call("GET", "/log")[0], 403)

    def test_a_forged_or_changed_token_is_401_and_nothing_else(self) -> None:
        good = self.mallory.token
        for bad in ("", "x", "a.b.c", good[:-1], good + "A", good[::-1], "é", "A" * 5000, good.swapcase()):
            status, said = self.wire(Authorization=f"Bearer {bad}").call("GET", "/peers")
            self.assertIn(status, (401, 431, 400), said)
        self.assertEqual(self.wire().call("GET", "/nowhere")[0], 401, "an unknown path does not even say that it is unknown")

    def test_the_files_are_closed_to_other_users(self) -> None:
        self.assertEqual(os.stat(self.broker.state).st_mode & 0o777, 0o700)
        files = [os.path.join(folder, name) for folder, _, names in os.walk(self.broker.state) for name in names]
        files += [self.broker.database + end for end in ("", "-wal", "-shm") if os.path.exists(self.broker.database + end)]
        self.assertGreater(len(files), 3)
        for path in files:
            self.assertEqual(os.stat(path).st_mode & 0o077, 0, path)

    def test_the_secret_is_in_no_answer_and_no_file_but_its_own(self) -> None:
        secret = self.broker.secret()
        with open(os.path.join(self.broker.state, "secret"), "rb") as file:
            stored = file.read().strip()
        for folder, _, names in os.walk(self.broker.home):
            for name in names:
                if name == "secret":
                    continue
                with open(os.path.join(folder, name), "rb") as file:
                    content = file.read()
                self.assertNotIn(stored, content, name)
                self.assertNotIn(secret, content, name)


class AStrangerOnThePort(unittest.TestCase):
    def test_another_program_on_the_port_is_named_and_is_sent_no_secret(self) -> None:
        """It even answers /health as a broker would; it cannot prove itself."""
        received: list[bytes] = []

        class Foreign(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                received.append(f"{self.command} {self.path}\n{self.headers}".encode())
                said = {"status": "ok", "port": port, "version": "5.0.0", "wire": 5, "pid": 1, "proof": "0" * 64}
                body = json.dumps(said).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                received.append(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
                self.do_GET()

            def log_message(self, *_: object) -> None:
                pass

        home = self.enterContext(temporary_home())
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Foreign)
        port = server.server_port
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            with Session(home, C2_LATTICE_PORT=str(server.server_port), PEER_ID="alice") as session:
                session.initialize()
                with self.assertRaises(ToolFailed) as refused:
                    session.call("list_peers")
        finally:
            server.shutdown()
            thread.join()
            server.server_close()
        self.assertIn(str(server.server_port), refused.exception.text)
        everything = b"\n".join(received)
        self.assertTrue(everything, "it was asked to prove itself")
        for word in (b"Ticket", b"Bearer", b"alice"):
            self.assertNotIn(word, everything)
        with open(os.path.join(home, "state", "secret"), "rb") as file:
            self.assertNotIn(file.read().strip(), everything)


if __name__ == "__main__":
    unittest.main()
