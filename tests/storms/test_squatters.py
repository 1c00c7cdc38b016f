"""Somebody else is on our port: every program of ours says so, tells it nothing, ends as it should, and leaves it alone."""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import os
import re
import socket
import subprocess
import threading
import time
import unittest
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from lattice import settings
from lattice.agent import process
from lattice.guard import tokens
from tests.figures import measured
from tests.hooks.hooking import COMMON, stored
from tests.running import PYTHON, TOP, Broker, Session, environment, figure, temporary_home

AT_ONCE = figure(8, 20)
PATIENCE_S = 60
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"


class Squatter:
    """A program on a port of its own. It keeps every byte that it is sent; `answer(connection, heard)` is its manner."""

    def __init__(self, answer: Callable[[Squatter, socket.socket, bytes], None]) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self.listener.getsockname()[1]
        self.answer = answer
        self.heard: list[bytes] = []
        self.home = ""
        self.secret = b""
        self.done = threading.Event()
        self.threads: list[threading.Thread] = []
        self._begin(self._accept)

    def _begin(self, work: Callable[..., None], *given: object) -> None:
        thread = threading.Thread(target=work, args=given, daemon=True)
        self.threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self._begin(self._talk, connection)

    def _talk(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(PATIENCE_S)
            while not self.done.is_set():
                heard = connection.recv(65536)
                if not heard:
                    return
                self.heard.append(heard)
                self.answer(self, connection, heard)

    def is_well(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port), timeout=5):
            return self.listener.fileno() >= 0

    def close(self) -> None:
        self.done.set()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for thread in self.threads:
            thread.join(5)


# -- the manners of squatters ---------------------------------------------------------------------------------------------


def says_ok(self: Squatter, connection: socket.socket, heard: bytes) -> None:
    body = b'{"status":"ok","port":%d,"pid":%d}' % (self.port, os.getpid())
    connection.sendall(OK % (len(body), body))


def replays(self: Squatter, connection: socket.socket, heard: bytes) -> None:
    """It has heard our broker prove itself once, on this very port."""
    proof = tokens.prove(self.secret, "0" * 32, self.port, os.getpid())
    body = json.dumps({"status": "ok", "port": self.port, "pid": os.getpid(), "version": "5.0.0", "wire": 5, "proof": proof}).encode()
    connection.sendall(OK % (len(body), body))


def relays(self: Squatter, connection: socket.socket, heard: bytes, to: int = 0) -> None:
    """It hands what it is sent to our own broker, which serves on another port, and its answers back."""
    with socket.create_connection(("127.0.0.1", to), timeout=5) as broker:
        broker.sendall(heard.replace(b":%d\r\n" % self.port, b":%d\r\n" % to))
        connection.sendall(broker.recv(65536))


def hangs(self: Squatter, connection: socket.socket, heard: bytes) -> None:
    self.done.wait(PATIENCE_S)


def dribbles(self: Squatter, connection: socket.socket, heard: bytes) -> None:
    for byte in itertools.cycle(b"HTTP/1.1 200 OK\r\nX-Slow: "):
        connection.sendall(bytes((byte,)))
        if self.done.wait(0.2):
            return


def floods(self: Squatter, connection: socket.socket, heard: bytes) -> None:
    while True:
        connection.sendall(b"X-Flood: yes\r\n" * 4096)


def closes(self: Squatter, connection: socket.socket, heard: bytes) -> None:
    connection.shutdown(socket.SHUT_RDWR)


def speaks_ssh(self: Squatter, connection: socket.socket, heard: bytes) -> None:
    connection.sendall(b"SSH-2.0-OpenSSH_9.2p1\r\n")
    connection.shutdown(socket.SHUT_WR)


def redirects(self: Squatter, connection: socket.socket, heard: bytes) -> None:
    connection.sendall(b"HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")


def wants_a_password(self: Squatter, connection: socket.socket, heard: bytes) -> None:
    connection.sendall(b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\nContent-Length: 2\r\n\r\n{}")


MANNERS = (says_ok, replays, closes, hangs, dribbles, floods, speaks_ssh, redirects, wants_a_password)


# -- our programs ---------------------------------------------------------------------------------------------------------


def mcp(home: str, port: int) -> tuple[str, int]:
    """What a tool says, and how the server ends when its client goes."""
    with Session(home, C2_LATTICE_PORT=str(port), PEER_ID="bob") as session:
        session.initialize()
        said = session.result("check_messages", within_s=PATIENCE_S)
        text = said["content"][0]["text"] if said.get("isError") else f"no error: {said}"
        return f"{text}\n{session.stderr()}", session.close()


def hook(home: str, port: int) -> tuple[str, int]:
    said = {
        **COMMON, "cwd": home, "hook_event_name": "PreToolUse", "tool_name": "Edit", "tool_input": {"file_path": f"{home}/a.py"},
        "tool_use_id": "toolu_1",
    }  # fmt: skip
    [found] = stored("PreToolUse", "Edit")
    return run([found["command"], *found["args"]], home, json.dumps(said), CLAUDE_PID=str(os.getpid()), CLAUDECODE="1")


def command(home: str, port: int) -> tuple[str, int]:
    return run([*PYTHON, os.path.join(TOP, "lattice", "cli", "command.py"), "peers"], home, C2_LATTICE_PORT=str(port))


def command_of_a_session(home: str, port: int) -> tuple[str, int]:
    line = [*PYTHON, os.path.join(TOP, "lattice", "cli", "command.py"), "send", "arch", "hello"]
    return run(line, home, C2_LATTICE_PORT=str(port), PEER_ID="alice")


def launch(home: str, port: int) -> tuple[str, int]:
    return run([*PYTHON, os.path.join(TOP, "launch.py"), "--no-browser"], home, C2_LATTICE_PORT=str(port))


def launch_stop(home: str, port: int) -> tuple[str, int]:
    return run([*PYTHON, os.path.join(TOP, "launch.py"), "--stop"], home, C2_LATTICE_PORT=str(port))


def broker(home: str, port: int) -> tuple[str, int]:
    return run([*PYTHON, os.path.join(TOP, "broker.py")], home, C2_LATTICE_PORT=str(port))


def run(line: list[str], home: str, given: str = "", **environ: str) -> tuple[str, int]:
    done = subprocess.run(
        line, input=given, env=environment(home, **environ), cwd=home, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    return done.stdout + done.stderr, done.returncode


# How each may end: a hook never stands in the way; `--stop` was asked to stop ours, and says that this one is not.
PROGRAMS: dict[Callable[[str, int], tuple[str, int]], set[int]] = {
    mcp: {0}, hook: {0}, command: {1, 3}, command_of_a_session: {1, 3}, launch: {1, 3}, launch_stop: {0, 1, 3}, broker: {69},
}  # fmt: skip


class Squatters(unittest.TestCase):
    time_bound_s = 240.0

    def setUp(self) -> None:
        self.unclear: list[str] = []
        self.leaks: list[str] = []
        self.cases = 0

    def home(self, port: int) -> tuple[str, list[bytes]]:
        """A home in which a session was at work with a broker on this port; and what nobody else may hear of it."""
        home = self.enterContext(temporary_home())
        state = environment(home)["C2_LATTICE_HOME"]
        secret = tokens.load_secret(state)
        token = tokens.mint_token(secret, subject="alice", kind="peer", epoch=1, now=time.time())
        os.mkdir(os.path.join(state, "sessions"), 0o700)
        me = os.getpid()
        settings.write_record(os.path.join(state, "sessions", f"alice@{port}.json"), {
            "peer": "alice", "role": "worker", "resume": "resume-" + "a" * 32, "port": port, "named": True, "token": token,
            "client_pid": me, "client_started": process.started(me), "session": "", "pid": me, "started": process.started(me),
            "saved": time.time(),
        })  # fmt: skip
        os.mkdir(os.path.join(state, "flags"), 0o700)
        with open(os.path.join(state, "flags", str(me)), "w", encoding="utf-8") as flag:  # there is a reason for its hooks to ask
            flag.write("alice:locks")
        person = tokens.mint_token(secret, subject="command-center", kind="system", epoch=1, now=time.time())
        settings.write_record(os.path.join(state, "sessions", f"command-center@{port}.json"), {
            "peer": "command-center", "token": person, "pid": 0, "started": "", "saved": time.time(),
        })  # fmt: skip
        return home, [secret, token.encode(), person.encode(), b"resume-"]

    def meet(self, program: Callable[[str, int], tuple[str, int]], name: str, home: str, port: int) -> None:
        said, status = program(home, port)
        self.cases += 1
        if str(port) not in said or "Traceback" in said or "no error:" in said or status not in PROGRAMS[program]:
            self.unclear.append(f"{program.__name__} and one that {name} ended with {status}: {said}")

    def judge(self, name: str, heard: list[bytes], secrets: list[bytes]) -> None:
        """Nothing but nonces may have been said."""
        all_of_it = b"".join(heard)
        for secret in (*secrets, b"authorization", b"ticket ", b"bearer "):
            if secret in all_of_it or secret in all_of_it.lower():
                self.leaks.append(f"one that {name} heard {secret!r}")
        for line in re.findall(rb"^[A-Z]+ \S+ HTTP/1.1", all_of_it, re.MULTILINE):
            if not re.fullmatch(rb"GET /health(\?nonce=[0-9a-f]{32})? HTTP/1.1", line):
                self.leaks.append(f"one that {name} was asked for {line!r}")

    def test_each_program_of_ours_says_so_and_tells_it_nothing(self) -> None:
        ours = self.enterContext(Broker())
        theirs = self.enterContext(Broker())
        manners: list[Any] = [*MANNERS[: figure(3, len(MANNERS))], functools.partial(relays, to=ours.port)]
        squatters = []
        for manner in manners:
            squatter = Squatter(manner)
            self.addCleanup(squatter.close)
            name = getattr(manner, "__name__", "relays")
            home, secrets = self.home(squatter.port)
            squatter.secret = secrets[0]
            if name == "relays":  # it is our own broker that it relays to: the same secret
                with open(os.path.join(environment(home)["C2_LATTICE_HOME"], "secret"), "wb") as file:
                    file.write(ours.secret() + b"\n")
            squatters.append((squatter, name, home, secrets))
        their_home, their_secrets = self.home(theirs.port)
        person = theirs.person()
        before = person.get("/events?follow=0")["after"]
        meetings = [(program, name, home, squatter.port) for squatter, name, home, _ in squatters for program in PROGRAMS]
        meetings += [(program, "is another user's broker", their_home, theirs.port) for program in PROGRAMS]
        meetings.sort(key=lambda meeting: meeting[1] not in ("hangs", "dribbles"))  # these take longest
        with ThreadPoolExecutor(AT_ONCE) as threads:
            list(threads.map(lambda meeting: self.meet(*meeting), meetings))
        for squatter, name, _, secrets in squatters:
            self.assertTrue(squatter.is_well(), name)
            self.judge(name, squatter.heard, secrets)
        self.assertEqual(before, person.get("/events?follow=0")["after"], "nothing was done there")
        self.assertEqual([], [name for *_, home, _ in squatters for name in os.listdir(home) if name == "lattice.db"])
        sent = sum(len(leak) for leak in self.leaks)
        measured(self, "R25", cases=self.cases, squatters=len(squatters) + 1, secret_bytes_sent=sent, unclear=len(self.unclear))
        self.assertEqual(([], []), (self.leaks, self.unclear))
        self.assertEqual(len(meetings), self.cases)


if __name__ == "__main__":
    unittest.main()
