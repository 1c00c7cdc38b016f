"""The head of a request: its grammar, and the gate that every request passes before anything else.

Strict where RFC 9112 lets a server be lenient, because every leniency has been somebody's way in: names
are tokens, lines end in CRLF, no folding, no space before the colon, one of each header that frames or
authorises, a Content-Length of digits only, no Transfer-Encoding, no Content-Encoding.

The gate keeps web pages out of a service on localhost: a rebound name has another Host; a page of
another site has another Origin or says so in Sec-Fetch-Site; a form cannot send application/json.
Only the navigation to the empty page may come from anywhere.

Pure functions of bytes; no socket here.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from lattice.errors import (
    BadRequest,
    Forbidden,
    HeadersTooLarge,
    LengthRequired,
    Misdirected,
    NotImplementedHere,
    TooLarge,
    UnsupportedMedia,
    WrongVersion,
)

MAX_HEAD_BYTES = 64 * 1024
MAX_HEADERS = 100

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_REQUEST_LINE = re.compile(rf"({_TOKEN}) ([!-~]+) HTTP/1\.([01])")
_OTHER_VERSION = re.compile(rf"{_TOKEN} [!-~]+(?: HTTP/[0-9]+(?:\.[0-9]+)?)?")
# Possessive: 64 KB of tabs that end in a sign which no value has would else be tried from each of them.
_HEADER = re.compile(rf"({_TOKEN}):[ \t]*+([^\x00-\x08\x0a-\x1f\x7f]*+)")
_LENGTH = re.compile(r"[0-9]{1,12}")
_JSON_TYPE = re.compile(r"application/json(?:[ \t]*;[ \t]*charset=\"?utf-8\"?)?", re.IGNORECASE)
_BARE_LF = re.compile(rb"(?<!\r)\n")
_METHODS = (b"GET /", b"POST /", b"HEAD /", b"PUT /", b"DELETE /", b"PATCH /", b"OPTIONS /")

# Those that frame, address or authorise: two of them are two readings of one request.
_ONCE = frozenset(
    "host content-length content-type content-encoding transfer-encoding authorization origin expect"
    " sec-fetch-site sec-fetch-mode sec-fetch-dest".split()
)

PAGES = ("/", "/dashboard")


class Head(NamedTuple):
    """`path` and `query` are still percent-encoded; header names are in lower case; `minor` is 0 or 1."""

    method: str
    path: str
    query: str
    minor: int
    headers: dict[str, str]


def parse(raw: bytes) -> Head:
    """The head up to, and without, its empty line. BadRequest, WrongVersion or HeadersTooLarge."""
    lines = raw.decode("latin-1").split("\r\n")
    found = _REQUEST_LINE.fullmatch(lines[0])
    if found is None:
        if _OTHER_VERSION.fullmatch(lines[0]):
            raise WrongVersion("this server speaks HTTP/1.1 and HTTP/1.0")
        raise BadRequest("the request line is malformed")
    method, target, minor = found.groups()
    if target[0] != "/" or "#" in target:
        raise BadRequest("the request target must be a path, such as /health")
    if len(lines) - 1 > MAX_HEADERS:
        raise HeadersTooLarge(f"more than {MAX_HEADERS} headers")
    headers: dict[str, str] = {}
    for line in lines[1:]:
        header = _HEADER.fullmatch(line)
        if header is None:
            raise BadRequest("a header line is malformed")
        name, value = header.groups()
        name = name.lower()
        value = value.rstrip(" \t")
        if name in headers:
            if name in _ONCE:
                raise BadRequest(f"two {name} headers")
            value = f"{headers[name]}, {value}"
        headers[name] = value
    path, _, query = target.partition("?")
    return Head(method, path, query, int(minor), headers)


def check_unfinished(raw: bytes) -> None:
    """Refuse at once what cannot become a head, instead of waiting for the rest of it."""
    if not raw[:1].isalpha():
        raise BadRequest("this is not HTTP (a TLS client would begin like this)")
    if len(raw) > MAX_HEAD_BYTES:
        raise HeadersTooLarge(f"the headers exceed {MAX_HEAD_BYTES} bytes")
    if _BARE_LF.search(raw):
        raise BadRequest("a line ends in LF without CR")


def begins_a_request(raw: bytes) -> bool:
    """Could these bytes, found right behind a body, be the next request? If not, the length was a lie."""
    return any(raw.startswith(method) or (len(raw) < len(method) and method.startswith(raw)) for method in _METHODS)


def keeps_alive(head: Head) -> bool:
    """HTTP/1.1 without `Connection: close`. HTTP/1.0 clients get one answer per connection."""
    return head.minor == 1 and "close" not in head.headers.get("connection", "").lower()


def is_navigation(head: Head) -> bool:
    """A browser opening a page in a tab, as it says itself (a script cannot set these headers)."""
    headers = head.headers
    return head.method == "GET" and headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"


class Gate:
    """Who may talk to port `port` at all. `allow_host`: one more exact Host, such as a tunnel's 127.0.0.1:8000."""

    def __init__(self, port: int, allow_host: str = "") -> None:
        hosts = [f"127.0.0.1:{port}", f"localhost:{port}", f"[::1]:{port}"]
        if allow_host:
            hosts.append(allow_host.lower())
        self.hosts = frozenset(hosts)
        self.origins = frozenset(f"http://{host}" for host in hosts)

    def check(self, head: Head) -> None:
        """Raises what wire and threat model ask: 400, 421, 403."""
        headers = head.headers
        host = headers.get("host")
        if host is None:
            raise BadRequest("the Host header is missing")
        if host not in self.hosts and host.lower() not in self.hosts:
            raise Misdirected("the Host header names another server", hint=f"call http://{min(self.hosts)}")
        if "origin" in headers and headers["origin"] not in self.origins:
            raise Forbidden("a page of another origin may not call this server", code="cross_origin")
        site = headers.get("sec-fetch-site")
        if site is not None and site not in ("same-origin", "none"):
            if not (head.path in PAGES and is_navigation(head)):
                raise Forbidden("a page of another site may not call this server", code="cross_site")


def body_length(head: Head, max_body: int) -> int:
    """How many bytes of body follow. Raises 400, 411, 413, 415, 501 when that cannot be said or will not be read."""
    headers = head.headers
    if "transfer-encoding" in headers:
        raise NotImplementedHere("Transfer-Encoding is not served; send a Content-Length")
    text = headers.get("content-length")
    if text is None:
        if head.method == "POST":
            raise LengthRequired("a POST needs a Content-Length")
        length = 0
    elif _LENGTH.fullmatch(text):
        length = int(text)
    else:
        raise BadRequest("the Content-Length is not a number")
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMedia("an encoded body is not served; send plain JSON")
    if headers.get("expect", "100-continue").lower() != "100-continue":
        raise BadRequest("this expectation cannot be met")
    if not length:
        return 0
    if head.method == "GET":
        raise BadRequest("a GET has no body")
    if head.method == "POST" and not _JSON_TYPE.fullmatch(headers.get("content-type", "")):
        raise UnsupportedMedia("the body of a POST must be application/json")
    if length > max_body:
        raise TooLarge(f"the body has {length} bytes; the limit is {max_body}", limit=max_body)
    return length
