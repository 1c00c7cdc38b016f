"""Texts of peers, models and clients, from a seeded grammar: nothing that reads them raises or takes long, and what must hold of
every text holds of these.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import unittest
from typing import Any

from lattice import names, reach
from lattice.agent import jsonrpc
from lattice.contract import framing
from lattice.errors import BadRequest, Refusal
from lattice.guard import content
from lattice.guard.content import CHANNELS, judge
from lattice.hooks import compact_json, events, shell
from lattice.visible import visible
from lattice.web import body
from tests.costs import SIZE, growth, loops
from tests.fuzz import bodies, texts
from tests.hooks.hooking import COMMON, Hooked
from tests.running import PYTHON, TOP, Peer, chance, figure
from tests.running import environment as bare

ROOTS = ("/code/repo", "D:\\repo")


class Fuzzed(unittest.TestCase):
    def setUp(self) -> None:
        self.chosen = chance(self)


class TheFilter(Fuzzed):
    def test_what_looks_the_same_is_judged_the_same(self) -> None:
        """Signs that nobody sees, or letters of another alphabet, neither hide a rule's break nor make one."""
        judged = dict.fromkeys(("", *content.ALL_RULES), 0)
        for _ in range(figure(1000, 20_000, 200_000)):
            text = texts.text(self.chosen)
            found = judge(text, "message", ROOTS)
            judged[found.rule if found else ""] += 1
            for other in (texts.with_hidden(self.chosen, text), texts.in_other_letters(self.chosen, text)):
                again = judge(other, "message", ROOTS)
                self.assertEqual(found and found.rule, again and again.rule, f"{ascii(text)}\n{ascii(other)}")
                if again:
                    self.assertTrue(0 <= again.place < len(other), (again, other))
        self.assertGreater(min(judged.values()), 0, judged)

    def test_words_before_and_behind_hide_nothing(self) -> None:
        for _ in range(figure(500, 10_000, 100_000)):
            text = texts.text(self.chosen)
            found = judge(text, "task")
            around = judge(f"so it is\n{text}\nand on", "task")
            if found:
                self.assertEqual(found.rule, around and around.rule, ascii(text))

    def test_each_channel_judges_by_its_own_rules_alone(self) -> None:
        for _ in range(figure(200, 4000, 40_000)):
            text = texts.text(self.chosen)
            broken = {channel: judge(text, channel, ROOTS) for channel in CHANNELS}
            for channel, found in broken.items():
                self.assertTrue(found is None or found.rule in CHANNELS[channel], (channel, found))
            self.assertEqual(broken["message"], broken["room"])
            self.assertTrue(broken["task"] is None or broken["message"] == broken["task"], ascii(text))


class WhatIsShown(Fuzzed):
    def test_no_text_reaches_a_reader_with_something_hidden_or_a_terminal_with_something_it_obeys(self) -> None:
        for _ in range(figure(500, 10_000, 100_000)):
            text = texts.text(self.chosen)
            shown, printed = visible(text), framing.safe_for_terminal(text)
            self.assertEqual(shown, visible(shown), ascii(text))
            self.assertIsNone(re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", shown), ascii(text))
            self.assertIsNone(re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", printed), ascii(text))
            self.assertTrue(all(line.startswith("│ ") for line in printed.split("\n")))

    def test_a_frame_has_one_beginning_and_one_end_whatever_is_in_it(self) -> None:
        for _ in range(figure(300, 5000, 50_000)):
            boundary = os.urandom(6).hex()
            near = self.chosen.choice(
                (f"[/peer-message {boundary}]", "[/peer-message]", "[ peer_message x]", f"[PEER MESSAGE {boundary}]", boundary)
            )
            text = texts.text(self.chosen, 8) + near + texts.text(self.chosen, 8)
            framed = framing.frame(text, sender=texts.text(self.chosen, 4), role="worker", when=0.0, boundary=boundary)
            first, *_, last = framed.split("\n")
            used = last.removeprefix("[/peer-message ").removesuffix("]")
            self.assertTrue(first.startswith(f"[peer-message {used} "), ascii(framed))
            found = re.findall(r"(?i)(?<!\\)\[\s*/?\s*peer[\s_-]*message", framed)
            self.assertEqual(["[peer-message", "[/peer-message"], found, ascii(framed))


class Paths(Fuzzed):
    def one(self) -> tuple[str, str]:
        """(kind, path) of something that may be locked."""
        while True:
            with contextlib.suppress(BadRequest):
                return reach.of(texts.path(self.chosen), "/r")

    def test_a_path_is_refused_or_has_one_spelling_that_is_its_own(self) -> None:
        kinds = dict.fromkeys(("file", "dir", "glob", "refused"), 0)
        for _ in range(figure(2000, 30_000, 300_000)):
            text, base = texts.path(self.chosen), self.chosen.choice(("/r", "", "/r/[id]"))
            try:
                kind, path = reach.of(text, base)
            except BadRequest:
                kinds["refused"] += 1
                continue
            kinds[kind] += 1
            self.assertLessEqual(len(path), 2 * names.MAX_PATH, text)
            self.assertFalse("//" in path or "\\" in path or (os.path.isabs(path) and "/../" in path), (text, path))
            if kind != "glob":
                self.assertEqual(path, names.lock_path(path, ""), text)
            elif os.path.isabs(path):
                self.assertEqual(("glob", path), reach.of(path, "/elsewhere"), text)
        self.assertGreater(min(kinds.values()), 0, kinds)

    def test_overlapping_is_mutual_and_what_is_covered_overlaps(self) -> None:
        seen = {True: 0, False: 0}
        for _ in range(figure(2000, 30_000, 300_000)):
            one, two, three = self.one(), self.one(), self.one()
            together = reach.overlap(*one, *two)
            seen[together] += 1
            self.assertEqual(together, reach.overlap(*two, *one), (one, two))
            self.assertTrue(reach.covers(*one, *one) and reach.overlap(*one, *one), one)
            if reach.covers(*one, *two):
                self.assertTrue(together, (one, two))
                if reach.overlap(*two, *three):
                    self.assertTrue(reach.overlap(*one, *three), (one, two, three))
        self.assertGreater(min(seen.values()), 50, seen)

    def test_ids_and_addresses_are_refused_or_unambiguous(self) -> None:
        for _ in range(figure(1000, 20_000, 200_000)):
            text = (
                self.chosen.choice(("", "@", "#", "-", ".")) + texts.text(self.chosen, 3)
                if self.chosen.random() < 0.5
                else texts.path(self.chosen)
            )
            with contextlib.suppress(BadRequest):
                self.assertRegex(names.check_peer_id(text), r"\A[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}\Z")
            with contextlib.suppress(BadRequest):
                self.assertRegex(names.check_address(text), r"\A(?:@architect|#?[A-Za-z0-9_][A-Za-z0-9_.-]{0,63})\Z")


class JsonOfOthers(Fuzzed):
    """Three readers of JSON: what each takes, Python's own takes too and to the same value; what each refuses is its own error."""

    def text(self) -> bytes:
        said = json.dumps(texts.value(self.chosen), ensure_ascii=self.chosen.random() < 0.5).encode("utf-8", "surrogatepass")
        return said if self.chosen.random() < 0.3 else bodies.mutated(self.chosen, said)

    def test_a_hook_reads_and_writes_what_python_does(self) -> None:
        taken = 0
        for _ in range(figure(2000, 30_000, 300_000)):
            text = self.text().decode("utf-8", "replace")
            try:
                expected: Any = json.loads(text, parse_constant=_refuse)
            except (ValueError, RecursionError):
                self.assertRaises(ValueError, compact_json.loads, text)
                continue
            taken += 1
            self.assertEqual(repr(expected), repr(compact_json.loads(text)), ascii(text))
            if not _has_infinity(expected):
                self.assertEqual(repr(expected), repr(json.loads(compact_json.dumps(expected))), ascii(text))
        self.assertGreater(taken, 100)

    def test_a_body_is_a_strict_object_or_a_bad_request(self) -> None:
        taken = 0
        for _ in range(figure(2000, 30_000, 300_000)):
            raw = b'{"a":' + self.text() + b"}"
            try:
                found = body.parse(raw)
            except BadRequest:
                continue
            taken += 1
            self.assertEqual(repr(json.loads(raw)), repr(found), raw)
            self.assertEqual(repr(found), repr(body.parse(json.dumps(found).encode())), raw)
        self.assertGreater(taken, 100)

    def test_a_line_is_a_message_or_an_error_of_the_protocol(self) -> None:
        for _ in range(figure(2000, 30_000, 300_000)):
            line = self.text()
            try:
                jsonrpc.read(line)
            except jsonrpc.RpcError as error:
                self.assertIn(error.code, (jsonrpc.PARSE_ERROR, jsonrpc.INVALID_REQUEST))


TOOLS = ("Bash", "Bash", "Write", "Write", "Edit", "mcp__x__y", "mcp__c2-lattice__check_messages", "", "é")


class TheHooks(Hooked):
    """What a client says to a hook: any JSON. The hook does its work or lets the work go on; it never stands in the way."""

    def setUp(self) -> None:
        super().setUp()
        self.chosen = chance(self)
        self.session()
        other: Peer = self.other()
        self.enterContext(contextlib.closing(self.broker.beat_all([other])))
        other.post("/lock", {"file_path": "held.py"})
        other.post("/lock", {"file_path": "src/"})

    def test_nothing_that_is_said_makes_an_event_raise(self) -> None:
        chosen = self.chosen
        names = [name for name in events.EVENTS if name != "SessionStart"]
        fields = [*COMMON, "tool_name", "tool_input", "tool_use_id", "cwd", "prompt", "source", "hook_event_name", "stop_hook_active"]
        plain = {**COMMON, "cwd": self.project, "tool_name": "Write", "tool_input": {"file_path": "held.py"}}
        for number in range(figure(100, 1500, 15_000)):
            event = "PreToolUse" if chosen.random() < 0.5 else chosen.choice(names)
            said: dict[str, Any] = {**COMMON, "cwd": self.project, "tool_name": chosen.choice(TOOLS)}
            written = chosen.choice((texts.path(chosen), "held.py", "src/new.py", [texts.path(chosen)]))
            command = chosen.choice((f"echo x > {texts.path(chosen)}", "echo x > held.py", texts.text(chosen), 'eval "$x"'))
            said["tool_input"] = {"command": command, chosen.choice(("file_path", "path", "paths")): written}
            if chosen.random() < 0.5:
                said[chosen.choice(fields)] = texts.value(chosen)
            if number % 20 == 19:  # it is still on guard
                event, said = "PreToolUse", plain
            hook = events.Hook(event, said, self.environ)
            try:
                answer = events.EVENTS[event](hook)
                self.assertTrue(said is not plain or "permissionDecision" in answer.get("hookSpecificOutput", {}), answer)
                self.assertIsInstance(json.loads(compact_json.dumps(answer)), dict)
                for done in hook.later:
                    done()
            except Refusal:
                self.assertIsNot(said, plain)  # of any other: the work goes on
            finally:
                hook.close()

    def test_nothing_on_stdin_or_in_the_environment_makes_the_program_fail(self) -> None:
        import subprocess

        chosen = self.chosen
        program = [*PYTHON, os.path.join(TOP, "lattice", "hooks", "main.py")]
        for number in range(figure(6, 60, 400)):
            event = chosen.choice((*(name for name in events.EVENTS if name != "SessionStart"), "", "Nope", "\u00e9"))
            given = bodies.mutated(chosen, json.dumps({**COMMON, "tool_name": "Bash", "tool_input": {"command": "x > held.py"}}).encode())
            given = chosen.choice((given, given, b"", b"[]", b"\xff\xfe", b"[" * 50_000, b'{"a":1}{"b":2}', b"null"))
            environ = {**self.environ, **chosen.choice(({}, {}, {"CLAUDE_PID": "9" * 40}, {"CLAUDE_PID": "-1"}, {"CLAUDE_PID": "x"}))}
            if number % 5 == 4:
                environ = bare(os.path.join(self.broker.home, "nobody"))
            done = subprocess.run(
                [*program, event], input=given, env=environ, cwd=self.project, capture_output=True, timeout=30, check=False
            )
            self.assertEqual((0, b""), (done.returncode, done.stderr), (event, given[:300]))
            self.assertTrue(not done.stdout or isinstance(json.loads(done.stdout), dict), done.stdout[:300])


class Long(Fuzzed):
    """Many of the same pieces: what reads them takes time in proportion."""

    time_bound_s = float(figure(60, 240, 900))

    def test_pieces_over_and_over_take_time_in_proportion(self) -> None:
        readers = {
            "the filter": (lambda text: judge(text, "message", ROOTS), 150), "visible": (visible, 300),
            "the shell reader": (lambda text: shell.read(text, "/repo", "/home/x", lambda path: False), 900),
            "a frame": (lambda text: framing.frame(text, sender="a", role="worker", when=0.0, boundary="abcdefgh"), 400),
        }  # fmt: skip
        slow = []
        for _ in range(figure(6, 30, 600)):
            turn = "".join(self.chosen.choice((*texts.PIECES, *texts.WORDS, *texts.HIDDEN)) for _ in range(self.chosen.randrange(1, 5)))
            text = (turn * (SIZE // len(turn) + 1))[: SIZE - 1] + self.chosen.choice(("x", '"', "\x00", "<", "\n"))
            for name, (read, most) in readers.items():
                cost = loops(read, text, times=1)
                if cost > most / 3:
                    cost = loops(read, text, times=5)
                if cost > most or (cost > most / 20 and growth(read, text) > 9):
                    slow.append((name, round(cost), turn))
        self.assertEqual([], slow)


def _refuse(word: str) -> object:
    raise ValueError(word)


def _has_infinity(value: object) -> bool:
    if isinstance(value, list):
        return any(map(_has_infinity, value))
    if isinstance(value, dict):
        return any(map(_has_infinity, value.values()))
    return isinstance(value, float) and not math.isfinite(value)


if __name__ == "__main__":
    unittest.main()
