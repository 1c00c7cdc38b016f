"""Router: (method, path) -> target.

A table, made once and never changed, so any thread may read it. Paths without parameters are found
in one dictionary; the others by their number of segments and their first segment, the more literal
pattern first (`/runs/{id}/summary` before `/runs/{id}/{part}`).

Paths arrive as they were sent, still percent-encoded. They are cut at `/` first and decoded after, so
an encoded `/` stays inside its segment; there are no dot segments and no trailing-slash twins.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

from lattice.errors import BadRequest, NotFound, WrongMethod

T = TypeVar("T")

_NEVER_SERVED = ("HEAD", "OPTIONS")  # known to browsers and scanners, served nowhere: 405 on any path


class Router(Generic[T]):
    """`Router([("GET", "/tasks/{task_id}", target), ...])`. ValueError when two routes are the same."""

    def __init__(self, routes: Iterable[tuple[str, str, T]]) -> None:
        self._plain: dict[str, dict[str, T]] = {}
        self._patterns: dict[tuple[int, str], list[_Pattern[T]]] = {}
        for method, path, target in routes:
            if "{" in path:
                self._add_pattern(method, path, target)
            else:
                _add(self._plain.setdefault(path, {}), method, path, target)
        for patterns in self._patterns.values():
            patterns.sort(key=lambda pattern: [segment is None for segment in pattern.literals])

    def find(self, method: str, path: str) -> tuple[T, dict[str, str]]:
        """The target and its path parameters, decoded.

        NotFound for a path of no route; WrongMethod (with `allowed`) for a path of routes with other
        methods, and for HEAD and OPTIONS anywhere; BadRequest when a segment decodes to no text.
        """
        methods = self._plain.get(path)
        segments = [] if methods is not None else [decode(segment) for segment in path.split("/")[1:]]
        if methods is None and "%" in path and not any("/" in segment for segment in segments):
            methods = self._plain.get("/" + "/".join(segments))
        allowed: list[str] = list(methods or ())
        if method in allowed:
            return methods[method], {}  # type: ignore[index]
        if methods is None:  # a path that is written out is no example of a pattern
            for first in (segments[0] if segments else "", ""):
                for pattern in self._patterns.get((len(segments), first), ()):
                    values = pattern.match(segments)
                    if values is not None and method in pattern.methods:
                        return pattern.methods[method], values
                    allowed += pattern.methods if values is not None else ()
        if method in _NEVER_SERVED:
            raise WrongMethod(f"{method} is not served", allowed=sorted(set(allowed)) or ["GET", "POST"])
        if allowed:
            allowed = sorted(set(allowed))
            raise WrongMethod(f"{method} is not served here; use {' or '.join(allowed)}", allowed=allowed)
        raise NotFound("there is nothing at this path", code="no_such_path")

    def _add_pattern(self, method: str, path: str, target: T) -> None:
        pattern: _Pattern[T] = _Pattern(path)
        group = self._patterns.setdefault((len(pattern.literals), pattern.literals[0] or ""), [])
        for known in group:
            if known.literals == pattern.literals:
                if known.names != pattern.names:
                    raise ValueError(f"{path}: the same path has other parameter names elsewhere")
                _add(known.methods, method, path, target)
                return
        _add(pattern.methods, method, path, target)
        group.append(pattern)


class _Pattern(Generic[T]):
    """One path with parameters: a literal or None for each segment, and the parameters' names in order."""

    __slots__ = ("literals", "methods", "names")

    def __init__(self, path: str) -> None:
        parts = path.split("/")[1:]
        self.literals = [None if part.startswith("{") and part.endswith("}") else part for part in parts]
        self.names = [part[1:-1] for part, literal in zip(parts, self.literals, strict=True) if literal is None]
        self.methods: dict[str, T] = {}

    def match(self, segments: list[str]) -> dict[str, str] | None:
        values = []
        for literal, segment in zip(self.literals, segments, strict=True):
            if literal is None:
                if not segment:
                    return None
                values.append(segment)
            elif literal != segment:
                return None
        return dict(zip(self.names, values, strict=True))


def _add(methods: dict[str, T], method: str, path: str, target: T) -> None:
    if method in methods:
        raise ValueError(f"{method} {path}: two routes")
    methods[method] = target


_HEX = {f"{value:02x}": value for value in range(256)}


def decode(text: str) -> str:
    """Percent-decoded UTF-8. BadRequest for a broken escape, for bytes that are not UTF-8, and for NUL."""
    if "%" not in text:
        return text
    pieces = text.split("%")
    raw = bytearray(pieces[0].encode("latin-1", "replace"))
    for piece in pieces[1:]:
        value = _HEX.get(piece[:2].lower())
        if value is None:
            raise BadRequest("a % in the address is not followed by two hex digits")
        raw.append(value)
        raw += piece[2:].encode("latin-1", "replace")
    if 0 in raw:
        raise BadRequest("the address contains a NUL character")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise BadRequest("the address is not UTF-8") from None


def parse_query(text: str) -> dict[str, str]:
    """`a=1&b=two+words` as a dictionary. BadRequest for a name given twice, and as `decode`."""
    values: dict[str, str] = {}
    for pair in text.split("&"):
        if not pair:
            continue
        name, _, value = pair.replace("+", " ").partition("=")
        name = decode(name)
        if name in values:
            raise BadRequest(f"the query names '{name}' twice")
        values[name] = decode(value)
    return values
