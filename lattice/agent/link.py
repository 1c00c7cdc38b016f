"""The link: everything this session asks of the broker goes through here.

- No ticket and no token leaves before whoever listens on the port has proven that it is our broker, on every
  connection anew. A foreign program hears a nonce and nothing else.
- No broker: one is started. Another one, or the same restarted: the session enrols again, under the same id.
- A write carries an idempotency key; while its outcome is unknown it is repeated with the same key, and where it
  stays unknown the error says so, whatever went wrong after that.
- Ended by somebody (401 killed): every call says so, and nothing is tried any more.
- An error is raised as what it is; nothing here turns one into an empty answer.

Used by many threads at once; each exchange has a connection of its own, kept for the next one.
"""

from __future__ import annotations

import os
import threading
import time

from lattice import VERSION, WIRE, names
from lattice.contract.operations import BY_NAME, IDEMPOTENCY_KEY, ON_THE_WIRE
from lattice.errors import Conflict, Refusal, Unauthorized, Unavailable
from lattice.web.client import Client, query, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from lattice.agent.identity import Identity, Wanted

PATIENCE_S = 15.0  # a broker starts in well under a second; a client waits a minute for a tool
CALL_S = 10.0
PROOF_S = 3.0
BEAT_MS = 3000
TAKE_UP_S = 5.0  # a beat is missed when it is a second late
LAPSES = 4  # tickets that were too old when they came, one after the other: that is not the clock that was set
_LOOK_AGAIN = ("unreachable", "stopping", "unavailable")
# Nothing was done: soon it may be.
_WAIT = (*_LOOK_AGAIN, "too_many_connections", "readers_busy", "database_busy", "interrupted", "hung_up")
_UNKNOWN = ("unknown_outcome", "unknown_result")
_ENROL_AGAIN = ("not_registered", "token_expired", "bad_token", "token_revoked", "unauthorized")


class Link:
    """The way to the broker, and who we are there: `id`, `role`, `workspace` ("" before the first enrolment)."""

    def __init__(self, settings: Any, identity: Identity, *, working_dir: str, client_name: Callable[[], str] = str,
                 reached_by: Callable[[], list[str]] = list) -> None:  # fmt: skip
        self._settings = settings
        self._identity = identity
        self._lock = threading.RLock()  # guards everything below; held while enrolling, so that one thread does it
        self._spare: list[Client] = []
        self._secret = b""
        self._port = 0
        self._token = ""
        self._killed: Refusal | None = None
        self._notes: list[str] = []
        self._noted: set[str] = set()
        self.process = names.new_key()  # this process's life: an offer belongs to it
        self.id = ""
        self.role = ""
        self.workspace = settings.workspace
        self.working_dir = working_dir
        self.enrolments = 0
        self.came_back = False  # the id was ours before this process, or promised to it
        self._client_name = client_name
        self._reached_by = reached_by
        self.ways: list[str] = []  # how mail reaches us, as the broker was told last
        self.is_enrolled = threading.Event()  # once, and from then on: the beat enrols again by itself

    # -- asking -------------------------------------------------------------------------------------

    def ask(self, name: str, values: dict[str, object], *, timeout_s: float = CALL_S, patient: bool = True) -> dict[str, Any]:
        """The broker's answer to an operation of the contract. Raises the Refusal it gives, or Unavailable.

        Not `patient`: neither starts a broker nor waits for one; so a session that only beats lets a stopped one rest.
        A write may bring its own `idempotency_key`, to be asked once more with it should this end in `unknown_outcome`.
        """
        operation = BY_NAME[name]
        said_as = ON_THE_WIRE.get(name, {})
        values = {said_as.get(field, field): value for field, value in values.items()} | operation.preset
        takes_key = IDEMPOTENCY_KEY in operation.params
        if takes_key:
            values.setdefault("idempotency_key", names.new_key())
        may_repeat = takes_key or operation.effect == "read" or name == "heartbeat"
        path = operation.path
        for part in operation.path_params:
            path = path.replace("{" + part + "}", quote(str(values.pop(part))))
        body = None if operation.method == "GET" else values
        if body is None:
            path = query(path, values)
        return self._insist(lambda token: self._exchange(operation.method, path, body, token, timeout_s), may_repeat, patient)

    def enrol(self) -> None:
        """Be known to the broker. Raises as `ask` does."""
        self._insist(lambda token: {}, True)

    def _insist(self, exchange: Callable[[str], dict[str, Any]], may_repeat: bool, patient: bool = True) -> dict[str, Any]:
        """Do it, as often as it takes: after each failure of the way, not of the call. At most PATIENCE_S."""
        give_up = time.monotonic() + (PATIENCE_S if patient else 0.0)
        pause_s = 0.02
        enrolled = 0
        doubt: Refusal | None = None  # it may have been done: no later failure of the way makes that untrue
        while True:
            token = ""
            try:
                token = self._enrolled(patient)
                return exchange(token)
            except Refusal as refusal:
                if refusal.code == "killed":
                    raise self._end(refusal) from None
                if refusal.code in _ENROL_AGAIN and token and enrolled < 3:
                    enrolled += 1
                    self._forget_token(token)
                    continue
                is_unknown = refusal.code in _UNKNOWN
                if is_unknown and token:  # without one it was only the enrolment
                    doubt = refusal
                if refusal.code not in _WAIT and not (is_unknown and (may_repeat or not token)):
                    raise
                if is_unknown or refusal.code in _LOOK_AGAIN:
                    self._forget_port()
                if time.monotonic() > give_up:
                    raise doubt or refusal from None
                time.sleep(pause_s)
                pause_s = min(0.5, pause_s * 2)

    def _exchange(self, method: str, path: str, body: dict[str, object] | None, token: str, timeout_s: float) -> dict[str, Any]:
        client = self._borrow()
        try:
            answer = client.call(method, path, body, {"Authorization": "Bearer " + token}, timeout_s=timeout_s)
        finally:
            self._give_back(client)  # after an error too: it has closed what it cannot use again
        renewed = answer.get("token") if path == "/heartbeat" else None
        if isinstance(renewed, str) and renewed:
            with self._lock:
                if self._token == token:
                    self._token = renewed
                    try:
                        self._identity.renew(renewed, self._port)
                    except OSError as error:
                        self.note(f"the command line will not know this session after a day: {error}")
        return answer

    def _borrow(self) -> Client:
        with self._lock:
            if self._spare:
                return self._spare.pop()
            port = self._port
        if not port:
            raise Unavailable("no broker was found", code="unreachable")
        return Client(port, timeout_s=CALL_S, on_connect=self._prove)

    def _give_back(self, client: Client) -> None:
        with self._lock:
            if client.port == self._port and len(self._spare) < 4:
                self._spare.append(client)
                return
        client.close()

    # -- who is there -------------------------------------------------------------------------------

    def _prove(self, client: Client) -> None:
        """Runs on each new connection before anything else of ours does."""
        from lattice.guard.tokens import check_proof

        nonce = names.new_key()
        try:
            health = client.call("GET", query("/health", {"nonce": nonce}), timeout_s=PROOF_S)
        except Unavailable as failure:
            if failure.code == "unknown_outcome":
                # Ended, stopped, or a stranger: `_locate` looks again. Nothing of the call itself was sent.
                raise Unavailable(f"the broker on port {client.port} does not answer", code="unreachable") from None
            raise
        except Refusal:
            raise foreign(client.port) from None
        # An absent pid or proof is a stranger's answer like any other.
        if not check_proof(self._read_secret(), nonce, client.port, health.get("pid"), health.get("proof")):
            raise foreign(client.port)
        self._compare_versions(health)

    def _compare_versions(self, health: dict[str, object]) -> None:
        theirs = str(health.get("version") or "")
        ours_first = _numbers(theirs) < _numbers(VERSION)
        if not ours_first and health.get("wire") == WIRE:
            return
        remedy = "restart the broker: python launch.py --restart" if ours_first else "start this session again"
        self.note(
            f"this session is c2-lattice {VERSION}, the running broker {theirs or 'an older one'}; what both know works. "
            f"To bring them together {remedy}"
        )

    def _read_secret(self) -> bytes:
        from lattice.guard.tokens import SecretError, load_secret

        with self._lock:
            if not self._secret:
                try:
                    self._secret = load_secret(self._settings.home, self._settings.secret)
                except SecretError as error:
                    raise Unavailable(str(error), code="secret", hint="c2-lattice doctor says more") from None
            return self._secret

    def _locate(self, may_start: bool) -> int:
        """The port of a broker that is ours and up. Starts one where there is none, if it may."""
        from lattice import daemon

        secret = self._read_secret()
        port = daemon.find(self._settings)
        there = daemon.look(port, secret, PROOF_S)
        if there == "foreign":
            raise foreign(port)
        if there == "ours":
            return port
        if there == "silent":
            raise Unavailable(f"the broker on port {port} does not answer", code="unreachable")
        if not may_start:
            raise Unavailable(f"no broker runs on port {port}", code="unreachable")
        return daemon.start(self._settings)

    # -- enrolling ----------------------------------------------------------------------------------

    def _enrolled(self, may_start: bool) -> str:
        """The token; enrols first where there is none."""
        with self._lock:
            if self._killed is not None:
                raise self._killed
            if not self._port:
                self._port = self._locate(may_start)
            if not self._token:
                self._register()
            return self._token

    def _register(self) -> None:
        from lattice.guard.tokens import mint_ticket

        if not self.workspace:
            from lattice.agent import git

            self.workspace = git.workspace(self.working_dir)
        key = names.new_key()
        # An id whose last process has ended is ours to take up, but the broker may notice only at the missed beat.
        patient_until = time.monotonic() + TAKE_UP_S
        lapsed = 0
        for _ in range(64):
            wanted = self._identity.wanted(self._port)
            waits = wanted.is_ours and time.monotonic() < patient_until
            ticket = wanted.ticket or mint_ticket(
                self._read_secret(), peer=wanted.peer, role=wanted.role, workspace=self.workspace, now=time.time()
            )
            body: dict[str, object] = {
                "id": wanted.peer, "role": wanted.role, "pid": os.getpid(), "working_dir": self.working_dir,
                "workspace": self.workspace, "process": self.process, "client": self._client_name()[:100],
                "fallback": wanted.named and not waits, "named": wanted.named, "beat_ms": BEAT_MS, "version": VERSION,
                "idempotency_key": key,
            }  # fmt: skip
            if self._identity.client.pid > 0:
                body["client_pid"] = self._identity.client.pid
            resume = wanted.resume or self._identity.promise(wanted, self._port)
            if resume:
                body["resume"] = resume
            ways = self._reached_by()
            if ways:
                body["ways"] = ways
            client = self._borrow()
            try:
                answer = client.call("POST", "/register", body, {"Authorization": "Ticket " + ticket})
            except Conflict as refusal:
                if refusal.code == "ticket_used":
                    continue  # our own call that was repeated on the way, or a ticket that was handed to us twice
                key = names.new_key()
                self._identity.withdraw(wanted.peer, self._port)
                if waits:
                    time.sleep(0.1)
                    continue
                if wanted.named:
                    raise
                self._identity.start_anew()  # the session whose id it was still lives
                continue
            except Unauthorized as refusal:
                lapsed += refusal.code == "ticket_expired"
                if refusal.code == "killed" or not (wanted.ticket or 0 < lapsed < LAPSES):
                    raise
                key = names.new_key()
                continue  # handed to us too long ago, or the clock was set since: whoever can read the secret may mint another
            finally:
                self._give_back(client)
            self.ways = ways
            self._take_in(wanted, resume, answer)
            return
        raise Unavailable("the broker refused each id that this session asked for", code="unavailable_id")

    def _take_in(self, wanted: Wanted, asked_with: str, answer: dict[str, object]) -> None:
        token, id = answer.get("token"), answer.get("id")
        if not isinstance(token, str) or not isinstance(id, str):
            raise Unavailable("the broker's answer to the enrolment is not one we understand", code="internal")
        self._token = token
        self.enrolments += 1
        if self.enrolments == 1:
            self.came_back = bool(wanted.resume or wanted.ticket)
        self.id = id
        self.role = str(answer.get("role") or wanted.role)
        self.workspace = str(answer.get("workspace") or self.workspace)
        resume = answer.get("resume")
        try:
            self._identity.keep(id, wanted.role, resume if isinstance(resume, str) else asked_with, self._port, wanted.named, token)
        except OSError as error:
            self.note(f"this id cannot be kept over a restart: {error}")
        seat = answer.get("seat")
        holder = seat.get("held_by") if isinstance(seat, dict) else None
        said = answer.get("note")
        if isinstance(said, str) and said:
            self.note(said)
        elif wanted.role == "architect" and self.role != "architect":
            self.note(f"you are a worker: the architect's seat is held by {holder or 'another session'}")
        if id != wanted.peer:
            self._identity.withdraw(wanted.peer, self._port)
        if id != wanted.peer and not (isinstance(said, str) and id in said):
            self.note(f"{wanted.peer} lives in another process; you are {id}")
        self.is_enrolled.set()

    def _end(self, refusal: Refusal) -> Refusal:
        hint = refusal.hint or "the architect or the person can lift it (resume); then start this session again"
        with self._lock:
            self._killed = Unauthorized(refusal.message, hint=hint, code="killed", **refusal.details)
            self._token = ""
            return self._killed

    def _forget_token(self, token: str) -> None:
        with self._lock:
            if self._token == token:
                self._token = ""

    def _forget_port(self) -> None:
        with self._lock:
            self._port = 0
        self.close()

    def close(self) -> None:
        """Close the connections that wait for a next call."""
        with self._lock:
            spare, self._spare = self._spare, []
        for client in spare:
            client.close()

    # -- what the session wants to know -------------------------------------------------------------

    @property
    def is_killed(self) -> bool:
        return self._killed is not None

    @property
    def port(self) -> int:
        return self._port

    def note(self, text: str, *, each_time: bool = False) -> None:
        """Something that the next result shall say, once in this process's life; `each_time`: once each time that it happens."""
        with self._lock:
            if text not in (self._notes if each_time else self._noted):
                self._noted.add(text)
                self._notes.append(text)

    def notes(self) -> str:
        with self._lock:
            notes, self._notes = self._notes, []
        return "; ".join(notes)

    def leave(self, *, was_used: bool, within_s: float) -> None:
        """Tell the broker that this process ends; one that was not used, and was nobody before, leaves no trace.

        Tries once; whatever happens, the missing beat says it too.
        """
        if not self._lock.acquire(timeout=within_s / 2):
            return  # still enrolling: the broker will miss the beat
        try:
            if not self._token:
                return
            forget = not (was_used or self.came_back)  # known only now, when no enrolment is under way any more
            client = self._borrow()
            body = {"forget": forget, "process": self.process}  # no key: it is done though we do not wait to hear so
            try:
                client.call("POST", "/leave", body, {"Authorization": "Bearer " + self._token}, timeout_s=within_s / 2)
            finally:
                client.close()
            if forget:
                self._identity.forget(self._port)
        except Refusal:
            pass  # it is gone, or knows us no more: there is nothing to leave
        finally:
            self._lock.release()


def foreign(port: int) -> Unavailable:
    return Unavailable(
        f"port {port} is used by another program, which is not our broker; nothing was sent to it",
        code="foreign_program",
        hint=f"end that program, or choose another port: C2_LATTICE_PORT=N for the broker and every session (now {port})",
        port=port,
    )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("+")[0].split(".") if part.isdigit())
