"""Histories of a real broker: eight clients on raw connections, each with one call under way, on one selector loop.

They lock, check, renew, unlock, claim, complete, release and fail, with tokens that are right, old or left out. Some
connections are cut behind a request (with and without a goodbye), some histories see the broker killed and started again;
what was under way then is sent again with its key, or stays of unknown outcome. The eight are six peers, one of them the
architect, who may release others' locks. With a clock moved by hand (`staged.py`) locks have terms, a ninth client moves it.

    python -m tests.linear.recorder '{"seed": 1, "histories": 20, "kills": 3, "by_hand": false, "bug": ""}'

records, judges, and prints one JSON object: {histories, operations, unknown, retried, kills, violations: [texts]}.
"""

from __future__ import annotations

import json
import os
import random
import selectors
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

from tests.line import Line
from tests.linear import asks, lock, search, task
from tests.linear.search import FOREVER, Operation
from tests.running import Broker, Peer

ARCH = "arch"
PEERS = (ARCH, "w1", "w1", "w2", "w2", "w3", "w4", "w5")  # of the eight clients; two are one session that calls side by side
OPERATIONS = 300
STAGED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "staged.py")
SILENT_S = 9.0  # so long a peer's beat may be out, by the clock that is moved by hand: at 15 s it would be given up
CUT, CUT_BY_HAND, CUT_FOR_A_BUG, RETRIED, KEYED = 0.03, 0.01, 0.08, 0.6, 0.5


class Doing(NamedTuple):
    """A call under way: `called` when it was first sent. With a key it may be sent again. `unheard`: its answer will be lost."""

    who: str
    ask: asks.Ask
    called: int
    request: bytes
    has_key: bool = False
    unheard: bool = False


class Client:
    """One connection, and what it waits for."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.line: Line | None = None
        self.doing: Doing | None = None

    def connect(self) -> Line:
        self.line = Line(self.peer.port, self.peer.token)
        return self.line


class Keeper(Client):
    """Moves the clock and lets the broker look at it; sends the beats that are due, so that nobody is given up."""

    def __init__(self, peers: dict[str, Peer], selector: selectors.BaseSelector) -> None:
        super().__init__(peers[ARCH])
        self.lines = {id: Line(peer.port, peer.token) for id, peer in peers.items()}
        for line in self.lines.values():
            selector.register(line, selectors.EVENT_READ, self)
        self.now = 0.0
        self.beaten = dict.fromkeys(peers, 0.0)
        self.steps: Iterator[tuple[str, asks.Ask]] = iter(())

    def begin(self, history: History) -> None:
        self.steps = self.all_steps(history)
        self.send_next()

    def all_steps(self, history: History) -> Iterator[tuple[str, asks.Ask]]:
        while history.begun < history.size:
            sleeps = history.chance.random() < 0.05
            seconds = 20 if sleeps else history.chance.randint(1, 3)
            self.now += seconds
            yield ARCH, asks.advance(seconds, history.paths)
            yield ARCH, asks.tick(history.paths)
            for id, at in self.beaten.items():
                if self.now - at >= SILENT_S:
                    self.beaten[id] = self.now
                    yield id, asks.beat(id, history.paths)

    def send_next(self) -> None:
        found = next(self.steps, None)
        if found is None:
            return
        id, ask = found
        self.line = self.lines[id]
        self.doing = Doing(id, ask, time.monotonic_ns(), self.line.request(ask.method, ask.path, ask.body))
        self.line.send(self.doing.request)

    def close(self) -> None:
        for line in self.lines.values():
            line.close()


class Memory:
    """What one peer believes: the token of each thing it holds, and old ones."""

    def __init__(self) -> None:
        self.held: dict[Any, int] = {}
        self.old: dict[Any, list[int]] = defaultdict(list)

    def has(self, thing: Any, token: int) -> None:
        if self.held.get(thing) != token:
            self.lost(thing)
            self.held[thing] = token

    def lost(self, thing: Any) -> None:
        if thing in self.held:
            self.old[thing].append(self.held.pop(thing))


class History:
    """One history while it is recorded: its paths and pairs of tasks, what is asked next, what was answered."""

    def __init__(self, number: int, chance: random.Random, pairs: list[tuple[int, int]], by_hand: bool) -> None:
        self.chance = chance
        self.by_hand = by_hand
        self.paths = [f"/linear/{number}/{name}" for name in "abc"[: chance.randint(1, 3)]]
        self.pairs = pairs
        self.ended: set[tuple[int, int]] = set()
        self.memories: dict[str, Memory] = defaultdict(Memory)
        self.records: dict[Any, list[Operation]] = defaultdict(list)
        self.open_ended: list[Doing] = []
        self.strange: list[str] = []  # answers that no model knows
        self.begun = self.done = self.unknown = self.retried = 0
        self.last = [(who, path) for who in dict.fromkeys(PEERS) for path in self.paths]  # at the end nobody holds anything
        self.size = OPERATIONS - len(self.last)

    # -- what to ask

    def next(self, who: str) -> asks.Ask | None:
        """None: nothing for this peer, now or at all."""
        if self.begun < self.size:
            return self.about_a_lock(who) if self.chance.random() < 0.6 else self.about_a_task(who)
        # The architect first: what it releases of others' they have to ask about again.
        place = next((at for at, (one, _) in enumerate(self.last) if one == who), None)
        if place is None or who != ARCH and self.last[0][0] == ARCH:
            return None
        return asks.unlock(who, self.last.pop(place)[1], 0, who == ARCH)

    def about_a_lock(self, who: str) -> asks.Ask:
        chance, memory = self.chance, self.memories[who]
        path = chance.choice(self.paths)
        holds = path in memory.held
        choice = chance.random()
        if choice < (0.15 if holds else 0.5):
            term = chance.choice((0, 5, 7)) if self.by_hand else 0
            return asks.lock(who, path, chance.random() < 0.4, term)
        if choice < (0.5 if holds else 0.57):
            return asks.unlock(who, path, self.token(memory, path), who == ARCH)
        if choice < 0.8:
            return asks.check(who, path, self.token(memory, path))
        if choice < 0.9:
            return asks.edit(who, path)
        return asks.renew_all(who, self.paths)

    def about_a_task(self, who: str) -> asks.Ask:
        chance, memory = self.chance, self.memories[who]
        fresh = [pair for pair in self.pairs if pair not in self.ended][:2] or self.pairs[-1:]
        pair = chance.choice(fresh)
        n = int(chance.random() < 0.5)
        holds = pair[n] in memory.held
        token = self.token(memory, pair[n])
        choice = chance.random()
        if choice < (0.1 if holds else 0.5):
            return asks.claim(who, pair, n)
        if choice < (0.35 if holds else 0.58):
            return asks.complete(who, pair, n, token)
        if choice < (0.6 if holds else 0.65):
            return asks.release(who, pair, n, token)
        if choice < 0.67:
            return asks.fail(who, pair, n, token)
        return asks.renew(who, pair, n, token) if choice < 0.8 else asks.get(who, pair, n)

    def token(self, memory: Memory, thing: Any) -> int:
        """The right one, an old one, or none."""
        choice = self.chance.random()
        if choice < 0.55:
            return memory.held.get(thing, 0)
        return self.chance.choice(memory.old[thing]) if choice < 0.8 and memory.old[thing] else 0

    # -- what was answered

    def heard(self, doing: Doing, status: int, body: bytes, at: int) -> None:
        said = json.loads(body)
        for key, asked in doing.ask.parts:
            try:
                answer = doing.ask.hear(status, said, key)
            except (asks.Unexpected, KeyError):
                self.strange.append(f"{doing.who} asked {asked} of {key}: {status} {body.decode()[:500]}")
                self.records[key].append(Operation(doing.called, FOREVER, doing.who, asked, None))
                continue
            self.records[key].append(Operation(doing.called, at, doing.who, asked, answer))
            self.believe(doing.who, key, asked, answer)

    def believe(self, who: str, key: Any, asked: tuple[Any, ...], answer: tuple[Any, ...]) -> None:
        memory, verb = self.memories[who], asked[0]
        if isinstance(key, str):
            if answer[0] == "granted" or answer[0] == "holds" and answer[1]:
                memory.has(key, answer[1])
            elif answer[0] in ("released", "free", "held", "holds"):
                memory.lost(key)
            return
        if verb == "get":
            if answer[1] in ("completed", "failed") and (key[asked[1]] == key[1] or answer[1] == "failed"):
                self.ended.add(key)
            return
        thing = key[asked[2]]
        if answer[0] in ("claimed", "holds"):
            memory.has(thing, answer[1])
        elif answer[0] != "blocked":
            memory.lost(thing)
        if answer[0] in ("completed", "ended") and thing == key[1] or verb == "fail" and answer == ("done",):
            self.ended.add(key)

    def lose(self, doing: Doing) -> None:
        """Nobody hears the answer to this."""
        if doing.ask.method != "GET":
            self.open_ended.append(doing)
            self.unknown += 1
        self.done += 1

    def close(self, at: float = FOREVER) -> None:
        """What is of unknown outcome so far begins no more from this time on (the broker is dead), or never ends."""
        for doing in self.open_ended:
            for key, asked in doing.ask.parts:
                self.records[key].append(Operation(doing.called, at, doing.who, asked, None))
        self.open_ended.clear()

    # -- is it linearizable

    def faults(self) -> Iterator[str]:
        yield from self.strange
        tokens: dict[int, Any] = {}
        for key, operations in self.records.items():
            model, start = (lock.step, lock.Lock()) if isinstance(key, str) else (task.step, task.Pair())
            verdict = search.judge(operations, model, start)
            if not verdict.is_linearizable:
                yield f"{key}, {len(operations)} operations: {search.explain(verdict)}"
            for operation in operations:
                if operation.answer is not None and operation.answer[0] in ("granted", "claimed"):
                    thing = key if isinstance(key, str) else key[operation.asked[2]]
                    if tokens.setdefault(operation.answer[1], (thing, operation.who)) != (thing, operation.who):
                        yield f"token {operation.answer[1]} is {tokens[operation.answer[1]]}'s and {(thing, operation.who)}'s"


class Recorder:
    """A broker, the clients, and one history after the other."""

    def __init__(self, seed: int, *, bug: str = "", by_hand: bool = False) -> None:
        self.chance = random.Random(seed)
        self.by_hand = by_hand
        self.cut = CUT_BY_HAND if by_hand else CUT_FOR_A_BUG if bug else CUT
        self.under = [sys.executable, STAGED, "by_hand" if by_hand else "-", bug or "-"] if by_hand or bug else []
        self.broker = Broker()
        self.broker.start(under=self.under)
        peers = {id: self.broker.enrol(id, "architect" if id == ARCH else "worker") for id in dict.fromkeys(PEERS)}
        self.clients = [Client(peers[id]) for id in PEERS]
        self.selector = selectors.DefaultSelector()
        self.keeper = Keeper(peers, self.selector) if by_hand else None
        self.arch = peers[ARCH]
        self.keys = 0
        for client in self.clients:
            self.selector.register(client.connect(), selectors.EVENT_READ, client)

    def close(self) -> None:
        for client in self.clients:
            if client.line is not None:
                client.line.close()
        if self.keeper is not None:
            self.keeper.close()
        self.selector.close()
        if self.under:
            self.broker.kill()  # it may be broken in such a way that it does not stop
        self.broker.close()

    def record(self, number: int, *, kill: bool = False) -> History:
        tasks: list[dict[str, Any]] = [{"title": f"{number}.{n}", "blocked_by": [-n] if n % 2 else []} for n in range(16)]
        ids = self.arch.post("/tasks/batch", {"tasks": tasks})["task_ids"]
        history = History(number, self.chance, list(zip(ids[::2], ids[1::2], strict=True)), self.by_hand)
        everybody: list[Client] = list(self.clients)
        if self.keeper is not None:
            everybody.append(self.keeper)
            self.keeper.begin(history)
        kill_at = self.chance.randrange(30, history.size - 30) if kill else OPERATIONS
        while True:
            for client in self.clients:
                if client.doing is None:
                    self.begin(client, history)
            if kill_at <= history.done < history.size:
                kill_at = OPERATIONS
                self.kill(history)
                continue
            if all(client.doing is None for client in everybody):
                break
            ready = self.selector.select(30)
            if not ready:
                raise TimeoutError("no answer for 30 s")
            for key, _ in ready:
                self.receive(key.data, history)
        history.close()
        return history

    def receive(self, client: Client, history: History) -> None:
        doing = client.doing
        assert client.line is not None and doing is not None
        if doing.unheard:
            client.doing = doing._replace(unheard=False)
            self.cut_off(client, history)
            return
        found = client.line.receive()
        if found is None:
            return
        at = time.monotonic_ns()
        client.doing = None
        history.heard(doing, *found, at)
        if client is self.keeper:
            self.keeper.send_next()
        else:
            history.done += 1

    def begin(self, client: Client, history: History) -> None:
        """Send the next call of this client, cut or not."""
        ask = history.next(client.peer.id)
        if ask is None:
            return
        history.begun += 1
        assert client.line is not None
        chance = self.chance
        body, has_key = ask.body, ask.method == "POST" and chance.random() < KEYED
        if has_key:
            self.keys += 1
            body = {**body, "idempotency_key": f"k{self.keys}"}
        cut = history.begun <= history.size and chance.random() < self.cut
        unheard = cut and chance.random() < 0.5  # cut when the answer is there, or at once
        request = client.line.request(ask.method, ask.path, body)
        client.doing = Doing(client.peer.id, ask, time.monotonic_ns(), request, has_key, unheard)
        client.line.send(request)
        if cut and not unheard:
            self.cut_off(client, history)

    def cut_off(self, client: Client, history: History) -> None:
        """The answer is lost. With a key the call is sent again, mostly; else its outcome stays unknown."""
        self.reconnect(client, reset=self.chance.random() < 0.5)
        doing = client.doing
        assert doing is not None
        if doing.has_key and self.chance.random() < RETRIED:
            self.send_again(client, history)
        else:
            client.doing = None
            history.lose(doing)

    def send_again(self, client: Client, history: History) -> None:
        assert client.doing is not None and client.line is not None
        history.retried += 1
        client.line.send(client.doing.request)

    def reconnect(self, client: Client, *, reset: bool) -> None:
        assert client.line is not None
        self.selector.unregister(client.line)
        client.line.close(reset=reset)
        self.selector.register(client.connect(), selectors.EVENT_READ, client)

    def kill(self, history: History) -> None:
        """SIGKILL with calls under way, and start again. What was answered before it died counts as heard."""
        self.broker.kill()
        died = time.monotonic_ns()
        again = []
        for client in self.clients:
            doing, found = client.doing, self.last_words(client)
            if doing is None:
                continue
            if found is not None:
                history.heard(doing, *found, time.monotonic_ns())
                history.done += 1
            elif doing.has_key and self.chance.random() < RETRIED:
                again.append(client)
                continue
            else:
                history.lose(doing)
            client.doing = None
        history.close(died)
        self.broker.start(under=self.under)
        self.arch.close()
        for client in self.clients:
            self.reconnect(client, reset=False)
            if client in again:
                self.send_again(client, history)

    def last_words(self, client: Client) -> tuple[int, bytes] | None:
        if client.doing is None or client.line is None:
            return None
        try:
            return client.line.answer()
        except OSError:
            return None


def main(plan: dict[str, Any]) -> dict[str, Any]:
    """Record and judge what the plan says. With a bug, stop at the first violation."""
    recorder = Recorder(plan["seed"], bug=plan["bug"], by_hand=plan["by_hand"])
    total = {"histories": 0, "operations": 0, "unknown": 0, "retried": 0, "kills": 0}
    violations: list[str] = []
    killed = set(recorder.chance.sample(range(plan["histories"]), plan["kills"]))
    try:
        for number in range(plan["histories"]):
            history = recorder.record(number, kill=number in killed)
            for name, more in (("histories", 1), ("operations", history.done), ("unknown", history.unknown), ("retried", history.retried)):
                total[name] += more
            total["kills"] += number in killed
            for fault in history.faults():
                violations.append(f"history {number} of {plan}: {fault}")
                if plan["bug"]:
                    return {**total, "violations": violations}
    finally:
        recorder.close()
    return {**total, "violations": violations}


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
