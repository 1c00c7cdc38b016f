"""A text that goes from hand to hand is stopped before a fourth session has it, the person is told once, and decides for all of it."""

from __future__ import annotations

import time
import unittest
from typing import Any

from lattice.domain import strains
from tests.broker.broking import PERSON, BrokerCase
from tests.guard.test_likeness import SPEC, WORM

WORKERS = tuple(f"w{number}" for number in range(1, 9))


class OfAText(BrokerCase):
    def setUp(self) -> None:
        super().setUp()
        self.house.crew(*WORKERS)

    def read_all(self, *who: str) -> None:
        for one in who or ("arch", *WORKERS):
            while self.house.texts(one):
                pass

    def goes(self, sender: str, to: str, text: str = WORM, category: str = "finding", **more: Any) -> str:
        """ "" when it goes out, else why it is held. The recipient reads it."""
        said = self.house.send(sender, to, text, category, **more)
        self.read_all(*(one for one in said["recipients"] if one != PERSON))
        return str(said.get("held", ""))

    def attention(self, kind: str) -> list[dict[str, Any]]:
        shown = self.house.get("viewer", "/dashboard/data?everywhere=true")["attention"]
        return [one for one in shown if one["type"] == kind]

    def alerts(self) -> list[str]:
        rows = self.house.rows("SELECT m.content FROM messages m JOIN deliveries d ON d.message_id = m.id WHERE d.recipient = ?"
                               " AND m.sender_id = 'broker'", PERSON)  # fmt: skip
        return [row["content"] for row in rows]


class HowFarItGets(OfAText):
    def test_three_have_it_and_a_fourth_does_not(self) -> None:
        self.assertEqual("", self.goes("w1", "w2"))
        self.assertEqual(["", ""], [self.goes("w2", "w3"), self.goes("w2", "w4", f"fwd from w1: {WORM.upper()}")])
        self.assertIn("would have reached 4 sessions in 10 minutes: it began with message 1 of w1", self.goes("w2", "w5"))
        self.assertEqual([], self.house.texts("w5"))

    def test_a_third_sender_is_one_too_many(self) -> None:
        self.assertEqual(["", ""], [self.goes("w1", "w2"), self.goes("w2", "w3")])
        self.assertIn("a third session would pass this text on, after w1 and w2", self.goes("w3", "w4", f"Look what w2 has: {WORM}"))

    def test_one_who_tells_four_one_by_one_is_told_who_speaks_to_all(self) -> None:
        self.assertEqual(["", "", ""], [self.goes("w1", to) for to in ("w2", "w3", "w4")])
        said = self.house.send("w1", "w5", f"Hi w5! {WORM}")
        self.assertIn("would have reached 4", said["held"])
        self.assertIn("ask @architect to broadcast it", said["message"])

    def test_changing_greetings_do_not_help(self) -> None:
        names = ("w2", "w3", "w4")
        self.assertEqual([""] * 3, [self.goes("w1", to, f"Good morning, dear {to}, this is w1. {WORM} Yours, w1") for to in names])
        self.assertIn("4 sessions", self.goes("w4", "w5", f"Hello {WORM} So long, and thanks from w4 for reading all of it"))

    def test_once_it_is_held_every_copy_is_whoever_sends_it_to_whom(self) -> None:
        self.test_three_have_it_and_a_fourth_does_not()
        for sender, to in (("w3", "arch"), ("w4", "w3"), ("w1", "w8"), ("w2", "w5")):
            self.assertIn("waits for the person, with all its copies", self.goes(sender, to, f"> {WORM}"))

    def test_the_architect_passes_nothing_on_but_says_what_it_likes(self) -> None:
        self.assertEqual("", self.goes("arch", "broadcast", SPEC), "its own words")
        self.assertEqual("", self.goes("arch", "broadcast", f"Once more: {SPEC}"))
        self.assertEqual("", self.goes("w1", "arch", WORM))
        said = self.house.send("arch", "broadcast", f"w1 says: {WORM}")
        self.assertRegex(said["held"], r"would have reached \d+ sessions")
        self.assertIn("in your own words", said["message"])
        self.assertEqual([], self.house.texts("w5"))

    def test_a_copy_of_the_architects_words_counts(self) -> None:
        self.assertEqual("", self.goes("arch", "broadcast", SPEC))
        self.assertEqual(["", "", ""], [self.goes("w1", to, f"Arch has said: {SPEC}") for to in ("w2", "w3", "w4")])
        self.assertIn("4 sessions", self.goes("w1", "w5", SPEC))

    def test_the_persons_word_goes_to_all_and_the_architect_may_tell_it_on(self) -> None:
        self.assertEqual("", self.goes(PERSON, "arch", SPEC))
        self.assertEqual("", self.goes("arch", "broadcast", f"The person says: {SPEC}"))
        self.assertEqual("", self.goes("w1", "arch", WORM))
        self.assertEqual("", self.goes(PERSON, "broadcast", WORM), "whatever the person tells on")
        self.assertEqual("", self.goes(PERSON, "w1", WORM, sender_id="w2"), "also in a peer's name")

    def test_a_call_for_help_reaches_who_leads_and_nobody_else(self) -> None:
        self.test_three_have_it_and_a_fourth_does_not()
        said = self.house.send("w3", "w6", f"I am told: {WORM}", "blocker")
        self.assertIn("held", said)
        self.assertEqual(([], 1), (self.house.texts("w6"), len(self.house.texts("arch"))))
        self.assertEqual("open", self.house.value("SELECT state FROM escalations WHERE id = ?", said["escalation_id"]))
        self.assertIn("held", self.house.send("w3", "w6", WORM, "error"))
        self.assertEqual([0, 1], [len(self.house.texts(one)) for one in ("w8", "arch")])
        self.house.post("w4", "/escalations", kind="blocker", text=f"What am I to do with this? {WORM}")
        self.assertEqual(1, len(self.house.texts("arch")))

    def test_after_ten_minutes_it_is_news_again(self) -> None:
        self.assertEqual(["", ""], [self.goes("w1", "w2"), self.goes("w2", "w3")])
        self.house.pass_time(601, "arch", *WORKERS)
        self.assertEqual(["", ""], [self.goes("w3", "w4"), self.goes("w1", "w5")])

    def test_it_is_looked_for_among_what_was_offered_last_however_much_there_was_before(self) -> None:
        for number in range(3 * strains.AMONG):
            self.house.send("w3", "w2", f"a note of its own, number {number}, on the {number * 7}th line of the file that we share")
        self.assertEqual(["", ""], [self.goes("w1", "w2"), self.goes("w2", "w3")])
        self.assertIn("third session", self.goes("w3", "w4"))


class WhatIsNoSpreading(OfAText):
    def test_an_answer_to_who_sent_it_or_wrote_it_may_quote_all_of_it(self) -> None:
        self.assertEqual(["", ""], [self.goes("w1", "w2"), self.goes("w2", "w3")])
        for to in ("w2", "w1"):
            self.assertEqual("", self.goes("w3", to, f"You write: {WORM} I shall not do that."))
        self.assertEqual("", self.goes("w2", "w1", WORM))
        self.assertIn("third", self.goes("w3", "w4"))

    def test_once_it_is_held_one_answer_may_still_quote_it_and_two_do_not_play_ball_with_it(self) -> None:
        self.assertEqual(["", ""], [self.goes("w1", "w2"), self.goes("w2", "w3")])
        self.assertIn("third", self.goes("w3", "w4"))
        self.assertEqual("", self.goes("w3", "w2", f"You write: {WORM} I shall not do that."))
        for sender, to in (("w2", "w3"), ("w3", "w2"), ("w2", "w3")):
            self.assertIn("waits for the person", self.goes(sender, to, f"And I say: {WORM}"))

    def test_telling_the_person_is_none(self) -> None:
        self.goes("w1", "w2")
        for sender in ("w2", "w1"):
            self.assertEqual("", self.goes(sender, PERSON, f"This goes round: {WORM}"))
        self.assertEqual(["", ""], [self.goes("w2", "w3"), self.goes("w2", "w4")])

    def test_what_many_say_by_themselves_is_none(self) -> None:
        report = "All tests pass on my branch; it is rebased onto main and pushed, and there is nothing left of mine to be merged."
        self.assertEqual([""] * 8, [self.goes(one, "arch", report) for one in WORKERS])
        self.assertEqual([""] * 8, [self.goes(one, "arch", "tests pass") for one in WORKERS])

    def test_what_all_send_back_to_the_architect_is_none(self) -> None:
        self.goes("arch", "broadcast", SPEC)
        self.assertEqual([""] * 8, [self.goes(one, "arch", f"Done as you said: {SPEC}") for one in WORKERS])

    def test_a_few_words_may_go_to_everybody(self) -> None:
        self.assertEqual([""] * 7, [self.goes("w1", to, "please rebase, main has moved") for to in WORKERS[1:]])

    def test_the_same_text_to_the_same_three_again_reaches_nobody_new(self) -> None:
        self.assertEqual([""] * 6, [self.goes("w1", to) for to in ("w2", "w3", "w4") * 2])


class ThePerson(OfAText):
    def setUp(self) -> None:
        super().setUp()
        for to in ("w2", "w3", "w4"):
            self.goes("w1", to)
        self.held = [self.house.send(sender, to, f"{word} {WORM}")["message_id"]
                     for sender, to, word in (("w1", "w5", "a"), ("w2", "w6", "b"), ("w3", "w7", "c"), ("w2", "arch", "d"))]  # fmt: skip

    def test_is_told_once_on_the_page_and_by_mail(self) -> None:
        shown = self.attention("held")
        self.assertEqual((1, 4), (len(shown), shown[0]["copies"]))
        self.assertEqual("A text spreads: 4 copies of w1, w2, w3 held back", shown[0]["title"])
        self.assertIn("would have reached 4 sessions", shown[0]["reason"])
        self.assertEqual([], self.attention("unread"), "the mail is not shown beside it")
        self.assertEqual(1, len(self.alerts()))
        self.assertIn(f"c2-lattice release-held {self.held[0]}", self.alerts()[0])

    def test_lets_it_through_with_all_its_copies_for_good(self) -> None:
        said = self.house.post(PERSON, f"/messages/{self.held[2]}/release", verdict="let_through")
        self.assertEqual(self.held, said["messages"])
        self.assertEqual([1, 1, 1, 1], [len(self.house.texts(one)) for one in ("w5", "w6", "w7", "arch")])
        self.assertEqual(["", ""], [self.goes("w7", "w8"), self.goes("arch", "broadcast")])
        self.assertEqual(([], ["finding from arch"]), (self.attention("held"), [one["title"] for one in self.attention("unread")]))

    def test_stops_it_and_every_sender_is_told_once_and_further_copies_are_refused(self) -> None:
        self.house.post(PERSON, f"/messages/{self.held[0]}/release", verdict="stop")
        self.assertEqual(["dead"] * 4, [self.house.state(one, to) for one, to in zip(self.held, ("w5", "w6", "w7", "arch"), strict=True)])
        self.assertEqual(
            [f"stopped by the person: your messages {self.held[1]}, {self.held[3]}. That text is not to be passed on"],
            self.house.texts("w2"),
        )
        self.refused(403, "w3", "/send", {"recipient_id": "w8", "category": "finding", "content": WORM}, code="stopped")
        self.assertEqual("", self.goes("w3", "w1", f"It was stopped: {WORM}"), "to its author")
        self.assertEqual([], self.attention("held"))

    def test_is_not_buried_under_copies(self) -> None:
        for number in range(strains.MOST_HELD - len(self.held)):
            self.assertIn("held", self.house.send("w2", "w8", f"{number} {WORM}"))
        self.refused(403, "w2", "/send", {"recipient_id": "w8", "category": "finding", "content": WORM}, code="stopped")
        self.assertEqual((1, 1), (len(self.attention("held")), len(self.alerts())))

    def test_held_for_another_reason_is_held_alone(self) -> None:
        for _ in range(4):
            said = self.house.send("w5", "w6", "the same few words")
        self.assertEqual(2, len(self.attention("held")))
        released = self.house.post(PERSON, f"/messages/{said['message_id']}/release", verdict="let_through")
        self.assertEqual([said["message_id"]], released["messages"])
        self.assertEqual(1, len(self.attention("held")))

    def test_the_log_holds_what_was_decided(self) -> None:
        self.house.post(PERSON, f"/messages/{self.held[0]}/release", verdict="stop")
        logged = [one for one in self.house.get("viewer", "/events?follow=false&limit=1000")["events"] if one["kind"] == "strain"]
        self.assertEqual(["held", "held", "stopped"], [one["data"]["state"] for one in logged])
        self.assertEqual(PERSON, logged[-1]["actor"])


class WhatItCosts(OfAText):
    def test_a_message_is_compared_with_a_bounded_number_of_others(self) -> None:
        """Behind a full window a message costs at most some milliseconds more than one that is too short to be looked at."""
        for number in range(80):
            self.house.send("w2", "w1", f"{number} " + " ".join(f"word{(number * 97 + at * at) % 4999}" for at in range(60)))
        self.read_all("w1")
        cost = []
        for words in ("a few words", SPEC):
            before = time.process_time()
            for number in range(40):
                self.house.send("w1", f"w{number % 3 + 2}", f"{number} of mine: {words} {number * 31} {number * 17}")
            cost.append((time.process_time() - before) / 40)
        self.assertLess(cost[1] - cost[0], 0.010)


if __name__ == "__main__":
    unittest.main()
