"""c2-lattice doctor: look at everything that could be wrong, say what to do. Changes nothing.

One line for each thing: ok, note (works, but know this), or WRONG with what would mend it.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import sys
from collections.abc import Callable, Mapping
from typing import NamedTuple

from lattice import settings, typed
from lattice.cli import bin_command, copies, install, show, status
from lattice.clients.terminal import TERMINALS
from lattice.guard.tokens import SecretError

MIN_SQLITE = (3, 37, 0)  # the oldest with STRICT tables
OLD_COPY_S = 2 * 3600.0  # a copy is made each hour in which something is written
LITTLE_SPACE = 200 * 1024 * 1024


class Finding(NamedTuple):
    state: str  # ok, note, WRONG
    sentence: str


def main(argv: list[str] | None = None) -> int:
    """0 when nothing is wrong, 1 when something is, 2 when the settings cannot be read."""
    if argv:
        return install.fail("doctor takes no arguments", 2)
    environ = dict(os.environ)
    try:
        chosen = settings.read(environ)
    except settings.BadSetting as problem:
        return install.fail(str(problem), 2)
    findings = examine(chosen, environ)
    for finding in findings:
        print(f"{finding.state.ljust(5)} {finding.sentence}")
    return 1 if any(finding.state == "WRONG" for finding in findings) else 0


def examine(chosen, environ: Mapping[str, str]) -> list[Finding]:  # type: ignore[no-untyped-def]
    """Every finding, in an order in which the first wrong one is the one to mend first."""
    looks: tuple[Callable[[], list[Finding]], ...] = (
        _python,
        lambda: _home(chosen.home),
        lambda: _database(chosen.db),
        lambda: _copies(chosen),
        lambda: _broker(chosen),
        lambda: _clients(environ, chosen.home),
        lambda: _command(environ),
        lambda: _spawning(environ),
    )
    found: list[Finding] = []
    for look in looks:
        try:
            found += look()
        except OSError as problem:
            found.append(Finding("WRONG", f"{problem.filename}: {problem.strerror}" if problem.filename else str(problem)))
    return found


def _python() -> list[Finding]:
    found = [Finding("ok", f"Python {sys.version.split()[0]} at {os.path.realpath(sys.executable)}")]
    if sqlite3.sqlite_version_info < MIN_SQLITE:
        found.append(Finding("WRONG", f"SQLite {sqlite3.sqlite_version} is too old; 3.37 is needed: use a newer Python"))
    else:
        found.append(Finding("ok", f"SQLite {sqlite3.sqlite_version}"))
    return found


def _home(home: str) -> list[Finding]:
    if not os.path.isdir(home):
        return [Finding("note", f"{home} is not there yet; the first start makes it")]
    return [_private(home, 0o700), *(_private(path, 0o600) for path in [os.path.join(home, "secret")] if os.path.lexists(path))]


def _private(path: str, wanted: int) -> Finding:
    found = os.lstat(path)
    if os.name == "nt":
        return Finding("ok", path)
    if stat.S_ISLNK(found.st_mode):
        return Finding("WRONG", f"{path} is a link; put the thing itself there")
    if found.st_uid != os.getuid():
        return Finding("WRONG", f"{path} belongs to another user; choose another C2_LATTICE_HOME")
    if found.st_mode & 0o077:
        return Finding("WRONG", f"{path} is open to other users; close it: chmod {wanted:o} {path}")
    return Finding("ok", f"{path} is yours alone")


def _database(path: str) -> list[Finding]:
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        return [Finding("WRONG", f"{folder}, the database's folder, is not there")]
    found = [_private(path, 0o600)] if os.path.lexists(path) else [Finding("note", f"{path} is not there yet; the first start makes it")]
    if not os.access(folder, os.W_OK):
        found.append(Finding("WRONG", f"{folder} cannot be written; set C2_LATTICE_DB to a file elsewhere"))
    free = shutil.disk_usage(folder).free
    if free < LITTLE_SPACE:
        found.append(Finding("WRONG", f"only {free // 1_048_576} MB are free in {folder}"))
    return found


def _copies(chosen) -> list[Finding]:  # type: ignore[no-untyped-def]
    made = [copy for copy in copies.made(chosen) if not copy.why]
    if not os.path.exists(chosen.db) or not made:
        return []
    newest = made[0]
    line = f"{len(made)} {'copy' if len(made) == 1 else 'copies'} of the database, the newest as of {show.cell(newest.as_of)}"
    changed = max(os.path.getmtime(name) for name in (chosen.db, chosen.db + "-wal") if os.path.exists(name))
    if changed - newest.written > OLD_COPY_S:
        return [Finding("note", f"{line}; more was written since, and not copied: {os.path.join(chosen.home, 'broker.log')} says why")]
    return [Finding("ok", line)]


def _broker(chosen) -> list[Finding]:  # type: ignore[no-untyped-def]
    line = f"broker: {status.broker_line(chosen)}"
    try:
        there, port, secret = status.look(chosen)
    except SecretError:
        return [Finding("WRONG", line)]
    also = [Finding("note", f"also running: {one}") for one in status.others(chosen, port, secret)]
    if there == "none":
        return [Finding("note", f"{line}; {typed.own_script('launch.py')} starts it, and so does the first session"), *also]
    if there == "foreign":
        return [Finding("WRONG", f"{line}; end it, or choose another: C2_LATTICE_PORT")]
    if there == "silent":
        return [Finding("WRONG", line)]
    said = status.health(port)
    found = [Finding("note" if "this checkout" in line else "WRONG" if said.get("writable") is False else "ok", line)]
    cards = [card for card in settings.running_brokers(chosen.home) if card.get("port") == port]
    if cards and cards[0].get("database") != chosen.db:
        found.append(Finding("note", f"it serves {cards[0].get('database')}, not {chosen.db}"))
    return [*found, *also]


def _clients(environ: Mapping[str, str], home: str) -> list[Finding]:
    found = []
    for adapter in install.adapters(environ, home):
        line = f"{adapter.title}: {install.registration(adapter)}"
        where = adapter.find()
        if where.problem:
            found.append(Finding("WRONG", line))
        elif where.entry is None:
            found.append(Finding("note", f"{line}: {typed.own_script('install.py')}"))
        else:
            found.append(Finding("WRONG" if "is gone" in line else "note" if "another checkout" in line else "ok", line))
        hooks = adapter.hooks()
        if hooks and where.entry is not None:
            line = f"{adapter.title}'s hooks: {hooks}"
            broken = "is gone" in hooks or "not touched" in hooks or "turned off" in hooks
            found.append(Finding("WRONG" if broken else "note" if "none of ours" in hooks or "run install.py" in hooks else "ok", line))
        if not adapter.program():
            found.append(Finding("note", f"{adapter.title}'s program is not on PATH"))
    return found


def _command(environ: Mapping[str, str]) -> list[Finding]:
    command = bin_command.find(environ)
    if command.state == "none":
        return [Finding("note", f"the c2-lattice command is not installed: {typed.own_script('install.py')}")]
    if command.state == "foreign":
        return [Finding("note", f"{command.path} is not ours")]
    if command.state == "other":
        return [Finding("note", f"{command.path} is of another place: {typed.own_script('install.py')} writes it anew")]
    if not command.on_path:
        return [Finding("note", f"{command.path} is installed, but its folder is not on PATH")]
    return [Finding("ok", f"the command {command.path}")]


def _spawning(environ: Mapping[str, str]) -> list[Finding]:
    path = environ.get("PATH")
    ways = [f"tmux ({shutil.which('tmux', path=path)})"] if shutil.which("tmux", path=path) else []
    if sys.platform in ("win32", "darwin"):
        ways.append("a terminal window")
    elif environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"):
        ways += [name for name, _ in TERMINALS if shutil.which(name, path=path)][:1]
    return [Finding("ok", f"workers can be opened in: {', '.join([*ways, 'the background'])}")]
