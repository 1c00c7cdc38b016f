"""The session: what an MCP client hears on its messages, in both eras of the protocol.

    era      how a request is known                                   methods
    modern   its _meta names the protocol version (2026-07-28)        server/discover, tools/*, subscriptions/listen
    legacy   all others; begins with initialize                       initialize, ping, tools/*

- Every request with an id gets exactly one answer, or none if it was cancelled before that.
- The first message is answered from constants: no broker is looked for.
- Calls of tools run side by side, at most MAX_RUNNING at once; everything else is answered by the reading thread,
  so a ping is answered while a tool runs. An id is known as running before the next line is read.
- A tool's failure is a result with `isError`. Nothing is sent that was not asked for: no progress, no logging.
"""

from __future__ import annotations

import functools
import threading
from collections import OrderedDict, deque

from lattice import VERSION
from lattice.agent import jsonrpc
from lattice.agent.instructions import INSTRUCTIONS
from lattice.agent.jsonrpc import Notification, Request, RpcError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from lattice.agent.toolbox import Outcome, Toolbox

MODERN = ("2026-07-28",)
LEGACY = ("2025-11-25", "2025-06-18", "2024-11-05")  # 2025-03-26 demands batches
SUPPORTED = (*MODERN, *LEGACY)  # one list, wherever versions are named

INFO = {"name": "c2-lattice", "version": VERSION}
CAPABILITIES: dict[str, object] = {"tools": {}}
LIST_TTL_MS = 3_600_000  # the tools change only with the program

_META = "io.modelcontextprotocol/"
_VERSION, _CLIENT, _SERVER, _SUBSCRIPTION = (
    _META + word for word in ("protocolVersion", "clientCapabilities", "serverInfo", "subscriptionId")
)

MAX_RUNNING = 10  # the broker takes 16 connections of a peer; the beat and the proofs need theirs


class Call:
    """One running `tools/call`. `settled` is guarded by the session's lock: whoever sets it decides about the answer."""

    __slots__ = ("id", "name", "arguments", "meta", "modern", "settled")

    def __init__(self, id: object, name: str, arguments: dict[str, object], meta: dict[str, object], modern: bool) -> None:
        self.id = id
        self.name = name
        self.arguments = arguments
        self.meta = meta
        self.modern = modern
        self.settled = False


class Session:
    """The talk with one client. `open_toolbox()` is called once, by the reading thread, when the first request needs it:
    opening takes longer than a first answer may. The toolbox does the calls:

    toolbox.names                     the tools on offer
    toolbox.listed()                  tools/list was asked; must not wait
    toolbox.arrived()                 a tools/call arrived; must not wait
    toolbox.call(name, args, meta)    -> Outcome; on a thread of its own; must not raise
    toolbox.delivered(outcome)        its result has been flushed to the client
    toolbox.undelivered(outcome)      its result was not sent and will not be, or its client did not want it any more
    toolbox.failed(what, error)       a fault of ours, for the log
    """

    def __init__(self, write: Callable[[bytes], None], open_toolbox: Callable[[], Toolbox]) -> None:
        self._write = write
        self._open_toolbox = open_toolbox
        self._lock = threading.Lock()  # guards all below, and Call.settled
        self._work = threading.Condition(self._lock)
        self._running: dict[object, Call] = {}
        self._listening: set[object] = set()
        self._waiting: deque[Call] = deque()
        self._workers = 0
        self._idle = 0
        self._settled: OrderedDict[object, Outcome] = OrderedDict()  # the last calls that were answered with mail
        self._answered = 0
        self._cancelled_late = 0  # of these, when their answer was settled
        self.client_name = ""  # as the client calls itself; for display only

    @functools.cached_property
    def _toolbox(self) -> Toolbox:
        return self._open_toolbox()

    # -- the reading thread -------------------------------------------------------------------------

    def receive(self, line: bytes) -> None:
        """Take one line from the client; answers now, or later from another thread."""
        try:
            message = jsonrpc.read(line)
        except RpcError as failure:
            self._write(jsonrpc.error(failure))
            return
        if isinstance(message, Notification):
            if message.method == "notifications/cancelled":
                self._cancel(message.params)
        elif message is not None:
            self._answer(message)

    def _answer(self, request: Request) -> None:
        try:
            params, meta = _params(request)
            modern = _is_modern(request.method, meta)
            self._meet(params.get("clientInfo") or meta.get(_META + "clientInfo"))
            eras = _METHODS.get(request.method)
            if eras is None or ("modern" if modern else "legacy") not in eras:
                raise RpcError(jsonrpc.METHOD_NOT_FOUND, f"Method not found: {request.method[:100]}")
            if request.method == "tools/call":
                self._start(self._call_of(request.id, params, meta, modern))
                return
            answer = getattr(self, eras["do"])(request.id, params)
        except RpcError as failure:
            self._write(jsonrpc.error(failure, request.id))
            return
        except Exception as error:  # the session's door: a fault of ours must not end the talk
            self._toolbox.failed(f"{request.method[:100]} failed", error)
            self._write(jsonrpc.error(RpcError(jsonrpc.INTERNAL_ERROR, "Internal error"), request.id))
            return
        if answer is not None:
            self._write(jsonrpc.result(request.id, _complete(answer) if modern else answer))
        if request.method == "tools/list":
            self._toolbox.listed()

    def _meet(self, info: object) -> None:
        if isinstance(info, dict) and not self.client_name:
            words = (info.get("name"), info.get("version"))
            self.client_name = " ".join(word for word in words if isinstance(word, str))[:100]

    def _initialize(self, id: object, params: dict[str, object]) -> dict[str, object]:
        wanted = params.get("protocolVersion")
        if not isinstance(wanted, str):
            raise RpcError(jsonrpc.INVALID_PARAMS, "protocolVersion must be a string", data={"supported": list(SUPPORTED)})
        return {
            "protocolVersion": wanted if wanted in LEGACY else LEGACY[0],
            "capabilities": CAPABILITIES,
            "serverInfo": INFO,
            "instructions": INSTRUCTIONS,
        }

    def _discover(self, id: object, params: dict[str, object]) -> dict[str, object]:
        return {
            "supportedVersions": list(SUPPORTED),
            "capabilities": CAPABILITIES,
            "instructions": INSTRUCTIONS,
            "ttlMs": LIST_TTL_MS,
            "cacheScope": "private",
        }

    def _ping(self, id: object, params: dict[str, object]) -> dict[str, object]:
        return {}

    def _list(self, id: object, params: dict[str, object]) -> dict[str, object]:
        if params.get("cursor") is not None:
            raise RpcError(jsonrpc.INVALID_PARAMS, "Invalid cursor: there is one page")
        from lattice.agent import tools

        listed: dict[str, object] = {"tools": [tools.describe(name) for name in self._toolbox.names]}
        if _META + "protocolVersion" in (params.get("_meta") or {}):  # type: ignore[operator]
            listed.update(ttlMs=LIST_TTL_MS, cacheScope="private")
        return listed

    def _listen(self, id: object, params: dict[str, object]) -> None:
        """Open a stream of notifications. None exists here, so none is granted; it is answered when we end."""
        if not isinstance(params.get("notifications"), dict):
            raise RpcError(jsonrpc.INVALID_PARAMS, "notifications must be an object")
        with self._lock:
            self._refuse_used(id)
            self._listening.add(id)
        self._write(jsonrpc.notification("notifications/subscriptions/acknowledged", {"_meta": {_SUBSCRIPTION: id}, "notifications": {}}))

    # -- calls of tools -----------------------------------------------------------------------------

    def _call_of(self, id: object, params: dict[str, object], meta: dict[str, object], modern: bool) -> Call:
        name = params.get("name")
        arguments = params.get("arguments")
        if not isinstance(name, str):
            raise RpcError(jsonrpc.INVALID_PARAMS, "name must be a string")
        if arguments is not None and not isinstance(arguments, dict):
            raise RpcError(jsonrpc.INVALID_PARAMS, "arguments must be an object")
        if name not in self._toolbox.names:
            raise RpcError(jsonrpc.INVALID_PARAMS, f"Unknown tool: {name[:100]}")
        return Call(id, name, arguments or {}, meta, modern)

    def _start(self, call: Call) -> None:
        self._toolbox.arrived()
        with self._lock:
            self._refuse_used(call.id)
            self._running[call.id] = call
            self._waiting.append(call)
            if self._idle >= len(self._waiting):
                self._work.notify()
                return
            if self._workers >= MAX_RUNNING:
                return  # taken up when a worker is free
            self._workers += 1
        threading.Thread(target=self._labour, name="call", daemon=True).start()

    def _refuse_used(self, id: object) -> None:
        if id in self._running or id in self._listening:
            raise RpcError(jsonrpc.INVALID_REQUEST, "Invalid Request: this id is in use by a request that is not answered yet")

    def _labour(self) -> None:
        while True:
            with self._lock:
                self._idle += 1
                while not self._waiting:
                    self._work.wait()
                self._idle -= 1
                call = self._waiting.popleft()
                if call.settled:  # cancelled before it began
                    continue
            self._run(call)

    def _run(self, call: Call) -> None:
        outcome = self._toolbox.call(call.name, call.arguments, call.meta)
        with self._lock:
            wanted = not call.settled
            call.settled = True
            if self._running.get(call.id) is call:
                del self._running[call.id]
            if wanted:
                self._answered += 1
                self._settled.pop(call.id, None)
                if outcome.messages:
                    self._settled[call.id] = outcome
                    if len(self._settled) > MAX_RUNNING:
                        self._settled.popitem(last=False)
        if not wanted:
            self._toolbox.undelivered(outcome)
            return
        answer: dict[str, object] = {
            "content": [{"type": "text", "text": outcome.text}],
            "structuredContent": outcome.structured,
        }
        if outcome.is_error:
            answer["isError"] = True
        self._write(jsonrpc.result(call.id, _complete(answer) if call.modern else answer))
        self._toolbox.delivered(outcome)

    def _cancel(self, params: object) -> None:
        """Stop answering one request. One that is answered already is no matter, unless there was mail in the answer.

        The two may have crossed: then the client drops the answer, and the mail goes back. Some clients cancel each call
        that they have finished; with them it says nothing.
        """
        id = params.get("requestId") if isinstance(params, dict) else None
        if not jsonrpc.is_id(id):
            return
        crossed = None
        with self._lock:
            self._listening.discard(id)
            call = self._running.pop(id, None)
            if call is not None:
                call.settled = True
            else:
                self._cancelled_late += 1
                is_habit = self._cancelled_late * 2 >= self._answered
                crossed = None if is_habit else self._settled.pop(id, None)
        if crossed is not None:
            self._toolbox.undelivered(crossed)

    # -- the end ------------------------------------------------------------------------------------

    def busy(self) -> bool:
        """Whether a call is still to be answered."""
        with self._lock:
            return bool(self._running)

    def close(self) -> None:
        """Answer what was only to be answered at the end."""
        with self._lock:
            listening, self._listening = sorted(self._listening, key=str), set()
        for id in listening:
            self._write(jsonrpc.result(id, {"resultType": "complete", "_meta": {_SERVER: INFO, _SUBSCRIPTION: id}}))


# What each method does, and in which eras it exists.
_METHODS: dict[str, dict[str, str]] = {
    "server/discover": {"modern": "", "do": "_discover"},
    "subscriptions/listen": {"modern": "", "do": "_listen"},
    "initialize": {"legacy": "", "do": "_initialize"},
    "ping": {"legacy": "", "do": "_ping"},
    "tools/list": {"modern": "", "legacy": "", "do": "_list"},
    "tools/call": {"modern": "", "legacy": "", "do": ""},
}


def _params(request: Request) -> tuple[dict[str, object], dict[str, object]]:
    params = {} if request.params is None else request.params
    if not isinstance(params, dict):
        raise RpcError(jsonrpc.INVALID_PARAMS, "params must be an object")
    meta = params.get("_meta")
    if meta is None:
        meta = {}
    if not isinstance(meta, dict):
        raise RpcError(jsonrpc.INVALID_PARAMS, "_meta must be an object")
    return params, meta


def _is_modern(method: str, meta: dict[str, object]) -> bool:
    """Whether the request is of the stateless era. RpcError when it is and cannot be served."""
    if _VERSION not in meta:
        if "legacy" not in _METHODS.get(method, {"legacy": ""}):
            raise RpcError(jsonrpc.INVALID_PARAMS, f"Missing _meta {_VERSION}", data={"supported": list(SUPPORTED)})
        return False
    wanted = meta[_VERSION]
    if not isinstance(wanted, str):
        raise RpcError(jsonrpc.INVALID_PARAMS, f"{_VERSION} must be a string")
    if wanted not in MODERN:
        raise RpcError(
            jsonrpc.UNSUPPORTED_VERSION, "Unsupported protocol version", data={"supported": list(SUPPORTED), "requested": wanted}
        )
    if not isinstance(meta.get(_CLIENT), dict):
        raise RpcError(jsonrpc.INVALID_PARAMS, f"Missing _meta {_CLIENT}")
    return True


def _complete(answer: dict[str, object]) -> dict[str, object]:
    return {**answer, "resultType": "complete", "_meta": {_SERVER: INFO}}
