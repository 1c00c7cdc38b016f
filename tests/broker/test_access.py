"""Who may do what: every operation and every principal, as the table says (R40); and in which order a call is refused."""

from __future__ import annotations

import csv
import json
import os
import tempfile
import unittest
from collections.abc import Callable
from typing import Any
from unittest import mock

from lattice.broker import handlers
from lattice.broker.app import SCREENED, WHILE_PAUSED
from lattice.contract import reference
from lattice.contract.operations import ANYONE, BY_NAME, OPERATIONS, TICKET
from lattice.errors import OutOfSpace, Refusal
from lattice.guard import tokens
from lattice.web.server import Answer, Parked, Stream
from tests.broker.broking import ON_HTTP, PERSON, SECRET, BrokerCase, House
from tests.broker.examples import EXAMPLES, _claimed, _locked, _mail
from tests.figures import measured

MATRIX = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "docs", "access-matrix.csv")
# Columns of the matrix that are principals at the door; a ticket is tried as a worker's.
AT_THE_DOOR = ("nobody", "bad_token", "worker", "architect", "viewer", "system", "killed", "ticket")


class TheTable(unittest.TestCase):
    def test_every_operation_on_http_has_its_handler_and_no_handler_is_without_one(self) -> None:
        self.assertEqual({operation.name for operation in ON_HTTP}, set(handlers.HANDLERS))

    def test_what_is_said_of_operations_elsewhere_names_operations(self) -> None:
        for named in (WHILE_PAUSED, SCREENED, handlers.JUDGED_LATE, handlers.SETTLE):
            self.assertEqual(set(), set(named) - set(BY_NAME), named)
        for name, fields in SCREENED.items():
            self.assertEqual(set(), {field for field, _ in fields} - {param.name for param in BY_NAME[name].params}, name)

    def test_every_text_that_others_are_shown_is_screened(self) -> None:
        """A new text parameter of a write must say here that nobody else is shown it, or be screened."""
        names_and_paths = {
            "id",
            "peer_id",
            "sender_id",
            "created_by",
            "requester",
            "recipient_id",
            "workspace",
            "process",
            "client",
            "resume",
            "version",
            "idempotency_key",
            "working_dir",
            "file_path",
            "base",
            "run_id",
            "git_branch",
            "git_last_commit",
            "git_dirty_files",
            "receipts",
            "proof",
            "seen",
            "tool_use_id",
            "supersedes",
            "event",
            "source",
            "session",
            "tool",
            "paths",
            "command",
            "ways",
        }
        for operation in ON_HTTP:
            if operation.effect != "write" or operation.name == "give_back":  # the session's own server says why a call did not reach it
                continue
            screened = {field for field, _ in SCREENED.get(operation.name, ())}
            for param in operation.params:
                if (
                    param.kind in ("text", "list", "object")
                    and param.of not in ("integer", "reference")
                    and param.name not in names_and_paths | screened
                ):
                    self.fail(f"{operation.name}: {param.name} is shown to others and not screened")


class TheMatrix(BrokerCase):
    """docs/access-matrix.csv, cell by cell: each operation, called by each principal, and on one's own and another's things (R40)."""

    def setUp(self) -> None:
        super().setUp()
        house = self.house
        house.crew("worker", "killed", "paused")
        house.post(PERSON, "/kill-peer", peer_id="killed")
        house.post(PERSON, "/pause", peer_id="paused")
        self.header = {
            "nobody": {},
            "bad_token": {"authorization": "Bearer c2t1.abc.def"},
            "worker": _bearer(house.tokens["worker"]),
            "architect": _bearer(house.tokens["arch"]),
            "viewer": _bearer(house.tokens["viewer"]),
            "system": _bearer(house.tokens[PERSON]),
            "killed": _bearer(house.tokens["killed"]),
            "paused": _bearer(house.tokens["paused"]),
        }
        with open(MATRIX, encoding="utf-8", newline="") as file:
            self.rows = {row["operation"]: row for row in csv.DictReader(file)}

    def headers(self, principal: str) -> dict[str, str]:
        if principal == "ticket":  # a fresh one each time: whatever is refused must not be for its being used
            return {"authorization": f"Ticket {self.house.ticket('worker')}"}
        return self.header[principal]

    def door(self, operation: Any, principal: str) -> str:
        """What the door says to a call with nothing in it: "yes" (or any refusal of the operation's own), or its status."""
        path = operation.path
        for name in operation.path_params:
            path = path.replace(
                "{" + name + "}", "999" if next(param for param in operation.params if param.name == name).kind == "integer" else "worker"
            )
        try:
            answer = self.house.raw("", operation.method, path, None, **self.headers(principal))
        except Refusal as refusal:
            return str(refusal.status) if refusal.status == 401 or refusal.code in ("role", "paused") else "yes"
        self.assertIsInstance(answer, (Answer, Parked, Stream))
        return "yes"

    def wanted(self, operation: Any, principal: str) -> str:
        """What the cell says. An empty one: 403, or 401 to who has not the kind of thing that opens this door."""
        cell: str = self.rows[operation.name][principal]
        other_kind = operation.roles == TICKET or principal == "ticket"
        return cell or ("401" if other_kind else "403")

    def test_each_principal_may_exactly_what_the_table_says(self) -> None:
        wrong = []
        for operation in ON_HTTP:
            for principal in AT_THE_DOOR:
                wanted, found = self.wanted(operation, principal), self.door(operation, principal)
                if wanted != found:
                    wrong.append(f"{operation.name} by {principal}: {found} instead of {wanted}")
            self.house.post(PERSON, "/resume-all")
            self.house.post(PERSON, "/pause", peer_id="paused")
            held = operation.effect != "read" and operation.name not in WHILE_PAUSED and operation.roles not in (ANYONE, TICKET)
            paused = "403" if held else self.wanted(operation, "worker")
            if paused != self.door(operation, "paused"):
                wrong.append(f"{operation.name} by a paused worker is not {paused}")
        wrong += self.on_things()
        self.assertEqual([], wrong)
        covered = [operation for operation in ON_HTTP if operation.name in self.rows]
        principals = len(AT_THE_DOOR) + 3  # a paused worker; a worker on its own, and on another's
        measured(self, "R40", routes_percent=100 * len(covered) / len(ON_HTTP), principals=principals, wrong=len(wrong))

    def on_things(self) -> list[str]:
        """Where a worker may call: its own thing is 200, another's what the last column says."""
        wrong = []
        for operation in ON_HTTP:
            cell = self.rows[operation.name]["worker_on_anothers"]
            if cell:
                house = self.fresh()
                method, path, body = ANOTHERS[operation.name](house)
                status, said = house.ask("w2", method, path, body)
                if str(status) != cell:
                    wrong.append(f"{operation.name} on another's: {status} instead of {cell}: {said}")
            if operation.name in EXAMPLES and "worker" in operation.roles:
                house = self.fresh()
                who, path, body = EXAMPLES[operation.name](house)
                method, _, bare = path.rpartition(" ")
                if who in ("w1", "w2"):
                    status, said = house.ask(who, method or "POST", bare, body)
                    if status != 200:
                        wrong.append(f"{operation.name} on one's own: {status} {said}")
        return wrong

    def fresh(self) -> House:
        house = House(self.enterContext(tempfile.TemporaryDirectory()))
        self.addCleanup(house.close)
        house.crew("w1", "w2")
        return house

    def test_every_operation_has_its_row_and_says_whose_its_things_are(self) -> None:
        """A new route without a row fails here; its row is in `lattice/contract/reference.py` and in ANOTHERS below."""
        self.assertEqual([operation.name for operation in OPERATIONS], list(self.rows))
        for operation in ON_HTTP:
            if "worker" not in operation.roles and operation.roles != ANYONE:
                self.assertNotIn(operation.name, {*reference.ON_ANOTHERS, *reference.NOBODYS}, "no worker gets so far")
                continue
            self.assertEqual(1, (operation.name in reference.ON_ANOTHERS) + (operation.name in reference.NOBODYS), operation.name)
        self.assertEqual(set(reference.ON_ANOTHERS), set(ANOTHERS))
        named = {operation.name for operation in ON_HTTP for param in operation.params if param.identity and "worker" in operation.roles}
        self.assertEqual(set(), named & reference.NOBODYS, "a field that names the caller names somebody")

    def test_what_only_leads_the_person_or_a_ticket_may_is_this_and_no_more(self) -> None:
        """A new operation that is not for all must be entered here."""
        for_workers = {operation.name for operation in ON_HTTP if "worker" in operation.roles or operation.roles == ANYONE}
        self.assertEqual(
            {
                "dashboard_data",
                "sign_in",
                "shutdown",
                "register",
                "seat",
                "pause",
                "resume",
                "pause_all",
                "resume_all",
                "ping",
                "ping_all",
                "config",
                "budget",
                "kill_peer",
                "unregister",
                "spawn_worker",
                "release_held",
                "redact",
                "all_messages",
                "resolve",
                "assign_task",
                "log",
            },
            {operation.name for operation in ON_HTTP} - for_workers,
        )

    def test_the_viewer_changes_nothing(self) -> None:
        self.assertEqual([], [operation.name for operation in OPERATIONS if operation.effect != "read" and "viewer" in operation.roles])

    def test_a_paused_peer_may_read_acknowledge_beat_escalate_and_let_go_and_nothing_else(self) -> None:
        house = self.house
        house.post(PERSON, "/resume", peer_id="paused")
        task, path = house.task("paused"), "/src/a.py"
        house.post("paused", "/tasks/claim", task_id=task)
        house.post("paused", "/lock", file_path=path)
        house.send("arch", "paused")
        house.post(PERSON, "/pause", peer_id="paused")
        for path_, body in {
            "/send": {"recipient_id": "arch", "category": "finding", "content": "x"},
            "/tasks": {"title": "x"},
            "/tasks/claim": {"task_id": task},
            "/tasks/complete": {"task_id": task, "artifacts": {"summary": "x"}},
            "/lock": {"file_path": "/src/b.py"},
            "/memory": {"key": "k", "value": "v"},
            "/summary": {"summary": "x"},
            "/conversation": {"turn_type": "user", "content": "x"},
            "/runs": {"id": "r", "name": "r"},
        }.items():
            said = self.refused(403, "paused", path_, body, code="paused")
            self.assertEqual((PERSON, True), (said["paused_by"], "check_messages" in said["hint"]))
        house.get("paused", "/tasks")
        mail = house.take("paused")
        house.post("paused", "/inbox/ack", receipts=[mail[0]["receipt"]])
        self.assertTrue(house.beat("paused")["paused"])
        house.post("paused", "/escalations", kind="blocker", text="why am I paused?")
        house.post("paused", "/unlock", file_path=path)
        house.post("paused", f"/tasks/{task}/release")


class TheOrderOfRefusals(BrokerCase):
    def setUp(self) -> None:
        super().setUp()
        self.house.crew("w1", "w2")

    def test_token_then_role_then_stated_identity_then_fields_then_the_operations_own(self) -> None:
        wrong_in_all = {"peer_id": 7, "nonsense": 1}
        self.refused(401, "", "/pause", wrong_in_all, code="no_token")
        self.refused(403, "w1", "/pause", wrong_in_all, code="role")
        self.refused(400, "arch", "/pause", wrong_in_all)
        self.refused(404, "arch", "/pause", {"peer_id": "ghost"})
        self.refused(403, "w1", "/tasks/claim", {"peer_id": "w2", "task_id": "x"}, code="not_you")
        self.refused(400, "w1", "/tasks/claim", {"peer_id": "w1", "task_id": "x"})
        self.refused(404, "w1", "/tasks/claim", {"peer_id": "w1", "task_id": 5})

    def test_a_stranger_does_not_learn_which_paths_there_are(self) -> None:
        for method in ("GET", "POST"):
            self.refused(401, "", "/no-such-path", method=method, code="no_token")
            self.refused(404, "w1", "/no-such-path", method=method)
            self.refused(404, "w1", "/dashboard/token", method=method)

    def test_a_known_path_with_another_method_is_405_and_so_is_head_anywhere(self) -> None:
        self.refused(405, "w1", "/inbox/take", method="GET")
        self.refused(405, "w1", "/health", method="POST")
        for method in ("HEAD", "OPTIONS"):
            self.refused(405, "w1", "/tasks", method=method)
            self.refused(405, "w1", "/no-such-path", method=method)

    def test_send_refuses_in_the_order_of_the_wire(self) -> None:
        """400 missing, 403 command, 400 category, 404 sender, 403 broadcast, 404 recipient, 413, 429, 422.

        Each body is wrong in all later ways too.
        """
        house = self.house
        long, bad = "x" * 10_241, "<tool_use>"
        self.refused(400, "w1", "/send", {"recipient_id": "broadcast", "category": "command"})
        self.refused(403, "w1", "/send", {"recipient_id": "broadcast", "category": "command", "content": long})
        self.refused(400, "w1", "/send", {"recipient_id": "broadcast", "category": "gossip", "content": long})
        said = self.refused(404, PERSON, "/send", {"sender_id": "ghost", "recipient_id": "nobody", "category": "finding", "content": long})
        self.assertIn("ghost", said["error"])
        self.refused(403, "w1", "/send", {"recipient_id": "broadcast", "category": "finding", "content": long})
        self.refused(404, "w1", "/send", {"recipient_id": "nobody", "category": "finding", "content": long})
        self.assertEqual(10_240, self.refused(413, "w1", "/send", {"recipient_id": "w2", "category": "finding", "content": long})["limit"])
        house.broker.limits.per_minute = 1
        house.broker.limits.buckets.clear()
        self.refused(
            422, "w1", "/send", {"recipient_id": "w2", "category": "finding", "content": bad}, code="rejected"
        )  # reached the filter: spent
        said = self.refused(429, "w1", "/send", {"recipient_id": "w2", "category": "finding", "content": bad}, code="rate_limited")
        self.assertEqual((60, True), (said["retry_after_s"], said["retryable"]))

    def test_only_what_reaches_the_filter_spends_quota(self) -> None:
        house = self.house
        house.broker.limits.per_minute = 1
        for status, body in (
            (400, {}),
            (403, {"category": "command"}),
            (403, {"recipient_id": "broadcast"}),
            (404, {"recipient_id": "nobody"}),
            (413, {"content": "x" * 10_241}),
            (404, {"reply_to": 999}),
            (404, {"run_id": "nowhere"}),
            (400, {"verdict": "approve"}),
            (403, {"sender_id": "w2"}),
        ):
            whole = {"recipient_id": "w2", "category": "finding", "content": "x", **body} if body else {}
            self.refused(status, "w1", "/send", whole)
        house.send("w1", "w2")
        self.refused(429, "w1", "/send", {"recipient_id": "w2", "category": "finding", "content": "x"})


class Fields(BrokerCase):
    def setUp(self) -> None:
        super().setUp()
        self.house.crew("w1")

    def test_an_unknown_field_is_400_but_one_that_begins_with_an_underscore_is_ignored(self) -> None:
        self.refused(400, "w1", "/tasks", {"title": "x", "colour": "red"})
        self.refused(400, "w1", "/tasks?colour=red", method="GET")
        self.house.post("w1", "/tasks", title="x", _note="mine")

    def test_what_v4_clamps_or_replaces_is_400_with_what_is_allowed(self) -> None:
        for path, body, allowed in (
            ("/tasks", {"title": "x", "priority": "urgent"}, ["high", "medium", "low"]),
            ("/memory", {"key": "k", "value": "v", "type": "rumour"}, ["decision", "fact", "constraint", "artifact"]),
            ("/memory", {"key": "k", "value": "v", "confidence": "total"}, ["high", "medium", "low"]),
        ):
            self.assertEqual(allowed, self.refused(400, "w1", path, body)["allowed"])
        self.refused(400, "arch", "/config", {"peer_id": "w1", "poll_interval_ms": 10})
        self.refused(400, "arch", "/messages-all?limit=0", method="GET")

    def test_too_long_is_413_with_the_limit_and_nothing_is_cut(self) -> None:
        for path, body, limit in (
            ("/summary", {"summary": "x" * 201}, 200),
            ("/memory", {"key": "k", "value": "x" * 50_001}, 50_000),
            ("/memory", {"key": "k" * 257, "value": "v"}, 256),
            ("/conversation", {"turn_type": "user", "content": "x" * 50_001}, 50_000),
            ("/tasks", {"title": "x" * 501}, 500),
        ):
            self.assertEqual(limit, self.refused(413, "w1", path, body, code="too_large")["limit"])

    def test_half_a_surrogate_pair_nul_and_huge_numbers_are_400(self) -> None:
        for body in (
            {"title": "\ud800"},
            {"title": "a\0b"},
            {"title": 5},
            {"title": ["x"]},
            {"title": "x", "blocked_by": [2**70]},
            {"title": "x", "blocked_by": "abc"},
        ):
            self.refused(400, "w1", "/tasks", body)
        self.refused(400, "w1", "/tasks/99999999999999999999", method="GET")
        self.refused(400, "w1", "/tasks/abc", method="GET")
        self.refused(404, "w1", "/tasks/9007199254740992", method="GET")

    def test_the_signs_of_like_are_found_as_themselves(self) -> None:
        for title in ("plain", "100% of it_self"):
            self.house.task("w1", title)
        for text, found in (("%", 1), ("100%", 1), ("it_s", 1), ("i%f", 0), ("pl_in", 0)):
            self.assertEqual(found, len(self.house.get("w1", f"/search?q={text}")["results"]), text)

    def test_every_refusal_is_the_one_shape(self) -> None:
        for who, method, path, body in (
            ("", "GET", "/peers", None),
            ("w1", "GET", "/x", None),
            ("w1", "POST", "/tasks", {}),
            ("w1", "POST", "/pause", {}),
            ("w1", "DELETE", "/tasks", None),
        ):
            status, said = self.house.ask(who, method, path, body)
            self.assertGreaterEqual(status, 400)
            self.assertTrue({"error", "code", "retryable"} <= set(said), said)
            self.assertTrue(said["error"] and json.dumps(said))


class TheOpenDoors(BrokerCase):
    def test_health_proves_who_it_is_and_needs_no_token_and_no_database(self) -> None:
        nonce = "0123456789abcdef" * 2
        said = self.house.get("", f"/health?nonce={nonce}")
        self.assertTrue(tokens.check_proof(SECRET, nonce, 7899, said["pid"], said["proof"]))
        self.assertEqual(("ok", 7899, 4711, True), (said["status"], said["port"], said["pid"], said["writable"]))
        self.refused(400, "", "/health?nonce=short", method="GET")
        self.assertNotIn("proof", self.house.get("", "/health"))
        self.house.broker.database.close()
        self.assertEqual("ok", self.house.get("", "/health")["status"])

    def test_the_empty_page_holds_no_data(self) -> None:
        self.house.crew("somebody")
        for path in ("/", "/dashboard"):
            status, said = self.house.ask("", "GET", path)
            self.assertEqual(200, status)
            self.assertNotIn("somebody", said["text"])
        self.refused(401, "", "/dashboard/data", method="GET")

    def test_only_the_person_or_a_ticket_of_the_person_stops_the_broker(self) -> None:
        self.house.crew("w1")
        self.refused(401, "", "/shutdown")
        self.refused(403, "arch", "/shutdown", code="role")
        self.refused(403, "", "/shutdown", authorization=f"Ticket {self.house.ticket('arch', 'architect')}")
        self.assertEqual(0, self.house.stops)
        ticket = self.house.ticket(PERSON, "system", "")
        self.assertEqual(200, self.house.ask("", "POST", "/shutdown", authorization=f"Ticket {ticket}")[0])
        self.refused(409, "", "/shutdown", code="ticket_used", authorization=f"Ticket {ticket}")
        self.assertEqual(200, self.house.ask(PERSON, "POST", "/shutdown", {"requester": "arch"})[0])
        self.assertEqual(2, self.house.stops)

    def test_a_broker_that_cannot_write_is_stopped_all_the_same(self) -> None:
        ticket = self.house.ticket(PERSON, "system", "")
        full = mock.patch.object(self.house.broker.database, "write", side_effect=OutOfSpace("the disk is full"))
        with full, self.assertLogs("lattice.broker", "WARNING"):
            self.assertEqual(200, self.house.ask("", "POST", "/shutdown", authorization=f"Ticket {ticket}")[0])
        self.assertEqual(1, self.house.stops)

    def test_metrics_are_prometheus_text(self) -> None:
        self.house.crew("w1")
        self.house.task("w1")
        text = self.house.get("viewer", "/metrics")["text"]
        self.assertIn("\nlattice_tasks_claimable 1\n", text)
        self.assertIn("\nlattice_peers_active 2\n", text)
        self.assertRegex(text, r'lattice_calls_total\{op="create_task"\} 1\n')


def _run(house: House) -> None:
    house.post("w1", "/runs", id="r1", name="w1's")


def _remembered(house: House) -> None:
    house.post("w1", "/memory", key="k", value="v")


Asked = tuple[str, str, dict[str, Any] | None]  # method, path, body
# What w2 asks that names w1, or is on w1's things.
ANOTHERS: dict[str, Callable[[House], Asked]] = {
    "heartbeat": lambda house: ("POST", "/heartbeat", {"id": "w1"}),
    "set_summary": lambda house: ("POST", "/summary", {"id": "w1", "summary": "x"}),
    "get_peer": lambda house: ("GET", "/peer/w1", None),
    "send_message": lambda house: ("POST", "/send", {"sender_id": "w1", "recipient_id": "arch", "category": "finding", "content": "x"}),
    "v4_messages": lambda house: ("GET", "/messages/w1", None),
    "ack": lambda house: ("POST", "/inbox/ack", {"receipts": _mail(house)}),
    "give_back": lambda house: ("POST", "/inbox/return", {"receipts": _mail(house)}),
    "peek": lambda house: ("GET", "/inbox/peek?peer_id=w1", None),
    "receipts": lambda house: ("GET", f"/receipts/{house.send('arch', 'w1')['message_id']}", None),
    "messages_for": lambda house: ("GET", "/messages-for/w1", None),
    "create_task": lambda house: ("POST", "/tasks", {"title": "x", "created_by": "w1"}),
    "create_batch": lambda house: ("POST", "/tasks/batch", {"tasks": [{"title": "x"}], "created_by": "w1"}),
    "get_task": lambda house: ("GET", f"/tasks/{_claimed(house)}", None),
    "claim_task": lambda house: ("POST", "/tasks/claim", {"task_id": _claimed(house)}),
    "complete_task": lambda house: ("POST", "/tasks/complete", {"task_id": _claimed(house), "artifacts": {"summary": "x"}}),
    "release_task": lambda house: ("POST", f"/tasks/{_claimed(house)}/release", {}),
    "fail_task": lambda house: ("POST", f"/tasks/{_claimed(house)}/fail", {"reason": "x"}),
    "cancel_task": lambda house: ("POST", f"/tasks/{_claimed(house)}/cancel", {}),
    "renew_task": lambda house: ("POST", f"/tasks/{_claimed(house)}/renew", {}),
    "edit_task": lambda house: ("POST", f"/tasks/{_claimed(house)}/edit", {"title": "x"}),
    "depend_task": lambda house: ("POST", f"/tasks/{house.task('w1')}/depend", {"add": [house.task("w1")]}),
    "lock_file": lambda house: ("POST", "/lock", {"file_path": "/src/a.py", "_": _locked(house)}),
    "unlock_file": lambda house: ("POST", "/unlock", {"file_path": "/src/a.py", "_": _locked(house)}),
    "check_lock": lambda house: ("GET", "/locks/check?file_path=/src/a.py", _locked(house)),  # type: ignore[func-returns-value]
    "guard": lambda house: ("POST", "/guard", {"paths": ["/src/a.py"], "_": _locked(house)}),
    "adopt": lambda house: ("POST", "/adopt", {"peer_id": "w1"}),
    "set_memory": lambda house: ("POST", "/memory", {"key": "k", "value": "v", "peer_id": "w1"}),
    "get_memory": lambda house: ("GET", "/memory?key=k", _remembered(house)),  # type: ignore[func-returns-value]
    "memory_history": lambda house: ("GET", "/memory/history?key=k", _remembered(house)),  # type: ignore[func-returns-value]
    "log_conversation": lambda house: ("POST", "/conversation", {"peer_id": "w1", "turn_type": "user", "content": "x"}),
    "get_conversation": lambda house: ("GET", "/conversation/w1", None),
    "create_run": lambda house: ("POST", "/runs", {"id": "r1", "status": "paused", "_": _run(house)}),
    "get_run": lambda house: ("GET", "/runs/r1", _run(house)),  # type: ignore[func-returns-value]
    "run_summary": lambda house: ("GET", "/runs/r1/summary", _run(house)),  # type: ignore[func-returns-value]
    "export_run": lambda house: ("GET", "/runs/r1/export", _run(house)),  # type: ignore[func-returns-value]
    "resume_run": lambda house: ("POST", "/runs/r1/resume", {"_": _run(house)}),
}


def _bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


if __name__ == "__main__":
    unittest.main()
