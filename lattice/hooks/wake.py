"""Waits for mail and wakes the session: the `asyncRewake` hook, for clients whose sessions have no inbox socket.

Started with the session and again after each stop; one waits at a time. It ends with status 2 and a notice, never
the message, when there is mail that it has not woken the session for before; with 0 and without a word when its
client is gone, in a run that nobody attends (it would keep a one-shot run from ending), and where the client has
an inbox socket, which the session's own server uses.
"""

from __future__ import annotations

import os
import sys
import time

from lattice.agent import process
from lattice.errors import Refusal
from lattice.exclusive import Exclusive
from lattice.hooks import traces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from lattice.hooks.events import Hook

WAIT_S = 5  # of one question to the broker; between two we look whether the client is still there
AGAIN_S = 1.0  # after the broker could not be asked
MAX_S = 24 * 3600.0


def run(hook: Hook) -> int:
    if hook.settings.wake == "off" or hook.client <= 0 or not wanted(hook.environ):
        return 0
    os.makedirs(hook.traces.folder, mode=0o700, exist_ok=True)
    lock = Exclusive(hook.traces.path("wake"))
    if not lock.acquire():
        return 0  # another one waits already
    lock.write(f"{os.getpid()}\n")
    is_known = False  # the broker shows that this session is woken by us
    start = process.started(hook.client)
    end = time.monotonic() + MAX_S
    while time.monotonic() < end and process.is_alive(hook.client, start):
        is_known = is_known or _say_so(hook)
        notice = _ask(hook)
        if notice:
            sys.stderr.write(notice + "\n")
            return 2
    return 0


def wanted(environ: Mapping[str, str]) -> bool:
    return not (
        environ.get("CLAUDE_CODE_ENTRYPOINT") == "sdk-cli"
        or environ.get("CLAUDE_CODE_SESSION_ATTENDED") == "0"
        or environ.get("CLAUDE_CODE_MESSAGING_SOCKET")
    )


def _say_so(hook: Hook) -> bool:
    try:
        hook.until = time.monotonic() + WAIT_S
        hook.call("POST", "/hook", {"event": "Wake"})
    except Refusal:
        return False  # asking for mail hears the same, and waits
    return True


def _ask(hook: Hook) -> str:
    """The notice, "" when nothing came while we waited.

    A session that was woken and left its mail where it is would be woken again by each of its stops: it is woken again
    only when more has come.
    """
    try:
        hook.until = time.monotonic() + WAIT_S + 5
        answer = hook.call("POST", "/inbox/wait", {"wait_s": WAIT_S})
    except Refusal:
        hook.forget()
        time.sleep(AGAIN_S)
        return ""
    unread = int(answer.get("unread") or 0)
    woken = traces.read(hook.traces.path("woken"))
    if unread <= (woken if isinstance(woken, int) else 0):
        hook.traces.keep("woken", "", unread)
        if unread:
            time.sleep(AGAIN_S)  # the broker answers at once while any waits
        return ""
    hook.traces.keep("woken", "", unread)
    senders = ", ".join(str(one) for one in list(answer.get("unread_from") or ())[:5])
    urgent = ", urgent" if answer.get("urgent") else ""
    return f"c2-lattice: {unread} unread message{'s' if unread > 1 else ''} from {senders}{urgent}. Call check_messages."
