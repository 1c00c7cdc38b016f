"""Who somebody is, and what that lets them do (S13 to S19, S21, S22): roles by ticket, ids by secret, files by mode.

Every table is (what is tried, …, what answers); it is held against a real broker over sockets, real files, real processes.
"""

from __future__ import annotations

import ast
import base64
import concurrent.futures
import contextlib
import itertools
import json
import os
import shutil
import socket
import sqlite3
import stat
import subprocess
import tempfile
import threading
import time
import unittest
from typing import Any

from lattice.agent import log as session_log
from lattice.contract.operations import ANYONE, OPERATIONS
from lattice.guard import tokens
from lattice.store import backup
from tests.fuzz import bodies
from tests.running import PYTHON, TOP, Broker, Session, ToolFailed, Wire, environment, figure, free_port, temporary_home, until
from tests.threats.attacked import Attacked

OTHER_USER = 65534  # nobody
RESERVED = ("command-center", "broadcast", "system", "human", "broker", "viewer")


class S13RoleByAsking(Attacked):
    """A role comes from a ticket, and a ticket from who can read the secret; nothing that is said makes one."""

    def register(self, authorization: str, **body: Any) -> tuple[int, str]:
        with contextlib.closing(Wire(self.port, headers={"Authorization": authorization} if authorization else {})) as wire:
            status, said = wire.call("POST", "/register", {"id": "eve", **body})
        self.assertEqual(status == 200, "token" in said, said)
        return status, said.get("code", said.get("role", ""))

    def test_only_a_fresh_ticket_of_this_secret_for_this_id_and_role_enrols(self) -> None:
        def ticket(peer: str = "eve", role: str = "worker", *, secret: bytes = b"", now: float = 0.0) -> str:
            return "Ticket " + tokens.mint_ticket(
                secret or self.broker.secret(), peer=peer, role=role, workspace="", now=now or time.time()
            )

        used = ticket()
        whole = ticket()
        cut = whole.rpartition(".")[0]
        table: list[tuple[str, str, dict[str, Any], tuple[int, str]]] = [
            ("nothing", "", {"role": "architect"}, (401, "no_ticket")),
            ("an empty one", "Ticket ", {}, (401, "no_ticket")),
            ("a word", "Ticket please", {}, (401, "bad_ticket")),
            ("a worker's token", f"Bearer {self.worker.token}", {}, (401, "no_ticket")),
            ("the architect's token", f"Bearer {self.arch.token}", {"role": "architect"}, (401, "no_ticket")),
            ("the person's token", f"Bearer {self.person.token}", {"role": "architect"}, (401, "no_ticket")),
            ("a token as a ticket", f"Ticket {self.worker.token}", {}, (401, "bad_ticket")),
            ("one of another secret", ticket(secret=os.urandom(32)), {}, (401, "bad_ticket")),
            ("one of an hour ago", ticket(now=time.time() - 3600), {}, (401, "ticket_expired")),
            ("a cut one", cut, {}, (401, "bad_ticket")),
            ("one with another end", whole[:-1] + ("A" if whole[-1] != "A" else "B"), {}, (401, "bad_ticket")),
            ("one for another id", ticket("mallory"), {}, (403, "wrong_ticket")),
            ("one for the same id in capitals", ticket("EVE"), {}, (403, "wrong_ticket")),
            ("a worker's, asking for the seat", ticket(), {"role": "architect"}, (403, "wrong_ticket")),
            ("a worker's, asking to be the person", ticket(), {"role": "system"}, (400, "bad_request")),
            ("a worker's, asking to look on", ticket(), {"role": "viewer"}, (400, "bad_request")),
            ("the person's, asking for a session", ticket("command-center", "system"), {"id": "command-center"}, (400, "bad_request")),
            ("the person's, for an id of its own", ticket("eve", "system"), {}, (403, "wrong_ticket")),
            ("a good one", used, {}, (200, "worker")),
            ("the same again", used, {}, (409, "ticket_used")),
            ("an architect's where the seat is held", ticket("ann", "architect"), {"id": "ann"}, (409, "seat_taken")),
        ]
        for what, authorization, body, answer in table:
            self.assertEqual(answer, self.register(authorization, **body), what)
        self.assertEqual(404, self.arch.call("GET", "/peer/ann")[0])

    def test_no_reserved_or_malformed_id_is_ever_registrable(self) -> None:
        table = [(id, 400) for word in RESERVED for id in (word, word.upper(), f" {word} ")]
        table += [(id, 400) for id in ("-rf", ".hidden", "a b", "a/b", "a@b", "#room", "@architect", "é", "a\u200bb", "x" * 65, "a\n", "")]
        for id, answer in table:
            with self.subTest(id=id):
                with contextlib.suppress(ValueError):  # a ticket for some of these cannot even be minted
                    self.assertEqual(answer, self.register(f"Ticket {self.broker.ticket(id)}", id=id)[0] if id != "a\n" else 400)

    def test_an_architect_seats_nobody_and_opens_no_architect(self) -> None:
        for peer, path, body, answer in (
            (self.worker, "/seat", {"peer_id": "worker"}, (403, "role")),
            (self.arch, "/seat", {"peer_id": "worker"}, (403, "role")),
            (self.worker, "/spawn", {}, (403, "role")),
            (self.arch, "/spawn", {"role": "architect"}, (403, "forbidden")),
        ):
            status, said = peer.call("POST", path, body)
            self.assertEqual(answer, (status, said["code"]), f"{peer.id} {path}: {said}")


class S14Takeover(unittest.TestCase):
    """Registering the id of somebody who lives."""

    def test_a_live_id_is_its_holders_whatever_is_shown_but_its_own_secret(self) -> None:
        with Broker() as broker:
            alice, other = broker.enrol("alice", beat_ms=60_000), broker.enrol("other", beat_ms=60_000)
            resume = alice.enrolled["resume"]
            table: list[tuple[str, dict[str, Any], tuple[int, str]]] = [
                ("nothing", {}, (409, "id_taken")),
                ("a made-up secret", {"resume": "0" * 32}, (409, "id_taken")),
                ("another peer's secret", {"resume": other.enrolled["resume"]}, (409, "id_taken")),
                ("another peer's token", {"resume": other.token}, (409, "id_taken")),
                ("a cut secret", {"resume": resume[:-1]}, (409, "id_taken")),
                ("the secret in capitals", {"resume": resume.upper()}, (409, "id_taken")),
                ("the same pid and folder", {"pid": os.getpid(), "working_dir": "/"}, (409, "id_taken")),
                ("the word for the next free number", {"fallback": True}, (200, "alice-2")),
            ]
            for what, shown, answer in table:
                status, said = broker.register("alice", **shown)
                self.assertEqual(answer, (status, said["id"] if status == 200 else said["code"]), what)
                self.assertEqual("alice", alice.get("/peer/alice")["id"], f"{what}: her token still counts")

    def test_who_has_the_secret_takes_over_and_the_old_token_is_nothing(self) -> None:
        with Broker() as broker:
            alice = broker.enrol("alice")
            again = broker.enrol("alice", resume=alice.enrolled["resume"])
            status, said = alice.call("GET", "/peers")
            self.assertEqual((401, "token_expired", True), (status, said["code"], said["taken_over"]))
            self.assertEqual(200, again.call("GET", "/peers")[0])


class S15IdentityInTheBody(Attacked):
    """Whatever a body says of who sends it, the token's subject has sent it."""

    NAMES = ("id", "peer_id", "sender_id", "created_by", "requester", "caller", "actor", "from", "as", "user", "on_behalf", "on_behalf_of")
    # Where such a name stands for somebody else, on purpose.
    NAMES_ANOTHER = {(operation.name, param.name) for operation in OPERATIONS for param in operation.params if not param.identity}

    def test_no_field_of_any_change_names_another_sender(self) -> None:
        table = []
        right_calls = {call.name: call for call in self.calls("POST")}
        for operation, (peer, role) in itertools.product(bodies.POSTS, ((self.worker, "worker"), (self.arch, "architect"))):
            if role not in operation.roles:
                continue
            right = right_calls[operation.name]._replace(authorization=f"Bearer {peer.token}")
            for name in self.NAMES:
                if (operation.name, name) in self.NAMES_ANOTHER:
                    continue
                is_identity = any(param.name == name and param.identity for param in operation.params)
                for whom in ("victim", "command-center"):
                    body = json.dumps({**json.loads(right.body), name: whom}).encode()
                    answer = 403 if is_identity else 400
                    table.append((f"{peer.id} {operation.name}: {name}={whom}", right._replace(body=body).raw(self.port), answer))
        self.assertGreater(len(table), 1000)
        with self.unchanged():
            self.hold(table)

    def test_an_upstream_trick_of_two_names_sends_nothing(self) -> None:
        for first, second in (("peer_id", "sender_id"), ("id", "sender_id"), ("sender_id", "created_by")):
            body = {first: "worker", second: "arch", "recipient_id": "victim", "category": "finding", "content": "from arch?"}
            self.assertIn(self.worker.call("POST", "/send", body)[0], (400, 403), (first, second))

    def test_the_log_names_the_tokens_subject_and_for_the_person_both(self) -> None:
        def last() -> str:
            return str(self.person.get("/log?last=1&requester=command-center")["logs"][0]["peer_id"])

        for path, body in (
            ("/tasks", {"title": "mine", "created_by": "worker"}),
            ("/memory", {"key": "mine", "value": "v", "peer_id": "worker"}),
            ("/summary", {"summary": "at work", "id": "worker"}),
            ("/lock", {"file_path": "/src/mine.py", "peer_id": "worker"}),
            ("/send", {"recipient_id": "arch", "category": "finding", "content": "a line", "sender_id": "worker"}),
        ):
            self.worker.post(path, body)
            self.assertEqual("worker", last(), path)
        self.person.post("/tasks", {"title": "for worker", "created_by": "worker"})
        self.assertEqual("worker (by command-center)", last())


class S16OthersThings(Attacked):
    """Reading, taking or undoing what is another's. (Who may call what at all is R40, tests/broker/test_access.py.)"""

    def test_another_peers_mail_is_neither_read_nor_taken(self) -> None:
        victim = self.broker.enrol("reader", beat_ms=60_000)
        sent = self.arch.post("/send", {"recipient_id": "reader", "category": "finding", "content": "for the reader alone"})["message_id"]
        victim.post("/conversation", {"turn_type": "user", "content": "my own words"})
        receipt = victim.post("/inbox/take", {})["messages"][0]["receipt"]
        table: list[tuple[str, str, Any, int]] = [
            ("GET", "/messages/reader", None, 403),
            ("GET", "/messages-for/reader", None, 403),
            ("GET", "/messages-all", None, 403),
            ("GET", "/inbox/peek?peer_id=reader", None, 403),
            ("GET", "/conversation/reader", None, 403),
            ("GET", "/conversation/reader?requester=reader", None, 403),
            ("GET", "/conversation/reader?requester=arch", None, 403),
            ("GET", f"/receipts/{sent}", None, 404),
            ("POST", f"/messages/{sent}/release", {}, 403),
            ("POST", "/send", {"recipient_id": "arch", "category": "finding", "content": "x", "reply_to": sent}, 404),
            ("GET", "/log", None, 403),
            ("GET", "/dashboard/data", None, 403),
        ]
        for method, path, body, status in table:
            got, said = self.worker.call(method, path, body)
            self.assertEqual((status, False), (got, "for the reader alone" in json.dumps(said)), path)
        for query in ("/search?q=reader+alone", "/search?q=own+words", "/state", "/events?follow=false&limit=1000"):
            status, said = self.worker.call("GET", query)
            self.assertEqual((200, False, False), (status, "reader alone" in json.dumps(said), "my own words" in json.dumps(said)), query)
        # What is not one's own counts for nothing, and says so.
        self.assertEqual(0, self.worker.post("/inbox/ack", {"receipts": [receipt]})["acknowledged"])
        self.assertEqual(0, self.worker.post("/inbox/return", {"receipts": [receipt]})["returned"])
        self.assertEqual(1, victim.post("/inbox/ack", {"receipts": [receipt]})["acknowledged"])

    def test_the_architect_may_look_and_takes_nothing(self) -> None:
        victim = self.broker.enrol("looked-at", beat_ms=60_000)
        self.worker.post("/send", {"recipient_id": "looked-at", "category": "finding", "content": "still there"})
        for _ in range(2):
            self.assertEqual(["still there"], [one["content"] for one in self.arch.get("/messages/looked-at")["messages"]])
        self.assertEqual(["still there"], [one["content"] for one in victim.post("/inbox/take", {})["messages"]])

    def test_another_peers_task_and_lock_are_not_undone(self) -> None:
        owner = self.broker.enrol("owner", beat_ms=60_000)
        task = owner.post("/tasks", {"title": "the owner's"})["task_id"]
        owner.post("/tasks/claim", {"task_id": task})
        token = owner.post("/lock", {"file_path": "/src/owned.py"})["token"]
        table: list[tuple[str, dict[str, Any], int]] = [
            ("/unlock", {"file_path": "/src/owned.py"}, 403),
            ("/unlock", {"file_path": "/src/owned.py", "token": token}, 409),
            ("/lock", {"file_path": "/src/owned.py"}, 409),
            ("/tasks/claim", {"task_id": task}, 409),
            ("/tasks/complete", {"task_id": task, "artifacts": {"summary": "x"}}, 403),
            (f"/tasks/{task}/release", {}, 403),
            (f"/tasks/{task}/fail", {"reason": "x"}, 403),
            (f"/tasks/{task}/renew", {}, 403),
            (f"/tasks/{task}/cancel", {}, 403),
            (f"/tasks/{task}/edit", {"title": "x"}, 403),
            (f"/tasks/{task}/assign", {"peer_id": "worker"}, 403),
            ("/adopt", {"peer_id": "owner"}, 409),
        ]
        for path, body, status in table:
            self.assertEqual(status, self.worker.call("POST", path, body)[0], path)
        self.assertEqual("owner", owner.get(f"/tasks/{task}")["task"]["assigned_to"])
        self.assertEqual(["owner"], [one["peer_id"] for one in owner.get("/locks")["locks"] if one["file_path"].endswith("owned.py")])


class S17PortSquatting(unittest.TestCase):
    """Another program has the port, and answers as a broker might."""

    ANSWERS = {
        "as upstream's broker": lambda nonce: {"status": "ok"},
        "with a proof of zeros": lambda nonce: {"status": "ok", "version": "5.0.0", "wire": 5, "pid": 1, "proof": "0" * 64},
        "with the nonce as proof": lambda nonce: {"status": "ok", "version": "5.0.0", "wire": 5, "pid": 1, "proof": nonce * 2},
        "with the proof of another secret": lambda nonce: {"status": "ok", "pid": 1, "proof": tokens.prove(b"x" * 32, nonce, 1, 1)},
        "with a number for a proof": lambda nonce: {"status": "ok", "pid": "1", "proof": 7},
    }

    def test_it_is_named_to_the_session_and_hears_no_secret_ticket_token_or_name(self) -> None:
        for how, answer in self.ANSWERS.items():
            with self.subTest(how), temporary_home() as home, Squatter(answer) as squatter:
                session = Session(home, C2_LATTICE_PORT=str(squatter.port), PEER_ID="alice", C2_LATTICE_WORKSPACE="the-workspace")
                try:
                    session.initialize()
                    with self.assertRaises(ToolFailed) as refused:
                        session.call("send_message", recipient_id="bob", category="finding", content="hear this")
                finally:
                    self.assertEqual(0, session.close())
                self.assertIn(f"port {squatter.port}", refused.exception.text)
                self.assertRegex(refused.exception.text, "another program|not this user's")
                self.assertTrue(squatter.heard, "it was asked to prove itself")
                with open(os.path.join(home, "state", "secret"), "rb") as file:
                    secret = file.read().strip()
                for word in (
                    secret,
                    base64.b64encode(secret),
                    b"Ticket",
                    b"Bearer",
                    b"c2i1.",
                    b"c2t1.",
                    b"alice",
                    b"the-workspace",
                    b"hear this",
                ):
                    self.assertNotIn(word, squatter.heard, how)


class Squatter:
    """A program on a free port that answers every request with one JSON object, and keeps what it heard."""

    def __init__(self, answer: Any) -> None:
        self.answer, self.heard = answer, b""
        self.door = socket.create_server(("127.0.0.1", 0))
        self.port = self.door.getsockname()[1]
        self.thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Squatter:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self.door.shutdown(socket.SHUT_RDWR)
        self.door.close()
        self.thread.join(10)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.door.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(2)
                asked = b""
                with contextlib.suppress(OSError):
                    while b"\r\n\r\n" not in asked:
                        more = connection.recv(65536)
                        if not more:
                            break
                        asked += more
                    self.heard += asked
                    nonce = asked.partition(b"nonce=")[2][:32].decode("latin-1")
                    said = {"port": self.port, **self.answer(nonce if len(nonce) == 32 else "0" * 32)}
                    body = json.dumps(said).encode()
                    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
                    connection.sendall(head.encode() + body)
                    self.heard += connection.recv(65536)  # what it says once it has an answer


@unittest.skipIf(os.name == "nt", "users and modes of POSIX; on Windows the profile folder's ACL keeps others out")
class S18OtherUsers(unittest.TestCase):
    """Another user of the machine: files are closed to it whatever the umask was, and the port tells it nothing."""

    # Runs as the other user; stands on nothing of ours.
    INTRUDER = """
import http.client, json, os, sys
asked = json.load(sys.stdin)
said = {"uid": os.getuid(), "read": {}, "written": {}, "listed": {}, "answers": []}
for path in asked["files"]:
    for word, flags in (("read", os.O_RDONLY), ("written", os.O_WRONLY | os.O_APPEND)):
        try:
            os.close(os.open(path, flags)); said[word][path] = "opened"
        except OSError as error:
            said[word][path] = error.strerror
for path in asked["folders"]:
    try:
        said["listed"][path] = str(os.listdir(path))
    except OSError as error:
        said["listed"][path] = error.strerror
door = http.client.HTTPConnection("127.0.0.1", asked["port"], timeout=20)
for method, path in asked["routes"]:
    body, headers = ("{}", {"Content-Type": "application/json"}) if method == "POST" else (None, {})
    door.request(method, path, body=body, headers=headers)
    answer = door.getresponse(); answer.read(); said["answers"].append(answer.status)
print(json.dumps(said))
"""

    def used(self, umask: int) -> tuple[Broker, str]:
        """A broker, started under this umask, that has been used in all ways that leave files; its home can be entered by others."""
        before = os.umask(umask)
        self.addCleanup(os.umask, before)
        home = os.path.realpath(self.enterContext(tempfile.TemporaryDirectory(prefix="c2b")))
        os.chmod(os.environ.get("TMPDIR", home), 0o711)  # our own scratch folder: only our own modes shall keep others out
        os.chmod(home, 0o755)
        broker = self.enterContext(Broker(home, C2_LATTICE_SPAWN="allow"))
        arch = broker.enrol("arch", "architect", working_dir=home)
        broker.person().post("/memory", {"key": "k", "value": "v"})
        bin_folder = os.path.join(home, "bin")
        os.mkdir(bin_folder)
        with open(os.path.join(bin_folder, "claude"), "w", encoding="utf-8") as file:
            file.write("#!/bin/sh\necho said\n")
        os.chmod(file.name, 0o755)
        broker.stop()
        broker.environ["PATH"] = f"{bin_folder}:{broker.environ['PATH']}"
        broker.start()
        arch.post("/spawn", {"peer_id": "spawned", "working_dir": home, "way": "headless"})
        with Session(home, C2_LATTICE_PORT=str(broker.port), PEER_ID="alice") as session:
            session.initialize()
            session.call("list_peers")
        subprocess.run(
            [*PYTHON, os.path.join(TOP, "launch.py"), "--no-browser"], env=broker.environ, cwd=home,
            stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=True,
        )  # fmt: skip
        backup.back_up(broker.database, os.path.join(broker.state, "backups", "by-hand.db"))
        until(lambda: os.path.exists(os.path.join(broker.state, "logs", "spawned.log")), "the spawned session has its log")
        return broker, home

    def ours(self, broker: Broker) -> tuple[list[str], list[str]]:
        """(files, folders) that the program made: the state directory, the database and what lies beside it."""
        folders = [broker.state, *(os.path.join(at, name) for at, names, _ in os.walk(broker.state) for name in names)]
        files = [os.path.join(at, name) for at, _, names in os.walk(broker.state) for name in names]
        files += [entry.path for entry in os.scandir(broker.home) if entry.name.startswith(os.path.basename(broker.database))]
        return files, folders

    def test_whatever_the_umask_every_file_is_0600_and_every_folder_0700(self) -> None:
        for umask in (0o000, 0o022) if figure(0, 1) else (0o000,):
            with self.subTest(umask=oct(umask)):
                broker, _ = self.used(umask)
                files, folders = self.ours(broker)
                there = {os.path.relpath(path, broker.home) for path in files}
                wanted = {
                    "state/secret",
                    "state/sign-in.html",
                    "state/logs/spawned.log",
                    "state/backups/by-hand.db",
                    "lattice.db",
                    "lattice.db.lock",
                }
                self.assertEqual(set(), wanted - there, there)
                self.assertTrue([path for path in there if path.startswith("state/sessions/")], there)
                self.assertEqual({}, {path: oct(mode) for path in files if (mode := stat.S_IMODE(os.lstat(path).st_mode)) & 0o177})
                self.assertEqual({}, {path: oct(mode) for path in folders if (mode := stat.S_IMODE(os.lstat(path).st_mode)) & 0o077})

    def test_another_user_opens_no_file_lists_no_folder_and_is_401_on_every_route(self) -> None:
        python = shutil.which("python3", path="/usr/bin:/bin")
        if os.geteuid() != 0 or shutil.which("setpriv") is None or python is None:
            self.skipTest("becoming another user needs root, setpriv (util-linux) and a Python that everybody may run")
        broker, home = self.used(0o000)
        files, folders = self.ours(broker)
        routes = [(operation.method, operation.path) for operation in OPERATIONS if "http" in operation.surfaces]
        asked = {"files": files, "folders": [home, *folders], "port": broker.port, "routes": routes}
        done = subprocess.run(
            ["setpriv", f"--reuid={OTHER_USER}", f"--regid={OTHER_USER}", "--clear-groups", python, "-I", "-S", "-c", self.INTRUDER],
            input=json.dumps(asked), cwd="/", env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, timeout=120, check=True,
        )  # fmt: skip
        said = json.loads(done.stdout)
        self.assertEqual(OTHER_USER, said["uid"])
        self.assertNotEqual("Permission denied", said["listed"].pop(home), "it is our own modes that keep it out")
        for kind in ("read", "written", "listed"):
            self.assertEqual({"Permission denied"}, set(said[kind].values()), kind)
        open_to_all = {(operation.method, operation.path) for operation in OPERATIONS if operation.roles == ANYONE}
        wrong = [
            (route, status)
            for route, status in zip(routes, said["answers"], strict=True)
            if status not in ((200, 400) if route in open_to_all else (401,))
        ]
        self.assertEqual([], wrong)

    def test_a_folder_that_is_open_or_anothers_is_refused(self) -> None:
        for mode, owner, word in (
            (0o777, 0, "open to other users"),
            (0o770, 0, "open to"),
            (0o755, 0, "open to"),
            (0o700, OTHER_USER, "another user"),
        ):
            if owner and os.geteuid() != 0:
                continue
            home = self.enterContext(tempfile.TemporaryDirectory())
            state = os.path.join(home, "state")
            os.mkdir(state)
            os.chmod(state, mode)
            os.chown(state, owner or os.geteuid(), -1)
            done = run_broker(home)
            self.assertEqual(77, done.returncode, (oct(mode), owner, done.stderr))
            self.assertIn(word, done.stderr.splitlines()[-1])
            self.assertEqual([], os.listdir(state))


def run_broker(home: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """A broker that is expected not to start."""
    return subprocess.run(
        [*PYTHON, os.path.join(TOP, "broker.py"), "--port", str(free_port())], env=environment(home, **environ), cwd=home,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip


@unittest.skipIf(os.name == "nt", "a FIFO, links and modes of POSIX")
class S19PlantedFiles(unittest.TestCase):
    """Something else lies where the secret, a ticket, a log or a draft should be."""

    def setUp(self) -> None:
        self.home = os.path.realpath(self.enterContext(tempfile.TemporaryDirectory()))
        self.state = os.path.join(self.home, "state")
        os.mkdir(self.state, mode=0o700)
        self.secret = os.path.join(self.state, "secret")
        self.target = os.path.join(self.home, "target")

    def write(self, path: str, content: bytes, mode: int = 0o600) -> None:
        with open(path, "wb") as file:
            file.write(content)
        os.chmod(path, mode)

    def plant(self, what: str) -> None:
        good = b"s" * 40
        match what:
            case "a symbolic link":
                self.write(self.target, good)
                os.symlink(self.target, self.secret)
            case "a symbolic link to nothing":
                os.symlink(self.target, self.secret)
            case "a symbolic link to itself":
                os.symlink(self.secret, self.secret)
            case "a hard link":
                self.write(self.target, good)
                os.link(self.target, self.secret)
            case "a FIFO":
                os.mkfifo(self.secret, 0o600)
            case "a folder":
                os.mkdir(self.secret, 0o700)
            case "a socket":
                with socket.socket(socket.AF_UNIX) as planted:
                    planted.bind(self.secret)
            case "a file of another user":
                self.write(self.secret, good)
                os.chown(self.secret, OTHER_USER, -1)
            case _ if what.startswith("mode "):
                self.write(self.secret, good, int(what[5:], 8))
            case _:
                self.write(self.secret, b"s" * int(what.split()[0]))

    def test_nothing_planted_for_the_secret_is_used_and_the_error_says_what_to_do(self) -> None:
        table = {
            "a symbolic link": "symbolic link; remove it", "a symbolic link to nothing": "symbolic link; remove it",
            "a symbolic link to itself": "symbolic link; remove it", "a hard link": "a second name",
            "a FIFO": "not a plain file; remove it", "a folder": self.secret, "a socket": self.secret,
            "a file of another user": "another user", "mode 644": "chmod 600",
            "mode 640": "chmod 600", "mode 620": "chmod 600", "mode 602": "chmod 600", "0 bytes": "has 0 bytes", "31 bytes": "has 31 bytes",
        }  # fmt: skip
        for what, word in table.items():
            if what == "a file of another user" and os.geteuid() != 0:
                continue
            with self.subTest(what):
                for path in (self.secret, self.target):
                    with contextlib.suppress(FileNotFoundError):
                        os.rmdir(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)
                self.plant(what)
                done = run_broker(self.home)
                self.assertEqual(78, done.returncode, done.stderr)
                last = done.stderr.splitlines()[-1]
                self.assertTrue(last.startswith("c2-lattice broker: "), last)
                self.assertIn(word, last)
                self.assertFalse(os.path.exists(os.path.join(self.home, "lattice.db")), "before anything else is made")
                if what == "a symbolic link to nothing":
                    self.assertFalse(os.path.lexists(self.target), "it is not followed")

    def test_sixty_four_at_once_make_one_secret(self) -> None:
        code = "import sys; from lattice.guard.tokens import load_secret; sys.stdin.readline(); print(load_secret(sys.argv[1]).hex())"
        processes = figure(8, 64)  # beside threads: 64 in all, each of whom could be the first
        os.rmdir(self.state)
        racers = [
            subprocess.Popen(
                [*PYTHON, "-c", f"import sys; sys.path.insert(0, {TOP!r}); {code}", self.state],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )
            for _ in range(processes)
        ]  # fmt: skip
        with concurrent.futures.ThreadPoolExecutor(64) as pool:
            gate = threading.Barrier(64)

            def race(_: int) -> str:
                gate.wait()
                return tokens.load_secret(self.state).hex()

            threads = pool.map(race, range(64))
            for racer in racers:
                assert racer.stdin is not None
                racer.stdin.write("go\n")
                racer.stdin.flush()
            found = {racer.communicate(timeout=60)[0].strip() for racer in racers} | set(threads)
        self.assertEqual(1, len(found))
        self.assertEqual(["secret"], os.listdir(self.state), "and no draft is left")

    def test_nothing_is_written_through_a_link_that_waits_at_another_name(self) -> None:
        """The link is replaced, or the file is left out; what it points to stays."""
        victim = os.path.join(self.home, "victim")
        self.write(victim, b"precious")
        port = free_port()
        record, sign_in, log = (os.path.join(self.state, name) for name in (f"broker-{port}.json", "sign-in.html", "session.log"))
        for path in (record, sign_in, log):
            os.symlink(victim, path)
        with Broker(self.home, C2_LATTICE_PORT=str(port)) as broker:
            broker.enrol("alice")
            self.assertEqual(0, self.launch(port).returncode)
            session_log.write(self.state, "something went wrong")
            for path, kind in ((record, "a file"), (sign_in, "a file"), (log, "a link")):
                self.assertEqual(kind, "a link" if os.path.islink(path) else "a file", path)
                self.assertEqual(0o600 if kind == "a file" else 0o777, stat.S_IMODE(os.lstat(path).st_mode), path)
            with open(victim, "rb") as file:
                self.assertEqual(b"precious", file.read())

    def test_a_broker_whose_log_would_go_elsewhere_is_not_started_and_it_is_said(self) -> None:
        victim = os.path.join(self.home, "victim")
        self.write(victim, b"precious")
        os.symlink(victim, os.path.join(self.state, "broker.log"))
        done = self.launch(free_port())
        self.assertEqual(1, done.returncode)
        self.assertIn("broker.log", done.stderr.splitlines()[-1])
        with open(victim, "rb") as file:
            self.assertEqual(b"precious", file.read())

    def launch(self, port: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*PYTHON, os.path.join(TOP, "launch.py"), "--no-browser"], env=environment(self.home, C2_LATTICE_PORT=str(port)), cwd=self.home,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip


class S21ForgedTokens(Attacked):
    """A token that was changed, cut, made up, used after its end, or used twice."""

    def test_whatever_stands_in_the_header_is_401_or_refused_as_a_head_and_never_500(self) -> None:
        good = self.worker.token
        prefix, payload, mac = good.split(".")
        flipped = [
            good[:at] + chr(ord(good[at]) ^ bit) + good[at + 1 :] for at in range(len(good)) for bit in (1, 2) if (ord(good[at]) ^ bit) > 32
        ]
        header = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').decode().rstrip("=")
        made = base64.urlsafe_b64encode(b'["worker","peer",1,9999999999]').decode().rstrip("=")
        system = base64.urlsafe_b64encode(b'["command-center","system",1,9999999999]').decode().rstrip("=")
        table: list[tuple[str, int]] = [(text, 401) for text in flipped]
        table += [(good[:cut], 401) for cut in range(0, len(good), 3)]
        table += [
            (text, 401)
            for text in (
                "x", "a.b.c", "...", good + "A", good + "=", good + ".", f".{good}", good[::-1], good.swapcase(), good.upper(),
                f"{header}.{made}.", f"{header}.{made}.{mac}", f"{prefix}.{made}.{mac}", f"{prefix}.{system}.{mac}", f"{prefix}.{payload}.",
                f"{prefix}..{mac}", f"c2i1.{payload}.{mac}", f"c2t2.{payload}.{mac}", f"none.{payload}.{mac}",
                f"{prefix}.{payload}.{'A' * 43}", f"{good} {good}", f"{good},{good}", "null", "undefined", "true", "[object Object]",
                "' OR 1=1 --", "../../secret", "%00",
                "A" * 4000,
                tokens.mint_token(os.urandom(32), subject="worker", kind="peer", epoch=1, now=time.time()),
                tokens.mint_token(self.broker.secret(), subject="worker", kind="peer", epoch=99, now=time.time()),
                tokens.mint_token(self.broker.secret(), subject="worker", kind="peer", epoch=0, now=time.time()),
                tokens.mint_token(self.broker.secret(), subject="worker", kind="peer", epoch=1, now=time.time() - 90_000),
                tokens.mint_token(self.broker.secret(), subject="command-center", kind="system", epoch=1, now=time.time() - 90_000),
                self.broker.ticket("worker"),
            )
        ]  # fmt: skip
        requests = []
        for text, status in table:
            requests.append((text[:60], self.request(f"Bearer {text}".encode()), status))
        for raw, status in (
            (b"Bearer \xc3\xa9", 401), (b"Bearer \xff\xfe", 401), (b"B\xc3\xa9arer x", 401), (b"Bearer\t" + good.encode(), 401),
            (b"Basic YTpi", 401), (b"Digest x", 401), (b"bearer", 401), (b"Bearer " + b"A" * 100_000, 431), (b"Bearer \0", 400),
        ):  # fmt: skip
            requests.append((repr(raw[:30]), self.request(raw), status))
        self.assertGreater(len(requests), 200)
        self.hold(requests)
        self.assertEqual(200, self.worker.call("GET", "/peers")[0], "the good one still is")

    def request(self, authorization: bytes) -> bytes:
        return b"GET /peers HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: close\r\nAuthorization: %s\r\n\r\n" % (self.port, authorization)

    def test_two_headers_are_no_choice(self) -> None:
        good = f"Authorization: Bearer {self.worker.token}\r\n".encode()
        for lines in (good + b"Authorization: Bearer x\r\n", b"Authorization: Bearer x\r\n" + good):
            head = b"GET /peers HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: close\r\n" % self.port
            (replies,) = self.shoot([head + lines + b"\r\n"])
            self.assertIn(replies[0].status, (400, 401))

    def test_the_token_of_one_that_was_ended_is_401_for_ever(self) -> None:
        with Broker() as broker:
            killed, gone = broker.enrol("killed", named=True), broker.enrol("gone")
            person = broker.person()
            person.post("/kill-peer", {"peer_id": "killed"})
            person.post("/unregister", {"peer_id": "gone"})
            for _ in range(2):
                for method, path, body in (("GET", "/peers", None), ("POST", "/heartbeat", {}), ("POST", "/tasks", {"title": "x"})):
                    status, said = killed.call(method, path, body)
                    self.assertEqual((401, "killed", "command-center"), (status, said["code"], said["ended_by"]))
                    self.assertIn(gone.call(method, path, body)[0], (401, 404))
                self.assertEqual((401, "killed"), (broker.register("killed")[0], broker.register("killed")[1]["code"]))
                for wire in (killed, gone, person):
                    wire.close()
                broker.stop()
                broker.start()
            broker.person().post("/resume", {"peer_id": "killed"})
            self.assertEqual(401, killed.call("GET", "/peers")[0], "resumed: its id may enrol again, its old token stays dead")
            self.assertEqual(200, broker.register("killed")[0])
            broker.enrol("gone")
            self.assertEqual(401, gone.call("GET", "/peers")[0], "the next owner's id is not the old token's")

    def test_a_write_that_is_sent_again_is_done_once(self) -> None:
        for path, body in (
            ("/send", {"recipient_id": "victim", "category": "finding", "content": "once"}),
            ("/tasks", {"title": "once"}),
            ("/memory", {"key": "once", "value": "v"}),
        ):
            raw = json.dumps({**body, "idempotency_key": f"replayed {path}"}).encode()
            before = self.rows()
            answers = []
            for _ in range(4):
                with contextlib.closing(self.worker.again()) as wire:
                    answers.append(wire.raw("POST", path, raw))
            self.assertEqual([200] * 4, [status for status, _ in answers])
            self.assertEqual([False, True, True, True], [bool(said.pop("repeated", False)) for _, said in answers])
            self.assertEqual([answers[0]] * 4, answers, path)
            self.assertEqual(before + 1, self.rows(), path)

    def rows(self) -> int:
        with contextlib.closing(sqlite3.connect(f"file:{self.broker.database}?mode=ro", uri=True)) as database:
            return sum(database.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0] for table in ("messages", "tasks", "memory"))


class S22Timing(Attacked):
    """How long a refusal takes must not tell how nearly right a guess was. No clock is looked at: the code is."""

    SECRET = ("mac", "secret", "proof", "resume", "token", "ticket", "nonce", "hash")
    # Words of the same sound that are no secrets (a fencing token, the log's chain), a program's own token looked at by itself,
    # and the answer to a random number that is never used again.
    OPEN = {
        ("agent/link.py", "token"), ("cli/door.py", "token"), ("hooks/door.py", "proof"),
        ("domain/tasks.py", "token"), ("domain/locks.py", "token"), ("broker/presence.py", "token"), ("domain/adoptions.py", "token"),
        ("broker/sweep.py", "token"), ("domain/events.py", "hash"),
    }  # fmt: skip

    def test_no_secret_is_compared_with_the_equals_sign(self) -> None:
        found = []
        package = os.path.join(TOP, "lattice")
        for folder, _, names in os.walk(package):
            for name in names:
                if not name.endswith(".py"):
                    continue
                path = os.path.relpath(os.path.join(folder, name), package).replace(os.sep, "/")
                with open(os.path.join(folder, name), encoding="utf-8") as file:
                    tree = ast.parse(file.read())
                found += [
                    f"{path}:{node.lineno} {ast.unparse(node)}"
                    for node in ast.walk(tree)
                    if isinstance(node, ast.Compare) and any(isinstance(one, (ast.Eq, ast.NotEq)) for one in node.ops)
                    for word in [self.secret_in(node)]
                    if word and (path, word) not in self.OPEN
                ]
        self.assertEqual([], found)

    def secret_in(self, compare: ast.Compare) -> str:
        """The word for a secret that one side names; "" where it is compared with a constant, which is none."""
        sides = [compare.left, *compare.comparators]
        if any(isinstance(side, ast.Constant) for side in sides):
            return ""
        for side in sides:
            if isinstance(side, ast.Call):
                side = side.func
            if isinstance(side, ast.Subscript) and isinstance(side.slice, ast.Constant):
                last = str(side.slice.value)
            else:
                last = side.attr if isinstance(side, ast.Attribute) else side.id if isinstance(side, ast.Name) else ""
            for word in () if last.isupper() else self.SECRET:
                if word in last.lower().split("_"):
                    return word
        return ""

    def test_a_wrong_signature_is_answered_alike_whomever_it_names(self) -> None:
        _, _, mac = self.worker.token.split(".")
        answers = set()
        for subject in ("worker", "ghost", "command-center", "killed"):
            payload = base64.urlsafe_b64encode(json.dumps([subject, "peer", 1, 9_999_999_999]).encode()).decode().rstrip("=")
            with contextlib.closing(Wire(self.port, headers={"Authorization": f"Bearer c2t1.{payload}.{mac}"})) as wire:
                status, said = wire.call("GET", "/peers")
                answers.add((status, json.dumps(said, sort_keys=True)))
        self.assertEqual(1, len(answers))


if __name__ == "__main__":
    unittest.main()
