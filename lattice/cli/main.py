"""The `c2-lattice` command.

Exit status: 0 done; 1 the broker refused; 2 the line is wrong; 3 no broker (or a foreign one) is on the port;
4 the broker does not know us, or its secret cannot be used. One sentence on standard error says why.
Light: what a short verb loads is the contract and a socket.
"""

from __future__ import annotations

import os
import sys

from lattice import VERSION, settings
from lattice.cli import verbs
from lattice.cli.verbs import Usage
from lattice.errors import Refusal, Unauthorized, Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lattice.cli.door import Door

DONE, REFUSED, WRONG_LINE, NO_BROKER, NOT_KNOWN = range(5)

OWN = {
    "wait": "wait until mail is there, for --timeout SECONDS; --urgent: only for a blocker, an error, a review",
    "page": "open the page, signed in (starts the broker if there is none)",
    "start": "start the broker, or find it",
    "status": "is the broker up, who is here, is the MCP server registered",
    "stop": "stop the broker",
    "doctor": "look at everything that could be wrong, and say what to do",
}


def main(argv: list[str] | None = None) -> int:
    words = list(sys.argv[1:] if argv is None else argv)
    _prepare_output()
    try:
        return _outcome(words)
    except BrokenPipeError:
        # Whoever read us has gone; nothing can be written any more, not even at the interpreter's end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return REFUSED
    except KeyboardInterrupt:
        return 130


def _outcome(words: list[str]) -> int:
    """Run the line; what is expected to fail is said, and told by the status."""
    try:
        return _run(words)
    except Usage as problem:
        is_verb = bool(words) and (words[0] in OWN or verbs.find(words[0]) is not None)
        return _fail(f"{problem}; c2-lattice help{' ' + words[0] if is_verb else ''}", WRONG_LINE)
    except settings.BadSetting as problem:
        typed = str(problem).replace("C2_LATTICE_PORT=", "--port ") if any(word.startswith("--port") for word in words) else str(problem)
        return _fail(typed, WRONG_LINE)
    except Refusal as problem:
        if "--json" in words:  # a refusal is an answer too
            from lattice.cli import show

            print(show.as_json(problem.as_json()), flush=True)
        hint = "start it: c2-lattice start" if problem.code == "unreachable" else problem.hint
        return _fail(problem.message + (f" ({hint})" if hint else ""), _status(problem))
    except BrokenPipeError:
        raise
    except OSError as problem:
        return _fail(f"{problem.filename}: {problem.strerror}" if problem.filename else str(problem), REFUSED)


def _run(words: list[str]) -> int:
    if not words or words[0] in ("help", "--help", "-h"):
        return _help(words[1:])
    if words[0] in ("--version", "version"):
        print(f"c2-lattice {VERSION}")
        return DONE
    word, rest = words[0], words[1:]
    if word in OWN:
        return _own(word, rest)
    verb = verbs.find(word)
    if verb is None:
        raise Usage(f"no verb {word!r}{_near(word)}")
    if "--help" in rest or "-h" in rest:
        return _help([word])
    rest, as_json, port = _common(rest)
    values = verbs.parse(verb, rest)
    environ = {**os.environ, **({"C2_LATTICE_PORT": port} if port else {})}
    chosen = settings.read(environ)
    if verb.operation.name == "verify" and "db" in values:
        from lattice.cli import verify

        return verify.look(str(values["db"]), as_json)
    from lattice.cli.door import Door, locate

    door = Door(chosen, environ, locate(chosen))
    try:
        return _do(door, verb.operation, values, as_json)
    finally:
        door.close()


def _do(door: Door, operation, values: dict[str, object], as_json: bool) -> int:  # type: ignore[no-untyped-def]
    from lattice.cli import show, told

    if operation.name == "check_messages":
        from lattice.cli import inbox

        return inbox.take(door, as_json)
    if operation.name == "verify":
        from lattice.cli import verify

        return verify.ask(door, as_json)
    if operation.name == "events":
        values = {**values, "follow": False}  # a feed that goes on is for programs; the log so far is for people
    placed = verbs.placed(operation, values, door.here) if door.is_person else values
    if operation.name == "get_conversation" and not door.is_person:
        placed = {"peer_id": door.who.peer, **placed}  # a session's own, unless it names another's
    base = door.settings.peer_dir or os.getcwd()
    if operation.name == "spawn_worker" and (door.is_person or values.get("working_dir")):
        # The broker knows neither where the person stands nor where this shell does.
        placed = {**placed, "working_dir": os.path.join(base, os.path.expanduser(str(values.get("working_dir") or "")))}
    call = verbs.call_of(operation, placed, base=base, tmux=door.environ.get("TMUX", ""))
    answer = door.call(call.method, call.path, call.body)
    if as_json:
        print(show.as_json(answer), flush=True)
        return DONE
    if "workspace" not in values and "workspace" in placed and "workspace" not in answer:
        answer = {**answer, "workspace": placed["workspace"]}  # it is not asked for, so it is said
    print(told.said(operation.name, answer, door.who.peer), flush=True)
    return DONE


def _own(word: str, rest: list[str]) -> int:
    if "--help" in rest or "-h" in rest:
        return _help([word])
    if word == "doctor":
        from lattice.cli import doctor

        return doctor.main(rest)
    if word == "wait":
        from lattice.cli import wait

        return wait.main(rest)
    options = _of_launch(rest)
    from lattice.cli import launch

    return launch.main({"page": [], "start": ["--no-browser"], "status": ["--status"], "stop": ["--stop"]}[word] + options)


def _of_launch(words: list[str]) -> list[str]:
    """The same words, if they only say which broker, and whether to open the page: what else launch.py does is not asked of it here."""
    given = iter(words)
    for word in given:
        name, joined, _ = word.partition("=")
        if name in ("--port", "--db"):
            if not joined and next(given, None) is None:
                raise Usage(f"{name} needs a value")
        elif word != "--no-browser":
            raise Usage(f"no {word!r} here; there are: --port N, --db FILE, --no-browser")
    return words


def _common(words: list[str]) -> tuple[list[str], bool, str]:
    """What every verb takes: --json, --port N."""
    rest, as_json, port = [], False, ""
    given = iter(words)
    for word in given:
        if word == "--":
            rest += [word, *given]
        elif word == "--json":
            as_json = True
        elif word == "--port" or word.startswith("--port="):
            port = word[7:] if word.startswith("--port=") else next(given, "")
            if not port:
                raise Usage("--port needs a number")
        else:
            rest.append(word)
    return rest, as_json, port


def _help(words: list[str]) -> int:
    if words:
        if words[0] in OWN:
            print(f"usage: c2-lattice {words[0]} [options]\n\n{OWN[words[0]]}")
            return DONE
        verb = verbs.find(words[0])
        if verb is None:
            raise Usage(f"no verb {words[0]!r}{_near(words[0])}")
        print(verbs.usage(verb))
        return DONE
    lines = ["usage: c2-lattice VERB ... [--json] [--port N]        c2-lattice help VERB", ""]
    lines += [f"  {name.ljust(18)} {text}" for name, text in OWN.items()]
    lines += ["", "short names:"]
    lines += [f"  {name.ljust(18)} {verbs.find(name).operation.doc}" for name in verbs.SHORT]  # type: ignore[union-attr]
    lines += ["", "every operation:"]
    lines += [f"  {name.ljust(18)} {verbs.find(name).operation.doc}" for name in verbs.all_verbs()]  # type: ignore[union-attr]
    lines += ["", "Inside a coding session you are that session's peer, outside the person."]
    lines += ["Exit status: 0 done, 1 refused, 2 wrong line, 3 no broker, 4 not known to it."]
    print("\n".join(lines))
    return DONE


def _near(word: str) -> str:
    known = [*OWN, *verbs.SHORT, *verbs.all_verbs()]
    close = [name for name in known if word and (name.startswith(word) or word in name)][:4]
    return f"; did you mean {', '.join(close)}" if close else ""


def _status(problem: Refusal) -> int:
    if isinstance(problem, Unauthorized):
        return NOT_KNOWN
    if isinstance(problem, Unavailable) and problem.code in ("unreachable", "foreign_program"):
        return NO_BROKER
    return REFUSED


def _fail(sentence: str, status: int) -> int:
    from lattice.cli.show import cell

    print(f"c2-lattice: {cell(sentence)}", file=sys.stderr, flush=True)
    return status


def _prepare_output() -> None:
    """A console that cannot show a sign gets its number; nothing fails on it."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure:
            reconfigure(errors="backslashreplace")
