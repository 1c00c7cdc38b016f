"""Redaction: a secret is gone from every table, from the log and from the files; the chain verifies and says who did it, and when."""

from __future__ import annotations

import json
import os
import re
import unittest

from lattice.domain import events, redactions
from lattice.domain.caller import BROKER
from tests.broker.broking import PERSON, BrokerCase
from tests.running import TOP

SECRET = 'sk-"live"\\4711-ä'  # signs that JSON writes otherwise
MARK = "[redacted by command-center, 2"


class Redaction(BrokerCase):
    def setUp(self) -> None:
        super().setUp()
        self.house.crew("w1", "w2")

    def redact(self, what: str, which: str, **more: object) -> dict[str, object]:
        return self.house.post(PERSON, "/redact", what=what, which=which, **more)

    def holding(self, secret: str = SECRET) -> list[str]:
        """The files of this home with the secret in them, as it is or as JSON writes it."""
        said = {secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
        found = []
        for folder, _, names in os.walk(self.house.folder):
            for name in names:
                with open(os.path.join(folder, name), "rb") as file:
                    content = file.read()
                if any(one.encode() in content for one in said):
                    found.append(name)
        return found

    def spread(self) -> dict[str, int]:
        """The secret in every place where a text of a peer is kept, several times and beside other words."""
        house = self.house
        house.post("w1", "/memory", key="token", value=f"the token is {SECRET}, twice: {SECRET}")
        house.post("w1", "/memory", key="token", value=f"still {SECRET}", type="decision")
        message = house.send("w1", "w2", f"use {SECRET}")["message_id"]
        task = house.task("w1", f"try {SECRET}", description=f"with {SECRET}", run_id="r1")
        house.post("w1", "/tasks/claim", task_id=task)
        done = {"summary": f"done with {SECRET}", "risks": SECRET}
        house.post("w1", "/tasks/complete", task_id=task, artifacts=done, idempotency_key="k1")
        house.post("w1", f"/tasks/{house.task('w1')}/edit", title=f"t {SECRET}", idempotency_key="k2")
        blocker = house.post("w1", "/escalations", kind="blocker", text=f"{SECRET} is refused")["escalation_id"]
        house.post("arch", f"/escalations/{blocker}/resolve", verdict="answer", answer=f"{SECRET} was turned round")
        house.post("w1", "/runs", id="r2", name="r", goal=f"hide {SECRET}")
        house.post("w1", "/conversation", turn_type="user", content=f"here: {SECRET}")
        house.post("w1", "/summary", summary=f"busy with {SECRET}")
        house.post("w1", "/lock", file_path="/src/a.py", reason=f"for {SECRET}")
        house.post("w2", "/lock", file_path="/src/a.py", queue=True, reason=f"also for {SECRET}")
        house.take("w2", idempotency_key="k3")
        return {"message": int(message), "task": task, "blocker": int(blocker)}

    def snapshot(self) -> None:
        self.assertTrue(self.house.broker.write(lambda tx: events.snapshot_if_due(tx, BROKER, every=1), "snapshot"))

    def verified(self) -> dict[str, object]:
        said = self.house.get(PERSON, "/events/verify")
        self.assertTrue(said["ok"], said)
        return said

    def assert_log_folds_to_tables(self) -> None:
        def both(tx: object) -> tuple[object, object]:
            return events.state_at(tx, None)[1], events.tables(tx)  # type: ignore[arg-type]

        folded, tables = self.house.broker.read(both)
        self.assertEqual(tables, folded)


class OfAText(Redaction):
    def test_it_is_gone_from_every_table_and_file_and_the_chain_verifies(self) -> None:
        self.spread()
        self.snapshot()
        self.assertTrue(self.holding())
        said = self.redact("text", SECRET)
        self.assertEqual([], self.holding())
        self.assertGreater(int(str(said["events"])), 10)
        self.assertEqual(
            {"memory": 1, "message": 3, "task": 2, "escalation": 1, "run": 1, "conversation": 1, "peer": 1, "lock": 1, "lock_queue": 1},
            said["redacted"],
        )  # fmt: skip
        self.assertEqual(said["events"], self.verified()["redacted"])
        self.assert_log_folds_to_tables()

    def test_the_rest_of_each_text_stays_and_says_who_took_it_out_and_when(self) -> None:
        ids = self.spread()
        self.redact("text", SECRET)
        history = self.house.get("w1", "/memory/history?key=token")["history"]
        self.assertEqual([2, 1], [one["version"] for one in history])
        self.assertTrue(history[0]["value"].startswith(f"still {MARK}"), history)
        self.assertEqual(2, history[1]["value"].count(MARK))
        task = self.house.get("w1", f"/tasks/{ids['task']}")["task"]
        self.assertTrue(task["artifacts"]["summary"].startswith(f"done with {MARK}"), task)
        self.assertIn(MARK, self.house.take("w1")[0]["content"])  # the answer to its blocker
        (noted,) = [one for one in self.house.get(PERSON, "/log?last=100")["logs"] if one["action"] == "redacted"]
        self.assertEqual("command-center", noted["peer_id"])

    def test_a_dry_run_counts_and_changes_nothing(self) -> None:
        self.spread()
        before = self.house.value("SELECT MAX(seq) FROM events")
        said = self.redact("text", SECRET, dry_run=True)
        self.assertEqual((1, 3), (said["redacted"]["memory"], said["redacted"]["message"]))  # type: ignore[index]
        self.assertEqual(before, self.house.value("SELECT MAX(seq) FROM events"))
        self.assertTrue(self.holding())

    def test_what_is_nowhere_is_not_found_and_a_short_text_is_refused(self) -> None:
        self.refused(404, PERSON, "/redact", {"what": "text", "which": "nowhere at all"})
        self.refused(400, PERSON, "/redact", {"what": "text", "which": "ab"})

    def test_twice_is_once(self) -> None:
        self.spread()
        self.redact("text", SECRET)
        self.refused(404, PERSON, "/redact", {"what": "text", "which": SECRET})
        self.verified()

    def test_an_acknowledgement_that_is_only_on_a_receipt_goes_too(self) -> None:
        asked = self.house.send("w1", "w2", "thanks")["message_id"]
        self.house.texts("w2")
        self.assertTrue(self.house.send("w2", "w1", "thank you", "status_update", reply_to=asked).get("folded"))
        self.redact("text", "thank you")
        self.assertEqual([], self.holding("thank you"))

    def test_names_stay_and_are_said_to(self) -> None:
        self.house.post("w1", "/memory", key="hunter2-key", value="harmless")
        said = self.redact("text", "hunter2-key")
        self.assertEqual((["events.subject", "memory.key"], {}), (said["left_in"], said["redacted"]))


class EveryColumn(unittest.TestCase):
    def test_of_the_schema_holds_a_text_that_is_taken_out_or_a_name_that_is_looked_at_or_a_word_of_ours(self) -> None:
        """A new column with a text of a peer in it must be entered in its module's `Texts`."""
        words = set(
            "state status role kind mode reach way type confidence priority verdict category turn_type op nonce digest hash prev"
            " process resume_hash gist receipt tool_use_id caller actor paused_by ended_by last_stop_reason ways client git_last_commit"
            " sender_id on_behalf recipient raised_by resolved_by created_by assigned_to reserved_for left_by peer_id peer taken_by address"
            " returned".split()
        )
        texts = {(one.table, column) for places in redactions.PLACES.values() for one in places for column in (*one.columns, *one.json)}
        with open(os.path.join(TOP, "lattice", "store", "schema.sql"), encoding="utf-8") as file:
            tables = re.findall(r"CREATE TABLE (\w+) \((.*?)\n\)", file.read(), re.DOTALL)
        unused = {"rooms", "room_members", "room_posts"}  # no operation writes there yet
        beside = {("idempotency", "answer"), ("idempotency", "key"), ("events", "data"), ("counters", "name"), ("events", "kind")}
        for table, body in tables:
            for column in re.findall(r"^\s+(\w+)\s+TEXT", body, re.MULTILINE):
                if table in unused or column in words or column in ("run_id", "workspace") or (table, column) in beside:
                    continue
                self.assertIn((table, column), texts | set(redactions.NAMES), "say whether it holds a text, a name, or a word of ours")
        self.assertEqual(set(), texts & set(redactions.NAMES))


class OfAThing(Redaction):
    def test_one_value_is_gone_with_all_its_versions_and_others_stay(self) -> None:
        self.house.post("w1", "/memory", key="other", value="stays")
        self.spread()
        said = self.redact("memory", "token")
        self.assertEqual({"memory": 1}, said["redacted"])
        values = [one["value"] for one in self.house.get("w1", "/memory/history?key=token")["history"]]
        self.assertTrue(all(value.startswith(MARK) for value in values) and len(values) == 2, values)
        self.assertEqual("stays", self.house.get("w1", "/memory?key=other")["value"])
        self.verified()
        self.assert_log_folds_to_tables()

    def test_mail_that_carried_a_blocker_and_the_blocker_go_together(self) -> None:
        ids = self.spread()
        self.redact("escalation", str(ids["blocker"]))
        row = self.house.rows("SELECT text, answer, message_id FROM escalations WHERE id = ?", ids["blocker"])[0]
        mail = self.house.value("SELECT content FROM messages WHERE id = ?", row["message_id"])
        for text in (row["text"], row["answer"], mail):
            self.assertTrue(text.startswith(MARK), text)
        self.verified()

    def test_a_message_that_still_waits_is_handed_over_without_its_text(self) -> None:
        message = self.house.send("w1", "w2", f"use {SECRET}")["message_id"]
        self.redact("message", str(message))
        self.assertEqual([], self.holding())
        self.assertTrue(self.house.texts("w2")[0].startswith(MARK))

    def test_history_before_it_says_that_it_is_redacted(self) -> None:
        ids = self.spread()
        seq = self.house.value("SELECT MAX(seq) FROM events")
        self.redact("task", str(ids["task"]))
        then = self.house.get(PERSON, f"/state?seq={seq}")["state"]
        self.assertEqual({"redacted": True}, then["task"][str(ids["task"])])
        self.house.get("w1", f"/state?seq={seq}")
        self.house.get(PERSON, "/dashboard/data")

    def test_what_is_not_there_is_said(self) -> None:
        for what, which in (("memory", "none"), ("message", "99"), ("task", "99"), ("message", "x"), ("run", "none")):
            self.refused(404, PERSON, "/redact", {"what": what, "which": which})


class WhoMay(Redaction):
    def test_only_the_person(self) -> None:
        for who in ("arch", "w1", "viewer"):
            self.refused(403, who, "/redact", {"what": "text", "which": "hello there"}, code="role")

    def test_a_snapshot_that_held_it_is_no_base_any_more_and_a_new_one_is(self) -> None:
        self.house.task("w1", f"try {SECRET}")
        self.snapshot()
        old = self.house.value("SELECT MAX(seq) FROM events WHERE kind = 'snapshot'")
        self.redact("text", SECRET)
        new = self.house.value("SELECT MAX(seq) FROM events WHERE kind = 'snapshot'")
        self.assertGreater(new, old)
        self.assert_log_folds_to_tables()
        self.assertIn("1", self.house.get(PERSON, f"/state?seq={old}")["state"]["task"])
        self.house.change("DELETE FROM events WHERE seq < ?", old)  # as the retention would
        self.refused(404, PERSON, f"/state?seq={old}", method="GET")


if __name__ == "__main__":
    unittest.main()
