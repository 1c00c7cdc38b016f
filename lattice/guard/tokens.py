"""The secret of the state directory, and what is signed with keys derived from it.

The secret itself signs nothing and never travels: a ticket, a token and the broker's proof each have
a key of their own, HMAC-SHA256(secret, label), so one can never be passed off as another.

    ticket   lets one process enrol once as {peer, role, workspace}; whoever can read the secret mints one
    token    says who calls: {subject, kind, epoch}; the broker mints it
    proof    shows a client that the program on the port knows the secret, before anything else is sent

Text form of ticket and token: PREFIX.PAYLOAD.MAC, URL-safe base64 without padding. The MAC covers
prefix and payload as text and is compared as text, so there is exactly one spelling of each.

Reading answers or raises Unauthorized, whatever it is given. It does not know whether a ticket was
used before or an epoch is still the current one: the caller asks the database.
"""

from __future__ import annotations

import binascii
import errno
import functools
import hmac
import json
import os
import stat
from collections import namedtuple

from lattice.errors import BadRequest, Unauthorized
from lattice.lasting import sync_folder
from lattice.settings import make_home

Ticket = namedtuple("Ticket", "peer role workspace nonce expires")
Token = namedtuple("Token", "subject kind epoch expires")

ROLES = ("worker", "architect", "system")
KINDS = ("peer", "system", "viewer")
MIN_SECRET = 32  # bytes: no shorter than the hash that is keyed with it
MAX_SECRET = 4096
MAX_TEXT = 8192  # characters: a workspace may be a path of 4,096 bytes, a third longer in base64
TICKET_S = 60.0
LONGEST_TICKET_S = 900.0  # a spawned session may wait that long before its client starts the server (a trust dialog)
TOKEN_S = 86_400.0
TERMS = {"peer": TOKEN_S, "system": TOKEN_S, "viewer": 7 * TOKEN_S}  # by kind

_TICKET_PREFIX = "c2i1"
_TOKEN_PREFIX = "c2t1"
_HEX = frozenset("0123456789abcdef")


class SecretError(Exception):
    """The secret cannot be used; the message says why and what to do. Programs end with 78 (EX_CONFIG).

    `errno`: it could not be read or made at all.
    """

    def __init__(self, message: str, errno: int = 0) -> None:
        super().__init__(message)
        self.errno = errno


# -- the secret -------------------------------------------------------------------------------------


def load_secret(home: str, from_env: str = "") -> bytes:
    """The secret: `from_env` where it is given, else that of `home`/secret, which is made on first use.

    However many processes make it at once, all get the same. SecretError when the directory or the
    file is open to others, not ours, not a plain file with one name, or the secret is too short.
    """
    if from_env:
        return _fit(os.fsencode(from_env), "C2_LATTICE_SECRET")
    path = os.path.join(home, "secret")
    try:
        make_home(home)
        if not os.path.lexists(path):
            _make(home, path)
        return _fit(_read(home, path), path)
    except OSError as error:
        raise SecretError(f"{path}: {error.strerror or error}", error.errno or 0) from None


def _fit(found: bytes, where: str) -> bytes:
    secret = found.strip()
    if not MIN_SECRET <= len(secret) <= MAX_SECRET:
        raise SecretError(f"{where} has {len(secret)} bytes; a secret has {MIN_SECRET} to {MAX_SECRET}: remove it, and a new one is made")
    return secret


def _make(home: str, path: str) -> None:
    """Write the secret under a name of our own, then give it its name: link fails where rename would overwrite."""
    draft = os.path.join(home, f"secret.new-{os.urandom(8).hex()}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(draft, flags, 0o600)
    try:
        try:
            os.write(descriptor, os.urandom(32).hex().encode() + b"\n")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        try:
            os.link(draft, path)
        except FileExistsError:
            return  # another process was first; its secret is the secret
        except OSError as error:
            if error.errno in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK):
                raise SecretError(f"{home}: this file system has no hard links; set C2_LATTICE_SECRET instead") from None
            raise
        sync_folder(home)
    finally:
        _remove(draft)


def _read(home: str, path: str) -> bytes:
    # O_NONBLOCK: opening a FIFO would wait for a writer that may never come.
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    if os.path.islink(path):  # O_NOFOLLOW says only ELOOP, and Windows does not have it
        raise SecretError(f"{path} is a symbolic link; remove it, and a new secret is made")
    descriptor = os.open(path, flags)
    try:
        _check_ours(home, path, descriptor)
        return os.read(descriptor, MAX_SECRET + 2)
    finally:
        os.close(descriptor)


def _check_ours(home: str, path: str, descriptor: int) -> None:
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        raise SecretError(f"{path} is not a plain file; remove it, and a new secret is made")
    if os.name == "nt":
        return  # a user's profile folder is closed to others by its ACL
    if found.st_uid != os.getuid():
        raise SecretError(f"{path} belongs to another user")
    if found.st_mode & 0o077:
        raise SecretError(f"{path} is open to other users; close it with: chmod 600 {path}, or remove it, and a new secret is made")
    if found.st_nlink > 1:
        _forget_drafts(home, found)
        if os.fstat(descriptor).st_nlink > 1:
            raise SecretError(f"{path} has a second name somewhere (a hard link); remove it, and a new secret is made")


def _forget_drafts(home: str, secret: os.stat_result) -> None:
    """Take away the draft's name of this very file: its maker is about to, or was killed before it could."""
    for entry in os.listdir(home):
        if entry.startswith("secret.new-"):
            draft = os.path.join(home, entry)
            try:
                found = os.lstat(draft)
            except FileNotFoundError:
                continue  # its maker was faster
            if os.path.samestat(found, secret):
                _remove(draft)


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass  # another reader took the name away, as it may


# -- tickets ----------------------------------------------------------------------------------------


def mint_ticket(secret: bytes, *, peer: str, role: str, workspace: str, now: float, ttl_s: float = TICKET_S) -> str:
    """A ticket that lets one process enrol once as `peer`. No role asked for makes a worker. `now` in seconds."""
    role = role or "worker"
    if role not in ROLES:
        raise ValueError(f"no such role: {role}")
    return _sign(secret, _TICKET_PREFIX, [peer, role, workspace, os.urandom(16).hex(), round(now + ttl_s, 3)])


def read_ticket(secret: bytes, text: str, now: float) -> Ticket:
    """What the ticket says. Unauthorized: `bad_ticket`, or `ticket_expired`. The caller spends the nonce."""
    match _open(secret, _TICKET_PREFIX, text):
        case [str(peer), str(role), str(workspace), str(nonce), float() | int() as expires] if role in ROLES and _is_nonce(nonce):
            pass
        case _:
            raise Unauthorized("this is no ticket of this broker", code="bad_ticket", hint="is it minted with this broker's secret?")
    if not expires > now:
        raise ticket_expired()
    return Ticket(peer, role, workspace, nonce, expires)


def ticket_expired() -> Unauthorized:
    return Unauthorized("this ticket has expired", code="ticket_expired", hint="mint a new one and enrol again")


# -- tokens -----------------------------------------------------------------------------------------


def mint_token(secret: bytes, *, subject: str, kind: str, epoch: int, now: float, ttl_s: float = 0.0) -> str:
    """A token for `subject`, good until `now` and the term of its kind (or `ttl_s`), or until the epoch of that subject moves on."""
    if kind not in KINDS:
        raise ValueError(f"no such kind of token: {kind}")
    return _sign(secret, _TOKEN_PREFIX, [subject, kind, epoch, round(now + (ttl_s or TERMS[kind]), 3)])


def read_token(secret: bytes, text: str, now: float) -> Token:
    """What the token says. Unauthorized: `bad_token`, or `token_expired`. The caller compares the epoch."""
    match _open(secret, _TOKEN_PREFIX, text):
        case [str(subject), str(kind), int(epoch), float() | int() as expires] if kind in KINDS:
            pass
        case _:
            raise Unauthorized("this is no token of this broker", code="bad_token", hint="enrol again with a ticket")
    if not expires > now:
        raise token_expired()
    return Token(subject, kind, epoch, expires)


def token_expired() -> Unauthorized:
    return Unauthorized("this token has expired", code="token_expired", hint="enrol again with a ticket")


# -- the broker's proof -----------------------------------------------------------------------------


def prove(secret: bytes, nonce: str, port: int, pid: int) -> str:
    """The proof for a client's nonce: 64 hex digits. BadRequest unless the nonce is 32 lower-case hex digits."""
    if not _is_nonce(nonce):
        raise BadRequest("nonce must be 32 hex digits (0-9, a-f)")
    return hmac.digest(_key(secret, "proof"), f"{nonce} {port} {pid}".encode(), "sha256").hex()


def check_proof(secret: bytes, nonce: str, port: object, pid: object, proof: object) -> bool:
    """Whether whoever answers on `port` knows the secret. `pid` and `proof` come from a stranger and may be anything."""
    if not (isinstance(port, int) and isinstance(pid, int) and isinstance(proof, str) and 0 < pid < 2**63 and _is_nonce(nonce)):
        return False
    return hmac.compare_digest(prove(secret, nonce, port, pid).encode(), proof.encode("utf-8", "replace"))


def _is_nonce(text: str) -> bool:
    return isinstance(text, str) and len(text) == 32 and _HEX.issuperset(text)


# -- signing ----------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=16)
def _key(secret: bytes, label: str) -> bytes:
    return hmac.digest(secret, b"c2-lattice " + label.encode(), "sha256")


def _mac(secret: bytes, prefix: str, signed: bytes) -> bytes:
    label = "ticket" if prefix == _TICKET_PREFIX else "token"
    return _base64(hmac.digest(_key(secret, label), signed, "sha256"))


def _sign(secret: bytes, prefix: str, content: list[object]) -> str:
    payload = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    signed = prefix.encode() + b"." + _base64(payload)
    text = (signed + b"." + _mac(secret, prefix, signed)).decode()
    if len(text) > MAX_TEXT:
        raise ValueError(f"a ticket or token has at most {MAX_TEXT} characters")
    return text


def _open(secret: bytes, prefix: str, text: object) -> object:
    """The content that was signed, or None: not text, too long, another prefix, another key, damaged."""
    if not isinstance(text, str) or len(text) > MAX_TEXT or not text.isascii():
        return None
    signed, _, mac = text.encode("ascii").rpartition(b".")
    # Every text pays for the MAC, whatever is wrong with it: the time taken tells nothing.
    if not hmac.compare_digest(_mac(secret, prefix, signed), mac) or not signed.startswith(prefix.encode() + b"."):
        return None
    payload = signed[len(prefix) + 1 :].replace(b"-", b"+").replace(b"_", b"/")
    try:
        content: object = json.loads(binascii.a2b_base64(payload + b"=" * (-len(payload) % 4)).decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError):  # signed by a holder of the secret, and still not ours
        return None
    return content


def _base64(data: bytes) -> bytes:
    return binascii.b2a_base64(data, newline=False).rstrip(b"=").replace(b"+", b"-").replace(b"/", b"_")
