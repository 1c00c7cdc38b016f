"""A message on its way: whatever happens to the session that it is for, it is never lost, and never called read before it was."""

from __future__ import annotations

import os
import random
import socket
import tempfile
import time
import unittest
from collections.abc import Callable
from typing import Any

from lattice.agent.mail import PROOF_AFTER_S
from tests.broker.broking import BrokerCase
from tests.clients.inbox import Inbox
from tests.running import Broker, Peer, Session, chance, figure, until


class Delivery(unittest.TestCase):
    """A sends over HTTP; B is a real MCP server, which a client drives over stdio."""

    time_bound_s = 180.0

    def setUp(self) -> None:
        self.broker = self.enterContext(Broker())
        self.a = self.broker.enrol("a")
        beating = self.broker.beat_all([self.a])
        self.addCleanup(beating.close)
        self.hook = Hooks(self.broker)

    def session(self, **environ: str) -> Session:
        session = Session(self.broker.home, C2_LATTICE_PORT=str(self.broker.port), PEER_ID="b", **environ)
        self.addCleanup(session.close)
        session.initialize()
        until(lambda: session.call("list_peers")["your_id"] == "b", "it is b")
        return session

    def send(self, content: str = "look at the parser") -> int:
        return int(self.a.post("/send", {"recipient_id": "b", "category": "finding", "content": content})["message_id"])

    def receipt(self, message: int) -> dict[str, Any]:
        return self.a.get(f"/receipts/{message}")["deliveries"][0]  # type: ignore[no-any-return]

    def state(self, message: int) -> str:
        return str(self.receipt(message)["state"])


class Hooks:
    """What a client's PostToolUse hook says to the broker, with the session's own token."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker

    def ran(self, tool_use_id: str, event: str = "PostToolUse") -> dict[str, Any]:
        import json

        path = os.path.join(self.broker.state, "sessions", f"b@{self.broker.port}.json")
        with open(path, encoding="utf-8") as file:
            token = json.load(file)["token"]
        return self.broker.adopt(Peer(self.broker.port, "b", token)).post("/hook", {"event": event, "tool_use_id": tool_use_id})


class KilledOnTheWay(Delivery):
    """B is killed between the commit and its next request, at each point of it, again and again."""

    def test_the_message_is_never_lost_each_repeat_says_so_and_read_is_never_claimed_too_early(self) -> None:
        rounds, luck = figure(10, 50, 50), chance(self)
        points: list[Callable[[Session, random.Random], tuple[int, int]]] = [
            self.before_it_is_told, self.while_it_takes, self.after_it_has_taken, self.at_a_call_side_by_side, self.at_a_call_too_soon,
            self.at_the_proof,
        ]  # fmt: skip
        took: list[float] = []
        b = self.session()
        for number in range(rounds):
            point = points[number % len(points)] if number < len(points) else luck.choice(points)
            with self.subTest(round=number, point=point.__name__):
                self.message = self.send(f"round {number}")
                fewest, most = point(b, luck)
                b.kill()
                state = self.state(self.message)
                if point != self.at_the_proof:
                    self.assertIn(state, ("queued", "offered"), "nothing has proven that it was read")
                begun = time.monotonic()
                b = self.session()
                said = b.call("check_messages")["messages"]
                if not said and point == self.at_the_proof:  # its last word has reached the broker, before or after we looked
                    self.assertEqual("read", self.state(self.message), "not offered again, and so read")
                    continue
                self.assertNotEqual("read", state)
                self.assertEqual([self.message], [mail["id"] for mail in said], "the same id, once")
                took.append(time.monotonic() - begun)
                again = said[0].get("redelivered", 0)
                self.assertTrue(fewest <= again <= most, f"offered {again} times before, where {fewest} to {most} are right")
                self.assertEqual(again, self.receipt(self.message)["attempts"])
                until(lambda b=b: b.call("list_peers") and self.state(self.message) == "read", "its reading is proven", every_s=0.1)
        took.sort()
        print(f"{rounds} rounds; a new process had its mail after {took[len(took) // 2]:.2f} s (median), {took[-1]:.2f} s (worst)")

    # Each point kills nothing itself; it answers how often the message may have been offered by then.

    def before_it_is_told(self, b: Session, luck: random.Random) -> tuple[int, int]:
        time.sleep(luck.choice((0.0, 0.01, 0.05)))
        return 0, 0

    def while_it_takes(self, b: Session, luck: random.Random) -> tuple[int, int]:
        b.ask("tools/call", {"name": "check_messages", "arguments": {}})
        time.sleep(luck.choice((0.0, 0.001, 0.003, 0.01)))
        return 0, 1

    def after_it_has_taken(self, b: Session, luck: random.Random) -> tuple[int, int]:
        b.call("check_messages")
        time.sleep(luck.choice((0.0, 0.3)))
        return 1, 1

    def at_a_call_side_by_side(self, b: Session, luck: random.Random) -> tuple[int, int]:
        taking = b.ask("tools/call", {"name": "check_messages", "arguments": {}})
        other = b.ask("tools/call", {"name": "list_peers", "arguments": {}})
        b.answer(taking)
        b.answer(other)
        return 1, 1

    def at_a_call_too_soon(self, b: Session, luck: random.Random) -> tuple[int, int]:
        b.call("check_messages")
        b.ask("tools/call", {"name": "list_peers", "arguments": {}})  # sent before the client can have shown the result to anybody
        time.sleep(luck.choice((0.0, 0.05)))
        return 1, 1

    def at_the_proof(self, b: Session, luck: random.Random) -> tuple[int, int]:
        b.call("check_messages")
        time.sleep(PROOF_AFTER_S + 0.02)
        b.ask("tools/call", {"name": "list_peers", "arguments": {}})
        time.sleep(luck.choice((0.0, 0.002, 0.02)))
        return 1, 1


class WhatProves(Delivery):
    def setUp(self) -> None:
        super().setUp()
        self.b = self.session()
        self.message = self.send()

    def take(self, meta: dict[str, object] | None = None) -> None:
        said = self.b.request("tools/call", {"name": "check_messages", "arguments": {}, **({"_meta": meta} if meta else {})})
        self.assertEqual([self.message], [mail["id"] for mail in said["structuredContent"]["messages"]])
        self.assertEqual("offered", self.state(self.message))

    def test_a_later_call_of_a_tool_proves_it_and_the_receipt_says_by_what(self) -> None:
        self.take()
        time.sleep(PROOF_AFTER_S + 0.02)
        self.b.call("list_peers")
        until(lambda: self.state(self.message) == "read", "the later call proves it")
        self.assertEqual(("tool", "tool"), (self.receipt(self.message)["way"], self.receipt(self.message)["proof"]))

    def test_parallel_calls_a_ping_a_listing_and_a_cancellation_prove_nothing(self) -> None:
        taking = self.b.ask("tools/call", {"name": "check_messages", "arguments": {}})
        side = [self.b.ask("tools/call", {"name": "list_tasks", "arguments": {}}) for _ in range(5)]
        for id in (taking, *side):
            self.b.answer(id)
        time.sleep(PROOF_AFTER_S + 0.05)
        self.b.request("ping")
        self.b.request("tools/list")
        self.b.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": taking}})
        self.b.request("ping")
        self.assertEqual("offered", self.state(self.message))

    def test_a_cancelled_call_gives_its_mail_back_and_the_next_call_has_it_again(self) -> None:
        self.broker.freeze()
        id = self.b.ask("tools/call", {"name": "check_messages", "arguments": {}})
        time.sleep(0.2)  # begun, and waiting for the broker
        self.b.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}})
        self.b.request("ping")
        self.broker.thaw()
        until(lambda: self.receipt(self.message)["attempts"] == 1 and self.state(self.message) == "queued", "it is back")
        said = self.b.call("check_messages")["messages"]
        self.assertEqual([(self.message, 1)], [(mail["id"], mail["redelivered"]) for mail in said])

    def test_the_clients_hook_for_that_very_call_proves_it_and_that_of_another_does_not(self) -> None:
        self.take({"claudecode/toolUseId": "toolu_mail"})
        self.hook.ran("toolu_other")
        self.assertEqual("offered", self.state(self.message))
        self.assertEqual(1, self.hook.ran("toolu_mail")["proven"])
        self.assertEqual(("read", "hook PostToolUse"), (self.state(self.message), self.receipt(self.message)["proof"]))
        time.sleep(PROOF_AFTER_S + 0.02)
        self.b.call("list_peers")  # which would prove it as well: whichever comes first
        self.assertEqual("hook PostToolUse", self.receipt(self.message)["proof"])

    def test_a_subagents_call_counts_as_its_sessions(self) -> None:
        self.take({"claudecode/toolUseId": "toolu_of_the_subagent"})
        self.assertEqual(1, self.hook.ran("toolu_of_the_subagent")["proven"])
        self.assertEqual([], self.b.call("check_messages")["messages"], "the session itself is not offered it again")

    def test_the_flag_is_up_for_the_hook_that_will_prove_it_and_down_after(self) -> None:
        flag = os.path.join(self.broker.state, "flags", str(os.getpid()))
        self.take({"claudecode/toolUseId": "toolu_mail"})
        with open(flag, encoding="utf-8") as file:
            self.assertIn("proof", file.read())
        self.hook.ran("toolu_mail")
        self.assertFalse(os.path.exists(flag))

    def test_the_flag_is_down_too_when_a_reply_came_before_the_proof(self) -> None:
        self.take({"claudecode/toolUseId": "toolu_mail"})
        self.b.call("send_message", recipient_id="a", category="finding", content="it is right", reply_to=self.message)
        self.assertFalse(os.path.exists(os.path.join(self.broker.state, "flags", str(os.getpid()))))

    def test_all_its_mail_of_a_broadcast_and_of_many_senders_is_proven_by_one_call(self) -> None:
        more = [self.send(f"number {number}") for number in range(4)]
        self.assertEqual([self.message, *more], [mail["id"] for mail in self.b.call("check_messages")["messages"]])
        time.sleep(PROOF_AFTER_S + 0.02)
        self.b.call("list_peers")
        until(lambda: all(self.state(one) == "read" for one in more), "all are read")

    def test_a_reply_is_acting_on_it(self) -> None:
        self.take()
        self.b.call("send_message", recipient_id="a", category="finding", content="the parser is right", reply_to=self.message)
        self.assertEqual("acted", self.state(self.message))


@unittest.skipUnless(hasattr(socket, "AF_UNIX"), "this platform has no AF_UNIX sockets")
class AnIdleSessionIsTold(Delivery):
    def test_within_fifty_milliseconds_of_the_senders_answer_by_a_notice_without_the_text(self) -> None:
        inbox = self.enterContext(Inbox(self.enterContext(tempfile.TemporaryDirectory())))
        b = self.session(**inbox.environ)
        late: list[float] = []
        for number in range(figure(5, 20)):
            message = self.send(f"the secret plan {number}")
            sent = time.monotonic()
            until(lambda n=number: len(inbox.lines) > n, "a notice")
            at, _, text = inbox.lines[number]
            late.append(at - sent)
            self.assertRegex(text, r"^c2-lattice: 1 unread message \(from a\): call check_messages \[notice \d+\]$")
            self.assertEqual("queued", self.state(message), "a notice hands nothing over")
            self.assertEqual([message], [mail["id"] for mail in b.call("check_messages")["messages"]])
            time.sleep(1.05)  # the next notice may go out at once again
        late.sort()
        print(f"a notice after {late[len(late) // 2] * 1000:.1f} ms (median), {late[-1] * 1000:.1f} ms (worst) of {len(late)}")
        self.assertLess(late[len(late) // 2], 0.05)


class FiveTries(BrokerCase):
    def setUp(self) -> None:
        super().setUp()
        self.house.enrol("a")
        self.house.enrol("b", process="first")

    def test_five_offers_without_proof_are_enough_the_sender_hears_it_and_the_next_life_gets_it_again(self) -> None:
        message = self.house.send("a", "b", "important")["message_id"]
        for tried in range(5):
            mail = self.house.take("b")
            self.assertEqual([(message, tried)], [(one["id"], one["redelivered"]) for one in mail])
            self.house.post("b", "/inbox/return", receipts=[mail[0]["receipt"]], reason="the call was cancelled")
        self.assertEqual([], self.house.take("b"))
        found = self.house.get("a", f"/receipts/{message}")["deliveries"][0]
        self.assertEqual(("dead", 5), (found["state"], found["attempts"]))
        self.assertEqual("offered 5 times without proof; last: the call was cancelled", found["reason"])
        self.assertEqual([f"message {message} did not reach b: {found['reason']}"], self.house.texts("a"))
        self.house.post("b", "/leave", process="first")
        self.house.enrol("b", process="second")
        self.assertEqual([(message, 5)], [(one["id"], one["redelivered"]) for one in self.house.take("b")])

    def test_ten_quiet_minutes_after_the_mail_are_no_reason_to_offer_it_again(self) -> None:
        message = self.house.send("a", "b")["message_id"]
        self.house.take("b", process="first")
        self.house.pass_time(600, "a", "b")
        self.assertEqual([], self.house.take("b"))
        self.assertEqual("offered", self.house.state(message, "b"))
        self.house.post("b", "/leave", process="first")
        self.house.enrol("b", process="second")
        self.assertEqual([(message, 1)], [(one["id"], one["redelivered"]) for one in self.house.take("b")])


if __name__ == "__main__":
    unittest.main()
