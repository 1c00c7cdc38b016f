"""The command inside a real session: the same peer as the MCP server beside it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import unittest

from lattice import settings
from lattice.cli.door import Door
from tests.cli.house import TOP, House
from tests.cli.test_launch import free_port

COMMAND = os.path.join("lattice", "cli", "command.py")
META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}


class BesideASession(House):
    def setUp(self) -> None:
        super().setUp()
        self.environ |= {"C2_LATTICE_PORT": str(free_port()), "C2_LATTICE_HOME": self.home}
        self.environ["C2_LATTICE_DB"] = os.path.join(self.folder, "db")
        self.addCleanup(self.run_script, "launch.py", "--stop")

    def session(self, **environ: str) -> subprocess.Popen[str]:
        server = subprocess.Popen(
            [sys.executable, "-I", "-S", os.path.join(TOP, "mcp_server.py")], env={**self.environ, **environ}, cwd=self.folder,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, encoding="utf-8",
        )  # fmt: skip
        self.addCleanup(self.end, server)
        return server

    def end(self, server: subprocess.Popen[str]) -> None:
        assert server.stdin and server.stdout
        server.stdin.close()
        server.wait(20)
        server.stdout.close()

    def tool(self, server: subprocess.Popen[str], name: str) -> dict[str, object]:
        assert server.stdin and server.stdout
        ask = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name, "arguments": {}, "_meta": META}}
        server.stdin.write(json.dumps(ask) + "\n")
        server.stdin.flush()
        said = json.loads(server.stdout.readline())["result"]["structuredContent"]
        assert isinstance(said, dict)
        return said

    def test_its_shell_is_the_same_peer_and_the_session_goes_on(self) -> None:
        server = self.session()
        peer = str(self.tool(server, "list_peers")["your_id"])
        done = self.run_script(COMMAND, "create-task", "from the shell", "--json")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        task = json.loads(done.stdout)["task_id"]
        self.assertEqual(self.run_script(COMMAND, "claim", str(task)).returncode, 0)
        shown = json.loads(self.run_script(COMMAND, "task", str(task), "--json").stdout)["task"]
        self.assertEqual((shown["created_by"], shown["assigned_to"]), (peer, peer))
        self.assertEqual(self.tool(server, "list_peers")["your_id"], peer)
        self.assertEqual(self.tool(server, "list_peers")["peers"], [])

    def test_mail_is_taken_by_whichever_of_the_two_asks_first(self) -> None:
        server = self.session(PEER_ID="alice")
        self.tool(server, "list_peers")
        door = Door(settings.read(self.environ), self.environ, int(self.environ["C2_LATTICE_PORT"]), as_person=True)
        self.addCleanup(door.close)
        door.call("POST", "/send", {"recipient_id": "alice", "category": "question", "content": "well?", "idempotency_key": "k" * 32})
        self.assertIn("│ well?", self.run_script(COMMAND, "inbox").stdout)
        self.assertEqual(self.tool(server, "check_messages")["messages"], [])


if __name__ == "__main__":
    unittest.main()
