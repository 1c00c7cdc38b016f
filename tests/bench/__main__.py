"""What it costs, as ratios to denominators of the same run: `python -m tests.bench [--rounds N] [--seconds S]`.

A figure of speed says nothing without the machine it was taken on, so every one stands beside a measurement of that machine
taken in the same round: SQLite's own commits on one thread with synchronous=FULL, and the start of a bare interpreter. Rounds
are interleaved, each is printed, medians decide. The load is a process of its own. Nothing here is a test: a busy machine
makes no build red. Targets are shown beside the figures.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time

from tests.bench.load import under_load
from tests.footprint import footprint
from tests.running import PYTHON, TOP, Broker, Peer, Session, Wire

CLIENTS = 64
SPAWNS = 10
COMMITS = "SQLite FULL, one thread, commits/s"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of load, for each figure and round")
    options = parser.parse_args()
    rounds: dict[str, list[float]] = {}
    print(f"Python {sys.version.split()[0]}, SQLite {sqlite3.sqlite_version}, {os.cpu_count()} cores, {options.rounds} rounds", flush=True)
    with Broker() as broker:
        broker.enrol("arch", "architect")
        senders = [broker.enrol(f"s{number}") for number in range(CLIENTS)]
        beating = broker.beat_all(senders)
        try:
            rounds["broker, idle, MB resident"] = [resident_mb(broker.pid)]
            for number in range(options.rounds):
                for name, value in one_round(broker, senders, options.seconds).items():
                    rounds.setdefault(name, []).append(value)
                print(f"round {number + 1} of {options.rounds} done", file=sys.stderr, flush=True)
            rounds["broker, after the load, MB resident"] = [resident_mb(broker.pid)]
            rounds["one MCP server, MB resident"] = [session_resident_mb(broker)]
        finally:
            beating.close()
    report(rounds)
    return 0


def one_round(broker: Broker, senders: list[Peer], seconds: float) -> dict[str, float]:
    figures: dict[str, float] = {}
    figures["fdatasync, ms"] = fdatasync_ms(broker.home)
    figures[COMMITS] = sqlite_commits(broker.home, seconds)
    one = load(broker, senders, 1, seconds)
    figures["durable send, 1 client, /s"] = one["answered"] / one["took_s"]
    figures["durable send, 1 client, p50 ms"] = one["p50_ms"]
    many = load(broker, senders, CLIENTS, seconds)
    figures[f"durable send, {CLIENTS} clients, /s"] = many["answered"] / many["took_s"]
    figures[f"durable send, {CLIENTS} clients, p99 ms"] = many["p99_ms"]
    figures["keep-alive call (GET /health), p50 ms"] = call_p50_ms(broker)
    floor, spawned = spawns_ms(broker)
    figures["python3 -I -S -c pass, ms"] = floor
    figures["MCP server, spawn to initialize, ms"] = spawned
    return figures


def fdatasync_ms(folder: str) -> float:
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        took = []
        for _ in range(50):
            file.write(b"x" * 4096)
            file.flush()
            began = time.perf_counter()
            getattr(os, "fdatasync", os.fsync)(file.fileno())
            took.append(time.perf_counter() - began)
    return statistics.median(took) * 1000


def sqlite_commits(folder: str, seconds: float) -> float:
    """One row per transaction, WAL, synchronous=FULL, one thread: what the disk and SQLite give without us."""
    path = os.path.join(folder, "denominator.db")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, body TEXT)")
        count, began = 0, time.perf_counter()
        while time.perf_counter() - began < seconds:
            database.execute("INSERT INTO t (body) VALUES (?)", ("x" * 100,))
            count += 1
        took = time.perf_counter() - began
    for end in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            os.remove(path + end)
    return count / took


def load(broker: Broker, senders: list[Peer], clients: int, seconds: float) -> dict[str, float]:
    told = under_load(broker.port, [sender.token for sender in senders], clients, seconds)
    if told["refused"]:
        raise RuntimeError(f"{told['refused']} sends were refused: the figure would be of refusals")
    return told


def call_p50_ms(broker: Broker) -> float:
    with contextlib.closing(Wire(broker.port)) as wire:
        took = []
        for _ in range(300):
            began = time.perf_counter()
            wire.call("GET", "/health")
            took.append(time.perf_counter() - began)
    return statistics.median(took) * 1000


def spawns_ms(broker: Broker) -> tuple[float, float]:
    """(start and end of a bare interpreter, spawn of an MCP server to its answer to initialize), interleaved."""
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}}
    ask = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}).encode() + b"\n"
    floor, spawned = [], []
    for number in range(SPAWNS):
        began = time.perf_counter()
        subprocess.run([*PYTHON, "-c", "pass"], check=True, timeout=30)
        floor.append(time.perf_counter() - began)
        began = time.perf_counter()
        server = subprocess.Popen(
            [*PYTHON, os.path.join(TOP, "mcp_server.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env={**broker.environ, "PEER_ID": f"bench-{number}"}, cwd=broker.home,
        )  # fmt: skip
        assert server.stdin is not None and server.stdout is not None
        with server.stdin, server.stdout:
            server.stdin.write(ask)
            server.stdin.flush()
            assert b"serverInfo" in server.stdout.readline()
            spawned.append(time.perf_counter() - began)
            server.stdin.close()
            server.wait(10)
    return statistics.median(floor) * 1000, statistics.median(spawned) * 1000


def resident_mb(pid: int) -> float:
    """Resident memory, where /proc tells it; else 0."""
    with contextlib.suppress(OSError):
        return footprint(pid).resident_mb
    return 0.0


def session_resident_mb(broker: Broker) -> float:
    with Session(broker.home, C2_LATTICE_PORT=str(broker.port), PEER_ID="bench") as session:
        session.initialize()
        session.request("tools/list")
        session.call("list_peers")
        return resident_mb(session.process.pid)


RATIOS = (
    ("durable send, 1 client, over SQLite's commits", "durable send, 1 client, /s", COMMITS, ">=", 0.33),
    (f"durable send, {CLIENTS} clients, over SQLite's commits", f"durable send, {CLIENTS} clients, /s", COMMITS, ">=", 0.55),
    ("MCP server's start over a bare interpreter's", "MCP server, spawn to initialize, ms", "python3 -I -S -c pass, ms", "<=", 3.0),
)  # fmt: skip
LIMITS = {"keep-alive call (GET /health), p50 ms": 1.0, f"durable send, {CLIENTS} clients, p99 ms": 100.0}


def report(rounds: dict[str, list[float]]) -> None:
    print(f"\n{'figure':<48}{'median':>10}   rounds")
    for name, values in rounds.items():
        limit = f"   (target < {LIMITS[name]:g})" if name in LIMITS else ""
        print(f"{name:<48}{shown(statistics.median(values)):>10}   {' '.join(map(shown, values))}{limit}")
    print(f"\n{'ratio (of each round, then the median)':<58}{'median':>8}   rounds")
    for name, above, below, sign, target in RATIOS:
        ratios = [numerator / denominator for numerator, denominator in zip(rounds[above], rounds[below], strict=True)]
        middle = statistics.median(ratios)
        met = "met" if (middle >= target if sign == ">=" else middle <= target) else "MISSED"
        each = " ".join(f"{ratio:.2f}" for ratio in ratios)
        print(f"{name:<58}{middle:>8.2f}   {each}   target {sign} {target:g}: {met}")


def shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}" if value >= 10 else f"{value:.3f}"


if __name__ == "__main__":
    raise SystemExit(main())
