"""HTTP requests that are not quite right: made by a grammar in which every part may be wrong, or right ones with bytes changed."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence

from tests.fuzz import bodies
from tests.web import hostile

# Not with a token: they wait, or never end, or take the token's life with them.
NOT_OURS = ("heartbeat", "wait_mail", "permission", "leave", "events")
METHODS = (
    b"GET", b"GET", b"GET", b"POST", b"POST", b"POST", b"POST", b"PUT", b"DELETE", b"PATCH", b"HEAD", b"OPTIONS", b"TRACE", b"CONNECT",
    b"get", b"Post", b"PROPFIND", b"G\xc9T", b"", b"GET\t", b"GET\r", b"P" * 300, b"{}", b"!#$%&'*+-.^_`|~", b"PRI", b"0", b"POST\0",
)  # fmt: skip
TARGETS = (
    b"/", b"*", b"", b"//", b"/..", b"/../../etc/passwd", b"/%2e%2e/%2f", b"/%", b"/%0", b"/%zz", b"/%00", b"/%ff", b"/a b", b"/\xc3\xa9",
    b"http://127.0.0.1/health", b"health", b"/health#x", b"/health?", b"/health?nonce", b"/health?nonce=x&nonce=y", b"/health?%zz=1",
    b"/health?nonce=00000000000000000000000000000000", b"/" + b"a" * 3000, b"/" + b"%41" * 3000, b"/" * 500, b"/tasks/1/2/3/4", b"/\\",
    b"/dashboard", b"/dashboard/data", b"/nope", b"\\health", b"/health;x", b"/health/", b"/HEALTH", b"/tasks?limit=1&limit=2", b"/\x01",
)  # fmt: skip
VERSIONS = (
    b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/1.2", b"HTTP/0.9", b"HTTP/2", b"HTTP/2.0", b"HTTP/9999.9999",
    b"http/1.1", b"HTTP/1.1 ", b"HTTP/1,1", b"HTTP/01.1", b"HTTP/1.1\0", b"HTTPS/1.1", b"", b"RTSP/1.0", b"HTTP/1", b"HTTP/-1.1",
    b"HTTP/1.1x",
)  # fmt: skip
HEADERS = (
    b"X: y", b"x:y", b"X : y", b" X: y", b"X", b": y", b"X:", b"X: \0", b"X: \x7f", b"X: \xff\xfe", b"X\xe9: y", b"X: y\n Z: w",
    b"X: y\r Z", b"X:\t" + b"\t" * 20_000 + b"\0", b"X: y\r\n z", b"X: y\r\n\tz", b"(X): y", b"X[0]: y", b"X: " + b"y" * 20_000,
    b"X" * 5000 + b": y", b"Connection: keep-alive", b"Connection: close", b"Connection: upgrade", b"Connection: close, x",
    b"Upgrade: websocket", b"Upgrade: h2c", b"HTTP2-Settings: x", b"Sec-WebSocket-Key: x", b"Expect: 100-continue", b"Expect: 200-ok",
    b"TE: trailers", b"Trailer: X", b"Range: bytes=0-", b"Via: 1.1 x", b"If-None-Match: *", b"Accept: text/html",
    b"Accept-Encoding: gzip", b"Cookie: a=b", b"Forwarded: host=evil", b"X-Forwarded-Host: evil", b"X-HTTP-Method-Override: DELETE",
    b"Last-Event-ID: 7", b"Last-Event-ID: \xff", b"Last-Event-ID: " + b"9" * 400, b"Authorization: Bearer", b"Authorization: Bearer x",
    b"Authorization: Basic eDp5", b"Authorization: Ticket x", b"Authorization:", b"Authorization: Bearer \xff",
    b"Authorization: Bearer " + b"A" * 9000, b"Origin: null", b"Origin: http://evil.example", b"Origin:", b"Sec-Fetch-Site: cross-site",
    b"Sec-Fetch-Site: none", b"Sec-Fetch-Mode: navigate", b"Host: evil.example", b"Host:", b"host: x", b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: identity", b"transfer-encoding: x", b"Transfer-Encoding:\tchunked", b"Content-Encoding: gzip",
    b"Content-Encoding: identity", b"Content-Type: text/plain", b"Content-Type: application/json", b"Content-Length: 0",
    b"Content-Length: -1", b"Content-Length: +1", b"Content-Length: 1_0", b"Content-Length: 99999999999999999999",
    b"Content-Length: 1048577", b"Content-Length: 0x10", b"Content-Length: 1, 1", b"Content-Length:",
)  # fmt: skip
NO_REQUESTS = (
    b"\r\n", b"\n", b"\r\n\r\n", b"\0", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"{}",
    b"\xff" * 40, b"GET", b"GET ", b"GET /", b"GET / HTTP/1.1", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost", b"EHLO x\r\n",
    b"A" * 70_000, b" " * 100, b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 150 + b"\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"*1\r\n$4\r\nPING\r\n", b"\x05\x01\x00",
)  # fmt: skip
NAVIGATION = tuple(line.encode() for line in hostile.NAVIGATES)


class Requests:
    """What one lane of connections sends: with this token, to this port."""

    def __init__(self, chosen: random.Random, port: int, token: str) -> None:
        self.chosen, self.port = chosen, port
        self.host = f"Host: 127.0.0.1:{port}".encode()
        self.token = f"Authorization: Bearer {token}".encode()
        self.posts = [operation for operation in bodies.POSTS if operation.name not in NOT_OURS]
        self.gets = [operation for operation in bodies.GETS if operation.name not in NOT_OURS]
        name = f"127.0.0.1:{port}".encode()
        self.smuggled = [raw for _, raw in hostile.smuggled(name, hostile.behind(name, self.token))]

    def next(self) -> bytes:
        chosen = self.chosen
        way = chosen.randrange(100)
        if way < 40:
            return self.grammatical()
        if way < 50:
            return self.right()
        if way < 85:
            return bodies.mutated(chosen, self.right(), most=chosen.choice((1, 1, 2, 6)))
        if way < 92:
            return chosen.choice(self.smuggled) + chosen.choice((b"", self.right(), b"0\r\n\r\n"))
        if way < 97:
            return chosen.choice(NO_REQUESTS)
        if way < 98:
            return chosen.randbytes(chosen.randrange(1, 200))
        right = self.right()
        return right[: chosen.randrange(1, len(right))]

    def right(self) -> bytes:
        """A request as it should be; with strange values in it perhaps."""
        chosen = self.chosen
        if chosen.random() < 0.5:
            operation = chosen.choice(self.gets)
            path = bodies.path_of(chosen, operation) + bodies.query(chosen, operation)
            return joined([b"GET " + path.encode() + b" HTTP/1.1", self.host, self.token])
        operation = chosen.choice(self.posts)
        body = (
            bodies.spoiled(chosen, operation).body if chosen.random() < 0.5 else json.dumps(bodies.valid_body(chosen, operation)).encode()
        )
        line = b"POST " + bodies.path_of(chosen, operation).encode() + b" HTTP/1.1"
        return joined([line, self.host, self.token, b"Content-Type: application/json", b"Content-Length: %d" % len(body)]) + body

    def grammatical(self) -> bytes:
        """Line, headers and body, any of which may be wrong."""
        chosen = self.chosen
        line = b" ".join((chosen.choice(METHODS), self.target(), chosen.choice(VERSIONS)))
        body = chosen.choice(bodies.NO_OBJECTS) if chosen.random() < 0.2 else b'{"title": "x"}' if chosen.random() < 0.5 else b""
        headers = [self.host] if chosen.random() < 0.9 else []
        if chosen.random() < 0.6:
            headers.append(self.token)
        if body or chosen.random() < 0.3:
            headers += [b"Content-Type: application/json"] if chosen.random() < 0.9 else []
            headers += [b"Content-Length: %d" % max(0, len(body) + chosen.choice((0, 0, 0, 0, 0, 0, 1, -1, 7)))]
        headers += chosen.sample(HEADERS, chosen.choice((0, 0, 1, 1, 2, 5)))
        headers += NAVIGATION if chosen.random() < 0.05 else ()
        chosen.shuffle(headers)
        ends = chosen.choice((b"\r\n",) * 30 + (b"\n", b"\r", b"\n\r", b"\r\n\0"))
        return joined([line, *headers], ends) + body

    def target(self) -> bytes:
        chosen = self.chosen
        if chosen.random() < 0.4:
            return chosen.choice(TARGETS)
        operation = chosen.choice((*self.gets, *self.posts))
        return (bodies.path_of(chosen, operation) + bodies.query(chosen, operation)).encode()


def joined(lines: Sequence[bytes], ends: bytes = b"\r\n") -> bytes:
    return ends.join(lines) + 2 * ends
