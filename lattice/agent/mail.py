"""Mail: offers taken for the client, and the proof that it has them.

The broker offers a message to this process; the client has it once the result was flushed to the pipe and it then
called a tool again, at least PROOF_AFTER_S later (a call that was under way at the same time proves nothing). Then
its receipt is acknowledged. A result that was not sent gives its receipts back. What is neither, returns by itself
when this process ends: the broker sees to that.

No message is shown twice in the life of this process: one that comes again, because the broker had given us up, is
only acknowledged anew. What a call took whose answer never came stays ours, so the next call asks for that first.

`Offers` is shared by the threads of all calls; acknowledging and giving back happen on a thread of its own, which
tries again until the broker has heard it.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict

from lattice import names
from lattice.contract.framing import frame
from lattice.errors import Refusal
from lattice.visible import visible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Ask = Callable[[str, dict[str, object]], dict[str, Any]]

PROOF_AFTER_S = 0.2
RETRY_S = 2.0
_REMEMBERED = 5000


class Offers:
    """The offers of this process. `ask(operation, values)` reaches the broker; `now` is monotonic, in seconds."""

    def __init__(
        self, ask: Ask, process: str, now: Callable[[], float] = time.monotonic,
        on_failure: Callable[[str, BaseException], None] = lambda what, error: None,
    ) -> None:  # fmt: skip
        self._ask = ask
        self._on_failure = on_failure
        self._process = process
        self._now = now
        self._lock = threading.Condition()  # guards all below
        self._shown: OrderedDict[int, list[str]] = OrderedDict()  # message -> its receipts: on its way to the client, or with it
        self._flushed: list[tuple[float, list[int]]] = []
        self._has: set[int] = set()  # of `_shown`, what the client has
        self._unanswered: list[dict[str, object]] = []  # takes whose outcome is unknown, as they were asked
        self._proven: list[str] = []
        self._returned: list[str] = []
        self._busy = False
        self._thread: threading.Thread | None = None

    def take(self, tool_use_id: str = "") -> dict[str, Any]:
        """The broker's answer: {messages, more, paused}, without what this process has shown before.

        `tool_use_id`: the client's name for the call, by which its hook proves it.
        """
        while True:
            answer = self._asked(tool_use_id)
            with self._lock:
                fresh = [message for message in answer["messages"] if self._is_new(message)]
            if fresh or not (answer["messages"] and answer.get("more")):
                return {**answer, "messages": fresh}

    def _asked(self, tool_use_id: str) -> dict[str, Any]:
        values: dict[str, object] = {"way": "tool", "process": self._process, "idempotency_key": names.new_key()}
        if tool_use_id:
            values["tool_use_id"] = tool_use_id
        with self._lock:
            if self._unanswered:
                values = self._unanswered.pop(0)
        try:
            return self._ask("check_messages", dict(values))
        except Refusal as refusal:
            if refusal.code in ("unknown_outcome", "unknown_result"):
                with self._lock:
                    self._unanswered.append(values)
            raise

    def _is_new(self, message: dict[str, Any]) -> bool:
        id, receipt = int(message["id"]), str(message.get("receipt", ""))
        receipts = self._shown.get(id)
        if receipts is None:
            self._shown[id] = [receipt]
            while len(self._shown) > _REMEMBERED and (oldest := next(iter(self._shown))) in self._has:
                del self._shown[oldest]
                self._has.remove(oldest)
            return True
        if receipt not in receipts:
            receipts.append(receipt)
            if id in self._has:
                self._proven.append(receipt)
                self._wake()
        return False

    def flushed(self, messages: list[int]) -> None:
        """The result with these messages has left for the client."""
        with self._lock:
            self._flushed.append((self._now(), messages))

    def prove(self) -> None:
        """A tools/call has arrived now: whatever was flushed long enough before it, the client has."""
        now = self._now()
        with self._lock:
            if not self._flushed:
                return
            # What was given back since is not in `_shown`.
            proven = [id for at, messages in self._flushed if now - at >= PROOF_AFTER_S for id in messages if id in self._shown]
            self._flushed = [(at, messages) for at, messages in self._flushed if now - at < PROOF_AFTER_S]
            self._has.update(proven)
            self._proven += [receipt for id in proven for receipt in self._shown[id]]
            if proven:
                self._wake()

    def give_back(self, messages: list[int]) -> None:
        """The result with these messages was not sent, or nobody looked at it. What is proven stays so."""
        with self._lock:
            self._returned += [receipt for id in messages if id not in self._has for receipt in self._shown.pop(id, ())]
            self._wake()

    def settle(self, timeout_s: float) -> bool:
        """Wait until everything is said to the broker. Whether it is."""
        with self._lock:
            return self._lock.wait_for(lambda: not (self._proven or self._returned or self._busy), timeout_s)

    def _wake(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._tell, name="proofs", daemon=True)
            self._thread.start()
        self._lock.notify_all()

    def _tell(self) -> None:
        while True:
            with self._lock:
                self._busy = False
                self._lock.notify_all()
                while not (self._proven or self._returned):
                    self._lock.wait()
                proven, self._proven = self._proven[:500], self._proven[500:]
                returned, self._returned = self._returned[:500], self._returned[500:]
                self._busy = True
            unheard_proofs = self._say("ack", proven, "proof", "tool")
            unheard_returns = self._say("give_back", returned, "reason", "the call was cancelled")
            if unheard_proofs or unheard_returns:
                with self._lock:
                    self._proven = unheard_proofs + self._proven
                    self._returned = unheard_returns + self._returned
                    self._busy = False
                    self._lock.wait(RETRY_S)

    def _say(self, operation: str, receipts: list[str], field: str, word: str) -> list[str]:
        """The receipts that the broker has not heard of and should be told of again."""
        if not receipts:
            return []
        try:
            self._ask(operation, {"receipts": receipts, field: word})
        except Refusal as refusal:
            # What it refuses for good (enrolled anew, killed) comes back by the broker's own rule.
            return receipts if refusal.retryable else []
        except Exception as error:  # the thread's door: were it to end, nothing would be proven any more
            self._on_failure(f"{operation} failed", error)
            return receipts
        return []


def shape(answer: dict[str, Any]) -> dict[str, object]:
    """What `check_messages` answers, from the broker's answer. Peer text is visible throughout, and framed."""
    boundary = names.new_key()[:16]
    messages: list[dict[str, object]] = []
    frames: list[str] = []
    for message in answer["messages"]:
        shown = {name: value for name, value in message.items() if name not in ("receipt", "content") and value not in (None, "", 0)}
        messages.append({**shown, "content": visible(str(message["content"]))})
        frames.append(_framed(message, boundary))
    said: dict[str, object] = {"messages": messages, "paused": bool(answer.get("paused"))}
    if answer.get("more"):
        said["more"] = answer["more"]
    if frames:
        said["framed"] = "\n\n".join(frames)
    else:
        said["message"] = "No new messages."
    return said


def _framed(message: dict[str, object], boundary: str) -> str:
    when = message.get("sent")
    return frame(
        str(message["content"]),
        sender=str(message.get("from", "?")),
        role=str(message.get("role") or "worker"),
        when=when if isinstance(when, (int, float, str)) else "",
        hops=_count(message, "hops"),
        category=str(message.get("category") or ""),
        message_id=_count(message, "id"),
        redelivered=_count(message, "redelivered"),
        asks=str(message.get("asks") or ""),
        boundary=boundary,
    )


def _count(message: dict[str, object], name: str) -> int:
    value = message.get(name)
    return int(value) if isinstance(value, (int, bool)) else 0
