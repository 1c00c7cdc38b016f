"""JSON-RPC 2.0 as MCP uses it: one line of bytes in, one message out; and back. No I/O.

- A line that is no JSON, or no UTF-8: -32700. JSON that is no message (a batch, another version, an id that is
  neither text nor a whole number): -32600. Both carry the id where one could be read, and otherwise leave the
  member out: the schema of MCP has no place for a null id.
- What comes out is one line of ASCII: no text that it carries can end the line early or fail to be encoded.
"""

from __future__ import annotations

import json
from collections import namedtuple

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
UNSUPPORTED_VERSION = -32022  # MCP 2026-07-28

Request = namedtuple("Request", "id method params")
Notification = namedtuple("Notification", "method params")

# id: text | int
# Notification.params, Request.params: whatever was given; None when nothing was


class RpcError(Exception):
    """An answer of the kind `error`. `id` is None where the message had none that can be echoed."""

    def __init__(self, code: int, message: str, *, data: object = None, id: object = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data
        self.id = id


def read(line: bytes) -> Request | Notification | None:
    """The message in a line; None for a blank line or an answer (we never ask). RpcError for what is no message."""
    if not line.strip():
        return None
    try:
        message = json.loads(line.decode("utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError):  # RecursionError: a hundred thousand brackets
        raise RpcError(PARSE_ERROR, "Parse error: not one JSON object in UTF-8 on one line") from None
    if not isinstance(message, dict):
        raise RpcError(INVALID_REQUEST, "Invalid Request: a message is one JSON object; batches are not supported")
    id = message.get("id")
    if message.get("jsonrpc") != "2.0":
        raise RpcError(INVALID_REQUEST, 'Invalid Request: "jsonrpc" must be "2.0"', id=_echo(id))
    if "method" not in message and ("result" in message or "error" in message):
        return None
    method = message.get("method")
    if not isinstance(method, str):
        raise RpcError(INVALID_REQUEST, "Invalid Request: no method", id=_echo(id))
    if "id" not in message:
        return Notification(method, message.get("params"))
    if _echo(id) is None:
        raise RpcError(INVALID_REQUEST, "Invalid Request: an id is a string or an integer")
    return Request(id, method, message.get("params"))


def is_id(value: object) -> bool:
    return _echo(value) is not None


def result(id: object, value: dict[str, object]) -> bytes:
    return _line({"jsonrpc": "2.0", "id": id, "result": value})


def error(failure: RpcError, id: object = None) -> bytes:
    said: dict[str, object] = {"code": failure.code, "message": failure.message}
    if failure.data is not None:
        said["data"] = failure.data
    message: dict[str, object] = {"jsonrpc": "2.0", "error": said}
    id = failure.id if id is None else id
    if id is not None:
        message["id"] = id
    return _line(message)


def notification(method: str, params: dict[str, object]) -> bytes:
    return _line({"jsonrpc": "2.0", "method": method, "params": params})


def _line(message: dict[str, object]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode("ascii") + b"\n"


def _echo(id: object) -> object:
    """The id, or None when it is none: true is an int to Python and no id to JSON."""
    return id if isinstance(id, (str, int)) and not isinstance(id, bool) else None


def _no_constant(word: str) -> object:
    raise ValueError(f"{word} is not JSON")
