"""The inbox of a Claude Code session: a socket on which a child of the session can put a line before it.

An idle session takes a turn on what comes there; a busy one is shown it between two tool calls. The client
names the socket and its token in the environment of its children (2.1.224 and newer). Nothing is answered on
it: that a post was written proves nothing, and a client that does not know the frame drops it in silence.
"""

from __future__ import annotations

import _socket
import json
import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

TIMEOUT_S = 1.0  # a client that hangs must not hold us


def is_offered(environ: Mapping[str, str]) -> bool:
    """Does the environment name an inbox that this platform can reach? Whether anybody listens, only a post tells."""
    return hasattr(_socket, "AF_UNIX") and bool(environ.get("CLAUDE_CODE_MESSAGING_SOCKET") and environ.get("CLAUDE_CODE_MESSAGING_TOKEN"))


def post(environ: Mapping[str, str], text: str) -> None:
    """Write one line of text into the inbox. OSError when nobody took it; without one, it may or may not be shown."""
    path = environ["CLAUDE_CODE_MESSAGING_SOCKET"]
    found = os.stat(path)
    if not stat.S_ISSOCK(found.st_mode) or found.st_uid != os.getuid():
        raise OSError(f"{path} is not a socket of this user")
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        connection.settimeout(TIMEOUT_S)
        connection.connect(path)
        connection.sendall(frame(environ["CLAUDE_CODE_MESSAGING_TOKEN"], text))
    finally:
        connection.close()


def frame(token: str, text: str) -> bytes:
    """Two lines of JSON: who writes, and what."""
    lines = ({"type": "auth", "token": token}, {"type": "user", "message": {"role": "user", "content": text}})
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)
