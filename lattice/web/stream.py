"""Server-sent events: one answer that goes on until the client leaves.

The broker gives a key and a function; the function is asked at the start and whenever the key is woken
for the bytes that are new (made with `event`), until it has no more. In silence a comment line goes out every 15 s, so that
both ends notice a dead connection. A reconnecting browser sends the last id it has as Last-Event-ID.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import NamedTuple

from lattice.web.parking import Lot, Place

CONTENT_TYPE = "text/event-stream; charset=utf-8"
STILL_HERE = b": still here\n\n"
SILENCE_S = 15.0


class Stream(NamedTuple):
    """`next` runs on the connection's thread and gives the new bytes, or none."""

    key: str
    next: Callable[[], bytes]


def event(data: object, *, name: str = "", id: str = "") -> bytes:
    """One event with `data` as JSON. ValueError when `name` or `id` would break the line it stands on."""
    if any(sign in name + id for sign in "\r\n\0"):
        raise ValueError("the name and id of an event are one line each")
    lines = [f"id: {id}\n"] if id else []
    if name:
        lines.append(f"event: {name}\n")
    lines.append(f"data: {json.dumps(data, separators=(',', ':'), allow_nan=False)}\n\n")
    return "".join(lines).encode("utf-8")


def run(stream: Stream, lot: Lot, place: Place, send: Callable[[bytes], None], silence_s: float = SILENCE_S) -> None:
    """Send until the client leaves or the server stops. OSError when the client does not take what is sent."""
    send(STILL_HERE)  # the browser's `open` event fires at the first bytes
    while True:
        since = lot.number  # before the look: a wake during it is not lost
        new = stream.next()
        if new:
            send(new)
        outcome = lot.wait(place, stream.key, since, 0.0 if new else silence_s)  # what is new may not have been all
        if outcome in ("closed", "stopping"):
            return
        if outcome == "late" and not new:
            send(STILL_HERE)
