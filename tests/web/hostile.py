"""What a hostile or a broken client sends, as tables: each input with the answer that it must get.

`tests/web` holds the bare server to them, `tests/threats` a whole broker on all its routes.
"""

from __future__ import annotations

# -- who is called, and by whom (S1, S2) -----------------------------------------------------------------------------------


def hosts(port: int) -> dict[str, int]:
    """What may stand in the one Host header of a request to `port`; 200: it passes."""
    ours = (f"127.0.0.1:{port}", f"localhost:{port}", f"LocalHost:{port}", f"[::1]:{port}")
    foreign = (
        "evil.example", f"evil.example:{port}", f"127.0.0.1.evil.example:{port}", f"localhost.:{port}", f"127.0.0.1:{port + 1}",
        f"0.0.0.0:{port}", f"127.1:{port}", "127.0.0.1", "localhost", f"127.0.0.1:{port}x", f"127.0.0.1:0{port}", f"127.0.0.1:{port},x",
        f"user@127.0.0.1:{port}", f"[::]:{port}", f"2130706433:{port}", "",
    )  # fmt: skip
    return dict.fromkeys(ours, 200) | dict.fromkeys(foreign, 421)


def host_lines(port: int) -> tuple[tuple[str, ...], ...]:
    """Other ways to name no host, or more than one: each is 400."""
    ours, evil = f"Host: 127.0.0.1:{port}", "Host: evil.example"
    return ((), (ours, ours), (ours, evil), (evil, ours), (ours, f"host: localhost:{port}"))


def targets(port: int) -> tuple[str, ...]:
    """Request targets that are no path: each is 400."""
    return (f"http://127.0.0.1:{port}/x", "*", "x", "http://evil.example/", "/x#y")


def origins(port: int) -> dict[str | None, bool]:
    """Does a request with this Origin pass? None: without one."""
    return {
        None: True, f"http://127.0.0.1:{port}": True, f"http://localhost:{port}": True,
        "null": False, "": False, "http://evil.example": False, f"https://127.0.0.1:{port}": False, "http://127.0.0.1": False,
        f"http://127.0.0.1:{port}.evil.example": False, f"http://127.0.0.1:{port}/": False, f"http://127.0.0.1:{port + 1}": False,
        f"HTTP://127.0.0.1:{port}": False,
    }  # fmt: skip


SITES: dict[str | None, bool] = {
    None: True, "same-origin": True, "none": True, "same-site": False, "cross-site": False, "": False, "Same-Origin": False,
}  # fmt: skip
NAVIGATES = ("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document")

# -- what a body may be (S3, S7, S10, S11) -----------------------------------------------------------------------------------

JSON_TYPES = ("application/json", "application/json; charset=utf-8", "Application/JSON;charset=UTF-8")
OTHER_TYPES = (
    "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/json-evil", "application/jsonx",
    "", "application/json; charset=latin-1", "application/json, text/plain", "text/json", "application/json; x=y",
)  # fmt: skip
CODINGS = ("gzip", "deflate", "br", "identity, gzip", "x")
LENGTHS = ("1_0", "+5", "-1", "0x2", "2.0", "٣".encode().decode("latin-1"), "", "2, 2", "2 2", "two", "9" * 13, "\x0b2")

BODIES: dict[str, bytes] = {
    "not JSON": b"hello",
    "cut off": b'{"a":1',
    "two values": b"{}{}",
    "trailing comma": b'{"a":1,}',
    "comment": b"{} // x",
    "single quotes": b"{'a':1}",
    "a list": b"[1]",
    "a text": b'"x"',
    "a number": b"1",
    "null": b"null",
    "blank": b"  ",
    "byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": '{"a":1}'.encode("utf-16"),
    "Latin-1": b'{"a":"\xe9"}',
    "overlong UTF-8": b'{"a":"\xc0\xaf"}',
    "surrogate as UTF-8": b'{"a":"\xed\xa0\x80"}',
    "half a pair": b'{"a":"\\ud800"}',
    "half a pair in a name": b'{"\\udfff":1}',
    "half a pair, deep": b'{"a":[{"b":["\\udc00"]}]}',
    "NUL": b'{"a":"x\\u0000y"}',
    "NUL in a name": b'{"a\\u0000":1}',
    "raw control character": b'{"a":"\x01"}',
    "bad escape": b'{"a":"\\x41"}',
    "name twice": b'{"a":1,"a":1}',
    "name twice, spelled differently": b'{"a":1,"\\u0061":2}',
    "name twice, deep": b'{"x":[{"a":1,"a":2}]}',
    "NaN": b'{"a":NaN}',
    "Infinity": b'{"a":Infinity}',
    "-Infinity": b'{"a":-Infinity}',
    "overflow": b'{"a":1e999}',
    "negative overflow": b'{"a":-1e999}',
    "2**53+1": b'{"a":9007199254740993}',
    "-2**53-1": b'{"a":-9007199254740993}',
    "1e17": b'{"a":1e17}',
    "a large fraction": b'{"a":-9007199254740993.5e3}',
    "2**70": b'{"a":1180591620717411303424}',
    "5000 digits": b'{"a":' + b"9" * 5000 + b"}",
    "leading zero": b'{"a":01}',
    "hex": b'{"a":0x10}',
    "depth 33": b'{"a":' + b"[" * 32 + b"]" * 32 + b"}",
    "depth 33 of objects": b'{"a":' * 33 + b"1" + b"}" * 33,
    "60,000 open lists": b"[" * 60_000,
    "12,000 open objects": b'{"a":' * 12_000,
    "brackets that do not match": b'{"a":' + b"[" * 40 + b"}" * 40 + b"}",
}

# -- where a request ends (S8) ---------------------------------------------------------------------------------------------------


def behind(host: bytes, *lines: bytes) -> bytes:
    """The request that must not be dispatched: it follows a doubtful one in the same bytes."""
    said = (b"POST /shutdown HTTP/1.1", b"Host: " + host, *lines, b"Content-Type: application/json", b"Content-Length: 2")
    return b"\r\n".join(said) + b"\r\n\r\n{}"


def smuggled(host: bytes, follows: bytes, path: bytes = b"/x") -> list[tuple[int, bytes]]:
    """Requests whose end two readers could see at two places; nothing behind one is served. `follows` comes behind it."""
    post, get = b"POST %s HTTP/1.1\r\nHost: %s\r\n" % (path, host), b"GET %s HTTP/1.1\r\nHost: %s\r\n" % (path, host)
    json = post + b"Content-Type: application/json\r\n"
    ours = b"Host: " + host + b"\r\n"
    return [
        (501, json + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        (501, json + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
        (501, json + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        (501, json + b"Content-Length: 2\r\nTransfer-Encoding: identity\r\n\r\n{}"),
        (501, json + b"transfer-encoding:\tchunked\r\n\r\n"),
        (501, json + b"Transfer-Encoding: xchunked\r\nContent-Length: 0\r\n\r\n"),
        (501, get + b"Transfer-Encoding: chunked\r\n\r\n"),
        (501, b"GET %s HTTP/1.0\r\n" % path + ours + b"Transfer-Encoding: chunked\r\n\r\n"),
        (400, json + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n"),
        (400, json + b"Transfer-Encoding : chunked\r\n\r\n"),
        (400, json + b" Transfer-Encoding: chunked\r\n\r\n"),
        (400, json + b"X: y\r\n Transfer-Encoding: chunked\r\n\r\n"),
        (400, json + b"X: y\nTransfer-Encoding: chunked\r\n\r\n"),
        (400, json + b"X: y\rTransfer-Encoding: chunked\r\n\r\n"),
        (400, json + b"Content-Length: 2\r\nContent-Length: 0\r\n\r\n{}"),
        (400, json + b"Content-Length: 2\r\ncontent-length: 2\r\n\r\n{}"),
        (400, json + b"Content-Length: 0, 2\r\n\r\n{}"),
        (400, json + b"Content-Length:\r\n\r\n"),
        (400, json + b"Content-Length: +2\r\n\r\n{}"),
        (400, json + b"Content-Length: 2\x00\r\n\r\n{}"),
        (400, json + b"Content Length: 2\r\n\r\n{}"),
        (400, json + b"Content-Length\r\n\r\n{}"),
        (400, json + b": 2\r\n\r\n{}"),
        (400, json + b"X\xff: 2\r\nContent-Length: 0\r\n\r\n"),
        (400, get + b"Content-Length: 7\r\n\r\n"),
        (400, get + b"Content-Length: %d\r\n\r\n" % len(follows)),
        (400, b"GET  %s HTTP/1.1\r\n" % path + ours + b"\r\n"),
        (400, b"GET %s y HTTP/1.1\r\n" % path + ours + b"\r\n"),
        (400, b"GET\t%s HTTP/1.1\r\n" % path + ours + b"\r\n"),
        (400, b"GET %s HTTP/1.1 \r\n" % path + ours + b"\r\n"),
        (400, b"GET %s\x00 HTTP/1.1\r\n" % path + ours + b"\r\n"),
        (400, b"\r\n" + get + b"\r\n"),
        (400, b"GET %s HTTP/1.1\n" % path + ours + b"\n"),
        (400, b"GET %s HTTP/1.1\r\nHost: a\r\n" % path + ours + b"\r\n"),
        (505, b"GET %s\r\n\r\n" % path),
        (505, b"GET %s HTTP/2.0\r\n" % path + ours + b"\r\n"),
        (505, b"GET %s HTTP/1.2\r\n" % path + ours + b"\r\n"),
        (505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        (415, post + b"Content-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(follows)),
        (413, json + b"Content-Length: 99999999\r\n\r\n"),
        (411, json + b"\r\n"),
        (421, b"GET %s HTTP/1.1\r\nHost: evil.example\r\n\r\n" % path),
        (403, get + b"Origin: null\r\n\r\n"),
        (400, json + b"Content-Length: 2\r\n\r\n{}\r\n"),
    ]
