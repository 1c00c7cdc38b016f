"""A real broker, a session with its MCP server, a peer beside it, and the hooks as the settings file starts them.

The client of each session is a shell of its own: the MCP server is its child, the hooks get its id as CLAUDE_PID.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import unittest
from typing import Any

from lattice.clients import claude_hooks
from tests.running import PYTHON, TOP, Broker, Session, until

# What Claude Code says to each hook beside the event's own fields.
COMMON = {
    "session_id": "5f0c-1", "transcript_path": "/tmp/t.jsonl", "permission_mode": "default", "effort": {"level": "high"}, "prompt_id": "p1",
}  # fmt: skip


class Ran:
    """What a hook did: its status, what it wrote, the JSON object of its stdout."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self.status, self.stdout, self.stderr = done.returncode, done.stdout, done.stderr
        self.said: dict[str, Any] = json.loads(done.stdout) if done.stdout else {}

    @property
    def context(self) -> str:
        return str(self.said.get("hookSpecificOutput", {}).get("additionalContext", ""))

    @property
    def decision(self) -> str:
        return str(self.said.get("hookSpecificOutput", {}).get("permissionDecision", ""))

    @property
    def reason(self) -> str:
        return str(self.said.get("hookSpecificOutput", {}).get("permissionDecisionReason", ""))


def stored(event: str, tool: str = "", word: str = "") -> list[dict[str, Any]]:
    """The hooks as they stand in the settings, that the client would start for this event and tool."""
    import re

    found = []
    for group in claude_hooks.entries(rewake=word == "Wake").get(event, []):
        matcher = str(group.get("matcher", ""))
        plain = re.fullmatch(r"[\w|]*", matcher)  # Claude Code: a list of names, or an expression
        if not matcher or (tool in matcher.split("|") if plain else re.search(matcher, tool)):
            hooks: Any = group["hooks"]
            found += [hook for hook in hooks if (hook["args"][-1] == "Wake") == (word == "Wake")]
    return found


class Hooked(unittest.TestCase):
    """One broker for the class; each test has a session of its own."""

    broker: Broker

    @classmethod
    def setUpClass(cls) -> None:
        cls.broker = Broker().start()
        cls.addClassCleanup(cls.broker.close)

    def setUp(self) -> None:
        self.client = os.getpid()
        self.workspace = self.id().rpartition(".")[2]  # of this test alone
        self.project = os.path.join(self.broker.home, self.workspace)
        os.makedirs(self.project, exist_ok=True)
        self.environ = {
            "HOME": self.broker.home, "PATH": os.environ.get("PATH", "/usr/bin:/bin"), "C2_LATTICE_HOME": self.broker.state,
            "C2_LATTICE_DB": self.broker.database, "CLAUDE_PID": str(self.client), "CLAUDECODE": "1", "CLAUDE_CODE_ENTRYPOINT": "cli",
        }  # fmt: skip
        if sys.platform == "win32":
            self.environ["SYSTEMROOT"] = os.environ["SYSTEMROOT"]

    def session(self, peer: str = "") -> Session:
        """A session of this client, enrolled."""
        peer = peer or "b-" + os.urandom(3).hex()
        environ = {"C2_LATTICE_PORT": str(self.broker.port), "C2_LATTICE_WORKSPACE": self.workspace, "C2_LATTICE_WAKE": "off"}
        # The colon keeps the shell from becoming the server.
        server = [*PYTHON, os.path.join(TOP, "mcp_server.py")]
        command = server if os.name == "nt" else ["/bin/sh", "-c", '"$@"; :', "sh", *server]
        session = Session(self.broker.home, cwd=self.project, command=command, PEER_ID=peer, **environ)
        self.client = os.getpid() if os.name == "nt" else session.process.pid
        self.environ["CLAUDE_PID"] = str(self.client)
        self.addCleanup(session.close)
        session.initialize()
        session.call("list_peers")
        self.peer = peer
        return session

    def other(self, id: str = "") -> Any:
        """A peer of the same workspace that is not this session."""
        return self.broker.enrol(id or "a-" + os.urandom(3).hex(), workspace=self.workspace, working_dir=self.project)

    def flag(self) -> str:
        """Why the session's flag is up; "" when it is down."""
        try:
            with open(os.path.join(self.broker.state, "flags", str(self.client)), encoding="utf-8") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def until_flag(self, word: str) -> None:
        until(lambda: word in self.flag(), f"the flag says {word}: {self.flag()!r}")

    def run_hook(
        self, event: str, tool: str = "", given: dict[str, Any] | None = None, *, environ: dict[str, str] | None = None,
        python: str = "", **said: Any,
    ) -> Ran:  # fmt: skip
        """Start the one hook that the settings name for this, with this on stdin. `python` stands in for the interpreter."""
        [hook] = stored(event, tool)
        argv = [hook["command"], *hook["args"]]
        if python:
            argv = [python if arg == os.path.realpath(sys.executable) else arg for arg in argv]
        about = {**COMMON, "cwd": self.project, "hook_event_name": event, **said}
        if tool:
            about |= {"tool_name": tool, "tool_input": given or {}, "tool_use_id": said.get("tool_use_id", "toolu_" + os.urandom(4).hex())}
        done = subprocess.run(
            argv, input=json.dumps(about), env={**self.environ, **(environ or {})}, cwd=self.project, capture_output=True, text=True,
            encoding="utf-8", timeout=hook["timeout"], check=False,
        )  # fmt: skip
        return Ran(done)

    def path(self, name: str, content: str = "x\n") -> str:
        path = os.path.join(self.project, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(content)
        return path
