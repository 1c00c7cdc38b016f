"""The guard: may this session change these files now? Asked before an edit and before a shell command.

The broker judges; here only the paths are found. An edit is denied with who holds the file, for which task, since
and until when, and the call that queues or asks. A command is read: what it surely writes is judged like an edit;
what may or may not write is asked of the person; what cannot be read is looked at before and after (`after`).
"""

from __future__ import annotations

import os

from lattice.errors import BadRequest, Refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lattice.hooks.events import Hook

EDITS = ("Write", "Edit", "MultiEdit", "NotebookEdit", "Update")
_NAMES = ("file_path", "notebook_path", "path", "relative_path", "source", "destination")
MAX_PATHS = 100


def edit(hook: Hook) -> dict[str, object]:
    """Before a tool that changes the files its arguments name."""
    paths = _named(hook)
    if not paths:
        return {}
    auto = hook.settings.autolock == "on"
    answer = hook.call("POST", "/guard", {"paths": paths, "base": hook.cwd, "auto": auto})
    return deny(hook, answer) if answer.get("verdict") == "deny" else {}


def bash(hook: Hook) -> dict[str, object]:
    """Before a shell command."""
    from lattice.hooks import shell

    command = _input(hook).get("command")
    if not isinstance(command, str) or not command.strip():
        return {}
    reading = shell.read(command, hook.cwd, hook.environ.get("HOME") or os.path.expanduser("~"))
    if reading.reads_only:
        return {}
    known = hook.call("GET", "/locks/held")
    held = [(str(one["kind"]), str(one["file_path"]), str(one["holder"])) for one in known.get("held", ())]
    lost = [(str(one["kind"]), str(one["file_path"]), hook.session.peer if hook.session else "") for one in known.get("lost", ())]
    reading = reading._replace(writes=_in_one_spelling(reading.writes), tree=_in_one_spelling(reading.tree))
    verdict = shell.verdict(reading, held)
    of_lost = shell.verdict(reading, lost)
    if verdict.word != "deny" and of_lost.word == "deny":
        verdict = of_lost
    if verdict.word == "deny":
        path = verdict.write.path + ("/" if verdict.write.kind == "dir" else "")
        answer = hook.call("POST", "/guard", {"paths": [path], "base": hook.cwd})
        return deny(hook, answer) if answer.get("verdict") == "deny" else {}  # else it was given back meanwhile
    if verdict.word == "ask":
        return _decide(hook, "ask", f"c2-lattice: {verdict.why}")
    if verdict.word == "watch":
        from lattice.hooks import after

        after.look(hook, held, command)
    return {}


def _in_one_spelling(writes: tuple[Any, ...]) -> tuple[Any, ...]:
    """As the broker spells locks: links followed, case and normal form as on this system. What has no such spelling meets no lock."""
    from lattice import names, reach

    found = []
    for write in writes:
        try:
            path = reach.of(write.path, "")[1] if write.kind == "glob" else names.lock_path(write.path, "")
        except BadRequest:
            continue
        found.append(write._replace(path=path))
    return tuple(found)


def deny(hook: Hook, answer: dict[str, Any]) -> dict[str, object]:
    """The reason that the model reads, with what it can do instead."""
    path, reason, hint = (str(answer.get(name) or "") for name in ("file_path", "reason", "hint"))
    told = f"c2-lattice: {path}: {reason}." if path and path not in reason else f"c2-lattice: {reason}."
    return _decide(hook, "deny", f"{told} Instead: {hint}." if hint else told)


def deny_who_was_replaced(hook: Hook, refusal: Refusal) -> dict[str, object]:
    """Somebody ended this session, or another process goes on with its work: its own late edit is refused, as its calls are."""
    told = f"c2-lattice: {refusal.message}; its work may be another's now."
    instead = f"Instead: {refusal.hint}." if refusal.code == "killed" and refusal.hint else "Read the files anew before you edit."
    return _decide(hook, "deny", f"{told} {instead}")


def _decide(hook: Hook, word: str, reason: str) -> dict[str, object]:
    return {"hookSpecificOutput": {"hookEventName": "PreToolUse", "permissionDecision": word, "permissionDecisionReason": reason}}


def _input(hook: Hook) -> dict[str, Any]:
    found = hook.said.get("tool_input")
    return found if isinstance(found, dict) else {}


def _named(hook: Hook) -> list[str]:
    """The files that the tool's arguments name. A foreign server's path counts when it is absolute: else it may be of another place."""
    is_own = hook.text("tool_name") in EDITS
    given = _input(hook)
    found: list[str] = []
    for value in [given.get(name) for name in _NAMES] + (given["paths"] if isinstance(given.get("paths"), list) else []):
        if isinstance(value, str) and value.strip() and (is_own or os.path.isabs(value)) and value not in found:
            found.append(value)
    return found[:MAX_PATHS]
