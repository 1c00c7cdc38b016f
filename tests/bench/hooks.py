"""What a hook costs, beside a bare shell and a bare interpreter of the same rounds: `python -m tests.bench.hooks [--rounds N]`.

Each hook is started as the settings name it, with an edit's JSON on stdin, against a real broker. Idle: the session's
flag is down. Busy: another session holds a file; the guard allows or denies.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable

from lattice.clients import claude_hooks
from tests.running import PYTHON, TOP, Broker, Session, until

ROUNDS = 60
SHELL, BARE = "sh -c true", "python3 -I -S -c pass"
IDLE = ("UserPromptSubmit", "PreToolUse Edit", "PreToolUse Bash", "PostToolUse Read", "Stop")
# (figure, denominator, percentile of both, target)
TARGETS = tuple((f"idle: {name}", SHELL, 50, 3.0) for name in IDLE) + (
    ("busy: PreToolUse Edit, allowed", BARE, 95, 3.0), ("busy: PreToolUse Edit, denied", BARE, 95, 3.0),
)  # fmt: skip


def figures(rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Name -> milliseconds of each round, in ascending order; the rounds are interleaved."""
    with Broker() as broker:
        server = ["/bin/sh", "-c", '"$@"; :', "sh", *PYTHON, os.path.join(TOP, "mcp_server.py")]
        environ = {"C2_LATTICE_PORT": str(broker.port), "PEER_ID": "bench", "C2_LATTICE_WORKSPACE": "bench", "C2_LATTICE_WAKE": "off"}
        with Session(broker.home, command=server, **environ) as session:
            session.initialize()
            session.call("list_peers")
            holder = broker.enrol("holder", workspace="bench")
            held, free = (os.path.join(broker.home, name) for name in ("held.py", "free.py"))
            flag = os.path.join(broker.state, "flags", str(session.process.pid))
            around = {**broker.environ, "CLAUDE_PID": str(session.process.pid)}
            took = _measure(rounds, {SHELL: _run(["/bin/sh", "-c", "true"]), BARE: _run([*PYTHON, "-c", "pass"])} | {
                f"idle: {name}": _hook(name, free, around) for name in IDLE
            })  # fmt: skip
            holder.post("/lock", {"file_path": held})
            until(lambda: os.path.exists(flag), "the flag is up")
            busy = _measure(rounds, {
                "busy: PreToolUse Edit, allowed": _hook("PreToolUse Edit", free, around),
                "busy: PreToolUse Edit, denied": _hook("PreToolUse Edit", held, around),
                "busy: PreToolUse Bash, denied": _hook("PreToolUse Bash", held, around),
                "busy: PostToolUse Read": _hook("PostToolUse Read", free, around),
                BARE: _run([*PYTHON, "-c", "pass"]),
            })  # fmt: skip
    took[BARE] = sorted(took[BARE] + busy.pop(BARE))
    return took | busy


def percentile(values: list[float], of_a_hundred: int) -> float:
    return values[min(len(values) - 1, len(values) * of_a_hundred // 100)]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.hooks")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    took = figures(parser.parse_args().rounds)
    print(f"{'ms':<36}{'p50':>8}{'p95':>8}")
    for name, values in took.items():
        print(f"{name:<36}{percentile(values, 50):>8.2f}{percentile(values, 95):>8.2f}")
    print()
    for name, denominator, place, target in TARGETS:
        ratio = percentile(took[name], place) / percentile(took[denominator], place)
        print(f"{name} over {denominator}, p{place}: {ratio:.2f}   target <= {target:g}: {'met' if ratio <= target else 'MISSED'}")
    return 0


def _measure(rounds: int, what: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
    took: dict[str, list[float]] = {name: [] for name in what}
    for number in range(rounds + 2):
        for name, run in what.items():
            began = time.perf_counter()
            run()
            if number > 1:  # the first two warm the file caches
                took[name].append((time.perf_counter() - began) * 1000)
    return {name: sorted(values) for name, values in took.items()}


def _run(argv: list[str], said: bytes = b"{}", environ: dict[str, str] | None = None) -> Callable[[], object]:
    return lambda: subprocess.run(argv, input=said, stdout=subprocess.DEVNULL, env=environ, check=True, timeout=30)


def _hook(name: str, path: str, environ: dict[str, str]) -> Callable[[], object]:
    event, _, tool = name.partition(" ")
    given = {"command": f"echo x > {path}"} if tool == "Bash" else {"file_path": path, "old_string": "x", "new_string": "y" * 2000}
    about = {"session_id": "s", "cwd": os.path.dirname(path), "hook_event_name": event, "tool_name": tool, "tool_input": given}
    groups = claude_hooks.entries()[event]
    group = next(group for group in groups if not tool or tool in str(group["matcher"]).split("|") or "?!" in str(group["matcher"]))
    [hook] = group["hooks"]  # type: ignore[misc]
    return _run([hook["command"], *hook["args"]], json.dumps(about).encode(), environ)  # type: ignore[has-type]


if __name__ == "__main__":
    sys.exit(main())
