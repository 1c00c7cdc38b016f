"""The toolbox: one call of a tool, from its arguments to its result.

Arguments are checked against the contract before the broker is asked. Whatever goes wrong is a result with
`isError` that says what would work; never an empty answer. A result says in `waiting` what waits, and in `note`
what the session should know once. Text and structure are the same JSON.
"""

from __future__ import annotations

import json
import threading
from collections import namedtuple

from lattice.agent import mail, tools
from lattice.contract.operations import TOOLSETS
from lattice.contract.params import JSON_TYPE, check_fields
from lattice.errors import Internal, Refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from lattice.agent.beat import Beat
    from lattice.agent.link import Link
    from lattice.agent.mail import Offers

TOOL_USE_ID = "claudecode/toolUseId"  # in a call's _meta; the client's hooks name the call by it
Outcome = namedtuple("Outcome", "structured text is_error messages")  # messages: the ids of the mail in it


class Toolbox:
    """Calls of tools for one session (see `session.Session` for what it asks of this class)."""

    def __init__(
        self,
        settings: Any,
        link: Link,
        beat: Beat,
        offers: Offers,
        *,
        environ: dict[str, str],
        on_failure: Callable[[str, BaseException], None],
        on_use: Callable[[bool], None],
    ) -> None:
        self.names = tools.offered(settings.toolsets)
        for word in tools.unknown(settings.toolsets):
            link.note(f"C2_LATTICE_TOOLSETS: there is no set {word!r}; there are: {', '.join((*TOOLSETS, 'all'))}")
        self._link = link
        self._beat = beat
        self._offers = offers
        self._environ = environ
        self._on_failure = on_failure
        self._on_use = on_use
        self._claims: dict[int, int] = {}  # task -> fencing token
        self._locks: dict[str, int] = {}  # path as it was given -> fencing token
        self._counting = threading.Lock()  # guards the next two
        self._calls = 0
        self._errors = 0

    # -- what the session tells us --------------------------------------------------------------------

    @property
    def was_called(self) -> bool:
        return self._calls > 0

    def counts(self) -> dict[str, object]:
        """What a beat says of the use of tools."""
        with self._counting:
            return {"tool_calls_count": self._calls, "errors_count": self._errors}

    def listed(self) -> None:
        self._on_use(False)

    def arrived(self) -> None:
        with self._counting:
            self._calls += 1
        self._offers.prove()
        self._on_use(True)

    def delivered(self, outcome: Outcome) -> None:
        if outcome.messages:
            self._offers.flushed(outcome.messages)

    def undelivered(self, outcome: Outcome) -> None:
        if outcome.messages:
            self._offers.give_back(outcome.messages)

    def failed(self, what: str, error: BaseException) -> None:
        self._on_failure(what, error)

    # -- a call -----------------------------------------------------------------------------------------

    def call(self, name: str, arguments: dict[str, object], meta: dict[str, object]) -> Outcome:
        taken: list[int] = []  # mail that goes with this result, and stands or falls with it
        try:
            said = self._do(name, _checked(name, arguments), taken, meta)
            is_error = False
        except Refusal as refusal:
            said, is_error = self._refused(name, refusal), True
        except Exception as error:  # the session's door: a fault of ours must not end the talk
            self.failed(f"{name} failed", error)
            said, is_error = Internal(f"{name} failed inside the session: {type(error).__name__}: {error}").as_json(), True
        if is_error:
            if taken:
                self._offers.give_back(taken)
                taken = []
            with self._counting:
                self._errors += 1
        if name != "check_messages" or is_error or said.get("more"):
            waiting = self._beat.waiting(said.get("more") if name == "check_messages" else None)
            if waiting:
                said = {**said, "waiting": waiting}
        note = self._link.notes()
        if note:
            said = {**said, "note": note}
        return Outcome(said, json.dumps(said, ensure_ascii=False, separators=(",", ":")), is_error, taken)

    def _do(self, name: str, values: dict[str, object], taken: list[int], meta: dict[str, object]) -> dict[str, object]:
        if name == "check_messages":
            return self._check_messages(meta, taken)
        special = _SPECIAL.get(name)
        if special is not None:
            return special(self, values)
        from lattice.agent import brief  # here: nothing is listed before the first answer

        return brief.shaped(name, self._link.ask(name, values))

    def _refused(self, name: str, refusal: Refusal) -> dict[str, object]:
        said = refusal.as_json()
        if refusal.code in ("unknown_outcome", "unknown_result"):  # the hint is for programs, which have keys
            said["hint"] = (
                "call check_messages again: it asks for the same mail"
                if name == "check_messages"
                else "look whether it was done before you do it again (get_task, list_tasks, get_memory, list_locks, list_peers)"
            )
        if refusal.code == "paused":
            by = self._beat.paused_by or "the architect or the person"
            if by not in refusal.message:
                said["error"] = f"{refusal.message}; paused by {by}"
            said.setdefault("hint", "until you are resumed only reading works; check_messages")
        return said

    def _check_messages(self, meta: dict[str, object], taken: list[int]) -> dict[str, object]:
        use = meta.get(TOOL_USE_ID)
        answer = self._offers.take(use[:200] if isinstance(use, str) else "")
        taken += [int(message["id"]) for message in answer["messages"]]
        said = mail.shape(answer)
        self._beat.took(answer.get("more"))
        return said

    def _list_peers(self, values: dict[str, object]) -> dict[str, object]:
        if values.get("scope") == "same_dir":
            values["working_dir"] = self._link.working_dir
        elif values.get("scope") == "same_repo":
            from lattice.agent import git

            values["git_root"] = git.root(self._link.working_dir) or self._link.working_dir
        return self._peers(values)

    def _peers(self, values: dict[str, object]) -> dict[str, object]:
        found = self._link.ask("list_peers", values)["peers"]
        peers = [_peer(peer) for peer in found if peer.get("id") != self._link.id]
        said: dict[str, object] = {"your_id": self._link.id, "your_role": self._link.role, "peers": peers}
        if not peers:
            said["message"] = "No other active peers found."
        return said

    def _view_dashboard(self, values: dict[str, object]) -> dict[str, object]:
        said = self._peers({})
        return {
            "dashboard_url": f"http://127.0.0.1:{self._link.port}/dashboard",
            **said,
            "sign_in": "the address alone shows no data; to open it signed in, run: c2-lattice page, or: python launch.py",
        }

    def _lock_file(self, values: dict[str, object]) -> dict[str, object]:
        answer = self._link.ask("lock_file", {**values, "base": self._link.working_dir})
        self._remember(self._locks, str(values["file_path"]), answer)
        return answer

    def _unlock_file(self, values: dict[str, object]) -> dict[str, object]:
        path = str(values["file_path"])
        answer = self._link.ask("unlock_file", self._fenced({**values, "base": self._link.working_dir}, self._locks.get(path)))
        self._locks.pop(path, None)
        return answer

    def _claim_task(self, values: dict[str, object]) -> dict[str, object]:
        answer = self._link.ask("claim_task", values)
        self._remember(self._claims, values["task_id"], answer)
        return answer

    def _complete_task(self, values: dict[str, object]) -> dict[str, object]:
        task = int(str(values["task_id"]))
        answer = self._link.ask("complete_task", self._fenced(values, self._claims.get(task)))
        self._claims.pop(task, None)
        return answer

    def _get_conversation(self, values: dict[str, object]) -> dict[str, object]:
        if not values.get("peer_id"):
            self._link.enrol()
            values["peer_id"] = self._link.id
        from lattice.agent import brief

        return brief.shaped("get_conversation", self._link.ask("get_conversation", values))

    def _spawn_worker(self, values: dict[str, object]) -> dict[str, object]:
        tmux = self._environ.get("TMUX", "")
        if tmux:
            values["tmux"] = tmux[:500]
        if not values.get("working_dir"):
            values["working_dir"] = self._link.working_dir
        return self._link.ask("spawn_worker", values, timeout_s=30.0)

    def _remember(self, tokens: dict[Any, int], thing: object, answer: dict[str, object]) -> None:
        token = answer.get("token")
        if isinstance(token, int) and not isinstance(token, bool):
            tokens[thing] = token

    def _fenced(self, values: dict[str, object], token: int | None) -> dict[str, object]:
        return values if token is None else {**values, "token": token}


_SPECIAL = {
    "list_peers": Toolbox._list_peers,
    "view_dashboard": Toolbox._view_dashboard,
    "lock_file": Toolbox._lock_file,
    "unlock_file": Toolbox._unlock_file,
    "claim_task": Toolbox._claim_task,
    "complete_task": Toolbox._complete_task,
    "get_conversation": Toolbox._get_conversation,
    "spawn_worker": Toolbox._spawn_worker,
}


def _checked(name: str, arguments: dict[str, object]) -> dict[str, object]:
    """The arguments that were given, checked; what was left out is the broker's to fill in."""
    fields = tools.tool_fields(name)
    try:
        values = check_fields(fields, arguments)
    except Refusal as refusal:
        refusal.hint = usage(name)
        raise
    return {field: value for field, value in values.items() if arguments.get(field) is not None}


def usage(name: str) -> str:
    """The call that would work, in words: `claim_task {task_id: integer}`."""
    words = []
    for param in tools.tool_fields(name):
        kind = "|".join(param.choices) if param.kind == "choice" else "list" if param.kind == "list" else JSON_TYPE[param.kind]
        if param.kind == "object" and param.fields:
            inner = ", ".join(f"{field.name}{'' if field.required else '?'}" for field in param.fields)
            kind = "{" + inner + "}"
        words.append(f"{param.name}{'' if param.required else '?'}: {kind}")
    return f"{name} {{{', '.join(words)}}}"


def _peer(peer: dict[str, object]) -> dict[str, object]:
    """A peer as a session needs it; what is empty is left out."""
    left_out = ("last_heartbeat", "registered_at", "poll_interval_ms", "ways", "git_dirty_files")  # dirty_files is the list of it
    said = {name: value for name, value in peer.items() if name not in left_out}
    said = {name: value for name, value in said.items() if value not in (None, "", [], False) or name in ("role", "summary")}
    said["last_seen"] = peer.get("last_heartbeat")
    return said
