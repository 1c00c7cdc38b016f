"""The syntax of a shell line: bash as sessions write it (sh and zsh are near enough), told as a tree of plain tuples.

Nothing is run and nothing on disk is looked at. One pass, linear in the length of the text: nesting has a bound, and what is
scanned ahead is counted. What cannot be told raises `Unreadable`; the items in front of it are kept in `Parser.found`.

A word is a text, or (text, references) when something is put into it when it runs. In such a text a few control signs stand for
what was not quoted, so that `'*'` and `*` stay apart:

    UNREAD, UNREAD_QUOTED   a part that only the running shell knows
    ANY, ONE, CLASS         `*`, `?` and `[` that the shell would match with file names
    OPEN, COMMA, CLOSE      `{` and `}` that count, and a `,` that does not
    TILDE                   a `~` at the beginning of a word
    chr(REFERENCE + n)      the n-th reference of the word

Nodes:  ("simple", assignments, words, redirections)   ("pipe", nodes)
        ("sub" | "group", items, redirections)          ("if", lists of items, redirections)
        ("loop", condition, body, redirections)         ("for", name, words or None, body, redirections)
        ("case", word, bodies, redirections)            ("function", name, node)        ("test", words, redirections)
Items are pairs (node, BACKGROUND | PERHAPS): it ends with `&`, it comes after `||`.
A redirection is [sign, word]; for `<<` the word is the text of the document.
References:  ("variable", name, quoted)   ("parameter", text within the braces, references in it, quoted)
             ("output", items, quoted)   ("process", items)   ("number", references)
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    Node = tuple[Any, ...]
    Items = list[tuple[Node, int]]
    Word = str | tuple[str, tuple[Any, ...]]

UNREAD, UNREAD_QUOTED = "\x00", "\x01"
ANY, ONE, CLASS = "\x02", "\x03", "\x04"
OPEN, COMMA, CLOSE = "\x05", "\x06", "\x07"
TILDE = "\x08"
BACKGROUND, PERHAPS = 1, 2
REFERENCE = 0xE000  # the private use area: 6,400 signs

_MAX_DEPTH = 24
_MAX_REFERENCES = 1000

_FOREIGN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ue000-\uf8ff]")
_BLANK = re.compile(r"(?:[ \t\r]|\\\n)*(?:#[^\n]*)?")
_PLAIN = re.compile(r"""[^ \t\r\n\\'"$`|&;()<>*?\[{}~]+""")
_DOUBLE = re.compile(r'[^"\\$`}]+')
_NAME = re.compile(r"[A-Za-z_]\w*|[0-9@*#?$!-]", re.ASCII)
_RESERVED = re.compile(r"(?:[a-z]+|\{|\}|!|\[\[)(?=[ \t\r\n;|&()<>]|\Z)")
_ASSIGN = re.compile(r"([A-Za-z_]\w*)(?:\[[^\]\s]*\])?\+?=")
_REDIRECT = re.compile(r"(?:\d+|\{\w+\})?(<<<|<<-|<<|<>|<&|>>|>&|>\||<(?!\()|>(?!\()|&>>|&>)")

_DECLARE = frozenset(("export", "local", "declare", "typeset", "readonly"))
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "", "b": "", "e": "", "E": "", "f": "", "v": ""}


class Unreadable(Exception):
    """The text ends too early, nests too deeply, or is no shell."""


def cleaned(text: str) -> str:
    """The text without the signs that have a meaning of their own here."""
    return _FOREIGN.sub("\x7f", text).replace("\r\n", "\n")


class Parser:
    """One text. `parse` fills `found`; `damaged` says that a part inside of a document could not be told."""

    def __init__(self, text: str, depth: int = 0) -> None:
        self.text = text
        self.end = len(text)
        self.at = 0
        self.depth = depth
        self.found: Items = []
        self.damaged = False
        self._documents: list[tuple[str, bool, bool, list[Any]]] = []
        self._ahead = 2 * self.end + 1000  # signs that may be scanned ahead in all

    def parse(self) -> Items:
        """All of the text. Raises Unreadable; `found` then has what came first."""
        self._items((), self.found)
        if self.at < self.end:
            raise Unreadable("a closing sign without its opening")
        return self.found

    # lists and pipelines

    def _items(self, ends: Sequence[str], into: Items | None = None) -> Items:
        found: Items = [] if into is None else into
        self._deeper()
        flags = 0
        while True:
            self._gap()
            if self.at >= self.end:
                break
            sign = self.text[self.at]
            if sign == ")":
                break
            if sign == ";":
                if self.text.startswith((";;", ";&"), self.at):
                    break
                self.at += 1
                continue
            if ends and self._reserved() in ends:
                break
            node = self._pipeline()
            self._blank()
            follows = 0
            if self.at < self.end:
                sign = self.text[self.at]
                if self.text.startswith(("&&", "||"), self.at):
                    follows = PERHAPS if sign == "|" else 0
                    self.at += 2
                elif sign == "&":
                    flags |= BACKGROUND
                    self.at += 1
                elif sign == ";":
                    if not self.text.startswith((";;", ";&"), self.at):
                        self.at += 1
                elif sign not in "\n)":
                    raise Unreadable(f"{sign!r} after a command")
            found.append((node, flags))
            flags = follows
        self.depth -= 1
        return found

    def _pipeline(self) -> Node:
        nodes = [self._command()]
        while True:
            self._blank()
            if not self.text.startswith("|", self.at) or self.text.startswith("||", self.at):
                break
            self.at += 2 if self.text.startswith("|&", self.at) else 1
            self._gap()
            nodes.append(self._command())
        return nodes[0] if len(nodes) == 1 else ("pipe", nodes)

    def _command(self) -> Node:
        while True:
            self._blank()
            word = self._reserved()
            if word == "!" or word == "time":
                self.at += len(word)
                self._blank()
                if word == "time" and self.text.startswith("-p", self.at):
                    self.at += 2
                continue
            break
        if self.text.startswith("(", self.at):
            if self.text.startswith("((", self.at):
                within = self._arithmetic(self.at + 2)
                if within is not None:
                    return ("test", [("", within)], self._redirections())
            self.at += 1
            items = self._items(())
            self._expect(")")
            return ("sub", items, self._redirections())
        reader = self._COMPOUND.get(word)
        if reader is None:
            return self._simple()
        self.at += len(word)
        self._deeper()
        node: Node = reader(self)
        self.depth -= 1
        return node

    # compound commands; each begins behind its first word

    def _group(self) -> Node:
        items = self._items(("}",))
        self._take("}")
        return ("group", items, self._redirections())

    def _if(self) -> Node:
        lists = []
        while True:
            lists.append(self._items(("then",)))
            self._take("then")
            lists.append(self._items(("elif", "else", "fi")))
            word = self._reserved()
            self._take(word)
            if word == "else":
                lists.append(self._items(("fi",)))
                self._take("fi")
            if word != "elif":
                return ("if", lists, self._redirections())

    def _while(self) -> Node:
        condition = self._items(("do",))
        return ("loop", condition, self._body(), self._redirections())

    def _for(self) -> Node:
        self._blank()
        if self.text.startswith("((", self.at):
            within = self._arithmetic(self.at + 2)
            if within is None:
                raise Unreadable("for (( without its end")
            self._gap()
            if self.text.startswith(";", self.at):
                self.at += 1
            return ("loop", [(("test", [("", within)], []), 0)], self._body(), self._redirections())
        match = _NAME.match(self.text, self.at)
        if match is None:
            raise Unreadable("for without a name")
        self.at = match.end()
        self._gap()
        words: list[Word] | None = None
        if self._reserved() == "in":
            self.at += 2
            words = []
            self._blank()
            while self.at < self.end and self.text[self.at] not in "\n;":
                words.append(self._word())
                self._blank()
        self._gap()
        if self.text.startswith(";", self.at):
            self.at += 1
        return ("for", match.group(), words, self._body(), self._redirections())

    def _body(self) -> Items:
        self._gap()
        word = self._reserved()
        if word == "{":  # `for x in y; { …; }` is understood as well
            self.at += 1
            items = self._items(("}",))
            self._take("}")
            return items
        self._take("do")
        items = self._items(("done",))
        self._take("done")
        return items

    def _case(self) -> Node:
        self._blank()
        word = self._word()
        self._gap()
        self._take("in")
        bodies: list[Items] = []
        while True:
            self._gap()
            if self._reserved() == "esac":
                self.at += 4
                return ("case", word, bodies, self._redirections())
            if self.text.startswith("(", self.at):
                self.at += 1
            self._blank()
            self._word()
            self._blank()
            while self.text.startswith("|", self.at):
                self.at += 1
                self._blank()
                self._word()
                self._blank()
            self._expect(")")
            bodies.append(self._items(("esac",)))
            while self.at < self.end and self.text[self.at] in ";&":
                self.at += 1

    def _function(self) -> Node:
        self._blank()
        match = _PLAIN.match(self.text, self.at)
        if match is None:
            raise Unreadable("function without a name")
        self.at = match.end()
        self._blank()
        if self.text.startswith("(", self.at):
            self.at += 1
            self._blank()
            self._expect(")")
        self._gap()
        return ("function", match.group(), self._command())

    def _test(self) -> Node:
        """`[[ … ]]`: in it `<`, `>`, `(` and `|` compare and group."""
        words: list[Word] = []
        while self.at < self.end:
            sign = self.text[self.at]
            if sign in " \t\r\n" or (sign in "<>()|&;" and not self.text.startswith(("<(", ">("), self.at)):
                self.at += 1
            elif self.text.startswith("]]", self.at):
                self.at += 2
                return ("test", words, self._redirections())
            else:
                words.append(self._word())
        raise Unreadable("[[ without ]]")

    _COMPOUND = {
        "{": _group, "if": _if, "while": _while, "until": _while, "for": _for, "select": _for, "case": _case,
        "function": _function, "[[": _test,
    }  # fmt: skip

    # simple commands

    def _simple(self) -> Node:
        text = self.text
        assignments: list[tuple[str, Any]] = []
        words: list[Word] = []
        redirections: list[list[Any]] = []
        declares = False
        while True:
            self._blank()
            if self.at >= self.end:
                break
            sign = text[self.at]
            if sign in "\n;|)":
                break
            if sign in "<>&{0123456789":
                match = _REDIRECT.match(text, self.at)
                if match:
                    redirections.append(self._redirection(match))
                    continue
                if sign == "&":
                    break
            if sign == "(":
                if len(words) != 1 or assignments or not isinstance(words[0], str):
                    raise Unreadable("( within a command")
                self.at += 1
                self._blank()
                self._expect(")")
                self._gap()
                return ("function", words[0], self._command())
            if not words or declares:
                match = _ASSIGN.match(text, self.at)
                if match:
                    self.at = match.end()
                    assignments.append((match.group(1), self._value()))
                    continue
            words.append(self._word())
            declares = declares or (len(words) == 1 and isinstance(words[0], str) and words[0] in _DECLARE)
        if not (assignments or words or redirections):
            raise Unreadable("no command")
        return ("simple", assignments, words, redirections)

    def _value(self) -> Any:
        if self.at >= self.end or self.text[self.at] in " \t\r\n;|&)":
            return ""
        if self.text[self.at] != "(":
            return self._word()
        self.at += 1
        values = []
        self._gap()
        while self.at < self.end and self.text[self.at] != ")":
            values.append(self._word())
            self._gap()
        self._expect(")")
        return values

    def _redirections(self) -> list[list[Any]]:
        found: list[list[Any]] = []
        while True:
            self._blank()
            match = _REDIRECT.match(self.text, self.at)
            if match is None:
                return found
            found.append(self._redirection(match))

    def _redirection(self, match: re.Match[str]) -> list[Any]:
        sign = match.group(1)
        self.at = match.end()
        self._blank()
        begin = self.at
        word = self._word()
        if sign not in ("<<", "<<-"):
            return [sign, word]
        written = self.text[begin : self.at]
        if not isinstance(word, str):  # `<<$x` ends at the letters `$x`
            word = written
        quoted = any(mark in written for mark in "'\"\\")
        redirection: list[Any] = ["<<", ""]
        self._documents.append((plain(word), sign == "<<-", quoted, redirection))
        return redirection

    def _newline(self) -> None:
        """The end of a line: the documents that were announced on it follow."""
        self.at += 1
        documents, self._documents = self._documents, []
        for ending, strips, quoted, redirection in documents:
            lines = []
            while self.at < self.end:
                stop = self.text.find("\n", self.at)
                stop = self.end if stop < 0 else stop
                line = self.text[self.at : stop]
                self.at = min(stop + 1, self.end)
                if strips:
                    line = line.lstrip("\t")
                if line == ending:
                    break
                lines.append(line)
            body = "\n".join(lines)
            if not quoted and ("$" in body or "`" in body):
                inner = Parser(body, self.depth + 1)
                try:
                    redirection[1] = inner.document()
                    continue
                except Unreadable:
                    self.damaged = True
            redirection[1] = body

    # words

    def document(self) -> Word:
        """All of the text as the inside of double quotes in which `"` is a letter."""
        out: list[str] = []
        references: list[Any] = []
        self._within(out, references, "")
        return _made(out, references)

    def _word(self) -> Word:
        text, begin = self.text, self.at
        out: list[str] = []
        references: list[Any] = []
        while self.at < self.end:
            match = _PLAIN.match(text, self.at)
            if match:
                out.append(match.group())
                self.at = match.end()
                if self.at >= self.end:
                    break
            sign = text[self.at]
            if sign in " \t\r\n;|&)":
                break
            if sign in "<>":
                if not text.startswith("(", self.at + 1) or self.at > begin:
                    break
                self.at += 2
                references.append(("process", self._nested(")")))
                out.append(chr(REFERENCE + len(references) - 1))
            elif sign == "(":
                if self.at == begin or text[self.at - 1] not in "?*+@!":
                    break
                self._pattern()
                out.append(ANY)
            elif sign == "'":
                stop = text.find("'", self.at + 1)
                if stop < 0:
                    raise Unreadable("a quote without its end")
                out.append(text[self.at + 1 : stop].replace(",", COMMA))
                self.at = stop + 1
            elif sign == '"':
                self.at += 1
                self._within(out, references, '"')
            elif sign == "\\":
                follows = text[self.at + 1 : self.at + 2]
                self.at += 2
                if follows != "\n":
                    out.append(COMMA if follows == "," else follows)
            elif sign == "$":
                self._dollar(out, references, False)
            elif sign == "`":
                self._backticks(out, references, False)
            else:
                out.append(TILDE if sign == "~" and self.at == begin else _SIGNS.get(sign, sign))
                self.at += 1
        if self.at == begin:
            raise Unreadable("a word was expected")
        self.at = min(self.at, self.end)
        return _made(out, references)

    def _within(self, out: list[str], references: list[Any], closing: str) -> None:
        """The inside of double quotes, of `${…}` (closing `}`), or of a document (closing nothing)."""
        text = self.text
        while self.at < self.end:
            match = _DOUBLE.match(text, self.at)
            if match:
                out.append(match.group().replace(",", COMMA))
                self.at = match.end()
                continue
            sign = text[self.at]
            if sign == closing:
                self.at += 1
                return
            if sign == "$":
                self._dollar(out, references, True)
            elif sign == "`":
                self._backticks(out, references, True)
            elif sign == "\\":
                follows = text[self.at + 1 : self.at + 2]
                self.at = min(self.at + 2, self.end)
                if follows != "\n":
                    out.append(follows if follows in '$`"\\' else "\\" + follows)
            elif sign == '"' and closing == "}":
                self.at += 1
                self._deeper()
                self._within(out, references, '"')
                self.depth -= 1
            else:
                out.append(sign)
                self.at += 1
        if closing:
            raise Unreadable(f"no closing {closing}")

    def _dollar(self, out: list[str], references: list[Any], quoted: bool) -> None:
        text = self.text
        follows = text[self.at + 1 : self.at + 2]
        reference: Any = None
        if follows == "(":
            if text.startswith("((", self.at + 1):
                within = self._arithmetic(self.at + 3)
                if within is not None:
                    reference = ("number", within)
            if reference is None:
                self.at += 2
                reference = ("output", self._nested(")"), quoted)
        elif follows == "{":
            self.at += 2
            begin = self.at
            inner: list[Any] = []
            self._deeper()
            self._within([], inner, "}")
            self.depth -= 1
            reference = ("parameter", text[begin : self.at - 1], tuple(inner), quoted)
        elif follows == "'" and not quoted:
            self.at += 2
            out.append(self._escaped().replace(",", COMMA))
            return
        elif follows == '"' and not quoted:
            self.at += 2
            self._within(out, references, '"')
            return
        else:
            match = _NAME.match(text, self.at + 1)
            if match is None:
                out.append("$")
                self.at += 1
                return
            self.at = match.end()
            reference = ("variable", match.group(), quoted)
        references.append(reference)
        if len(references) > _MAX_REFERENCES:
            raise Unreadable("too many references in a word")
        out.append(chr(REFERENCE + len(references) - 1))

    def _backticks(self, out: list[str], references: list[Any], quoted: bool) -> None:
        text = self.text
        begin = self.at + 1
        at = begin
        while True:
            stop = text.find("`", at)
            if stop < 0:
                raise Unreadable("a backtick without its end")
            slash = text.find("\\", at, stop)
            if slash < 0:
                break
            at = slash + 2
        inner = text[begin:stop].replace("\\`", "`").replace("\\$", "$").replace("\\\\", "\\")
        self.at = stop + 1
        references.append(("output", Parser(inner, self.depth + 1).parse(), quoted))
        out.append(chr(REFERENCE + len(references) - 1))
        if len(references) > _MAX_REFERENCES:
            raise Unreadable("too many references in a word")

    def _nested(self, closing: str) -> Items:
        """The commands of `$(…)` or `<(…)`; documents that they announce are theirs."""
        outer, self._documents = self._documents, []
        items = self._items(())
        self._expect(closing)
        self._documents = outer + self._documents
        return items

    def _arithmetic(self, begin: int) -> tuple[Any, ...] | None:
        """The references in `((…))`, which begins in front of `begin`; None when it is no arithmetic."""
        text, open_, at = self.text, 2, begin
        while True:
            close = text.find(")", at)
            if close < 0:
                self._ahead -= self.end - at
                if self._ahead < 0:
                    raise Unreadable("too much to look ahead")
                return None
            open_ += text.count("(", at, close) - 1
            self._ahead -= close - at + 1
            if self._ahead < 0:
                raise Unreadable("too much to look ahead")
            at = close + 1
            if open_ == 1:
                if not text.startswith(")", at):
                    return None
                break
            if open_ < 1:
                return None
        self.at = at + 1
        within = text[begin:close]
        if "$(" not in within and "`" not in within:
            return ()
        word = Parser(within, self.depth + 1).document()
        return () if isinstance(word, str) else word[1]

    def _pattern(self) -> None:
        """A group of an extended glob, `@(a|b)`: passed over."""
        open_ = 0
        for at in range(self.at, min(self.end, self.at + 300)):
            sign = self.text[at]
            open_ += (sign == "(") - (sign == ")")
            if not open_:
                self.at = at + 1
                return
        raise Unreadable("( within a word")

    def _escaped(self) -> str:
        """The inside of `$'…'`."""
        out: list[str] = []
        while self.at < self.end:
            sign = self.text[self.at]
            self.at += 1
            if sign == "'":
                return cleaned("".join(out))
            if sign != "\\":
                out.append(sign)
                continue
            sign = self.text[self.at : self.at + 1]
            self.at += 1
            width, digits = {"x": (2, 16), "u": (4, 16), "U": (8, 16)}.get(sign, (3, 8) if sign and sign in "01234567" else (0, 0))
            if not width:
                out.append(_ESCAPES.get(sign, sign))
                continue
            begin = self.at - (digits == 8)
            stop = begin
            while stop < self.end and stop < begin + width and self.text[stop] in "0123456789abcdefABCDEF"[: 8 if digits == 8 else 22]:
                stop += 1
            if stop > begin:
                code = int(self.text[begin:stop], digits)
                out.append(chr(code) if code < 0xD800 or 0xDFFF < code < 0x110000 else "\x7f")
            self.at = stop
        raise Unreadable("a quote without its end")

    # small steps

    def _blank(self) -> None:
        match = _BLANK.match(self.text, self.at)
        assert match is not None  # it matches nothing, too
        self.at = match.end()

    def _gap(self) -> None:
        self._blank()
        while self.at < self.end and self.text[self.at] == "\n":
            self._newline()
            self._blank()

    def _reserved(self) -> str:
        match = _RESERVED.match(self.text, self.at)
        return match.group() if match else ""

    def _take(self, word: str) -> None:
        if not word or self._reserved() != word:
            raise Unreadable(f"{word or 'a reserved word'} was expected")
        self.at += len(word)

    def _expect(self, sign: str) -> None:
        if not self.text.startswith(sign, self.at):
            raise Unreadable(f"{sign} was expected")
        self.at += len(sign)

    def _deeper(self) -> None:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise Unreadable("nested too deeply")


_SIGNS = {"*": ANY, "?": ONE, "[": CLASS, "{": OPEN, "}": CLOSE}
_LETTERS = {ord(mark): letter for letter, mark in _SIGNS.items()} | {
    ord(COMMA): ",", ord(TILDE): "~", ord(UNREAD): "\x7f", ord(UNREAD_QUOTED): "\x7f",
}  # fmt: skip


def _made(out: list[str], references: list[Any]) -> Word:
    text = "".join(out)
    return (text, tuple(references)) if references else text


def plain(text: str) -> str:
    """The text as it was written: marks are their letters again, what is not known is DEL."""
    return text.translate(_LETTERS)
