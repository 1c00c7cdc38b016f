"""The command line's way to the broker: find it, have it prove itself, say who calls, call.

No ticket and no token leaves before whoever listens on the port has proved to be our broker, on each
connection. Nothing here starts a broker: a command that finds none says so.
"""

from __future__ import annotations

import os
import time

from lattice import VERSION, names
from lattice.cli import who as identity
from lattice.errors import Conflict, NotFound, Refusal, Unauthorized, Unavailable
from lattice.web.client import Client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

ENROL_AGAIN = ("not_registered", "token_expired", "bad_token", "token_revoked", "unauthorized")
CLI_BEAT_MS = 60_000  # a peer that only ever uses the command line beats when it calls: the longest interval there is


def locate(settings) -> int:  # type: ignore[no-untyped-def]
    """The port to ask on. Unauthorized when the secret that would tell our broker from others cannot be used."""
    from lattice import daemon
    from lattice.guard import tokens

    try:
        return daemon.find(settings)
    except (tokens.SecretError, OSError) as problem:
        raise _no_secret(problem) from None


class Door:
    """Calls as one caller. Not for use by several threads."""

    def __init__(self, settings, environ: Mapping[str, str], port: int, *, as_person: bool = False) -> None:  # type: ignore[no-untyped-def]
        self.settings = settings
        self.environ = environ
        self.port = port
        self.client = Client(port, timeout_s=15.0, on_connect=self._ask_for_proof)
        self.who = identity.person(settings, port) if as_person else identity.find(settings, environ, port)
        self._token = str(self.who.known.get("token") or "")

    @property
    def is_person(self) -> bool:
        return not self.who.peer

    def here(self) -> str:
        """The workspace that a session in the working directory would be in."""
        from lattice.agent import git

        return str(self.settings.workspace or git.workspace(self.settings.peer_dir or os.getcwd()))

    def call(self, method: str, path: str, body: dict[str, object] | None = None, timeout_s: float | None = None) -> dict[str, object]:
        """The broker's answer. A call of unknown outcome that has an idempotency key is made once more."""
        try:
            return self._call(method, path, body, timeout_s)
        except Unavailable as problem:
            if problem.code != "unknown_outcome" or not (body and body.get("idempotency_key")):
                raise
            return self._call(method, path, body, timeout_s)

    def close(self) -> None:
        self.client.close()

    def _call(self, method: str, path: str, body: dict[str, object] | None, timeout_s: float | None) -> dict[str, object]:
        if not self._token:
            self._enter()
        try:
            return self.client.call(method, path, body, self._headers(), timeout_s=timeout_s)
        except (NotFound, Unauthorized) as problem:
            if problem.code not in ENROL_AGAIN:
                raise
        self._enter()
        return self.client.call(method, path, body, self._headers(), timeout_s=timeout_s)

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}"}

    def _enter(self) -> None:
        """Get a token: sign in as the person, take the session's own, or enrol where the session has no server."""
        if self.is_person:
            self.client.call("GET", "/health")  # nobody there: say so before a secret is made for nothing
            answer = self.client.call("POST", "/sign-in", {}, {"Authorization": f"Ticket {self.ticket(names.PERSON, 'system')}"})
            self._token = str(answer["token"])
            # Kept beside the secret, which could mint it anew: else every command would stand in the log as a sign-in.
            identity.keep(self.who, {"peer": names.PERSON, "token": self._token, "pid": 0, "started": "", "saved": time.time()})
            return
        known = identity.read(self.who.record)
        if identity.has_server(known):
            token = str(known.get("token") or "")
            if not token or token == self._token:
                raise Unauthorized(
                    f"the session of {self.who.peer} is not enrolled at the broker just now",
                    hint="call one of its tools, such as list_peers, and try again",
                )
            self._token = token
            return
        self._enrol(known)

    def _enrol(self, known: Mapping[str, object]) -> None:
        peer, role = self.who.peer, self.who.role
        folder = self.settings.peer_dir or os.getcwd()
        workspace = self.here()
        # Both are kept before they are said: who never hears the answer is the same to the broker the next time.
        life, resume = (str(known.get(name) or "") or names.new_key() for name in ("process", "resume"))
        said = {"peer": peer, "role": role, "resume": resume, "port": self.port, "named": True, "token": "", "process": life}
        said |= {"pid": 0, "started": "", "saved": time.time()}
        identity.keep(self.who, said)
        body: dict[str, object] = {
            "id": peer, "role": role, "working_dir": folder, "workspace": workspace, "process": life, "named": True, "resume": resume,
            "client": "c2-lattice command", "beat_ms": CLI_BEAT_MS, "version": VERSION, "idempotency_key": names.new_key(),
        }  # fmt: skip
        try:
            answer = self.client.call("POST", "/register", body, {"Authorization": f"Ticket {self.ticket(peer, role, workspace)}"})
        except Conflict:
            if not known:
                identity.drop(self.who)  # the id is another's
            raise
        self._token = str(answer["token"])
        said |= {"peer": answer["id"], "role": answer.get("role", role), "resume": answer.get("resume", ""), "token": self._token}
        identity.keep(self.who, said)

    def ticket(self, peer: str, role: str, workspace: str = "") -> str:
        """A fresh ticket, single use, 60 seconds."""
        from lattice.guard import tokens

        return tokens.mint_ticket(self._secret(), peer=peer, role=role, workspace=workspace, now=time.time())

    def _secret(self) -> bytes:
        from lattice.guard import tokens

        try:
            return tokens.load_secret(self.settings.home, self.settings.secret)
        except (tokens.SecretError, OSError) as problem:
            raise _no_secret(problem) from None

    def _ask_for_proof(self, client: Client) -> None:
        from lattice.guard import tokens

        nonce = names.new_key()
        try:
            answer = client.call("GET", f"/health?nonce={nonce}")
        except Unavailable:
            raise
        except Refusal:
            answer = {}
        if not tokens.check_proof(self._secret(), nonce, self.port, answer.get("pid"), answer.get("proof")):
            raise Unavailable(
                f"what answers on port {self.port} is not our broker: another program, or one with another secret",
                code="foreign_program",
                hint="choose another port with C2_LATTICE_PORT, or the state directory that broker uses with C2_LATTICE_HOME",
            )


def _no_secret(problem: Exception) -> Unauthorized:
    return Unauthorized(f"the broker's secret cannot be used: {problem}", code="no_secret", hint="c2-lattice doctor says more")
