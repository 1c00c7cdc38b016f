"""The sets of tools beside the 22: an architect leads, and anybody looks further, by tools alone."""

from __future__ import annotations

import unittest

from lattice.agent import tools
from lattice.contract.operations import TOOLS
from tests.running import Broker, Session, until


class MoreTools(unittest.TestCase):
    def setUp(self) -> None:
        self.broker = self.enterContext(Broker())
        self.arch = self.begin("arch", PEER_ROLE="architect", C2_LATTICE_TOOLSETS="lead,extra")
        self.w1 = self.begin("w1")

    def begin(self, peer: str, **environ: str) -> Session:
        session = self.enterContext(Session(self.broker.home, C2_LATTICE_PORT=str(self.broker.port), PEER_ID=peer, **environ))
        until(lambda: session.call("list_peers")["your_id"] == peer, "it is enrolled")
        return session

    def test_every_one_of_them_is_used_once(self) -> None:
        arch, used = self.arch, set()

        def use(tool: str, **arguments: object) -> dict[str, object]:
            used.add(tool)
            return arch.call(tool, **arguments)

        use("create_run", id="r1", name="the release", goal="out on Friday")
        first, second = arch.call("create_task", run_id="r1", tasks=[{"title": "parser"}, {"title": "printer"}])["task_ids"]
        use("assign_task", task_id=first, peer_id="w1")
        use("edit_task", task_id=first, title="the parser", priority="high")
        use("depend_task", task_id=second, add=[first])
        self.assertIn("reserved for you", self.w1.call("check_messages")["messages"][0]["content"])
        self.w1.call("claim_task", task_id=first)
        self.w1.call("raise_blocker", description="which grammar?")
        self.assertEqual("which grammar?", use("list_escalations", state="open")["escalations"][0]["text"])
        use("pause", peer_id="w1")
        refused = self.w1.result("claim_task", task_id=second)
        self.assertEqual((True, "paused"), (refused.get("isError"), refused["structuredContent"]["code"]))
        use("resume", peer_id="w1")
        self.assertEqual(first, use("ping", peer_id="w1")["current_task"]["id"])
        use("budget", peer_id="w1", token_budget=1000)
        use("cancel_task", task_id=second, reason="not needed")
        sent = arch.call("send_message", recipient_id="w1", category="finding", content="LL(1) it is")
        self.assertEqual("queued", use("receipts", message_id=sent["message_id"])["deliveries"][0]["state"])
        self.assertEqual(["message"], [found["kind"] for found in use("search", q="LL(1)")["results"]])
        self.assertEqual(["r1"], [run["id"] for run in use("list_runs")["runs"]])
        self.assertIn("you are arch", use("capsule")["capsule"])
        self.broker.person().post("/kill-peer", {"peer_id": "w1"})
        self.assertEqual([first], use("adopt", peer_id="w1")["tasks"])
        self.assertEqual(set(tools.offered("lead,extra")) - set(TOOLS), used)

    def test_a_set_that_does_not_exist_is_said_once_and_the_22_are_there(self) -> None:
        environ = {"C2_LATTICE_PORT": str(self.broker.port), "C2_LATTICE_TOOLSETS": "leads"}
        session = self.enterContext(Session(self.broker.home, PEER_ID="w2", **environ))
        self.assertEqual(22, len(session.request("tools/list")["tools"]))
        self.assertIn("there is no set 'leads'", str(session.call("list_peers").get("note")))
        self.assertNotIn("note", session.call("list_peers"))


if __name__ == "__main__":
    unittest.main()
