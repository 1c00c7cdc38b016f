"""Mail on the command line: shown first, marked read afterwards, given back when it could not be shown.

The person's mail counts as read when it was shown on a terminal (a pipe proves nobody read it, so there it
is offered again). A session's mail counts as read when its command has written it out whole: what the
command says is what the session gets.
"""

from __future__ import annotations

import sys

from lattice import names
from lattice.cli import show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lattice.cli.door import Door


def take(door: Door, as_json: bool) -> int:
    """Take, print, acknowledge. Whatever ends the printing early gives the mail back."""
    # Not as `person`: the broker takes that for shown, and here nothing has been shown yet.
    answer = door.call("POST", "/inbox/take", {"way": "tool", "idempotency_key": names.new_key()})
    messages = answer.get("messages")
    receipts = [str(one["receipt"]) for one in messages if one.get("receipt")] if isinstance(messages, list) else []
    was_shown = False
    try:
        print(show.as_json(answer) if as_json else show.said("check_messages", answer), flush=True)
        was_shown = not door.is_person or sys.stdout.isatty()
    finally:
        if receipts:
            said: dict[str, object] = {"receipts": receipts, "idempotency_key": names.new_key()}
            if was_shown:
                door.call("POST", "/inbox/ack", {**said, "proof": "shown by the command line"})
            else:
                reason = "the output was no terminal" if door.is_person else "the output was closed"
                door.call("POST", "/inbox/return", {**said, "reason": reason})
    return 0
