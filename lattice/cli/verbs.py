"""Verbs: the operations of the contract as words of a command line.

    c2-lattice list-tasks --status pending          c2-lattice create-task "Write the parser" --blocked-by 3,4
    c2-lattice complete-task 7 "parser written" --files-touched a.py,b.py

An operation's name with dashes is its verb; what it requires stands after it in order, the rest are
options. The members of an object are options of their own. `-` as a value reads it from standard input,
`@file` a list of objects from a JSON file. `--` ends the options. Short names are in SHORT.
Identity fields and what only programs send are never asked for. A wrong line is a `Usage`, before anything is sent.
"""

from __future__ import annotations

import json
import sys
from collections import namedtuple

from lattice import names
from lattice.contract.operations import BY_NAME, IDEMPOTENCY_KEY, ON_THE_WIRE, OPERATIONS
from lattice.contract.params import check_fields, from_text
from lattice.errors import Refusal
from lattice.web.client import query, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from lattice.contract.params import Param

# A verb: what it calls, which fields stand in order, and what is set when it is not given.
Verb = namedtuple("Verb", "name operation positional given")
Call = namedtuple("Call", "operation values method path body")
# Where a value goes: the param itself, and the object it is a member of ("" for none).
Slot = namedtuple("Slot", "param inside")

HIDDEN = frozenset(("idempotency_key", "process", "follow", "tmux", "base"))
HIDDEN_OF = {"check_messages": ("way", "max")}  # how it is taken is this command's business

# Fields that may stand in order though the operation does not require them.
ORDER = {
    "get_memory": ("key",),
    "resolve": ("escalation_id", "verdict", "answer"),
    "get_conversation": ("peer_id",),
    "spawn_worker": ("peer_id",),
    "seat": ("peer_id",),
    "peek": ("peer_id",),
    "config": ("peer_id", "poll_interval_ms"),
    "budget": ("peer_id", "token_budget"),
    "assign_task": ("task_id", "peer_id"),
    "release_task": ("task_id", "reason"),
    "cancel_task": ("task_id", "reason"),
    "create_task": ("title",),
    "create_run": ("id", "name"),
    "state": ("seq",),
    "release_held": ("message_id", "verdict"),
}

# What the line must say though the operation has a default: `seat` alone would unseat.
ASKED = {"seat": ("peer_id",)}

# What the person makes with these belongs to the workspace it stands in: in none, no session would see it.
PLACED = ("create_task", "create_run", "set_memory", "seat")

SHORT = {
    "peers": ("list_peers", None, {}),
    "send": ("send_message", ("recipient_id", "content"), {"category": "status_update"}),
    "ask": ("send_message", ("recipient_id", "content"), {"category": "question"}),
    "inbox": ("check_messages", None, {}),
    "tasks": ("list_tasks", None, {}),
    "task": ("get_task", None, {}),
    "add": ("create_task", ("title",), {}),
    "claim": ("claim_task", None, {}),
    "complete": ("complete_task", None, {}),
    "release": ("release_task", ("task_id", "reason"), {}),
    "lock": ("lock_file", None, {}),
    "unlock": ("unlock_file", None, {}),
    "locks": ("list_locks", None, {}),
    "remember": ("set_memory", None, {}),
    "recall": ("get_memory", ("key",), {}),
    "escalations": ("list_escalations", None, {"state": "open"}),
    "blocker": ("raise_blocker", None, {}),
    "review": ("request_review", None, {}),
    "summary": ("set_summary", None, {}),
    "runs": ("list_runs", None, {}),
    "spawn": ("spawn_worker", ("peer_id",), {}),
    "kill": ("kill_peer", None, {}),
}


class Usage(Exception):
    """The line is not one we understand; the message says what is wrong with it."""


def find(word: str) -> Verb | None:
    """The verb of this word; None when there is none."""
    if word in SHORT:
        name, positional, given = SHORT[word]
        return Verb(word, BY_NAME[name], positional or _order(BY_NAME[name]), given)
    operation = BY_NAME.get(word.replace("-", "_"))
    if operation is None or "cli" not in operation.surfaces:
        return None
    return Verb(word, operation, _order(operation), {})


def all_verbs() -> list[str]:
    """Every operation's verb, in the table's order."""
    return [operation.name.replace("_", "-") for operation in OPERATIONS if "cli" in operation.surfaces]


def slots(operation) -> dict[str, Slot]:  # type: ignore[no-untyped-def]
    """What the line may give, by the field's name."""
    found: dict[str, Slot] = {}
    for param in operation.params:
        if param.identity or param.only == "mcp" or param.name in HIDDEN or param.name in HIDDEN_OF.get(operation.name, ()):
            continue
        if param.kind == "object" and param.fields:
            for field in param.fields:
                found[field.name] = Slot(field, param.name)
        else:
            found[param.name] = Slot(param, "")
    return found


def parse(verb: Verb, words: list[str]) -> dict[str, object]:
    """The values of the operation, checked. Usage."""
    known = slots(verb.operation)
    ordered = list(verb.positional)
    given: dict[str, object] = {}
    rest, options = iter(words), True
    for word in rest:
        if options and word == "--":
            options = False
        elif options and word.startswith("--"):
            name, joined, text = word[2:].partition("=")
            name, slot = _slot(known, name.replace("-", "_"), word)
            if slot.param.kind == "flag" and not joined:
                text = "false" if word.startswith("--no-") else "true"
            elif not joined:
                text = _next(rest, word)
            _set(given, name, slot, text)
        elif options and len(word) > 1 and word[0] == "-" and not word[1:].isdigit():
            raise Usage(f"no option {word}; options have two dashes, and -- ends them")
        elif ordered:
            name = ordered.pop(0)
            _set(given, name, known[name], word)
        else:
            raise Usage(f"too many words: {word!r} has no place")
    for name, value in verb.given.items():
        given.setdefault(name, value)
    missing = [name for name, slot in known.items() if _is_required(verb, slot) and name not in given]
    if missing:
        raise Usage(f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} required")
    return _checked(verb.operation, known, given)


def placed(operation, values: Mapping[str, object], here: Callable[[], str]) -> Mapping[str, object]:  # type: ignore[no-untyped-def]
    """The person's values with the workspace `here()` where one is needed and none is named; else the same values."""
    if operation.name not in PLACED or values.get("workspace") is not None or (operation.name == "seat" and values.get("peer_id")):
        return values
    return {**values, "workspace": here()}


def call_of(operation, values: Mapping[str, object], *, base: str = "", tmux: str = "") -> Call:  # type: ignore[no-untyped-def]
    """The request that carries the values. What takes an idempotency key gets a fresh one; paths get their base, a spawn our TMUX."""
    sent: dict[str, object] = _without_gaps(values)  # type: ignore[assignment]
    for ours, theirs in ON_THE_WIRE.get(operation.name, {}).items():
        sent[theirs] = sent.pop(ours)
    sent.update(operation.preset)
    for name, value in (("base", base), ("tmux", tmux)):
        if value and any(param.name == name for param in operation.params):
            sent[name] = value
    path = operation.path
    for name in operation.path_params:
        if name not in sent:
            raise Usage(f"{name} is required")
        path = path.replace("{" + name + "}", quote(str(sent.pop(name))))
    if operation.method == "GET":
        flat = {name: ",".join(map(str, value)) if isinstance(value, list) else value for name, value in sent.items()}
        return Call(operation, values, "GET", query(path, flat), None)
    if IDEMPOTENCY_KEY in operation.params:
        sent["idempotency_key"] = names.new_key()
    return Call(operation, values, "POST", path, sent)


def usage(verb: Verb) -> str:
    """One verb in full: its line, its sentence, its options."""
    known = slots(verb.operation)
    required = {name for name, slot in known.items() if _is_required(verb, slot)}
    words = [name.upper() if name in required else f"[{name.upper()}]" for name in verb.positional]
    lines = [f"usage: c2-lattice {' '.join([verb.name, *words])} [options]", "", verb.operation.doc, ""]
    for name, slot in known.items():
        param = slot.param
        kind = "" if param.kind == "flag" else " " + ("|".join(param.choices) if param.choices else param.kind.upper())
        if param.kind == "list":
            kind = " @FILE" if param.of == "object" else " A,B,..."
        said = [param.doc] if param.doc else []
        if name == "workspace" and verb.operation.name in PLACED:
            said = ["for the person; unset: that of the folder you are in"]
        if name in verb.given:
            said.append(f"unset: {verb.given[name]}")
        elif param.default not in (None, "", False):
            said.append(f"unset: {param.default}")
        lines.append(f"  --{name.replace('_', '-')}{kind}".ljust(34) + ("  " + "; ".join(said) if said else ""))
    return "\n".join([*lines, "  --json".ljust(34) + "  the broker's answer as JSON"])


def _order(operation) -> tuple[str, ...]:  # type: ignore[no-untyped-def]
    if operation.name in ORDER:
        return ORDER[operation.name]
    return tuple(name for name, slot in slots(operation).items() if slot.param.required and _outer(operation, slot).required)


def _outer(operation, slot: Slot) -> Param:  # type: ignore[no-untyped-def]
    found: Param = next(param for param in operation.params if param.name == (slot.inside or slot.param.name))
    return found


def _is_required(verb: Verb, slot: Slot) -> bool:
    if slot.param.name in ASKED.get(verb.operation.name, ()):
        return True
    return bool(slot.param.required and _outer(verb.operation, slot).required and slot.param.name not in verb.given)


def _next(rest: Iterator[str], word: str) -> str:
    for text in rest:
        return text
    raise Usage(f"{word} needs a value")


def _slot(known: dict[str, Slot], name: str, word: str) -> tuple[str, Slot]:
    if name in known:
        return name, known[name]
    if name.startswith("no_") and name[3:] in known and known[name[3:]].param.kind == "flag":
        return name[3:], known[name[3:]]
    said = ", ".join("--" + one.replace("_", "-") for one in known) or "none"
    raise Usage(f"no option {word.partition('=')[0]} here; there are: {said}")


def _set(given: dict[str, object], name: str, slot: Slot, text: str) -> None:
    if name in given:
        raise Usage(f"{name} is given twice")
    param = slot.param
    try:
        if param.kind == "list" and param.of == "object":
            given[name] = json.loads(_read_all() if text == "-" else _read_file(text[1:]) if text.startswith("@") else text)
            return
    except (ValueError, RecursionError) as problem:  # RecursionError: a hundred thousand brackets
        raise Usage(f"{name} is no JSON: {problem}") from None
    if param.kind == "text" and text == "-":
        text = _read_all().rstrip("\n")
    given[name] = from_text(param, text)


def _checked(operation, known: dict[str, Slot], given: dict[str, object]) -> dict[str, object]:  # type: ignore[no-untyped-def]
    """The values in the operation's own shape: members put into their objects, and only what was given."""
    shaped: dict[str, object] = {}
    for name, value in given.items():
        inside = known[name].inside
        target = shaped.setdefault(inside, {}) if inside else shaped
        target[name] = value  # type: ignore[index]
    params = tuple(param for param in operation.params if not param.identity)
    try:
        checked = check_fields(params, shaped)
    except Refusal as problem:
        hint = f" ({problem.hint})" if problem.hint else ""
        raise Usage(problem.message + hint) from None
    return {name: value for name, value in checked.items() if name in shaped}


def _without_gaps(value: object) -> object:
    """The value without members that were not given."""
    if isinstance(value, dict):
        return {name: _without_gaps(one) for name, one in value.items() if one is not None}
    return [_without_gaps(one) for one in value] if isinstance(value, list) else value


def _read_all() -> str:
    return sys.stdin.buffer.read().decode("utf-8", "replace")


def _read_file(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError as problem:
        raise Usage(f"{path}: {problem.strerror}") from None
    except UnicodeDecodeError as problem:
        raise Usage(f"{path} is not UTF-8 text (byte {problem.start})") from None
