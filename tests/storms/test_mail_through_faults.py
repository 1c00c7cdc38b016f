"""Mail between many, while answers are lost, late or doubled and everybody is killed now and then: it arrives, once a session."""

from __future__ import annotations

import collections
import contextlib
import random
import threading
import time
import unittest
from typing import Any

from lattice import names
from tests.apart import needed
from tests.figures import measured
from tests.proxy import THROUGH, Asked, Behind, Fault
from tests.running import Dropped, Peer, Session, chance, figure, until

SENDERS = RECEIVERS = figure(3, 10)
OF_A_PAIR = figure(10, 100, 500)
MESSAGES = SENDERS * RECEIVERS * OF_A_PAIR
RECEIVERS_KILLED = figure(3, 50)
BROKERS_KILLED = figure(1, 20)
SPOILED = 0.1  # of all requests
CALM = {"x-calm": "yes"}  # what only looks on is not spoiled


class Faults:
    """One request in ten is spoiled, by seeded chance; of those with a key one in ten three times more when it is repeated."""

    def __init__(self, seed: float) -> None:
        self.luck = random.Random(seed)
        self.lock = threading.Lock()
        self.streaks: dict[str, int] = {}
        self.on = threading.Event()

    def __call__(self, asked: Asked) -> Fault:
        if not self.on.is_set() or "x-calm" in asked.headers:
            return THROUGH
        with self.lock:
            luck = self.luck
            key = str(asked.said.get("idempotency_key", ""))
            left = self.streaks.pop(key, 0)
            if left > 1:
                self.streaks[key] = left - 1
            elif not left and luck.random() >= SPOILED:
                return THROUGH
            elif key and luck.random() < 0.1:
                self.streaks[key] = 3
            kinds = ["reset", "reset_before", "swallow", "cut_up", "cut_down"]
            if key not in self.streaks:
                kinds += (
                    ["delay", "double"] if key else ["delay"]
                )  # nothing without a key is sent twice: a second beat would be a dead one's
            return Fault(luck.choice(kinds), size=luck.randrange(400), seconds=luck.choice((0.0, 0.01, 0.1)), first=luck.random() < 0.5)


class Receiver(threading.Thread):
    """Takes its mail for as long as there is any, life after life. `lives` holds, for each, what reached it: (id, redelivered, text)."""

    def __init__(self, broker: Behind, id: str, seed: float) -> None:
        super().__init__(name=id, daemon=True)
        self.broker, self.id, self.luck = broker, id, random.Random(seed)
        self.lives: list[list[tuple[int, int, str]]] = []
        self.done = threading.Event()
        self.errors: list[str] = []
        self.fault = ""

    def run(self) -> None:
        try:
            while not self.done.is_set():
                self.lives.append([])
                self.live(self.lives[-1])
        except BaseException as fault:
            self.fault = f"{self.id}: {type(fault).__name__}: {fault}"
            raise

    def live(self, life: list[tuple[int, int, str]]) -> None:
        raise NotImplementedError

    def kill(self) -> None:
        raise NotImplementedError

    def texts(self) -> set[str]:
        return {text for life in list(self.lives) for _, _, text in list(life)}


def reached(messages: list[dict[str, Any]]) -> list[tuple[int, int, str]]:
    return [(mail["id"], mail.get("redelivered", 0), mail["content"]) for mail in messages]


class Agent(Receiver):
    """A session with a real MCP server, killed with SIGKILL wherever it is."""

    session: Session | None = None
    killed = False

    def live(self, life: list[tuple[int, int, str]]) -> None:
        with Session(self.broker.home, C2_LATTICE_PORT=str(self.broker.port), PEER_ID=self.id) as session:
            with contextlib.suppress(AssertionError, OSError):  # killed: the next life goes on
                self.killed = False
                session.initialize()
                self.session = session
                while not self.done.is_set():
                    result = session.result("check_messages", within_s=60)
                    if result.get("isError"):
                        self.errors.append(result["content"][0]["text"])
                        continue
                    mail = reached(result["structuredContent"]["messages"])
                    life += mail
                    if not mail or self.luck.random() < 0.3:
                        self.done.wait(0.21)  # so that the next call proves what this one brought
            assert self.killed or self.done.is_set(), f"the server of {self.id} is silent or ended: {session.stderr()}"

    def kill(self) -> None:
        if self.session is not None:
            self.killed = True
            self.session.process.kill()


class Plain(Receiver):
    """A program that speaks the published paths: repeats what it does not know the outcome of, with the same key."""

    resume = ""

    def __init__(self, broker: Behind, id: str, seed: float) -> None:
        super().__init__(broker, id, seed)
        self.killed = threading.Event()

    def live(self, life: list[tuple[int, int, str]]) -> None:
        self.killed.clear()
        process = names.new_key()
        peer = self.enrol(process)
        beaten = time.monotonic()
        receipts: list[str] = []
        try:
            while not (self.done.is_set() or self.killed.is_set()):
                if time.monotonic() - beaten > 0.5:
                    with contextlib.suppress(OSError, Dropped):
                        peer.call("POST", "/heartbeat", {"process": process})
                    beaten = time.monotonic()
                if receipts:
                    ask(peer, "/inbox/ack", {"receipts": receipts}, self.killed)
                    receipts = []
                said = ask(peer, "/inbox/take", {"process": process}, self.killed)
                if self.killed.is_set() and self.luck.random() < 0.5:
                    return  # before anybody saw it
                life += reached(said.get("messages", []))
                receipts = [mail["receipt"] for mail in said.get("messages", [])]
                if not receipts:
                    self.done.wait(0.02)
        finally:
            peer.close()

    def enrol(self, process: str) -> Peer:
        """Take the id up, as a process that comes back does. Its own last life counts as there until it misses a beat."""
        while True:
            with contextlib.suppress(OSError, Dropped):
                status, said = self.broker.register(self.id, process=process, resume=self.resume, beat_ms=1000)
                if status == 200:
                    self.resume = said["resume"]
                    return Peer(self.broker.port, self.id, said["token"])
            if self.done.wait(0.05):
                return Peer(self.broker.port, self.id, "")

    def kill(self) -> None:
        self.killed.set()


def ask(peer: Peer, path: str, body: dict[str, Any], given_up: threading.Event) -> dict[str, Any]:
    """The answer, however often it has to be asked for; always with one key. {} when given up."""
    body = {**body, "idempotency_key": names.new_key()}
    while not given_up.is_set():
        try:
            status, said = peer.call("POST", path, body)
        except (OSError, Dropped):
            time.sleep(0.005)  # the broker may be down: not to order anything, only not to spin
            continue
        if status == 200:
            return said
        assert status in (401, 503), f"{path}: {status} {said}"
        if status == 401:
            assert said["code"] == "token_expired", said  # only a life that was replaced
            return {}
    return {}


@needed
class MailThroughFaults(unittest.TestCase):
    time_bound_s = 600.0

    def test_none_is_lost_each_repeat_says_so_none_comes_twice_in_a_session_and_order_is_kept(self) -> None:
        luck = chance(self)
        faults = Faults(luck.random())
        broker = Behind(faults)
        self.addCleanup(broker.close)
        broker.start()
        person = broker.person()
        person.headers |= CALM
        receivers: list[Receiver] = [
            (Agent if number % 5 < 2 else Plain)(broker, f"r{number}", luck.random()) for number in range(RECEIVERS)
        ]
        self.addCleanup(lambda: [receiver.join(30) for receiver in receivers])
        self.addCleanup(lambda: [receiver.done.set() for receiver in receivers])
        for receiver in receivers:
            receiver.start()
        until(lambda: {f"r{number}" for number in range(RECEIVERS)} <= here(person), "all receivers are here")
        senders = [broker.enrol(f"s{number}") for number in range(SENDERS)]
        beating = broker.beat_all(senders)
        self.addCleanup(beating.close)
        faults.on.set()
        storm = Storm(broker, receivers, senders, luck)
        self.addCleanup(storm.stopped.set)
        storm.run()
        wanted = {receiver.id: {f"{sender.id} {receiver.id} {n}" for sender in senders for n in range(OF_A_PAIR)} for receiver in receivers}
        until(lambda: storm.fault or all(wanted[one.id] <= one.texts() for one in receivers), "all of it arrives", 60, 0.05)
        self.assertEqual("", storm.fault)
        faults.on.clear()
        person = broker.person()
        until(lambda: person.get("/dashboard/data")["unread_messages"] == 0, "all of it is read", 30, 0.1)
        for receiver in receivers:
            receiver.done.set()
        for receiver in receivers:
            receiver.join(60)
        found = judge(receivers, wanted)
        print(f"{dict(broker.proxy.seen)}; {storm.repeats} sends repeated; {found.pop('repeats')} deliveries repeated")
        errors = collections.Counter(error for receiver in receivers for error in receiver.errors)
        measured(self, "R11", **found, receivers_killed=storm.killed, brokers_killed=BROKERS_KILLED, tool_errors=sum(errors.values()))
        self.assertEqual({}, dict(errors))
        self.assertEqual((MESSAGES, 0, 0, 0, 0), tuple(found.values()))


class Storm:
    """The sending, and the killing between it, spread evenly over the messages."""

    def __init__(self, broker: Behind, receivers: list[Receiver], senders: list[Peer], luck: random.Random) -> None:
        self.broker, self.receivers, self.senders, self.luck = broker, receivers, senders, luck
        self.kills = [True] * BROKERS_KILLED + [False] * RECEIVERS_KILLED
        luck.shuffle(self.kills)
        self.news = threading.Condition()  # guards the next three
        self.sent = 0
        self.kills_done = 0
        self.repeats = 0
        self.killed = 0
        self.fault = ""
        self.stopped = threading.Event()

    def run(self) -> None:
        threads = [threading.Thread(target=self.send, args=(sender, self.luck.random())) for sender in self.senders]
        for thread in threads:
            thread.start()
        step = MESSAGES / (len(self.kills) + 1)
        try:
            for number, is_broker in enumerate(self.kills):
                self.wait_for(lambda number=number: self.sent >= (number + 1) * step)  # type: ignore[misc]
                if is_broker:
                    self.broker.kill_and_start()
                else:
                    self.luck.choice(self.receivers).kill()
                    self.killed += 1
                with self.news:
                    self.kills_done += 1
                    self.news.notify_all()
        finally:
            for thread in threads:
                thread.join(300)

    def wait_for(self, condition: Any) -> None:
        with self.news:
            assert self.news.wait_for(lambda: self.fault or condition(), 120), "the storm stands still"
        assert not self.fault, self.fault

    def send(self, sender: Peer, seed: float) -> None:
        """All of one sender's mail: to each receiver in order, to all of them mixed."""
        luck = random.Random(seed)
        step = MESSAGES / (len(self.kills) + 1)
        try:
            for n in range(OF_A_PAIR):
                for receiver in luck.sample(self.receivers, len(self.receivers)):
                    body = {"recipient_id": receiver.id, "category": "finding", "content": f"{sender.id} {receiver.id} {n}"}
                    said = ask(sender, "/send", body, self.stopped)
                    with self.news:
                        self.sent += 1
                        self.repeats += bool(said.get("repeated"))
                        self.news.notify_all()
                        # Not faster than the killing: all of it shall fall between messages.
                        self.news.wait_for(lambda: self.fault or self.sent < (self.kills_done + 3) * step, 120)
        except BaseException as fault:
            self.fault = f"{sender.id}: {type(fault).__name__}: {fault}"
            with self.news:
                self.news.notify_all()
            raise


def here(person: Peer) -> set[str]:
    return {peer["id"] for peer in person.get("/peers?everywhere=true")["peers"]}


def judge(receivers: list[Receiver], wanted: dict[str, set[str]]) -> dict[str, int]:
    """The figures of R11, from what reached each life of each receiver."""
    lost = unmarked = twice = disorder = repeats = 0
    for receiver in receivers:
        lost += len(wanted[receiver.id] - receiver.texts())
        ids: dict[str, int] = {}
        newest: collections.Counter[str] = collections.Counter()
        for life in receiver.lives:
            in_this_life: set[int] = set()
            last: dict[str, int] = {}
            for id, redelivered, text in life:
                sender, n = text.split()[0], int(text.split()[2])
                if id in in_this_life:
                    twice += 1
                in_this_life.add(id)
                if text in ids:
                    repeats += 1
                    unmarked += redelivered < 1 or ids[text] != id
                else:
                    ids[text] = id
                    disorder += n != newest[sender]
                    newest[sender] = n + 1
                disorder += n <= last.get(sender, -1)
                last[sender] = n
    return {
        "messages": sum(map(len, wanted.values())), "lost": lost, "unmarked_repeats": unmarked, "twice_in_a_session": twice,
        "out_of_order": disorder, "repeats": repeats,
    }  # fmt: skip


if __name__ == "__main__":
    unittest.main()
