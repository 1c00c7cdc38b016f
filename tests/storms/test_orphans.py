"""A coding client that is killed leaves no MCP server behind, whoever else holds the pipe and whatever the broker does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import unittest

from lattice.agent.process import is_alive, started
from tests.figures import measured
from tests.running import PYTHON, TOP, Broker, environment, figure, until

CLIENTS = figure(2, 20)  # of each kind
WITHIN_S, PIPE_HELD_WITHIN_S = 5.0, 15.0
# A coding client: starts the server, uses a tool, says the server's process id and, if so told, that of another program
# that holds the server's stdin open; then waits.
CLIENT = """
import json, subprocess, sys
server = subprocess.Popen(sys.argv[2:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
holder = 0
if sys.argv[1] == "held":
    kept = [server.stdin.fileno()]
    sleeping = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(300)"]
    holder = subprocess.Popen(sleeping, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, pass_fds=kept).pid
for id, method, params in (
    (1, "initialize", {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}),
    (2, "tools/call", {"name": "list_peers", "arguments": {}}),
):
    server.stdin.write(json.dumps({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).encode() + b"\\n")
    server.stdin.flush()
    answer = json.loads(server.stdout.readline())
print(json.dumps([server.pid, holder, answer["result"]["structuredContent"]["your_id"]]), flush=True)
server.wait()
"""


class NoOrphans(unittest.TestCase):
    time_bound_s = 120.0

    def setUp(self) -> None:
        self.broker = self.enterContext(Broker())
        self.number = 0

    def clients(self, kind: str) -> list[tuple[subprocess.Popen[bytes], int, str, str]]:
        """(client, its server's process id, when that was started, the peer) of so many, all at work."""
        begun = []
        for _ in range(CLIENTS):
            self.number += 1
            environ = environment(self.broker.home, C2_LATTICE_PORT=str(self.broker.port), PEER_ID=f"p{self.number}")
            client = subprocess.Popen(
                [*PYTHON, "-c", CLIENT, kind, *PYTHON, os.path.join(TOP, "mcp_server.py")],
                env=environ, cwd=self.broker.home, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            self.addCleanup(end, client)
            begun.append(client)
        found = []
        for client in begun:
            assert client.stdout is not None
            server, holder, peer = json.loads(client.stdout.readline())
            if holder:
                self.addCleanup(kill, holder, started(holder))
            found.append((client, server, started(server), peer))
        return found

    def kill_all(self, clients: list[tuple[subprocess.Popen[bytes], int, str, str]], within_s: float) -> tuple[float, int]:
        """(seconds until the last server was gone, how many are still there)"""
        began = time.monotonic()
        for client, server, start, _ in clients:
            client.kill()
            self.addCleanup(kill, server, start)
        gone: dict[int, float] = {}

        def all_are_gone() -> bool:
            for _, server, start, _ in clients:
                if server not in gone and not is_alive(server, start):
                    gone[server] = time.monotonic() - began
            return len(gone) == len(clients) or time.monotonic() - began > within_s

        until(all_are_gone, "an end", within_s + 5)
        return max(gone.values(), default=0.0), len(clients) - len(gone)

    def test_the_server_of_a_killed_client_is_gone_soon_and_its_peer_is_away(self) -> None:
        plain, held = self.clients("plain"), self.clients("held")
        worst_s, left = self.kill_all(plain, WITHIN_S)
        pipe_held_worst_s, pipe_held_left = self.kill_all(held, PIPE_HELD_WITHIN_S)
        measured(
            self, "R28", clients_killed=len(plain) + len(held), worst_s=worst_s, pipe_held_worst_s=pipe_held_worst_s,
            left=left + pipe_held_left,
        )  # fmt: skip
        self.assertEqual((0, 0), (left, pipe_held_left))
        person = self.broker.person()
        status = {peer: person.get(f"/peer/{peer}")["status"] for _, _, _, peer in plain + held}
        self.assertEqual({"away"}, set(status.values()), status)

    def test_it_is_gone_as_soon_while_the_broker_hangs(self) -> None:
        clients = self.clients("plain")
        self.broker.freeze()
        self.assertEqual(0, self.kill_all(clients, WITHIN_S)[1])


def end(client: subprocess.Popen[bytes]) -> None:
    client.kill()
    client.wait()
    assert client.stdout is not None
    client.stdout.close()


def kill(pid: int, start: str) -> None:
    if is_alive(pid, start):
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    unittest.main()
