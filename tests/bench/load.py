"""The load process of the bench: N keep-alive connections, each sends its next message when the last one is answered.

    python -m tests.bench.load PORT CLIENTS SECONDS <tokens, one a line, on stdin>

Prints one JSON object: {answered, refused, took_s, p50_ms, p99_ms, slowest_ms}. One thread; standard library. `under_load`
starts it and answers what it printed.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Sequence

from tests.line import Line

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Client:
    """One connection and what it is doing."""

    def __init__(self, port: int, token: str, number: int) -> None:
        self.line = Line(port, token)
        self.number = number
        self.count = 0
        self.sent_at = 0.0

    def send(self) -> None:
        """Another text each time: the same one again and again would be held, and that is not what is measured."""
        self.count += 1
        content = f"message {self.count} of client {self.number} at {time.perf_counter_ns()}, " + "x" * 40
        request = self.line.request("POST", "/send", {"recipient_id": "arch", "category": "finding", "content": content})
        self.sent_at = time.perf_counter()
        self.line.send(request)


def run(port: int, clients: list[Client], seconds: float) -> dict[str, float]:
    waiting = selectors.DefaultSelector()
    for client in clients:
        waiting.register(client.line, selectors.EVENT_READ, client)
    latencies: list[float] = []
    refused = 0
    began = time.perf_counter()
    end = began + seconds
    for client in clients:
        client.send()
    busy = len(clients)
    while busy:
        ready = waiting.select(30)
        if not ready:
            raise TimeoutError("no answer for 30 s")
        for key, _ in ready:
            client = key.data
            found = client.line.receive()
            if found is None:
                continue
            now = time.perf_counter()
            latencies.append(now - client.sent_at)
            refused += found[0] != 200
            if now < end:
                client.send()
            else:
                busy -= 1
    took_s = time.perf_counter() - began
    latencies.sort()
    return {
        "answered": len(latencies) - refused, "refused": refused, "took_s": took_s, "p50_ms": latencies[len(latencies) // 2] * 1000,
        "p99_ms": latencies[min(len(latencies) - 1, len(latencies) * 99 // 100)] * 1000, "slowest_ms": latencies[-1] * 1000,
    }  # fmt: skip


def under_load(port: int, tokens: Sequence[str], clients: int, seconds: float) -> dict[str, float]:
    """What that many clients of the broker at `port` measured, in a process of their own. CalledProcessError when it failed."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.load", str(port), str(clients), str(seconds)],
        input="\n".join(tokens), cwd=TOP, stdout=subprocess.PIPE, text=True, timeout=seconds + 60, check=True,
    )  # fmt: skip
    told: dict[str, float] = json.loads(done.stdout)
    return told


if __name__ == "__main__":
    tokens = sys.stdin.read().split()
    at, how_many, how_long = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    everyone = [Client(at, tokens[number % len(tokens)], number) for number in range(how_many)]
    print(json.dumps(run(at, everyone, how_long)))
    for one in everyone:
        one.line.close()
