"""JSON for a hook: the interpreter's own reader and writer, without the package around them.

`json` brings `re`, which costs as much as the start of the interpreter; a hook runs at every edit. Where the
interpreter has no such module (it is CPython's own), `json` itself is used. Strict: NaN is refused both ways.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def loads(text: str) -> Any:
    """The value that the text says. ValueError when it is not JSON."""
    try:
        from _json import make_scanner
    except ImportError:
        import json

        return json.loads(text, parse_constant=_refuse)
    start = _skip(text, 0)
    try:
        value, end = make_scanner(_Reading)(text, start)  # type: ignore[arg-type]  # asked for its attributes alone
    except StopIteration:
        raise ValueError("not JSON") from None
    except RecursionError:
        raise ValueError("nested too deep") from None
    if _skip(text, end) != len(text):
        raise ValueError("more than one JSON value")
    return value


def dumps(value: object) -> str:
    """The value on one line, in ASCII. TypeError for what JSON has no word for."""
    try:
        from _json import encode_basestring_ascii
    except ImportError:
        import json

        return json.dumps(value, separators=(",", ":"), allow_nan=False)
    return _say(value, encode_basestring_ascii)


def _refuse(word: str) -> object:
    raise ValueError(f"{word} is not JSON")


class _Reading:
    """What the scanner asks how to read."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = staticmethod(_refuse)


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at


def _say(value: object, quoted: Any) -> str:
    if isinstance(value, str):
        return str(quoted(value))
    if value is None or isinstance(value, bool):
        return "null" if value is None else "true" if value else "false"
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            raise TypeError("JSON has no word for this number")
        return float.__repr__(value)
    if isinstance(value, (list, tuple)):
        return "[" + ",".join([_say(one, quoted) for one in value]) + "]"
    if isinstance(value, dict):
        return "{" + ",".join([quoted(str(name)) + ":" + _say(one, quoted) for name, one in value.items()]) + "}"
    raise TypeError(f"JSON has no word for {type(value).__name__}")
