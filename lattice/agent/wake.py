"""The wake: an idle session is told that mail came, by the client's own way of being told.

A notice says how much waits and from whom, never what: the mail is taken with check_messages. The first goes out
at once, and so does one that follows when the session took mail since; before that, at most one in a second. What it
has taken meanwhile is not told. Paused, it hears that once, and nothing of mail until it goes on. Never more
notices than the client's inbox admits: it drops the rest in silence. That a notice was written proves nothing, so
nothing depends on it: where there is no such way, or it fails, the other ways stay, and `ways` says so.

The beat's thread says what it heard and does not wait; notices are written by a thread of their own.
"""

from __future__ import annotations

import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

GAP_S = 1.0
MAX_SENDERS = 5
# Claude Code 2.1.328 admits 30 at once, and then one in 2 s; a session has more children than us.
AT_ONCE = 20
ONE_MORE_S = 2.5


class Wake:
    """`environ` names the session's inbox, if there is one; `is_wanted` is the user's setting."""

    def __init__(self, environ: Mapping[str, str], *, is_wanted: bool, on_failure: Callable[[str, BaseException], None]) -> None:
        self._environ = environ
        self._on_failure = on_failure
        self._has_inbox = is_wanted and _is_offered(environ)
        self._news = threading.Condition()  # guards all below
        self._works = self._has_inbox
        self._has_failed = False
        self._unread = 0
        self._senders: list[str] = []
        self._newest = 0
        self._paused_by: str | None = None
        self._due = ""  # "mail", "pause", "resume": what is to be told
        self._told = 0
        self._last = float("-inf")
        self._is_answered = True  # the session took mail since the last notice
        self._admitted = float(AT_ONCE)  # as of `_last`
        self._thread: threading.Thread | None = None
        self._stopped = False

    def ways(self) -> list[str]:
        """How mail reaches this session as far as it knows itself, best first."""
        with self._news:
            return ["socket", "tool"] if self._works else ["tool"]

    def heard(self, unread: int, senders: list[str], newest: int, paused_by: str | None) -> None:
        """What the broker said last. `newest`: the highest id that waits; `paused_by`: None when we may go on."""
        with self._news:
            more = unread > 0 and (newest > self._newest or unread > self._unread)
            if unread < self._unread:
                self._answer()
            self._unread, self._senders = unread, senders
            self._newest = max(self._newest, newest)
            was, self._paused_by = self._paused_by, paused_by
            if paused_by is not None:
                due = "pause" if was is None else self._due
            elif was is not None:
                due = "resume"
            else:
                due = "mail" if more else self._due
            if due and due != self._due or due == "mail" and more:
                self._due = due
                self._begin()

    def took(self, left: int) -> None:
        """The session has taken mail just now."""
        with self._news:
            self._unread = left
            self._answer()

    def _answer(self) -> None:
        if not self._is_answered:
            self._is_answered = True
            self._news.notify_all()

    def stop(self) -> None:
        with self._news:
            self._stopped = True
            self._news.notify_all()

    # -- the thread that writes -----------------------------------------------------------------------

    def _begin(self) -> None:
        if not self._has_inbox:
            self._due = ""
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._tell_on, name="wake", daemon=True)
            self._thread.start()
        self._news.notify_all()

    def _tell_on(self) -> None:
        while True:
            with self._news:
                while not (self._due or self._stopped):
                    self._news.wait()
                while (rest_s := self._rest_s()) > 0 and not self._stopped:
                    self._news.wait(rest_s)
                if self._stopped:
                    return
                text, self._due = self._text(), ""
                if not text:
                    continue
                self._admitted = self._admits() - 1
                self._last = time.monotonic()
                self._is_answered = False
            self._tell(text)

    def _admits(self) -> float:
        """How many notices the inbox admits now."""
        return min(float(AT_ONCE), self._admitted + (time.monotonic() - self._last) / ONE_MORE_S)

    def _rest_s(self) -> float:
        """How long the next notice must wait."""
        lacks = 1 - self._admits()
        gap_s = 0.0 if self._is_answered else self._last + GAP_S - time.monotonic()
        return max(gap_s, lacks * ONE_MORE_S)

    def _text(self) -> str:
        """The notice that is due now; "" when it has become untrue. The number keeps the client from dropping a repeat."""
        mail = ""
        if self._unread:
            sender = f" (from {', '.join(self._senders[:MAX_SENDERS])})" if self._senders else ""
            mail = f"{self._unread} unread {'message' if self._unread == 1 else 'messages'}{sender}: call check_messages"
        if self._due == "pause" and self._paused_by is not None:
            said = f"paused by {self._paused_by or 'the architect or the person'}: change nothing until you are resumed"
        elif self._due == "resume":
            said = "you are resumed and may go on" + (f"; {mail}" if mail else "")
        else:
            said = mail
        if not said:
            return ""
        self._told += 1
        return f"c2-lattice: {said} [notice {self._told}]"

    def _tell(self, text: str) -> None:
        from lattice.clients import claude_inbox

        try:
            claude_inbox.post(self._environ, text)
            works = True
        except OSError as error:
            works = False
            if not self._has_failed:
                self._has_failed = True
                self._on_failure("the session's inbox takes no notice; mail is told by its tools and hooks", error)
        with self._news:
            self._works = works


def _is_offered(environ: Mapping[str, str]) -> bool:
    from lattice.clients import claude_inbox

    return claude_inbox.is_offered(environ)
