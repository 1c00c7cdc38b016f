"""What the page is told: live work first, open things for as long as they are open, and every list bounded."""

from __future__ import annotations

import itertools
import os
import re
import tempfile
import unittest
from typing import Any

from lattice import names
from lattice.broker import dashboard
from lattice.broker.page import BadPage, Page, policy
from lattice.domain import escalations, events, locks, memory, messages, peers, runs, tasks
from lattice.domain.caller import Caller
from lattice.store.database import Database, Tx

NOW = 1_700_000_000.0
PERSON = Caller(names.PERSON, "system")
TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class OfABroker(unittest.TestCase):
    def setUp(self) -> None:
        folder = self.enterContext(tempfile.TemporaryDirectory())
        self.database = Database(os.path.join(folder, "lattice.db"), synchronous="OFF")
        self.addCleanup(self.database.close)
        self.receipts = map(str, itertools.count())
        self.write(peers.ensure_person)

    def write(self, function: Any, *given: Any, at: float = NOW, **named: Any) -> Any:
        return self.database.write(lambda tx: function(tx, *given, **named), at=at, op=getattr(function, "__name__", ""))

    def shown(self, workspace: str = "shop", *, everywhere: bool = False, now: float = NOW, **last_seen: float) -> dict[str, Any]:
        def look(tx: Tx) -> dict[str, Any]:
            return dashboard.data(tx, now=now, workspace=workspace, everywhere=everywhere, last_seen=last_seen)

        return self.database.read(look)

    def enrol(self, id: str, role: str = "worker", workspace: str = "shop", *, at: float = NOW, **more: Any) -> Caller:
        wanted = peers.Enrolment(
            id=id, role=role, workspace=workspace, working_dir="/shop", summary=f"{id} at work", pid=1, client="tests", client_pid=None,
            process=f"life of {id}", resume="", owns_token=False, fallback=False, named=True, poll_interval_ms=3000,
            **{"git_branch": "main", "git_dirty_files": ["a.py", "b,c.py"], "git_last_commit": "", **more},
        )  # fmt: skip
        said = self.write(peers.register, wanted, id, "secret of " + id, at=at)
        return Caller(id, said["role"], workspace, process=wanted.process)

    def task(self, caller: Caller, title: str, *needs: int, priority: str = "medium", run_id: str | None = None) -> int:
        made = self.write(
            tasks.create, caller, title=title, description="", priority=priority, blocked_by=list(needs), run_id=run_id,
            needs_review=False, tasks=None,
        )  # fmt: skip
        return int(made["task_id"])

    def finish(self, caller: Caller, task_id: int) -> None:
        self.write(tasks.claim, caller, task_id=task_id)
        self.write(tasks.complete, caller, task_id=task_id, artifacts={"summary": "done"})

    def send(self, caller: Caller, to: str, content: str, category: str = "finding") -> int:
        said = self.write(messages.send, caller, recipient_id=to, category=category, content=content, screen=lambda: None)
        return int(said["message_id"])

    def kinds(self, shown: dict[str, Any]) -> list[str]:
        return [one["type"] for one in shown["attention"]]


class WhatNeedsThePerson(OfABroker):
    def test_an_escalation_stays_until_it_is_resolved_whoever_has_read_the_mail(self) -> None:
        arch, w1 = self.enrol("arch", "architect"), self.enrol("w1")
        raised = self.write(messages.escalate, w1, kind="blocker", text="which port?", task_id=None, screen=lambda: None)
        taken = self.write(messages.take, arch, receipts=lambda: next(self.receipts))
        self.write(messages.ack, arch, receipts=[taken["messages"][0]["receipt"]])
        shown = self.shown()
        self.assertEqual(["blocker"], self.kinds(shown))
        self.assertEqual([{"recipient": "arch", "state": "read"}], shown["attention"][0]["asked"])
        self.assertEqual((1, raised["escalation_id"]), (shown["escalation_count"], shown["attention"][0]["escalation_id"]))
        self.write(messages.resolve, PERSON, escalation_id=raised["escalation_id"], verdict="answer", answer="8080")
        self.assertEqual([], self.kinds(self.shown()))

    def test_blockers_come_before_reviews_before_spawns_before_pauses_before_mail_before_tasks(self) -> None:
        arch, w1 = self.enrol("arch", "architect"), self.enrol("w1")
        task = self.task(arch, "build it")
        self.send(w1, "command-center", "look at this")
        self.write(peers.pause, PERSON, peer_id="w1")
        self.write(escalations.open_one, arch, kind="spawn", text="one more", task_id=None, run_id=None, request={"peer_id": "w9"})
        self.write(messages.escalate, w1, kind="review", text="please look", task_id=task, screen=lambda: None)
        self.write(messages.escalate, w1, kind="blocker", text="stuck", task_id=task, screen=lambda: None)
        shown = self.shown()
        self.assertEqual(["blocker", "review", "spawn", "paused", "unread", "task"], self.kinds(shown))
        paused = shown["attention"][3]
        self.assertEqual(("resume", "w1"), (paused["action"], paused["peer_id"]))
        self.assertEqual({"peer_id": "w9"}, shown["attention"][2]["request"])

    def test_taking_as_many_as_the_place_of_a_message_says_marks_it_and_no_newer_one(self) -> None:
        self.enrol("arch", "architect")
        w1 = self.enrol("w1")
        self.write(messages.escalate, Caller("arch", "architect", "shop"), kind="blocker", text="which?", task_id=None, screen=lambda: None)
        for text in ("one", "two", "three"):
            self.send(w1, "command-center", text)
        second = self.shown()["inbox"][1]
        self.assertEqual("two", second["content"])
        self.write(messages.take, PERSON, receipts=lambda: next(self.receipts), max=second["place"], way="person")
        shown = self.shown()
        self.assertEqual((["three"], 1), ([mail["content"] for mail in shown["inbox"]], shown["inbox_count"]))
        self.assertIn("blocker", self.kinds(shown))

    def test_mail_for_a_role_that_nobody_holds_is_said_to_wait(self) -> None:
        self.send(self.enrol("w1"), "@architect", "hello?")
        waiting = [one for one in self.shown()["attention"] if one["type"] == "waiting"]
        self.assertEqual(["1 message to @architect waiting"], [one["title"] for one in waiting])
        self.enrol("arch", "architect")
        self.write(messages.seat_filled, PERSON, "shop", "arch")
        self.assertNotIn("waiting", self.kinds(self.shown()))

    def test_held_mail_is_shown_with_its_text_and_reason_until_the_person_has_decided(self) -> None:
        w1 = self.enrol("w1")
        self.enrol("w2")
        ids = [self.send(w1, "w2", "please, look") for _ in range(5)][3:]
        shown = self.shown()
        held = [one for one in shown["attention"] if one["type"] == "held"]
        self.assertEqual((ids, 2), ([one["message_id"] for one in held], shown["held_count"]))
        told = {name: held[0][name] for name in ("title", "detail", "reason", "peer_id", "category")}
        self.assertEqual(
            {"title": "w1 to w2: held back", "detail": "please, look", "peer_id": "w1", "category": "finding",
             "reason": "the same text to the same recipient for the 4th time in 10 minutes"}, told,
        )  # fmt: skip
        self.write(messages.release_held, PERSON, message_id=ids[0], verdict="let_through")
        self.write(messages.release_held, PERSON, message_id=ids[1], verdict="stop")
        shown = self.shown()
        self.assertEqual((0, ["dead"]), (shown["held_count"], self.kinds(shown)))

    def test_a_wish_for_permission_comes_first_and_says_for_what(self) -> None:
        w1 = self.enrol("w1")
        self.write(messages.escalate, w1, kind="blocker", text="stuck", task_id=None, screen=lambda: None)
        wish = {"kind": "permission", "text": "Bash: rm -r build", "request": {"tool": "Bash"}}
        raised = self.write(escalations.open_one, w1, task_id=None, run_id=None, **wish)
        shown = self.shown()
        self.assertEqual(["permission", "blocker"], self.kinds(shown))
        first = shown["attention"][0]
        self.assertEqual(("w1 wants to use Bash", "Bash: rm -r build", raised), (first["title"], first["detail"], first["escalation_id"]))

    def test_a_blocker_that_waits_for_an_architect_is_on_the_list_once_and_off_it_when_resolved(self) -> None:
        raised = self.write(messages.escalate, self.enrol("w1"), kind="blocker", text="which?", task_id=None, screen=lambda: None)
        self.assertEqual(["blocker"], self.kinds(self.shown()))
        self.write(messages.resolve, PERSON, escalation_id=raised["escalation_id"], verdict="answer", answer="this")
        self.assertEqual([], self.kinds(self.shown()))

    def test_mail_that_was_given_up_is_said_to_be_lost(self) -> None:
        w1 = self.enrol("w1")
        self.enrol("w2")
        self.send(w1, "w2", "hello?")
        self.write(messages.bury_mail, PERSON, "w2", "the peer is gone")
        lost = [one for one in self.shown()["attention"] if one["type"] == "dead"]
        self.assertEqual([("1 message to w2 could not be delivered", "the peer is gone")], [(one["title"], one["detail"]) for one in lost])

    def test_a_spent_budget_is_named(self) -> None:
        self.enrol("w1")
        self.write(peers.budget, PERSON, peer_id="w1", token_budget=10, tokens_used=10)
        self.assertEqual(["budget"], self.kinds(self.shown()))


class WhatIsShown(OfABroker):
    def test_completed_tasks_never_crowd_out_live_ones(self) -> None:
        arch = self.enrol("arch", "architect")
        for number in range(60):
            self.finish(arch, self.task(arch, f"old {number}", priority="high"))
        late = self.task(arch, "still to do", priority="low")
        shown = self.shown()
        self.assertEqual(late, shown["tasks"][0]["id"])
        self.assertEqual(1 + dashboard.MAX_FINISHED_TASKS, len(shown["tasks"]))
        self.assertEqual((60, 1, 61), (shown["tasks_completed"], shown["tasks_pending"], shown["total_tasks"]))

    def test_open_tasks_beyond_the_bound_are_counted(self) -> None:
        arch = self.enrol("arch", "architect")
        one = {"description": "", "priority": "medium", "blocked_by": [], "needs_review": False}
        batch = [{"title": f"t{number}", **one} for number in range(210)]
        self.write(tasks.create_batch, arch, tasks=batch, run_id=None)
        shown = self.shown()
        self.assertEqual((dashboard.MAX_OPEN_TASKS, 10), (len(shown["tasks"]), shown["more"]["tasks"]))

    def test_a_task_whose_dependencies_are_done_is_claimable_and_one_that_waits_says_for_what(self) -> None:
        arch = self.enrol("arch", "architect")
        first, second = self.task(arch, "first"), self.task(arch, "second")
        after_one, after_both = self.task(arch, "after one", first), self.task(arch, "after both", first, second)
        self.finish(arch, first)
        found = {task["id"]: task for task in self.shown()["tasks"]}
        free, waiting = found[after_one], found[after_both]
        self.assertEqual((True, [first], []), (free["claimable"], free["depends_on"], free["waits_for"]))
        self.assertEqual((False, [second]), (waiting["claimable"], waiting["waits_for"]))

    def test_a_peer_shows_its_task_locks_mail_git_state_and_last_beat(self) -> None:
        arch, w1 = self.enrol("arch", "architect"), self.enrol("w1")
        task = self.task(arch, "build it")
        self.write(tasks.claim, w1, task_id=task)
        self.send(arch, "w1", "go")
        found = {peer["id"]: peer for peer in self.shown(now=NOW + 60, w1=NOW + 58)["peers"]}
        peer = found["w1"]
        self.assertEqual({"id": task, "title": "build it"}, peer["task"])
        self.assertEqual((1, "main", ["a.py", "b,c.py"], 2), (peer["unread"], peer["git_branch"], peer["dirty"], peer["seconds_ago"]))
        self.assertEqual(60, found["arch"]["seconds_ago"])
        self.assertNotIn("command-center", found)

    def test_only_the_workspace_that_is_asked_for_is_shown(self) -> None:
        for room in ("shop", "mill"):
            arch = self.enrol(f"arch-{room}", "architect", room)
            self.task(arch, f"{room} work")
            self.send(arch, f"arch-{room}", f"{room} talk")
            self.write(memory.put, arch, key="port", value=room, type="fact", confidence="high")
            self.write(runs.create, arch, id=f"run-{room}", name=room, goal="", success_criteria="", status=None)
        one, both = self.shown("mill"), self.shown(everywhere=True)
        self.assertEqual(["arch-mill"], [peer["id"] for peer in one["peers"]])
        for name in ("tasks", "messages", "memory", "runs"):
            self.assertEqual((1, 2), (len(one[name]), len(both[name])), name)
        self.assertEqual({"mill"}, {line["workspace"] for line in one["log"]})
        self.assertEqual({"mill", "shop"}, {room["name"] for room in both["workspaces"]})
        self.assertEqual({"arch-mill", "arch-shop"}, {room["architect"] for room in both["workspaces"]})

    def test_a_message_tells_how_far_it_came(self) -> None:
        arch = self.enrol("arch", "architect")
        w1, _ = self.enrol("w1"), self.enrol("w2")
        self.send(arch, "broadcast", "all hands", "status_update")
        taken = self.write(messages.take, w1, receipts=lambda: next(self.receipts))
        self.write(messages.ack, w1, receipts=[taken["messages"][0]["receipt"]])
        self.assertEqual({"read": 1, "queued": 2}, self.shown()["messages"][0]["states"])

    def test_a_lock_names_its_holder_and_who_waits_for_it(self) -> None:
        w1, w2 = self.enrol("w1"), self.enrol("w2")
        self.write(locks.acquire, w1, file_path="/shop/a.py", reason="rewriting")
        self.write(locks.acquire, w2, file_path="/shop/a.py", queue=True)
        lock = self.shown()["locks"][0]
        told = (lock["peer_id"], lock["reason"], lock["waiting"], lock["locked_at"], lock["reach"])
        self.assertEqual(("w1", "rewriting", ["w2"], NOW, "file"), told)
        self.assertEqual([1, 0], [peer["locks"] for peer in self.shown()["peers"]])
        queue = [(one["peer_id"], one["file_path"], one["mode"], one["offered_at"]) for one in self.shown()["lock_queue"]]
        self.assertEqual([("w2", "/shop/a.py", "exclusive", None)], queue)
        self.write(locks.release, w1, file_path="/shop/a.py", at=NOW + 5)
        self.assertEqual([NOW + 5], [one["offered_at"] for one in self.shown()["lock_queue"]])
        self.assertEqual([], self.shown("mill")["lock_queue"])

    def test_a_peer_tells_how_mail_reaches_it_best_first(self) -> None:
        self.enrol("w1", ways=["tool", "socket"])
        self.enrol("w2")
        found = {peer["id"]: (peer["way"], peer["ways"]) for peer in self.shown()["peers"]}
        self.assertEqual({"w1": ("socket", ["socket", "tool"]), "w2": ("", [])}, found)

    def test_a_long_memory_is_shown_by_its_beginning_and_its_length(self) -> None:
        arch = self.enrol("arch", "architect")
        self.write(memory.put, arch, key="plan", value="x" * 5000, type="decision", confidence="high")
        found = self.shown()["memory"][0]
        self.assertEqual((dashboard.PREVIEW, 5000, 1), (len(found["value"]), found["length"], found["version"]))

    def test_workspaces_where_somebody_is_come_first_and_then_the_newest(self) -> None:
        for number, name in enumerate(("attic", "shop", "barn", "mill")):
            self.enrol(f"w-{name}", workspace=name, at=NOW + number)
            if name != "shop":
                self.write(peers.end, PERSON, f"w-{name}", "away")
        self.assertEqual(["shop", "mill", "barn", "attic"], [room["name"] for room in self.shown(everywhere=True)["workspaces"]])

    def test_a_note_says_what_it_is_about(self) -> None:
        arch = self.enrol("arch", "architect")
        self.write(lambda tx, caller: events.note(tx, caller, "conflict_warning", ["arch", "w1"], files=["b.py", "c.py"]), arch)
        self.write(lambda tx, caller: events.note(tx, caller, "breach", ["/src/a.py"], holder="w1", command="sed -i s/a/b/ a.py"), arch)
        breach, conflict = self.shown()["log"][:2]
        self.assertEqual(("conflict_warning", ["w1"], "b.py, c.py"), tuple(conflict[name] for name in ("op", "subject", "detail")))
        self.assertEqual(("breach", ["/src/a.py"], "held by w1"), tuple(breach[name] for name in ("op", "subject", "detail")))

    def test_the_log_is_newest_first_and_the_sparkline_counts_each_write_once(self) -> None:
        arch = self.enrol("arch", "architect")
        self.write(peers.set_summary, arch, summary="an hour ago", at=NOW + 3600)
        self.write(peers.set_summary, arch, summary="now", at=NOW + 7200)
        shown = self.shown(now=NOW + 7201)
        seqs = [line["seq"] for line in shown["log"]]
        self.assertEqual(sorted(seqs, reverse=True), seqs)
        self.assertEqual("set_summary", shown["log"][0]["op"])
        # One more than the workspace's lines: the person's own, of no workspace.
        self.assertEqual((24, len(seqs) + 1), (len(shown["sparkline"]), sum(shown["sparkline"])))
        self.assertEqual([1, 1], [shown["sparkline"][-1], shown["sparkline"][-5]])

    def test_an_empty_broker_is_shown_as_empty(self) -> None:
        shown = self.shown(everywhere=True)
        for name in ("peers", "tasks", "attention", "escalations", "locks", "memory", "runs", "messages", "inbox", "workspaces"):
            self.assertEqual([], shown[name], name)

    def test_the_fields_of_the_first_interface_are_all_there(self) -> None:
        self.task(self.enrol("arch", "architect"), "build it")
        shown = self.shown()
        top = "active_count total_messages unread_messages total_tasks tasks_completed tasks_inprogress tasks_pending active_runs timestamp"
        self.assertLessEqual({*top.split(), "peers", "tasks", "attention", "escalation_count", "sparkline"}, set(shown))
        peer = (
            "id role summary status paused git_branch git_dirty_files seconds_ago last_heartbeat pid token_budget tokens_used"
            " poll_interval_ms tool_calls_count errors_count rejections_count last_stop_reason"
        )
        self.assertLessEqual(set(peer.split()), set(shown["peers"][0]))
        self.assertLessEqual({"id", "title", "status", "priority", "assigned_to"}, set(shown["tasks"][0]))
        self.assertRegex(shown["timestamp"], r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$")


class ThePageItself(unittest.TestCase):
    def setUp(self) -> None:
        with open(os.path.join(TOP, "dashboard.html"), encoding="utf-8") as file:
            self.text = file.read()

    def test_it_makes_no_markup_from_text_and_has_no_inline_handler(self) -> None:
        forbidden = (
            r"innerHTML|insertAdjacentHTML|outerHTML|document\.write|\beval\b|new Function|<[^>]*\son[a-z]+\s*="
            r"|setAttribute\(\"on|srcdoc|javascript:|DOMParser|\bstyle="
        )
        self.assertEqual([], re.findall(forbidden, self.text))

    def test_it_asks_no_other_origin(self) -> None:
        addresses = set(re.findall(r"https?://[^\s'\"]+", self.text))
        self.assertEqual({"http://www.w3.org/2000/svg"}, addresses)  # the name of a vocabulary, never fetched
        self.assertEqual([], re.findall(r"@import|url\(|<link(?![^>]*href=\"data:)|<img|<iframe|\bsrc=", self.text))

    def test_every_element_the_script_names_is_there(self) -> None:
        named = set(re.findall(r"\$\(\"([a-z-]+)\"\)", self.text)) | set(re.findall(r"\b(?:list|note)\(\"([a-z-]+)\"", self.text))
        there = set(re.findall(r"\bid=\"([a-z-]+)\"", self.text))
        self.assertEqual(set(), named - there - {"dialog-title"})

    def test_the_policy_names_the_one_script_and_the_one_style_by_their_hash(self) -> None:
        body, headers = Page(os.path.join(TOP, "dashboard.html")).answer()
        said = dict(headers)["Content-Security-Policy"]
        self.assertRegex(said, r"script-src 'sha256-[A-Za-z0-9+/]{43}='; style-src 'sha256-[A-Za-z0-9+/]{43}=';")
        closed = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
        for part in ("default-src 'none';", "connect-src 'self';", closed):
            self.assertIn(part, said)
        self.assertEqual("no-referrer", dict(headers)["Referrer-Policy"])
        self.assertEqual(self.text, body.decode())

    def test_line_ends_of_another_system_change_no_hash(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "page.html")
            with open(path, "w", encoding="utf-8", newline="\r\n") as file:
                file.write(self.text)
            self.assertEqual(Page(os.path.join(TOP, "dashboard.html")).answer(), Page(path).answer())

    def test_a_second_script_is_refused(self) -> None:
        with self.assertRaises(BadPage):
            policy(self.text + "<script src='more.js'></script>")

    def test_a_missing_file_is_a_plain_404(self) -> None:
        page = Page(os.path.join(TOP, "no-such-page.html"))
        self.assertEqual((404, "text/plain; charset=utf-8", ()), (page.status, page.content_type, page.answer()[1]))
