"""OpenAPI: the table of operations as an OpenAPI 3.1 document, for programs that read interfaces.

What `params.check` refuses, the document refuses, field by field: it is written from the same Params. `docs/openapi.json` is
this document, `GET /openapi.json` answers it, and a test calls a real broker by it with schemathesis. It says what an answer is
(JSON, text, a feed) and not its members: those of the first interface are in the protocol, and more may come.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable
from http import HTTPStatus

from lattice import VERSION, WIRE
from lattice.contract import chapters
from lattice.contract.operations import ANYONE, OPERATIONS, Operation, fields_on
from lattice.contract.params import MAX_INTEGER, MAX_ITEMS, Param
from lattice.names import MAX_PATH

Json = dict[str, object]

PORT = 7899
DESCRIPTION = """\
The broker of c2-lattice on 127.0.0.1: JSON over HTTP/1.1.

Enrol with a ticket (`POST /register`), which is minted with the secret in the state directory; the answer has the token that \
says who calls. Every request must name exactly this host; a body is `application/json` with a `Content-Length`. Unknown fields \
are refused, those that begin with `_` are ignored, and `null` is as good as left out. Nothing is ever cut: what is too long is \
413 with the limit. docs/protocol.md says what the calls mean together."""
ROLES = {
    "worker": "a peer", "architect": "the peer in the architect's seat", "system": "the person", "viewer": "who may only look",
    "ticket": "who has a ticket",
}  # fmt: skip
MEANING = {
    400: "The call itself is wrong: its framing, its JSON, a field. The sentence says which.",
    401: "No token or ticket, a bad one, or one that no longer counts; `code` says which.",
    403: "The caller may not do this, or is a page of another origin or site; `code` says which.",
    404: "What is named is not there; or the caller is not registered any more (`not_registered`).",
    409: "True, but not now: somebody holds it, it is over already, a ticket was used.",
    413: "Longer than `limit`.",
    422: "The content filter refused a text; `rule` and `place` say why and where.",
    429: "Over the rate; it would pass in `retry_after_s`.",
    507: "The disk is full: nothing was written.",
}
AT_THE_DOOR = {
    405: "another method", 408: "too slow", 411: "a body without a length", 415: "a body that is no plain JSON", 421: "another host",
    431: "headers too large", 500: "a fault of the broker", 501: "Transfer-Encoding", 503: "stopping, or too many connections",
    505: "another version of HTTP",
}  # fmt: skip
# What an answer is, where it is not a JSON object.
ANSWERS = {"metrics": ("text/plain",), "page": ("text/html",), "events": ("text/event-stream", "application/json")}
# Where an answer leads: the operation, its parameter, the member of the answer.
LINKS = {
    "create_task": (("get_task", "task_id", "task_id"), ("cancel_task", "task_id", "task_id")),
    "send_message": (("receipts", "message_id", "message_id"),),
    "escalate": (("resolve", "escalation_id", "escalation_id"),),
    "create_run": (("get_run", "run_id", "run_id"), ("run_summary", "run_id", "run_id")),
    "spawn_worker": (("resolve", "escalation_id", "escalation_id"),),
}
# What a field may look like, for readers and for whoever tries the document out.
EXAMPLES: dict[str, object] = {
    "peer_id": "worker-fe", "recipient_id": "worker-fe", "run_id": "diamond", "task_id": 1, "message_id": 1, "escalation_id": 1,
    "title": "Show the wrong password", "content": "The parser takes both forms now.", "file_path": "src/login.py",
    "paths": ["src/login.py"], "key": "database", "value": "SQLite, in WAL", "text": "May I rename the column?", "q": "password",
    "artifacts": {"summary": "done, with tests"}, "tasks": [{"title": "base"}, {"title": "roof", "blocked_by": [-1]}],
    "summary": "at the login page", "nonce": "00112233445566778899aabbccddeeff",
}  # fmt: skip
# As `params.check` reads them: blank is what Python's strip takes away, and a required text must have something else.
NO_NUL = r"^[^\u0000]*$"
NOT_BLANK = r"^[^\u0000]*[^\s\u0000\u001c-\u001f\u0085][^\u0000]*$"
_ID = r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,63}"
ID = rf"^\s*{_ID}\s*$"
ID_OR_NOTHING = f"^$|{ID}"
_CONTROLS = r"\u0000-\u001f\u007f-\u009f"
# What a handler asks of a field beyond its Param; by the field's name, or `operation.field`.
SHAPES: dict[str, Json] = {
    "nonce": {"pattern": "^[0-9a-f]{32}$"},
    "base": {"pattern": r"^(/[^\u0000]*)?$"},
    "file_path": {"maxLength": MAX_PATH, "pattern": rf"^[^{_CONTROLS}]*[^\s{_CONTROLS}][^{_CONTROLS}]*$"},
    "set_memory.key": {"pattern": r"^[^\u0000-\u001f]*[^\s\u0000-\u001f\u0085][^\u0000-\u001f]*$"},
    "recipient_id": {"pattern": rf"^\s*(@architect|#?{_ID})\s*$"},
    "create_run.id": {"pattern": ID}, "create_task.run_id": {"pattern": ID_OR_NOTHING}, "create_batch.run_id": {"pattern": ID_OR_NOTHING},
    "assign_task.peer_id": {"pattern": ID_OR_NOTHING},
    "create_batch.tasks": {"minItems": 1},
}  # fmt: skip
# Of two fields one must be there, with something in it.
ONE_OF = {"create_task": ("title", "tasks")}


@functools.cache
def text() -> str:
    """The document as it is served and kept: a line for each path, and for each component."""
    return _lines(document(), {"paths": {}, "components": {"schemas": {}, "responses": {}}}) + "\n"


def _lines(value: object, opened: Json) -> str:
    """JSON whose objects in `opened` have a line for each member."""
    assert isinstance(value, dict)
    members = (
        f"{json.dumps(name)}: {_lines(member, opened[name]) if name in opened else json.dumps(member)}"  # type: ignore[arg-type]
        for name, member in value.items()
    )
    return "{\n" + ",\n".join(members) + "\n}"


def document() -> Json:
    paths: dict[str, Json] = {}
    for operation in OPERATIONS:
        if "http" in operation.surfaces:
            paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    said = [title for title, _ in chapters.CHAPTERS if any(title in one["tags"] for path in paths.values() for one in path.values())]  # type: ignore[index]
    return {
        "openapi": "3.1.0",
        "info": {"title": "c2-lattice", "version": VERSION, "description": DESCRIPTION, "license": {"name": "MIT", "identifier": "MIT"},
                 "x-wire": WIRE},
        "servers": [{"url": "http://127.0.0.1:{port}", "variables": {"port": {"default": str(PORT)}}}],
        "tags": [{"name": title} for title in said],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "The token that POST /register or POST /sign-in answered. "
                          "What is listed with it are the roles that may call: any one of them."},
                "ticket": {"type": "apiKey", "in": "header", "name": "Authorization",
                           "description": "`Ticket <ticket>`: minted with the broker's secret, for one use within 60 seconds."},
            },
            "schemas": {"Error": _error(), "Ignored": _ignored()},
            "responses": {str(status): _refusal(status) for status in MEANING} | {"door": _at_the_door()},
        },
    }  # fmt: skip


def _operation(operation: Operation) -> Json:
    fields = fields_on(operation, "http")
    in_path = [param for param in fields if param.name in operation.path_params]
    others = [param for param in fields if param.name not in operation.path_params]
    said: Json = {
        "operationId": operation.name,
        "tags": [chapters.of(operation.path)],
        "summary": operation.doc,
        "description": f"{_who_may(operation)} Effect: {operation.effect}, risk: {operation.risk}.",
        "security": _security(operation),
        "x-roles": list(operation.roles),
        "x-effect": operation.effect,
        "x-risk": operation.risk,
    }
    parameters = [_parameter(param, "path", operation.name) for param in in_path]
    if operation.method == "GET":
        parameters += [_parameter(param, "query", operation.name) for param in others]
    elif others:
        required = any(param.required for param in others) or operation.name in ONE_OF
        schema = body_schema(others, operation.name)
        if operation.name in ONE_OF:
            schema["anyOf"] = [_with_something(param) for param in others if param.name in ONE_OF[operation.name]]
        said["requestBody"] = {"required": required, "content": {"application/json": {"schema": schema}}}
    if parameters:
        said["parameters"] = parameters
    refused = {str(status): _reference(str(status)) for status in statuses(operation)}
    said["responses"] = {"200": _answer(operation), **refused, "default": _reference("door")}
    return said


def statuses(operation: Operation) -> list[int]:
    """The refusals that are the operation's own; what any request may get at the door is `default`."""
    found = {400, 403}
    if operation.roles != ANYONE:
        found |= {401, 404}
    if operation.name == "page":
        found.add(404)
    if operation.method == "POST" or operation.effect != "read":
        found |= {409, 413, 422, 429, 507}
    if operation.params:
        found.add(413)
    return sorted(found)


def _who_may(operation: Operation) -> str:
    if operation.roles == ANYONE:
        return "Anybody may."
    return "Who may: " + ", ".join(f"{role} ({ROLES[role]})" for role in operation.roles) + "."


def _security(operation: Operation) -> list[Json]:
    if operation.roles == ANYONE:
        return []
    roles = [role for role in operation.roles if role != "ticket"]
    found: list[Json] = [{"token": roles}] if roles else []
    if "ticket" in operation.roles:
        found.append({"ticket": []})
    if operation.name == "sign_in":
        found.append({})  # the code in the body is a ticket too
    return found


def _answer(operation: Operation) -> Json:
    kinds = ANSWERS.get(operation.name, ("application/json",))
    content = {kind: {"schema": {"type": "object"} if kind == "application/json" else {"type": "string"}} for kind in kinds}
    said: Json = {"description": "Done.", "content": content}
    links = {
        f"{target}_{member}": {"operationId": target, "parameters": {name: f"$response.body#/{member}"}}
        for target, name, member in LINKS.get(operation.name, ())
    }
    return said | ({"links": links} if links else {})


def _reference(name: str) -> Json:
    return {"$ref": f"#/components/responses/{name}"}


def _refusal(status: int) -> Json:
    header = {401: "WWW-Authenticate", 429: "Retry-After"}.get(status)
    said = _an_error(f"{HTTPStatus(status).phrase}. {MEANING[status]}")
    return said | ({"headers": {header: {"schema": {"type": "string"}}}} if header else {})


def _at_the_door() -> Json:
    each = "; ".join(f"{status}: {meaning}" for status, meaning in AT_THE_DOOR.items())
    return _an_error(f"What any request may get, on any path. {each}.")


def _an_error(description: str) -> Json:
    return {"description": description, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}}


def _error() -> Json:
    return {
        "type": "object",
        "description": "The one shape of every refusal. Further members say what it is about (holder, limit, allowed).",
        "required": ["error", "code", "retryable"],
        "properties": {
            "error": {"type": "string", "description": "one sentence for this caller to act on"},
            "code": {"type": "string", "pattern": "^[a-z][a-z_]*$", "description": "a word that programs may rely on"},
            "retryable": {"type": "boolean", "description": "the same call may pass later"},
            "hint": {"type": "string", "description": "the call that would work"},
        },
    }  # fmt: skip


# -- fields -------------------------------------------------------------------------------------------------------------------


def _parameter(param: Param, place: str, operation: str) -> Json:
    schema = field_schema(param, place, operation)
    said: Json = {"name": param.name, "in": place, "required": place == "path" or param.required, "schema": schema}
    return said | ({"description": param.doc} if param.doc else {})


def body_schema(fields: Iterable[Param], operation: str = "") -> Json:
    """An object with these members, and any that begin with `_`."""
    fields = list(fields)
    said: Json = {"type": "object", "properties": {param.name: field_schema(param, "body", operation) for param in fields}}
    required = [param.name for param in fields if param.required]
    if required:
        said["required"] = required
    return said | {"patternProperties": {r"^_[^\u0000]*$": {"$ref": "#/components/schemas/Ignored"}}, "additionalProperties": False}


def _ignored() -> Json:
    """What a member that nobody reads may be: strict JSON."""
    again = {"$ref": "#/components/schemas/Ignored"}
    return {
        "description": "Any JSON without NUL and without numbers past 2^53; 32 levels in all.",
        "type": ["null", "boolean", "number", "string", "array", "object"],
        "minimum": -MAX_INTEGER, "maximum": MAX_INTEGER, "pattern": NO_NUL, "items": again,
        "propertyNames": {"pattern": NO_NUL}, "additionalProperties": again,
    }  # fmt: skip


def _no_whole_number() -> Json:
    return {"$ref": "#/components/schemas/Ignored", "not": {"type": "integer"}}


def _with_something(param: Param) -> Json:
    filled: Json = {"type": "array", "minItems": 1} if param.kind == "list" else {"type": "string", "pattern": NOT_BLANK}
    return {"required": [param.name], "properties": {param.name: filled}}


def field_schema(param: Param, place: str = "body", operation: str = "") -> Json:
    """Exactly what `params.check` takes; in an address as text that stands for it."""
    said = {**_plain(param, place), **SHAPES.get(param.name, {}), **SHAPES.get(f"{operation}.{param.name}", {})}
    if place == "body":
        if param.loose:
            said = {"description": "What is no whole number counts as not given.", "anyOf": [said, _no_whole_number()]}
        elif not param.required:
            said = _or_null(said)
        if param.doc:
            said = {"description": param.doc, **said}
    if param.default is not None and not param.loose:
        said["default"] = param.default
    if param.name in EXAMPLES and not param.identity and operation:
        said["examples"] = [EXAMPLES[param.name]]
    return said


def _plain(param: Param, place: str) -> Json:
    match param.kind:
        case "text":
            return _text(param, place)
        case "integer":
            least = -MAX_INTEGER if param.minimum is None else param.minimum
            return {"type": "integer", "minimum": least, "maximum": MAX_INTEGER if param.maximum is None else param.maximum}
        case "flag":
            return {"type": "boolean"}
        case "choice":
            return {"type": "string", "enum": list(param.choices)}
        case "list":
            items: Json = {"type": "array", "items": _item(param), "maxItems": MAX_ITEMS}
            return {"anyOf": [items, _with_commas(param)]} if param.comma else items
    return body_schema(param.fields) if param.fields is not None else {"type": "object"}


def _text(param: Param, place: str) -> Json:
    least: Json = {"minLength": 1} if place == "path" or param.required else {}
    return {"type": "string", **least, "maxLength": param.max_chars, "pattern": NOT_BLANK if param.required else NO_NUL}


def _item(param: Param) -> Json:
    if param.of == "object":
        return body_schema(param.fields or ())
    if param.of in ("integer", "reference"):
        return {"type": "integer", "minimum": 1 if param.of == "integer" else -MAX_INTEGER, "maximum": MAX_INTEGER}
    return {"type": "string", "maxLength": param.max_chars, "pattern": NO_NUL}


def _with_commas(param: Param) -> Json:
    """The list as v4 may send it."""
    number = "[1-9][0-9]{0,14}"
    return {"type": "string", "pattern": f"^({number}(, ?{number})*)?$" if param.of in ("integer", "reference") else NO_NUL}


def _or_null(said: Json) -> Json:
    if "anyOf" in said:
        return {"anyOf": [*said["anyOf"], {"type": "null"}]}  # type: ignore[misc]
    if "enum" in said:
        return {**said, "type": ["string", "null"], "enum": [*said["enum"], None]}  # type: ignore[misc]
    return {**said, "type": [said["type"], "null"]}
