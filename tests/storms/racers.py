"""Many clients that ask for one thing at the same moment, in a few processes, each with its clients on one selector loop.

A race has two steps: every client sends its request but for the last byte, so that the broker has a thread waiting in
each; when all have, the last bytes go out together. `Racers` is the side of the test; the rest is the process that it starts:

    python -m tests.storms.racers PORT <JSON list of tokens, then one JSON line a step, on stdin>
"""

from __future__ import annotations

import json
import selectors
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from tests.line import Line
from tests.running import TOP

Outcome = tuple[int, dict[str, Any]]


class Racers:
    """One client for each token, spread over some processes."""

    def __init__(self, port: int, tokens: Sequence[str], processes: int = 4) -> None:
        self.shares = [range(number, len(tokens), processes) for number in range(min(processes, len(tokens)))]
        self.count = len(tokens)
        self.processes = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.storms.racers", str(port)], cwd=TOP, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            for _ in self.shares
        ]
        for process, share in zip(self.processes, self.shares, strict=True):
            self._tell(process, [tokens[index] for index in share])

    def __enter__(self) -> Racers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def race(self, path: str, body: dict[str, object], turn: int = 0) -> list[Outcome]:
        """What each client is answered, in the order of their tokens. `turn`: who of each process is the first, and which process."""
        for process in self.processes:
            self._tell(process, {"path": path, "body": body, "turn": turn})
        for process in self.processes:
            assert self._hear(process) == "ready"
        first = turn % len(self.processes)
        for process in self.processes[first:] + self.processes[:first]:
            self._tell(process, "go")
        found: list[Outcome] = [(0, {})] * self.count
        for process, share in zip(self.processes, self.shares, strict=True):
            for index, (status, said) in zip(share, self._hear(process), strict=True):
                found[index] = (status, said)
        return found

    def close(self) -> None:
        for process in self.processes:
            assert process.stdin is not None and process.stdout is not None
            process.stdin.close()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:  # it still waits for an answer
                process.kill()
                process.wait()
            process.stdout.close()

    def _tell(self, process: subprocess.Popen[str], what: object) -> None:
        assert process.stdin is not None
        process.stdin.write(json.dumps(what) + "\n")
        process.stdin.flush()

    def _hear(self, process: subprocess.Popen[str]) -> Any:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, f"a process of racers ended with {process.wait(20)}"
        return json.loads(line)


def main(port: int) -> None:
    lines = [Line(port, token) for token in json.loads(sys.stdin.readline())]
    waiting = selectors.DefaultSelector()
    for index, line in enumerate(lines):
        waiting.register(line, selectors.EVENT_READ, index)
    while said := sys.stdin.readline():
        step = json.loads(said)
        first = step["turn"] % len(lines)
        in_turn = lines[first:] + lines[:first]
        requests = [line.request("POST", step["path"], step["body"]) for line in in_turn]
        for line, request in zip(in_turn, requests, strict=True):
            line.send(request[:-1])
        print('"ready"', flush=True)
        sys.stdin.readline()
        for line, request in zip(in_turn, requests, strict=True):
            line.send(request[-1:])
        answers: dict[int, tuple[int, Any]] = {}
        while len(answers) < len(lines):
            ready = waiting.select(30)
            if not ready:
                raise TimeoutError("no answer for 30 s")
            for key, _ in ready:
                found = lines[key.data].receive()
                if found is not None:
                    answers[key.data] = (found[0], json.loads(found[1]))
        print(json.dumps([answers[index] for index in range(len(lines))]), flush=True)
    for line in lines:
        line.close()


if __name__ == "__main__":
    main(int(sys.argv[1]))
