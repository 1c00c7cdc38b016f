"""What a person reads: an answer of the broker as lines of a terminal.

Every text in it was written by some peer and is data: controls, escape sequences and hidden signs are
written out (`contract/framing.py`), bodies stand behind a bar. What has no manner of its own here is
shown as names and values.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time

from lattice.contract.framing import safe_for_terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Answer = Mapping[str, object]


# Controls that JSON leaves as they are, and signs that change how what follows is shown.
_OBEYED = re.compile("[\x7f-\x9f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]")


def as_json(answer: object, indent: int | None = 1) -> str:
    """The answer as JSON that a terminal may be shown: the same values, with what it would obey as \\u escapes."""
    return _OBEYED.sub(lambda found: json.dumps(found[0])[1:-1], json.dumps(answer, ensure_ascii=False, indent=indent))


def said(name: str, answer: Answer, you: str = "") -> str:
    """The lines for this operation's answer. `you` is the caller's peer id, "" for the person."""
    manner = MANNERS.get(name)
    return (manner(answer, you) if manner else generic(answer)).rstrip("\n")


def cell(value: object) -> str:
    """Any value on one line, with nothing in it that a terminal would obey."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and 1e9 < value < 1e11:  # no other figure of the broker is like a time
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(value))
    if isinstance(value, (list, tuple)):
        return ", ".join(cell(one) for one in value) or "-"
    if isinstance(value, dict):
        return ", ".join(f"{cell(name)}={cell(one)}" for name, one in value.items()) or "-"
    text = str(value).replace("\r", " ").replace("\n", " ").replace("\t", " ")
    return safe_for_terminal(text)[2:]


def body(text: object) -> str:
    return safe_for_terminal(str(text))


def table(rows: Sequence[Mapping[str, object]], columns: Sequence[tuple[str, str]]) -> str:
    """Rows under their titles; the last column is cut at the terminal's edge, when there is a terminal."""
    lines = [[cell(title) for _, title in columns], *([cell(row.get(name)) for name, _ in columns] for row in rows)]
    widths = [min(40, max(len(line[index]) for line in lines)) for index in range(len(columns))]
    edge = _edge()
    shown = ("  ".join(one.ljust(width) for one, width in zip(line, widths, strict=True)).rstrip() for line in lines)
    return "\n".join(line if not edge or len(line) <= edge else line[: edge - 1] + "…" for line in shown)


def generic(answer: Answer, depth: int = 0) -> str:
    """Names and values; lists of things as tables."""
    margin, lines = "  " * depth, []
    for name, value in answer.items():
        if name == "ok" and value is True:
            continue
        if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
            columns = [key for key in value[0] if not isinstance(value[0][key], (dict, list))]
            lines += [f"{margin}{cell(name)}:", table(value, [(key, key) for key in columns])]
        elif isinstance(value, dict) and value and depth < 4:
            lines += [f"{margin}{cell(name)}:", generic(value, depth + 1)]
        elif isinstance(value, str) and "\n" in value:
            lines += [f"{margin}{cell(name)}:", body(value)]
        else:
            lines.append(f"{margin}{cell(name)}: {cell(value)}")
    return "\n".join(lines) if lines or depth else "ok"


def _rows(answer: Answer, name: str) -> list[Mapping[str, object]]:
    found = answer.get(name)
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []


def _peers(answer: Answer, you: str) -> str:
    rows = [{**row, "id": f"{row.get('id')} (you)" if you and row.get("id") == you else row.get("id")} for row in _rows(answer, "peers")]
    if not rows:
        return "nobody is here"
    for row in rows:
        row["state"] = "paused" if row.get("paused") else row.get("status") or "active"
    columns = (("id", "PEER"), ("role", "ROLE"), ("state", "STATE"), ("git_branch", "BRANCH"), ("summary", "WORKING ON"))
    return table(rows, columns)


def _messages(answer: Answer, you: str) -> str:
    lines = []
    for row in _rows(answer, "messages"):
        again = f", repeated {row['redelivered']}×" if row.get("redelivered") else ""
        reply = f", answers {cell(row['reply_to'])}" if row.get("reply_to") else ""
        sender, when = row.get("from") or row.get("sender_id"), row.get("sent") or row.get("created_at")
        role = f" ({cell(row['role'])})" if row.get("role") else ""
        to = f" → {cell(row['recipient_id'])}" if row.get("recipient_id") else ""
        lines += [f"#{cell(row.get('id'))}  {cell(sender)}{role}{to}  {cell(row.get('category'))}  {cell(when)}{reply}{again}"]
        lines += [body(row.get("content", "")), ""]
    if not lines:
        lines = ["no unread messages" + ("; you are paused" if answer.get("paused") else "")]
    if answer.get("more"):
        lines.append(f"{cell(answer['more'])} more: run it again")
    return "\n".join(lines)


def _tasks(answer: Answer, you: str) -> str:
    rows = _rows(answer, "tasks")
    if not rows:
        return "no tasks"
    for row in rows:
        if isinstance(row, dict):
            row["state"] = "free" if row.get("claimable") else "waiting" if row.get("status") == "pending" else row.get("status")
    columns = (
        ("id", "TASK"),
        ("state", "STATE"),
        ("priority", "PRIORITY"),
        ("assigned_to", "BY"),
        ("blocked_by", "AFTER"),
        ("title", "TITLE"),
    )
    return table(rows, columns)


def _task(answer: Answer, you: str) -> str:
    task = answer.get("task")
    if not isinstance(task, dict):
        return generic(answer)
    rest = {name: value for name, value in task.items() if name not in ("id", "title", "description") and value not in (None, "", [], {})}
    lines = [f"task {cell(task.get('id'))}: {cell(task.get('title'))}"]
    if task.get("description"):
        lines.append(body(task["description"]))
    return "\n".join([*lines, generic(rest, 1)])


def _locks(answer: Answer, you: str) -> str:
    """Who holds what, and below it who waits, in their order."""
    rows, waiting = ([{**row, "covers": _covers(row), "is": _mode(row)} for row in _rows(answer, name)] for name in ("locks", "queue"))
    columns = (("peer_id", "HELD BY"), ("locked_at", "SINCE"), ("is", "MODE"), ("task_id", "TASK"), ("covers", "WHAT"))
    lines = [table(rows, columns) if rows else "no locks"]
    if waiting:
        columns = (("peer_id", "WAITS"), ("queued_at", "SINCE"), ("is", "MODE"), ("task_id", "TASK"), ("covers", "FOR"))
        lines += ["", table(waiting, columns)]
    return "\n".join(lines)


def _locked(answer: Answer, you: str) -> str:
    path = cell(answer.get("file_path"))
    if answer.get("queued"):
        place = f"you are number {cell(answer['queued'])} of those who wait"
        return f"{path} is held by {cell(answer.get('holder'))}; {place}. {cell(answer.get('message'))}"
    return f"locked: {path}, with token {cell(answer.get('token'))}"


def _mode(row: Answer) -> str:
    if row.get("state") == "closed":
        return "closed: its holder was lost"
    return cell(row.get("mode") or "exclusive") + (", it is kept for it" if row.get("offered_at") else "")


def _covers(row: Answer) -> str:
    """The path, and how far it reaches: a folder ends in a slash, a pattern says that it is one."""
    path = str(row.get("file_path") or "")
    if row.get("reach") == "dir":
        return path.rstrip("/\\") + "/"
    return f"{path} (pattern)" if row.get("reach") == "glob" else path


def _memory(answer: Answer, you: str) -> str:
    if isinstance(answer.get("value"), str):
        stamps = ("type", "confidence", "version", "peer_id", "updated_at")
        head = ", ".join(f"{name} {cell(answer[name])}" for name in stamps if answer.get(name))
        return f"{cell(answer.get('key'))} ({head})\n{body(answer['value'])}"
    rows = _rows(answer, "memory") or _rows(answer, "history")
    columns = (("key", "KEY"), ("type", "TYPE"), ("version", "VERSION"), ("peer_id", "BY"), ("value", "VALUE"))
    return table(rows, columns) if rows else "nothing is remembered"


def _escalations(answer: Answer, you: str) -> str:
    rows = _rows(answer, "escalations")
    lines = []
    for row in rows:
        about = f" about task {cell(row['task_id'])}" if row.get("task_id") else ""
        by = row.get("raised_by") or row.get("peer_id")
        lines += [f"{cell(row.get('id'))}  {cell(row.get('kind'))} from {cell(by)}{about}, {cell(row.get('state'))}"]
        lines += [body(row.get("text") or ""), ""]
    return "\n".join(lines) if lines else "nothing waits for an answer"


def _receipts(answer: Answer, you: str) -> str:
    """The ladder of each delivery: how far it came, when, and by which way."""
    message, rows = answer.get("message"), _rows(answer, "deliveries") or _rows(answer, "receipts")
    lines = []
    if isinstance(message, dict):
        whose = f"{cell(message.get('from'))} → {cell(message.get('to'))}"
        lines.append(f"#{cell(message.get('id'))}  {whose}  {cell(message.get('category'))}  {cell(message.get('sent'))}")
    for row in rows:
        state = cell(row.get("state"))
        lines += [f"{cell(row.get('recipient') or row.get('recipient_id'))}: {_STATE_WORDS.get(state, state)}"]
        lines += [f"  {word.ljust(13)}{time_of}" for word, time_of in _ladder(row)]
    return "\n".join(lines) if lines else generic(answer)


_STATE_WORDS = {
    "queued": "waits", "held": "held back", "offered": "handed over, not proven read yet", "read": "read", "acted": "acted on",
    "dead": "given up",
}  # fmt: skip


def _ladder(row: Answer) -> list[tuple[str, str]]:
    """(rung, when and how) of each rung it has reached, in order."""
    rungs = [("queued", cell(row.get("queued_at")))]
    if row.get("attempts"):
        rungs.append(("came back", f"{cell(row['attempts'])}× unproven"))
    if row.get("state") == "held":
        rungs.append(("held", cell(row.get("reason"))))
    if row.get("offered_at"):
        rungs.append(("offered", cell(row["offered_at"]) + (f" by {cell(row['way'])}" if row.get("way") else "")))
    if row.get("read_at"):
        rungs.append(("read", cell(row["read_at"]) + (f", proven by {cell(row['proof'])}" if row.get("proof") else "")))
    if row.get("acted_at"):
        rungs.append(("acted on", cell(row["acted_at"]) + (f": {cell(row['reason'])}" if row.get("reason") else "")))
    if row.get("state") == "dead":
        rungs.append(("dead", cell(row.get("reason"))))
    return rungs


def _capsule(answer: Answer, you: str) -> str:
    return body(answer.get("capsule") or "nothing to tell")


def _adopted(answer: Answer, you: str) -> str:
    tasks, paths = answer.get("tasks"), answer.get("locks")
    lines = [f"you go on with what {cell(answer.get('peer_id'))} left: {cell(answer.get('messages') or 0)} message(s) waiting"]
    for task in tasks if isinstance(tasks, list) else []:
        lines.append(f"  task {cell(task)}")
    for path in paths if isinstance(paths, list) else []:
        lines.append(f"  lock {cell(path)}")
    return "\n".join(lines)


def _released(answer: Answer, you: str) -> str:
    how = _VERDICT_WORDS.get(str(answer.get("verdict")), "done")
    together = answer.get("messages")
    copies = f"; with it {len(together) - 1} more of the same text" if isinstance(together, list) and len(together) > 1 else ""
    return f"message {cell(answer.get('message_id'))}: {how} ({cell(answer.get('recipients'))}){copies}"


_VERDICT_WORDS = {"let_through": "let through", "stop": "stopped; its sender is told"}


def _redacted(answer: Answer, you: str) -> str:
    counts, copies = answer.get("redacted"), answer.get("copies")
    things = ", ".join(f"{cell(count)} {cell(kind)}" for kind, count in counts.items()) if isinstance(counts, dict) else ""
    what = f"{things or 'nothing that is kept'}; {cell(answer.get('events'))} event(s) of the log"
    names = f"it is in names too, which stay: {cell(answer['left_in'])}" if answer.get("left_in") else ""
    if answer.get("dry_run"):
        return f"would be redacted: {what}. Nothing was changed" + (f"; {names}" if names else "")
    lines = [f"redacted: {what}", *([names] if names else [])]
    if answer.get("out_of_the_files") is False:
        lines.append("what stood there may still lie in the -wal file: somebody was reading. c2-lattice stop empties it")
    if isinstance(copies, list) and copies:
        lines += ["copies made before still have it; delete those that you do not need:", *(f"  {cell(path)}" for path in copies)]
    return "\n".join([*lines, "What a session has read is in its own transcript: a secret is only safe once it is changed."])


def _waits(answer: Answer, you: str) -> str:
    urgent = f", {cell(answer['urgent'])} urgent" if answer.get("urgent") else ""
    return f"{cell(answer.get('unread'))} unread from {cell(answer.get('unread_from'))}{urgent}" if answer.get("unread") else "no mail"


def _runs(answer: Answer, you: str) -> str:
    rows = _rows(answer, "runs")
    return table(rows, (("id", "RUN"), ("status", "STATE"), ("name", "NAME"), ("goal", "GOAL"))) if rows else "no runs"


def _verdict(answer: Answer, you: str) -> str:
    return cell(answer.get("message"))


MANNERS: dict[str, Callable[[Answer, str], str]] = {
    "list_peers": _peers,
    "check_messages": _messages,
    "all_messages": _messages,
    "messages_for": _messages,
    "list_tasks": _tasks,
    "get_task": _task,
    "lock_file": _locked,
    "list_locks": _locks,
    "get_memory": _memory,
    "memory_history": _memory,
    "list_escalations": _escalations,
    "receipts": _receipts,
    "capsule": _capsule,
    "adopt": _adopted,
    "release_held": _released,
    "redact": _redacted,
    "wait_mail": _waits,
    "list_runs": _runs,
    "verify": _verdict,
}


def _edge() -> int:
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns
    except (OSError, ValueError, AttributeError):
        return 0  # not a terminal: nothing is cut
