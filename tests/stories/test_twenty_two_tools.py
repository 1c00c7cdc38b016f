"""An architect and two workers do everything that they need through the 22 tools alone, over stdio.

Nothing here talks HTTP: what a session cannot say with a tool, it cannot do.
"""

from __future__ import annotations

import json
import unittest
from typing import Any

from lattice.contract.operations import TOOLS
from tests.running import Session, ToolFailed, free_port, temporary_home, until


class ThroughTheToolsAlone(unittest.TestCase):
    time_bound_s = 90.0

    def setUp(self) -> None:
        self.home = self.enterContext(temporary_home())
        self.port = str(free_port())
        self.used: set[str] = set()
        self.arch = self.session("arch", PEER_ROLE="architect")
        self.w1 = self.session("w1")
        self.w2 = self.session("w2")

    def session(self, id: str, **environ: str) -> Session:
        session = self.enterContext(Session(self.home, C2_LATTICE_PORT=self.port, PEER_ID=id, **environ))
        session.initialize()
        return session

    def use(self, session: Session, tool: str, **arguments: Any) -> dict[str, Any]:
        self.used.add(tool)
        return session.call(tool, arguments)

    def fail_to(self, session: Session, tool: str, **arguments: Any) -> str:
        self.used.add(tool)
        with self.assertRaises(ToolFailed, msg=f"{tool} {arguments}") as failed:
            session.call(tool, arguments)
        return failed.exception.text

    def mail(self, session: Session) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.use(session, "check_messages")["messages"]
        return found

    def letter(self, session: Session, word: str) -> dict[str, Any]:
        """The one message with this word in it; other mail is passed over."""
        seen: list[dict[str, Any]] = []

        def look() -> dict[str, Any] | None:
            seen.extend(self.mail(session))
            return next((one for one in seen if word in one["content"]), None)

        found: dict[str, Any] = until(look, f"mail with {word!r}; there was {seen}")
        return found

    def test_an_architect_and_two_workers_need_nothing_else(self) -> None:
        arch, w1, w2 = self.arch, self.w1, self.w2
        # who is here
        for session, line in ((arch, "leads"), (w1, "parser"), (w2, "tests")):
            self.use(session, "set_summary", summary=line)
        me = self.use(arch, "list_peers")
        self.assertEqual((me["your_id"], me["your_role"]), ("arch", "architect"))
        self.assertEqual({peer["id"]: peer["summary"] for peer in me["peers"]}, {"w1": "parser", "w2": "tests"})
        self.assertIn(f":{self.port}/dashboard", self.use(w1, "view_dashboard")["dashboard_url"])

        # a run begins with its tasks: an unknown run_id makes it, a batch is all or nothing
        self.fail_to(arch, "create_task", tasks=[{"title": "a"}, {"title": "b", "blocked_by": [-2]}], run_id="broken")
        made = self.use(arch, "create_task", run_id="release", tasks=[
            {"title": "parser", "priority": "high"}, {"title": "tests", "blocked_by": [-1], "needs_review": True},
            {"title": "docs", "blocked_by": [-1]}, {"title": "experiment"}, {"title": "port"},
        ])["task_ids"]  # fmt: skip
        parser, tests, docs, experiment, port = made
        self.assertEqual(len(self.use(w1, "list_tasks", status="pending")["tasks"]), 5, "nothing of the broken batch")
        self.use(arch, "broadcast", category="status_update", content="the release begins, see list_tasks")
        for worker in (w1, w2):
            self.assertEqual(self.letter(worker, "the release begins")["from"], "arch")
        self.fail_to(w1, "broadcast", category="status_update", content="only the architect may")

        # a claim is exclusive, so is a lock
        self.use(w1, "claim_task", task_id=parser)
        self.assertIn("w1", self.fail_to(w2, "claim_task", task_id=parser))
        self.fail_to(w2, "claim_task", task_id=tests)
        self.use(w1, "lock_file", file_path="src/parser.py")
        self.assertIn("w1", self.fail_to(w2, "lock_file", file_path="src/parser.py"))
        self.assertEqual([lock["peer_id"] for lock in self.use(w2, "list_locks")["locks"]], ["w1"])
        self.fail_to(w2, "unlock_file", file_path="src/parser.py")

        # memory: a decision, its history, and a write that names an old version
        self.assertEqual(self.use(w1, "set_memory", key="grammar", value="PEG", type="decision")["version"], 1)
        self.assertEqual(self.use(arch, "set_memory", key="grammar", value="LL(1)", type="decision", expect_version=1)["version"], 2)
        self.assertIn("LL(1)", self.fail_to(w1, "set_memory", key="grammar", value="PEG!", expect_version=1))
        self.assertEqual(self.use(w2, "get_memory", key="grammar")["value"], "LL(1)")
        versions = self.use(w2, "get_memory", key="grammar", history=True)["history"]
        self.assertEqual([entry["value"] for entry in versions], ["LL(1)", "PEG"])

        # a blocker is answered, and closed by the answer
        raised = self.use(w1, "raise_blocker", description="which Unicode version?", task_id=parser)
        self.assertIn("arch", json.dumps(raised))
        question = self.letter(arch, "which Unicode version?")
        self.assertEqual((question["from"], question["category"]), ("w1", "blocker"))
        self.use(
            arch, "send_message", recipient_id="w1", category="finding", content="Unicode 15", reply_to=question["id"], verdict="answer"
        )
        self.assertEqual(self.letter(w1, "Unicode 15")["reply_to"], question["id"])
        self.use(w1, "unlock_file", file_path="src/parser.py")
        freed = self.use(w1, "complete_task", task_id=parser, artifacts={"summary": "parser done", "files_touched": ["src/parser.py"]})
        self.assertEqual({one["id"] for one in freed["newly_unblocked"]}, {tests, docs})
        self.fail_to(w1, "complete_task", task_id=parser, artifacts={"summary": "again"})

        # a review: asked for, sent back, asked for again, approved; not completed before
        self.use(w2, "claim_task", task_id=tests)
        self.assertIn("review", self.fail_to(w2, "complete_task", task_id=tests, artifacts={"summary": "unreviewed"}).lower())
        self.use(w2, "request_review", task_id=tests, summary="first try")
        asked = self.letter(arch, "first try")
        self.use(arch, "send_message", recipient_id="w2", category="finding", content="more cases", reply_to=asked["id"], verdict="changes")
        self.letter(w2, "more cases")
        self.fail_to(w2, "complete_task", task_id=tests, artifacts={"summary": "sent back"})
        self.use(w2, "request_review", task_id=tests, summary="second try")
        asked = self.letter(arch, "second try")
        self.use(arch, "send_message", recipient_id="w2", category="finding", content="well done", reply_to=asked["id"], verdict="approve")
        self.letter(w2, "well done")
        self.use(w2, "complete_task", task_id=tests, artifacts={"summary": "tests done", "tests_run": "all", "risks": "none"})
        self.assertEqual(self.use(arch, "get_task", task_id=tests)["task"]["status"], "completed")

        # the other ends of a task: given back, and failed
        self.use(w1, "claim_task", task_id=docs)
        self.use(w1, "complete_task", task_id=docs, outcome="released", artifacts={"summary": "w2 knows more"})
        self.assertEqual(self.use(w2, "get_task", task_id=docs)["task"]["status"], "pending")
        self.use(w2, "claim_task", task_id=docs)
        self.use(w2, "complete_task", task_id=docs, artifacts={"summary": "docs done"})
        self.use(w1, "claim_task", task_id=experiment)
        self.use(w1, "complete_task", task_id=experiment, outcome="failed", artifacts={"summary": "cannot work"})
        self.assertEqual(self.use(arch, "get_task", task_id=experiment)["task"]["status"], "failed")

        # the conversation is kept for whoever takes over
        self.use(w1, "log_conversation", turn_type="summary", content="parser: LL(1), Unicode 15")
        told = self.use(arch, "get_conversation", peer_id="w1")["conversation"]
        self.assertEqual([turn["content"] for turn in told], ["parser: LL(1), Unicode 15"])

        # another worker is asked for; the person decides, so nothing opens now
        self.assertIn("pending", json.dumps(self.use(arch, "spawn_worker", peer_id="w3")))
        self.fail_to(w1, "spawn_worker", peer_id="w4")

        # and somebody takes the run up later
        run = self.use(w1, "resume_run", run_id="release")
        self.assertEqual({task["id"]: task["status"] for task in run["tasks"]}, {
            parser: "completed", tests: "completed", docs: "completed", experiment: "failed", port: "pending"})  # fmt: skip
        self.assertIn("grammar", json.dumps(run["memory"]))
        self.assertTrue(run["recent_messages"])
        self.use(w2, "send_message", recipient_id="@architect", category="question", content="is the port still wanted?", run_id="release")
        self.letter(arch, "still wanted?")
        self.assertEqual(self.used, set(TOOLS), "every tool was needed")

    def test_every_result_tells_what_waits(self) -> None:
        for session in (self.arch, self.w1):
            self.use(session, "list_tasks")
        self.use(self.arch, "send_message", recipient_id="w1", category="finding", content="look at this")
        said = until(lambda: self.use(self.w1, "list_locks").get("waiting"), "the next result says that mail waits")
        self.assertIn("arch", said)
        self.assertIn("check_messages", said)
        result = self.w1.result("list_locks")
        self.assertEqual(json.loads(result["content"][0]["text"]), result["structuredContent"], "the text says the same")
        self.letter(self.w1, "look at this")
        until(lambda: "waiting" not in self.use(self.w1, "list_locks"), "nothing waits any more")

    def test_a_paused_session_is_told_so_and_can_read_and_cry_for_help(self) -> None:
        self.use(self.w1, "list_tasks")
        from tests.running import Broker

        broker = Broker(self.home, C2_LATTICE_PORT=self.port)
        self.addCleanup(broker.close)
        person = broker.person()
        person.post("/pause", {"peer_id": "w1"})
        for tool, arguments in (
            ("create_task", {"title": "x"}), ("set_memory", {"key": "k", "value": "v"}), ("lock_file", {"file_path": "a"}),
            ("send_message", {"recipient_id": "arch", "category": "finding", "content": "x"}),
        ):  # fmt: skip
            self.assertIn("paused", self.fail_to(self.w1, tool, **arguments))
        self.use(self.w1, "list_tasks")
        self.use(self.w1, "check_messages")
        self.use(self.w1, "raise_blocker", description="why am I paused?")
        person.post("/resume", {"peer_id": "w1"})
        self.use(self.w1, "create_task", title="x")


if __name__ == "__main__":
    unittest.main()
