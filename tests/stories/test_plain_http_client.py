"""A program written for the first version's HTTP interface works, with only enrolment added."""

from __future__ import annotations

import json
import os
import unittest

from tests.running import Broker, Peer


class APlainHttpClient(unittest.TestCase):
    def setUp(self) -> None:
        self.broker = self.enterContext(Broker())

    def refused(self, peer: Peer, method: str, path: str, body: object, status: int) -> str:
        got, said = peer.call(method, path, body)
        self.assertEqual(got, status, said)
        self.assertEqual({"error", "code", "retryable"} - set(said), set(), "the one error shape")
        return str(said["error"])

    def test_the_whole_walk(self) -> None:
        here = os.path.join(self.broker.home, "repo")
        os.mkdir(here)
        arch = self.broker.enrol("arch", "architect", pid=os.getpid(), working_dir=here, summary="leads")
        worker = self.broker.enrol("w1", "worker", pid=os.getpid(), working_dir=here)

        # heartbeat
        beat = worker.post("/heartbeat", {"id": "w1", "git_branch": "main", "git_dirty_files": "a.py,b.py", "git_last_commit": "abc"})
        self.assertEqual((beat["ok"], beat["paused"]), (True, False))
        self.assertIn("poll_interval_ms", beat)
        worker.post("/heartbeat", {"id": "w1"})
        self.assertEqual(worker.get("/peer/w1")["git_branch"], "main", "a beat without git fields changes none")
        self.assertEqual({peer["id"] for peer in arch.get("/peers?scope=all")["peers"]}, {"arch", "w1"})

        # send, and the inbox
        letter = {"sender_id": "w1", "recipient_id": "arch", "category": "question", "content": "which parser?"}
        self.assertTrue(worker.post("/send", letter)["ok"])
        found = arch.get("/messages/arch")["messages"]
        self.assertEqual([(one["sender_id"], one["category"], one["content"]) for one in found], [("w1", "question", "which parser?")])
        self.assertEqual(arch.get("/messages/arch")["messages"], [], "gone from the next answer")
        self.assertIn("content", self.refused(worker, "POST", "/send", {**letter, "content": ""}, 400))
        self.refused(worker, "POST", "/send", {**letter, "recipient_id": "nobody"}, 404)
        self.refused(worker, "POST", "/send", {**letter, "category": "command"}, 403)
        self.refused(worker, "POST", "/send", {**letter, "recipient_id": "broadcast"}, 403)
        self.assertTrue(arch.post("/send", {**letter, "sender_id": "arch", "recipient_id": "broadcast"})["ok"])
        self.assertEqual(len(worker.get("/messages/w1")["messages"]), 1)
        rows = arch.get("/messages-all?limit=10")["messages"]  # a broadcast is a row for each who hears it
        self.assertEqual(
            {(row["sender_id"], row["recipient_id"]) for row in rows}, {("w1", "arch"), ("arch", "w1"), ("arch", "command-center")}
        )
        self.assertEqual(len(worker.get("/messages-for/w1?limit=10")["messages"]), 2)

        # tasks that wait for each other
        first = arch.post("/tasks", {"title": "one", "created_by": "arch", "priority": "high"})["task_id"]
        second = arch.post("/tasks", {"title": "two", "created_by": "arch", "blocked_by": [first]})["task_id"]
        listed = {task["id"]: task for task in worker.get("/tasks")["tasks"]}
        self.assertEqual((listed[first]["claimable"], listed[second]["claimable"]), (True, False))
        self.assertEqual(listed[second]["blocked_by"], str(first))
        self.assertEqual(self.refused(worker, "POST", "/tasks/claim", {"task_id": 999, "peer_id": "w1"}, 404), "task not found")
        self.refused(worker, "POST", "/tasks/claim", {"task_id": second, "peer_id": "w1"}, 409)
        worker.post("/tasks/claim", {"task_id": first, "peer_id": "w1"})
        self.refused(arch, "POST", "/tasks/claim", {"task_id": first, "peer_id": "arch"}, 409)
        self.refused(worker, "POST", "/tasks/complete", {"task_id": first, "peer_id": "w1"}, 400)
        done = worker.post("/tasks/complete", {"task_id": first, "peer_id": "w1", "artifacts": {"summary": "made one"}})
        self.assertEqual(done["newly_unblocked"], [{"id": second, "title": "two"}])
        one = worker.get(f"/tasks/{first}")["task"]
        self.assertEqual((one["status"], one["artifacts"]["summary"]), ("completed", "made one"))
        self.assertEqual([blocked["id"] for blocked in one["blocks"]], [second])
        raw = next(task for task in worker.get("/tasks?status=completed")["tasks"] if task["id"] == first)
        self.assertEqual(json.loads(raw["artifacts"])["summary"], "made one")

        # a lock
        self.assertTrue(worker.post("/lock", {"peer_id": "w1", "file_path": "src/app.py"})["ok"])
        self.assertTrue(worker.post("/lock", {"peer_id": "w1", "file_path": "src/app.py"})["ok"], "its owner may ask again")
        path = os.path.join(here, "src", "app.py")
        self.assertIn("w1", self.refused(arch, "POST", "/lock", {"peer_id": "arch", "file_path": path}, 409))
        locks = arch.get("/locks")["locks"]
        self.assertEqual([(lock["file_path"], lock["peer_id"]) for lock in locks], [(path, "w1")])
        other = self.broker.enrol("w2", working_dir=here)
        self.refused(other, "POST", "/unlock", {"peer_id": "w2", "file_path": path}, 403)
        self.assertTrue(worker.post("/unlock", {"peer_id": "w1", "file_path": "src/app.py"})["ok"])
        self.assertEqual(arch.get("/locks")["locks"], [])

        # memory
        put = {"key": "db", "value": "sqlite", "peer_id": "w1", "type": "decision"}
        self.assertEqual(worker.post("/memory", put)["version"], 1)
        self.assertEqual(worker.post("/memory", {**put, "value": "sqlite, WAL"})["version"], 2)
        self.assertEqual(arch.get("/memory?key=db")["value"], "sqlite, WAL")
        self.assertEqual([entry["version"] for entry in arch.get("/memory/history?key=db")["history"]], [2, 1])
        self.assertEqual([entry["key"] for entry in arch.get("/memory?type=decision")["memory"]], ["db"])
        self.refused(arch, "GET", "/memory?key=none", None, 404)

        # a run and its summary
        self.assertEqual(arch.post("/runs", {"id": "r1", "name": "First", "goal": "ship", "created_by": "arch"})["run_id"], "r1")
        self.refused(arch, "POST", "/runs", {"id": "r1", "name": "First", "created_by": "arch"}, 409)
        in_run = arch.post("/tasks", {"title": "three", "created_by": "arch", "run_id": "r1"})["task_id"]
        told = worker.get("/runs/r1/summary")
        self.assertEqual((told["run"]["id"], told["run"]["goal"]), ("r1", "ship"))
        self.assertEqual([task["id"] for task in told["tasks"]], [in_run])
        self.assertLessEqual({"memory", "recent_messages"}, set(told))
        self.assertEqual([run["id"] for run in worker.get("/runs?status=active")["runs"]], ["r1"])

        # and the rest that such a client reads
        worker.post("/summary", {"id": "w1", "summary": "at work"})
        self.assertEqual(arch.post("/ping", {"peer_id": "w1"})["peer_id"], "w1")
        worker.post("/conversation", {"peer_id": "w1", "turn_type": "user", "content": "hello"})
        turns = worker.get("/conversation/w1?requester=w1&last=5")["conversation"]
        self.assertEqual([turn["content"] for turn in turns], ["hello"])
        self.assertTrue(arch.get("/log?requester=arch&last=5")["logs"])

    def test_http_1_0_without_keep_alive_is_still_served(self) -> None:
        import socket

        with socket.create_connection(("127.0.0.1", self.broker.port), timeout=10) as link:
            link.sendall(f"GET /health HTTP/1.0\r\nHost: 127.0.0.1:{self.broker.port}\r\n\r\n".encode())
            answer = b""
            while data := link.recv(65536):
                answer += data
        head, _, body = answer.partition(b"\r\n\r\n")
        self.assertIn(b" 200 ", head.split(b"\r\n")[0])
        self.assertEqual(json.loads(body)["port"], self.broker.port)


if __name__ == "__main__":
    unittest.main()
