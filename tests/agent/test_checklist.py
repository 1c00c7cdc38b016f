"""MCP over stdio, both eras: one test for each rule that a client may rely on, against a real server process.

The rules are numbered: framing 1-6, lifecycle 7-15, tools 16-25, process 26-29.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from typing import Any

from lattice.agent.session import LEGACY, MODERN, SUPPORTED
from lattice.contract.operations import TOOLS
from lattice.errors import Conflict
from tests.agent.scripted import ScriptedBroker
from tests.running import PYTHON, TOP, Session, environment, until

PV = "io.modelcontextprotocol/protocolVersion"
CC = "io.modelcontextprotocol/clientCapabilities"
SI = "io.modelcontextprotocol/serverInfo"
META = {PV: "2026-07-28", CC: {}}


class WithServer(unittest.TestCase):
    """One home and scripted broker for the class; a server process for each test."""

    @classmethod
    def setUpClass(cls) -> None:
        cls.home = cls.enterClassContext(tempfile.TemporaryDirectory())
        cls.broker = cls.enterClassContext(ScriptedBroker(os.path.join(cls.home, "state")))

    def setUp(self) -> None:
        self.broker.script.clear()
        self.client = self.start()

    def start(self, **environ: str) -> Session:
        return self.enterContext(Session(self.home, C2_LATTICE_PORT=str(self.broker.port), **environ))

    def failure(self, id: object) -> dict[str, Any]:
        return self.client.answer(id)["error"]

    def fails(self, method: str, params: Any = None) -> dict[str, Any]:
        message: dict[str, Any] = {"jsonrpc": "2.0", "id": f"{method}?", "method": method}
        if params is not None:
            message["params"] = params
        self.client.send(message)
        return self.failure(f"{method}?")

    def lines_until(self, id: object) -> list[dict[str, Any]]:
        """Everything that was written up to the answer to a ping with this id."""
        self.client.send({"jsonrpc": "2.0", "id": id, "method": "ping"})
        self.client.answer(id)
        return [json.loads(line) for line in self.client.lines]


class Framing(WithServer):
    def test_01_each_line_is_one_message_and_nothing_else_is_on_stdout(self) -> None:
        self.client.initialize()
        self.client.result("list_peers")
        self.client.send(b"garbage\n")
        for message in self.lines_until("end"):
            self.assertEqual(message["jsonrpc"], "2.0")
        self.assertTrue(all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in self.client.lines))

    def test_02_blank_lines_unknown_notifications_and_stray_answers_are_ignored(self) -> None:
        for line in (
            b"\n",
            b"  \n",
            b'{"jsonrpc":"2.0","method":"notifications/what"}\n',
            b'{"jsonrpc":"2.0","id":9,"result":{}}\n',
            b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":404}}\n',
            b'{"jsonrpc":"2.0","method":"notifications/cancelled"}\n',
            b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":[]}}\n',
        ):
            self.client.send(line)
        self.assertEqual([message.get("id") for message in self.lines_until("end")], ["end"])

    def test_03_broken_lines_get_an_error_without_an_id_and_the_talk_goes_on(self) -> None:
        for line, code in (
            (b"{\n", -32700),
            (b'{"jsonrpc":"2.0","id":1,"method":"\xff"}\n', -32700),
            (b"[]\n", -32600),
            (b"3\n", -32600),
            (b'{"jsonrpc":"2.0","id":null,"method":"ping"}\n', -32600),
        ):
            self.client.send(line)
            self.assertEqual(
                self.lines_until(f"after {line!r}")[-2],
                {"jsonrpc": "2.0", "error": {"code": code, "message": self.lines_until("again")[-3]["error"]["message"]}},
            )

    def test_04_ids_come_back_with_their_type(self) -> None:
        for id in (0, -3, 2**53, "", "0", "é"):
            self.client.send({"jsonrpc": "2.0", "id": id, "method": "ping"})
            answer = self.client.answer(id)
            self.assertEqual((type(answer["id"]), answer["id"]), (type(id), id))

    def test_05_a_batch_is_refused(self) -> None:
        self.client.send([{"jsonrpc": "2.0", "id": 1, "method": "ping"}, {"jsonrpc": "2.0", "id": 2, "method": "ping"}])
        messages = self.lines_until("end")
        self.assertEqual([message.get("error", {}).get("code") for message in messages], [-32600, None])

    def test_06_huge_and_deep_lines_are_survived(self) -> None:
        self.client.send({"jsonrpc": "2.0", "id": "big", "method": "ping", "params": {"x": "y" * 1024 * 1024}})
        self.assertEqual(self.client.answer("big")["result"], {})
        self.client.send(b"[" * 100_000 + b"\n")
        self.client.send(b'{"a":' * 100_000 + b"\n")
        self.client.send(b"x" * (9 * 1024 * 1024) + b"\n")
        self.assertEqual([message["error"]["code"] for message in self.lines_until("end")[1:-1]], [-32700, -32700, -32600])


class LegacyLifecycle(WithServer):
    def test_07_initialize_echoes_a_version_it_knows_and_else_names_its_newest(self) -> None:
        for asked, answered in (
            *((version, version) for version in LEGACY),
            ("2025-03-26", LEGACY[0]),
            ("1999-01-01", LEGACY[0]),
            ("2026-07-28", LEGACY[0]),
        ):
            result = self.client.request(
                "initialize", {"protocolVersion": asked, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
            )
            self.assertEqual(result["protocolVersion"], answered)
            self.assertEqual(result["capabilities"], {"tools": {}})
            self.assertEqual(set(result["serverInfo"]), {"name", "version"})
            self.assertLess(len(result["instructions"].encode()), 2048)

    def test_07b_requests_are_served_before_initialized(self) -> None:
        self.assertEqual(len(self.client.request("tools/list")["tools"]), 22)

    def test_08_ping_is_answered_while_a_tool_runs(self) -> None:
        release = threading.Event()
        self.broker.script["/tasks"] = [lambda body: release.wait(10) and {"tasks": []}]
        running = self.client.ask("tools/call", {"name": "list_tasks", "arguments": {}})
        self.broker.wait_for("/tasks")
        self.assertEqual(self.client.request("ping"), {})
        self.assertNotIn(running, self.client.answers)
        release.set()
        self.assertEqual(self.client.answer(running)["result"]["structuredContent"]["tasks"], [])

    def test_09_an_unknown_method_and_a_wrong_shape_have_their_codes(self) -> None:
        self.assertEqual(self.fails("no/such")["code"], -32601)
        self.assertEqual(self.fails("tools/list", [])["code"], -32602)
        self.assertEqual(self.fails("tools/call", {"name": 3})["code"], -32602)
        self.assertEqual(self.fails("tools/call", {"name": "list_peers", "arguments": []})["code"], -32602)
        self.assertEqual(self.fails("tools/list", {"_meta": 3})["code"], -32602)
        self.assertEqual(self.fails("initialize", {"protocolVersion": 3})["code"], -32602)

    def test_09b_null_params_are_no_params(self) -> None:
        self.client.send(b'{"jsonrpc":"2.0","id":5,"method":"ping","params":null}\n')
        self.assertEqual(self.client.answer(5)["result"], {})


class ModernLifecycle(WithServer):
    def test_10_a_request_is_modern_if_and_only_if_its_meta_says_so(self) -> None:
        self.assertNotIn("resultType", self.client.request("tools/list"))
        self.assertEqual(self.client.request("tools/list", {"_meta": META})["resultType"], "complete")
        self.assertEqual(self.fails("tools/list", {"_meta": {PV: "2026-07-28"}})["code"], -32602)
        self.assertEqual(self.fails("server/discover", {})["code"], -32602)

    def test_11_an_unsupported_version_is_told_the_one_list(self) -> None:
        for version in ("2030-01-01", "2025-11-25"):
            failure = self.fails("tools/list", {"_meta": {**META, PV: version}})
            self.assertEqual((failure["code"], failure["data"]), (-32022, {"supported": list(SUPPORTED), "requested": version}))
        self.assertEqual(self.client.request("server/discover", {"_meta": META})["supportedVersions"], list(SUPPORTED))
        self.assertEqual(SUPPORTED, MODERN + LEGACY)

    def test_12_discover_says_all_it_must(self) -> None:
        said = self.client.request("server/discover", {"_meta": META})
        self.assertEqual(set(said), {"supportedVersions", "capabilities", "instructions", "ttlMs", "cacheScope", "resultType", "_meta"})
        self.assertEqual((said["capabilities"], said["cacheScope"], said["_meta"][SI]["name"]), ({"tools": {}}, "private", "c2-lattice"))
        self.assertGreaterEqual(said["ttlMs"], 0)

    def test_13_every_result_is_complete_and_the_list_says_how_long_it_keeps(self) -> None:
        listed = self.client.request("tools/list", {"_meta": META})
        self.assertEqual((listed["resultType"], listed["cacheScope"]), ("complete", "private"))
        self.assertGreaterEqual(listed["ttlMs"], 0)
        called = self.client.request("tools/call", {"_meta": META, "name": "list_peers", "arguments": {}})
        self.assertEqual(called["resultType"], "complete")
        self.assertIn(SI, called["_meta"])
        for method in ("ping", "initialize", "logging/setLevel"):
            self.assertEqual(self.fails(method, {"_meta": META})["code"], -32601)

    def test_14_a_subscription_is_acknowledged_first_and_answered_at_the_end(self) -> None:
        self.client.send(
            {
                "jsonrpc": "2.0",
                "id": "sub",
                "method": "subscriptions/listen",
                "params": {"_meta": META, "notifications": {"toolsListChanged": True}},
            }
        )
        self.client.request("tools/call", {"_meta": META, "name": "list_peers", "arguments": {}})
        self.client.close()
        messages = [json.loads(line) for line in self.client.lines]
        self.assertEqual(
            messages[0],
            {
                "jsonrpc": "2.0",
                "method": "notifications/subscriptions/acknowledged",
                "params": {"_meta": {"io.modelcontextprotocol/subscriptionId": "sub"}, "notifications": {}},
            },
        )
        self.assertEqual(messages[-1]["id"], "sub")
        self.assertEqual(messages[-1]["result"]["resultType"], "complete")
        self.assertEqual(len(messages), 3, "nothing that was not asked for")

    def test_14b_a_cancelled_subscription_is_not_answered(self) -> None:
        self.client.send({"jsonrpc": "2.0", "id": "sub", "method": "subscriptions/listen", "params": {"_meta": META, "notifications": {}}})
        self.client.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "sub"}})
        self.client.request("ping")
        self.client.close()
        self.assertNotIn("sub", self.client.answers)

    def test_15_codes_are_the_specifications(self) -> None:
        for params in ({"_meta": {**META, PV: "x"}}, {"_meta": {PV: "2026-07-28"}}, {"cursor": "x"}):
            self.assertIn(self.fails("tools/list", params)["code"], (-32022, -32602))


class Tools(WithServer):
    def call(self, name: str, **arguments: Any) -> dict[str, Any]:
        return self.client.result(name, arguments)

    def test_16_tools_are_declared_and_listed_in_one_order(self) -> None:
        self.assertEqual(self.client.initialize()["capabilities"], {"tools": {}})
        first = self.client.request("tools/list")
        self.assertEqual(first, self.client.request("tools/list"))
        self.assertEqual([tool["name"] for tool in first["tools"]], list(TOOLS))

    def test_17_an_unknown_cursor_is_refused(self) -> None:
        self.assertEqual(self.fails("tools/list", {"cursor": "p:22"})["code"], -32602)
        self.assertNotIn("nextCursor", self.client.request("tools/list"))

    def test_18_19_22_names_schemas_and_annotations_as_the_wire_has_them(self) -> None:
        for tool in self.client.request("tools/list")["tools"]:
            self.assertLess(len(tool["name"]), 40)
            self.assertEqual(tool["inputSchema"]["type"], "object")
            self.assertIs(tool["annotations"]["openWorldHint"], False)
            self.assertNotIn("icons", tool)
            self.assertNotIn("outputSchema", tool)
        self.assertLessEqual(
            len(json.dumps(self.client.request("tools/list")["tools"], separators=(",", ":"), ensure_ascii=False).encode()), 8000
        )

    def test_20_text_and_structure_say_the_same(self) -> None:
        self.broker.script["/tasks/7"] = [{"task": {"id": 7, "title": "Zürich 🙂", "blocks": []}}]
        for result in (
            self.call("get_task", task_id=7),
            self.call("get_task", task_id=8),
            self.call("claim_task", task_id="x"),
            self.call("list_peers"),
        ):
            self.assertEqual(len(result["content"]), 1)
            self.assertEqual(result["content"][0]["type"], "text")
            self.assertEqual(json.loads(result["content"][0]["text"]), result["structuredContent"])

    def test_21_wrong_arguments_and_refusals_are_results_that_say_what_would_work(self) -> None:
        before = len(self.broker.bodies("/tasks/claim"))
        for arguments in ({}, {"task_id": "7"}, {"task_id": 0}, {"task_id": True}, {"task_id": 7, "surplus": 1}):
            result = self.client.result("claim_task", arguments)
            self.assertTrue(result["isError"], arguments)
            self.assertEqual(result["structuredContent"]["hint"], "claim_task {task_id: integer}")
        self.assertEqual(len(self.broker.bodies("/tasks/claim")), before, "the broker was not asked")
        self.broker.script["/tasks/claim"] = [Conflict("task 7 is in progress, held by w2", hint="list_tasks {status: pending}")]
        result = self.call("claim_task", task_id=7)
        self.assertTrue(result["isError"])
        self.assertEqual(result["structuredContent"]["code"], "conflict")
        self.assertIn("held by w2", result["content"][0]["text"])
        self.assertIn("list_tasks", result["structuredContent"]["hint"])

    def test_21b_an_unknown_tool_is_an_error_of_the_protocol(self) -> None:
        for name in ("nope", "register", "kill_peer", ""):
            self.assertEqual(self.fails("tools/call", {"name": name, "arguments": {}})["code"], -32602)

    def test_23_a_cancelled_call_gets_no_answer_and_a_late_cancellation_is_nothing(self) -> None:
        release = threading.Event()
        self.broker.script["/tasks"] = [lambda body: release.wait(10) and {"tasks": []}]
        count = len(self.broker.bodies("/tasks"))
        running = self.client.ask("tools/call", {"name": "list_tasks"})
        self.client.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": running, "reason": "user"}})
        self.broker.wait_for("/tasks", count + 1)
        self.client.request("ping")
        release.set()
        self.broker.always["/tasks"] = {"tasks": [{"id": 1}]}
        done = self.client.ask("tools/call", {"name": "list_tasks"})
        self.assertTrue(self.client.answer(done)["result"]["structuredContent"]["tasks"])
        self.client.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": done}})
        self.client.request("ping")
        self.client.close()
        self.assertNotIn(running, self.client.answers)
        self.assertEqual(sum(json.loads(line).get("id") == done for line in self.client.lines), 1)

    def test_24_25_nothing_undeclared_is_sent_or_served(self) -> None:
        self.client.request("tools/call", {"name": "list_peers", "arguments": {}, "_meta": {"progressToken": "p"}})
        for method in ("logging/setLevel", "resources/list", "prompts/list", "completion/complete", "tasks/list", "roots/list"):
            self.assertEqual(self.fails(method, {})["code"], -32601)
        self.assertTrue(all("id" in json.loads(line) for line in self.client.lines), "no notification was sent")

    def test_parallel_calls_run_side_by_side(self) -> None:
        meet = threading.Barrier(3)
        self.broker.script["/locks"] = [lambda body: (meet.wait(10), {"locks": []})[1]] * 3
        calls = [self.client.ask("tools/call", {"name": "list_locks"}) for _ in range(3)]
        for id in calls:
            self.assertEqual(self.client.answer(id)["result"]["structuredContent"], {"locks": []})


class Process(unittest.TestCase):
    def setUp(self) -> None:
        self.home = self.enterContext(tempfile.TemporaryDirectory())

    def test_26_the_end_of_stdin_ends_it_fast_with_0(self) -> None:
        client = Session(self.home)
        client.initialize()
        begun = time.monotonic()
        self.assertEqual(client.close(), 0)
        self.assertLess(time.monotonic() - begun, 2.0)

    def test_26b_what_was_asked_before_the_end_of_stdin_is_answered(self) -> None:
        with ScriptedBroker(os.path.join(self.home, "state")) as broker:
            asked = (
                b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}\n'
                b'{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"list_peers"}}'
            )
            done = subprocess.run(
                [*PYTHON, os.path.join(TOP, "mcp_server.py")],
                input=asked,
                capture_output=True,
                timeout=20,
                check=False,
                env=environment(self.home, C2_LATTICE_PORT=str(broker.port)),
            )
        answers = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual([answer["id"] for answer in answers], [1, 2])
        self.assertEqual(answers[1]["result"]["structuredContent"]["message"], "No other active peers found.")

    def test_27_each_signal_ends_it_while_it_reads(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) * 3:
            with Session(self.home) as client:
                client.request("ping")
                client.process.send_signal(number)
                self.assertEqual(client.process.wait(5), 0)

    def test_28_the_first_answer_does_not_wait_for_a_broker(self) -> None:
        with Session(self.home, C2_LATTICE_PORT="1", C2_LATTICE_HOME="/proc/no/such/home") as client:
            self.assertEqual(client.initialize()["serverInfo"]["name"], "c2-lattice")
            self.assertEqual(len(client.request("tools/list")["tools"]), 22)

    def test_29_stderr_stays_silent_and_a_fault_goes_to_the_log(self) -> None:
        with ScriptedBroker(os.path.join(self.home, "state")) as broker:
            broker.script["/peers"] = [{"peers": 3}]
            with Session(self.home, C2_LATTICE_PORT=str(broker.port)) as client:
                client.send(b"garbage\n\xff\n[]\n")
                self.assertTrue(client.result("list_peers")["isError"])
                self.assertEqual(client.stderr(), "")
        log = os.path.join(self.home, "state", "session.log")
        with open(log, encoding="utf-8") as file:
            self.assertIn("list_peers failed", file.read())
        self.assertEqual(os.stat(log).st_mode & 0o777, 0o600)

    def test_a_bad_setting_is_said_in_one_line(self) -> None:
        done = subprocess.run(
            [*PYTHON, os.path.join(TOP, "mcp_server.py")],
            input=b"",
            capture_output=True,
            timeout=20,
            check=False,
            env=environment(self.home, C2_LATTICE_PORT="many"),
        )
        self.assertEqual((done.returncode, done.stdout), (78, b""))
        self.assertIn(b"C2_LATTICE_PORT=many", done.stderr)

    def test_it_ends_when_its_client_is_gone_though_others_hold_the_pipe(self) -> None:
        script = (
            "import os, subprocess, sys\n"
            "server = subprocess.Popen([sys.executable, '-I', '-S', sys.argv[1]], stdin=0, stdout=1)\n"
            "print(server.pid, file=sys.stderr, flush=True)\n"
            "os.read(int(sys.argv[2]), 1)\n"
        )
        reader, writer = os.pipe()  # its writing end is ours, and stays open
        out_reader, out_writer = os.pipe()
        hold_reader, hold_writer = os.pipe()
        self.addCleanup(os.close, writer)
        client = subprocess.Popen(
            [sys.executable, "-c", script, os.path.join(TOP, "mcp_server.py"), str(hold_reader)],
            stdin=reader,
            stdout=out_writer,
            stderr=subprocess.PIPE,
            env=environment(self.home),
            pass_fds=(hold_reader,),
        )
        assert client.stderr is not None
        pid = int(client.stderr.readline())
        os.write(writer, b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n')
        self.assertIn(b'"id":1', os.read(out_reader, 4096))
        client.kill()
        client.wait()
        for descriptor in (reader, out_writer, out_reader, hold_reader, hold_writer):
            os.close(descriptor)
        client.stderr.close()

        def is_gone() -> bool:
            try:
                with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
                    return file.read().rpartition(")")[2].split()[0] == "Z"
            except OSError:
                return True

        until(is_gone, "the server of a killed client ends", within_s=5.0)


if __name__ == "__main__":
    unittest.main()
