"""launch.py: the broker up, the page open, and a word on everything else.

Each step says what it did. What is expected to fail says so in one sentence on standard error; the exit status
is 0 done, 1 it did not work, 2 the line is wrong, 3 no broker (--status, --architect), 4 the secret cannot be used.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping

from lattice import VERSION, daemon, settings, typed
from lattice.cli import copies, install, restore, sign_in, status
from lattice.cli.door import Door
from lattice.clients.base import NAME, Refused
from lattice.errors import Refusal, Unavailable
from lattice.guard.tokens import SecretError, load_secret


def main(argv: list[str] | None = None) -> int:
    asked = _parse(argv)
    environ = dict(os.environ)
    if asked.port is not None:
        environ["C2_LATTICE_PORT"] = asked.port
    if asked.db is not None:
        environ["C2_LATTICE_DB"] = asked.db
    try:
        return install.to_the_end(lambda: _run(asked, settings.read(environ), environ))
    except settings.BadSetting as problem:
        typed = str(problem).replace("C2_LATTICE_PORT=", "--port ") if asked.port is not None else str(problem)
        return install.fail(typed, 2)
    except SecretError as problem:
        return install.fail(str(problem), 4)
    except Refusal as problem:
        no_broker = isinstance(problem, Unavailable) and problem.code == "unreachable"
        return install.fail(problem.message + (f" ({problem.hint})" if problem.hint else ""), 3 if no_broker else 1)
    except OSError as problem:
        return install.fail(install.in_words(problem), 1)
    except KeyboardInterrupt:
        return 130


def _run(asked: argparse.Namespace, chosen, environ: Mapping[str, str]) -> int:  # type: ignore[no-untyped-def]
    if asked.demo:
        from lattice.cli import demo

        return int(demo.run(chosen, asked.keep, asked.no_browser))
    if asked.status:
        return _status(chosen, environ)
    if asked.architect is not None:
        return _seat(chosen, environ, asked.architect)
    if asked.backups:
        return copies.tell(chosen)
    if asked.fresh or asked.restore is not None:
        chosen = _exchange(chosen, asked.restore)
    elif asked.stop or asked.restart:
        names_database = bool(environ.get("C2_LATTICE_DB", "").strip())
        stopped = _stop(chosen, only_database=names_database)
        chosen = _where_it_was(chosen, stopped, same_database=not names_database)
    if asked.stop:
        return 0
    _start(chosen, environ, asked.no_browser)
    _offer_registration(chosen, environ)
    return 0


def _exchange(chosen, wanted: str | None):  # type: ignore[no-untyped-def]
    """Put another database in the place of the one there is: a copy (`wanted`, "" for the newest good one), or None for an empty one.

    Nothing is stopped before the copy is found to be sound, and no session starts a broker before it is in its place.
    """
    settings.make_home(chosen.home)
    copy = None if wanted is None else restore.choose(chosen, wanted)
    starts = daemon.hold_starts(chosen)
    try:
        stopped = _stop(chosen, only_database=True)
        restore.put(chosen, copy)
    finally:
        starts.release()
    return _where_it_was(chosen, stopped)


def _where_it_was(chosen, stopped: list[tuple[int, str]], *, same_database: bool = False):  # type: ignore[no-untyped-def]
    """The one that comes is to be where the one that went was: its sessions look for it there."""
    if not stopped or chosen.port:
        return chosen
    port, database = stopped[0]
    return chosen._replace(port=port, db=database if same_database else chosen.db)


def _start(chosen, environ: Mapping[str, str], no_browser: bool) -> None:  # type: ignore[no-untyped-def]
    settings.make_home(chosen.home)
    secret = load_secret(chosen.home, chosen.secret)
    was_there = daemon.probe(daemon.find(chosen), secret) == "ours"
    # The broker is started with this process's environment, so what was asked for by option goes there too.
    port = daemon.start(chosen)
    said = status.health(port)
    print(f"broker: {'found' if was_there else 'started'} on 127.0.0.1:{port}, process {said.get('pid')}, version {said.get('version')}")
    if was_there and said.get("version") != VERSION:
        print(f"        this checkout is {VERSION}; launch.py --restart brings them together")
    if was_there:
        _say_other_database(chosen, port)
    path = sign_in.write(chosen.home, port, secret)
    if not no_browser and sign_in.open_in_browser(path, environ):
        print("page:   opened in your browser, signed in")
    else:
        print(f"page:   open this file in a browser within 60 seconds, it signs you in once: {path}")
    print(f"        http://127.0.0.1:{port}/dashboard (typed, it shows how to sign in)", flush=True)


def _say_other_database(chosen, port: int) -> None:  # type: ignore[no-untyped-def]
    for card in settings.running_brokers(chosen.home):
        if card.get("port") == port and card.get("database") not in (None, chosen.db):
            print(f"        it serves {card['database']}, not {chosen.db}; another database needs another --port")


def _offer_registration(chosen, environ: Mapping[str, str]) -> None:  # type: ignore[no-untyped-def]
    for adapter in install.adapters(environ, chosen.home):
        print(f"{adapter.title}: {install.registration(adapter)}", flush=True)
        if adapter.find().entry is not None or adapter.find().problem:
            continue
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            print(f"        to register it: {typed.own_script('install.py')}")
            continue
        try:
            answer = input("        register it now? [Y/n] ").strip().lower()
        except EOFError:
            answer = "n"
        if answer in ("", "y", "yes"):
            try:
                for sentence in install.register(environ, chosen.home):
                    print(f"        {sentence}")
                print(f"        its hooks and the {NAME} command: {typed.own_script('install.py')}")
            except Refused as problem:
                print(f"        {problem}")


def _stop(chosen, *, only_database: bool) -> list[tuple[int, str]]:  # type: ignore[no-untyped-def]
    """Stop the broker of the port, and whichever other one of ours serves the database: (port, database) of each.

    Where no port was named, `only_database` spares one that serves another database.
    """
    there, port, secret = status.look(chosen)
    if there == "silent":
        raise daemon.silent(chosen.home, port)
    cards = settings.running_brokers(chosen.home) if secret else []
    served = {int(str(card["port"])): str(card.get("database") or chosen.db) for card in cards}
    ports = [port] if there == "ours" and (chosen.port or not only_database or served.get(port, chosen.db) == chosen.db) else []
    if not chosen.port:
        cards_only = [one for one, database in served.items() if database == chosen.db and one not in ports]
        ports += [one for one in cards_only if _is_ours(chosen.home, one, secret)]
    stopped = [(one, served.get(one, chosen.db)) for one in ports if daemon.stop(one, secret)]
    sign_in.forget(chosen.home)
    for one, _ in stopped:
        print(f"broker: stopped (127.0.0.1:{one})", flush=True)
    if there == "foreign":
        print(f"broker: port {port} is used by another program, which is not ours; it was left alone")
    elif not stopped:
        print("broker: none was running" + (f" with {chosen.db}" if only_database else ""))
    return stopped


def _is_ours(home: str, port: int, secret: bytes) -> bool:
    """Is the broker there that a card tells of? The card outlives one that was killed, and others may have its port."""
    there = daemon.look(port, secret)
    if there == "silent":
        raise daemon.silent(home, port)
    return there == "ours"


def _status(chosen, environ: Mapping[str, str]) -> int:  # type: ignore[no-untyped-def]
    there, port, secret = status.look(chosen)
    print(f"broker: {status.broker_line(chosen)}")
    for one in status.others(chosen, port, secret):
        print(f"        also running: {one} (ask it with --port)")
    for adapter in install.adapters(environ, chosen.home):
        print(f"{adapter.title}: {install.registration(adapter)}")
        if adapter.hooks():
            print(f"  hooks: {adapter.hooks()}")
    if there != "ours":
        return 3
    door = Door(chosen, environ, port, as_person=True)
    try:
        from lattice.cli import show

        print(show.said("list_peers", door.call("GET", "/peers?everywhere=true")))
    finally:
        door.close()
    return 0


def _seat(chosen, environ: Mapping[str, str], peer: str) -> int:  # type: ignore[no-untyped-def]
    there, port, _ = status.look(chosen)
    if there != "ours":
        return install.fail(f"no broker to ask: {status.broker_line(chosen)}", 3)
    from lattice.cli import show

    door = Door(chosen, environ, port, as_person=True)
    try:
        from lattice.names import new_key

        where = {} if peer else {"workspace": door.here()}
        answer = door.call("POST", "/seat", {"peer_id": peer, **where, "idempotency_key": new_key()})
    finally:
        door.close()
    workspace = show.cell(answer.get("workspace"))
    print(f"{peer} has the architect's seat of {workspace}" if peer else f"the architect's seat of {workspace} is empty")
    return 0


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="launch.py", description=f"Start {NAME}'s broker, or find it, and open the page.")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--status", action="store_true", help="is it up, who is here; changes nothing")
    what.add_argument("--stop", action="store_true", help="stop the broker")
    what.add_argument("--restart", action="store_true", help="stop it and start it again")
    what.add_argument("--fresh", action="store_true", help="begin with an empty database; the old one is kept as a backup")
    what.add_argument("--backups", action="store_true", help="the copies of the database that there are; changes nothing")
    what.add_argument(
        "--restore", nargs="?", const="", metavar="FILE", help="go back to a copy (the newest good one); what is there now is kept"
    )
    what.add_argument("--architect", metavar="ID", help="give this peer the architect's seat")
    what.add_argument("--demo", action="store_true", help="an architect and three workers at work, on a port and database of their own")
    parser.add_argument("--no-browser", action="store_true", help="print the path of the sign-in file instead of opening it")
    parser.add_argument("--port", help="the broker's port (C2_LATTICE_PORT)")
    parser.add_argument("--db", help="the database file (C2_LATTICE_DB)")
    parser.add_argument("--keep", action="store_true", help="with --demo: leave everything for a look afterwards")
    return parser.parse_args(argv)
