"""The two pipes to the client. Stdout is the wire: nothing but whole lines of JSON-RPC leaves on it.

`Wire` takes the descriptor of stdout for itself and lets descriptor 1 point to stderr, so that a stray print of
any code cannot reach the client. Reading belongs to one thread, writing to any: a line is written under one lock.
"""

from __future__ import annotations

import os
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_LINE = 8 * 1024 * 1024  # bytes; every argument together is at most 1 MiB, so 8 are a client gone wrong
_CHUNK = 65_536
TOO_LONG = b"[]"  # what the reader hands on for a line that it threw away: no message, so it is answered -32600


class Gone(Exception):
    """The client does not read any more."""


class Wire:
    """Lines from and to the client."""

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self._read_fd = read_fd
        self._write_fd = write_fd
        self._writing = threading.Lock()

    def lines(self) -> Iterator[bytes]:
        """Each line without its end, until the client closes its side. A last line without an end counts."""
        parts: list[bytes] = []  # of the line that has not ended yet
        size = 0
        skipping = False
        while True:
            try:
                chunk = os.read(self._read_fd, _CHUNK)
            except OSError:
                chunk = b""  # the descriptor was closed under us: the same as an end
            if not chunk:
                if size and not skipping:
                    yield b"".join(parts)
                return
            if b"\n" not in chunk:
                # A long line comes in many chunks: they are joined once, not at each of them.
                parts.append(chunk)
                size += len(chunk)
                if size > MAX_LINE:
                    parts, size, skipping = [], 0, True
                continue
            parts.append(chunk)
            *lines, rest = b"".join(parts).split(b"\n")
            parts, size = [rest], len(rest)
            for line in lines:
                if skipping:
                    skipping = False
                    yield TOO_LONG
                else:
                    yield line

    def write(self, line: bytes) -> None:
        """Hand a whole line to the client. Gone when it has closed its side."""
        with self._writing:
            left = memoryview(line)
            while left:
                try:
                    left = left[os.write(self._write_fd, left) :]
                except OSError as error:
                    raise Gone(str(error)) from None


def take_over() -> Wire:
    """The wire of this process. From here on descriptor 1 is stderr."""
    if os.name == "nt":
        import msvcrt  # text mode would turn \n into \r\n

        msvcrt.setmode(0, os.O_BINARY)  # type: ignore[attr-defined]
        msvcrt.setmode(1, os.O_BINARY)  # type: ignore[attr-defined]
    else:
        # A client may have made its ends non-blocking; a half-written line would be the end of the talk.
        os.set_blocking(0, True)
        os.set_blocking(1, True)
    out = os.dup(1)
    os.set_inheritable(out, False)
    try:
        os.dup2(2, 1)
    except OSError:  # started without a stderr
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.close(null)
    return Wire(0, out)
