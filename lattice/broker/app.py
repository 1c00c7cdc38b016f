"""Broker.call: the one pipeline from a request to its answer.

    identify (token -> caller) -> permit (role, pause) -> stated identity -> parse (contract)
    -> screen (content filter) -> run: a read, a write in one transaction, or an act

Handlers return a value or raise; what they return becomes the answer here and nowhere else. Time enters
from the clock here. Refusals that count are recorded in a small write of their own.

Threads: `call` runs on any connection's thread; what it keeps in memory (cards, verified tokens) is
replaced whole, never changed in place.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from lattice import VERSION, WIRE, names, settings
from lattice.broker import handlers, hooking, retention, spawning
from lattice.broker.age import Age
from lattice.broker.call import Call, rejected
from lattice.broker.damage import Damage
from lattice.broker.flags import Flags
from lattice.broker.page import Page
from lattice.broker.presence import Presence
from lattice.clock import SystemClock
from lattice.contract import params
from lattice.contract.operations import ANYONE, OPERATIONS, TICKET, fields_on
from lattice.domain import idempotency, peers
from lattice.domain.caller import BROKER, Caller
from lattice.errors import Forbidden, NotFound, Refusal, Rejected, TooMany, Unauthorized, Unavailable, WrongMethod
from lattice.guard import content, tokens
from lattice.guard.rate import Rate
from lattice.guard.roles import may
from lattice.store import backup
from lattice.store.database import READ_S, Database, Tx
from lattice.web.router import Router
from lattice.web.server import Answer, Parked, Request, Stream

log = logging.getLogger("lattice.broker")

FIELDS = {operation.name: fields_on(operation, "http") for operation in OPERATIONS}
KNOWN_TOKENS = 4096
# A paused peer may read, acknowledge, beat, escalate and let go of what it holds.
WHILE_PAUSED = frozenset((
    "register", "heartbeat", "leave", "check_messages", "v4_messages", "ack", "give_back", "escalate", "unlock_file", "release_task",
    "renew_task", "renew_locks", "sign_in", "hook", "guard", "breach", "permission", "wait_mail",
))  # fmt: skip
# Which texts the content filter sees, as which channel.
SCREENED: dict[str, tuple[tuple[str, str], ...]] = {
    "send_message": (("content", "message"),),
    "escalate": (("text", "message"),),
    "register": (("summary", "summary"),),
    "set_summary": (("summary", "summary"),),
    "create_task": (("title", "task"), ("description", "task"), ("tasks", "task")),
    "create_batch": (("tasks", "task"),),
    "edit_task": (("title", "task"), ("description", "task")),
    "complete_task": (("artifacts", "artifact"),),
    "release_task": (("reason", "task"),),
    "fail_task": (("reason", "task"),),
    "cancel_task": (("reason", "task"),),
    "lock_file": (("reason", "task"),),
    "create_run": (("name", "task"), ("goal", "task"), ("success_criteria", "task")),
    "resolve": (("answer", "message"),),
    "set_memory": (("key", "memory"), ("value", "memory")),
    "log_conversation": (("content", "conversation"),),
}
# Where the person may say in which workspace.
PLACED = frozenset(("create_task", "create_batch", "send_message", "set_memory", "create_run", "pause_all", "resume_all"))
# These read much of the log, which has no bound but its age.
LONG_READS = {"verify": 120.0, "state": 60.0, "export_run": 60.0}
# What a session says while it ends, or its hooks say after it has left: none of it means that it is here.
LAST_WORDS = frozenset(("leave", "hook", "ack", "give_back"))
# A 429 of these does not count towards the automatic pause: a session records its turns as fast as they come.
UNCOUNTED = frozenset(("log_conversation",))


@dataclass
class Limits:
    """Rates of their own: mail, escalations and recorded turns do not spend each other's."""

    per_minute: int
    buckets: dict[str, Rate] = field(default_factory=dict)
    _rejected: dict[str, list[float]] = field(default_factory=dict)  # when, of the last hour
    _lock: threading.Lock = field(default_factory=threading.Lock)  # guards _rejected

    def spend(self, bucket: str, who: str, now: float) -> None:
        self.buckets.setdefault(bucket, Rate(self.per_minute)).spend(who, now)

    def rejected(self, who: str, now: float) -> int:
        """One more refusal that counts; how many there were within the hour."""
        with self._lock:
            recent = [at for at in self._rejected.get(who, ()) if now - at < peers.FORGET_REJECTIONS_S]
            self._rejected[who] = [*recent, now][-peers.AUTO_PAUSE :]
            return len(self._rejected[who])

    def forgive(self, who: str) -> None:
        with self._lock:
            self._rejected.pop(who, None)


class Broker:
    """Everything one running broker has. Made once by `broker/serving` (and by tests)."""

    def __init__(self, config: settings.Settings, secret: bytes, port: int, *, clock: SystemClock | None = None,
                 environ: Mapping[str, str] | None = None, on_fatal: Callable[[str], None] = log.critical,
                 stop: Callable[[], None] = lambda: None, pid: int = 0) -> None:  # fmt: skip
        self.settings = config
        self.secret = secret
        self.port = port
        self.pid = pid
        self.clock = clock or SystemClock()
        self.environ = dict(environ or {})
        self.stop = stop
        self.page = Page()
        self.presence = Presence()
        self.presence.begin(names.new_key()[:8])
        self.flags = Flags(config.home, port)
        self.limits = Limits(config.rate)
        self.started = self.clock.monotonic()
        self.swept = self.started
        self.age = Age(self.clock.now(), self.started)
        self.expected: list[spawning.Opened] = []  # added to by who opens one, taken from by the sweep
        self.counts: dict[str, int] = {}
        self._counting = threading.Lock()  # guards counts and _tokens
        self._tokens: OrderedDict[str, Any] = OrderedDict()
        self.cards: dict[str, Any] = {}
        self.wake_key: Callable[[str], None] = lambda key: None  # the server's, once there is one
        self.authenticated: Callable[[Request, str], None] = lambda request, who: None
        self.has_left: Callable[[Request], bool] = lambda request: False
        self.later: Callable[[Callable[[], None]], None] = lambda work: threading.Thread(target=work, daemon=True).start()
        self.backups = backup.folder_of(config.db, os.path.join(config.home, "backups"))
        self.database = Database(config.db, on_commit=self._committed, on_fatal=on_fatal, backups_dir=self.backups)
        self.damage = Damage(self.database)
        self._router = Router([(op.method, op.path, op) for op in OPERATIONS if "http" in op.surfaces] + [("GET", "/", _named("page"))])
        self._begin()

    def close(self) -> None:
        self.flags.lower_all()
        self.database.close()

    # -- the pipeline -----------------------------------------------------------------------------------

    def call(self, request: Request) -> Answer | Parked | Stream:
        """The answer to one request. Raises Refusal for every no."""
        operation, in_path = self._find(request)
        if operation.roles == ANYONE:
            call = Call(self, operation, BROKER, self._values(operation, request, in_path), request)
            return self._answer(call)
        token, ticket = self._credentials(request, operation)
        caller = self._caller(token, ticket, request)
        self._permit(operation, caller, ticket)
        given = self._given(operation, request, in_path)
        caller = self._stated(operation, caller, given)
        values = params.check_fields(FIELDS[operation.name], given)
        caller = self._placed(operation, caller, values)
        call = Call(self, operation, caller, values, request, ticket, token)
        if operation.effect == "write" and ticket is None:
            self._is_here(caller, operation.name)
        try:
            return self._answer(self._screened(call))
        except (TooMany, Rejected) as refusal:
            if ticket is None and not caller.is_person and operation.name not in UNCOUNTED:
                recent = self.limits.rejected(caller.id, self.clock.monotonic())
                reason, message = _reason(refusal), refusal.message
                self.write(lambda tx: peers.count_rejection(tx, caller, reason, message, recent), "rejected")
            raise
        except NotFound as refusal:
            raise retention.explained(call, refusal) from None

    def write(self, fn: Callable[[Tx], Any], op: str) -> Any:
        """A write of the broker's own making, or the last step of a call."""
        return self.database.write(fn, at=self.clock.now(), op=op)

    def read(self, fn: Callable[[Tx], Any], within_s: float = READ_S) -> Any:
        return self.database.read(fn, at=self.clock.now(), within_s=within_s)

    def explain(self, fault: Exception) -> Refusal | None:
        """What to say instead of a fault that a damaged database is behind; None when it is one of ours."""
        return self.damage.behind(fault, self.clock.monotonic())

    # -- identify ------------------------------------------------------------------------------------------

    def knows(self, authorization: str) -> object:
        """The token or the ticket of this header. Unauthorized when there is none, or it is not ours, or over."""
        kind, _, text = authorization.partition(" ")
        reading = {"bearer": self.token, "ticket": self._ticket}.get(kind.lower())
        if reading is None or not text.strip():
            raise _no_token()
        return reading(text.strip())

    def _find(self, request: Request) -> tuple[Any, dict[str, str]]:
        try:
            return self._router.find(request.method, request.path)
        except WrongMethod:
            raise
        except NotFound:
            # A stranger learns nothing of which paths there are.
            self._caller(*self._credentials(request, _named("list_peers")), request)
            raise

    def _credentials(self, request: Request, operation: Any) -> tuple[Any, Any]:
        """(token, None) or (None, ticket), signature and time checked."""
        kind, _, text = request.headers.get("authorization", "").partition(" ")
        text = text.strip()
        takes_ticket = "ticket" in operation.roles
        if takes_ticket and operation.name == "sign_in" and not text and request.body:
            code = request.body.get("code")
            kind, text = "ticket", code if isinstance(code, str) else ""
        if kind.lower() == "ticket" and takes_ticket and text:
            return None, self._ticket(text)
        if kind.lower() == "bearer" and text and operation.roles != TICKET:
            return self.token(text), None
        if operation.roles == TICKET:
            raise Unauthorized(
                "an enrolment ticket is needed", code="no_ticket",
                hint="Authorization: Ticket <ticket>, minted with the broker's secret (the MCP server and the c2-lattice command do so)",
            )  # fmt: skip
        raise _no_token()

    def _ticket(self, text: str) -> Any:
        """Minted by another process by the wall clock, which may have been set since: good by one of its readings lately.

        None lasts longer than the longest that we mint: what seems to is of before a clock was set back.
        """
        readings = [self.clock.now(), *self.age.readings(self.clock.monotonic(), tokens.LONGEST_TICKET_S)]
        ticket = tokens.read_ticket(self.secret, text, min(readings))
        if not any(0 < ticket.expires - now < tokens.LONGEST_TICKET_S + 1 for now in readings):
            raise tokens.ticket_expired()
        return ticket

    def token(self, text: str) -> Any:
        """What this token says, if it is a good one. Its term is counted awake: it was minted by our own clock, which may be set."""
        with self._counting:
            token = self._tokens.get(text)
        if token is None:
            token = tokens.read_token(self.secret, text, float("-inf"))
            with self._counting:
                self._tokens[text] = token
                while len(self._tokens) > KNOWN_TOKENS:
                    self._tokens.popitem(last=False)
        if self.left_of(token) <= 0:
            raise tokens.token_expired()
        return token

    def left_of(self, token: Any) -> float:
        """How many seconds a token is still good for."""
        return self.age.left(token.expires, tokens.TERMS[token.kind], self.clock.monotonic())

    def _caller(self, token: Any, ticket: Any, request: Request) -> Caller:
        if ticket is not None:
            return Caller(ticket.peer, ticket.role, ticket.workspace)
        if token.kind in ("system", "viewer"):
            self.authenticated(request, token.kind)
            return Caller(names.PERSON if token.kind == "system" else "viewer", token.kind)
        card = _still(token, self.cards.get(token.subject))
        self.authenticated(request, token.subject)
        return Caller(token.subject, card["role"], card["workspace"], card["working_dir"], card["process"])

    # -- permit, stated identity, parse, screen ------------------------------------------------------------

    def _permit(self, operation: Any, caller: Caller, ticket: Any) -> None:
        if not may("ticket" if ticket is not None else caller.role, operation.roles):
            wanted = " or ".join({"system": "the person", "viewer": "the page"}.get(role, role) for role in operation.roles)
            raise Forbidden(
                f"{operation.name} is for: {wanted}; you are {caller.role}",
                code="role",
                hint="raise_blocker or message @architect to ask for it",
            )
        card = self.cards.get(caller.id)
        if (
            operation.effect != "read"
            and operation.name not in WHILE_PAUSED
            and ticket is None
            and card is not None
            and card["paused"]
            and not caller.is_person
        ):
            raise Forbidden(
                f"you are paused by {card['paused_by']}: nothing but reading mail, escalating and letting go until you are resumed",
                code="paused", paused_by=card["paused_by"], hint="wait, call check_messages; the architect or the person resumes you",
            )  # fmt: skip

    def _given(self, operation: Any, request: Request, in_path: dict[str, str]) -> dict[str, Any]:
        """The fields as they came, those of the path and the query in the JSON types they stand for."""
        if request.method == "POST":
            given = dict(request.body or {})
            texts = {**request.query, **in_path}
        else:
            given, texts = {}, {**request.query, **in_path}
        for param in operation.params:
            if param.name in texts:
                given[param.name] = params.from_text(param, texts.pop(param.name))
        given.update(texts)
        return given

    def _values(self, operation: Any, request: Request, in_path: dict[str, str]) -> dict[str, Any]:
        return params.check_fields(FIELDS[operation.name], self._given(operation, request, in_path))

    def _stated(self, operation: Any, caller: Caller, given: dict[str, Any]) -> Caller:
        """Fields that name the caller must be the token's; only the person may act for another, and the log names both."""
        for param in operation.params:
            if not param.identity:
                continue
            stated = given.get(param.name)
            if stated is None or stated == caller.id or not isinstance(stated, str):
                continue
            if not caller.is_person:
                raise Forbidden(
                    f"{param.name} '{stated}' is not you; your token is {caller.id}'s", code="not_you", hint=f"leave {param.name} out"
                )
            card = _there(stated, self.cards.get(stated))
            return replace(caller, id=stated, workspace=card["workspace"], working_dir=card["working_dir"], on_behalf=names.PERSON)
        return caller

    def _placed(self, operation: Any, caller: Caller, values: dict[str, Any]) -> Caller:
        """The person, who is in all workspaces, may say in which one this is done; everybody else is in their own."""
        if operation.name not in PLACED or values["workspace"] is None:
            return caller
        if caller.is_person and not caller.on_behalf:
            return replace(caller, workspace=values["workspace"], is_placed=True)
        if values["workspace"] != caller.workspace:
            raise Forbidden(
                f"workspace '{values['workspace']}' is not yours; you are in '{caller.workspace}'", code="not_your_workspace",
                hint="leave workspace out; only the person chooses it",
            )  # fmt: skip
        return caller

    def _screened(self, call: Call) -> Call:
        fields = SCREENED.get(call.operation.name)
        if not fields:
            return call
        verdict, folders = None, self.workspace_dirs()
        for name, channel in fields:
            for text in _texts(call.values.get(name)):
                verdict = verdict or content.judge(text, channel, folders)
        if verdict is None or call.operation.name in handlers.JUDGED_LATE:
            return replace(call, verdict=verdict) if verdict else call
        raise rejected(verdict)

    def workspace_dirs(self) -> list[str]:
        """Folders of live peers: paths below them are daily speech."""
        return sorted({card["working_dir"] for card in self.cards.values() if card["working_dir"] and card["status"] == "active"})

    def _is_here(self, caller: Caller, operation: str) -> None:
        """Whoever writes is there, beat or not: a peer that left or was given up lives again before anything is granted to it.

        Else nobody would wait for its next beat, and what it is granted would be held for ever.
        """
        card, now = self.cards.get(caller.id), self.clock.monotonic()
        if card is None or card["role"] == "system":
            return
        if card["status"] == "away":
            if operation in LAST_WORDS:
                return
        elif self.presence.age(caller.id, now) is not None:
            return
        self.presence.heard(caller.id, now, self.clock.now(), card["poll_interval_ms"] / 1000)
        if card["status"] != "active":
            self.write(lambda tx: peers.revive(tx, caller), "revive")

    # -- run --------------------------------------------------------------------------------------------------

    def _answer(self, call: Call) -> Answer | Parked | Stream:
        operation = call.operation
        with self._counting:
            self.counts[operation.name] = self.counts.get(operation.name, 0) + 1
        handler = handlers.HANDLERS[operation.name]
        prepare = handlers.PREPARE.get(operation.name)
        if prepare is not None:
            call = replace(call, values=prepare(call))
        if operation.roles == ANYONE:
            result = handler(None, call)  # it looks at no table, so it answers whatever the database does
        elif operation.effect == "read":
            result = self.read(lambda tx: handler(tx, call), LONG_READS.get(operation.name, READ_S))
        elif operation.effect == "write":
            result = self.write(lambda tx: self._in_turn(tx, call, handler), operation.name)
            settle = handlers.SETTLE.get(operation.name)
            if settle is not None:
                result = settle(call, result)
        else:
            result = handler(call)
        return result if isinstance(result, (Answer, Parked, Stream)) else Answer(200, result)

    def _in_turn(self, tx: Tx, call: Call, handler: Callable[[Tx, Call], Any]) -> Any:
        """Run a write for who its caller is now: others were served while it waited, and may have ended, replaced or given it up.

        What one that was ended is granted, nobody would let go; one that was given up lives again.
        """
        caller = call.caller
        if call.ticket is None and caller.id != names.PERSON:
            known = peers.card(tx, caller.id)
            card = _there(caller.id, known) if caller.on_behalf else _still(call.token, known)
            if card["status"] == "dead" and call.operation.name not in LAST_WORDS:
                self.presence.heard(caller.id, self.clock.monotonic(), self.clock.now(), card["poll_interval_ms"] / 1000)
                peers.revive(tx, caller)
        return self._once(tx, call, handler)

    def _once(self, tx: Tx, call: Call, handler: Callable[[Tx, Call], Any]) -> Any:
        key = call.values.pop("idempotency_key", None)
        return self.once(tx, call, key, lambda: handler(tx, call))

    def once(self, tx: Tx, call: Call, key: str | None, do: Callable[[], Any]) -> Any:
        """What `do` answers; with a key it is done at most once, and not when its caller hung up before its turn.

        Who hung up may be repeating it by now: were the repeat refused, this one must not be done after it.
        """
        if not key or call.ticket is not None:
            return do()
        if self.has_left(call.request):
            raise Unavailable("the caller hung up before its turn; nothing was done", code="hung_up")
        before = idempotency.answered(tx, call.caller.actor, key, call.operation.name, call.values)
        if before is not None:
            repeat = handlers.REPEATED.get(call.operation.name)
            return before if repeat is None else repeat(tx, call, before)
        answer = do()
        idempotency.remember(tx, call.caller.actor, key, call.operation.name, call.values, answer)
        return answer

    # -- after a commit ---------------------------------------------------------------------------------------

    def _committed(self, effects: list[tuple[str, ...]]) -> None:
        """After-effects, in commit order, before the writers are answered."""
        now = self.clock.monotonic()
        wake: set[str] = set()
        relocked: set[str] = set()
        flagged: set[str] = set()
        for kind, *rest in effects:
            match kind:
                case "wake":
                    wake.add(rest[0])
                case "peer":
                    self._refresh(rest[0])
                    flagged.add(rest[0])
                case "locks":
                    relocked.add(rest[0])
                case "flag":
                    flagged.add(rest[0])
                case "lost":
                    self.presence.tell_lost(rest[0], [rest[1]])
                    wake.add(rest[0])
                case "again":
                    self.presence.has_again(rest[0], rest[1])
                case "forgiven":
                    self.limits.forgive(rest[0])
                case "granted":
                    self.presence.granted(int(rest[0]), now)
                case "closed":
                    self.presence.closed(int(rest[0]), now)
                case "kept":
                    self.presence.kept(int(rest[0]), now)
                case "ended":
                    self.presence.ended(int(rest[0]))
                case "escalation":
                    self.wake_key(f"escalation:{rest[0]}")
                case "spawn":
                    self.later(partial(spawning.open_approved, self, int(rest[0])))
        near = self._near(relocked) if relocked else set()
        for peer_id in near:
            self.presence.locks_changed(peer_id)
        self._raise_flags(wake | near | flagged, self.database.look)
        for peer_id in wake:
            self.presence.bump(peer_id)
        for peer_id in wake | near:
            self.wake_key(f"beat:{peer_id}")
        if effects:
            self.wake_key("events")

    def _near(self, workspaces: set[str]) -> set[str]:
        """The active peers whom a change of locks in these workspaces concerns: theirs, and who works in one of their folders."""
        cards = self.cards.values()
        active = [card for card in cards if card["status"] == "active"]
        found = {card["id"] for card in active if card["workspace"] in workspaces or "" in workspaces}
        # Also of one that is gone: what it held is let go later.
        folders = {card["working_dir"] + "/" for card in cards if card["workspace"] in workspaces and card["working_dir"]}
        for card in active:
            own = card["working_dir"] + "/"
            if card["id"] not in found and own != "/" and any(own.startswith(one) or one.startswith(own) for one in folders):
                found.add(card["id"])
        return found

    def _raise_flags(self, peer_ids: set[str], read: Callable[[Callable[[Tx], Any]], Any]) -> None:
        """Put the flags of these peers where the tables say, before anybody is answered. Only sessions whose client runs hooks have one."""
        cards = self.cards
        watched = sorted(peer_id for peer_id in peer_ids if self.flags.watched(peer_id) and peer_id in cards)
        if not watched:
            return
        try:
            found = read(lambda tx: [(one, hooking.why_flag(tx, cards[one]), hooking.why_cause(tx, one)) for one in watched])
        except Exception:  # what is not known is a reason to ask; and those who wait must be woken all the same
            log.exception("flags")
            found = [(one, "unknown", "unknown") for one in watched]
        for peer_id, why, cause in found:
            self.flags.set(peer_id, why)
            self.flags.set(peer_id, cause, cause=True)

    def _refresh(self, peer_id: str) -> None:
        card = self.database.look(lambda tx: peers.card(tx, peer_id))
        cards = dict(self.cards)
        if card is None:
            cards.pop(peer_id, None)
            self.presence.forget(peer_id)
            self.limits.forgive(peer_id)
        else:
            cards[peer_id] = card
            self.presence.slow_down(peer_id, card["poll_interval_ms"] / 1000)
        self.flags.belongs(peer_id, card["client_pid"] if card is not None else None)
        self.cards = cards

    def _begin(self) -> None:
        """What the tables say of live peers; everyone gets a full term, since nobody could be heard while there was no broker."""
        self.write(peers.ensure_person, "begin")
        self.cards = {card["id"]: card for card in self.read(peers.cards)}
        now, wall = self.clock.monotonic(), self.clock.now()
        for card in self.cards.values():
            if card["status"] in ("active", "away") and card["role"] != "system":
                self.presence.heard(card["id"], now, wall, card["poll_interval_ms"] / 1000)
            self.flags.belongs(card["id"], card["client_pid"])
        self._raise_flags(set(self.cards), self.read)

    def about(self) -> dict[str, Any]:
        """What /health says to anybody."""
        health = self.database.health
        return {
            "status": "ok", "port": self.port, "version": VERSION, "wire": WIRE, "pid": self.pid,
            "uptime_s": round(self.clock.monotonic() - self.started, 1), "sqlite": health["sqlite_version"], "writable": health["writable"],
            "sweep_age_s": round(self.clock.monotonic() - self.swept, 1),
        }  # fmt: skip


def _no_token() -> Unauthorized:
    return Unauthorized(
        "a token is needed", code="no_token", hint="POST /register with a ticket answers one; send it as Authorization: Bearer <token>"
    )


def _still(token: Any, card: Any) -> Any:
    """The card of a token's subject; a refusal where the token counts no more."""
    if card is None:
        raise NotFound(f"peer '{token.subject}' is not registered", code="not_registered", hint="register again")
    if card["status"] == "killed":
        raise peers.was_killed(token.subject, card["ended_by"])
    if card["epoch"] != token.epoch:
        raise Unauthorized(
            f"another process enrolled as '{token.subject}' since", code="token_expired", hint="register again", taken_over=True
        )
    return card


def _there(peer_id: str, card: Any) -> Any:
    """The card of a peer for which the person acts; NotFound where it was ended: what it were granted, nobody would let go."""
    if card is None:
        raise NotFound(f"peer '{peer_id}' not found", hint="list_peers shows who is here")
    if card["status"] == "killed":
        raise NotFound(f"peer '{peer_id}' was ended by {card['ended_by']}", hint="resume it first")
    return card


def _reason(refusal: Refusal) -> str:
    return "rate_limited" if isinstance(refusal, TooMany) else "content_blocked"


def _texts(value: object) -> list[str]:
    """Every text inside a value."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for one in value.values() for text in _texts(one)]
    if isinstance(value, list):
        return [text for one in value for text in _texts(one)]
    return []


def _named(name: str) -> Any:
    return next(op for op in OPERATIONS if op.name == name)
