"""Talk that leads nowhere is held, and shown to the person; honest work never is."""

from __future__ import annotations

import unittest
from typing import Any

from lattice.domain import chains
from tests.broker.broking import PERSON, BrokerCase
from tests.domain.dialogues import DIALOGUES, EMPTY, SAYING, deeds

PEOPLE = ("ann", "bob", "cid")


class Play:
    """Plays a dialogue as the sessions would: each reads its mail before it does anything."""

    def __init__(self, case: BrokerCase) -> None:
        self.house = case.house
        self.house.enrol("arch", "architect")
        for one in PEOPLE:
            self.house.enrol(one)
        self.tasks: dict[str, int] = {}
        self.newest: dict[tuple[str, str], int] = {}  # (reader, sender) -> the newest message
        self.said: list[tuple[str, dict[str, Any]]] = []  # (line, answer) of each message

    def line(self, line: str) -> None:
        who, deed, rest = line.split(" ", 2) if line.count(" ") > 1 else (*line.split(" "), "")
        for _ in range(2):
            self.house.clock.advance(10)
            self.house.beat("arch", *PEOPLE)
        self.house.sweep.tick()
        who = PERSON if who == "person" else who
        if who != PERSON:
            for mail in self.house.take(who):
                self.newest[who, mail["from"]] = mail["id"]
                self.house.post(who, "/inbox/ack", receipts=[mail["receipt"]])
        if deed in (">", ">>"):
            self.send(line, who, rest, is_new=deed == ">>")
        else:
            getattr(self, deed)(who, rest)

    def send(self, line: str, who: str, rest: str, *, is_new: bool) -> None:
        head, _, text = rest.partition(": ")
        to, category = head.split(" ")
        body: dict[str, Any] = {"recipient_id": to, "category": "status_update" if category == "ack" else category, "content": text}
        if not is_new and (who, to) in self.newest:
            body["reply_to"] = self.newest[who, to]
        self.said.append((line, self.house.post(who, "/send", **body)))

    def task(self, who: str, title: str) -> None:
        self.tasks[title] = self.house.task(who, title)

    def claim(self, who: str, title: str) -> None:
        self.house.post(who, "/tasks/claim", task_id=self.tasks[title])

    def complete(self, who: str, title: str) -> None:
        self.house.complete(who, self.tasks[title])

    def release(self, who: str, title: str) -> None:
        self.house.post(who, f"/tasks/{self.tasks[title]}/release")

    def lock(self, who: str, path: str) -> None:
        self.house.post(who, "/lock", file_path=path, base="/repo")

    def unlock(self, who: str, path: str) -> None:
        self.house.post(who, "/unlock", file_path=path, base="/repo")

    def remember(self, who: str, rest: str) -> None:
        key, _, value = rest.partition(" = ")
        self.house.post(who, "/memory", key=key, value=value)

    def blocker(self, who: str, text: str) -> None:
        self.house.post(who, "/escalations", kind="blocker", text=text)

    def review(self, who: str, rest: str) -> None:
        title, _, text = rest.partition(": ")
        self.house.post(who, "/escalations", kind="review", text=text, task_id=self.tasks[title])

    def resolve(self, who: str, rest: str) -> None:
        verdict, _, answer = rest.partition(": ")
        newest = self.house.get(who, "/escalations?state=open")["escalations"][0]["id"]
        self.house.post(who, f"/escalations/{newest}/resolve", verdict=verdict, answer=answer)

    def prompt(self, who: str, _: str) -> None:
        self.house.post(who, "/hook", event="UserPromptSubmit")


class HonestWork(BrokerCase):
    def test_none_of_the_honest_dialogues_is_held_and_only_their_empty_acknowledgements_fold(self) -> None:
        self.assertGreaterEqual(len(DIALOGUES), 20)
        messages = folded = 0
        for name, text in DIALOGUES.items():
            with self.subTest(dialogue=name):
                self.doCleanups()
                self.setUp()
                play = Play(self)
                for line in deeds(text):
                    play.line(line.strip())
                for line, answer in play.said:
                    self.assertNotIn("held", answer, line)
                    self.assertEqual(" ack: " in line, bool(answer.get("folded")), line)
                messages += len(play.said)
                folded += sum(bool(answer.get("folded")) for _, answer in play.said)
        print(f"{len(DIALOGUES)} dialogues, {messages} messages: none held, {folded} empty acknowledgements folded")

    def test_what_says_something_never_folds(self) -> None:
        for text in SAYING:
            self.assertFalse(chains.is_empty_ack(text, "status_update"), text)

    def test_what_says_nothing_does_where_it_answers_nothing(self) -> None:
        for text in EMPTY:
            self.assertTrue(
                chains.is_empty_ack(text, "status_update") and chains.answers_nothing(text, "The build is green.", "finding"), text
            )

    def test_no_word_is_empty_where_something_was_asked(self) -> None:
        wishes = {
            "finding": "May I?",
            "question": "Which one",
            "review_request": "look at it",
            "alert": "main is broken",
            "blocker": "stuck",
        }
        for category, asked in wishes.items():
            for text in EMPTY:
                self.assertFalse(chains.answers_nothing(text, asked, category), (text, asked))

    def test_agreeing_says_something_to_who_proposed_and_nothing_to_who_agreed(self) -> None:
        for text in ("Agreed.", "Yes", "Sounds good!", "LGTM", "Sure, thanks"):
            self.assertFalse(chains.answers_nothing(text, "I propose UTC.", "finding"), text)
            self.assertTrue(chains.answers_nothing(text, "Sounds good!", "finding"), text)

    def test_an_acknowledgement_is_told_to_who_makes_it_and_stands_on_the_receipt(self) -> None:
        self.house.crew("w1", "w2")
        sent = self.house.send("w1", "w2", "The build is green.")["message_id"]
        self.house.texts("w2")
        said = self.house.send("w2", "w1", "Thanks!", "status_update", reply_to=sent)
        self.assertTrue(said["folded"])
        self.assertEqual([], self.house.texts("w1"))
        found = self.house.get("w1", f"/receipts/{sent}")["deliveries"][0]
        self.assertEqual(("acted", "acknowledged: Thanks!"), (found["state"], found["reason"]))


class TalkThatLeadsNowhere(BrokerCase):
    def setUp(self) -> None:
        super().setUp()
        self.house.crew("w1", "w2", "w3")

    def talk(self, *who: str, most: int = 40, between: Any = None, reply: bool = True, category: str = "finding") -> int:
        """Each in turn answers the one before it, in new words; how many messages went through until one was held."""
        previous = 0
        for count in range(most):
            sender, to = who[count % len(who)], who[(count + 1) % len(who)]
            self.house.clock.advance(20)
            body: dict[str, Any] = {"reply_to": previous} if previous and reply else {}
            answer = self.house.send(sender, to, f"and what about point {count}, seen from the other side?", category, **body)
            if "held" in answer:
                self.assertRegex(answer["message"], "held, and shown to the person")
                self.held = answer
                return count
            previous = answer["message_id"]
            self.house.texts(to)
            if between:
                between(count)
        return most

    def test_three_rounds_of_two_are_enough(self) -> None:
        self.assertEqual(6, self.talk("w1", "w2"))
        self.assertIn("3 rounds between w1, w2", self.held["held"])

    def test_three_rounds_of_three_too(self) -> None:
        self.assertEqual(9, self.talk("w1", "w2", "w3"))

    def test_twelve_hops_are_enough_whoever_speaks(self) -> None:
        for number in range(4, 9):
            self.house.enrol(f"w{number}")
        self.assertEqual(12, self.talk("w1", "w2", "w3", "w4", "w5", "w6", "w7", "w8"))
        self.assertIn("12 messages in a chain", self.held["held"])

    def test_a_chain_is_seen_without_reply_to_by_what_the_session_was_shown_last(self) -> None:
        self.assertEqual(6, self.talk("w1", "w2", reply=False))

    def test_something_useful_by_one_of_them_begins_anew(self) -> None:
        deeds = {
            "a task": lambda count: self.house.task("w1"),
            "a lock": lambda count: self.house.post("w2", "/lock", file_path=f"/src/{count}"),
            "a memory": lambda count: self.house.post("w1", "/memory", key="k", value=str(count)),
            "a call for help": lambda count: self.house.post("w2", "/escalations", kind="blocker", text="stuck"),
        }
        for name, deed in deeds.items():
            with self.subTest(name):
                self.assertEqual(40, self.talk("w1", "w2", between=lambda count, deed=deed: deed(count) if count % 5 == 4 else None))

    def test_something_useful_by_somebody_else_does_not(self) -> None:
        self.assertEqual(6, self.talk("w1", "w2", between=lambda count: self.house.task("w3")))

    def test_a_word_of_the_person_to_one_of_them_or_a_prompt_begins_anew(self) -> None:
        def word(count: int) -> None:
            if count % 5 == 4:
                self.house.send(PERSON, "w1", "go on")
                self.house.texts("w1")

        self.assertEqual(40, self.talk("w1", "w2", between=word))
        prompted = lambda count: self.house.post("w2", "/hook", event="UserPromptSubmit") if count % 5 == 4 else None  # noqa: E731
        self.assertEqual(40, self.talk("w1", "w2", between=prompted))
        self.assertEqual(6, self.talk("w1", "w2", between=lambda count: self.house.send(PERSON, "w3", "a word to another")))

    def test_what_was_useful_before_the_clock_was_set_back_lets_no_talk_go_on_for_an_hour(self) -> None:
        for act in (lambda: self.house.task("w1"), lambda: self.house.send(PERSON, "w1", "go on")):
            act()
            self.house.clock._now -= 3600
            self.house.sweep.tick()
            self.house.texts("w1")
            self.assertLessEqual(self.talk("w1", "w2", reply=False), 7)

    def test_blockers_and_reviews_always_pass_and_an_error_once(self) -> None:
        self.talk("w1", "w2")
        for category in (*chains.ALWAYS_PASS, "error"):
            self.assertNotIn("held", self.house.send("w1", "w2", f"now really, {category}", category))

    def test_errors_that_answer_errors_are_held_as_other_talk_is(self) -> None:
        """An error reaches all, so two sessions that answer each other's would wake everybody for ever."""
        self.assertEqual(6, self.talk("w1", "w2", category="error"))
        for _ in range(chains.SAME_TEXT - 1):
            self.assertNotIn("held", self.house.send("w3", "arch", "disk full", "error"))
        self.assertIn("4th time", self.house.send("w3", "arch", "disk full", "error")["held"])

    def test_the_fourth_identical_text_within_ten_minutes_is_held(self) -> None:
        for text in ("please look", "Please look!", "please  LOOK"):
            self.assertNotIn("held", self.house.send("w1", "w2", text))
        self.assertNotIn("held", self.house.send("w1", "w3", "please look"), "to another")
        self.assertIn("4th time", self.house.send("w1", "w2", "please, look.")["held"])
        self.house.pass_time(601, "arch", "w1", "w2", "w3")
        self.assertNotIn("held", self.house.send("w1", "w2", "please look"))

    def test_held_mail_reaches_nobody_until_the_person_lets_it_through_and_a_new_chain_begins_there(self) -> None:
        self.talk("w1", "w2")
        held = self.held["message_id"]
        self.assertEqual(("held", []), (self.house.state(held, "w2"), self.house.texts("w2")))
        self.refused(403, "arch", f"/messages/{held}/release", code="role")
        self.house.post(PERSON, f"/messages/{held}/release", verdict="let_through")
        self.assertEqual(1, len(self.house.texts("w2")))
        self.assertNotIn("held", self.house.send("w2", "w1", "and so on", reply_to=held))

    def test_a_notice_of_the_broker_beside_the_mail_does_not_cut_the_chain(self) -> None:
        count = 0
        for count in range(20):
            sender, to = ("w1", "w2")[count % 2], ("w2", "w1")[count % 2]
            self.house.clock.advance(20)
            if "held" in self.house.send(sender, to, f"and what about point {count}?"):
                break
            self.house.post("w3", "/lock", file_path=f"/x/{count}")
            self.house.post(to, "/lock", file_path=f"/x/{count}", queue=True)
            self.house.post("w3", "/unlock", file_path=f"/x/{count}")  # a notice for `to`, after the mail
            self.assertEqual(2, len(self.house.texts(to)))
        self.assertEqual(6, count)

    def test_the_persons_word_in_a_peers_name_is_a_human_word(self) -> None:
        self.talk("w1", "w2", most=6)
        said = self.house.send(PERSON, "w2", "do it like this", sender_id="w1")
        self.house.texts("w2")
        self.assertNotIn("held", self.house.send("w2", "w1", "and so on", reply_to=said["message_id"]))
        self.assertEqual(0, self.house.value("SELECT hops FROM messages ORDER BY id DESC LIMIT 1"))

    def test_texts_of_signs_alone_are_compared_as_signs(self) -> None:
        for text in ("???", "!!!", "...", "???", "!!!", "...", "???"):
            self.assertNotIn("held", self.house.send("w1", "w2", text, "question"))
        self.assertIn("held", self.house.send("w1", "w2", "? ??", "question"))

    def test_mail_for_an_architect_that_is_let_through_reaches_the_one_who_is_there_then(self) -> None:
        self.house.post(PERSON, "/seat", peer_id="", workspace="shop")
        for _ in range(4):
            held = self.house.send("w1", "@architect", "please look")["message_id"]
        self.assertEqual("held", self.house.state(held, "@architect"))
        self.house.enrol("new-arch", "architect")
        self.assertEqual(3, len(self.house.texts("new-arch")))
        self.house.post(PERSON, f"/messages/{held}/release")
        self.assertEqual(["please look"], self.house.texts("new-arch"))

    def test_held_mail_that_the_person_stops_is_dead_and_its_sender_hears_it(self) -> None:
        self.talk("w1", "w2")
        held = self.held["message_id"]
        self.house.post(PERSON, f"/messages/{held}/release", verdict="stop")
        self.assertEqual("dead", self.house.state(held, "w2"))
        self.assertEqual([f"message {held} did not reach w2: stopped by the person"], self.house.texts("w1"))
        self.refused(404, PERSON, f"/messages/{held}/release", {"verdict": "let_through"})


if __name__ == "__main__":
    unittest.main()
