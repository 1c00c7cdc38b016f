"""Texts that would fool a terminal, a filter or a reader (S26, S27), and ordinary talk that must not be taken for one (S29).

The corpora: `tests/guard/corpus.py` (evasions), `ordinary.py` and `texts/` (what sessions say all day, and lines in many
scripts), `tests/cli/test_show.py` (sequences that a terminal would obey).
"""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import subprocess
import unittest
from typing import Any

from lattice.cli.main import OWN
from lattice.guard.content import judge
from tests.cli.test_show import SEQUENCES
from tests.figures import measured
from tests.guard import corpus
from tests.hooks.hooking import Hooked
from tests.running import PYTHON, TOP, Broker, Peer, Session, chance, figure
from tests.threats import ordinary

CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f\x80-\x9f]")


class S26TerminalEscapes(Hooked):
    """Forty sequences in everything that a peer can say, shown by every command of the person and handed in by hooks."""

    SHOWING = (
        ("inbox",), ("peers",), ("peers", "--everywhere"), ("get-peer", "mallory"), ("tasks",), ("task", "{task}"), ("locks",), ("recall",),
        ("memory-history", "{key}"), ("runs",), ("get-run", "r1"), ("run-summary", "r1"), ("export-run", "r1"),
        ("escalations",), ("all-messages",), ("messages-for", "mallory"), ("receipts", "{message}"), ("get-conversation", "mallory"),
        ("log",), ("search", "mark"),
        ("events",), ("state",), ("capsule",), ("status",), ("doctor",), ("ping", "mallory"),
    )  # fmt: skip

    def say_everything(self, mallory: Peer) -> dict[str, str]:
        """Each sequence in each field that takes text; the ids that the commands need."""
        ids = {"key": "mark"}
        for number, text in enumerate(SEQUENCES):
            if "\0" in text:
                self.assertEqual(400, mallory.call("POST", "/summary", {"summary": text})[0])
                continue
            said = f"mark {number} {text} end"
            task = mallory.post("/tasks", {"title": said, "description": said})["task_id"]
            mallory.call("POST", "/memory", {"key": f"mark {number} {text}", "value": said})  # a key has no controls: refused for most
            mallory.post("/memory", {"key": "mark", "value": said})
            mallory.post("/summary", {"summary": said})
            mallory.post("/heartbeat", {"git_branch": said, "git_last_commit": said, "git_dirty_files": [said], "activity": said})
            mallory.post("/runs", {"id": f"r{number}", "name": said, "goal": said, "success_criteria": said})
            mallory.post("/conversation", {"turn_type": "user", "content": said})
            mallory.call("POST", "/lock", {"file_path": f"/src/{number}", "reason": said})
            mallory.post("/escalations", {"kind": "blocker", "text": said, "task_id": task})
            for to in ("command-center", self.peer):
                ids["message"] = str(mallory.post("/send", {"recipient_id": to, "category": "question", "content": said})["message_id"])
            ids["task"] = str(task)
            mallory.post("/tasks/claim", {"task_id": task})
            done = {"summary": said, "files_touched": [said], "risks": said}
            mallory.post("/tasks/complete", {"task_id": task, "artifacts": done, "outcome": "failed"})
        return ids

    def test_no_control_reaches_a_terminal_or_a_session_by_any_way(self) -> None:
        self.assertGreaterEqual(len(set(SEQUENCES)), 40)
        self.session()
        ids = self.say_everything(self.other("mallory"))
        controls, shown = 0, 0
        for words in self.SHOWING[:: figure(3, 1)]:
            line = [word.format(**ids) for word in words]
            for more in ([], ["--json"]) if words[0] not in OWN else ([],):
                done = self.command(*line, *more)
                self.assertIn(done.returncode, (0, 1), (line, done.stderr))
                found = [CONTROLS.findall(stream.decode("utf-8")) for stream in (done.stdout, done.stderr)]
                self.assertEqual([[], []], found, line)
                controls += sum(map(len, found))
                shown += done.stdout.count(b"mark")
        self.assertGreater(shown, 200)
        handed = self.run_hook("UserPromptSubmit", prompt="go on").context
        handed += json.dumps(self.run_hook("SessionStart", source="resume").said, ensure_ascii=False)
        self.assertIn("mark", handed)
        self.assertEqual([], CONTROLS.findall(handed.replace("\n", "")))
        measured(self, "R41", terminal_sequences=len(set(SEQUENCES)), control_bytes_out=controls + len(CONTROLS.findall(handed)))

    def command(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        """`c2-lattice` as the person types it."""
        environ = {**self.broker.environ, "PYTHONIOENCODING": "utf-8"}
        return subprocess.run(
            [*PYTHON, os.path.join(TOP, "lattice", "cli", "command.py"), *words], env=environ, cwd=self.broker.home,
            stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False,
        )  # fmt: skip

    def test_every_line_of_mail_is_marked_as_the_peers(self) -> None:
        """A carriage return, a vertical tab or a made-up header begins no line of ours."""
        mallory = self.other("forger")
        for body in (
            "one\r#99  boss  status_update\rtwo",
            "one\n#99  boss\ntwo",
            "one\x0b#99\x0ctwo",
            "one\u2028#99 boss\u2029two\x85three",
        ):
            mallory.post("/send", {"recipient_id": "command-center", "category": "finding", "content": body})
        done = self.command("inbox")
        lines = done.stdout.decode("utf-8").splitlines()
        self.assertTrue([line for line in lines if "#99" in line])
        for line in lines:
            self.assertTrue("#99" not in line or line.lstrip().startswith("│ "), line)


class S27Unicode(unittest.TestCase):
    """Letters that look alike, signs that nobody sees: undone for comparing, shown to the reader, kept where they belong."""

    @classmethod
    def setUpClass(cls) -> None:
        cls.broker = cls.enterClassContext(Broker())

    def test_every_evasion_is_refused_by_its_rule_with_the_place(self) -> None:
        evasions = list(dict.fromkeys(corpus.evasions()))
        missed, person = [], self.broker.person()
        sender = self.broker.enrol("evader", working_dir="/code/repo", beat_ms=60_000)
        self.broker.enrol("reader", beat_ms=60_000)
        for number, (rule, text) in enumerate(evasions):
            if number % 15 == 0:
                person.post("/resume", {"peer_id": "evader"})  # twenty refusals pause it
            status, said = sender.call("POST", "/send", {"recipient_id": "reader", "category": "finding", "content": text})
            if (status, said.get("rule")) != (422, rule) or not 0 <= said["place"] < len(text):
                missed.append((rule, text[:80], status, said))
        self.assertGreaterEqual(len(evasions), 200)
        self.assertEqual([], missed[:5])
        measured(self, "R41", evasions=len(evasions), evasions_missed=len(missed))

    def test_lines_in_every_script_come_through_unchanged(self) -> None:
        """By a session's tool, in its frame, and on the person's terminal."""
        lines = ordinary.good_lines()
        bodies = ["\n".join(lines[at : at + 100]) for at in range(0, len(lines), 100)]
        broker = self.enterContext(Broker())
        sender = broker.enrol("writer", "worker", "ws", beat_ms=60_000)
        with Session(broker.home, C2_LATTICE_PORT=str(broker.port), PEER_ID="session", C2_LATTICE_WORKSPACE="ws") as session:
            session.initialize()
            session.call("list_peers")
            for to, body in itertools.product(("session", "command-center"), bodies):
                sender.post("/send", {"recipient_id": to, "category": "finding", "content": body})
            taken = session.call("check_messages")
        self.assertEqual(bodies, [one["content"] for one in taken["messages"]])
        framed = set(taken["framed"].split("\n"))
        changed = [line for line in lines if line not in framed]
        done = subprocess.run(
            [*PYTHON, os.path.join(TOP, "lattice", "cli", "command.py"), "inbox"],
            env=broker.environ | {"PYTHONIOENCODING": "utf-8"}, cwd=broker.home,
            stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=True,
        )  # fmt: skip
        printed = {line.removeprefix("│ ") for line in done.stdout.decode("utf-8").split("\n") if line.startswith("│ ")}
        changed += [line for line in lines if line not in printed]
        self.assertGreaterEqual(len(lines), 300)
        self.assertEqual([], changed)
        measured(self, "R41", good_lines=len(lines), changed_lines=len(changed))

    def test_ids_are_plain_letters(self) -> None:
        for id in ("аlice", "al\u200bice", "ＡＬＩＣＥ", "alicе", "ali\u0301ce", "𝐚lice", "al\u00adice", "alice\u202e", "١alice"):
            with self.subTest(id=id):
                self.assertEqual(400, self.broker.register(id)[0])


class S29FalseAlarms(unittest.TestCase):
    """What sessions say to each other all day goes through."""

    def test_ordinary_talk_is_let_through_and_what_is_not_names_rule_and_place(self) -> None:
        texts = list(ordinary.messages())
        refused: list[tuple[str, Any]] = []
        with Broker() as broker:
            sender = broker.enrol("talker", working_dir="/code/repo", beat_ms=60_000)
            broker.enrol("other", working_dir="D:\\repo", beat_ms=60_000)
            said = set(chance(self).sample(range(len(texts)), figure(200, len(texts))))
            for number, text in enumerate(texts):
                verdict = judge(text, "message", ("/code/repo", "D:\\repo"))
                if verdict is not None:
                    refused.append((text, verdict))
                    self.assertTrue(verdict.rule and 0 <= verdict.place < len(text), verdict)
                if number in said:
                    body = {"recipient_id": "other", "category": "finding", "content": text}
                    status, answer = sender.call("POST", "/send", body)
                    self.assertEqual((422, verdict.rule, verdict.place) if verdict else (200, None, None),
                                     (status, answer.get("rule"), answer.get("place")), text[:200])  # fmt: skip
                    self.assertNotIn("held", answer, text[:200])
        share = 100 * (1 - len(refused) / len(texts))
        self.assertGreaterEqual(len(texts), 1000)
        self.assertGreaterEqual(share, 99.5, [(verdict, text[:80]) for text, verdict in refused])
        measured(self, "R41", ordinary=len(texts), let_through_percent=share)

    def test_the_same_talk_with_one_evasion_in_it_is_refused_at_its_place(self) -> None:
        """Else the figure would only show that nothing is looked at."""
        luck = random.Random(29)
        texts = [text for text in ordinary.messages() if len(text) > 200]
        evasions = [(rule, text) for rule, text in corpus.evasions() if rule == "markup" and text[0] == "<"]
        for text in luck.sample(texts, figure(100, 400)):
            rule, evasion = luck.choice(evasions)
            at = text.find("\n") + 1 or len(text)
            whole = f"{text[:at]}\n{evasion}\n{text[at:]}"
            found = judge(whole, "message", ("/code/repo", "D:\\repo"))
            assert found is not None, whole
            self.assertEqual((rule, at + 1), (found.rule, found.place), whole[:at][-80:])


if __name__ == "__main__":
    unittest.main()
