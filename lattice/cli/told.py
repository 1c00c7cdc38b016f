"""What was done, in a sentence: the answers of writes on a terminal. What has none here is shown as `show` does.

Every value in it was written by some peer and is data (`show.cell`).
"""

from __future__ import annotations

from lattice.cli import show
from lattice.cli.show import cell

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Answer = Mapping[str, object]


def said(name: str, answer: Answer, you: str = "") -> str:
    """The sentence for this operation's answer, or the lines. `you` is the caller's peer id, "" for the person."""
    how = SENTENCES.get(name)
    return (how(answer) if how is not None else "") or show.said(name, answer, you)


def _sent(answer: Answer) -> str:
    if answer.get("folded"):
        return cell(answer.get("message"))
    if not answer.get("message_id"):
        return ""
    to = cell(answer.get("recipients") or answer.get("reached"))
    if answer.get("held"):
        return f"message {cell(answer['message_id'])} to {to} is held: {cell(answer['held'])}. {cell(answer.get('message'))}"
    state = {"away": " (away: it waits there)", "waiting": " (it waits for the next architect)"}.get(str(answer.get("recipient")), "")
    said = f"message {cell(answer['message_id'])} to {to}{state}"
    if answer.get("resolved"):
        said += f"; escalation {cell(answer['resolved'])} is resolved"
    if answer.get("escalation_id"):
        said += f"; it opened escalation {cell(answer['escalation_id'])}"
    return f"{said}. {cell(answer['message'])}" if answer.get("message") else said


def _made(answer: Answer) -> str:
    if answer.get("task_ids"):
        said = f"tasks {cell(answer['task_ids'])}"
    elif answer.get("task_id"):
        said = f"task {cell(answer['task_id'])}, {'free to claim' if answer.get('claimable') else 'waiting'}"
    else:
        return ""
    return said + (f", in {cell(answer['workspace'])}" if answer.get("workspace") is not None else "")


def _claimed(answer: Answer) -> str:
    return f"task {cell(answer['task_id'])} is yours: {cell(answer.get('title'))}" if answer.get("task_id") else ""


def _ended(answer: Answer) -> str:
    if not answer.get("task_id"):
        return ""
    free = answer.get("newly_unblocked")
    now = [f"{cell(one.get('id'))} {cell(one.get('title'))}" for one in free if isinstance(one, dict)] if isinstance(free, list) else []
    return f"task {cell(answer['task_id'])} is {cell(answer.get('status'))}" + (f"; free now: {', '.join(now)}" if now else "")


def _resolved(answer: Answer) -> str:
    if not answer.get("escalation_id"):
        return ""
    mailed = f"; who asked is told by message {cell(answer['message_id'])}" if answer.get("message_id") else ""
    return f"escalation {cell(answer['escalation_id'])}: {cell(answer.get('verdict'))}{mailed}"


def _remembered(answer: Answer) -> str:
    if not answer.get("version"):
        return ""
    where = f", in {cell(answer['workspace'])}" if answer.get("workspace") is not None else ""
    return f"{cell(answer.get('key'))} is at version {cell(answer['version'])}{where}"


def _unlocked(answer: Answer) -> str:
    path = cell(answer.get("file_path"))
    if answer.get("released"):
        return f"unlocked: {path}" + (f" (it was {cell(answer['holder'])}'s)" if answer.get("holder") else "")
    return f"you no longer wait for {path}" if answer.get("left_the_queue") else f"{path} was not locked"


def _paused(answer: Answer) -> str:
    return f"{cell(answer['peer_id'])} {'is paused' if answer.get('paused') else 'goes on'}" if answer.get("peer_id") else ""


def _killed(answer: Answer) -> str:
    if not answer.get("peer_id"):
        return ""
    free = f"{cell(answer.get('locks_released'))} lock(s) and {cell(answer.get('tasks_unassigned'))} task(s) are free again"
    return f"{cell(answer['peer_id'])} is ended, until it is resumed; {free}"


SENTENCES: dict[str, Callable[[Answer], str]] = {
    "send_message": _sent,
    "broadcast": _sent,
    "raise_blocker": lambda answer: cell(answer["message"]) if answer.get("message") else "",
    "request_review": lambda answer: cell(answer["message"]) if answer.get("message") else "",
    "create_task": _made,
    "claim_task": _claimed,
    "complete_task": _ended,
    "release_task": _ended,
    "fail_task": _ended,
    "cancel_task": _ended,
    "resolve": _resolved,
    "set_memory": _remembered,
    "unlock_file": _unlocked,
    "pause": _paused,
    "resume": _paused,
    "kill_peer": _killed,
}
