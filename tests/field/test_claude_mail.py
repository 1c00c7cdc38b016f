"""Mail between real Claude Code sessions: an idle one takes a turn within a second, and `read` means that it was shown.

Both are installed as a person installs, with the real broker; only the model is scripted. Asserted on what the model was
shown, on the receipts, and on nothing by the clock but the second that is promised.
"""

from __future__ import annotations

import re
import statistics
import threading
import time
import unittest
from collections.abc import Callable
from typing import Any

from tests.field.minds import Shown
from tests.field.scripted_model import Step
from tests.field.workplace import WorkplaceCase
from tests.running import until

ROUNDS = 20
NOTICE = r"c2-lattice: \d+ unread message"
SECOND = 1.0


class Sender:
    """A mind that sends a message each time it is let, and knows when it chose to."""

    def __init__(self, to: str, **message: Any) -> None:
        self.message = {"recipient_id": to, "category": "finding", **message}
        self.wanted: list[str] = []
        self.chose: dict[str, float] = {}
        self.let = threading.Condition()
        self.is_done = False

    def send(self, text: str) -> None:
        with self.let:
            self.wanted.append(text)
            self.let.notify_all()

    def done(self) -> None:
        with self.let:
            self.is_done = True
            self.let.notify_all()

    def __call__(self, shown: Shown) -> str | Step:
        with self.let:
            if shown.results:
                self.wanted.pop(0)  # it was sent
            self.let.wait_for(lambda: self.wanted or self.is_done, 120)
            if not self.wanted:
                return "nothing more to send"
            text = self.wanted[0]
            return Step("send_message", {**self.message, "content": text}, before=lambda: self._choose(text))

    def _choose(self, text: str) -> None:
        self.chose[text] = time.monotonic()


def reader(shown: Shown) -> str | Step:
    """Obeys the notice, and says what it read."""
    if shown.results or "[peer-message " in shown.new:
        return "I have read it."
    return Step("check_messages") if re.search(NOTICE, shown.new) else "Waiting."


class Waking(WorkplaceCase):
    """An idle session takes a turn on the notice, and the model is shown the mail."""

    def rounds(self, kind: str, end_of_turn: Callable[[int], object]) -> None:
        model = self.model
        sender = Sender("bob")
        alice = self.talk("alice", sender)
        alice.say("Begin.")
        took: list[float] = []
        for number in range(ROUNDS):
            end_of_turn(number)
            text = f"round {number} of {ROUNDS}: the build is green"
            began = time.monotonic()
            sender.send(text)
            notice = model.until_shown("bob", NOTICE, after=began)
            chose = until(lambda text=text: sender.chose.get(text), "alice's model chose to send")
            mail = model.until_shown("bob", re.escape(text), after=began)
            self.assertIn("[peer-message ", mail.new)
            took.append(notice.at - chose)
        sender.done()
        print(
            f"{self.id()}: {kind}: from the sender's choice to the notice before the idle session's model, {ROUNDS} rounds:"
            f" median {statistics.median(took) * 1000:.0f} ms, worst {max(took) * 1000:.0f} ms", flush=True,
        )  # fmt: skip
        self.assertEqual([model.times_shown("bob", f"round {number} of") for number in range(ROUNDS)], [1] * ROUNDS, "each once")
        self.assertLessEqual(max(took), SECOND)

    def test_an_idle_session_with_its_stdin_open_is_woken_within_a_second(self) -> None:
        bob = self.talk("bob", reader)
        bob.turn("Wait for mail.")
        self.rounds("headless", lambda number: until(lambda: bob.ends() > number, "bob is idle again"))

    def test_an_idle_interactive_session_is_woken_within_a_second(self) -> None:
        bob = self.screen("bob", reader)
        bob.until_text("accept edits on")
        bob.enter("Wait for mail.")
        self.model.until_shown("bob", "Wait for mail")
        self.rounds("interactive", lambda number: None)


if __name__ == "__main__":
    unittest.main()
