"""What the broker opens, and what opens a broker: nobody stays a zombie, and nobody holds what is another's."""

from __future__ import annotations

import itertools
import os
import re
import sys
import threading
import unittest
from concurrent.futures import ThreadPoolExecutor

from tests.figures import measured
from tests.running import Broker, Session, brokers_of, figure, free_port, temporary_home, until

SPAWNS = figure(12, 100)
AT_ONCE = 6
# A client that says which descriptors it has, and is gone; and a terminal that does so, and becomes what it is to show.
CLIENT = '#!/bin/sh\nls -l /proc/$$/fd > "$DUMPS/$PEER_ID.new"; mv "$DUMPS/$PEER_ID.new" "$DUMPS/$PEER_ID.client"\n'
TERMINAL = '#!/bin/sh\nls -l /proc/$$/fd > "$DUMPS/$$.terminal"\nshift\nexec "$@"\n'


@unittest.skipUnless(sys.platform == "linux", "only on Linux, which shows descriptors in /proc")
class SpawnedChildren(unittest.TestCase):
    time_bound_s = 120.0

    def test_a_hundred_sessions_leave_no_zombie_and_hold_no_descriptor_of_the_broker(self) -> None:
        home = self.enterContext(temporary_home())
        dumps, bin = os.path.join(home, "dumps"), os.path.join(home, "bin")
        for folder in (dumps, bin):
            os.mkdir(folder)
        for name, text in (("claude", CLIENT), ("x-terminal-emulator", TERMINAL)):
            with open(os.path.join(bin, name), "w", encoding="utf-8") as file:
                file.write(text)
            os.chmod(file.name, 0o755)
        broker = self.enterContext(Broker(home, PATH=f"{bin}:/usr/bin:/bin", DUMPS=dumps, DISPLAY=":9"))
        busy = Busy(broker)
        self.addCleanup(busy.close)
        people = [broker.person() for _ in range(AT_ONCE)]
        ways = itertools.cycle(("headless", "terminal"))
        wanted = [(f"child{number}", next(ways)) for number in range(SPAWNS)]

        def spawn(lane: int) -> None:
            for peer, way in wanted[lane::AT_ONCE]:
                said = people[lane].post("/spawn", {"peer_id": peer, "working_dir": home, "way": way})
                assert (said["status"], said["way"]) == ("opened", way), said

        with ThreadPoolExecutor(AT_ONCE) as lanes:
            list(lanes.map(spawn, range(AT_ONCE)))
        until(lambda: len([name for name in os.listdir(dumps) if name.endswith(".client")]) == SPAWNS, "all of them ran", 60, 0.05)
        until(lambda: not children(broker.pid), "all of them are ended and waited for", 10, 0.05)
        zombies = sum(state == "Z" for state in children(broker.pid).values())
        leaked = [found for name in os.listdir(dumps) for found in strange(os.path.join(dumps, name), home)]
        terminals = [name for name in os.listdir(dumps) if name.endswith(".terminal")]
        measured(self, "R27", spawns=SPAWNS, zombies=zombies, leaked_descriptors=len(leaked))
        self.assertEqual([], leaked)
        self.assertEqual((0, SPAWNS // 2), (zombies, len(terminals)))
        self.assertGreater(busy.calls, SPAWNS / 4, "it had connections and files open meanwhile")

    def test_a_broker_that_a_session_started_holds_nothing_of_that_session(self) -> None:
        home = self.enterContext(temporary_home())
        with Session(home, C2_LATTICE_PORT=str(free_port()), PEER_ID="a") as session:
            session.initialize()
            session.call("list_peers")
            [card] = brokers_of(home)
            pid = int(str(card["pid"]))
            its_own = re.compile(rf"/dev/null|{re.escape(home)}/.*|socket:.*|anon_inode:.*")
            held = descriptors(pid)
            self.assertEqual([], [target for target in held.values() if not its_own.fullmatch(target)], held)
            self.assertEqual(("/dev/null", os.path.join(home, "state", "broker.log")), (held[0], held[1]))
            self.assertFalse({*sockets(held)} & {*sockets(descriptors(session.process.pid))})
            self.assertEqual("S", children(session.process.pid).get(pid, "S"), "it is no zombie of the session's")
            session.kill()
            session.reader.join(10)
            self.assertTrue(session.ended, "the client's end of the pipe has ended: nobody else holds it")


class Busy:
    """A peer that reads and writes all the time, so that the broker has sockets and its database open."""

    def __init__(self, broker: Broker) -> None:
        self.peer = broker.enrol("busy")
        self.calls = 0
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._work, daemon=True)
        self.thread.start()

    def _work(self) -> None:
        while not self.done.wait(0.01):
            self.peer.post("/memory", {"key": "k", "value": "v"})
            self.peer.get("/memory?key=k")
            self.calls += 1

    def close(self) -> None:
        self.done.set()
        self.thread.join(20)


def children(pid: int) -> dict[int, str]:
    """process id: state, of every child of this process."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as file:
                    state, parent = file.read().rpartition(")")[2].split()[:2]
            except OSError:
                continue  # it ended while we looked
            if int(parent) == pid:
                found[int(entry)] = state
    return found


def descriptors(pid: int) -> dict[int, str]:
    found = {}
    for number in os.listdir(f"/proc/{pid}/fd"):
        try:
            found[int(number)] = os.readlink(f"/proc/{pid}/fd/{number}")
        except OSError:
            continue  # closed while we looked
    return found


def sockets(held: dict[int, str]) -> list[str]:
    return [target for target in held.values() if target.startswith("socket:")]


def strange(dump: str, home: str) -> list[str]:
    """Of what a child said it has open, all that is not its own: stdin, where its output goes, the script it is made of."""
    peer = os.path.basename(dump).partition(".")[0]
    with open(dump, encoding="utf-8") as file:
        held = dict(re.findall(r" (\d+) -> (.*)$", file.read(), re.MULTILINE))
    assert held, dump
    its_own = {"/dev/null", os.path.join(home, "state", "logs", f"{peer}.log"), dump, dump.replace(".client", ".new")}
    scripts = {os.path.join(home, "bin", "claude"), os.path.join(home, "bin", "x-terminal-emulator")}
    return [f"{os.path.basename(dump)}: {number} -> {target}" for number, target in held.items() if target not in its_own | scripts]


if __name__ == "__main__":
    unittest.main()
