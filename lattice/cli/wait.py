"""c2-lattice wait: blocks until mail is there. For scripts, and for the background shell of a session.

    c2-lattice wait [--timeout SECONDS] [--urgent] [--json] [--port N]

Prints one line and ends with 0 when mail waits, with 1 when the time is up (without --timeout there is none). It takes
nothing: `c2-lattice inbox`, or the session's own check_messages, does. A broker that restarts meanwhile is waited
for; one that was never there is not. Ends when the shell that started it is gone: nobody would read the line.
"""

from __future__ import annotations

import os
import threading
import time

from lattice import settings
from lattice.cli import show
from lattice.cli.door import Door, locate
from lattice.cli.verbs import Usage
from lattice.errors import Refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from lattice.settings import Settings

IS_THERE, TIME_IS_UP = 0, 1
CHUNK_S = 30  # one request waits no longer, so that an end of the broker or of our token is noticed
LOOK_S = 0.5  # how often it looks whether its shell is there
RETRY_S = 0.5
LEAVING = ("unknown_outcome", "stopping", "too_many_connections")  # our broker was there and will be again
GONE = (*LEAVING, "unreachable", "unavailable", "unauthorized", "token_expired", "not_registered")


def main(words: list[str]) -> int:
    timeout_s, is_urgent, as_json, port = _parse(words)
    environ = {**os.environ, **({"C2_LATTICE_PORT": port} if port else {})}
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    is_there, waiting = wait(settings.read(environ), environ, timeout_s, is_urgent)
    line = show.said("wait_mail", waiting)
    if not is_there:
        what, but = ("nothing urgent", f" ({line})" if waiting.get("unread") else "") if is_urgent else ("no mail", "")
        line = f"{what} within {timeout_s:g} s{but}"
    print(show.as_json(waiting, indent=None) if as_json else line, flush=True)
    return IS_THERE if is_there else TIME_IS_UP


def wait(chosen: Settings, environ: Mapping[str, str], timeout_s: float | None, is_urgent: bool) -> tuple[bool, dict[str, object]]:
    """Whether it came in time, and all that waits. Raises the Refusal of a broker that was never there, or that refuses for good."""
    until = None if timeout_s is None else time.monotonic() + timeout_s
    door: Door | None = None
    met = False
    answer: dict[str, object] = {"unread": 0, "unread_from": [], "urgent": 0}
    while True:
        left = CHUNK_S if until is None else until - time.monotonic()
        if left <= 0 and met:
            return False, answer
        chunk_s = max(0, int(min(CHUNK_S, left + 0.999)))
        try:
            door = door or Door(chosen, environ, locate(chosen))
            answer = door.call("POST", "/inbox/wait", {"wait_s": chunk_s, "urgent_only": is_urgent}, timeout_s=chunk_s + 10.0)
        except Refusal as problem:
            met = met or problem.code in LEAVING
            if problem.code not in GONE or not met:
                raise
            if door is not None:
                door.close()
            door = None  # it may come back on another port, and we may need another token
            time.sleep(min(RETRY_S, max(0.0, left)))
            continue
        met = True
        if answer.get("urgent" if is_urgent else "unread"):
            door.close()
            return True, answer


def _parse(words: list[str]) -> tuple[float | None, bool, bool, str]:
    timeout_s, is_urgent, as_json, port = None, False, False, ""
    rest = iter(words)
    for word in rest:
        name, joined, text = word.partition("=")
        if name in ("--timeout", "--port"):
            text = text if joined else next(rest, "")
            if not text.isascii() or not text.replace(".", "", int(name == "--timeout")).isdigit():
                raise Usage(f"{name} needs a number")
            if name == "--timeout":
                timeout_s = float(text)
            else:
                port = text
        elif word == "--urgent":
            is_urgent = True
        elif word == "--json":
            as_json = True
        else:
            raise Usage(f"no {word!r} here; there are: --timeout SECONDS, --urgent, --json, --port N")
    return timeout_s, is_urgent, as_json, port


def _end_with(shell: int) -> None:
    """Ends this process when its parent is another one than at the start."""
    while os.getppid() == shell:
        time.sleep(LOOK_S)
    os._exit(TIME_IS_UP)
