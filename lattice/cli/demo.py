"""`launch.py --demo`: an architect and three workers at real work, to be watched in the terminal and on the page.

A broker and a database of its own, in a folder of its own, on a free port; each member of the crew is a real
`mcp_server.py` over stdio (see `demo_crew`). Nothing of the user's own broker, database or sessions is touched.
At the end it looks for itself whether everything happened, and says what did not.

Whatever happens (done, failed, Ctrl-C, terminated), all that was started is ended and the folder removed; with
`keep`, broker and folder stay, and it is said how to stop them. Only a demo that is itself killed leaves its broker.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from typing import Any

from lattice import daemon, settings, typed
from lattice.cli import sign_in
from lattice.cli.demo_crew import BY_TITLE, PARTS, PLAN, Architect, Member, Stage, Worker, written
from lattice.cli.door import Door
from lattice.cli.mcp_client import DETACHED, McpClient
from lattice.errors import Refusal
from lattice.guard.tokens import load_secret

ARCHITECT, WORKERS = "ada", ("ben", "cleo", "dan")
PACE_S = 1.1  # between two steps of a worker: a person can follow, and all of it takes about half a minute
BOUND_S = 60.0
REPEAT_S = 5.0  # how often it is said again what is being waited for
PORTS = 3  # the free one that was found may be taken when the broker comes to it
BROKER_S = 10.0
INTERRUPTED = 130
# What would make a session of the demo somebody else, or send it to another broker.
OF_THE_USER = ("C2_LATTICE_", "PEER_", "CLAUDE", "TMUX")


def run(chosen: settings.Settings, keep: bool, no_browser: bool = False, pace_s: float = PACE_S) -> int:
    """Play it: 0 when everything happened, 1 when not (it is said what), 130 when interrupted.

    Of the `chosen` settings none is used: the demo's broker is not the user's.
    """
    show = Show(keep)
    with _ended_by_signals():
        try:
            return show.play(no_browser, pace_s)
        except KeyboardInterrupt:
            _print("interrupted")
            return INTERRUPTED
        except (Refusal, OSError) as problem:
            _print(f"the demo could not go on: {problem}")
            return 1
        finally:
            with _deaf():
                show.clear_away()


class Show:
    """All that one demo starts. `clear_away` ends it, however far it came."""

    def __init__(self, keep: bool) -> None:
        self.keep = keep
        self.folder = os.path.realpath(tempfile.mkdtemp(prefix="c2-lattice-demo-"))
        self.project = os.path.join(self.folder, "project")
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith(OF_THE_USER)}
        self.environ |= {
            "C2_LATTICE_HOME": os.path.join(self.folder, "state"), "C2_LATTICE_DB": os.path.join(self.folder, "lattice.db"),
            "C2_LATTICE_WORKSPACE": "demo", "PEER_DIR": self.project,
        }  # fmt: skip
        self.settings: settings.Settings | None = None
        self.secret = b""
        self.port = 0
        self.broker: subprocess.Popen[bytes] | None = None
        self.crew: list[Member] = []
        self.threads: list[threading.Thread] = []

    def play(self, no_browser: bool, pace_s: float) -> int:
        os.mkdir(self.project)
        self._start_broker()
        self._show_page(no_browser)
        stage = Stage(self.project, pace_s, _print)
        self._start_crew(stage)
        self._watch(stage)
        try:
            faults = stage.faults + self._look_back(stage)
        except Refusal as problem:
            faults = [*stage.faults, f"looking back: {problem}"]
        took_s = time.monotonic() - stage.begun
        if faults:
            for fault in faults:
                _print(f"  wrong: {fault}")
            _print(f"the demo failed after {took_s:.1f} s")
            return 1
        _print(f"the demo is done, in {took_s:.1f} s")
        return 0

    # -- beginning ----------------------------------------------------------------------------------

    def _start_broker(self) -> None:
        home = self.environ["C2_LATTICE_HOME"]
        settings.make_home(home)
        self.secret = load_secret(home)
        give_up = time.monotonic() + BROKER_S
        for _ in range(PORTS):
            self.port = _free_port()
            self.environ["C2_LATTICE_PORT"] = str(self.port)
            self.settings = settings.read(self.environ)
            with open(os.path.join(home, "broker.log"), "ab") as log:
                self.broker = subprocess.Popen(
                    _program("broker.py"), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=home, env=self.environ, **DETACHED
                )
            while self.broker.poll() is None and time.monotonic() < give_up:
                if daemon.probe(self.port, self.secret) == "ours":
                    return
                time.sleep(0.05)
            if self.broker.poll() is None:
                break  # it hangs; another would as well
        raise OSError(f"its broker did not start on port {self.port}: {_last_line(os.path.join(home, 'broker.log'))}")

    def _show_page(self, no_browser: bool) -> None:
        _print(f"broker: its own, on 127.0.0.1:{self.port}, process {self.broker.pid if self.broker else 0}")
        path = sign_in.write(self.environ["C2_LATTICE_HOME"], self.port, self.secret)
        if not no_browser and sign_in.open_in_browser(path, self.environ):
            _print(f"page:   opened in your browser, signed in: http://127.0.0.1:{self.port}/dashboard")
        else:
            _print(f"page:   http://127.0.0.1:{self.port}/dashboard")
            _print(f"        to watch it, open this file in a browser within 60 seconds, it signs you in once: {path}")

    def _start_crew(self, stage: Stage) -> None:
        self.crew.append(Architect(ARCHITECT, self._client(ARCHITECT, "architect"), stage, len(WORKERS)))
        for name in WORKERS:
            self.crew.append(Worker(name, self._client(name, "worker"), stage))
        for member in self.crew:
            thread = threading.Thread(target=member.play, name=member.name, daemon=True)
            self.threads.append(thread)
            thread.start()

    def _client(self, name: str, role: str) -> McpClient:
        environ = self.environ | {"PEER_ID": name, "PEER_ROLE": role}
        return McpClient(_program("mcp_server.py"), environ=environ, folder=self.project, log=os.path.join(self.folder, f"{name}.log"))

    # -- while it goes on -----------------------------------------------------------------------------

    def _watch(self, stage: Stage) -> None:
        """Until the architect is content, somebody fails, or it takes too long. Says what is being waited for."""
        give_up = stage.begun + BOUND_S
        said_at = -REPEAT_S
        while not stage.is_done.wait(0.1):
            now = time.monotonic()
            if stage.is_over.is_set():
                return
            if now > give_up:
                stage.faults.append(f"not everything was done within {BOUND_S:g} s")
                break
            if stage.killed_at and not stage.heir and now - said_at > REPEAT_S:
                silent = f"{stage.victim} is silent for {now - stage.killed_at:.0f} s"
                freed = f"15 s after the last beat the broker frees #{stage.victim_task}"
                stage.say("", f"(waiting: {silent}; {freed}; the others take what is claimable)")
                said_at = now
        stage.is_over.set()
        for thread in self.threads:
            thread.join(5.0)

    # -- looking back ---------------------------------------------------------------------------------

    def _look_back(self, stage: Stage) -> list[str]:
        """What the broker, the log and the files say of it, as the person sees them: prints what is so, answers what is not."""
        door = Door(self.settings, self.environ, self.port, as_person=True)
        try:
            findings = [
                *_tasks(door), *_takeover(door, stage), *_escalations(door), _decisions(door), _locks(door),
                all_written_once(self.project), _chain(door),
            ]  # fmt: skip
        finally:
            door.close()
        _print("looking back:")
        for is_so, what in findings:
            if is_so:
                _print(f"  so it is: {what}")
        return [what for is_so, what in findings if not is_so]

    # -- ending -----------------------------------------------------------------------------------------

    def clear_away(self) -> None:
        """Each thing on its own: what cannot be ended must not keep the rest."""
        for member in self.crew:
            member.stage.is_over.set()
        for member in self.crew:
            member.client.hang_up()
        for member in self.crew:
            member.client.close()
        for thread in self.threads:
            thread.join(2.0)
        if self.keep and self.broker is not None and self.broker.poll() is None:
            self._say_what_stays()
            return
        self._stop_broker()
        if self.keep:
            _print(f"kept: {self.folder} (no broker runs)")
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        if os.path.lexists(self.folder):
            _print(f"{self.folder} could not be removed")
        else:
            _print("cleared away: sessions ended, broker stopped, files removed")

    def _stop_broker(self) -> None:
        if self.broker is None:
            return
        if self.broker.poll() is None:
            with contextlib.suppress(Refusal):  # then it is ended below
                daemon.stop(self.port, self.secret)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.broker.wait(2.0)
        if self.broker.poll() is None:
            self.broker.kill()
        self.broker.wait()

    def _say_what_stays(self) -> None:
        assert self.broker is not None
        threading.Thread(target=self.broker.wait, name="reap", daemon=True).start()  # it goes on without us
        home, database = self.environ["C2_LATTICE_HOME"], self.environ["C2_LATTICE_DB"]
        variable = f'set "C2_LATTICE_HOME={home}" && ' if os.name == "nt" else f"C2_LATTICE_HOME={typed.as_typed(home)} "
        line = variable + typed.own_script("launch.py", "--port", str(self.port), "--db", database)
        _print(f"kept: the broker on 127.0.0.1:{self.port} (process {self.broker.pid}), its database {database}, all in {self.folder}")
        _print(f"  to see the page: {line}")
        _print(f"  to stop it:      {line} --stop")
        _print("  then the folder may be removed")


# -- what must have happened: (is it so, what) ---------------------------------------------------------------------------

Finding = tuple[bool, str]


def _tasks(door: Door) -> Iterator[Finding]:
    tasks = _list(door, "/tasks?everywhere=true", "tasks")
    completed = [task for task in tasks if task["status"] == "completed"]
    yield len(completed) == len(PLAN) == len(tasks), f"{len(completed)} of {len(PLAN)} tasks are completed"
    for task in tasks:
        if task["status"] != "completed":
            yield False, f"#{task['id']} {task['title']} is {task['status']}"


def _takeover(door: Door, stage: Stage) -> Iterator[Finding]:
    departed = [event for event in _events(door) if event["kind"] == "note" and event["data"].get("what") == "departed"]
    yield bool(stage.victim), f"{stage.victim or 'nobody'} was killed in the middle of a task"
    found = [task for task in _list(door, "/tasks?everywhere=true", "tasks") if BY_TITLE[task["title"]].is_fatal]
    if not stage.victim or not found:
        return
    task = found[0]
    freed = [event["data"]["released"] for event in departed if stage.victim in event["subjects"]]
    came_back = len(freed) == 1 and freed[0]["tasks"] == [task["id"]] and len(freed[0]["locks"]) == 1
    yield came_back, f"the broker took #{task['id']} and its lock back from {stage.victim}, once" + ("" if came_back else f", but: {freed}")
    heir = task["assigned_to"]
    taken_over = task["attempts"] == 2 and heir not in (None, stage.victim) and heir == stage.heir
    yield taken_over, f"#{task['id']} was taken over: attempt {task['attempts']}, by {heir}"


def _escalations(door: Door) -> Iterator[Finding]:
    found = _list(door, "/escalations?everywhere=true", "escalations")
    for kind, verdict, said in (("blocker", "answer", "the blocker was answered"), ("review", "approve", "the review was approved")):
        of_kind = [one for one in found if one["kind"] == kind]
        yield bool(of_kind) and all((one["verdict"], one["resolved_by"]) == (verdict, ARCHITECT) for one in of_kind), said
    yield all(one["state"] == "resolved" for one in found), "no call for help is open"


def _decisions(door: Door) -> Finding:
    wanted = {"goal", "dates"} | {job.word for job in PLAN if job.decides}
    there = {one["key"] for one in _list(door, "/memory?everywhere=true&type=decision", "memory")}
    missing = f"; missing: {', '.join(sorted(wanted - there))}" if wanted - there else ""
    return wanted <= there, f"decisions in memory: {', '.join(sorted(wanted & there)) or 'none'}{missing}"


def _locks(door: Door) -> Finding:
    left = _list(door, "/locks?everywhere=true", "locks")
    return not left, "no lock is left" + "".join(f", but {os.path.basename(lock['file_path'])} by {lock['peer_id']}" for lock in left)


def all_written_once(project: str) -> Finding:
    """Each part of each task was written once, and in its order: nobody wrote into another's work."""
    odd = []
    for job in PLAN:
        parts = [line.removeprefix(job.line).split(" ")[0] for line in written(project, job.path) if line.startswith(job.line)]
        if parts != [str(part + 1) for part in range(PARTS)]:
            odd.append(f"{job.word} has {', '.join(parts) or 'none'}")
    return not odd, "every part of the work was written once" + (f", but {'; '.join(odd)}" if odd else "")


def _chain(door: Door) -> Finding:
    said = door.call("GET", "/events/verify")
    damage = "" if said["ok"] else f", but only up to {said['first_damaged']}"
    return bool(said["ok"] and said["events"]), f"the chain of the log verifies, {said['events']} events{damage}"


def _events(door: Door) -> Iterator[dict[str, Any]]:
    after = 0
    while page := _list(door, f"/events?follow=false&everywhere=true&limit=1000&after={after}", "events"):
        yield from page
        after = page[-1]["seq"]


def _list(door: Door, path: str, name: str) -> list[dict[str, Any]]:
    found = door.call("GET", path)[name]
    assert isinstance(found, list), path
    return found


# -- the process ----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Being terminated, or losing the terminal, is an interruption like Ctrl-C: what was started must end. Only on the main thread."""
    names = [name for name in ("SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {name: signal.signal(getattr(signal, name), _interrupt) for name in names}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    """While clearing away, which takes a few seconds at most, a second Ctrl-C must not leave the rest behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)]
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _program(name: str) -> list[str]:
    return [sys.executable, "-I", "-S", os.path.join(daemon.ROOT, name)]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _last_line(path: str) -> str:
    lines = list(written(os.path.dirname(path), os.path.basename(path)))
    return lines[-1] if lines else "it said nothing"


def _print(line: str) -> None:
    try:
        print(line, flush=True)
    except OSError:
        pass  # the terminal is gone: the work is ended by its signal, or goes on unseen
