"""A walk through a shell line: each command with its words put in, where it would run, and what it would write.

Nothing is run. A value that only the running shell knows stays unread; a word that has it where a path is needed makes the
whole line `unknown`. Loops over lists that can be read are walked once for each value, functions when they are called; steps,
depth and the number of fields have bounds, and what is beyond them is unknown.

A field is a text with the marks of `shell_syntax`. What a command prints is a list of fields, when they can be told: names in
the words of a command, globs for what `find` or `git ls-files` would name.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections import namedtuple

from lattice.hooks import shell_syntax
from lattice.hooks.shell_syntax import (
    ANY,
    BACKGROUND,
    CLASS,
    CLOSE,
    COMMA,
    ONE,
    OPEN,
    PERHAPS,
    REFERENCE,
    TILDE,
    UNREAD,
    UNREAD_QUOTED,
    plain,
)  # fmt: skip

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from lattice.hooks.shell_syntax import Items, Node, Word

    Fields = list[str]
    Program = Callable[["Walk", str, Fields, "Place"], Fields | None]

Write = namedtuple("Write", "kind path how")  # kind: file, dir (it and all below), glob (what is there of it); see lattice/reach.py

MAX_WRITES = 256
_MAX_STEPS = 4000
_MAX_DEPTH = 40
_MAX_FIELDS = 2000
_MAX_TURNS = 64  # of a loop that is walked value by value
_MAX_NAMES = 64  # variables and functions that are remembered
_MAX_PATH = 1024  # as names.MAX_PATH
_MAX_SEGMENTS = 100

_REFERENCES = re.compile("([\ue000-\uf8ff])")
_NO_SLASH = frozenset("?#$!")  # parameters that are numbers
_NUMBERS = frozenset(("RANDOM", "SECONDS", "EPOCHSECONDS", "EPOCHREALTIME", "LINENO", "UID", "EUID", "PPID", "BASHPID", "HOSTNAME", "USER"))
# Where a program with a path in front of its name is the one of that name.
_SYSTEM = ("/bin/", "/sbin/", "/usr/", "/opt/", "/nix/")
_INSTALLED = (".bin/", "venv/bin/", "env/bin/", "vendor/bin/")
# Not what anybody locks, even when the rest of the path cannot be read.
_SCRATCH = ("/tmp/", "/var/tmp/", "/dev/", "/proc/")


class Place:
    """Where a command runs: directory (None: cannot be told), variables, functions, and what it is fed."""

    __slots__ = ("cwd", "before", "stack", "home", "variables", "functions", "parameters", "fed", "text", "settings", "leaving", "depth")

    def __init__(self, cwd: str | None, home: str) -> None:
        self.cwd = cwd
        self.before: str | None = None
        self.stack: list[str | None] = []
        self.home = home
        self.variables: dict[str, Fields | None] = {}
        self.functions: dict[str, Node] = {}
        self.parameters: Fields | None = None
        self.fed: Fields | None = None  # the lines on its standard input, when they can be told
        self.text: str | None = None  # the document on its standard input
        self.settings: dict[str, Fields | None] = {}  # NAME=value in front of the command
        self.leaving = ""  # what runs when this shell ends: `trap … EXIT`
        self.depth = 0

    def fork(self) -> Place:
        """The place of a subshell: what changes there does not change here."""
        other = Place(self.cwd, self.home)
        other.before, other.stack = self.before, list(self.stack)
        other.variables, other.functions = dict(self.variables), dict(self.functions)
        other.parameters, other.fed, other.text, other.depth = self.parameters, self.fed, self.text, self.depth
        return other


class Walk:
    """One command line. `writes`, `tree`, `unknown` and `reads_only` are what was found."""

    def __init__(self, programs: Mapping[str, Program], there: Callable[[str], bool], volume: int) -> None:
        """`volume` bounds the work: signs that are parsed or put into words, in all."""
        self.programs = programs
        self.there = there
        self.writes: dict[Write, None] = {}
        self.tree: dict[Write, None] = {}
        self.unknown = False
        self.reads_only = True
        self._steps = 0
        self._volume = volume

    # what is found

    def script(self, text: str, place: Place) -> Fields | None:
        """Walk through a text of shell: the line, or the argument of `sh -c`."""
        if not self._spend(len(text)):
            return None
        parser = shell_syntax.Parser(text, place.depth)
        try:
            parser.parse()
        except shell_syntax.Unreadable:
            parser.damaged = True
        if parser.damaged:
            self.cannot_tell()
        printed = self.items(parser.found, place)
        self._leave(place)
        return printed

    def _leave(self, place: Place) -> None:
        text, place.leaving = place.leaving, ""
        if text:
            self.script(text, place)

    def cannot_tell(self) -> None:
        """A part that may write cannot be read."""
        self.unknown = True
        self.reads_only = False

    def _spend(self, volume: int) -> bool:
        self._volume -= volume
        if self._volume < 0:
            self.cannot_tell()
        return self._volume >= 0

    def acts(self) -> None:
        """A part does something, but to no file's content."""
        self.reads_only = False

    def write(self, field: str, how: str, place: Place, reach: str = "file") -> None:
        """The file that a field names would be written. `reach`: file; dir, all below it as well; some, what is there below it."""
        if len(self.writes) >= MAX_WRITES:
            self.cannot_tell()
            return
        found = self.path(field, place)
        if found is None:
            if not field.startswith(_SCRATCH) or (place.cwd or "/tmp/").startswith(_SCRATCH):
                self.cannot_tell()
            else:
                self.acts()
            return
        kind, path, literal = found
        if path.startswith(("/dev/", "/proc/")):
            return
        self.reads_only = False
        if kind == "glob":
            self.writes[Write("glob", path, how)] = None
            if reach != "file":
                self.writes[Write("glob", path + "/**", how)] = None
            if literal:  # `[id].tsx` means that file where nothing else fits
                self.writes[Write("file", literal, how)] = None
        elif reach == "some":
            self.writes[Write("file", path, how)] = None
            self.writes[Write("glob", below(path), how)] = None
        else:
            self.writes[Write(reach, path, how)] = None

    def may_write(self, field: str, how: str, place: Place) -> None:
        """The file that a field names could be written: a glob that fits only it."""
        found = self.path(field, place)
        if found is None:
            self.cannot_tell()
            return
        self.reads_only = False
        self.writes[Write("glob", found[1] if found[0] == "glob" else _escaped(found[1]), how)] = None

    def write_tree(self, root: str | None, how: str) -> None:
        """Anything in a work tree could be written."""
        self.reads_only = False
        if root is None:
            self.unknown = True
        else:
            self.tree[Write("dir", root, how)] = None

    def path(self, field: str, place: Place) -> tuple[str, str, str] | None:
        """(kind, absolute path, the same letter by letter when it has a class) of a field; None when it cannot be told."""
        if not field or len(field) > _MAX_PATH or UNREAD in field or UNREAD_QUOTED in field:
            return None
        if field[0] == TILDE:
            if not place.home or (len(field) > 1 and field[1] != "/"):
                return None
            field = place.home + field[1:]
        field = _absolute(field.replace(TILDE, "~"))
        if field[0] != "/" and not (os.name == "nt" and field[1:2] == ":"):
            if place.cwd is None:
                return None
            field = f"{place.cwd}/{field}"
        field = normal(field)
        if len(field) > _MAX_PATH or field.count("/") > _MAX_SEGMENTS:
            return None
        if is_many(field):
            text = _pattern(field)
            if text is not None:
                return "glob", text, plain(field) if CLASS in field else ""
        return "file", plain(field), ""

    def root(self, directory: str | None) -> str | None:
        """The work tree that a directory lies in: the nearest one above with `.git`, else itself."""
        at = directory
        while at:
            if self.there(at.rstrip("/") + "/.git"):
                return at
            above = posixpath.dirname(at)
            if above == at:
                break
            at = above
        return directory

    def enter(self, field: str, place: Place) -> None:
        """The place moves to the directory that a field names; to nowhere when that cannot be told."""
        found = self.path(field, place)
        place.cwd = found[1] if found and found[0] == "file" else None

    def beware(self, arguments: Fields) -> None:
        """A variable without quotes could be an option that makes a reader write."""
        if any(argument.startswith(UNREAD) for argument in arguments):
            self.cannot_tell()

    # nodes

    def items(self, items: Items, place: Place) -> Fields | None:
        """Walk through a list; what it prints, when that can be told."""
        place.depth += 1
        printed: Fields | None = []
        if place.depth > _MAX_DEPTH:
            self.cannot_tell()
            printed = None
        else:
            for node, flags in items:
                if flags & BACKGROUND:
                    inner = place.fork()
                    more = self.node(node, inner)
                    self._leave(inner)
                elif flags & PERHAPS:
                    self._one_of([[(node, 0)]], place)
                    more = None
                else:
                    more = self.node(node, place)
                printed = printed + more if printed is not None and more is not None and len(printed) < _MAX_FIELDS else None
        place.depth -= 1
        return printed

    def node(self, node: Node, place: Place) -> Fields | None:
        """Walk through a node; what it prints, when that can be told."""
        self._steps += 1
        if self._steps > _MAX_STEPS:
            self.cannot_tell()
            return None
        result: Fields | None = self._NODES[node[0]](self, node, place)
        return result

    def _apart(self, items: Items, place: Place) -> Fields | None:
        """Items in a shell of their own."""
        printed = self.items(items, place)
        self._leave(place)
        return printed

    def _pipe(self, node: Node, place: Place) -> Fields | None:
        printed, first = None, True
        for part in node[1]:
            inner = place.fork()
            if not first:
                inner.fed, inner.text = printed, None
            printed, first = self.node(part, inner), False
            self._leave(inner)
        return printed

    def _sub(self, node: Node, place: Place) -> Fields | None:
        inner = place.fork()
        self._redirect(node[2], inner)
        return self._apart(node[1], inner)

    def _group(self, node: Node, place: Place) -> Fields | None:
        fed = place.fed, place.text
        self._redirect(node[2], place)
        printed = self.items(node[1], place)
        place.fed, place.text = fed
        return printed

    def _if(self, node: Node, place: Place) -> Fields | None:
        self._redirect(node[2], place)
        self.items(node[1][0], place)
        self._one_of(node[1][1:], place)
        return None

    def _one_of(self, lists: Sequence[Items], place: Place) -> bool:
        """Walk through lists of which at most one runs. What they leave different is not known afterwards. False when nothing is."""
        cwd, parameters, variables = place.cwd, place.parameters, place.variables
        moved, shifted = False, False
        changed: dict[str, Fields | None] = {}
        for items in lists:
            place.variables = dict(variables)
            self.items(items, place)
            moved = moved or place.cwd != cwd
            shifted = shifted or place.parameters != parameters
            if place.variables != variables:
                changed.update({name: None for name, value in place.variables.items() if variables.get(name, 0) != value})
            place.cwd, place.parameters = cwd, parameters
        place.variables = variables
        variables.update(changed)
        if moved:
            place.cwd = None
        if shifted:
            place.parameters = None
        return bool(moved or shifted or changed)

    def _loop(self, node: Node, place: Place) -> Fields | None:
        fed = place.fed, place.text
        self._redirect(node[3], place)
        names = _read_into(node[1])
        lines = _lines(place) if names else None
        if len(names) == 1 and lines is not None and len(lines) <= _MAX_TURNS:
            place.fed = place.text = None
            self._turns(names[0], lines, node[2], place)
        else:
            self.items(node[1], place)
            for name in names:
                self._set(place, name, None)
            self._turns("", [""], node[2], place)
        place.fed, place.text = fed
        return None

    def _turns(self, name: str, values: Fields, body: Items, place: Place) -> None:
        """The turns of a loop. A value that stands for many, or none at all, may be more than one turn."""
        for value in values:
            if name:
                self._set(place, name, [value])
            if self._one_of([body], place) and (len(values) > 1 or not name or is_many(value) or UNREAD_QUOTED in value):
                if name:
                    self._set(place, name, [value])
                self._one_of([body], place)

    def _for(self, node: Node, place: Place) -> Fields | None:
        self._redirect(node[4], place)
        values = place.parameters if node[2] is None else self.fields(node[2], place)
        if values is None or len(values) > _MAX_TURNS or UNREAD in values:
            values = [UNREAD_QUOTED]
        self._turns(node[1], values, node[3], place)
        return None

    def _case(self, node: Node, place: Place) -> Fields | None:
        self._redirect(node[3], place)
        self.expand(node[1], place)
        self._one_of(node[2], place)
        return None

    def _function(self, node: Node, place: Place) -> Fields | None:
        if len(place.functions) < _MAX_NAMES:
            place.functions[node[1]] = node[2]
        else:
            self.cannot_tell()
        return []

    def _test(self, node: Node, place: Place) -> Fields | None:
        self._redirect(node[2], place)
        self.fields(node[1], place)
        return []

    def _simple(self, node: Node, place: Place) -> Fields | None:
        _, assignments, words, redirections = node
        if not self._spend(4 * len(words)):
            return None
        fields = self.fields(words, place)
        values = [(name, self._assigned(value, place)) for name, value in assignments]
        keeps = not fields or fields[0] in ("export", "local", "declare", "typeset", "readonly")
        if keeps:
            for name, value in values:
                self._set(place, name, value)
        fed = place.fed, place.text
        silent = self._redirect(redirections, place)
        printed: Fields | None = []
        if fields:
            place.settings = {} if keeps else dict(values)
            printed = self.run(fields, place)
            place.settings = {}
        elif words:  # the name of the command is a variable that may be anything
            self.cannot_tell()
        place.fed, place.text = fed
        return [] if silent else printed

    _NODES = {
        "pipe": _pipe, "sub": _sub, "group": _group, "if": _if, "loop": _loop, "for": _for, "case": _case, "function": _function,
        "test": _test, "simple": _simple,
    }  # fmt: skip

    def run(self, fields: Fields, place: Place) -> Fields | None:
        """One command with its words put in; what it prints, when that can be told."""
        name = plain(fields[0])
        function = place.functions.get(name)
        place.depth += 1
        try:
            if place.depth > _MAX_DEPTH or UNREAD in fields[0] or UNREAD_QUOTED in fields[0]:
                self.cannot_tell()
                return None
            if function is not None:
                outer, place.parameters = place.parameters, fields[1:]
                printed = self.node(function, place)
                place.parameters = outer
                return printed
            if "/" in name:
                if not (name.startswith(_SYSTEM) or any(folder in name for folder in _INSTALLED)):
                    self.cannot_tell()  # a script of the project's own
                    return None
                name = name.rpartition("/")[2]
            if name not in self.programs:
                name = name.lower().removesuffix(".exe")
            program = self.programs.get(name)
            if program is None:
                if fields[1:] not in (["--version"], ["--help"]):
                    self.cannot_tell()
                return None
            return program(self, name, fields[1:], place)
        finally:
            place.depth -= 1

    def _redirect(self, redirections: Sequence[Any], place: Place) -> bool:
        """Put redirections to work. True when what is printed goes to a file."""
        silent = False
        for sign, word in redirections:
            if sign in ("<<", "<<<"):
                place.text, place.fed = " ".join(self.expand(word, place)), None
                continue
            if sign == "<":
                place.text, place.fed = None, self._process(word, place)
                continue
            fields = self.expand(word, place)
            target = fields[0] if len(fields) == 1 else UNREAD
            if sign == "<&" or (sign == ">&" and (target == "-" or target.rstrip("-").isdigit())):
                continue
            silent = True
            self.write(target, ">" if sign == "&>" or sign == ">&" else sign, place)
        return silent

    def _process(self, word: Word, place: Place) -> Fields | None:
        """What `<(…)` prints; for other words None."""
        if not isinstance(word, str) and len(word[1]) == 1 and word[1][0][0] == "process":
            return self._apart(word[1][0][1], place.fork())
        self.expand(word, place)
        return None

    # words

    def fields(self, words: Sequence[Word], place: Place) -> Fields:
        """The fields of words."""
        found: Fields = []
        for word in words:
            found += self.expand(word, place)
            if len(found) > _MAX_FIELDS:
                self.cannot_tell()
                break
        return found

    def expand(self, word: Word, place: Place) -> Fields:
        """The fields of one word."""
        if isinstance(word, str):
            return [_unmarked(text) for text in _braces(word)] if OPEN in word else [_unmarked(word)]
        template, references = word
        values = [self._value(reference, place) for reference in references]
        found: Fields = []
        for text in _braces(template) if OPEN in template else (template,):
            current: Fields = []
            solid = False
            for piece in _REFERENCES.split(text):
                if not piece:
                    continue
                if not "\ue000" <= piece[0] <= "\uf8ff":
                    current.append(_unmarked(piece))
                    solid = True
                    continue
                pieces, quoted = values[ord(piece) - REFERENCE]
                solid = solid or quoted
                if not self._spend(sum(map(len, pieces))):
                    return [UNREAD]
                if pieces:
                    current.append(pieces[0])
                    for piece in pieces[1:]:
                        found.append("".join(current))
                        current, solid = [piece], True
            if solid or current:
                found.append("".join(current))
            if len(found) > _MAX_FIELDS:
                self.cannot_tell()
                break
        return found

    def _assigned(self, value: Any, place: Place) -> Fields | None:
        if isinstance(value, list):
            return self.fields(value, place)
        fields = self.expand(value, place)
        return fields if fields else [""]

    def _set(self, place: Place, name: str, value: Fields | None) -> None:
        if name in place.variables or len(place.variables) < _MAX_NAMES:
            place.variables[name] = value if value is None or sum(map(len, value)) <= 1024 else None

    def _value(self, reference: Any, place: Place) -> tuple[Fields, bool]:
        """(what is put in, whether it stands in quotes)"""
        kind = reference[0]
        if kind == "number":
            for inner in reference[1]:
                self._value(inner, place)
            return [ANY], True
        if kind == "process":
            self._apart(reference[1], place.fork())
            return ["/dev/fd/63"], True
        quoted: bool = reference[-1]
        whole = False
        if kind == "output":
            inner_place = place.fork()
            inner_place.fed = inner_place.text = None
            values = self._apart(reference[1], inner_place)
        elif kind == "variable":
            values = self._variable(reference[1], place)
            whole = reference[1] == "@"
        else:
            for inner in reference[2]:
                self._value(inner, place)
            values = self._parameter(reference[1], place)
            whole = reference[1].endswith("[@]")
        if values is None:
            return [UNREAD_QUOTED if quoted else UNREAD], True
        if not quoted:
            return [part for value in values for part in (value.split() if " " in value or "\n" in value else (value,))], False
        if len(values) <= 1 or whole:
            return values, True
        return [UNREAD_QUOTED], True

    def _variable(self, name: str, place: Place) -> Fields | None:
        if name in place.variables:
            return place.variables[name]
        if name in _NO_SLASH or name in _NUMBERS:
            return [ANY]
        if name == "HOME":
            return [place.home] if place.home else None
        if name == "PWD":
            return None if place.cwd is None else [place.cwd]
        if name == "OLDPWD":
            return None if place.before is None else [place.before]
        if name == "TMPDIR":
            return ["/tmp"]
        if name in ("@", "*"):
            return place.parameters
        if name.isdigit() and name != "0" and place.parameters is not None:
            if any(is_many(field) for field in place.parameters[: int(name)]) and len(place.parameters) > 1:
                return None  # which of them it is cannot be told
            at = 0 if len(place.parameters) == 1 and is_many(place.parameters[0]) else int(name) - 1
            return place.parameters[at : at + 1]
        return None

    def _parameter(self, text: str, place: Place) -> Fields | None:
        """`${…}`: a name, or a name with something cut off or put in its place."""
        match = _PARAMETER.match(text)
        if match is None:
            return [ANY] if text.startswith("#") and len(text) > 1 else None
        values = self._variable(match.group(1), place)
        sign, rest = match.group(2), text[match.end() :]
        if values is None or sign in ("", "[@]", "[*]"):
            return values if not rest else None
        if sign in (":-", "-", ":=", "="):
            return values if values != [""] else None
        if len(values) != 1 or any(mark in rest for mark in "$`*?[\\'\"") or ANY in values[0][-1:]:
            return None
        value = values[0]
        if sign in ("%", "%%"):
            return [value.removesuffix(rest)]
        if sign in ("#", "##"):
            return [value.removeprefix(rest)]
        old, slash, new = rest.partition("/")
        if not old or old.startswith(("#", "%")):
            return None
        return [value.replace(old, new) if sign == "//" else value.replace(old, new, 1)]


_PARAMETER = re.compile(r"([A-Za-z_]\w*|\d+|[@*])(\[[@*]\]|:?[-=]|%%?|##?|//?|)", re.ASCII)


def _read_into(condition: Items) -> list[str]:
    """The variables that `while read a b` fills; none for another condition."""
    node = condition[-1][0] if condition else ("",)
    if node[0] != "simple" or not node[2] or node[2][0] != "read":
        return []
    return [word for word in node[2][1:] if isinstance(word, str) and word.isidentifier()] or ["REPLY"]


def _lines(place: Place) -> list[str] | None:
    """The lines on standard input, when they can be told."""
    if place.text is not None:
        return [line.strip() for line in place.text.split("\n") if line.strip()]
    return place.fed


def words_fed(place: Place) -> list[str] | None:
    """The words on standard input, when they can be told."""
    return place.text.split() if place.text is not None else place.fed


def _braces(text: str) -> list[str]:
    """`{a,b}` and `{1..3}` put into words; one unread word when that would be too many."""
    if text.count(OPEN) > 12 or len(text) > 2000:
        return [text] if len(text) > 2000 and "," not in text else [UNREAD]
    begin = text.find(OPEN)
    if begin < 0:
        return [text]
    depth, commas, close = 0, [begin], -1
    for at in range(begin, len(text)):
        sign = text[at]
        if sign == OPEN:
            depth += 1
        elif sign == CLOSE:
            depth -= 1
            if not depth:
                close = at
                break
        elif sign == "," and depth == 1:
            commas.append(at)
    head = text[:begin]
    if close < 0:
        return [head + "{" + rest for rest in _braces(text[begin + 1 :])]
    choices = [text[a + 1 : b] for a, b in zip(commas, [*commas[1:], close], strict=True)]
    if len(choices) == 1:
        choices = _range(choices[0])
        if not choices:
            return [head + "{" + rest for rest in _braces(text[begin + 1 :])]
    tails = _braces(text[close + 1 :])
    heads = [part for choice in choices for part in _braces(choice)]
    if len(heads) * len(tails) > 256:
        return [UNREAD]
    return [head + part + tail for part in heads for tail in tails]


def _range(text: str) -> list[str]:
    """The words of `1..3` or `a..c`; none when it is neither."""
    first, dots, last = text.partition("..")
    if not dots:
        return []
    if first.isascii() and last.isascii() and first.isdigit() and last.isdigit() and len(first) < 6 and len(last) < 6:
        low, high = sorted((int(first), int(last)))
        width = max(len(first), len(last)) if "0" in (first[0], last[0]) and max(len(first), len(last)) > 1 else 0
        return [str(n).zfill(width) for n in range(low, high + 1)] if high - low < 100 else [ANY]
    if len(first) == len(last) == 1 and first.isalpha() and last.isalpha():
        low, high = sorted((ord(first), ord(last)))
        return [chr(n) for n in range(low, high + 1)] if high - low < 60 else [ANY]
    return []


def _unmarked(text: str) -> str:
    if COMMA in text:
        text = text.replace(COMMA, ",")
    if OPEN in text or CLOSE in text:
        text = text.replace(OPEN, "{").replace(CLOSE, "}")
    return text


def normal(path: str) -> str:
    """The path without `.`, `..`, doubled and trailing slashes."""
    path = posixpath.normpath(path)
    return path[1:] if path.startswith("//") else path


def _absolute(path: str) -> str:
    """On Windows, `\\` is `/` and `/c/x` is `c:/x`; elsewhere the path itself."""
    if os.name != "nt":
        return path
    path = path.replace("\\", "/")
    return f"{path[1]}:/{path[3:]}" if len(path) > 2 and path[0] == path[2] == "/" and path[1].isalpha() else path


def _pattern(field: str) -> str | None:
    """A normal path with marks as a glob of `reach`: what is a letter there stands in brackets. None when no mark is a sign."""
    if CLASS in field:  # a class that does not end in its segment is the letter
        segments = field.split("/")
        for index, segment in enumerate(segments):
            cut = segment.rfind(CLASS)
            while cut >= 0 and "]" not in segment[cut + 2 :]:
                segment = segment[:cut] + "[" + segment[cut + 1 :]
                cut = segment.rfind(CLASS)
            segments[index] = segment
        field = "/".join(segments)
        if not (ANY in field or ONE in field or CLASS in field):
            return None
    return _escaped(field).replace(CLASS + "^", "[!").replace(ANY, "*").replace(ONE, "?").replace(CLASS, "[")


def _escaped(path: str) -> str:
    if "[" in path or "*" in path or "?" in path:
        path = path.replace("[", "[[]").replace("*", "[*]").replace("?", "[?]")
    return path


def below(path: str) -> str:
    """The glob of what is there of a path and below it."""
    return _escaped(path.rstrip("/")) + "/**"


def active(text: str) -> str:
    """The text with its `*`, `?` and `[` as signs: for programs that match names themselves."""
    return text.replace("*", ANY).replace("?", ONE).replace("[", CLASS)


def is_many(field: str) -> bool:
    """May the field stand for several names?"""
    return ANY in field or ONE in field or CLASS in field


def base(field: str) -> str:
    """The last segment of a field; empty when it has none of its own (`.`, `..`)."""
    last = field.rstrip("/").rpartition("/")[2]
    return "" if last in (".", "..") else last


def options(arguments: Sequence[str], letters: str = "", words: Sequence[str] = ()) -> tuple[dict[str, str], Fields]:
    """({option: value}, operands) as GNU's getopt reads them. `letters` and `words` are the options that take a value."""
    found: dict[str, str] = {}
    operands: Fields = []
    at, end = 0, len(arguments)
    while at < end:
        argument = arguments[at]
        at += 1
        if argument == "--":
            operands += arguments[at:]
            break
        if argument.startswith("--"):
            name, has, value = argument.partition("=")
            if not has and name in words and at < end:
                value = arguments[at]
                at += 1
            found[name] = value
        elif len(argument) > 1 and argument[0] == "-":
            for index, letter in enumerate(argument[1:], 2):
                if letter in letters:
                    value = argument[index:]
                    if not value and at < end:
                        value = arguments[at]
                        at += 1
                    found["-" + letter] = value
                    break
                found["-" + letter] = ""
        else:
            operands.append(argument)
    return found, operands
