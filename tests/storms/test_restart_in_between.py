"""The broker is restarted again and again while sessions work: no call fails, none is done twice, nobody has to enrol anew."""

from __future__ import annotations

import collections
import contextlib
import glob
import json
import os
import random
import signal
import sqlite3
import subprocess
import threading
import time
import unittest

from tests.figures import measured
from tests.running import PYTHON, TOP, Broker, Session, brokers_of, chance, environment, figure, free_port, temporary_home, until

SESSIONS = figure(2, 5)
CALLS = figure(60, 200)  # of each session
RESTARTS = figure(2, 6)  # half by launch.py --restart, half by SIGKILL


class Worker(threading.Thread):
    """A session that writes all the time. `done` is what must be there at the end, once each."""

    def __init__(self, session: Session, id: str, seed: float, pace: Pace) -> None:
        super().__init__(name=id, daemon=True)
        self.session, self.id, self.luck, self.pace = session, id, random.Random(seed), pace
        self.done: collections.Counter[str] = collections.Counter()
        self.errors: list[str] = []
        self.slowest = 0.0

    def run(self) -> None:
        number = 0
        while number < CALLS:
            work = self.luck.choice((self.task, self.letter, self.memory, self.lock, self.work_off, self.mail))
            number += work(f"{self.id} {number}")

    def call(self, tool: str, **values: object) -> dict[str, object]:
        began = time.monotonic()
        result = self.session.result(tool, dict(values), within_s=60)
        self.slowest = max(self.slowest, time.monotonic() - began)
        self.pace.called()
        if result.get("isError"):
            self.errors.append(f"{tool}: {result['content'][0]['text']}")
        found: dict[str, object] = result["structuredContent"]
        return found

    def task(self, text: str) -> int:
        self.call("create_task", title=text)
        self.done[f"task {text}"] += 1
        return 1

    def letter(self, text: str) -> int:
        self.call("send_message", recipient_id="reader", category="finding", content=text)
        self.done[f"letter {text}"] += 1
        return 1

    def memory(self, text: str) -> int:
        self.call("set_memory", key=self.id, value=text)
        self.done[f"memory {self.id}"] += 1
        return 1

    def lock(self, text: str) -> int:
        self.call("lock_file", file_path=f"{text}.py")
        self.call("unlock_file", file_path=f"{text}.py")
        return 2

    def work_off(self, text: str) -> int:
        """A claim stands over a restart, as its token does."""
        task = self.call("create_task", title=text).get("task_id")
        self.call("claim_task", task_id=task)
        self.call("complete_task", task_id=task, artifacts={"summary": text})
        self.done[f"task {text}"] += 1
        return 3

    def mail(self, text: str) -> int:
        self.call("check_messages")
        return 1


class Pace:
    """The calls go on between the restarts, and not ahead of them."""

    def __init__(self, calls: int, restarts: int) -> None:
        self.step = calls / (restarts + 1)
        self.news = threading.Condition()  # guards the next two
        self.calls = 0
        self.restarts = 0

    def called(self) -> None:
        with self.news:
            self.calls += 1
            self.news.notify_all()
            self.news.wait_for(lambda: self.calls < (self.restarts + 2) * self.step, 60)

    def wait(self) -> None:
        """Until it is time for the next restart."""
        with self.news:
            assert self.news.wait_for(lambda: self.calls >= (self.restarts + 1) * self.step, 120), "the calls stand still"

    def restarted(self) -> None:
        with self.news:
            self.restarts += 1
            self.news.notify_all()


class RestartInBetween(unittest.TestCase):
    time_bound_s = 240.0

    def test_no_call_fails_none_is_done_twice_and_tokens_survive(self) -> None:
        luck = chance(self)
        self.home = self.enterContext(temporary_home())
        self.environ = {"C2_LATTICE_PORT": str(free_port()), "C2_LATTICE_WORKSPACE": "w", "C2_LATTICE_RATE": "1000000"}
        reader = self.session("reader")
        pace = Pace(SESSIONS * CALLS, RESTARTS)
        workers = [Worker(self.session(f"w{number}"), f"w{number}", luck.random(), pace) for number in range(SESSIONS)]
        broker = Broker(self.home, **self.environ)  # only a way to ask: the sessions started it
        plain = broker.enrol("plain", workspace="w")
        tokens = self.tokens()
        for worker in workers:
            worker.start()
        took: list[float] = []
        for number in range(RESTARTS):
            pace.wait()
            took.append(self.restart() if number % 2 else self.kill())
            pace.restarted()
        for worker in workers:
            worker.join(120)
        errors = [error for worker in workers for error in worker.errors]
        plain.close()  # the broker that it was connected to is long gone
        self.assertEqual(200, plain.call("GET", "/peers")[0], "a token of before the first restart")
        self.assertEqual(tokens, self.tokens(), "no session had to enrol for another")
        doubled = self.doubled(workers)
        slowest = max(worker.slowest for worker in workers)
        print(f"{pace.calls} calls, the slowest {slowest:.1f} s; restarts took {', '.join(f'{one:.1f}' for one in took)} s")
        measured(
            self, "R29", calls=pace.calls, restarts=RESTARTS, tool_errors=len(errors), doubled=len(doubled), worst_restart_s=max(took)
        )  # fmt: skip
        self.assertEqual(([], {}), (errors, doubled))
        self.assertLessEqual(max(took), 5.0)
        reader.call("list_peers")
        plain.close()

    def session(self, id: str) -> Session:
        session = self.enterContext(Session(self.home, PEER_ID=id, **self.environ))
        session.initialize()
        self.assertEqual(id, session.call("list_peers")["your_id"])
        return session

    def tokens(self) -> dict[str, object]:
        """What each session's record says, by peer."""
        found = {}
        for path in glob.glob(os.path.join(environment(self.home)["C2_LATTICE_HOME"], "sessions", "*.json")):
            with open(path, encoding="utf-8") as file:
                record = json.load(file)
            if record["peer"] != "command-center":
                found[record["peer"]] = record["token"]
        return found

    # -- the two ways, each with the seconds until a broker answers again ------------------------------------

    def kill(self) -> float:
        """A crash: whichever session asks next starts another."""
        [card] = brokers_of(self.home)
        began = time.monotonic()
        os.kill(int(str(card["pid"])), signal.SIGKILL)
        until(lambda: [one["pid"] for one in brokers_of(self.home)] not in ([], [card["pid"]]), "a session starts another")
        return time.monotonic() - began

    def restart(self) -> float:
        """As the person does."""
        began = time.monotonic()
        done = subprocess.run(
            [*PYTHON, os.path.join(TOP, "launch.py"), "--restart", "--no-browser"], env=environment(self.home, **self.environ),
            cwd=self.home, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        self.assertEqual(0, done.returncode, done.stdout + done.stderr)
        return time.monotonic() - began

    def doubled(self, workers: list[Worker]) -> dict[str, int]:
        """What is not there exactly as often as it was done."""
        with contextlib.closing(sqlite3.connect(environment(self.home)["C2_LATTICE_DB"])) as database:
            there = collections.Counter(f"task {title}" for (title,) in database.execute("SELECT title FROM tasks"))
            there.update(
                f"letter {content}"
                for (content,) in database.execute(
                    "SELECT content FROM messages m JOIN deliveries d ON d.message_id = m.id WHERE recipient = 'reader'"
                )
            )
            there.update({f"memory {key}": version for key, version in database.execute("SELECT key, version FROM memory")})
            there.update(f"undone {title}" for (title,) in database.execute("SELECT title FROM tasks WHERE status = 'in_progress'"))
        wanted = sum((worker.done for worker in workers), collections.Counter[str]())
        return {what: there[what] - wanted[what] for what in {*there, *wanted} if there[what] != wanted[what]}


if __name__ == "__main__":
    unittest.main()
