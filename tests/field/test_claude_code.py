"""The real Claude Code, with a scripted model on loopback, works with the real MCP server and the broker it starts.

Nothing leaves the machine: an empty environment, a throw-away home, a made-up key, a base URL on 127.0.0.1. What is
asserted is what the model was shown, and what the broker then holds.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import unittest
from typing import Any

from lattice.contract.operations import TOOLS
from tests.field import programs
from tests.field.scripted_model import DONE, ScriptedModel, Step
from tests.running import TOP, Broker, brokers_of, free_port, temporary_home

NEEDS = "Claude Code and Node 22: .ci/run installs them"
SERVER = os.path.join(TOP, "mcp_server.py")
ALLOWED = "mcp__c2-lattice__*"
RUN_S = 90.0


class Coding:
    """Claude Code in one throw-away home and project, its state directory there too."""

    def __init__(self, home: str, model: ScriptedModel, port: int) -> None:
        self.program, path = programs.claude()
        self.home, self.port = home, port
        self.project = os.path.join(home, "project")
        self.state = {
            "C2_LATTICE_HOME": os.path.join(home, "state"), "C2_LATTICE_DB": os.path.join(home, "lattice.db"),
            "C2_LATTICE_PORT": str(port),
        }  # fmt: skip
        scratch = os.path.join(home, "tmp")  # short: sockets are made in it
        for folder in (self.project, scratch):
            os.makedirs(folder, exist_ok=True)
        self.environ = {
            "PATH": path, "HOME": home, "TERM": "xterm-256color", "LANG": "C.UTF-8", "SHELL": "/bin/bash",
            "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{model.port}", "ANTHROPIC_API_KEY": "sk-made-up",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "DISABLE_TELEMETRY": "1", "DISABLE_AUTOUPDATER": "1",
            "DISABLE_ERROR_REPORTING": "1", "DISABLE_BUG_COMMAND": "1",
            "CLAUDE_CODE_DISABLE_OFFICIAL_MARKETPLACE_AUTOINSTALL": "1",
            "CLAUDE_CODE_TMPDIR": scratch, "TMPDIR": scratch, **self.state,
        }  # fmt: skip
        self.entry = {"type": "stdio", "command": sys.executable, "args": ["-I", "-S", SERVER], "env": dict(self.state)}
        self.config = os.path.join(home, "servers.json")
        with open(self.config, "w", encoding="utf-8") as file:
            json.dump({"mcpServers": {"c2-lattice": self.entry}}, file)

    def headless(self, prompt: str, *allowed: str) -> list[str]:
        return [
            self.program, "-p", prompt, "--mcp-config", self.config, "--strict-mcp-config",
            "--allowedTools", ",".join((ALLOWED, *allowed)), "--output-format", "stream-json", "--verbose",
        ]  # fmt: skip

    def run(self, command: list[str], **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, env=self.environ | environ, cwd=self.project, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=RUN_S, check=False,
        )  # fmt: skip


def final(done: subprocess.CompletedProcess[str]) -> str:
    """The session's own last word."""
    for line in reversed(done.stdout.splitlines()):
        with contextlib.suppress(ValueError):
            said = json.loads(line)
            if isinstance(said, dict) and said.get("type") == "result":
                return str(said.get("result"))
    raise AssertionError(f"no result; exit {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")


def told(shown: str) -> dict[str, Any]:
    """A result as the model saw it, as JSON. A reminder of the client's own may follow it."""
    said, _ = json.JSONDecoder().raw_decode(shown.strip())
    assert isinstance(said, dict), shown
    return said


class ClaudeCode(unittest.TestCase):
    time_bound_s = 150.0

    def setUp(self) -> None:
        self.home = self.enterContext(temporary_home())
        self.port = free_port()

    def coding(self, plans: dict[str, list[Step]]) -> tuple[ScriptedModel, Coding]:
        programs.claude()
        model = self.enterContext(ScriptedModel(plans))
        return model, Coding(self.home, model, self.port)

    def broker_of(self) -> Broker:
        """The broker that a session of this home started, to look into it."""
        broker = Broker(self.home, C2_LATTICE_PORT=str(self.port))
        self.addCleanup(broker.close)
        return broker

    def test_it_lists_all_22_tools_and_the_six_most_used_work(self) -> None:
        lock = os.path.join(self.home, "project", "app.py")
        model, coding = self.coding({
            "DO-SIX": [
                Step("list_peers"),
                Step("create_task", {"title": "Write the parser", "priority": "high"}),
                Step("claim_task", lambda results: {"task_id": told(results[1])["task_id"]}),
                Step("lock_file", {"file_path": lock}),
                Step("set_memory", {"key": "parser.style", "value": "recursive descent", "type": "decision"}),
                Step("complete_task", lambda results: {
                    "task_id": told(results[1])["task_id"], "artifacts": {"summary": "parser written", "files_touched": ["app.py"]}}),
            ]
        })  # fmt: skip
        done = coding.run(coding.headless("DO-SIX please"), PEER_ID="solo")
        self.assertEqual(final(done), DONE, done.stderr)
        offered = {name.removeprefix("mcp__c2-lattice__") for name in model.offered("DO-SIX") if name.startswith("mcp__")}
        self.assertEqual(offered, set(TOOLS))
        results = [told(shown) for shown in model.shown("DO-SIX")]
        self.assertEqual(len(results), 6, results)
        self.assertEqual(results[0]["your_id"], "solo")
        for result in results[1:]:
            self.assertTrue(result["ok"], result)
        self.assertEqual(len(brokers_of(self.home)), 1, "the session started one broker")
        person = self.broker_of().person()
        task = person.get(f"/tasks/{results[1]['task_id']}")["task"]
        self.assertEqual((task["status"], task["assigned_to"]), ("completed", "solo"))
        self.assertEqual(task["artifacts"]["summary"], "parser written")
        self.assertEqual([entry["key"] for entry in person.get("/memory?everywhere=1")["memory"]], ["parser.style"])

    def test_two_sessions_see_each_other_and_talk(self) -> None:
        beta_is_there, alpha_is_there, alpha_wrote, beta_wrote = (threading.Event() for _ in range(4))

        def after(event: threading.Event, announce: threading.Event | None = None) -> Any:
            def wait() -> None:
                if announce is not None:
                    announce.set()
                event.wait(60)

            return wait

        model, coding = self.coding({
            "ALPHA": [
                Step("list_peers"),
                Step("list_peers", before=after(beta_is_there, alpha_is_there)),
                Step("send_message", {"recipient_id": "beta", "category": "question", "content": "who owns the parser"}),
                Step("check_messages", before=after(beta_wrote, alpha_wrote)),
            ],
            "BETA": [
                Step("list_peers"),
                Step("list_peers", before=after(alpha_is_there, beta_is_there)),
                Step("check_messages", before=after(alpha_wrote)),
                Step("send_message", {"recipient_id": "alpha", "category": "finding", "content": "the parser is mine"}),
                Step("list_tasks", before=after(beta_wrote, beta_wrote)),
            ],
        })  # fmt: skip
        ends: dict[str, subprocess.CompletedProcess[str]] = {}

        def session(name: str) -> None:
            ends[name] = coding.run(coding.headless(f"{name.upper()} now"), PEER_ID=name)

        threads = [threading.Thread(target=session, args=(name,)) for name in ("alpha", "beta")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for name in ("alpha", "beta"):
            self.assertEqual(final(ends[name]), DONE)
        alpha, beta = (list(map(told, model.shown(plan)[:2])) for plan in ("ALPHA", "BETA"))
        self.assertIn("beta", [peer["id"] for peer in alpha[1]["peers"]])
        self.assertIn("alpha", [peer["id"] for peer in beta[1]["peers"]])
        self.assertIn("who owns the parser", model.shown("BETA")[2])
        self.assertIn("alpha", model.shown("BETA")[2])
        self.assertIn("the parser is mine", model.shown("ALPHA")[3])
        self.assertEqual(len(brokers_of(self.home)), 1, "both use one broker")

    def test_listing_the_servers_leaves_no_peer(self) -> None:
        _, coding = self.coding({})
        broker = self.broker_of().start()
        added = coding.run([coding.program, "mcp", "add-json", "--scope", "user", "c2-lattice", json.dumps(coding.entry)])
        self.assertEqual(added.returncode, 0, added.stderr)
        listed = coding.run([coding.program, "mcp", "list"])
        self.assertIn("c2-lattice", listed.stdout)
        self.assertIn("Connected", listed.stdout)
        self.assertEqual(broker.person().get("/dashboard/data")["peers"], [])

    def test_install_makes_it_work_and_uninstall_leaves_every_file_as_before(self) -> None:
        """The way a person goes: no configuration by hand, no flag on the command line."""
        model, coding = self.coding({"HELLO": [Step("list_peers"), Step("set_memory", {"key": "installed", "value": "yes"})]})
        path = os.pathsep.join((os.path.dirname(coding.program), coding.environ["PATH"]))
        settings = os.path.join(self.home, ".claude.json")
        with open(settings, "w", encoding="utf-8") as file:
            json.dump({"mcpServers": {"other": {"type": "stdio", "command": "true", "args": []}}, "userID": "u1"}, file)

        def servers() -> dict[str, Any]:
            with open(settings, encoding="utf-8") as file:
                found: dict[str, Any] = json.load(file)["mcpServers"]
            return found

        before = servers()
        for _ in range(2):  # twice is once
            installed = coding.run([sys.executable, os.path.join(TOP, "install.py")], PATH=path)
            self.assertEqual(installed.returncode, 0, installed.stdout + installed.stderr)
        self.assertEqual(set(servers()), {"other", "c2-lattice"})
        self.assertIn("Connected", coding.run([coding.program, "mcp", "list"]).stdout)
        headless = [coding.program, "-p", "HELLO now", "--allowedTools", ALLOWED, "--output-format", "stream-json", "--verbose"]
        done = coding.run(headless, PEER_ID="alice")
        self.assertEqual(final(done), DONE, done.stderr)
        self.assertEqual(told(model.shown("HELLO")[0])["your_id"], "alice")
        self.assertTrue(told(model.shown("HELLO")[1])["ok"])
        removed = coding.run([sys.executable, os.path.join(TOP, "install.py"), "--uninstall"], PATH=path)
        self.assertEqual(removed.returncode, 0, removed.stdout + removed.stderr)
        self.assertEqual(servers(), before)
        self.assertNotIn("c2-lattice", coding.run([coding.program, "mcp", "list"]).stdout)
        left = [name for folder, _, names in os.walk(self.home) for name in names if name == "c2-lattice" and "bin" in folder]
        self.assertEqual(left, [], "the command is gone too")

    def test_a_session_started_inside_a_session_is_another_peer(self) -> None:
        inner: list[str] = []
        model, coding = self.coding({
            "OUTER": [
                Step("list_peers"),
                Step("Bash", lambda _: {"command": " ".join(inner), "timeout": 60000}),
                Step("list_peers"),
            ],
            "INNER": [Step("list_peers")],
        })  # fmt: skip
        inner[:] = [f"'{word}'" for word in coding.headless("INNER now")]
        done = coding.run(coding.headless("OUTER now", "Bash"), PEER_ID="alice")
        self.assertEqual(final(done), DONE, done.stderr)
        self.assertEqual(len(model.shown("INNER")), 1, model.shown("OUTER"))
        first, last = told(model.shown("OUTER")[0]), told(model.shown("OUTER")[2])
        nested = told(model.shown("INNER")[0])
        self.assertEqual((first["your_id"], last["your_id"]), ("alice", "alice"))
        self.assertEqual(nested["your_id"], "alice-2")
        self.assertIn("alice", [peer["id"] for peer in nested["peers"]])


if __name__ == "__main__":
    unittest.main()
