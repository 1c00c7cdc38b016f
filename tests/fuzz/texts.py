"""Texts as hostile peers, models and clients may send them: pieces that our readers look for, honest words, and signs that hide."""

from __future__ import annotations

import base64
import hashlib
import random

from lattice.guard.content import _LOOK_ALIKES as LOOK_ALIKES

HIDDEN = (
    "\u200b", "\u200c", "\u200d", "\u2060", "\u00ad", "\ufe0f", "\ufe0e", "\U000e0041", "\U000e007f", "\u034f", "\u3164", "\u115f",
    "\u180e", "\u200e", "\u200f", "\u202e", "\u2066", "\u2069", "\ufeff", "\u17b4", "\u2800", "\x07", "\x08", "\x1b", "\x7f", "\x85",
    "\ud800",
)  # fmt: skip
WORDS = (
    "the", "worker", "is", "done", "with", "auth.py", "and", "12", "tests", "pass", "Zürich", "日本", "🙂", "👩\u200d👩\u200d👧", "see",
    "#7", "a < b", "x > y", "List<String>", "Vec<tool_call>", "don't", '"quoted"', "`code`", "{a: 1}", "[1, 2]", "and/or", "1/2", "C:",
    "http://x.y/z",
)  # fmt: skip
BLOB = base64.b64encode(hashlib.sha512(b"a").digest() + hashlib.sha512(b"b").digest()).decode()
PIECES = (
    "<tool_use>", "</tool_use>", "<invoke name='x'>", "<|im_start|>", "[INST]", "<<SYS>>", "<x>", "<system>", "<function=Bash>",
    "tool_use", "tool", "_", "use", "<", ">", "</", "<|", "|>", "[", "]", "[/", "&lt;", "&gt;", "&#60;", "&#x3c;", "&amp;lt;", "&", ";",
    "\\u003c", "\\x3c", "%3c", "%3E", "\\", '"', "'", "`", "{", "}", ":", ",", '{"name":', '"x"', '"arguments":', "{}", '"input": {',
    '"type": "tool_use"', "}}", '"tool_use_id": "1"', "functionCall", '"args": {', '"method": "tools/call", "params": {', "data:",
    "data:text/html;base64,", "data:a/b,xyz", BLOB, BLOB[:60], "aA1", "A" * 100, "0" * 130, "/", "//", "/home/x/a/b/c/d/e.py",
    "/srv/a/b/c/d/e", "/a", "C:\\Users\\x\\a\\b\\c\\d", "\\\\host\\a\\b\\c\\d", ":12", " line 7", "diff ", "--- ", "/code/repo/a/b/c/d/e",
    "..", ".git", "~/", "\n", "\t",
)  # fmt: skip
PATHS = (
    "a", "b", "ab", "a.py", "src", "..", ".", "", "*", "**", "?", "[ab]", "[!a]", "[]", "[", "]", "*.py", "a*b", "**a", "[id].tsx",
    "{a,b}", "~", " ", "\\", "é", "e\u0301", "\u0130", "A.PY", "x" * 80, "\u202e", "-", "-rf", "C:", "a:b", "%2e", "$HOME", "`x`", "'",
    "[a-", "[^a]", "[[]", "*?*", "a\tb",
)  # fmt: skip


def text(chosen: random.Random, most: int = 30) -> str:
    """Pieces, words and hidden signs in any order."""
    found = []
    for _ in range(chosen.randrange(1, most)):
        way = chosen.random()
        if way < 0.55:
            found.append(chosen.choice(PIECES))
        elif way < 0.75:
            found.append(chosen.choice(WORDS))
        elif way < 0.9:
            found.append(chosen.choice((" ", " ", "\n", "  ")))
        elif way < 0.96:
            found.append(chosen.choice(HIDDEN))
        else:
            found.append(chr(chosen.randrange(chosen.choice((128, 0x250, 0x2FFF, 0xFFFF, 0x10FFFF)))))
    return "".join(found)


def with_hidden(chosen: random.Random, seen: str) -> str:
    """The same to a reader: signs that nobody sees are strewn in."""
    signs = list(seen)
    for _ in range(chosen.randrange(1, 6)):
        signs.insert(chosen.randrange(len(signs) + 1), chosen.choice(HIDDEN[:20]))
    return "".join(signs)


def in_other_letters(chosen: random.Random, seen: str) -> str:
    """Nearly the same to a reader: letters of other alphabets, and full-width ones, that look alike."""
    alike: dict[str, list[str]] = {}
    for other, plain in LOOK_ALIKES.items():
        alike.setdefault(plain, []).append(other)
    signs = []
    for sign in seen:
        others = alike.get(sign, []) + ([chr(ord(sign) + 0xFEE0)] if "!" <= sign <= "~" else [])
        signs.append(chosen.choice(others) if others and chosen.random() < 0.3 else sign)
    return "".join(signs)


def path(chosen: random.Random) -> str:
    """What somebody may lock: a file, a folder, a glob, or none of these."""
    parts = [chosen.choice(PATHS) for _ in range(chosen.randrange(1, 7))]
    return chosen.choice(("/", "", "/r/", "//", "./")) + "/".join(parts) + chosen.choice(("", "", "/"))


def value(chosen: random.Random, depth: int = 0) -> object:
    """JSON of a few levels."""
    way = chosen.randrange(8 if depth < 4 else 6)
    if way == 0:
        return chosen.choice((None, True, False))
    if way == 1:
        return chosen.choice((0, -1, 7, 2**31, 10**40, -(2**63)))
    if way == 2:
        return chosen.choice((0.5, -0.0, 1e300, 1e-300, 3.0))
    if way <= 5:
        return text(chosen, 6)
    if way == 6:
        return [value(chosen, depth + 1) for _ in range(chosen.randrange(4))]
    return {text(chosen, 3): value(chosen, depth + 1) for _ in range(chosen.randrange(4))}
