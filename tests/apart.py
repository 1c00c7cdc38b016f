"""A network of its own for the broker, so that something else can stand on the broker's port.

A client proves its broker by port and pid, and the broker hears only the Host of its own port: a proxy can stand between
them only on that very port. So the broker runs in a network namespace apart, on 127.0.0.1:P there, and the proxy listens
on 127.0.0.1:P here. Files, processes and users are the same on both sides. Nothing in the product knows of it.

A small process holds the namespace open, and connects in it for us: a socket belongs to the namespace that made it, and
its descriptor may travel. Run by path, this file is that process.
"""

from __future__ import annotations

import array
import contextlib
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import unittest
from typing import Any

WHY_NOT = "only on Linux where a network namespace may be made (unshare -n, as root or by user namespaces)"
_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
_ENTER = ("-n",) if _ROOT else ("-U", "-n", "--preserve-credentials")


class Apart:
    """The other network, until closed."""

    def __init__(self) -> None:
        self.folder = tempfile.mkdtemp(prefix="c2n")
        self._door = os.path.join(self.folder, "door")
        self._holder = subprocess.Popen(
            ["unshare", *(("-n",) if _ROOT else ("-r", "-n")), sys.executable, "-I", "-S", os.path.abspath(__file__), self._door],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != b"ready\n":
            self.close()
            raise unittest.SkipTest(WHY_NOT)

    def __enter__(self) -> Apart:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def under(self) -> list[str]:
        """What to run a program under for it to be there; the program gets the process id of this one."""
        return ["nsenter", "-t", str(self._holder.pid), *_ENTER, "--"]

    def connect(self, port: int) -> socket.socket:
        """A connection to 127.0.0.1:port over there. ConnectionRefusedError when nobody listens."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
            asking.connect(self._door)
            asking.sendall(struct.pack("!H", port))
            said, ancillary, _, _ = asking.recvmsg(1, socket.CMSG_SPACE(4))
        if said != b"y":
            raise ConnectionRefusedError(f"nobody listens on {port} there")
        found = array.array("i")
        for level, kind, data in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                found.frombytes(data[:4])
        connection = socket.socket(fileno=found[0])
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._holder.communicate(timeout=5)  # the end of its stdin is its end
        self._holder.kill()
        self._holder.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def needed(test: Any) -> Any:
    """Skips by name what needs a network apart and cannot have one."""
    return unittest.skipUnless(sys.platform == "linux" and shutil.which("unshare") and shutil.which("nsenter"), WHY_NOT)(test)


# -- the process that holds it ---------------------------------------------------------------------------------------------


def hold(door: str) -> None:
    """Bring the loopback up, say so, and connect for whoever asks, until stdin ends."""
    import fcntl
    import threading

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sH14s", b"lo", 0x1 | 0x40, b""))  # SIOCSIFFLAGS, UP and RUNNING
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(door)
    listener.listen(128)
    print("ready", flush=True)
    threading.Thread(target=_answer, args=(listener,), daemon=True).start()
    sys.stdin.buffer.read()


def _answer(listener: socket.socket) -> None:
    while True:
        asking, _ = listener.accept()
        with asking:
            (port,) = struct.unpack("!H", asking.recv(2))
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=5) as made:
                    made.settimeout(None)
                    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [made.fileno()]))]
                    asking.sendmsg([b"y"], rights)
            except OSError:
                with contextlib.suppress(OSError):
                    asking.sendall(b"n")


if __name__ == "__main__":
    hold(sys.argv[1])
