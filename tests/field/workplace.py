"""Real Claude Code sessions on one throw-away machine: one home, one broker, the project's own installation, scripted minds.

`Talk` is a session whose stdin is held open (stream-json), `Screen` one in its interactive screen (tmux, with a server
of its own). The environment is empty but for what is named here, the key is made up, the model is on loopback. What is
started here is ended here, by its own handle.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import unittest
from collections.abc import Sequence
from typing import Any

from tests.field import programs
from tests.field.minds import Mind, Minds, Shown
from tests.field.scripted_model import Step
from tests.running import TOP, Broker, Peer, free_port, temporary_home, until

KEY = "sk-ant-made-up-0123456789-abcdefghij"
ALLOWED = ("mcp__c2-lattice__*", "Bash", "Edit", "Write", "Read", "MultiEdit")
RUN_S = 60.0


class Workplace:
    """The home and its programs. `install` is what a person runs; sessions find everything by themselves."""

    def __init__(self, home: str, model: Minds) -> None:
        self.program, path = programs.claude()
        self.home, self.model = home, model
        self.broker = Broker(home, C2_LATTICE_PORT=str(free_port()))
        self.project = os.path.join(home, "project")
        scratch = os.path.join(home, "tmp")  # short: sockets are made in it
        for folder in (self.project, scratch):
            os.makedirs(folder, exist_ok=True)
        self.environ = {
            "PATH": os.pathsep.join((os.path.dirname(self.program), path)), "HOME": home, "TERM": "xterm-256color", "LANG": "C.UTF-8",
            "SHELL": "/bin/bash", "ANTHROPIC_API_KEY": KEY, "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "DISABLE_TELEMETRY": "1",
            "DISABLE_AUTOUPDATER": "1", "DISABLE_ERROR_REPORTING": "1", "DISABLE_BUG_COMMAND": "1",
            "CLAUDE_CODE_DISABLE_OFFICIAL_MARKETPLACE_AUTOINSTALL": "1", "CLAUDE_CODE_TMPDIR": scratch, "TMPDIR": scratch,
            "C2_LATTICE_HOME": self.broker.state, "C2_LATTICE_DB": self.broker.database, "C2_LATTICE_PORT": str(self.broker.port),
            "C2_LATTICE_WORKSPACE": "here",
        }  # fmt: skip
        self.account = os.path.join(home, ".claude.json")
        self.settings = os.path.join(home, ".claude", "settings.json")
        if not os.path.exists(self.account):
            known = {"hasTrustDialogAccepted": True, "hasCompletedProjectOnboarding": True}
            self.write(self.account, {
                "hasCompletedOnboarding": True, "theme": "dark", "projects": {self.project: known},
                "customApiKeyResponses": {"approved": [KEY[-20:]], "rejected": []},
            })  # fmt: skip

    def write(self, path: str, value: object) -> None:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            json.dump(value, file)

    def run(self, *argv: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """One program to its end, in the project."""
        return subprocess.run(
            argv, env=self.environ | environ, cwd=self.project, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=RUN_S, check=False,
        )  # fmt: skip

    def install(self, *options: str) -> str:
        done = self.run(sys.executable, os.path.join(TOP, "install.py"), *options)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def cli(self, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """The `c2-lattice` command."""
        return self.run(os.path.join(self.home, ".local", "bin", "c2-lattice"), *words, **environ)

    def environment_of(self, session: str, extra: dict[str, str]) -> dict[str, str]:
        return self.environ | {"ANTHROPIC_BASE_URL": self.model.base_url(session), "PEER_ID": session} | extra

    def file(self, name: str, text: str | None = None) -> str:
        """The path of a project's file; written when `text` is given."""
        path = os.path.join(self.project, name)
        if text is not None:
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        return path

    def content(self, name: str) -> str:
        with open(os.path.join(self.project, name), encoding="utf-8") as file:
            return file.read()


class Talk:
    """A headless session whose stdin is held open: it is idle between what is said to it, until closed."""

    def __init__(self, place: Workplace, name: str, *options: str, allowed: Sequence[str] = ALLOWED, **environ: str) -> None:
        self.name, self.place = name, place
        self.lines: list[dict[str, Any]] = []
        self.errors = os.path.join(place.home, f"{name}.err")
        argv = [
            place.program, "-p", "--input-format", "stream-json", "--output-format", "stream-json", "--verbose",
            "--permission-mode", "acceptEdits", "--allowedTools", ",".join(allowed), *options,
        ]  # fmt: skip
        with open(self.errors, "ab") as errors:
            self.process = subprocess.Popen(
                argv, env=place.environment_of(name, environ), cwd=place.project, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=errors,
            )  # fmt: skip
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    @property
    def pid(self) -> int:
        return self.process.pid

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with contextlib.suppress(ValueError):
                self.lines.append(json.loads(line))

    def say(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"type": "user", "message": {"role": "user", "content": text}}).encode() + b"\n")
        self.process.stdin.flush()

    def ends(self) -> int:
        """How many turns have ended."""
        return sum(line.get("type") == "result" for line in list(self.lines))

    def session_id(self) -> str:
        return next((str(line["session_id"]) for line in list(self.lines) if line.get("session_id")), "")

    def turn(self, text: str, within_s: float = RUN_S) -> dict[str, Any]:
        """Say it, and wait for the end of the turn; its result."""
        before = self.ends()
        self.say(text)
        until(lambda: self.ends() > before or self.process.poll() is not None, f"{self.name} ends its turn on {text!r}", within_s)
        ended = [line for line in list(self.lines) if line.get("type") == "result"]
        assert len(ended) > before, f"{self.name} ended with {self.process.returncode}\n{self.said()}"
        return ended[-1]

    def said(self) -> str:
        with open(self.errors, encoding="utf-8", errors="replace") as file:
            return "\n".join(json.dumps(line)[:600] for line in self.lines[-8:]) + "\n" + file.read()[-2000:]

    def close(self, within_s: float = 15.0) -> int:
        """Close stdin, as who started it does; the exit code."""
        with contextlib.suppress(OSError):
            self.process.stdin.close()  # type: ignore[union-attr]
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(within_s)
        self.kill()
        return self.process.returncode

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.reader.join(5)
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()  # type: ignore[union-attr]


class Screen:
    """A session in its interactive screen: a terminal of tmux, on a socket of its own."""

    def __init__(self, place: Workplace, name: str, *, allowed: Sequence[str] = ALLOWED, **environ: str) -> None:
        self.tmux_program = programs.on_path("tmux", "tmux")
        self.name, self.place = name, place
        self.socket = os.path.join(place.home, "tmp", f"{name}.tmux")
        line = [place.program, "--permission-mode", "acceptEdits", "--allowedTools", ",".join(allowed)]
        settings = [f"{key}={value}" for key, value in place.environment_of(name, environ).items()]
        command = shlex.join(["exec", "env", "-i", *settings, *line]).replace("'exec'", "exec", 1)
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", "180", "-y", "50", "-c", place.project, command)
        self.pid = int(self.tmux("display-message", "-p", "#{pane_pid}"))
        self.server_pid = int(self.tmux("display-message", "-p", "#{pid}"))

    def tmux(self, *words: str) -> str:
        done = subprocess.run(
            [self.tmux_program, "-S", self.socket, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20,
            check=False, env={"PATH": self.place.environ["PATH"], "TERM": "xterm-256color", "LANG": "C.UTF-8"},
        )  # fmt: skip
        assert done.returncode == 0, f"tmux {words[0]}: {done.stderr}"
        return done.stdout.strip()

    def text(self) -> str:
        return self.tmux("capture-pane", "-p")

    def until_text(self, text: str, within_s: float = 30.0) -> None:
        try:
            until(lambda: text in self.text(), f"the screen shows {text!r}", within_s, 0.1)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.text()}") from None

    def type(self, text: str) -> None:
        self.tmux("send-keys", "-l", text)

    def press(self, key: str) -> None:
        self.tmux("send-keys", key)

    def enter(self, text: str) -> None:
        """Type a line, and send it once it stands there: what comes in one piece is taken for pasted text."""
        self.type(text)
        self.until_text(text[-40:])
        self.press("Enter")

    def close(self) -> None:
        with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
            self.tmux("kill-server")
        with contextlib.suppress(AssertionError):
            until(lambda: not lives(self.pid), "the session ends with its terminal", 5)
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


def lives(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def children(pid: int) -> list[int]:
    """The processes that this one started and that live."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="utf-8") as file:
            return [int(word) for word in file.read().split()]
    except OSError:
        return []


def thaw(pids: Sequence[int]) -> None:
    """Let stopped processes go on, those that are still there."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


class WorkplaceCase(unittest.TestCase):
    """A test with a workplace: installed, with its broker up."""

    time_bound_s = 150.0
    options: tuple[str, ...] = ()

    def setUp(self) -> None:
        programs.claude()
        self.home = self.enterContext(temporary_home())
        self.model = self.enterContext(Minds())
        self.place = Workplace(self.home, self.model)
        self.addCleanup(self.place.broker.close)
        self.place.broker.start()
        self.before_install()
        self.place.install(*self.options)
        self.sessions: dict[str, Talk] = {}
        self._person: Peer | None = None

    def before_install(self) -> None:
        pass

    def tearDown(self) -> None:
        self.assertEqual(self.model.faults, [])

    def talk(self, name: str, mind: Mind, *options: str, allowed: Sequence[str] = ALLOWED, **environ: str) -> Talk:
        self.model.minds[name] = mind
        talk = Talk(self.place, name, *options, allowed=allowed, **environ)
        self.addCleanup(talk.close)
        self.sessions[name] = talk
        return talk

    def screen(self, name: str, mind: Mind, *, allowed: Sequence[str] = ALLOWED, **environ: str) -> Screen:
        self.model.minds[name] = mind
        screen = Screen(self.place, name, allowed=allowed, **environ)
        self.addCleanup(screen.close)
        screen.until_text("accept edits on")
        return screen

    def record(self, peer: str) -> str:
        """The path of the record that a session's server keeps."""
        return os.path.join(self.place.broker.state, "sessions", f"{peer}@{self.place.broker.port}.json")

    def last_result(self, session: str) -> str:
        """The last tool result that the session's model was shown."""
        return next((shown.result() for shown in reversed(self.model.shown_to(session)) if shown.results), "")

    def state_of(self, message_id: int, recipient: str) -> dict[str, Any]:
        """How far a message came to this recipient, as the person is told."""
        told = self.person().get(f"/receipts/{message_id}")
        return next(one for one in told["deliveries"] if one["recipient"] == recipient)

    def person(self) -> Peer:
        if self._person is None:
            self._person = self.place.broker.person()
        return self._person


def obeying(orders: dict[str, Step | list[Step]], otherwise: Mind | None = None) -> Mind:
    """A mind that does what its user orders by a word, one step after the other, and then says what the last one gave.

    A step's result is in the next request; a step of a list is done whatever the one before it gave. `otherwise`: what
    it does where no order is under way.
    """
    under_way: list[Step] = []

    def mind(shown: Shown) -> str | Step | list[Step]:
        word = next((word for word in orders if re.search(rf"\b{word}\b", "" if shown.results else shown.new)), "")
        if word:
            order = orders[word]
            under_way[:] = order if isinstance(order, list) else [order]
            return under_way[0]
        if shown.results and under_way:
            under_way.pop(0)
            if under_way:
                return under_way[0]
        return otherwise(shown) if otherwise is not None else f"Done: {shown.result()[:200]}"

    return mind
