"""Reference: the table of operations as pages for people.

`docs/reference.md` tells each operation (route, who may, what it does, its fields, where it appears) and
each tool; `docs/access-matrix.csv` says who may call what; `docs/openapi.json` is all of it for programs. They are
written from the table by

    python -m lattice.contract.reference

and a test holds them equal to it. Nothing else loads this module.
"""

from __future__ import annotations

import os
import sys

from lattice.contract import chapters, openapi
from lattice.contract.operations import IDEMPOTENCY_KEY, OPERATIONS, READ_ONLY_TOOLS, TOOLS, TOOLSETS, fields_on
from lattice.contract.params import MAX_INTEGER, MAX_ITEMS, Param

PRINCIPALS = ("worker", "architect", "system", "viewer", "ticket", "anyone")

INTRODUCTION = f"""\
# Reference

Written from the table in `lattice/contract/operations.py` by `python -m lattice.contract.reference`; do not edit.

Every answer is JSON. A refusal is `{{"error", "code", "retryable"}}`, and `"hint"` where there is a call that would work.
A text that is longer than its limit is refused with 413, never cut; limits are in characters. Whole numbers are at most
2^{MAX_INTEGER.bit_length() - 1}, lists have at most {MAX_ITEMS} items. Unknown fields are refused; those that begin with `_` are ignored.
A field marked *the caller* may be left out; where it is given it must be the token's own id.

Who may: **worker** and **architect** are peers in that role, **system** is the person, **viewer** the page's token for looking,
**ticket** an enrolment ticket, **anyone** needs nothing. Fields that stand in the path are given there.
"""

# What a worker is answered that names another peer as the caller, or a thing of another's. Every operation that a worker may
# call stands in one of the two; 200: such things are the workspace's, or (`ack`, `give_back`) another's count for nothing.
ON_ANOTHERS = {
    **dict.fromkeys((
        "heartbeat", "set_summary", "send_message", "v4_messages", "peek", "messages_for", "create_task", "create_batch", "complete_task",
        "release_task", "fail_task", "cancel_task", "renew_task", "edit_task", "depend_task", "unlock_file", "set_memory",
        "log_conversation", "get_conversation",
    ), "403"),
    "receipts": "404", "claim_task": "409", "lock_file": "409", "adopt": "409",
    **dict.fromkeys((
        "get_peer", "ack", "give_back", "get_task", "guard", "check_lock", "get_memory", "memory_history", "create_run", "get_run",
        "run_summary", "resume_run", "export_run",
    ), "200"),
}  # fmt: skip
NOBODYS = frozenset((
    "health", "ready", "page", "openapi", "metrics", "events", "state", "verify", "search", "leave", "list_peers", "check_messages",
    "wait_mail", "escalate", "list_escalations", "list_tasks", "list_locks", "renew_locks", "hook", "held", "breach", "permission",
    "capsule", "list_runs",
))  # fmt: skip


def page() -> str:
    """The whole reference as Markdown."""
    parts = [INTRODUCTION]
    for title, _ in chapters.CHAPTERS:
        operations = [operation for operation in OPERATIONS if chapters.of(operation.path) == title]
        if operations:
            parts.append(f"## {title}\n")
            parts += [_operation(operation) for operation in operations]
    parts.append(f"## The {len(TOOLS)} tools\n")
    parts.append("What a coding session sees of the MCP server, and what each tool takes. **Bold** fields are required.\n")
    parts.append(_table(("Tool", "What it does", "Arguments", "Changes things"), [_tool(name) for name in TOOLS]))
    for toolset in TOOLSETS[1:]:
        parts.append(f"With `C2_LATTICE_TOOLSETS={toolset}` (or `all`) also:\n")
        names = [operation.name for operation in OPERATIONS if operation.toolset == toolset]
        parts.append(_table(("Tool", "What it does", "Arguments", "Changes things"), [_tool(name) for name in names]))
    parts.append("## Who may call what\n")
    parts.append("The same as a file, with more columns: `access-matrix.csv`.\n")
    _, *rows = _matrix()
    parts.append(_table(("operation", "route", *PRINCIPALS), [(f"`{row[0]}`", f"`{row[1]}`", *row[4:]) for row in rows]))
    return "\n".join(parts)


def access_matrix() -> str:
    """Who may call what, as CSV: each principal's "yes" or the status of the refusal, and what a worker gets on another's things."""
    rows = [(*_matrix()[0], "nobody", "bad_token", "killed", "worker_on_anothers")]
    for operation, row in zip(OPERATIONS, _matrix()[1:], strict=True):
        stranger = "yes" if "anyone" in operation.roles else "401"
        rows.append((*row, stranger, stranger, stranger, ON_ANOTHERS.get(operation.name, "")))
    return "".join(",".join(row) + "\n" for row in rows)


def _matrix() -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("operation", "route", "effect", "risk", *PRINCIPALS)]
    for operation in OPERATIONS:
        may = ("yes" if "anyone" in operation.roles or principal in operation.roles else "" for principal in PRINCIPALS)
        rows.append((operation.name, operation.route, operation.effect, operation.risk, *may))
    return rows


def _operation(operation) -> str:  # type: ignore[no-untyped-def]
    surfaces = ", ".join({"http": "HTTP", "mcp": "tool", "cli": "command line"}[surface] for surface in operation.surfaces)
    facts = [
        f"`{operation.route}`", f"{operation.effect}, risk {operation.risk}", f"who may: {', '.join(operation.roles)}", f"on: {surfaces}",
        *([f"always with: {', '.join(f'`{name}` = `{value}`' for name, value in operation.preset.items())}"] if operation.preset else []),
    ]  # fmt: skip
    said = f"### {operation.name}\n\n{operation.doc}\n\n{' · '.join(facts)}\n"
    fields = [param for param in operation.params if param is not IDEMPOTENCY_KEY]
    if fields:
        rows = [row for param in fields for row in _field(param, operation.path_params)]
        said += "\n" + _table(("Field", "Type", "Default", "Meaning"), rows)
    if IDEMPOTENCY_KEY in operation.params:
        said += f"\nTakes an `idempotency_key` (text, up to {IDEMPOTENCY_KEY.max_chars}): {IDEMPOTENCY_KEY.doc}.\n"
    return said


def _field(param: Param, in_path: tuple[str, ...], inside: str = "") -> list[tuple[str, ...]]:
    name = f"`{inside}{param.name}`" + (" (path)" if param.name in in_path else "")
    default = "required" if param.required else "" if param.default is None else f"`{_word(param.default)}`"
    notes = [param.doc] if param.doc else []
    if param.identity and "the caller" not in param.doc:
        notes.append("the caller")
    if param.only:
        notes.append({"http": "HTTP only", "mcp": "tool only", "cli": "command line only"}[param.only])
    if param.comma:
        notes.append("a text with commas will do")
    if param.loose:
        notes.append("ignored when of a wrong type")
    if param.forbidden:
        notes.append(f"403 for {', '.join(param.forbidden)}")
    rows: list[tuple[str, ...]] = [(name, type_of(param), default, "; ".join(notes))]
    opened = f"{inside}{param.name}{'[]' if param.kind == 'list' else ''}."
    return rows + [row for field in param.fields or () for row in _field(field, (), opened)]


def type_of(param: Param) -> str:
    """A param's type and limits in a few words."""
    if param.kind == "text":
        return f"text, up to {param.max_chars:,}"
    if param.kind == "integer":
        least, most = param.minimum, param.maximum
        if least is not None and most is not None:
            return f"whole number, {least} to {most}"
        return f"whole number, from {least}" if least is not None else "whole number" if most is None else f"whole number, to {most}"
    if param.kind == "flag":
        return "true or false"
    if param.kind == "choice":
        return " \\| ".join(f"`{choice}`" for choice in param.choices)
    if param.kind == "list":
        texts = f"texts, each up to {param.max_chars:,}"
        of = {"text": texts, "integer": "whole numbers from 1", "reference": "whole numbers", "object": "objects"}
        return f"list of {of[param.of]}"
    return "object"


def _tool(name: str) -> tuple[str, ...]:
    operation = next(operation for operation in OPERATIONS if operation.name == name)
    fields = [param for param in fields_on(operation, "mcp") if not param.identity]
    arguments = ", ".join(f"**{param.name}**" if param.required else param.name for param in fields)
    reads = name in READ_ONLY_TOOLS or operation.effect == "read"
    return f"`{name}`", operation.doc.replace("|", "\\|"), arguments, "no" if reads else "yes"


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in (header, *rows)]
    lines.insert(1, f"|{'---|' * len(header)}")
    return "\n".join(lines) + "\n"


def _word(value: object) -> str:
    return {True: "true", False: "false"}.get(value, str(value)) if isinstance(value, bool) else str(value) or '""'


def files() -> dict[str, str]:
    """What is written where, under docs/."""
    return {"reference.md": page(), "access-matrix.csv": access_matrix(), "openapi.json": openapi.text()}


def main() -> int:
    """Write the files into docs/ of this checkout."""
    docs = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "docs")
    for name, content in files().items():
        with open(os.path.normpath(os.path.join(docs, name)), "w", encoding="utf-8", newline="\n") as file:
            file.write(content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
