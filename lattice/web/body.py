"""The body of a request: strict JSON, an object.

Python's parser accepts more than JSON and more than anything behind it can hold. Refused here, each with
400: what is not UTF-8, nesting over 32, NaN and Infinity, a name given twice, numbers
past 2**53 (so 1e999), half surrogates and NUL in any text, a top level that is no object. Sizes are bounded before.
"""

from __future__ import annotations

import json
import re
from typing import NoReturn

from lattice.errors import BadRequest

MAX_DEPTH = 32
MAX_INTEGER = 2**53  # what a double, and so every JSON program, holds exactly

# Possessive, and closing quote optional: linear on any bytes, however broken.
_TEXTS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_BRACKETS = bytes.maketrans(b"{}", b"[]")
_NO_BRACKET = bytes(set(range(256)) - set(b"[]{}"))


def parse(raw: bytes) -> dict[str, object]:
    """The object in `raw`. BadRequest says what is wrong; nothing else is ever raised."""
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH:
        _check_depth(raw)
    try:
        value = _DECODER.decode(raw.decode("utf-8"))
    except UnicodeDecodeError:
        raise BadRequest("the body is not UTF-8", code="bad_json") from None
    except json.JSONDecodeError as error:
        raise BadRequest(f"the body is not JSON: {error.msg} at character {error.pos}", code="bad_json") from None
    if not isinstance(value, dict):
        raise BadRequest("the body must be a JSON object", code="bad_json")
    if b"\\u" in raw:  # only an escape can bring in what `_check_texts` looks for
        _check_texts(value)
    return value


def _check_depth(raw: bytes) -> None:
    # Without texts, each pass over `[]` takes off exactly one level: what is left after 32 is deeper, or unbalanced.
    left = _TEXTS.sub(b"", raw).translate(_BRACKETS, _NO_BRACKET)
    for _ in range(MAX_DEPTH):
        if not left:
            return
        left = left.replace(b"[]", b"")
    if left:
        raise BadRequest(f"the body is nested deeper than {MAX_DEPTH}, or its brackets do not match", code="bad_json")


def _check_texts(value: object) -> None:
    if isinstance(value, str):
        if "\0" in value:
            raise BadRequest("a text in the body contains a NUL character", code="bad_json")
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise BadRequest("a text in the body contains half of a surrogate pair", code="bad_json") from None
    elif isinstance(value, dict):
        for name, member in value.items():
            _check_texts(name)
            _check_texts(member)
    elif isinstance(value, list):
        for item in value:
            _check_texts(item)


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise BadRequest("the body names a member twice", code="bad_json")
    return members


def _integer(text: str) -> int:
    if len(text) > 17 or abs(int(text)) > MAX_INTEGER:
        raise BadRequest("an integer in the body is larger than 2**53", code="bad_json")
    return int(text)


def _fraction(text: str) -> float:
    value = float(text)
    if not abs(value) <= MAX_INTEGER:  # infinity too: 1e999 is JSON
        raise BadRequest("a number in the body is larger than 2**53", code="bad_json")
    return value


def _constant(text: str) -> NoReturn:
    raise BadRequest(f"{text} is not JSON", code="bad_json")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer, parse_float=_fraction, parse_constant=_constant)
