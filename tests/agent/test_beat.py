"""The beat, over stdio against a scripted broker: what it says, and what results tell because of it."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
import unittest
from typing import Any

from lattice.agent.beat import MIN_GAP_S
from lattice.errors import Forbidden, NotFound, Unauthorized, Unavailable
from tests.agent.scripted import ScriptedBroker
from tests.running import Session, until


class Beats(unittest.TestCase):
    def setUp(self) -> None:
        self.home = self.enterContext(tempfile.TemporaryDirectory())
        self.broker = self.enterContext(ScriptedBroker(os.path.join(self.home, "state")))

    def start(self, **more: Any) -> Session:
        session = self.enterContext(Session(self.home, C2_LATTICE_PORT=str(self.broker.port), **more))
        session.initialize()
        return session

    def test_it_beats_after_the_first_call_and_waits_for_news(self) -> None:
        self.start().result("list_peers")
        first, second = self.broker.wait_for("/heartbeat", 2)[:2]
        self.assertEqual((first["seen"], first["wait_s"]), ("", 3))
        self.assertEqual(second["seen"], "1")
        self.assertEqual(first["process"], self.broker.bodies("/register")[0]["process"])

    def test_it_enrols_soon_after_the_first_list_and_not_before(self) -> None:
        client = self.start()
        self.assertEqual(self.broker.bodies("/register"), [])
        client.request("tools/list")
        self.broker.wait_for("/heartbeat")

    def test_a_server_that_was_asked_for_nothing_leaves_no_trace(self) -> None:
        client = self.start(PEER_ID="ghost")
        client.request("tools/list")
        self.broker.wait_for("/heartbeat")
        client.close()
        self.assertEqual(self.broker.wait_for("/leave")[0]["forget"], True)
        self.assertEqual(os.listdir(os.path.join(self.home, "state", "sessions")), [])

    def test_a_server_that_was_used_leaves_and_is_remembered(self) -> None:
        client = self.start(PEER_ID="alice")
        client.result("list_peers")
        client.close()
        self.assertEqual(self.broker.wait_for("/leave")[0]["forget"], False)
        again = self.start(PEER_ID="alice")
        again.request("tools/list")
        self.broker.wait_for("/register", 2)
        again.close()
        self.assertEqual(self.broker.wait_for("/leave", 2)[1]["forget"], False, "it was a peer before")
        self.assertEqual(self.broker.bodies("/register")[1]["resume"], "resume-secret")

    def test_an_idle_session_that_was_forgotten_and_could_not_enrol_at_once_beats_on_without_a_call(self) -> None:
        self.start().result("list_peers")
        self.broker.wait_for("/heartbeat")
        self.broker.script["/register"] = [Unavailable("the broker is stopping", code="stopping")]
        self.broker.script["/heartbeat"] = [NotFound("who?", code="not_registered")]
        self.broker.tell()
        self.broker.wait_for("/register", 3)
        said = len(self.broker.bodies("/heartbeat"))
        self.broker.wait_for("/heartbeat", said + 1)

    def test_every_result_says_what_waits_in_both_forms(self) -> None:
        client = self.start()
        client.result("list_peers")
        self.broker.tell(unread=2, unread_from=["arch", "w2"])
        waiting = until(lambda: client.call("list_peers").get("waiting"), "a result says that mail waits")
        self.assertEqual(waiting, "2 unread from arch, w2: check_messages")
        result = client.result("claim_task", {})
        self.assertTrue(result["isError"])
        self.assertEqual(result["structuredContent"]["waiting"], waiting)
        self.assertEqual(json.loads(result["content"][0]["text"]), result["structuredContent"])

    def test_each_loss_of_a_lock_is_told_once_also_the_second_of_the_same_file(self) -> None:
        client = self.start()
        client.result("list_peers")
        for _ in range(2):
            self.broker.tell(lost=["/src/a.py"])
            until(lambda: "you no longer hold /src/a.py" in client.call("list_peers").get("note", ""), "the next result says so")
            self.broker.tell(lost=[])
            beats = len(self.broker.bodies("/heartbeat"))
            self.broker.wait_for("/heartbeat", beats + 1)
            client.result("list_peers")
            self.assertNotIn("note", client.call("list_peers"))

    def test_a_budget_that_is_used_up_is_told_once_each_time(self) -> None:
        client = self.start()
        client.result("list_peers")
        for _ in range(2):
            self.broker.tell(budget_exceeded=True)
            until(lambda: "budget" in client.call("list_peers").get("note", ""), "the next result says so")
            self.broker.tell(budget_exceeded=True, unread=1)
            until(lambda: client.call("list_peers").get("waiting"), "another beat was answered")
            self.assertNotIn("note", client.call("list_peers"))
            self.broker.tell(budget_exceeded=False, unread=0)
            until(lambda: "waiting" not in client.call("list_peers"), "and another")

    def test_a_paused_session_hears_who_paused_it(self) -> None:
        client = self.start()
        client.result("list_peers")
        self.broker.tell(paused=True, paused_by="arch")
        until(lambda: "paused by arch" in client.call("list_peers").get("waiting", ""), "reading still works and says so")
        self.broker.script["/memory"] = [Forbidden("you are paused", code="paused")]
        result = client.result("set_memory", {"key": "k", "value": "v"})
        self.assertTrue(result["isError"])
        self.assertIn("paused by arch", result["structuredContent"]["error"])
        self.assertIn("check_messages", result["structuredContent"]["hint"])

    def test_who_was_ended_hears_it_at_every_tool(self) -> None:
        client = self.start()
        client.result("list_peers")
        self.broker.always["/heartbeat"] = Unauthorized("ended by the person; the person can resume it", code="killed")
        self.broker.tell()
        for tool, arguments in (("list_peers", {}), ("check_messages", {}), ("claim_task", {"task_id": 1})):
            result = until(lambda tool=tool, arguments=arguments: (r := client.result(tool, arguments)).get("isError") and r, "an error")
            self.assertIn("ended by the person", result["structuredContent"]["error"])
            self.assertEqual(result["structuredContent"]["code"], "killed")
        self.assertEqual(len(self.broker.bodies("/register")), 1)

    def test_the_beat_itself_enrols_again_after_it_was_forgotten(self) -> None:
        client = self.start()
        client.result("list_peers")
        self.broker.wait_for("/heartbeat", 2)
        self.broker.script["/heartbeat"] = [NotFound("who?", code="not_registered")]
        self.broker.tell()
        self.broker.wait_for("/register", 2)

    def test_a_lost_lock_is_said_once(self) -> None:
        client = self.start()
        client.result("list_peers")
        self.broker.tell(lost=["/x/a.py"])
        self.assertIn("/x/a.py", until(lambda: client.call("list_peers").get("note"), "a note"))
        self.assertNotIn("note", client.call("list_peers"))

    def test_it_says_how_often_tools_were_used_and_failed(self) -> None:
        client = self.start()
        client.result("list_peers")
        client.result("claim_task", {})

        def said() -> tuple[int, int]:
            self.broker.tell()
            last = self.broker.wait_for("/heartbeat")[-1]
            return last["tool_calls_count"], last["errors_count"]

        until(lambda: said() == (2, 1), "a beat with the counts")

    def test_a_nobody_with_mail_is_not_forgotten(self) -> None:
        client = self.start(PEER_ID="alice")
        client.request("tools/list")
        self.broker.wait_for("/heartbeat", 2)
        self.broker.tell(unread=1, unread_from=["arch"])
        self.broker.wait_for("/heartbeat", 3)
        client.close()
        self.assertEqual(self.broker.wait_for("/leave")[0]["forget"], False)

    def test_the_interval_is_the_brokers_to_set(self) -> None:
        self.broker.beat["poll_interval_ms"] = 5000
        self.start().result("list_peers")
        self.assertEqual([body["wait_s"] for body in self.broker.wait_for("/heartbeat", 2)[:2]], [3, 5])

    def test_git_goes_up_once_and_a_beat_without_it_has_no_such_fields(self) -> None:
        tree = os.path.join(self.home, "tree")
        subprocess.run(["git", "init", "-q", "-b", "trunk", tree], check=True, env={"PATH": os.environ["PATH"], "HOME": self.home})
        with open(os.path.join(tree, "new file.py"), "w", encoding="utf-8") as file:
            file.write("x")
        self.start(cwd=tree).result("list_peers")

        def with_git() -> list[dict[str, Any]]:
            self.broker.tell()
            return [body for body in self.broker.bodies("/heartbeat") if "git_branch" in body]

        first = until(with_git, "a beat with git fields")[0]
        self.assertEqual((first["git_branch"], first["git_dirty_files"], first["git_more"]), ("trunk", ["new file.py"], 0))
        count = len(self.broker.bodies("/heartbeat"))
        self.broker.tell()
        self.broker.wait_for("/heartbeat", count + 1)
        self.assertEqual(len(with_git()), 1)

    def test_a_broker_that_always_has_news_is_not_asked_in_a_rush(self) -> None:
        beats = iter(range(10**6))
        self.broker.always["/heartbeat"] = lambda body: {"ok": True, "stamp": str(next(beats)), "unread": 0, "poll_interval_ms": 3000}
        client = self.start()
        client.result("list_peers")
        self.broker.wait_for("/heartbeat", 3)
        begun = time.monotonic()
        count = len(self.broker.bodies("/heartbeat"))
        self.broker.wait_for("/heartbeat", count + 5)
        self.assertGreater(time.monotonic() - begun, 4 * MIN_GAP_S)


class TheTools(unittest.TestCase):
    """What a tool adds to the broker's answer, or to the call."""

    def setUp(self) -> None:
        self.home = self.enterContext(tempfile.TemporaryDirectory())
        self.broker = self.enterContext(ScriptedBroker(os.path.join(self.home, "state")))
        self.client = self.enterContext(
            Session(
                self.home, C2_LATTICE_PORT=str(self.broker.port), PEER_ID="w1", PEER_DIR=os.path.join(self.home, "base"), TMUX="/tmp/t,1,0"
            )
        )
        self.client.initialize()

    def test_list_peers_leaves_the_caller_out(self) -> None:
        self.broker.always["/peers"] = {
            "peers": [
                {"id": "w1", "role": "worker", "last_heartbeat": 5},
                {"id": "w2", "role": "worker", "summary": "", "last_heartbeat": 6, "git_branch": "main", "git_dirty_files": []},
            ]
        }
        said = self.client.call("list_peers")
        self.assertEqual((said["your_id"], said["your_role"]), ("w1", "worker"))
        self.assertEqual(said["peers"], [{"id": "w2", "role": "worker", "summary": "", "git_branch": "main", "last_seen": 6}])

    def test_view_dashboard_says_the_address_and_how_to_sign_in(self) -> None:
        said = self.client.call("view_dashboard")
        self.assertEqual(said["dashboard_url"], f"http://127.0.0.1:{self.broker.port}/dashboard")
        self.assertIn("c2-lattice page", said["sign_in"])
        self.assertEqual((said["your_id"], said["peers"]), ("w1", []))

    def test_locks_carry_their_base_and_their_token(self) -> None:
        self.broker.script["/lock"] = [{"ok": True, "token": 41}]
        self.broker.script["/unlock"] = [{"ok": True}] * 2
        for tool in ("lock_file", "unlock_file", "unlock_file"):
            self.client.call(tool, file_path="a.py")
        base = os.path.join(self.home, "base")
        self.assertEqual({key: self.broker.bodies("/lock")[0][key] for key in ("file_path", "base")}, {"file_path": "a.py", "base": base})
        first, second = self.broker.bodies("/unlock")
        self.assertEqual((first["token"], first["base"]), (41, base))
        self.assertNotIn("token", second)

    def test_completing_names_the_token_of_the_claim(self) -> None:
        self.broker.script["/tasks/claim"] = [{"ok": True, "token": 7}]
        self.broker.always["/tasks/complete"] = {"ok": True}
        self.client.call("claim_task", task_id=3)
        self.client.call("complete_task", task_id=3, artifacts={"summary": "done"})
        self.client.call("complete_task", task_id=4, artifacts={"summary": "done"})
        first, second = self.broker.bodies("/tasks/complete")
        self.assertEqual(first["token"], 7)
        self.assertNotIn("token", second)

    def test_spawning_says_where_and_in_which_tmux(self) -> None:
        self.broker.always["/spawn"] = {"ok": True}
        self.client.call("spawn_worker", peer_id="w9")
        said = self.broker.bodies("/spawn")[0]
        self.assertEqual((said["tmux"], said["working_dir"]), ("/tmp/t,1,0", os.path.join(self.home, "base")))

    def test_tools_that_share_a_path_say_which_they_are(self) -> None:
        self.broker.always.update({"/send": {"ok": True}, "/escalations": {"ok": True}, "/conversation/w1": {"conversation": []}})
        self.client.call("broadcast", category="finding", content="x")
        self.client.call("raise_blocker", description="stuck")
        self.client.call("request_review", task_id=1, summary="look")
        self.client.call("get_conversation")
        self.assertEqual(self.broker.bodies("/send")[0]["recipient_id"], "broadcast")
        self.assertEqual([body["kind"] for body in self.broker.bodies("/escalations")], ["blocker", "review"])
        self.assertEqual([body["text"] for body in self.broker.bodies("/escalations")], ["stuck", "look"])
        self.assertEqual(len(self.broker.bodies("/conversation/w1")), 1)


if __name__ == "__main__":
    unittest.main()
