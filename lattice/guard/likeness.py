"""Likeness: is one text a copy of another, whatever was put around it?

Texts are compared by their runs of three words. Case, signs, line ends, invisible and look-alike letters do not
count; a script without blanks counts each of its signs as a word. A text is a copy of another

    when it holds most of the other's runs:      passed on, also with words before, between and behind
    when the other holds most of its own runs:   an excerpt that adds nothing, from PART words on

Most is 80 of 100 for a short text and 60 for a longer one, where a greeting and a name are changed each time.
Fewer than SHORT words are never a copy: people say the same short things. It finds what was copied, not what
was said anew; a text that is rewritten each time passes.
"""

from __future__ import annotations

import functools
import re

from lattice.guard.content import fold

RUN = 3  # words
SHORT = 8  # words: less is a phrase, and no room to say what is to be done with it
PART = 20  # words: a shorter excerpt is a quotation
LONG = 25  # runs: from here on MOST_OF_LONG is enough
MOST, MOST_OF_LONG = 0.8, 0.6
KEPT = 512  # texts whose runs are remembered: some 3 KB each, of the longest message 120

# Signs of scripts that are written without blanks: Thai to Lao, Burmese, Khmer, Han and Kana.
_NO_BLANKS = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u312f\u31a0-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(f"[{_NO_BLANKS}]|[^\\W_{_NO_BLANKS}]+")


@functools.lru_cache(maxsize=KEPT)
def runs_of(text: str) -> frozenset[int]:
    """Digests of the text's runs, of use within this process only; none where it is too short to be a copy."""
    words = _WORD.findall(fold(text).casefold())
    if len(words) < SHORT:
        return frozenset()
    return frozenset(map(hash, zip(words, words[1:], words[2:], strict=False)))


def is_copy(new: frozenset[int], old: frozenset[int]) -> bool:
    """Does the text whose runs are `new` pass on the one whose runs are `old`, or a part of it?"""
    shared = len(new & old)
    if not shared:
        return False
    return shared >= len(old) * _most(len(old)) or (len(new) > PART - RUN and shared >= len(new) * _most(len(new)))


def _most(runs: int) -> float:
    return MOST if runs < LONG else MOST_OF_LONG
