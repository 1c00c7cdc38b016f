"""The ways to say no.

The class says which way of no (a code word and an HTTP status); the message is one sentence for
this caller to act on; `hint` is the call that would work. Everybody raises these, one place in
`web/server.py` writes them, and `web/client.py` turns an answer back into the same class.
Imports nothing: every program of ours loads it before its first answer.
"""

from __future__ import annotations


class Refusal(Exception):
    """The base. `details` are extra members of the JSON error (holder, limit, retry_after_s)."""

    code = "internal"
    status = 500
    retryable = False

    def __init__(self, message: str, *, hint: str = "", code: str = "", **details: object) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details
        if code:
            self.code = code

    def as_json(self) -> dict[str, object]:
        """The one error shape: {error, code, retryable[, hint][, details...]}."""
        body: dict[str, object] = {"error": self.message, "code": self.code, "retryable": self.retryable}
        if self.hint:
            body["hint"] = self.hint
        body.update(self.details)
        return body


class BadRequest(Refusal):
    """The call itself is wrong: shape, type, value."""

    code, status = "bad_request", 400


class Unauthorized(Refusal):
    """No token, a bad one, or one that no longer counts. `code` says which: see design D9."""

    code, status = "unauthorized", 401


class Forbidden(Refusal):
    """Known, but may not."""

    code, status = "forbidden", 403


class NotFound(Refusal):
    code, status = "not_found", 404


class WrongMethod(Refusal):
    code, status = "method_not_allowed", 405


class TooSlow(Refusal):
    code, status, retryable = "request_timeout", 408, True


class Conflict(Refusal):
    """True, but not now: somebody holds it, or it is no longer in that state."""

    code, status = "conflict", 409


class LengthRequired(Refusal):
    code, status = "length_required", 411


class TooLarge(Refusal):
    """Longer than the limit that the message names. Nothing is ever cut instead."""

    code, status = "too_large", 413


class UnsupportedMedia(Refusal):
    code, status = "unsupported_media_type", 415


class Misdirected(Refusal):
    """The Host header names somebody else (RFC 9110, 15.5.20)."""

    code, status = "misdirected", 421


class Rejected(Refusal):
    """The content filter said no; the message names the rule and the place."""

    code, status = "rejected", 422


class TooMany(Refusal):
    """Over the rate; `retry_after_s` says in how many seconds it would pass."""

    code, status, retryable = "rate_limited", 429, True


class HeadersTooLarge(Refusal):
    code, status = "headers_too_large", 431


class Internal(Refusal):
    """Our fault."""

    code, status = "internal", 500


class NotImplementedHere(Refusal):
    code, status = "not_implemented", 501


class Unavailable(Refusal):
    """Not now: stopping, too many connections, or no broker can be reached."""

    code, status, retryable = "unavailable", 503, True


class WrongVersion(Refusal):
    code, status = "http_version", 505


class OutOfSpace(Refusal):
    """The disk is full: nothing was written, reads go on."""

    code, status, retryable = "disk_full", 507, True


BY_STATUS: dict[int, type[Refusal]] = {
    kind.status: kind
    for kind in (
        BadRequest, Unauthorized, Forbidden, NotFound, WrongMethod, TooSlow, Conflict, LengthRequired,
        TooLarge, UnsupportedMedia, Misdirected, Rejected, TooMany, HeadersTooLarge, Internal,
        NotImplementedHere, Unavailable, WrongVersion, OutOfSpace,
    )
}  # fmt: skip


def from_json(status: int, body: object) -> Refusal:
    """The refusal that an answer with this status carries. A body of another shape still makes one."""
    kind = BY_STATUS.get(status, Internal)
    if not isinstance(body, dict) or not isinstance(body.get("error"), str):
        return kind(f"the broker answered {status} without an explanation")
    extra = {str(name): value for name, value in body.items() if name not in ("error", "code", "hint", "retryable", "message", "self")}
    code = body.get("code")
    hint = body.get("hint")
    refusal = kind(body["error"], hint=hint if isinstance(hint, str) else "", code=code if isinstance(code, str) else "")
    refusal.details = extra
    return refusal
