"""The content filter: machine syntax that does not belong into text between agents.

Five rules, in this order; which of them hold on a channel is a table:

    markup         tags and markers of tool calls, tool results and system text
    function_call  a tool call or its result as JSON, in the shapes of the vendors and of MCP
    base64         100 or more signs of base64, also wrapped, split by blanks, or URL-safe
    data_uri       a data: URI with its payload
    path           an absolute path of more than three folders, outside of where agents work

It looks at a spelling in which look-alike letters, invisible signs, entities and escapes are undone;
the place it names is in the text as it was given. Time is linear in the length. It stops syntax, not
persuasion: prose that tries to lead an agent astray passes.
"""

from __future__ import annotations

import posixpath
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from html.entities import html5
from typing import NamedTuple

MARKUP_RULES = ("markup", "function_call")
ALL_RULES = (*MARKUP_RULES, "base64", "data_uri", "path")

CHANNELS: dict[str, tuple[str, ...]] = {
    "message": ALL_RULES,
    "room": ALL_RULES,
    "task": MARKUP_RULES,
    "memory": MARKUP_RULES,
    "summary": MARKUP_RULES,
    "artifact": MARKUP_RULES,
    "conversation": (),  # the record of tool calls themselves
}


class Verdict(NamedTuple):
    """Why a text is refused: the rule, a sentence, the offset in the text (characters)."""

    rule: str
    reason: str
    place: int


class _Hit(NamedTuple):
    start: int
    reason: str


def judge(text: str, channel: str, roots: Sequence[str] = ()) -> Verdict | None:
    """The first rule of the channel that the text breaks, or None.

    `roots`: absolute folders in which paths are fine, those where the live peers work.
    KeyError on a channel that does not exist.
    """
    rules = CHANNELS[channel]
    if not rules:
        return None
    folded = fold(text)
    spelled = _unescape(folded) if _may_hold_escapes(folded) else folded
    for rule in rules:
        read = spelled if rule in ("markup", "function_call", "data_uri") else folded
        found = _find_path(read, roots) if rule == "path" else _FINDERS[rule](read)
        if found:
            return Verdict(rule, found.reason, _origin(text, folded, read, found.start))
    return None


# -- one spelling -----------------------------------------------------------------------------------


def fold(text: str) -> str:
    """The text with look-alike letters as the plain ones and without what is not seen: for comparing, never for showing."""
    return text if text.isascii() and not _CONTROL.search(text) else text.translate(_FOLD)


_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_FILLERS = frozenset("\u115f\u1160\u3164\uffa0\u034f\u2800\u17b4\u17b5")
_LOOK_ALIKES = dict(
    zip(
        "авсԁеһіјкӏмнорԛѕтуѵԝхгАВСЕНІЈКМОРЅТУХ" "αεικνορτυχγΑΒΕΖΗΙΚΜΝΟΡΤΥΧ" "օսոհցզ" "ıɡɑɩʟᴀᴄᴅᴇɪᴊᴋᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢłøđ"
        "‹›〈〉⟨⟩❮❯❬❭˂˃ᐸᐳ≺≻" "“”„‟«»″‘’‚‛′ʹ´" "∶ː꞉︰" "∕⁄⧸╱" "ǀ│∣❘┃" "▁‗ˍ" "‐‑‒–—―−" "❴❵",
        "abcdehijklmhopqstuvwxrABCEHIJKMOPSTYX" "aeikvoptuxyABEZHIKMNOPTYX" "ounhgq" "igaiLacdeijkmnoprstuvwyzlod"
        "<><><><><><><><>" '"""""""' "'''''''" "::::" "////" "|||||" "___" "-------" "{}",
        strict=True,
    )
)  # fmt: skip


class _Fold(dict[int, str]):
    """A table for str.translate, filled as signs turn up: each sign's plain spelling, "" for what is not seen."""

    def __missing__(self, code: int) -> str:
        if len(self) > 20_000:  # a text that shows every sign there is shall not be kept for ever
            self.clear()
        # Looked up whole first: taken apart, a double low line is a blank with two lines below it.
        plain = _LOOK_ALIKES.get(chr(code)) or "".join(map(self._plain, unicodedata.normalize("NFKD", chr(code))))
        self[code] = plain
        return plain

    @staticmethod
    def _plain(sign: str) -> str:
        if sign in _FILLERS or unicodedata.category(sign) in ("Cf", "Co", "Cs", "Cn", "Mn", "Me", "Mc"):
            return ""
        if unicodedata.category(sign) == "Cc" and sign not in "\t\n\r":
            return ""
        return _LOOK_ALIKES.get(sign, sign)


_FOLD = _Fold()

_ESCAPE = re.compile(
    r"&(?:amp;)*+(?:#x(?P<hex>[0-9a-f]{1,6}+)|#(?P<decimal>[0-9]{1,7}+)|(?P<name>lt|gt|amp|quot|[a-z]{2,10}+(?=;)));?"
    r"|(?<!\\)\\++(?:u(?P<unit>[0-9a-f]{4})|u\{(?P<braced>[0-9a-f]{1,6})\}|x(?P<byte>[0-9a-f]{2}))"
    r"|%(?P<percent>3[ce])",
    re.IGNORECASE,
)


def _may_hold_escapes(text: str) -> bool:
    return "&" in text or "\\" in text or ("%" in text and "%3" in text)


def _unescaped(found: re.Match[str]) -> str:
    digits = found["hex"] or found["unit"] or found["braced"] or found["byte"] or found["percent"]
    if found["name"]:
        sign = html5.get(found["name"].lower() + ";", "")
        return sign.translate(_FOLD) if sign else found[0]
    code = int(found["decimal"]) if found["decimal"] else int(digits, 16)
    return chr(code).translate(_FOLD) if code < 0x110000 else found[0]


def _unescape(text: str) -> str:
    return _ESCAPE.sub(_unescaped, text)


def _origin(text: str, folded: str, read: str, start: int) -> int:
    """Where in the text a place of a spelling comes from. Only a refusal pays for it."""
    if read is not folded:
        start = _through(_unescape_steps(folded), start)
    if folded is not text:
        start = _through(((place, len(_FOLD[ord(sign)])) for place, sign in enumerate(text)), start)
    return start


def _through(steps: Iterator[tuple[int, int]], start: int) -> int:
    """A place carried back over `steps`: (place before, how many signs it became)."""
    reached = 0
    for place, length in steps:
        reached += length
        if start < reached:
            return place
    return 0


def _unescape_steps(folded: str) -> Iterator[tuple[int, int]]:
    before = 0
    for found in _ESCAPE.finditer(folded):
        for place in range(before, found.start()):
            yield place, 1
        yield found.start(), len(_unescaped(found))
        before = found.end()
    for place in range(before, len(folded)):
        yield place, 1


# -- markup -------------------------------------------------------------------------------------------

_TAG = re.compile(
    r"<\s*+/?+\s*+(?:(?P<space>[\w.-]++)\s*+:\s*+)?"
    r"(?:(?P<pair>(?:tool|function)[_-]+(?:use|calls?|results?|responses?|outputs?|code|invocation)"
    r"|use[_-]+mcp[_-]+tool|execute[_-]+command"
    r"|system[_-]+(?:reminder|prompt|message|instructions?|note)"
    r"|command[_-]+(?:name|message|args)|local[_-]+command[_-]+std(?:out|err)|user[_-]+prompt[_-]+submit[_-]+hook"
    r"|task[_-]+notification)(?![\w.-])"
    r"|(?P<word>system|invoke)(?:\s*+/?+>|\s++[\w:.-]++\s*+=)"
    r"|(?P<llama>function)\s*+=\s*+[\w.-])",
    re.IGNORECASE,
)
_ANTML = re.compile(r"<\s*+/?+\s*+antml\s*+:", re.IGNORECASE)
_MARKER = re.compile(
    r"<\|[\w/.:-]{1,60}\|>"
    r"|<\s*+\|\s*+(?:im_(?:start|end|sep)|system|user|assistant|end_?of_?(?:text|turn)|begin_of_text|eo[tm]_id|(?:start|end)_header_id"
    r"|python_tag|tool_?\w{0,30}|channel|message|start|end|return|call)\s*+\|\s*+>"
    r"|<<\s*+/?+sys\s*+>>",
    re.IGNORECASE,
)
_BRACKET_MARKER = re.compile(r"\[\s*+/?+(?:inst|tool_calls|tool_results|available_tools)\s*+\]", re.IGNORECASE)
# Names that take types in angle brackets: `Vec<tool_call>`, `std::vector<tool_call>`.
_GENERIC = re.compile(r"\b(?:[A-Z]\w*|vector|list|optional|unique_ptr|shared_ptr|set|map|deque|span|array|pair|tuple|type|dyn|cast)\Z")


def _find_markup(text: str) -> _Hit | None:
    if "<" in text:
        for found in _TAG.finditer(text):
            if not _is_a_type(text, found):
                return _Hit(found.start(), f"markup of a tool call or of system text: {_short(found[0])}")
        found_marker = _ANTML.search(text) or (_MARKER.search(text) if "|" in text or "<<" in text else None)
        if found_marker:
            return _Hit(found_marker.start(), f"a marker of a model's own format: {_short(found_marker[0])}")
    bracket = _BRACKET_MARKER.search(text) if "[" in text else None
    return _Hit(bracket.start(), f"a marker of a model's own format: {_short(bracket[0])}") if bracket else None


def _is_a_type(text: str, tag: re.Match[str]) -> bool:
    """Whether the name is a type argument of code: `Arc<System>`, `Vec<tool_call>`; or `Foo<system::Bar>`."""
    before = text[max(tag.start() - 40, 0) : tag.start()]
    if tag["word"]:
        return tag[0][-1] == ">" and "/" not in tag[0] and before[-1:].isalnum()
    return bool(_GENERIC.search(before)) and "/" not in tag[0] and text[tag.end() : tag.end() + 1] in (">", ",")


def _short(sign: str) -> str:
    return " ".join(sign.split())[:40]


# -- function calls as JSON ---------------------------------------------------------------------------

_JSON_TOKEN = re.compile(
    r"""\\.|"(?P<double>(?:[^"\\\n{]|\\.|\{(?!\s*+["']))*+)["]"""
    r"""|(?<!\w)'(?P<single>(?:[^'\\\n{]|\\.|\{(?!\s*+["']))*+)'|(?P<sign>[{}\[\],:])""",
    re.DOTALL,
)
_BARE_ESCAPED_QUOTE = re.compile(r"(?<!\\)\\++([\"'])")
_RESULT_KEYS = {"tool_use_id", "call_id", "tool_call_id"}
_RESULT_TYPES = {
    "tool_result", "tool_use", "function_call", "function_call_output", "tool_call", "mcp_tool_result", "mcp_tool_use", "server_tool_use",
}  # fmt: skip
_TEST_KEYS = {"expected", "expect", "expected_output", "output", "outputs", "want", "result", "description", "schema", "url", "errors"}


class _Object:
    """An object as far as it was read: each key with the text of its value, or the bracket that begins it."""

    __slots__ = ("start", "key", "members", "pending")

    def __init__(self, start: int, key: str) -> None:
        self.start = start
        self.key = key  # under which it stands in the object around it
        self.members: dict[str, str] = {}
        self.pending = ""  # the key whose value comes next

    def is_call(self) -> str:
        members = self.members
        names = members.get("name", "")[:1] == "="
        arguments = members.get("arguments", "")
        if names and (arguments == "{" or arguments.lstrip("= ")[:1] == "{"):
            return "a tool call as JSON (name and arguments)"
        kind = members.get("type", "")[1:]
        if names and members.get("input") == "{" and (kind in _RESULT_TYPES or not _TEST_KEYS & members.keys()):
            return "a tool call as JSON (name and input)"
        if names and members.get("args") == "{" and self.key in ("functioncall", "function_call"):
            return "a tool call as JSON (functionCall)"
        if kind in _RESULT_TYPES and _RESULT_KEYS & members.keys():
            return "a tool call's result as JSON"
        if members.get("method", "")[1:] == "tools/call" and members.get("params") == "{":
            return "a tool call as JSON-RPC"
        return ""


def _find_function_call(text: str) -> _Hit | None:
    lowered = text.lower()
    if "{" not in text or not any(key in lowered for key in ("arguments", "input", "args", "tool", "call_id")):
        return None
    if '"' not in text and "'" not in text:
        return None
    found = _scan_json(lowered)
    if found is None and ('\\"' in text or "\\'" in text):
        # The whole call may stand inside a string; a blank for each backslash keeps the places.
        found = _scan_json(_BARE_ESCAPED_QUOTE.sub(lambda quote: " " * (len(quote[0]) - 1) + quote[1], lowered))
    return found


def _scan_json(text: str) -> _Hit | None:
    """Objects of JSON, and of what is nearly JSON, anywhere in the text. One pass; brackets need not match."""
    open_objects: list[_Object] = []
    last = ""  # the last string, should a colon make it a key
    for token in _JSON_TOKEN.finditer(text):
        sign = token["sign"]
        inner = open_objects[-1] if open_objects else None
        if sign is None:
            string = token["double"] if token["double"] is not None else token["single"]
            if string is None:
                continue
            string = string.strip()
            if inner is not None and inner.pending:
                inner.members[inner.pending], inner.pending = "=" + string, ""
            else:
                last = string
        elif sign == "{" or sign == "[":
            key = ""
            if inner is not None and inner.pending:
                key = inner.pending
                inner.members[key], inner.pending = sign, ""
            open_objects.append(_Object(token.start(), key if sign == "{" else "["))
        elif inner is not None:
            if sign == ":":
                inner.pending, last = last or inner.pending, ""
                inner.members.setdefault(inner.pending, "")
            elif sign == ",":
                inner.pending, last = "", ""
            else:
                reason = inner.is_call()
                if reason:
                    return _Hit(inner.start, reason)
                open_objects.pop()
    for left in open_objects:  # a call that was cut off is one too
        reason = left.is_call()
        if reason:
            return _Hit(left.start, reason)
    return None


# -- base64 -------------------------------------------------------------------------------------------

BLOB = 100  # signs: a digest is shorter (SHA-512 is 88), and so is a public key of today (68)
_STEP = 20
_BASE64_REASON = "100 signs of base64; put it into a file and say where it is"


def _class_of(code: int) -> int:
    sign = chr(code)
    if sign.isascii():
        if sign.isupper():
            return ord("U")
        if sign.islower():
            return ord("l")
        if sign.isdigit():
            return ord("d")
        if sign in "+/_-=":
            return ord("s")
        if sign.isspace():
            return ord(" ")
    return ord(".")


_CLASSES = bytes(_class_of(code) for code in range(256))
_CHANGES = (b"Ul", b"lU", b"Ud", b"dU", b"ld", b"dl")


def _find_base64(text: str) -> _Hit | None:
    if len(text) < BLOB:
        return None
    classes = text.encode("latin-1", "replace").translate(_CLASSES)
    if classes.count(b"U") < BLOB // 5:
        return None
    reached = 0  # signs that are not blanks, before this run
    for run in classes.translate(None, b" ").split(b"."):
        if len(run) >= BLOB and run.count(b"U") >= BLOB // 5 and run.count(b"d") >= 3:
            for start in range(0, len(run) - BLOB + _STEP, _STEP):
                start = min(start, len(run) - BLOB)
                if _is_blob(run[start : start + BLOB]):
                    first = reached + start
                    return _Hit(_nth(classes, first), _BASE64_REASON)
        reached += len(run) + 1
    return None


def _is_blob(window: bytes) -> bool:
    """Whether capitals, small letters and digits are mixed as chance mixes them; names, paths and digests are not."""
    capitals, small, digits = window.count(b"U"), window.count(b"l"), window.count(b"d")
    if not (BLOB * 0.18 <= capitals <= BLOB * 0.75 and BLOB * 0.15 <= small and 3 <= digits <= BLOB * 0.4):
        return False
    return sum(map(window.count, _CHANGES)) >= BLOB * 0.42  # chance: 0.6; camelCase: 0.33 at most


def _nth(classes: bytes, number: int) -> int:
    """Where the sign stands that is the `number`th (from 0) of those that are not blanks."""
    for place, kind in enumerate(classes):
        if kind != 32:
            if not number:
                return place
            number -= 1
    return len(classes) - 1


# -- data URIs ----------------------------------------------------------------------------------------

_DATA_URI = re.compile(
    r"data:(?<!\wdata:)(?:[a-z0-9.+-]++/[a-z0-9.+*-]++(?:;[\w=.\"-]++)*+|(?:;[\w=.\"-]++)++),\s?(?![$%{]?[{s.]|\.\.\.)[^\s\"'`)]{3}"
)


def _find_data_uri(text: str) -> _Hit | None:
    found = _DATA_URI.search(text.lower())
    return _Hit(found.start(), "a data: URI; put the data into a file and say where it is") if found else None


# -- paths --------------------------------------------------------------------------------------------

# Each begins with the sign that `re` can look for fast, and looks back from there.
_PART = r"[^\s/\\\"'`<>|:*?()\[\]{},;]"
_POSIX_PATH = re.compile(r"/(?<![\w.~:/\\%@}*-]/)" + _PART + r"++(?:/" + _PART + r"++){4,}+/?+")
_DRIVE_PATH = re.compile(r":(?!//)(?<=[A-Za-z]:)(?<!\w[A-Za-z]:)[\\/]++(?:" + _PART + r"++[\\/]++){4,}+" + _PART + "*+")
# A share, as it is and as a string of JSON or code has it.
_SHARE_PATH = re.compile(
    r"\\\\(?<![\w:\\]\\\\)(?:(?:" + _PART + r"{2,}+\\(?!\\)){4,}+|\\\\(?:" + _PART + r"{2,}+\\\\(?!\\)){4,}+)" + _PART + "*+"
)
_SOURCE_PLACE = re.compile(r":\d|\(\d|[\"']?,? (?:on )?line \d")
_PATCH_LINE = re.compile(r"[ >|]*+(?:diff |--- |\+\+\+ |rename |copy |Index: |\*\*\* )")
# Where a file system keeps people's files. Other absolute paths are routes of a service far more often.
_TOPS = frozenset(
    "home users root mnt media srv data volumes export net nfs private var storage vol archive backup backups secure"
    " workspace workspaces work projects".split()
)
_SYSTEM = (
    "/var/lib/", "/var/log/", "/var/cache/", "/var/folders/", "/var/run/", "/var/tmp/", "/var/www/", "/private/var/",
    "/private/tmp/", "/private/etc/",
)  # fmt: skip
_PACKAGES = frozenset(
    "site-packages dist-packages node_modules .cargo .rustup .venv venv .pyenv .nvm .npm .pnpm-store .cache .local .config .m2 .gradle"
    " pkg vendor .conda miniconda3 anaconda3 .rbenv .asdf .sdkman .nuget .gem gems .deno .bun appdata library target build dist"
    " .git .claude .c2-lattice".split()
)
_WINDOWS_SYSTEM = ("windows", "program files", "program", "programdata", "program files (x86)")
_FOLDERS = 3
_PATH_REASON = "an absolute path of more than three folders, outside the workspaces; name it from the workspace's top"


def _find_path(text: str, roots: Sequence[str]) -> _Hit | None:
    inside = tuple(_slashed(root).rstrip("/") + "/" for root in roots if root.strip("/\\"))
    for start, end in _paths(text):
        if not _is_usual(text, start, end, inside):
            return _Hit(start, _PATH_REASON)
    return None


def _paths(text: str) -> Iterator[tuple[int, int]]:
    if text.count("/") >= _FOLDERS + 2:
        for found in _POSIX_PATH.finditer(text):
            yield found.span()
    if text.count("/") + text.count("\\") > _FOLDERS and (":\\" in text or ":/" in text):
        for found in _DRIVE_PATH.finditer(text):
            yield found.start() - 1, found.end()
    if "\\\\" in text:
        for found in _SHARE_PATH.finditer(text):
            yield found.span()


def _is_usual(text: str, start: int, end: int, inside: tuple[str, ...]) -> bool:
    path = _slashed(text[start:end])
    if path.startswith(inside) or (path + "/").startswith(inside):
        return True
    parts = [part for part in path.lower().split("/") if part]
    drive = parts.pop(0) if parts and parts[0].endswith(":") else ""
    if not parts or not (drive or path.startswith("//") or parts[0] in _TOPS) or (drive and parts[0] in _WINDOWS_SYSTEM):
        return True
    if path.lower().startswith(_SYSTEM) or not _PACKAGES.isdisjoint(parts):
        return True
    below_home = 2 if parts[0] in ("home", "users") else 1 if parts[0] == "root" else 0
    if len(parts) - 1 - below_home <= _FOLDERS:
        return True
    if _SOURCE_PLACE.match(text, end):
        return True  # a compiler or a traceback says where
    line = text.rfind("\n", 0, start) + 1
    return bool(_PATCH_LINE.match(text, line, start))


def _slashed(path: str) -> str:
    """With single slashes and without `..`; a share of a Windows server keeps its two."""
    is_share = path.startswith("\\\\")
    plain = posixpath.normpath(re.sub(r"[\\/]+", "/", path))
    if is_share:
        return "/" + plain
    return plain[:1].lower() + plain[1:] if plain[1:2] == ":" else plain


_FINDERS: dict[str, Callable[[str], _Hit | None]] = {
    "markup": _find_markup,
    "function_call": _find_function_call,
    "base64": _find_base64,
    "data_uri": _find_data_uri,
}
