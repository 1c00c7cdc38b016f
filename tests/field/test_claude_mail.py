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

from lattice.agent.mail import PROOF_AFTER_S
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
        self.brokers_part()

    def brokers_part(self) -> None:
        """From a send to the answer of the recipient's waiting beat, beside the two sessions; told, not judged."""
        broker = self.place.broker
        sender, recipient = (broker.enrol(name, workspace="here") for name in ("sender", "recipient"))
        stamp = recipient.post("/heartbeat", {})["stamp"]
        took: list[float] = []
        for number in range(ROUNDS):
            heard: list[tuple[float, dict[str, Any]]] = []

            def wait(seen: str = stamp, heard: list[tuple[float, dict[str, Any]]] = heard) -> None:
                answer = recipient.post("/heartbeat", {"wait_s": 3, "seen": seen})
                heard.append((time.monotonic(), answer))

            waiting = threading.Thread(target=wait)
            waiting.start()
            began = time.monotonic()
            sender.post("/send", {"recipient_id": "recipient", "category": "finding", "content": f"beat {number}"})
            waiting.join()
            [(at, answer)] = heard
            self.assertEqual(answer["unread"], number + 1)
            took.append(at - began)
            stamp = answer["stamp"]
        print(
            f"{self.id()}: the broker's part, from a send to the answer of the waiting beat, {ROUNDS} rounds:"
            f" median {statistics.median(took) * 1000:.1f} ms, worst {max(took) * 1000:.1f} ms (target 50 ms)", flush=True,
        )  # fmt: skip

    def test_an_idle_interactive_session_is_woken_within_a_second(self) -> None:
        bob = self.screen("bob", reader)
        bob.enter("Wait for mail.")
        self.model.until_shown("bob", "Wait for mail")
        self.rounds("interactive", lambda number: None)


class Sent(WorkplaceCase):
    """Mail to bob from a peer over HTTP."""

    sent = "unsent"

    def setUp(self) -> None:
        super().setUp()
        self.alice = self.place.broker.enrol("alice", workspace="here")
        beating = self.place.broker.beat_all([self.alice])
        self.addCleanup(beating.close)

    def send(self, text: str = "the parser is broken") -> int:
        self.sent = text
        said = self.alice.post("/send", {"recipient_id": "bob", "category": "finding", "content": text})
        return int(said["message_id"])

    def state(self, message: int) -> str:
        return str(self.state_of(message, "bob")["state"])


class ReadIsRead(Sent):
    """The sender's receipt says `read` only once the client has the result."""

    def test_a_subagents_call_counts_as_its_sessions_and_nothing_is_handed_in_twice(self) -> None:
        states: dict[str, str] = {}
        sent: list[int] = []

        def mind(shown: Shown) -> str | Step:
            if "READ-THE-MAIL" in shown.new and "DELEGATE" not in shown.new and not sent:
                sent.append(self.send())
                states["before the call"] = self.state(sent[0])
                return Step("check_messages")
            if self.sent in shown.result():
                states["when it was shown"] = self.state(sent[0])
                return "The subagent has read it."
            if shown.results:
                return "It was read."
            if "DELEGATE" not in shown.new:
                return "I see."
            return Step("Agent", {"description": "read mail", "prompt": "READ-THE-MAIL please", "subagent_type": "claude"})

        bob = self.talk("bob", mind)
        bob.say("DELEGATE the mail.")  # the subagent works in the background
        until(lambda: "when it was shown" in states, "the subagent is shown the mail")
        self.assertEqual(states["before the call"], "queued")
        self.assertIn(states["when it was shown"], ("offered", "read"))
        until(lambda: self.state(sent[0]) == "read", "it is read")
        self.assertEqual(self.state_of(sent[0], "bob")["proof"], "hook PostToolUse")
        until(lambda: bob.ends() >= 2, "the session hears that its subagent is done")
        bob.turn("Anything else?")
        self.assertEqual(self.model.times_shown("bob", self.sent), 1)

    def test_an_interrupted_call_reads_nothing_and_the_mail_comes_again_and_says_so(self) -> None:
        sent: list[int] = []

        def mind(shown: Shown) -> str | Step:
            if "LOOK-NOW" in shown.new and not sent:
                sent.append(self.send())
                self.place.broker.freeze()  # the call is on its way until we let it
                return Step("check_messages")
            return reader(shown)

        bob = self.screen("bob", mind)
        bob.enter("LOOK-NOW for mail")
        self.addCleanup(self.place.broker.thaw)
        self.model.until_shown("bob", "LOOK-NOW")
        bob.until_text("Calling c2-lattice")
        bob.press("Escape")
        bob.until_text("Interrupted")
        self.place.broker.thaw()
        until(lambda: self.state_of(sent[0], "bob")["attempts"], "the offer is given back")
        shown = self.model.until_shown("bob", re.escape(self.sent))
        self.assertIn("redelivered", shown.new)
        self.assertIn(f"#{sent[0]} ", shown.new)
        until(lambda: self.state(sent[0]) == "read", "it is read after all")
        self.assertEqual(self.model.times_shown("bob", self.sent), 1)

    def test_edits_after_the_mail_bring_no_second_offer(self) -> None:
        sent: list[int] = []
        done: list[str] = []

        def mind(shown: Shown) -> str | Step:
            if "LOOK-NOW" in shown.new:
                sent.append(self.send())
                return Step("check_messages")
            if shown.results and len(done) < 12:
                done.append(shown.result())
                return Step("Write", {"file_path": self.place.file(f"notes{len(done) - 1}.txt"), "content": f"note {len(done) - 1}\n"})
            return "All is written."

        bob = self.talk("bob", mind)
        bob.turn("LOOK-NOW")
        told = self.state_of(sent[0], "bob")
        self.assertEqual((told["state"], told["attempts"]), ("read", 0))
        self.assertEqual(self.model.times_shown("bob", self.sent), 1)
        self.assertEqual(self.place.content("notes11.txt"), "note 11\n")


class ReadIsReadWithoutHooks(Sent):
    """Where no hook tells that a result was taken, a later call does; one that was under way beside it does not."""

    options = ("--no-hooks",)

    def test_a_call_beside_it_and_edits_prove_nothing_and_a_later_call_does(self) -> None:
        sent: list[int] = []
        states: list[str] = []

        def mind(shown: Shown) -> str | Step | list[Step]:
            if "LOOK-NOW" in shown.new:
                sent.append(self.send())
                return [Step("check_messages"), Step("list_peers"), Step("list_peers")]
            if not sent:
                return "Ready." if shown.results else Step("list_peers")
            states.append(self.state(sent[0]))
            if len(states) <= 10:
                return Step("Write", {"file_path": self.place.file("notes.txt"), "content": f"note {len(states)}\n"})
            if len(states) == 11:
                return Step("list_peers", before=lambda: time.sleep(PROOF_AFTER_S))
            return "All is written."

        bob = self.talk("bob", mind)
        bob.turn("Who is there?")  # so that the tool is loaded, and the three calls are in one message
        bob.turn("LOOK-NOW")
        self.assertEqual(states[:11], ["offered"] * 11)
        until(lambda: self.state(sent[0]) == "read", "the later call proves it")
        told = self.state_of(sent[0], "bob")
        self.assertEqual((told["proof"], told["attempts"]), ("tool", 0))
        self.assertEqual(self.model.times_shown("bob", self.sent), 1)


if __name__ == "__main__":
    unittest.main()
