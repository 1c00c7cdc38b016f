"""The beat: says every few seconds that this session lives, and hears what waits for it.

One thread beats: a request that the broker answers at once on mail, a change of locks, or pause. Another looks
at git, on its own, and leaves what changed for the next beat; a beat without git fields changes none.
The beat never starts a broker and takes no mail. What it heard is read by the threads of all calls.
"""

from __future__ import annotations

import threading
import time

from lattice.errors import Refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from lattice.agent.link import Link
    from lattice.agent.wake import Wake

INTERVAL_S = 3
GIT_EVERY_S = 15.0
MIN_GAP_S = 0.05  # between two beats, however often the broker has news
MARGIN_S = 10.0  # a beat may be answered so much later than it asked


class Beat:
    """What the broker last said: `unread`, from whom, whether and by whom we are paused."""

    def __init__(
        self,
        link: Link,
        wake: Wake,
        *,
        on_failure: Callable[[str, BaseException], None],
        git: Callable[[], dict[str, object]],
        counts: Callable[[], dict[str, object]],
    ) -> None:
        self._link = link
        self._wake = wake
        self._on_failure = on_failure
        self._git = git
        self._counts = counts
        self._stop = threading.Event()
        self._lock = threading.Lock()  # guards all below
        self._unread = 0
        self._unread_from: list[str] = []
        self._paused = False
        self.paused_by = ""
        self._stamp = ""
        self._interval_s = INTERVAL_S
        self._tree: dict[str, object] = {}  # what git said last
        self._tree_is_new = False
        self._enrolment = 0
        self._is_over_budget = False  # the beating thread's own

    def start(self) -> None:
        threading.Thread(target=self._beat_on, name="beat", daemon=True).start()
        threading.Thread(target=self._look_on, name="git", daemon=True).start()

    def stop(self) -> None:
        self._stop.set()
        self._wake.stop()
        self._link.is_enrolled.set()  # wakes a beat that waits to be enrolled

    # -- what the calls ask -----------------------------------------------------------------------------

    def waiting(self, more: object = None) -> str:
        """What waits, in a line: "2 unread from arch, w2: check_messages"; "" when nothing does.

        `more`: how many the broker had left when mail was just taken; the last beat is older than that.
        """
        with self._lock:
            unread = more if isinstance(more, int) else self._unread
            said = []
            if unread:
                sender = f" from {', '.join(self._unread_from[:5])}" if self._unread_from else ""
                said.append(f"{unread} unread{sender}: check_messages")
            if self._paused:
                said.append(f"paused by {self.paused_by or 'the architect or the person'}: only reading works until you are resumed")
            return "; ".join(said)

    def took(self, more: object) -> None:
        """Mail was taken just now, and so much is left."""
        with self._lock:
            self._unread = more if isinstance(more, int) else 0
            if not self._unread:
                self._unread_from = []
            self._wake.took(self._unread)

    # -- the beating thread -----------------------------------------------------------------------------

    def _beat_on(self) -> None:
        pause_s = 0.1
        while not self._stop.is_set():
            self._link.is_enrolled.wait()
            if self._stop.is_set() or self._link.is_killed:
                return
            begun = time.monotonic()
            try:
                news = self._beat_once()
                pause_s = 0.1
                rest_s = MIN_GAP_S if news else begun + self._interval_s - time.monotonic()
            except Refusal as refusal:
                if refusal.code == "killed":
                    return
                rest_s = pause_s
                pause_s = min(float(INTERVAL_S), pause_s * 2)
            except Exception as error:  # the beat's door: it must go on
                self._on_failure("the beat failed", error)
                rest_s = INTERVAL_S
            if rest_s > 0:
                self._stop.wait(rest_s)

    def _beat_once(self) -> bool:
        """Whether the broker had news."""
        with self._lock:
            if self._link.enrolments != self._enrolment:
                self._enrolment, self._stamp = self._link.enrolments, ""
                self._tree_is_new = bool(self._tree)
            tree, self._tree_is_new = (self._tree, False) if self._tree_is_new else ({}, False)
            body = {"wait_s": self._interval_s, "seen": self._stamp, "process": self._link.process, **self._counts(), **tree}
        ways = self._wake.ways()
        if ways != self._link.ways:
            body["ways"] = ways
        try:
            answer = self._link.ask("heartbeat", body, timeout_s=self._interval_s + MARGIN_S, patient=False)
        except BaseException:  # whatever it was, the tree is still to be told
            with self._lock:
                self._tree_is_new = self._tree_is_new or bool(tree)
            raise
        self._link.ways = ways
        return self._hear(answer)

    def _hear(self, answer: dict[str, object]) -> bool:
        stamp = str(answer.get("stamp") or "")
        unread, senders, interval = answer.get("unread"), answer.get("unread_from"), answer.get("poll_interval_ms")
        with self._lock:
            news = stamp != self._stamp
            self._stamp = stamp
            self._unread = unread if isinstance(unread, int) else 0
            self._unread_from = [str(sender) for sender in senders] if isinstance(senders, list) else []
            self._paused = bool(answer.get("paused"))
            self.paused_by = str(answer.get("paused_by") or "")
            if isinstance(interval, int):
                self._interval_s = max(1, min(60, interval // 1000))
            newest = answer.get("newest")
            self._wake.heard(
                self._unread, self._unread_from, newest if isinstance(newest, int) else 0, self.paused_by if self._paused else None
            )
        lost = answer.get("lost")
        for path in lost if isinstance(lost, list) else []:
            self._link.note(f"you no longer hold {path}: look at it again before you edit it", each_time=True)
        was_over, self._is_over_budget = self._is_over_budget, bool(answer.get("budget_exceeded"))
        if self._is_over_budget and not was_over:
            spent = "your budget of tokens is used up: no new task can be claimed; ask the architect or the person"
            self._link.note(spent, each_time=True)
        return news

    # -- the thread that looks at git -------------------------------------------------------------------

    def _look_on(self) -> None:
        while not self._stop.is_set():
            self._link.is_enrolled.wait()
            if self._stop.is_set() or self._link.is_killed:
                return
            try:
                tree = self._git()
            except Exception as error:  # a door: whatever git does, the session goes on
                self._on_failure("git could not be read", error)
                tree = {}
            with self._lock:
                if tree and tree != self._tree:
                    self._tree, self._tree_is_new = tree, True
            self._stop.wait(GIT_EVERY_S)
