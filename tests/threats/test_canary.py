"""Secrets stay where they belong (S20): a broker, sessions, hooks, commands and a spawned session with secrets that are known,
and then everything that was left behind or shown is searched for them.

A secret has one place each, and is found there: else the search would prove nothing.
"""

from __future__ import annotations

import base64
import contextlib
import glob
import json
import os
import re
import stat
import subprocess
import time
import unittest
from typing import Any

from lattice.guard import tokens
from lattice.store import backup
from tests.clients.inbox import Inbox
from tests.figures import measured
from tests.hooks.hooking import Hooked
from tests.running import PYTHON, TOP, Broker, Wire, until

SECRET = b"canary-secret-7b1f0c9d2e4a6b8c0d1e2f3a4b5c6d7e"
# The spawned client: it shows itself in the process table until it is told to go, then runs its MCP server once.
CLIENT = """#!/bin/sh
tr '\\0' '\\n' < /proc/$$/environ > "$PEER_DIR/seen.env"
: > "$PEER_DIR/is-there"
read line < "$PEER_DIR/go"
{ printf '%s\\n%s\\n' 'HELLO' 'CALL'; sleep 2; } | SERVER
"""
HELLO = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
ASKED = {
    "HELLO": {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": HELLO},
    "CALL": {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "list_peers", "arguments": {}}},
}


class Canaries:
    """Every secret that there is, by what it is, and in which files it may lie."""

    def __init__(self, home: str) -> None:
        self.home = home
        self.known: dict[str, tuple[bytes, str]] = {}  # what: (the secret, a pattern of the files where it may be)

    def add(self, what: str, secret: str | bytes, may_be_in: str = "") -> None:
        raw = secret.encode() if isinstance(secret, str) else secret
        assert len(raw) > 15, what
        self.known[what] = (raw, may_be_in)

    def forms(self, raw: bytes) -> list[bytes]:
        """The secret, and as what it could be written: hexadecimal digits, base64, its last part alone (a token's signature)."""
        plain = [raw, raw.hex().encode(), base64.b64encode(raw).rstrip(b"="), base64.urlsafe_b64encode(raw).rstrip(b"=")]
        return [*plain, raw.rpartition(b".")[2]] if raw.count(b".") == 2 else plain

    def in_text(self, text: bytes) -> list[str]:
        return [what for what, (raw, _) in self.known.items() if any(form in text for form in self.forms(raw))]

    def in_files(self, paths: list[str]) -> tuple[list[str], set[str]]:
        """(what lies where it must not, what was found where it may)."""
        wrong, at_home = [], set()
        for path in paths:
            with open(path, "rb") as file:
                content = file.read()
            for what in self.in_text(content):
                where = os.path.relpath(path, self.home)
                if self.known[what][1] and re.fullmatch(self.known[what][1], where):
                    at_home.add(what)
                else:
                    wrong.append(f"{what} in {where}")
        return wrong, at_home


@unittest.skipUnless(os.path.isdir("/proc/self/fd"), "what other processes were started with is read in /proc")
class S20Leaks(Hooked):
    time_bound_s = 120.0

    @classmethod
    def setUpClass(cls) -> None:
        cls.broker = Broker(C2_LATTICE_SPAWN="allow")
        os.mkdir(cls.broker.state, 0o700)
        with open(os.open(os.path.join(cls.broker.state, "secret"), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(SECRET)
        folder = os.path.join(cls.broker.home, "bin")
        os.mkdir(folder)
        with open(os.path.join(folder, "claude"), "w", encoding="utf-8") as script:
            text = CLIENT.replace("SERVER", " ".join([*PYTHON, os.path.join(TOP, "mcp_server.py")]))
            for word, message in ASKED.items():
                text = text.replace(word, json.dumps(message))
            script.write(text)
        os.chmod(script.name, 0o755)
        cls.broker.environ["PATH"] = f"{folder}:{cls.broker.environ['PATH']}"
        cls.broker.start()
        cls.addClassCleanup(cls.broker.close)

    def setUp(self) -> None:
        super().setUp()
        self.canaries = Canaries(self.broker.home)
        self.canaries.add("the secret", SECRET, "state/secret")
        self.shown: dict[str, bytes] = {}  # where something was shown: what

    def test_no_secret_is_anywhere_but_in_its_place(self) -> None:
        self.people()
        self.a_session_with_hooks()
        self.commands()
        self.errors()
        self.pages()
        processes = self.a_spawned_session()
        backup.back_up(self.broker.database, os.path.join(self.broker.state, "backups", "by-hand.db"))
        files = self.files()
        wrong, at_home = self.canaries.in_files(files)
        wrong += [f"{what} in {where}" for where, text in {**self.shown, **processes}.items() for what in self.canaries.in_text(text)]
        self.assertEqual([], wrong)
        self.assertEqual(set(), {what for what, (_, place) in self.canaries.known.items() if place} - at_home, "each was found at home")
        self.assertGreaterEqual(len(self.canaries.known), 12, self.canaries.known.keys())
        ours = [path for path in files if path.startswith((self.broker.state + os.sep, self.broker.database))]
        folders = [self.broker.state, *(os.path.join(at, name) for at, names, _ in os.walk(self.broker.state) for name in names)]
        looser = [path for path in ours if stat.S_IMODE(os.lstat(path).st_mode) & 0o177]
        looser += [path for path in folders if stat.S_IMODE(os.lstat(path).st_mode) & 0o077]
        self.assertEqual([], looser)
        places = len(files) + len(self.shown) + len(processes)
        print(f"{len(self.canaries.known)} secrets; {len(files)} files, {len(self.shown)} answers and outputs, {len(processes)} processes")
        measured(self, "R43", places=places, hits=len(wrong), files_looser_than_0600=len(looser))

    # -- what happens

    def people(self) -> None:
        """Enrolled over HTTP: their tickets are used up, their tokens and resume secrets are with them alone."""
        ticket = self.broker.ticket("alice", workspace=self.workspace)
        with contextlib.closing(Wire(self.broker.port, headers={"Authorization": f"Ticket {ticket}"})) as wire:
            status, said = wire.call("POST", "/register", {"id": "alice", "working_dir": self.project})
        self.assertEqual(200, status)
        self.alice = Wire(self.broker.port, headers={"Authorization": f"Bearer {said['token']}"})
        self.addCleanup(self.alice.close)
        self.arch = self.broker.enrol("arch", "architect", self.workspace, working_dir=self.project, beat_ms=60_000)
        self.person = self.broker.person()
        for what, secret in {
            "a used ticket": ticket, "alice's token": said["token"], "alice's resume secret": said["resume"],
            "arch's token": self.arch.token, "arch's resume secret": self.arch.enrolled["resume"], "the person's token": self.person.token,
            "the viewer's token": self.person.enrolled["viewer"],
            "a ticket that nobody used": self.broker.ticket("carol"),
        }.items():  # fmt: skip
            self.canaries.add(what, secret)
        self.alice.call("POST", "/send", {"recipient_id": "arch", "category": "finding", "content": "hello"})
        self.alice.call("POST", "/tasks", {"title": "a task", "idempotency_key": "k1"})

    def a_session_with_hooks(self) -> None:
        """A session whose client has an inbox with a token of its own; each of its hooks runs."""
        inbox = self.enterContext(Inbox(self.broker.home))
        inbox.token = "the-canary-token-of-the-inbox"
        self.canaries.add("the inbox's token", inbox.token)
        os.environ.update(inbox.environ)  # the session's server inherits it, as from its client
        try:
            session = self.session("s1")
        finally:
            for name in inbox.environ:
                del os.environ[name]
        self.environ |= inbox.environ
        held = self.path("src/app.py")
        self.alice.call("POST", "/lock", {"file_path": held})
        self.alice.call("POST", "/send", {"recipient_id": "s1", "category": "question", "content": "are you there?"})
        self.until_flag("mail")
        for event, tool, given in (
            ("SessionStart", "", None), ("UserPromptSubmit", "", None),
            ("PreToolUse", "Edit", {"file_path": held, "old_string": "x", "new_string": "y"}),
            ("PreToolUse", "Bash", {"command": f"sed -i s/x/y/ {held}"}), ("PostToolUse", "Bash", {"command": "true"}), ("Stop", "", None),
            ("PreCompact", "", None),
        ):  # fmt: skip
            ran = self.run_hook(event, tool, given)
            self.shown[f"hook {event} {tool}"] = (ran.stdout + ran.stderr).encode()
        self.assertIn("alice", self.shown["hook PreToolUse Edit"].decode())
        for tool, arguments in (
            ("check_messages", {}),
            ("list_peers", {}),
            ("view_dashboard", {}),
            ("claim_task", {"task_id": 1}),
            ("get_task", {"task_id": 99}),
        ):
            self.shown[f"tool {tool}"] = json.dumps(session.result(tool, arguments)).encode()
        for path in glob.glob(os.path.join(self.broker.state, "sessions", "*")):
            with open(path, encoding="utf-8") as file:
                record = json.load(file)
            for name in ("token", "resume"):
                if record.get(name):
                    self.canaries.add(f"{name} of {record['peer']}", record[name], r"state/sessions/.*")
        self.assertIn("token of s1", self.canaries.known)
        self.shown["what the session's server said"] = b"".join(session.lines) + session.stderr().encode()

    def commands(self) -> None:
        """The person's commands, the page's sign-in file, and commands inside the session."""
        launched = self.run_ours("launch.py", "--no-browser")
        self.shown["launch.py"] = launched.stdout + launched.stderr
        with open(os.path.join(self.broker.state, "sign-in.html"), encoding="utf-8") as file:
            code = re.search(r"#code=([^\"]+)", file.read())
        assert code is not None
        self.canaries.add("the sign-in code", code[1], r"state/sign-in\.html")
        command = os.path.join("lattice", "cli", "command.py")
        for words in (["peers"], ["status"], ["doctor"], ["inbox", "--json"], ["log"], ["events"], ["state"], ["send", "alice", "hi"],
                      ["task", "1"],
                      ["get-peer", "s1", "--json"], ["no-such-verb"], ["kill", "nobody"]):  # fmt: skip
            done = self.run_ours(command, *words)
            self.shown[f"c2-lattice {' '.join(words)}"] = done.stdout + done.stderr
        for words in (["peers"], ["inbox"], ["summary", "at work"]):
            done = self.run_ours(command, *words, **self.environ)
            self.shown[f"in the session: {' '.join(words)}"] = done.stdout + done.stderr
        record = glob.glob(os.path.join(self.broker.state, "sessions", "*"))
        for path in record:  # the person's own token is kept there too
            with open(path, encoding="utf-8") as file:
                kept = json.load(file)
            if kept.get("peer") == "command-center":
                self.canaries.add("the token of the person's commands", kept["token"], r"state/sessions/.*")

    def run_ours(self, script: str, *words: str, **environ: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [*PYTHON, os.path.join(TOP, script), *words], env=self.broker.environ | environ, cwd=self.project,
            stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False,
        )  # fmt: skip

    def errors(self) -> None:
        """Secrets in every wrong place of a request: no answer repeats one, and no log has it afterwards."""
        token, ticket = self.arch.token, self.broker.ticket("dave")
        self.canaries.add("a ticket in the wrong place", ticket)
        cut, old = token[:-3], tokens.mint_token(SECRET, subject="arch", kind="peer", epoch=1, now=time.time() - 1e6)
        self.canaries.add("a cut token", cut)
        self.canaries.add("an old token", old)
        tries: list[tuple[str, str, Any, str]] = [
            ("GET", f"/peers?token={token}", None, ""), ("GET", f"/{token}", None, f"Bearer {token}"), ("GET", f"/peer/{token}", None, ""),
            ("GET", "/peers", None, token), ("GET", "/peers", None, f"Token {token}"), ("GET", "/peers", None, f"Bearer {cut}"),
            ("GET", "/peers", None, f"Bearer {old}"), ("POST", "/register", {"id": "eve"}, f"Ticket {cut}"),
            ("POST", "/register", {"id": "eve"}, f"Ticket {ticket}"), ("POST", "/register", {"id": "eve"}, f"Bearer {token}"),
            ("POST", "/sign-in", {"code": ticket}, ""), ("POST", "/sign-in", {"code": cut}, ""),
            ("POST", "/shutdown", {}, f"Bearer {token}"),
            ("GET", f"/health?nonce={token}", None, ""), ("POST", "/tasks", b'{"title": "x", "cut', f"Bearer {token}"),
            ("PATCH", f"/tasks?{token}", None, f"Bearer {token}"),
        ]  # fmt: skip
        for number, (method, path, body, authorization) in enumerate(tries):
            with contextlib.closing(Wire(self.broker.port, headers={"Authorization": authorization} if authorization else {})) as wire:
                status, said = wire.raw(method, path, body, {}) if isinstance(body, bytes) else wire.call(method, path, body)
                self.assertGreaterEqual(status, 400, (path, said))
                self.shown[f"error {number} {method} {path[:20]}"] = json.dumps(said).encode() + json.dumps(wire.last_headers).encode()
        resume = self.canaries.known["alice's resume secret"][0].decode()
        status, said = self.broker.register("alice", workspace=self.workspace, resume=resume[:-1] + "0", process="another")
        self.assertEqual(409, status)
        self.shown["a wrong resume secret"] = json.dumps(said).encode()

    def pages(self) -> None:
        """All that the page and the lists show, to whoever may see most."""
        for path in (
            "/dashboard", "/", "/dashboard/data?everywhere=true", "/peers", "/peer/s1", "/state", "/events?follow=0&limit=1000",
            "/log?last=200", "/metrics", "/health", "/escalations", "/search?q=canary&everywhere=true", "/messages-all?limit=100",
        ):  # fmt: skip
            status, said = self.person.call("GET", path)
            self.assertEqual(200, status, path)
            self.shown[path] = json.dumps(said, ensure_ascii=False).encode() + json.dumps(self.person.last_headers).encode()

    def a_spawned_session(self) -> dict[str, bytes]:
        """Opened by the broker, with a ticket in a file; what it and all others were started with, while they live."""
        folder = os.path.join(self.broker.home, "spawned")
        os.mkdir(folder)
        os.mkfifo(os.path.join(folder, "go"), 0o600)
        self.arch.post("/spawn", {"peer_id": "spawned", "working_dir": folder, "way": "headless", "prompt": "begin"})
        until(lambda: os.path.exists(os.path.join(folder, "is-there")), "the spawned client runs")
        with open(os.path.join(folder, "seen.env"), encoding="utf-8") as file:
            environ = dict(line.partition("=")[::2] for line in file.read().splitlines())
        card = environ["C2_LATTICE_TICKET"]
        with open(card, encoding="utf-8") as file:
            self.canaries.add("the spawned session's ticket", json.load(file)["ticket"], r"state/tickets/.*")
        processes = self.processes()
        self.assertTrue([name for name in processes if "claude" in name], processes.keys())
        self.assertTrue([name for name in processes if "broker.py" in name])
        self.assertTrue([name for name in processes if "mcp_server.py" in name])
        self.assertIn("the spawned session's ticket", self.canaries.in_files(self.files())[1])
        with open(os.path.join(folder, "go"), "w", encoding="utf-8") as go:
            go.write("\n")
        until(lambda: not os.path.exists(card), "its server has redeemed the ticket and removed it")
        secret, _ = self.canaries.known.pop("the spawned session's ticket")
        self.canaries.add("the spawned session's used ticket", secret)
        until(lambda: self.person.call("GET", "/peer/spawned")[0] == 200, "it is enrolled")
        return processes | self.processes()

    def files(self) -> list[str]:
        paths = [os.path.join(at, name) for at, _, names in os.walk(self.broker.home) for name in names]
        return [path for path in paths if os.path.isfile(path)]  # no socket of an inbox, no FIFO of ours

    def processes(self) -> dict[str, bytes]:
        """Arguments and environment of every process that belongs to this home, but what a client gave its own server."""
        found = {}
        for entry in os.listdir("/proc"):
            if not entry.isdigit() or int(entry) == os.getpid():
                continue
            with contextlib.suppress(OSError):
                with open(f"/proc/{entry}/environ", "rb") as file:
                    environ = file.read()
                with open(f"/proc/{entry}/cmdline", "rb") as file:
                    arguments = file.read()
                if self.broker.home.encode() in environ:
                    name = f"process {entry} {arguments.replace(bytes(1), b' ').decode('utf-8', 'replace')[:200]}"
                    of_client = b"".join(one for one in environ.split(b"\0") if one.startswith(b"CLAUDE_CODE_MESSAGING_TOKEN="))
                    is_session = b"PEER_ID=s1" in environ
                    found[name] = arguments + b"\0" + (environ.replace(of_client, b"") if is_session and of_client else environ)
        return found


if __name__ == "__main__":
    unittest.main()
