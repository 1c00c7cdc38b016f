"""Param: one named value of an operation. It can check a JSON value and say itself as JSON Schema.

Six kinds: text, integer, flag, choice, list, object. (`flag`, true or false, is the sixth: a choice
of two words would not be what JSON programs send.) Plain data; loaded by every session at its start.
"""

from __future__ import annotations

from collections import namedtuple

from lattice.errors import BadRequest, Forbidden, TooLarge

MAX_INTEGER = 2**53  # what a double, and so every JSON program, holds exactly

_Param = namedtuple(
    "_Param", "name kind doc required default choices max_chars minimum maximum of fields identity only loose comma forbidden"
)


class Param(_Param):
    """One value.

    required    must be there and not null
    default     what a missing one becomes
    choices     the closed list of a choice
    max_chars   longest text, in characters; longer is 413, never cut
    of          kind of a list's items: text, integer (from 1), reference (any whole number), object
    fields      Params of an object (or of a list's objects); None: any members
    identity    names the caller: may be left out, must equal the token's subject, no tool shows it
    only        the one surface it is on ("http"), "" for all
    loose       http only: a wrong type counts as not given (v4 does so for a few figures)
    comma       http only: a text with commas is taken as the list
    forbidden   words of a choice that exist and are nobody's to use: 403 instead of 400
    """

    __slots__ = ()

    def __new__(
        cls, name: str, kind: str, doc: str = "", required: bool = False, default: object = None, choices: tuple[str, ...] = (),
        max_chars: int = 200, minimum: int | None = None, maximum: int | None = None, of: str = "text",
        fields: tuple[Param, ...] | None = None, identity: bool = False, only: str = "", loose: bool = False, comma: bool = False,
        forbidden: tuple[str, ...] = (),
    ) -> Param:  # fmt: skip
        made: Param = _Param.__new__(
            cls, name, kind, doc, required, default, tuple(choices), max_chars, minimum, maximum,
            of, fields, identity, only, loose, comma, tuple(forbidden),
        )  # fmt: skip
        return made


MAX_ITEMS = 1000


def check(param: Param, value: object, where: str = "") -> object:
    """The value, as the handler gets it. BadRequest on a wrong type or value, TooLarge on a long text."""
    name = where + param.name
    kind = param.kind
    if kind == "text":
        return _text(param, value, name)
    if kind == "integer":
        return _integer(param, value, name)
    if kind == "flag":
        if not isinstance(value, bool):
            raise BadRequest(f"{name} must be true or false")
        return value
    if kind == "choice":
        if isinstance(value, str) and value in param.forbidden:
            raise Forbidden(f"{name} '{value}' is not allowed", allowed=list(param.choices))
        if not isinstance(value, str) or value not in param.choices:
            raise BadRequest(f"{name} must be one of: {', '.join(param.choices)}", allowed=list(param.choices))
        return value
    if kind == "list":
        return _list(param, value, name)
    if not isinstance(value, dict):
        raise BadRequest(f"{name} must be an object")
    return value if param.fields is None else check_fields(param.fields, value, name + ".")


def check_fields(fields: tuple[Param, ...], given: dict[str, object], where: str = "") -> dict[str, object]:
    """Every field checked, missing ones at their default. Unknown members are 400, but those that begin with `_`."""
    known = {param.name for param in fields}
    for name in given:
        if name not in known and not name.startswith("_"):
            raise BadRequest(f"unknown field {where}{name}", hint=f"known here: {', '.join(sorted(known))}")
    missing = [where + param.name for param in fields if param.required and given.get(param.name) in (None, "")]
    if missing:
        raise BadRequest(f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} required")
    return {param.name: param.default if given.get(param.name) is None else check(param, given[param.name], where) for param in fields}


def from_text(param: Param, text: str) -> object:
    """A value of a query string or a command line, in the JSON type that `check` wants."""
    if param.kind == "integer":
        return _whole(text)
    if param.kind == "flag":
        return {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}.get(text.lower(), text)
    if param.kind == "list":
        items = [item.strip() for item in text.split(",") if item.strip()]
        return [_whole(item) for item in items] if param.of in ("integer", "reference") else items
    return text


def _whole(text: str) -> int | str:
    """The number that JSON would write so, else the text as it is, for `check` to refuse."""
    digits = text.removeprefix("-")
    return int(text) if digits.isascii() and digits.isdigit() and len(digits) <= 20 else text


def schema(param: Param) -> dict[str, object]:
    """The param as JSON Schema (2020-12), as short as it can be."""
    said: dict[str, object]
    if param.kind == "choice":
        said = {"type": "string", "enum": list(param.choices)}
    elif param.kind == "list":
        items: dict[str, object] = {"type": JSON_TYPE[param.of]}
        if param.of == "object" and param.fields:
            items = object_schema(param.fields, closed=False)
        said = {"type": "array", "items": items}
    elif param.kind == "object" and param.fields:
        said = object_schema(param.fields, closed=False)
    else:
        said = {"type": JSON_TYPE[param.kind]}
    if param.doc:
        said["description"] = param.doc
    return said


def object_schema(fields: tuple[Param, ...], closed: bool = True) -> dict[str, object]:
    """An object with these members. `closed` says that there are no others; `check` refuses others either way,
    and every byte of a tool's schema costs each session, so nested objects leave it unsaid."""
    said: dict[str, object] = {"type": "object", "properties": {param.name: schema(param) for param in fields}}
    required = [param.name for param in fields if param.required]
    if required:
        said["required"] = required
    if closed:
        said["additionalProperties"] = False
    return said


JSON_TYPE = {"text": "string", "integer": "integer", "reference": "integer", "flag": "boolean", "choice": "string", "object": "object"}


def _text(param: Param, value: object, name: str) -> str:
    if not isinstance(value, str):
        raise BadRequest(f"{name} must be a string")
    if "\0" in value:
        raise BadRequest(f"{name} contains a NUL character")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise BadRequest(f"{name} contains half of a surrogate pair, which is not text") from None
    if len(value) > param.max_chars:
        raise TooLarge(f"{name} has {len(value)} characters; the limit is {param.max_chars}", limit=param.max_chars)
    if param.required and not value.strip():
        raise BadRequest(f"{name} is required")
    return value


def _integer(param: Param, value: object, name: str) -> object:
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # 3.0: JSON has numbers alone, and some programs write them all so
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > MAX_INTEGER:
        if param.loose:
            return param.default
        raise BadRequest(f"{name} must be a whole number")
    if param.minimum is not None and value < param.minimum:
        raise BadRequest(f"{name} must be at least {param.minimum}")
    if param.maximum is not None and value > param.maximum:
        raise BadRequest(f"{name} must be at most {param.maximum}")
    return value


def _list(param: Param, value: object, name: str) -> list[object]:
    if param.comma and isinstance(value, str):
        value = from_text(param, value)
    if not isinstance(value, list):
        raise BadRequest(f"{name} must be a list")
    if len(value) > MAX_ITEMS:
        raise TooLarge(f"{name} has {len(value)} items; the limit is {MAX_ITEMS}", limit=MAX_ITEMS)
    if param.of == "integer":
        item = Param(param.name, "integer", minimum=1)
    elif param.of == "reference":
        item = Param(param.name, "integer")
    elif param.of == "object":
        item = Param(param.name, "object", fields=param.fields)
    else:
        item = Param(param.name, "text", max_chars=param.max_chars)
    return [check(item._replace(name=f"{name}[{index}]"), one) for index, one in enumerate(value)]
