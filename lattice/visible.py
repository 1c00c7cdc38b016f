"""Visible: a text with nothing in it that its reader cannot see.

Controls, bidirectional overrides, zero-width signs, tag characters, runs of variation selectors and
halves of surrogate pairs are written out as ⟨U+202E⟩. What people need stays as it is: the joiners
inside an emoji and in scripts that join, the selectors behind a sign that has variants, the tags of a
flag, direction marks in a text that has right-to-left letters. Nothing is ever taken away.

For display only; what is stored stays as it was sent. Linear in the length. A session loads it before
its first answer, so it imports only `re`, with what that brings, and compiles nothing until it must.
"""

from __future__ import annotations

import functools
import re

_HIDDEN = (
    # A flag of a region is one sign: black flag, country and region in tag letters, end of tags.
    "\U0001f3f4[\U000e0061-\U000e007a]{2}[\U000e0030-\U000e0039\U000e0061-\U000e007a]{1,4}\U000e007f"
    "|["
    "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"  # controls but tab and the ends of lines
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164"
    "\ud800-\udfff\ufdd0-\ufdef\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
    "]"
)
# Inclusive ranges, as pairs of signs.
_RIGHT_TO_LEFT = "\u05d0\u05f4\u0620\u08ff\ufb1d\ufdcf\ufdf0\ufdff\ufe70\ufefc\U00010800\U00010fff\U0001e800\U0001efff"
_JOINING = (
    "\u0600\u08ff\u0900\u0dff\u0f00\u109f\u1780\u18af\u1a20\u1aaf\u1b00\u1c4f\ua840\ua8df\ua980\ua9df\uaa60\uaa7f"
    "\ufb50\ufdcf\ufdf0\ufdff\ufe70\ufefc\U00010ac0\U00010aff\U00010d00\U00010d3f\U00010f30\U00010fdf"
    "\U00011000\U00011fff\U0001e900\U0001e95f"
)
_EMOJI = "©©®®‼‼⁉⁉™™ℹℹ\u2190\u2bff〰〰〽〽㊗㊗㊙㊙\U0001f000\U0001fbff"
_HAS_STYLES = _EMOJI + "##**09"
_HAS_VARIANTS = "\u1000\u109f\u2200\u22ff\u3000\u303f\u3400\u9fff\ua840\ua87f\uf900\ufaff\uff00\uff1f\U00020000\U0003ffff"
_WRITES_NO_SPACES = "\u0e00\u0eff\u1000\u109f\u1780\u17ff"
_MONGOLIAN = "\u1820\u18aa"


def visible(text: str) -> str:
    """`text` with everything hidden written out as ⟨U+XXXX⟩."""
    if text.isascii() and text.replace("\n", "").isprintable():
        return text
    has_right_to_left = not text.isascii() and any(_in(sign, _RIGHT_TO_LEFT) for sign in set(text))
    written_out = -1  # where the last sign that was written out ends: nothing belongs to such a one

    def shown(found: re.Match[str]) -> str:
        nonlocal written_out
        sign, start, end = found[0], found.start(), found.end()
        if len(sign) > 1 or (sign in "\u200e\u200f\u061c" and has_right_to_left):
            return sign
        if _belongs(sign, "" if start == written_out else text[max(start - 1, 0) : start], text[end : end + 1]):
            return sign
        written_out = end
        return f"⟨U+{ord(sign):04X}⟩"

    return re.sub(_HIDDEN, shown, text)


def one_line(text: str, limit: int) -> str:
    """A peer's words inside a sentence of ours: one line of at most `limit` signs, nothing hidden."""
    flat = visible(" ".join(text.split()))
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


@functools.lru_cache(maxsize=1024)  # a hidden sign seldom comes alone
def _in(sign: str, ranges: str) -> bool:
    return sign != "" and any(low <= sign <= high for low, high in zip(ranges[::2], ranges[1::2], strict=True))


def _belongs(sign: str, before: str, after: str) -> bool:
    """Whether `sign` is part of how the signs around it are written."""
    if sign == "\u200d" and (before == "\ufe0f" or _in(before, _EMOJI)) and _in(after, _EMOJI):
        return True
    if sign in "\u200c\u200d":  # one, not a row of them: a row is a hidden number
        return _in(before, _JOINING) and after not in ("\u200b", "\u200c", "\u200d")
    if sign in "\ufe0e\ufe0f":
        return _in(before, _HAS_STYLES) or _in(before, _HAS_VARIANTS)
    if "\ufe00" <= sign <= "\ufe0d" or "\U000e0100" <= sign <= "\U000e01ef":
        return _in(before, _HAS_VARIANTS)
    if sign == "\u200b":
        return _in(before, _WRITES_NO_SPACES) and _in(after, _WRITES_NO_SPACES) and after not in "\u17b4\u17b5"
    if "\u180b" <= sign <= "\u180f":
        return _in(before, _MONGOLIAN)
    return False
