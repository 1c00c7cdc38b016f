"""Real programs for tests: a broker process, MCP servers over stdio, plain HTTP peers, each in a temporary home.

Everything here ends what it starts, by its own handle. The HTTP side is written by hand against the published wire,
so that it does not share a mistake with `lattice/web/client.py`. Figures of seeded tests come from `figure` and `chance`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from lattice import settings as settings_module
from lattice.guard import tokens

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PYTHON = [sys.executable, "-I", "-S"]
PATIENCE_S = 20.0


def figure(short: int, full: int, nightly: int = 0) -> int:
    """How many rounds: small in the plain run, `full` with --storms, `nightly` (or full) with --nightly."""
    kind = os.environ.get("C2_LATTICE_TEST_FIGURES", "short")
    return short if kind == "short" else full if kind == "full" or not nightly else nightly


def chance(test: unittest.TestCase) -> random.Random:
    """This test's own random numbers; the seed is printed, `--replay N` repeats it."""
    seed = int(os.environ.get("C2_LATTICE_TEST_SEED", "0")) or int.from_bytes(os.urandom(4), "big")
    print(f"{test.id()}: --replay {seed}", flush=True)
    digest = hashlib.sha256(f"{seed} {test.id()}".encode()).digest()
    return random.Random(int.from_bytes(digest[:8], "big"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(condition: Callable[..., Any], what: str, within_s: float = PATIENCE_S, every_s: float = 0.01) -> Any:
    """The first true value of the condition. AssertionError naming `what` when it stays false."""
    end = time.monotonic() + within_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {within_s} s: {what}")
        time.sleep(every_s)


def environment(home: str, **extra: str) -> dict[str, str]:
    """A bare environment whose state is all below `home`."""
    return {
        "PATH": os.environ.get("PATH", ""), "HOME": home, "USERPROFILE": home, "TMPDIR": home, "LANG": "C.UTF-8",
        "C2_LATTICE_HOME": os.path.join(home, "state"), "C2_LATTICE_DB": os.path.join(home, "lattice.db"),
    } | extra  # fmt: skip


# -- HTTP, by hand ------------------------------------------------------------------------------------------------------


class Dropped(Exception):
    """The connection ended before an answer was complete."""


class Wire:
    """One keep-alive connection. `call` answers (status, body); it retries nothing."""

    def __init__(self, port: int, *, timeout_s: float = PATIENCE_S, headers: dict[str, str] | None = None) -> None:
        self.port, self.timeout_s = port, timeout_s
        self.headers = dict(headers or {})
        self.socket: socket.socket | None = None
        self.rest = b""

    def call(self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None) -> tuple[int, dict[str, Any]]:
        payload = b"" if body is None else json.dumps(body).encode()
        return self.raw(method, path, payload, headers)

    def raw(self, method: str, path: str, payload: bytes, headers: dict[str, str] | None = None) -> tuple[int, dict[str, Any]]:
        """As `call`, with the body's bytes as they are."""
        lines = {"Host": f"127.0.0.1:{self.port}"}
        if payload or method == "POST":
            lines |= {"Content-Type": "application/json", "Content-Length": str(len(payload))}
        lines |= self.headers | (headers or {})
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self.send(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + payload)
        return self.receive()

    def send(self, data: bytes) -> None:
        if self.socket is None:
            self.socket = socket.create_connection(("127.0.0.1", self.port), timeout=self.timeout_s)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.rest = b""
        try:
            self.socket.sendall(data)
        except OSError as error:
            self.close()
            raise Dropped(str(error)) from error

    def receive(self) -> tuple[int, dict[str, Any]]:
        try:
            head = self._read_until(b"\r\n\r\n")
            status = int(head.split(b" ", 2)[1])
            fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in head.split(b"\r\n")[1:])}
            size = int(fields[b"content-length"])
            while len(self.rest) < size:
                self._more()
            body, self.rest = self.rest[:size], self.rest[size:]
        except (OSError, ValueError, KeyError, IndexError) as error:
            self.close()
            raise Dropped(f"{type(error).__name__} {error}") from error
        if fields.get(b"connection", b"").lower() == b"close":
            self.close()
        self.last_headers = {name.decode(): value.decode() for name, value in fields.items()}
        try:
            said = json.loads(body)
        except ValueError:
            said = {"text": body.decode("utf-8", "replace")}
        return status, said

    def _read_until(self, mark: bytes) -> bytes:
        while mark not in self.rest:
            self._more()
        head, _, self.rest = self.rest.partition(mark)
        return head

    def _more(self) -> None:
        assert self.socket is not None
        data = self.socket.recv(65536)
        if not data:
            raise OSError("closed by the broker")
        self.rest += data

    def close(self) -> None:
        if self.socket is not None:
            self.socket.close()
            self.socket = None


class Peer(Wire):
    """An enrolled peer that speaks the published paths over plain HTTP."""

    def __init__(self, port: int, id: str, token: str, **enrolled: Any) -> None:
        super().__init__(port, headers={"Authorization": f"Bearer {token}"})
        self.id, self.token, self.enrolled = id, token, enrolled

    def get(self, path: str) -> dict[str, Any]:
        return self.ok("GET", path)

    def post(self, path: str, body: object = None) -> dict[str, Any]:
        return self.ok("POST", path, {} if body is None else body)

    def ok(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        status, said = self.call(method, path, body)
        assert status == 200, f"{method} {path}: {status} {said}"
        return said

    def again(self) -> Peer:
        """A second connection with the same token."""
        return Peer(self.port, self.id, self.token, **self.enrolled)


# -- the broker -----------------------------------------------------------------------------------------------------------


class Broker:
    """A real `broker.py` in a home of its own. Start it again on the same home after `kill` or `stop`."""

    def __init__(self, home: str = "", **environ: str) -> None:
        self.owns_home = not home
        self.home = home or os.path.realpath(tempfile.mkdtemp(prefix="c2b"))
        self.port = int(environ.get("C2_LATTICE_PORT") or free_port())
        self.environ = environment(self.home, **{"C2_LATTICE_PORT": str(self.port), "C2_LATTICE_RATE": "1000000"} | environ)
        self.state = self.environ["C2_LATTICE_HOME"]
        self.database = self.environ["C2_LATTICE_DB"]
        self.command = [*PYTHON, os.path.join(TOP, "broker.py")]
        self.process: subprocess.Popen[bytes] | None = None
        self.people: list[Wire] = []

    def __enter__(self) -> Broker:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self, *, under: Sequence[str] = ()) -> Broker:
        """Start it and wait until /health answers. `under` is a program to run it under (strace …)."""
        self.launch(under=under)
        until(self._answers, f"the broker answers on its port\n{self.output()}")
        return self

    def launch(self, *, under: Sequence[str] = ()) -> None:
        """Start it, and do not wait."""
        assert self.process is None or self.process.poll() is not None
        with open(os.path.join(self.home, "broker.out"), "ab") as out:
            self.process = subprocess.Popen(
                [*under, *self.command], env=self.environ, cwd=self.home,
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
            )  # fmt: skip

    @property
    def signalled(self) -> int:
        """The process that a signal for the broker goes to."""
        assert self.process is not None
        return beneath_strace(self.process.pid)

    def _answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"the broker ended with {self.process.returncode}\n{self.output()}")
        with contextlib.suppress(OSError, Dropped), contextlib.closing(self.wire()) as wire:
            return wire.call("GET", "/health")[0] == 200
        return False

    def wire(self) -> Wire:
        """A way to the broker itself, whatever stands on its port."""
        return Wire(self.port, timeout_s=5)

    @property
    def pid(self) -> int:
        """The broker's own pid, also where it runs under another program."""
        with contextlib.closing(Wire(self.port)) as wire:
            return int(wire.call("GET", "/health")[1]["pid"])

    def output(self) -> str:
        """The end of what it wrote."""
        return self.log()[-8000:]

    def log(self) -> str:
        """All that it wrote."""
        said = ""
        for path in (os.path.join(self.home, "broker.out"), os.path.join(self.state, "broker.log")):
            with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
                said += file.read()
        return said

    def kill(self) -> None:
        """SIGKILL, as a power cut would for this process."""
        self._end(signal.SIGKILL)

    def stop(self, within_s: float = 10.0) -> int:
        """SIGTERM; the exit code."""
        return self._end(signal.SIGTERM, within_s)

    def _end(self, how: int, within_s: float = 10.0) -> int:
        if self.process is None:
            return 0
        if self.process.poll() is None:
            os.kill(self.signalled, how)
        try:
            return self.process.wait(within_s)
        finally:
            if self.process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.signalled, signal.SIGKILL)
                self.process.kill()
                self.process.wait()

    def freeze(self) -> None:
        assert self.process is not None
        os.kill(self.signalled, signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process is not None
        os.kill(self.signalled, signal.SIGCONT)

    def close(self) -> None:
        for wire in self.people:
            wire.close()
        if self.process is not None and self.process.poll() is None:
            self.thaw()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.stop()
        if self.owns_home:
            shutil.rmtree(self.home, ignore_errors=True)

    # -- people

    def secret(self) -> bytes:
        return tokens.load_secret(self.state, self.environ.get("C2_LATTICE_SECRET", ""))

    def ticket(self, peer: str, role: str = "worker", workspace: str = "", *, now: float = 0.0) -> str:
        return tokens.mint_ticket(self.secret(), peer=peer, role=role, workspace=workspace, now=now or time.time())

    def register(self, id: str, role: str = "worker", workspace: str = "", **fields: Any) -> tuple[int, dict[str, Any]]:
        with contextlib.closing(Wire(self.port)) as wire:
            headers = {"Authorization": f"Ticket {self.ticket(id, role, workspace)}"}
            return wire.call("POST", "/register", {"id": id, "role": role, **fields}, headers)

    def enrol(self, id: str, role: str = "worker", workspace: str = "", **fields: Any) -> Peer:
        """Enrol; AssertionError when the broker refuses. The connection closes with the broker."""
        status, said = self.register(id, role, workspace, **fields)
        assert status == 200, f"register {id}: {status} {said}"
        token = said.pop("token")
        return self.adopt(Peer(self.port, said.pop("id"), token, **said))

    def person(self) -> Peer:
        """The person at the page: a system token."""
        with contextlib.closing(Wire(self.port)) as wire:
            ticket = self.ticket("command-center", "system")
            status, said = wire.call("POST", "/sign-in", {}, {"Authorization": f"Ticket {ticket}"})
        assert status == 200, f"sign in: {status} {said}"
        return self.adopt(Peer(self.port, "command-center", said["token"], viewer=said.get("viewer", "")))

    def adopt(self, peer: Peer) -> Peer:
        self.people.append(peer)
        return peer

    def beat_all(self, peers: Sequence[Peer], every_s: float = 3.0) -> Beating:
        return Beating(peers, every_s)


def beneath_strace(pid: int) -> int:
    """The process that strace runs, for it hands no signal on; any other process itself."""
    with contextlib.suppress(OSError, ValueError):
        with open(f"/proc/{pid}/comm", encoding="utf-8") as comm, open(f"/proc/{pid}/task/{pid}/children", encoding="utf-8") as children:
            if comm.read() == "strace\n":
                return int(children.read().split()[0])
    return pid


class Beating:
    """Beats for plain HTTP peers, on one thread and connections of its own, until closed."""

    def __init__(self, peers: Sequence[Peer], every_s: float) -> None:
        self.wires = [(peer.again(), peer.id) for peer in peers]
        self.done = threading.Event()
        self.every_s = every_s
        self.thread = threading.Thread(target=self._beat, daemon=True)
        self.thread.start()

    def _beat(self) -> None:
        while not self.done.wait(self.every_s):
            for wire, id in self.wires:
                with contextlib.suppress(OSError, Dropped):  # the broker may be down: that is some tests' point
                    wire.call("POST", "/heartbeat", {"id": id})

    def close(self) -> None:
        self.done.set()
        self.thread.join(PATIENCE_S)
        for wire, _ in self.wires:
            wire.close()


# -- an MCP server beside a session -----------------------------------------------------------------------------------------


class ToolFailed(Exception):
    """A tool's result with isError."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class Session:
    """A coding client's end of a real `mcp_server.py`: requests over its stdin, answers from its stdout.

    `lines` holds every line the server wrote. Use as a context manager; leaving it closes stdin and waits.
    """

    def __init__(self, home: str, *, cwd: str = "", command: Sequence[str] = (), **environ: str) -> None:
        self.lines: list[bytes] = []
        self.answers: dict[object, dict[str, Any]] = {}
        self.news = threading.Condition()
        self.next_id = 0
        self.ended = False
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            list(command) or [*PYTHON, os.path.join(TOP, "mcp_server.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=self.errors, env=environment(home, **environ), cwd=cwd or home,
        )  # fmt: skip
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self.news:
                self.lines.append(line)
                with contextlib.suppress(ValueError):
                    message = json.loads(line)
                    if isinstance(message, dict) and "id" in message:
                        self.answers[message["id"]] = message
                self.news.notify_all()
        with self.news:
            self.ended = True
            self.news.notify_all()

    def send(self, message: object) -> None:
        assert self.process.stdin is not None
        data = message if isinstance(message, bytes) else json.dumps(message).encode() + b"\n"
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def ask(self, method: str, params: dict[str, Any] | None = None) -> int:
        """Send a request; its id."""
        self.next_id += 1
        message: dict[str, Any] = {"jsonrpc": "2.0", "id": self.next_id, "method": method}
        if params is not None:
            message["params"] = params
        self.send(message)
        return self.next_id

    def answer(self, id: object, within_s: float = 30.0) -> dict[str, Any]:
        """The answer to the request with this id."""
        with self.news:
            self.news.wait_for(lambda: id in self.answers or self.ended, within_s)
            if id not in self.answers:
                raise AssertionError(f"no answer to {id}; server {'ended' if self.ended else 'silent'}; it said: {self.stderr()}")
            return self.answers.pop(id)

    def request(self, method: str, params: dict[str, Any] | None = None, within_s: float = 30.0) -> dict[str, Any]:
        message = self.answer(self.ask(method, params), within_s)
        assert "result" in message, message
        result: dict[str, Any] = message["result"]
        return result

    def initialize(self, version: str = "2025-11-25", client: str = "tests") -> dict[str, Any]:
        result = self.request(
            "initialize", {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": client, "version": "1"}}
        )
        self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return result

    def result(self, tool: str, arguments: dict[str, Any] | None = None, within_s: float = 30.0, **more: Any) -> dict[str, Any]:
        """The whole result of a tool, errors included."""
        return self.request("tools/call", {"name": tool, "arguments": {**(arguments or {}), **more}}, within_s)

    def call(self, tool: str, arguments: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        """What a tool answers, as the structured form. ToolFailed when it says isError."""
        result = self.result(tool, arguments, **more)
        text = result["content"][0]["text"]
        if result.get("isError"):
            raise ToolFailed(text)
        structured: dict[str, Any] = result["structuredContent"]
        return structured

    def stderr(self) -> str:
        self.errors.seek(0)
        return self.errors.read().decode("utf-8", "replace")[-4000:]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def close(self, within_s: float = 10.0) -> int:
        """Close stdin, as a client that goes away does; the exit code."""
        assert self.process.stdin is not None and self.process.stdout is not None
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        try:
            code = self.process.wait(within_s)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            self.reader.join(5)
            self.process.stdout.close()
            if not self.errors.closed:
                self.errors.close()
        return code


@contextlib.contextmanager
def temporary_home() -> Iterator[str]:
    """A home whose broker, if a session started one, is ended with it."""
    home = os.path.realpath(tempfile.mkdtemp(prefix="c2h"))
    try:
        yield home
    finally:
        end_brokers(home)
        shutil.rmtree(home, ignore_errors=True)


def brokers_of(home: str) -> list[dict[str, Any]]:
    """The cards of the brokers in this home whose process lives."""
    cards = settings_module.running_brokers(environment(home)["C2_LATTICE_HOME"])
    return [dict(card) for card in cards if _lives(int(str(card.get("pid", 0))))]


def end_brokers(home: str) -> None:
    """End the brokers that sessions of this home started: their cards are in this home, so they are ours."""
    for card in brokers_of(home):
        pid = int(str(card["pid"]))
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        with contextlib.suppress(AssertionError):
            until(lambda pid=pid: not _lives(pid), "the broker ends", 5)
            continue
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _lives(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        if os.path.isdir("/proc/self"):
            return False
    except OSError:
        return False
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True
