"""The content filter: machine syntax is caught, honest talk passes, and it takes little time."""

from __future__ import annotations

import time
import unittest

from lattice.guard import content
from lattice.guard.content import CHANNELS, MARKUP_RULES, judge
from tests.guard import corpus

ROOTS = ("/code/repo", "D:\\repo")


class CorpusTest(unittest.TestCase):
    def test_every_evasion_is_caught_by_its_rule(self) -> None:
        missed, count = [], 0
        for rule, text in corpus.evasions():
            count += 1
            found = judge(text, "message", ROOTS)
            if found is None or found.rule != rule:
                missed.append((rule, text[:120], found))
        self.assertEqual([], missed)
        self.assertGreaterEqual(count, 200)

    def test_honest_talk_passes(self) -> None:
        refused, count = [], 0
        for text in corpus.honest():
            count += 1
            found = judge(text, "message", ROOTS)
            if found is not None:
                refused.append((found, text[:120]))
        self.assertGreaterEqual(count, 300)
        self.assertEqual([], refused)  # the promise is 99.5 %; of these texts none is refused

    def test_a_sign_that_looks_like_another_is_read_as_that_and_plain_ones_as_themselves(self) -> None:
        for sign, plain in content._LOOK_ALIKES.items():
            self.assertEqual(plain, sign.translate(content._FOLD), hex(ord(sign)))
        for code in range(32, 127):
            self.assertEqual(chr(code), chr(code).translate(content._FOLD))
        for text in ("<tool\u2017use>", '{\u2033name\u2033: "x", "arguments": {}}', "data\ufe30text/html,xyz"):
            self.assertIsNotNone(judge(text, "message"), text)

    def test_the_place_is_in_the_text_as_it_was_given(self) -> None:
        for before in (
            "", "é" * 7 + " ", "زبان‌ ", "ﬃ ㍿ İ ", "\u200b\u200b \U0001f600 ",
            "&amp; &eacute; \\u0041 %3d ", "e\u0301\u0301 日本\n\n",
        ):  # fmt: skip
            for rule, text in corpus.evasions():
                if rule not in ("markup", "data_uri", "path") or text[0] not in "</dD&\\":
                    continue
                found = judge(before + text, "message", ROOTS)
                assert found is not None
                self.assertEqual(len(before), found.place, (before, text, found))

    def test_the_reason_shows_what_stands_there_with_nothing_hidden(self) -> None:
        found = judge("well, <to\u200bol_use>", "message")
        assert found is not None
        self.assertEqual(6, found.place)
        self.assertIn("<tool_use", found.reason)
        found = judge("x &lt;invoke name='a'&gt;", "message")
        assert found is not None
        self.assertEqual(2, found.place)
        self.assertIn("<invoke name=", found.reason)


class ChannelTest(unittest.TestCase):
    TEXTS = {
        "markup": "<tool_use>", "function_call": '{"name": "x", "arguments": {}}', "data_uri": "data:text/html,<b>hello",
        "base64": "Zm9vIGJhciBiYXogcXV4IGFuZCBhIGxvdCBtb3JlIG9mIHRoaXMgc3R1ZmYsIDEyMyA0NTYgNzg5"
                  "LCB1bnRpbCBpdCBpcyBsb25nIGVub3VnaCB0byBjb3VudA==",
        "path": "/srv/secret/a/b/c/d.txt",
    }  # fmt: skip

    def test_each_channel_has_exactly_the_rules_of_the_table(self) -> None:
        for channel, rules in CHANNELS.items():
            broken = {rule for rule, text in self.TEXTS.items() if judge(text, channel) is not None}
            self.assertEqual(set(rules), broken, channel)

    def test_messages_and_rooms_have_all_rules_and_what_is_stored_has_those_of_markup(self) -> None:
        self.assertEqual(set(self.TEXTS), set(CHANNELS["message"]) & set(CHANNELS["room"]))
        for channel in ("task", "memory", "summary", "artifact"):
            self.assertEqual(MARKUP_RULES, CHANNELS[channel])

    def test_a_channel_that_does_not_exist_is_a_mistake_of_ours(self) -> None:
        with self.assertRaises(KeyError):
            judge("x", "mail")


class PathTest(unittest.TestCase):
    def test_a_path_inside_a_live_workspace_passes_and_its_twin_does_not(self) -> None:
        for text, passes in (
            ("/srv/team/repo/a/b/c/d.py", True), ("/srv/team/repo-evil/a/b/c/d.py", False), ("/srv/team/repo/../x/a/b/c.py", False),
            ("E:\\w\\a\\b\\c\\d\\e.cs", True), ("e:/w/a/b/c/d/e.cs", True), ("E:\\wx\\a\\b\\c\\d\\e.cs", False), ("/srv/team/repo/", True),
        ):  # fmt: skip
            self.assertEqual(passes, judge(text, "message", ("/srv/team/repo/", "E:\\w")) is None, text)

    def test_the_root_folder_as_a_workspace_opens_nothing(self) -> None:
        for roots in (("/",), ("",), ("\\",)):
            self.assertIsNotNone(judge("/srv/secret/a/b/c/d.txt", "message", roots))


class TimeTest(unittest.TestCase):
    def test_no_shape_of_text_takes_more_than_its_length(self) -> None:
        # Each shape once at 20,000 and once at 80,000 signs: a quadratic step would cost sixteen times as much.
        parts = (
            "<", "< ", "<a:", "</ ", "[ ", "<|a", "&", "&amp;", "\\", "\\u", '"', "'",
            '"\\', "{", '{"', '{"a":', '"name":"', "'a\\'", "[{", "data:", "data:a/", "data:;a",
            "/", "/a", "/a/", "//a", " /a/b", "C:\\", "C:\\aa\\", "\\\\", "\\\\aa\\", "a:/", "aA1",
            "aA1 ", "aA1.", "é", "\u200b", "\u0301", "а", "🏴", "\x00", "%3", "<a ", "tool_", "<tool_use",
            '{"name":"a","arguments"', '"arguments":{"name":"x",', "/home/a/b/c/d/e:1 ", "/home/a/.cache/c/d/e ",
        )  # fmt: skip
        for part in parts:
            cost = []
            for length in (20_000, 80_000):
                text = "x" + (part * length)[:length] + ('"arguments" "' if '"' in part or "'" in part else "")
                before = time.process_time()
                judge(text, "message", ROOTS)
                cost.append(time.process_time() - before)
            self.assertLess(cost[1], max(0.15, cost[0] * 9), (part, cost))

    def test_a_text_of_every_sign_there_is_leaves_no_table_behind(self) -> None:
        judge("".join(chr(code) for code in range(0x80, 0x12000) if not 0xD800 <= code < 0xE000), "message")
        self.assertLessEqual(len(content._FOLD), 20_001)

    def test_halves_of_surrogate_pairs_are_no_trouble(self) -> None:
        self.assertIsNotNone(judge("<tool\ud800_use>", "message"))


if __name__ == "__main__":
    unittest.main()
