"""The broker as a program: who may serve, and with what.

Settings, the state directory, the secret, and the lock beside the database come first; only who has the lock loads the rest
(`serving.py`), opens the database and binds the port. So one that starts in vain costs little and touches nothing.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys

from lattice import settings
from lattice.broker import exits
from lattice.exclusive import Exclusive
from lattice.guard import tokens


def main(argv: list[str] | None = None) -> int:
    """`broker.py [--port N] [--db FILE]`; the exit status."""
    words = sys.argv[1:] if argv is None else argv
    if {"--help", "-h"} & set(words):
        print(f"{USAGE}\n\nlaunch.py starts it, and opens the page; so does the first session that needs it.")
        return exits.OK
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until it serves, Ctrl-C just ends it: nothing is under way
    os.umask(0o077)
    try:
        config = _settings(words)
    except settings.BadSetting as problem:
        return exits.say(exits.BAD_CONFIG, str(problem))
    try:
        settings.make_home(config.home)
        secret = tokens.load_secret(config.home, config.secret)
    except tokens.SecretError as problem:
        if exits.is_of_the_disk(problem.errno):  # else something else is in its place, and the sentence says what
            return exits.refused(os.path.join(config.home, "secret"), problem.errno, "C2_LATTICE_HOME")
        return exits.say(exits.BAD_CONFIG, str(problem))
    except OSError as problem:
        if problem.errno:
            return exits.refused(config.home, problem.errno, "C2_LATTICE_HOME")
        return exits.say(exits.NO_PERMISSION, str(problem))
    sole = Exclusive(settings.database_file(config.db) + ".lock")
    try:
        if not sole.acquire():
            return exits.say(
                exits.NO_PLACE,
                f"another broker has {config.db} open; use that one (launch.py --status), or name another file with C2_LATTICE_DB",
            )
    except OSError as problem:
        return exits.refused(sole.path, problem.errno or 0, "C2_LATTICE_DB")
    with contextlib.suppress(OSError):  # the disk is full: what is in it is for people
        sole.write(f"{os.getpid()}\n")
    from lattice.broker.serving import serve

    return serve(config, secret)


USAGE = "usage: broker.py [--port N] [--db FILE]"


def _settings(argv: list[str]) -> settings.Settings:
    environ = dict(os.environ)
    named = {"--port": "C2_LATTICE_PORT", "--db": "C2_LATTICE_DB"}
    rest = list(argv)
    while rest:
        option, _, value = rest.pop(0).partition("=")
        if option not in named:
            raise settings.BadSetting(f"broker.py: unknown option {option}; {USAGE}")
        if not value and not rest:
            raise settings.BadSetting(f"broker.py: {option} needs a value")
        environ[named[option]] = value or rest.pop(0)
    return settings.read(environ)
