"""What each hook costs, beside `sh -c true` and a bare interpreter of the same rounds: `python -m tests.bench.hooks [--rounds N]`.

The hooks are started as they stand in the settings, with what Claude Code says on their stdin, beside a real broker and
a real session. Idle: nothing waits and nobody else holds a lock. Busy: the flag is up, and the hook has what to ask.
All of a round are started one after the other, so that a busy moment of the machine meets them alike. Nothing is
judged here: targets stand beside the figures.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from tests.hooks.hooking import COMMON, stored
from tests.running import Broker, Peer, Session, until

ROUNDS = 40
SH = "sh -c true"
PYTHON = "python3 -I -S -c pass"
IDLE_TARGET = 3.0  # times sh
GUARD_TARGET = 3.0  # times the interpreter, at the 95th percentile


class Case(NamedTuple):
    """One line of the table. `before` makes it so, each time; `answers`: whether the hook is to say something."""

    name: str
    beside: str
    argv: list[str]
    said: dict[str, Any]
    before: Callable[[], object] = lambda: None
    answers: bool = False


class Bench:
    """The broker, the session whose client is this process, and a peer that holds a lock and writes mail."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.project = os.path.join(broker.home, "project")
        os.makedirs(self.project)
        self.held, self.free = (self.file(name) for name in ("held.py", "free.py"))
        self.environ = {
            "HOME": broker.home, "PATH": os.environ.get("PATH", ""), "C2_LATTICE_HOME": broker.state, "C2_LATTICE_DB": broker.database,
            "CLAUDE_PID": str(os.getpid()), "CLAUDECODE": "1", "CLAUDE_CODE_ENTRYPOINT": "cli",
        }  # fmt: skip
        self.flag = os.path.join(broker.state, "flags", str(os.getpid()))
        self.out = os.path.join(broker.home, "hook.out")
        self.sent = 0

    def file(self, name: str) -> str:
        path = os.path.join(self.project, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write("x = 1\n")
        return path

    def spawn_ms(self, case: Case) -> tuple[float, str]:
        """(from its start to its end, what it wrote). AssertionError when it ended badly."""
        with tempfile.TemporaryFile() as said, open(self.out, "w+b") as out:
            said.write(json.dumps(case.said).encode())
            said.seek(0)
            actions = [(os.POSIX_SPAWN_DUP2, said.fileno(), 0), (os.POSIX_SPAWN_DUP2, out.fileno(), 1)]
            began = time.perf_counter()
            pid = os.posix_spawnp(case.argv[0], case.argv, self.environ, file_actions=actions)
            _, status = os.waitpid(pid, 0)
            took = time.perf_counter() - began
            out.seek(0)
            wrote = out.read().decode()
        assert status == 0, f"{case.name}: status {status}"
        return took * 1000, wrote

    def hook(self, name: str, beside: str, event: str, tool: str = "", given: dict[str, Any] | None = None, **more: Any) -> Case:
        [found] = stored(event, tool)
        said = {**COMMON, "cwd": self.project, "hook_event_name": event}
        of_a_tool = {"tool_name": tool, "tool_input": given or {}, "tool_use_id": "toolu_1"}
        said |= of_a_tool if tool else {"prompt": "go on", "source": "startup"}
        return Case(name, beside, [found["command"], *found["args"]], said, **more)

    def denominators(self) -> list[Case]:
        python = os.path.realpath(sys.executable)
        return [Case(SH, "", ["/bin/sh", "-c", "true"], {}), Case(PYTHON, "", [python, "-I", "-S", "-c", "pass"], {})]

    def idle(self) -> list[Case]:
        return [
            self.hook("idle: edit, before", SH, "PreToolUse", "Edit", {"file_path": self.free}),
            self.hook("idle: edit, after", SH, "PostToolUse", "Edit", {"file_path": self.free}),
            self.hook("idle: command, before", SH, "PreToolUse", "Bash", {"command": "make"}),
            self.hook("idle: command, after", SH, "PostToolUse", "Bash", {"command": "make"}),
            self.hook("idle: prompt", SH, "UserPromptSubmit"),
            self.hook("idle: stop", SH, "Stop"),
        ]

    def locked(self) -> list[Case]:
        """While somebody else holds a lock: the guard."""
        return [
            self.hook("guard: edit of a free file", PYTHON, "PreToolUse", "Edit", {"file_path": self.free}),
            self.hook("guard: edit of a held file", PYTHON, "PreToolUse", "Edit", {"file_path": self.held}, answers=True),
            self.hook("guard: command that only reads", PYTHON, "PreToolUse", "Bash", {"command": "git status && grep -rn x ."}),
            self.hook("guard: command that writes", PYTHON, "PreToolUse", "Bash", {"command": f"sed -i s/1/2/ {self.held}"}, answers=True),
            self.hook("locks only: edit, after", SH, "PostToolUse", "Edit", {"file_path": self.free}),
            self.hook("locks only: stop", PYTHON, "Stop"),
        ]

    def mailed(self, other: Peer) -> list[Case]:
        """With a message waiting, for each anew."""

        def send(category: str) -> Callable[[], None]:
            def before() -> None:
                self.sent += 1
                other.post("/send", {"recipient_id": "bench", "category": category, "content": f"message {self.sent}"})
                self.until_flag("mail")

            return before

        return [
            self.hook("mail only: edit, before", SH, "PreToolUse", "Edit", {"file_path": self.free}, before=send("finding")),
            self.hook("mail: edit, after", PYTHON, "PostToolUse", "Edit", {"file_path": self.free}, before=send("finding"), answers=True),
            self.hook("mail: prompt", PYTHON, "UserPromptSubmit", before=send("finding"), answers=True),
            self.hook("mail: stop, urgent", PYTHON, "Stop", before=send("blocker"), answers=True),
        ]

    def always(self) -> list[Case]:
        return [
            self.hook("always: start of a session", PYTHON, "SessionStart", answers=True),
            self.hook("always: compaction", PYTHON, "PreCompact"),
            self.hook("always: end of a session", PYTHON, "SessionEnd"),
            self.hook("always: check_messages, after", PYTHON, "PostToolUse", "mcp__c2-lattice__check_messages"),
        ]

    def until_flag(self, word: str) -> None:
        """The flag gives this reason; with "" it is down."""

        def look() -> bool:
            try:
                with open(self.flag, encoding="utf-8") as file:
                    return bool(word) and word in file.read()
            except FileNotFoundError:
                return not word

        until(look, f"the flag says {word!r}")


def measure(rounds: int = ROUNDS) -> tuple[list[Case], dict[str, list[float]]]:
    """(the cases, the milliseconds of each by its name). AssertionError when a hook does not do its part."""
    took: dict[str, list[float]] = {}
    with Broker() as broker:
        bench = Bench(broker)
        other = broker.enrol("other", workspace="here", working_dir=bench.project)
        beating = broker.beat_all([other])
        with Session(broker.home, cwd=bench.project, C2_LATTICE_PORT=str(broker.port), PEER_ID="bench", C2_LATTICE_WORKSPACE="here",
                     C2_LATTICE_WAKE="off") as session:  # fmt: skip
            session.initialize()
            session.call("list_peers")
            idle, locked, mailed, always = bench.idle(), bench.locked(), bench.mailed(other), bench.always()
            try:
                for number in range(rounds + 1):
                    if number == 1:
                        took.clear()  # the first warms the file caches
                    run(bench, bench.denominators() + idle, took)
                    other.post("/lock", {"file_path": bench.held})
                    bench.until_flag("locks")
                    run(bench, bench.denominators() + locked, took)
                    other.post("/unlock", {"file_path": bench.held})
                    run(bench, bench.denominators() + always + mailed, took)
                    bench.spawn_ms(idle[4])  # takes and proves what is left
                    session.call("check_messages")
                    bench.spawn_ms(bench.hook("", "", "PreCompact"))
                    bench.until_flag("")
            finally:
                beating.close()
    return [*bench.denominators(), *idle, *locked, *mailed, *always], took


def run(bench: Bench, cases: list[Case], took: dict[str, list[float]]) -> None:
    for case in cases:
        case.before()
        ms, wrote = bench.spawn_ms(case)
        assert bool(wrote) == case.answers, f"{case.name} wrote {wrote!r}"
        took.setdefault(case.name, []).append(ms)


def p95(values: list[float]) -> float:
    return sorted(values)[max(0, math.ceil(len(values) * 0.95) - 1)]


def report(cases: list[Case], took: dict[str, list[float]]) -> str:
    """The table, and each target with whether it was met, as text."""
    lines = [f"{'':<34}{'p50 ms':>8}{'p95 ms':>8}"]
    for case in cases:
        values = took[case.name]
        line = f"{case.name:<34}{statistics.median(values):>8.2f}{p95(values):>8.2f}"
        if case.beside:
            typical = statistics.median(values) / statistics.median(took[case.beside])
            rare = p95(values) / p95(took[case.beside])
            line += f"   {typical:.1f} x {case.beside.partition(' ')[0]} (p95 {rare:.1f} x)"
            if case.beside == SH:
                line += f"   target {IDLE_TARGET:g} x: {met(typical, IDLE_TARGET)}"
            elif case.name.startswith("guard"):
                line += f"   target p95 {GUARD_TARGET:g} x: {met(rare, GUARD_TARGET)}"
        lines.append(line)
    return "\n".join(lines)


def met(ratio: float, target: float) -> str:
    return "met" if ratio <= target else "MISSED"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.hooks")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    cases, took = measure(parser.parse_args().rounds)
    print(report(cases, took), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
