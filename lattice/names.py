"""Names: what an id, a key, an address and a path may look like, and how new ids are made.

A peer id has none of the signs `@`, `#` and none of the reserved words, so an address is never
ambiguous: `name` a peer, `broadcast` everyone, `@architect` a role, `#room` a room,
`command-center` the person; `name@machine` is reserved.
"""

from __future__ import annotations

import os
import re

from lattice.errors import BadRequest

PERSON = "command-center"
BROADCAST = "broadcast"
ARCHITECT_ADDRESS = "@architect"
RESERVED = frozenset((PERSON, BROADCAST, "system", "human", "broker", "viewer"))  # the last two are names in the log and on notices

MAX_ID = 64
MAX_PATH = 1024

_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}\Z")
_ID_SIGNS = re.compile(r"[A-Za-z0-9_.-]+\Z")


def check_id(text: str, what: str = "id") -> str:
    """The id, trimmed. BadRequest when it is empty, too long, or has a sign that ids do not have."""
    text = text.strip()
    if not text:
        raise BadRequest(f"{what} is required")
    if len(text) > MAX_ID:
        raise BadRequest(f"{what} exceeds {MAX_ID} chars")
    if not _ID_SIGNS.match(text):
        raise BadRequest(f"{what} contains invalid characters (use alphanumeric, -, _, .)")
    if not _ID.match(text):
        raise BadRequest(f"{what} must not begin with - or .")
    return text


def check_peer_id(text: str) -> str:
    """An id that a peer may have: `check_id`, and not one of the reserved words."""
    text = check_id(text)
    if text.lower() in RESERVED:
        raise BadRequest(f"id '{text}' is reserved", hint="choose another id")
    return text


def check_address(text: str) -> str:
    """A recipient: a peer id, `broadcast`, `@architect`, `#room`, or `command-center`."""
    text = text.strip()
    if text.startswith("@"):
        if text != ARCHITECT_ADDRESS:
            raise BadRequest(f"'{text}' is no role that mail can be sent to", hint="use @architect")
        return text
    if text.startswith("#"):
        return "#" + check_id(text[1:], "room")
    return check_id(text, "recipient_id")


def folds_case() -> bool:
    """Does this system's file system take two spellings that differ by case for one file, as far as can be known cheaply?"""
    return os.name == "nt" or os.uname().sysname == "Darwin"


def lock_path(path: str, base: str, *, folds: bool | None = None) -> str:
    """The one spelling of a file: absolute where a base is known, symlinks resolved, `/` as separator, NFC.

    Reads directory entries (lstat), never opens the file. On a file system that folds case the
    spelling on disk cannot be asked cheaply, so there the path is case-folded (`folds`; None: as this system does).
    BadRequest on NUL, control characters, what no name of a file can hold, and on more than MAX_PATH characters.
    """
    import unicodedata  # here: a session loads this module before its first answer (design D13)

    text = path.strip().replace("\\", "/")  # before anything is taken apart: `src\..\a.py` goes up too
    if not text:
        raise BadRequest("file_path is required")
    if len(text) > MAX_PATH:
        raise BadRequest(f"file_path exceeds {MAX_PATH} chars")
    if any(ord(sign) < 32 or 127 <= ord(sign) < 160 for sign in text):
        raise BadRequest("file_path contains a control character")
    if base:
        text = os.path.join(base, text)
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        raise BadRequest("file_path contains half of a surrogate pair, which is in no name of a file") from None
    if os.path.isabs(text):
        text = os.path.realpath(text)
    text = os.path.normpath(text).replace("\\", "/")
    if text.startswith("//"):  # normpath keeps exactly two leading slashes, as POSIX allows
        text = text[1:]
    if text != text.strip():  # as from `src/ /`: spelled so, it would be another path the next time
        raise BadRequest("file_path begins or ends in a name with a blank at its edge")
    if folds_case() if folds is None else folds:
        text = text.casefold()
    return unicodedata.normalize("NFC", text)  # last: folding takes some letters apart


def new_id(prefix: str) -> str:
    """A fresh id such as `worker-3fa9c1`."""
    return f"{prefix}-{os.urandom(3).hex()}"


def new_key() -> str:
    """A fresh unguessable word of 32 hex digits: idempotency keys, nonces, receipts, process lives, resume secrets."""
    return os.urandom(16).hex()


def is_key(text: str) -> bool:
    """Does this look like one of `new_key`?"""
    return len(text) == 32 and set(text) <= set("0123456789abcdef")
