"""Nothing hidden from the reader, and nothing taken from what people write."""

from __future__ import annotations

import time
import unicodedata
import unittest

from lattice.visible import visible

UNCHANGED = (
    "", "plain\n\ttext\r\n", "naïve café, Straße, Œuvre", "می‌خواهم این فایل را ببینم", "کتاب‌ها و نمی‌دانم", "مرحبا بالعالم، الملف جاهز",
    "שלום עולם, הקובץ מוכן", "הקובץ main.py‏ מוכן!‏", "क्‍ष और ज्ञ", "ন্‍যায়",
    "ശ്രീ ന്‍ ല്‍", "ខ្មែរ​ភាសា", "ภาษา​ไทย", "日本語のテスト、完了しました", "葛󠄀城市",
    "한국어 테스트", "👨‍👩‍👧‍👦 family", "👩🏽‍💻 coding", "🏳️‍🌈 🏴‍☠️", "❤️‍🔥 ✈️ ☎︎ 1️⃣ #️⃣",
    "🏴󠁧󠁢󠁥󠁮󠁧󠁿 🏴󠁧󠁢󠁳󠁣󠁴󠁿 🏴󠁧󠁢󠁷󠁬󠁳󠁿", "👨‍⚕️ 🧑‍🚀 🧔🏿‍♂️", "∩︀ ≤ ∑", "ᠮᠣᠩᠭᠣᠯ᠋", "→ ✓ │ ─ █ ░ ⣿⠀⣿",
    "Ελληνικά и русский", "e\u0301 combining", "non\u00a0breaking space", "100\u2009µs", "“quotes” … – —",
)  # fmt: skip

SHOWN = {
    "a\x1b[2Jb": "a⟨U+001B⟩[2Jb", "\0": "⟨U+0000⟩", "a\x9bb": "a⟨U+009B⟩b", "\x7f": "⟨U+007F⟩",
    "user\u202etxt.exe": "user⟨U+202E⟩txt.exe", "\u2066x\u2069": "⟨U+2066⟩x⟨U+2069⟩",
    "to\u200bol": "to⟨U+200B⟩ol", "a\u200db": "a⟨U+200D⟩b",
    "a\u200cb": "a⟨U+200C⟩b", "co\u00adop": "co⟨U+00AD⟩op", "x\u2060y\ufeff": "x⟨U+2060⟩y⟨U+FEFF⟩", "a\u200fb": "a⟨U+200F⟩b",
    "line\u2028line": "line⟨U+2028⟩line", "\u3164": "⟨U+3164⟩", "\ud800": "⟨U+D800⟩", "a\ufe0f": "a⟨U+FE0F⟩",
    "x\U000e0041\U000e0042": "x⟨U+E0041⟩⟨U+E0042⟩", "🏴\U000e0072\U000e006d": "🏴⟨U+E0072⟩⟨U+E006D⟩",
    "😀\ufe00\ufe01\U000e0101": "😀⟨U+FE00⟩⟨U+FE01⟩⟨U+E0101⟩", "می\u200c\u200d\u200cخ": "می⟨U+200C⟩⟨U+200D⟩⟨U+200C⟩خ",
    "葛\U000e0100\U000e0101": "葛\U000e0100⟨U+E0101⟩", "\u200d": "⟨U+200D⟩", "\ufe0f": "⟨U+FE0F⟩",
    "a\ufe0f\u200d😀": "a⟨U+FE0F⟩⟨U+200D⟩😀", "x\u17b4\u200cy": "x⟨U+17B4⟩⟨U+200C⟩y", "ខ\u200b\u17b4": "ខ⟨U+200B⟩⟨U+17B4⟩",
}  # fmt: skip


class VisibleTest(unittest.TestCase):
    def test_what_people_write_stays_as_it_is(self) -> None:
        for text in UNCHANGED:
            self.assertEqual(text, visible(text))

    def test_what_is_hidden_is_written_out(self) -> None:
        for text, shown in SHOWN.items():
            self.assertEqual(shown, visible(text))

    def test_no_bidirectional_override_tag_or_control_is_ever_left(self) -> None:
        hidden = [
            *range(0x202A, 0x202F), *range(0x2060, 0x2070), 0xFEFF, *range(0xE0000, 0xE0080),
            *range(0x7F, 0xA0), *range(9), *range(14, 32),
        ]  # fmt: skip
        for around in ("", "a", "م", "😀", "क", "漢", "🏴"):
            for code in hidden:
                self.assertIn(f"⟨U+{code:04X}⟩", visible(around + chr(code) + around))

    def test_every_format_sign_outside_its_place_is_written_out(self) -> None:
        visible_signs = set(range(0x600, 0x606)) | {0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD} | set(range(0x13430, 0x13440))
        for code in range(0x110000):
            sign = chr(code)
            if unicodedata.category(sign) in ("Cf", "Cc", "Cs", "Zl", "Zp") and code not in visible_signs and sign not in "\t\n\r":
                self.assertNotIn(sign, visible(f"a{sign}b"), hex(code))

    def test_the_result_can_be_encoded_and_shown_again_unchanged(self) -> None:
        for text in (*UNCHANGED, *SHOWN):
            once = visible(text)
            self.assertEqual(once, visible(once).encode().decode())

    def test_the_time_it_takes_grows_with_the_length(self) -> None:
        for text in ("\u200d" * 100_000, "🏴" * 50_000, "م\u200f" * 50_000, "🏴\U000e0061\U000e0062" * 30_000):
            before = time.process_time()
            visible(text)
            self.assertLess(time.process_time() - before, 2.0)


if __name__ == "__main__":
    unittest.main()
