"""The load of the storms: a process whose clients write deeds (`deeds.py`) without a pause, whatever becomes of the broker.

    python -m tests.storms.writing PORT SEED KIND,KIND <tokens, one a line, an empty line, and later the end of stdin>

A client sends its next deed when the last one is answered. When the connection ends, or the answer is 503, it sends the
same deed with the same key again until it is answered. At the end of stdin each client ends its last deed. Prints the
number of acknowledged deeds now and then, and at the end one JSON object: {acknowledged: keys, repeated, faults}.
One thread, raw keep-alive sockets: this must cost little beside the broker.
"""

from __future__ import annotations

import json
import os
import random
import selectors
import sys
import time

from tests.line import Line
from tests.storms import deeds

AGAIN_S = 0.003  # between two looks for a broker that is down
PATIENCE_S = 30.0
SAY_EVERY = 10


class Client:
    """One connection, and the deed it is at."""

    def __init__(self, number: int, port: int, token: str, kinds: list[str], chance: random.Random) -> None:
        self.number, self.port, self.token, self.kinds, self.chance = number, port, token, kinds, chance
        self.line: Line | None = None
        self.count = 0
        self.repeated = 0
        self.acknowledged: list[str] = []
        self.fault = ""
        self.next_try = 0.0
        self.begin()

    def begin(self) -> None:
        """Choose the next deed. Its words differ from all others', so that no filter takes them for copies."""
        self.count += 1
        self.key = f"{self.number}-{self.count}-{self.chance.randbytes(5).hex()}"
        self.deed = deeds.request(self.chance.choice(self.kinds), self.key)
        self.since = time.monotonic()

    def send(self) -> bool:
        """Send the deed, on a new connection where there is none. Not, when there is no broker."""
        try:
            self.line = self.line or Line(self.port, self.token)
            self.line.send(self.line.request("POST", *self.deed))
        except OSError:
            self.close()
            return False
        return True

    def close(self) -> None:
        if self.line is not None:
            self.line.close()
            self.line = None
        self.next_try = time.monotonic() + AGAIN_S

    def receive(self) -> int:
        """The status of an answer that is complete; 0 when it is not yet; -1 when the connection ended."""
        assert self.line is not None
        try:
            found = self.line.receive()
        except OSError:
            return -1
        if found is None:
            return 0
        status, body = found
        if status not in (200, 503):
            self.fault = f"{self.key}: {status} {body[:300]!r}"
        return status


class Load:
    def __init__(self, clients: list[Client]) -> None:
        self.clients = clients
        self.ready = selectors.DefaultSelector()
        self.ready.register(sys.stdin, selectors.EVENT_READ)
        self.ends = False
        self.total = self.said = 0

    def run(self) -> None:
        at_work, down = list(self.clients), list(self.clients)
        while at_work:
            now = time.monotonic()
            for client in [client for client in down if client.next_try <= now]:
                if client.send():
                    down.remove(client)
                    self.ready.register(client.line, selectors.EVENT_READ, client)  # type: ignore[arg-type]
            for key, _ in self.ready.select(AGAIN_S if down else 1.0):
                if key.data is not None:
                    self.step(key.data, at_work, down)
                elif not os.read(0, 4096):
                    self.ends = True
                    self.ready.unregister(sys.stdin)
            for client in at_work:
                if client.fault or now - client.since > PATIENCE_S:
                    client.fault = client.fault or f"{client.key}: no answer for {PATIENCE_S} s"
                    return

    def step(self, client: Client, at_work: list[Client], down: list[Client]) -> None:
        """Something came for this client."""
        status = client.receive()
        if status == 0:
            return
        if status == 200:
            self.count(client)
            if self.ends:
                at_work.remove(client)
            else:
                client.begin()
        else:
            client.repeated += 1
        line = client.line
        assert line is not None
        if status > 0 and not line.ends and client in at_work and client.send():
            return
        self.ready.unregister(line)
        client.close()
        if client in at_work:
            down.append(client)

    def count(self, client: Client) -> None:
        client.acknowledged.append(client.key)
        self.total += 1
        if self.total >= self.said + SAY_EVERY:
            self.said = self.total
            print(self.total, flush=True)


def main() -> None:
    port, seed, kinds = int(sys.argv[1]), sys.argv[2], sys.argv[3].split(",")
    lines = iter(os.read(0, 65536).decode().split("\n"))
    tokens = [line for line in lines if line]
    clients = [Client(number, port, token, kinds, random.Random(f"{seed} {number}")) for number, token in enumerate(tokens)]
    Load(clients).run()
    said = {
        "acknowledged": [key for client in clients for key in client.acknowledged],
        "repeated": sum(client.repeated for client in clients),
        "faults": [client.fault for client in clients if client.fault],
    }
    print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
