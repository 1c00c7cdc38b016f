"""The log: one or more events per write, in its transaction; the chain shows damage; folded, it is the tables."""

from __future__ import annotations

import json
import random
import unittest
from typing import Any
from unittest import mock

from lattice.domain import events
from lattice.domain.caller import BROKER
from tests.broker.broking import PERSON, BrokerCase, House
from tests.broker.examples import EXAMPLES

SEEDS = (1, 20_261_120)
STEPS = 220


def wander(house: House, dice: random.Random, steps: int) -> dict[int, int]:
    """Every write operation in a random order, with likely and unlikely values. Answers how often which status."""
    people = ["arch", "w1", "w2", "w3"]
    receipts: dict[str, list[str]] = {id: [] for id in people}
    statuses: dict[int, int] = {}

    def some(limit: int) -> int:
        return dice.randrange(1, limit + 1)

    def one(of: list[str]) -> str:
        return dice.choice(of)

    writes: list[Any] = [
        lambda who: (
            "/tasks",
            {
                "title": f"t{some(99)}",
                "blocked_by": [some(30)] * dice.randrange(2),
                "run_id": dice.choice([None, "r1", "r2"]),
                "needs_review": dice.random() < 0.2,
            },
        ),
        lambda who: ("/tasks", {"title": f"t{some(99)}"}),
        lambda who: ("/tasks/batch", {"tasks": [{"title": "a"}, {"title": "b", "blocked_by": [-1]}]}),
        lambda who: ("/tasks/claim", {"task_id": some(30)}),
        lambda who: ("/tasks/claim", {"task_id": some(8)}),
        lambda who: (
            "/tasks/complete",
            {"task_id": some(20), "artifacts": {"summary": "s"}, "outcome": one(["done", "done", "failed", "released"])},
        ),
        lambda who: (f"/tasks/{some(30)}/cancel", {"reason": "r"}),
        lambda who: (f"/tasks/{some(30)}/edit", {"title": "new", "priority": one(["high", "low"])}),
        lambda who: (f"/tasks/{some(30)}/assign", {"peer_id": one([*people, ""])}),
        lambda who: (f"/tasks/{some(30)}/depend", {"add": [some(30)], "remove": [some(30)]}),
        lambda who: (
            "/lock",
            {
                "file_path": f"/src/{some(6)}.py",
                "shared": dice.random() < 0.3,
                "queue": dice.random() < 0.3,
                "ttl_s": dice.choice([None, 5]),
            },
        ),
        lambda who: ("/unlock", {"file_path": f"/src/{some(6)}.py"}),
        lambda who: ("/memory", {"key": f"k{some(4)}", "value": f"v{some(99)}", "expect_version": dice.choice([None, some(5)])}),
        lambda who: (
            "/send",
            {
                "recipient_id": one([*people, "broadcast", "@architect", PERSON]),
                "category": one(["finding", "blocker", "error", "question"]),
                "content": f"c{some(500)}",
            },
        ),
        lambda who: ("/send", {"recipient_id": one(people), "category": "finding", "content": f"c{some(500)}", "reply_to": some(40)}),
        lambda who: ("/inbox/take", {}),
        lambda who: ("/inbox/ack", {"receipts": receipts[who][: some(3)] or ["none"]}),
        lambda who: ("/inbox/return", {"receipts": receipts[who][: some(3)] or ["none"]}),
        lambda who: ("/escalations", {"kind": one(["blocker", "review"]), "text": "help", "task_id": dice.choice([None, some(20)])}),
        lambda who: (f"/escalations/{some(20)}/resolve", {"verdict": one(["answer", "approve", "changes"])}),
        lambda who: ("/runs", {"id": one(["r1", "r2"]), "name": "n", "status": dice.choice([None, "paused", "completed"])}),
        lambda who: ("/runs/r1/resume", {}),
        lambda who: ("/conversation", {"turn_type": "user", "content": "hi"}),
        lambda who: ("/summary", {"summary": f"s{some(9)}"}),
        lambda who: ("/heartbeat", {"git_branch": one(["main", "fix"]), "tokens_used": some(99)}),
        lambda who: ("/hook", {"event": one(["UserPromptSubmit", "PostToolUse", "Stop"]), "max": 3}),
        lambda who: ("/guard", {"paths": [f"/src/{some(6)}.py"], "auto": dice.random() < 0.5}),
        lambda who: ("/adopt", {"peer_id": one(people)}),
        lambda who: ("/leave", {}),
        lambda who: ("/config", {"peer_id": one(people), "poll_interval_ms": 3000 + some(1000)}),
        lambda who: ("/budget", {"peer_id": one(people), "token_budget": dice.choice([-1, 50])}),
        lambda who: (one(["/pause", "/resume"]), {"peer_id": one(people)}),
        lambda who: (one(["/pause-all", "/resume-all", "/resume-all"]), {}),
        lambda who: ("/seat", {"peer_id": one([*people, ""]), "workspace": "shop"}),
        lambda who: (one(["/kill-peer", "/unregister"]), {"peer_id": one(people)}) if dice.random() < 0.3 else ("/resume-all", {}),
    ]
    for _ in range(steps):
        who = one([*people, PERSON])
        path, body = dice.choice(writes)(who if who != PERSON else "arch")
        status, said = house.ask(who, "POST", path, {name: value for name, value in body.items() if value is not None})
        statuses[status] = statuses.get(status, 0) + 1
        assert status < 500, (path, body, said)
        if path == "/inbox/take" and status == 200 and who in receipts:
            receipts[who] = [mail["receipt"] for mail in said["messages"]]
        if dice.random() < 0.25:
            house.pass_time(some(4))
        if dice.random() < 0.25:
            house.post(PERSON, "/resume-all")
            id = one(people)
            if house.status(id) == "killed":
                house.post(PERSON, "/resume", peer_id=id)
            if house.status(id) != "active":
                house.resumes.pop(id, None)
                house.enrol(id, process=f"p{some(10**9)}")
    return statuses


class OfTheLog(BrokerCase):
    def fold(self) -> events.State:
        return self.house.broker.read(lambda tx: events.state_at(tx, None))[1]  # type: ignore[no-any-return]

    def tables(self) -> events.State:
        return self.house.broker.read(events.tables)  # type: ignore[no-any-return]

    def same(self, about: str = "") -> None:
        folded, there = self.fold(), self.tables()
        for kind in events.FOLDED:
            wrong = {key for key in {*folded[kind], *there[kind]} if folded[kind].get(key) != there[kind].get(key)}
            self.assertEqual({}, {key: (folded[kind].get(key), there[kind].get(key)) for key in wrong}, f"{kind} {about}")


class Folding(OfTheLog):
    def test_fold_is_the_folded_columns_of_the_tables_after_any_sequence_of_writes(self) -> None:
        met: dict[int, int] = {}
        for seed in SEEDS:
            self.house.close()
            self.setUp()
            self.house.crew("w1", "w2", "w3")
            dice = random.Random(seed)
            for part in range(4):
                for status, count in wander(self.house, dice, STEPS // 4).items():
                    met[status] = met.get(status, 0) + count
                self.same(f"seed {seed}, part {part}")
            self.assertTrue(self.house.get(PERSON, "/events/verify")["ok"], f"seed {seed}")
        for status in (200, 403, 404, 409):
            self.assertGreater(met.get(status, 0), 10, met)

    def test_fold_is_the_tables_after_each_single_operation(self) -> None:
        for name, prepare in EXAMPLES.items():
            with self.subTest(operation=name):
                self.house.close()
                self.setUp()
                self.house.crew("w1", "w2")
                who, path, body = prepare(self.house)
                method, _, path = path.rpartition(" ")
                status, said = self.house.ask(who, method or "POST", path, body if not method else None)
                self.assertEqual(200, status, said)
                self.same(name)

    def test_fold_goes_on_from_a_snapshot(self) -> None:
        self.house.crew("w1", "w2", "w3")
        dice = random.Random(3)
        wander(self.house, dice, 40)
        self.house.broker.write(lambda tx: self.assertTrue(events.snapshot_if_due(tx, BROKER, 1)), "snapshot")
        wander(self.house, dice, 40)
        self.same()
        first = self.house.value("SELECT MIN(seq) FROM events WHERE kind = 'snapshot'")
        self.house.change("DELETE FROM events WHERE seq < ?", first)
        self.same("with all before the snapshot gone")
        self.assertTrue(self.house.get(PERSON, "/events/verify")["ok"])

    def piece(self) -> events.Piece:
        written = self.house.broker.write(lambda tx: events.snapshot_if_due(tx, BROKER, 1), "snapshot")
        assert written is not None
        return written

    def test_fold_goes_on_from_a_snapshot_of_several_events_whatever_changes_between_them(self) -> None:
        self.house.crew("w1", "w2", "w3")
        dice = random.Random(7)
        wander(self.house, dice, 120)
        with mock.patch.object(events, "SNAPSHOT_THINGS", 7):
            count, first, then = 1, self.piece(), -1
            last = first
            while last.place is not None:
                self.assertEqual(first.begin, last.begin)
                wander(self.house, dice, 2)
                self.same("while it is being written")
                if count == 3:
                    then = self.house.value("SELECT MAX(seq) FROM events")
                    before = self.house.get(PERSON, f"/state?seq={then}")
                last = self.piece()
                count += 1
        self.assertGreater(count, 5)
        end = self.house.value("SELECT MAX(seq) FROM events WHERE kind = 'snapshot'")
        wander(self.house, dice, 20)
        self.same()
        self.house.change("DELETE FROM events WHERE seq < ?", first.begin)
        self.same("with all before the first of them gone")
        self.assertTrue(self.house.get(PERSON, "/events/verify")["ok"])
        said = self.refused(404, PERSON, f"/state?seq={then}", method="GET")
        self.assertIn(f"event {end}", str(said), "history is whole from the last of them on")
        self.assertTrue(before["state"]["peer"])

    def test_the_log_is_cut_before_a_snapshot_that_is_whole_and_not_within_one(self) -> None:
        self.house.crew("w1", "w2", "w3")
        wander(self.house, random.Random(1), 40)
        cut = lambda: self.house.broker.write(lambda tx: events.forget_old(tx, tx.at + 1), "forget")  # noqa: E731
        with mock.patch.object(events, "SNAPSHOT_THINGS", 7):
            first = self.piece()
            while (last := self.piece()).place is not None:
                self.assertEqual(0, cut(), "it is not whole")
            self.assertEqual(first.begin - 1, cut())
            self.assertEqual(0, cut(), "it begins there")
        self.assertEqual(first.begin, last.begin)
        self.same()

    def test_a_snapshot_of_which_an_event_was_redacted_is_written_anew_at_once(self) -> None:
        self.house.crew("w1", "w2", "w3")
        dice = random.Random(1)
        wander(self.house, dice, 40)
        with mock.patch.object(events, "SNAPSHOT_THINGS", 7):
            first = self.piece()
            second = self.piece()
            self.assertIsNotNone(second.place, "under way")
            self.house.broker.write(lambda tx: events.redact(tx, BROKER, [first.begin]), "redact")
            self.same()
            anew = self.house.value("SELECT MIN(seq) FROM events WHERE kind = 'snapshot' AND seq > ?", first.begin + 1)
            self.house.broker.write(lambda tx: events.forget_old(tx, tx.at + 1), "forget")
        self.assertEqual(anew, self.house.value("SELECT MIN(seq) FROM events"))
        self.same("from the new one")
        self.assertTrue(self.house.get(PERSON, "/events/verify")["ok"])

    def test_a_snapshot_is_made_once_in_so_many_events(self) -> None:
        self.house.crew("w1")
        due = lambda: self.house.broker.write(lambda tx: events.snapshot_if_due(tx, BROKER, 10), "snapshot") is not None  # noqa: E731
        self.assertFalse(due())
        for number in range(10):
            self.house.task("w1", f"t{number}")
        self.assertEqual([True, False], [due(), due()])

    def test_the_state_at_any_event_is_as_it_was(self) -> None:
        self.house.crew("w1")
        task = self.house.task("w1", "before")
        then = self.house.value("SELECT MAX(seq) FROM events")
        self.house.post("w1", f"/tasks/{task}/edit", title="after")
        for query, title in ((f"?seq={then}", "before"), ("", "after"), ("?seq=999999", "after")):
            self.assertEqual(title, self.house.get("w1", "/state" + query)["state"]["task"][str(task)]["title"])
        self.assertNotIn(str(task), self.house.get("w1", f"/state?seq={then - 1}")["state"]["task"])


class TheChain(OfTheLog):
    def setUp(self) -> None:
        super().setUp()
        self.house.crew("w1", "w2")
        for number in range(5):
            self.house.send("w1", "w2", f"number {number}")

    def verify(self) -> dict[str, Any]:
        return self.house.get("viewer", "/events/verify")

    def test_it_verifies(self) -> None:
        said = self.verify()
        self.assertTrue(said["ok"])
        self.assertEqual(self.house.value("SELECT COUNT(*) FROM events"), said["events"])

    def test_any_damage_is_found_where_it_is(self) -> None:
        for column, value in {
            "at": 1.0,
            "actor": "somebody",
            "op": "nothing",
            "kind": "task",
            "subject": "[]",
            "run_id": "r",
            "workspace": "elsewhere",
            "data": '{"x":1}',
            "digest": "0" * 64,
            "prev": "0" * 64,
            "hash": "0" * 64,
        }.items():
            with self.subTest(column):
                before = self.house.value(f"SELECT {column} FROM events WHERE seq = 7")
                self.house.change(f"UPDATE events SET {column} = ? WHERE seq = 7", value)
                said = self.verify()
                self.assertFalse(said["ok"])
                self.assertIn(said["first_damaged"], (7, 8))
                self.house.change(f"UPDATE events SET {column} = ? WHERE seq = 7", before)
                self.assertTrue(self.verify()["ok"])

    def test_an_event_taken_out_put_in_or_moved_is_found(self) -> None:
        for sql in (
            "DELETE FROM events WHERE seq = 7",
            "UPDATE events SET seq = 70000 WHERE seq = 7",
            "INSERT INTO events SELECT 90000, at, actor, op, kind, subject, run_id, workspace, data, digest, prev, hash"
            " FROM events WHERE seq = 7",
        ):
            rows = self.house.rows("SELECT * FROM events ORDER BY seq")
            self.house.change(sql)
            self.assertFalse(self.verify()["ok"], sql)
            self.house.change("DELETE FROM events")
            self.house.change("DELETE FROM sqlite_sequence WHERE name = 'events'")
            for row in rows:
                self.house.change(f"INSERT INTO events ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", *row.values())
            self.assertTrue(self.verify()["ok"])

    def test_redaction_keeps_it(self) -> None:
        self.house.post("w1", "/memory", key="k", value="a secret, pasted")
        seq = self.house.value("SELECT MAX(seq) FROM events")
        self.house.change("UPDATE events SET data = ? WHERE seq = ?", events.REDACTED, seq)
        said = self.verify()
        self.assertEqual((True, 1), (said["ok"], said["redacted"]))

    def test_a_write_that_fails_leaves_no_event_and_an_event_never_stands_without_its_write(self) -> None:
        before = self.house.value("SELECT MAX(seq) FROM events")
        with mock.patch.object(events, "append", side_effect=RuntimeError("planted")), self.assertRaisesRegex(RuntimeError, "planted"):
            self.house.task("w1", "never")
        with (
            mock.patch("lattice.domain.messages.events.record", side_effect=RuntimeError("planted")),
            self.assertRaisesRegex(RuntimeError, "planted"),
        ):
            self.house.send("w1", "w2", "never")
        self.assertEqual(
            (before, 0, 5),
            (
                self.house.value("SELECT MAX(seq) FROM events"),
                self.house.value("SELECT COUNT(*) FROM tasks"),
                self.house.value("SELECT COUNT(*) FROM messages"),
            ),
        )

    def test_a_body_is_there_as_its_digest(self) -> None:
        self.house.send("w1", "w2", "words that are in no event")
        self.house.post("w1", "/memory", key="k", value="nor these words")
        for row in self.house.rows("SELECT data FROM events"):
            self.assertNotIn("words", row["data"])


class TheFeed(OfTheLog):
    def test_it_goes_on_from_a_cursor_and_leaves_nothing_out(self) -> None:
        self.house.crew("w1")
        for number in range(7):
            self.house.task("w1", f"t{number}")
        seen: list[int] = []
        after = 0
        while True:
            said = self.house.get(PERSON, f"/events?follow=0&limit=3&after={after}")
            if not said["events"]:
                break
            seen += [one["seq"] for one in said["events"]]
            after = said["after"]
        self.assertEqual([row["seq"] for row in self.house.rows("SELECT seq FROM events ORDER BY seq")], seen)

    def test_followed_it_says_what_is_new_and_each_with_its_cursor(self) -> None:
        self.house.crew("w1")
        newest = self.house.value("SELECT MAX(seq) FROM events")
        stream = self.house.raw("w1", "GET", f"/events?after={newest}")
        self.assertEqual(b"", stream.next())
        self.house.task("w1", "new")
        self.assertIn("events", self.house.woken)
        text = stream.next().decode()
        self.assertIn(f"id: {newest + 1}\n", text)
        self.assertEqual("new", json.loads(next(line for line in text.splitlines() if line.startswith("data: "))[6:])["data"]["title"])
        self.assertEqual(b"", stream.next())
        again = self.house.raw("w1", "GET", "/events", **{"last-event-id": str(newest)})  # a browser that came back
        self.assertIn(f"id: {newest + 1}\n", again.next().decode())

    def test_the_audit_list_is_for_who_leads_newest_first(self) -> None:
        self.house.crew("w1")
        self.house.task("w1", "t")
        said = self.house.get("arch", "/log?last=1")["logs"]
        self.assertEqual([("w1", "create_task")], [(one["peer_id"], one["action"]) for one in said])
        self.assertEqual({"id", "timestamp", "peer_id", "action", "details"}, set(said[0]))
        self.refused(403, "w1", "/log", method="GET", code="role")


if __name__ == "__main__":
    unittest.main()
