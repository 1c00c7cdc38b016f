"""R8: one flipped bit in the file of a real database: what finds it, and that nothing makes the broker crash, hang or lose its temper.

SQLite keeps no checksums of its pages, so not every flip can be found. What is published is what was really seen:
refused       the broker does not start, and says why
by verify     `verify` names the first thing that is not as the log says
by a read     a call is answered with an error, or the broker ends itself as its store promises (exit 74)
harmless      nothing finds it, and no row reads otherwise than before: the bit was in an unused part of a page
undetected    nothing finds it, and some row reads otherwise: liveness, times and other columns that the log does not carry
"""

from __future__ import annotations

import collections
import contextlib
import os
import sqlite3
import subprocess
import threading
import unittest

from lattice.contract.operations import OPERATIONS
from tests.figures import measured
from tests.running import PATIENCE_S, PYTHON, TOP, Broker, Dropped, Wire, chance, figure, until

FLIPS = figure(6, 60, 1000)
LANES = 2
IN_PATH = {"{peer_id}": "ann", "{task_id}": "1", "{run_id}": "r1", "{message_id}": "1", "{escalation_id}": "1"}
NEEDED = {"search": "?q=a", "check_lock": "?file_path=/r/a.py", "memory_history": "?key=port", "events": "?follow=0&after=0&limit=1000"}
EVERYWHERE = "everywhere"
ENDED_ITSELF = 74


def reads() -> list[str]:
    """Every path that can be read."""
    found = []
    for operation in OPERATIONS:
        if operation.method != "GET" or "http" not in operation.surfaces:
            continue
        path = operation.path
        for name, value in IN_PATH.items():
            path = path.replace(name, value)
        assert "{" not in path, path
        query = NEEDED.get(operation.name, "")
        if any(param.name == EVERYWHERE for param in operation.params):
            query = f"{query}&{EVERYWHERE}=true" if query else f"?{EVERYWHERE}=true"
        found.append(path + query)
    return found


class Lane:
    """One home whose database is damaged again and again."""

    def __init__(self, home: str, whole: bytes) -> None:
        self.broker = Broker(home)
        self.whole = whole
        os.makedirs(home, exist_ok=True)

    def lay(self, bit: int) -> None:
        """Put the database there, with this bit flipped."""
        broker = self.broker
        for end in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(broker.database + end)
        damaged = bytearray(self.whole)
        damaged[bit // 8] ^= 1 << bit % 8
        with open(broker.database, "wb") as file:
            file.write(damaged)
        os.chmod(broker.database, 0o600)

    def start(self, bit: int) -> int | None:
        """The exit code, None when it serves."""
        broker = self.broker
        with open(os.path.join(broker.home, "said"), "wb") as out:
            broker.process = subprocess.Popen(
                [*PYTHON, os.path.join(TOP, "broker.py")], env=broker.environ, cwd=broker.home, stdin=subprocess.DEVNULL, stdout=out,
                stderr=out, start_new_session=True,
            )  # fmt: skip
        until(lambda: broker.process.poll() is not None or self.serves(), f"bit {bit}: it serves or ends")
        return broker.process.poll()

    def serves(self) -> bool:
        with contextlib.suppress(OSError, Dropped), contextlib.closing(Wire(self.broker.port, timeout_s=5)) as wire:
            return wire.call("GET", "/health")[0] == 200
        return False

    def said(self) -> str:
        with open(os.path.join(self.broker.home, "said"), encoding="utf-8", errors="replace") as file:
            return file.read()

    def look(self, paths: list[str]) -> str:
        """Read everything; what found the flip: "verify", "read", or "" for nothing."""
        found = ""
        try:
            person = self.broker.person()
            for path in paths:
                status, said = person.call("GET", path)
                if path == "/events/verify" and status == 200 and not said["ok"]:
                    found = "verify"
                elif status >= 500:
                    found = found or "read"
        except (OSError, Dropped, AssertionError) as problem:
            return "read" if self.ends_itself() else f"dropped: {problem}"
        return found

    def ends_itself(self) -> bool:
        process = self.broker.process
        assert process is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(PATIENCE_S) == ENDED_ITSELF
        return False


class BitFlips(unittest.TestCase):
    time_bound_s = 1200.0

    def setUp(self) -> None:
        self.chosen = chance(self)
        broker = self.enterContext(Broker())
        self.home = broker.home
        self.work(broker)
        self.assertEqual(0, broker.stop())
        with open(broker.database, "rb") as file:
            self.whole = file.read()
        self.dump = self.contents(broker.database)

    def work(self, broker: Broker) -> None:
        """Something of everything, and a good deal of it."""
        arch, ann, bob = (
            broker.enrol("arch", "architect", "shop"),
            broker.enrol("ann", workspace="shop"),
            broker.enrol("bob", workspace="shop"),
        )
        arch.post("/runs", {"id": "r1", "name": "shop", "goal": "sell"})
        for number in range(1, 30):
            task = arch.post("/tasks", {"title": f"task {number}", "description": f"number {number} " * 20, "run_id": "r1",
                                        "blocked_by": [number - 1] if number % 3 == 2 else []})["task_id"]  # fmt: skip
            ann.post(
                "/send",
                {"recipient_id": "bob", "category": "finding", "content": f"letter {number} " * 15, "idempotency_key": f"k{number}"},
            )
            bob.post("/lock", {"file_path": f"/r/{number}.py", "reason": "work"})
            ann.post("/memory", {"key": f"key {number % 9}", "value": f"value {number} " * 10, "type": "decision"})
            ann.post("/conversation", {"turn_type": "assistant", "content": f"turn {number}"})
            if number % 3 == 0:
                ann.post("/tasks/claim", {"task_id": task})
                ann.post("/tasks/complete", {"task_id": task, "artifacts": {"summary": "done", "files_touched": ["a.py"]}})
                bob.post("/inbox/take")
            if number % 7 == 0:
                ann.post("/escalations", {"kind": "blocker", "text": f"which way, {number}?"})
        ann.post("/lock", {"file_path": "/r/a.py"})
        ann.post("/memory", {"key": "port", "value": "8080"})
        bob.post("/lock", {"file_path": "/r/a.py", "queue": True})

    def contents(self, path: str) -> list[str] | None:
        with (
            contextlib.suppress(sqlite3.Error, UnicodeError),
            contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as database,
        ):
            database.text_factory = lambda text: text.decode("utf-8", "backslashreplace")
            return list(database.iterdump())
        return None

    def test_nothing_makes_it_crash_and_what_is_found_is_counted(self) -> None:
        bits = self.chosen.sample(range(8 * len(self.whole)), FLIPS)
        paths = reads()
        self.assertGreater(len(paths), 25)
        outcomes: collections.Counter[str] = collections.Counter()
        faults: list[str] = []
        guard = threading.Lock()  # guards bits, outcomes and faults

        def work(lane: Lane) -> None:
            while True:
                with guard:
                    if not bits or len(faults) > 20:
                        return
                    bit = bits.pop()
                outcome, fault = self.one(lane, bit, paths)
                with guard:
                    outcomes[outcome] += 1
                    if fault:
                        faults.append(f"bit {bit} (page {bit // 8 // 4096 + 1}, byte {bit // 8 % 4096}): {fault}")

        lanes = [Lane(os.path.join(self.home, f"lane{number}"), self.whole) for number in range(LANES)]
        threads = [threading.Thread(target=work, args=(lane,)) for lane in lanes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for lane in lanes:
            lane.broker.close()
        done = sum(outcomes.values())
        share = {name: round(100 * outcomes[name] / max(done, 1), 1) for name in ("refused", "verify", "read", "harmless", "undetected")}
        detected = share["refused"] + share["verify"] + share["read"]
        that_matter = done - outcomes["harmless"]
        measured(
            self, "R8", flips=done, crashes=len(faults), detected_percent=round(detected, 1), refused_at_the_start_percent=share["refused"],
            found_by_verify_percent=share["verify"], found_by_another_read_percent=share["read"], in_unused_bytes_percent=share["harmless"],
            undetected_percent=share["undetected"],
            detected_of_those_that_matter_percent=round(100 * (that_matter - outcomes["undetected"]) / max(that_matter, 1), 1),
        )  # fmt: skip
        for fault in faults:
            print(fault)
        self.assertEqual(0, len(faults))

    def one(self, lane: Lane, bit: int, paths: list[str]) -> tuple[str, str]:
        """(what became of it, what should not have)"""
        fault = ""
        try:
            lane.lay(bit)
            reads_the_same = self.contents(lane.broker.database) == self.dump
            code = lane.start(bit)
            if code is not None:
                outcome = "refused"
                if code not in (65,):
                    fault = f"exit {code}: {lane.said()[-1500:]}"
            else:
                found = lane.look(paths)
                outcome = found or ("harmless" if reads_the_same else "undetected")
                if found.startswith("dropped"):
                    outcome, fault = "read", found
        except AssertionError as problem:  # it hangs
            outcome, fault = "read", str(problem)
        said = lane.said()
        lane.broker.kill()
        if "Traceback" in said:
            fault = fault or "\n".join(said[said.index("Traceback") :].splitlines()[-14:])
        return outcome, fault


if __name__ == "__main__":
    unittest.main()
