"""A hook's way to the broker: one connection, one deadline for all of it, nothing said before the broker has proved itself.

What `web/client.py` and `guard/tokens.py` do, for a process that makes one or two calls and ends: they import
what costs more than those calls. Errors are the same: the Refusal that the broker answers, or Unavailable with
code `unreachable` (it did not get the call), `unknown_outcome` (it may have) or `foreign_program`.
"""

from __future__ import annotations

import _socket
import os
import time

from lattice.errors import Refusal, Unavailable, from_json
from lattice.hooks import compact_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

MAX_ANSWER_BYTES = 8 * 1024 * 1024


class Door:
    """Calls as the peer whose token this is. `until` is on the monotonic clock."""

    def __init__(self, port: int, token: str, secret: bytes, until: float) -> None:
        self.port = port
        self.until = until
        self._token = token
        self._secret = secret
        self._socket: _socket.socket | None = None
        self._rest = b""

    def call(self, method: str, path: str, body: dict[str, object] | None = None) -> dict[str, Any]:
        """The broker's answer. Raises as the module says; afterwards the door is shut, or open for a next call."""
        if self._socket is None:
            self._open()
        return self._exchange(method, path, body, f"Authorization: Bearer {self._token}\r\n")

    def close(self) -> None:
        connection, self._socket = self._socket, None
        if connection is not None:
            connection.close()

    def _open(self) -> None:
        connection = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
        self._socket = connection
        try:
            connection.settimeout(self._left())
            connection.connect(("127.0.0.1", self.port))
            connection.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
            nonce = os.urandom(16).hex()
            try:
                answer = self._exchange("GET", "/health?nonce=" + nonce, None, "")
            except Unavailable:
                raise
            except Refusal:
                answer = {}
        except (OSError, Unavailable) as problem:
            self.close()
            why = str(getattr(problem, "strerror", None) or problem).removeprefix(f"port {self.port}: ")
            raise Unavailable(f"no broker answers on port {self.port}: {why}", code="unreachable") from None
        if not is_proof(self._secret, nonce, self.port, answer.get("pid"), answer.get("proof")):
            self.close()
            raise Unavailable(f"port {self.port} is used by another program; it was told nothing", code="foreign_program")

    def _exchange(self, method: str, path: str, body: dict[str, object] | None, headers: str) -> dict[str, Any]:
        payload = b"" if body is None else compact_json.dumps(body).encode("ascii")
        said = f"Content-Type: application/json\r\nContent-Length: {len(payload)}\r\n" if body is not None else ""
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n{headers}{said}\r\n"
        connection = self._socket
        assert connection is not None
        try:
            connection.settimeout(self._left())
            connection.sendall(head.encode("ascii") + payload)
            status, text = self._receive(connection)
            answer = compact_json.loads(text.decode("utf-8"))
        except (OSError, ValueError, IndexError) as problem:
            self.close()
            raise Unavailable(f"port {self.port}: {problem}", code="unknown_outcome") from None
        if status >= 400:
            raise from_json(status, answer)
        if not isinstance(answer, dict):
            self.close()
            raise Unavailable(f"port {self.port}: the answer is no object", code="unknown_outcome")
        return answer

    def _receive(self, connection: _socket.socket) -> tuple[int, bytes]:
        buffer, self._rest = self._rest, b""
        while b"\r\n\r\n" not in buffer:
            buffer += self._more(connection)
        head, _, text = buffer.partition(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        status = int(lines[0].split(b" ")[1])
        length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), -1)
        if not 0 <= length <= MAX_ANSWER_BYTES:
            raise ValueError("what answers there does not speak as our broker does")
        while len(text) < length:
            text += self._more(connection)
        self._rest = text[length:]
        return status, text[:length]

    def _more(self, connection: _socket.socket) -> bytes:
        connection.settimeout(self._left())
        data = connection.recv(65536)
        if not data:
            raise OSError("the connection was closed before the answer came")
        return data

    def _left(self) -> float:
        left = self.until - time.monotonic()
        if left <= 0:
            raise TimeoutError("no answer in time")
        return left


def read_secret(home: str, from_env: str) -> bytes:
    """The secret that tells our broker from others; b"" when there is none that is ours alone. Makes none."""
    if from_env:
        return os.fsencode(from_env).strip()
    try:
        descriptor = os.open(os.path.join(home, "secret"), os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        return b""
    try:
        found = os.fstat(descriptor)
        if os.name != "nt" and (found.st_uid != os.getuid() or found.st_mode & 0o077):
            return b""
        return os.read(descriptor, 4098).strip()
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def is_proof(secret: bytes, nonce: str, port: int, pid: object, proof: object) -> bool:
    """As `guard.tokens.check_proof`: whether whoever answered knows the secret."""
    if len(secret) < 32 or not isinstance(pid, int) or not isinstance(proof, str):
        return False
    key = _hmac(secret, b"c2-lattice proof")
    wanted = _hmac(key, f"{nonce} {port} {pid}".encode()).hex()
    # The answer to a nonce that is never used again: there is nothing to be learnt from how long this takes.
    return proof == wanted


def _hmac(key: bytes, text: bytes) -> bytes:
    """HMAC-SHA256 (RFC 2104)."""
    sha = _sha256()
    if len(key) > 64:
        key = sha(key).digest()
    key = key.ljust(64, b"\0")
    inner = sha(bytes(byte ^ 0x36 for byte in key) + text).digest()
    return bytes(sha(bytes(byte ^ 0x5C for byte in key) + inner).digest())


def _sha256() -> Callable[[bytes], Any]:
    """The interpreter's own SHA-256: `hashlib` asks OpenSSL first, whose loading takes longer than a hook may."""
    for name in ("_sha2", "_sha256"):  # from Python 3.12 on, before
        try:
            found = __import__(name).sha256
        except ImportError:
            continue
        return found  # type: ignore[no-any-return]
    import hashlib

    return hashlib.sha256
