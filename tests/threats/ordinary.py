"""What sessions say to each other all day: over a thousand messages that no filter may take for anything else (S29).

Written by hand (`texts/talk.txt`, one a line, ends of lines as `\\n`), or made of real things: functions of the standard
library, tracebacks of real errors, differences of real texts, what `dis`, `ast`, `pydoc`, `hashlib` and `json` say; and
letters that join such parts. In a fixed order with fixed choices; the machine's own paths and versions are in some.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import difflib
import dis
import hashlib
import importlib
import inspect
import io
import json
import os
import pydoc
import random
import textwrap
import traceback
import urllib.parse
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from tests.guard import corpus

TEXTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "texts")
MOST = 9_000  # characters: what fits into a message
MODULES = (
    "argparse", "bisect", "calendar", "cmd", "code", "collections", "colorsys", "concurrent.futures.thread", "configparser", "contextlib",
    "copy", "csv", "dataclasses", "difflib", "dis", "email.message", "enum", "filecmp", "fileinput", "fnmatch", "fractions", "ftplib",
    "functools", "getopt", "getpass", "gettext", "glob", "graphlib", "gzip", "heapq", "hmac", "html.parser", "http.client", "http.cookies",
    "http.server", "imaplib", "inspect", "ipaddress", "json.decoder", "json.encoder", "linecache", "locale", "logging", "logging.handlers",
    "mimetypes", "netrc", "ntpath", "numbers", "operator", "optparse", "os", "pathlib", "pickle", "platform", "plistlib", "poplib",
    "posixpath", "pprint", "pstats", "queue", "random", "re", "reprlib", "sched", "selectors", "shelve", "shlex", "shutil", "smtplib",
    "socket", "socketserver", "ssl", "stat", "statistics", "string", "subprocess", "sysconfig", "tarfile", "tempfile", "textwrap",
    "threading", "timeit", "tokenize", "trace", "traceback", "types", "typing", "unittest.case", "unittest.mock", "urllib.parse",
    "urllib.request", "uuid", "venv", "wave", "weakref", "webbrowser", "xml.dom.minidom", "xml.etree.ElementTree", "zipfile",
)  # fmt: skip
OPENINGS = (
    "Can somebody explain this?", "I am at this place now:", "That is what I see, on main as well:", "Look:", "For the review:",
    "As it is today:", "Before I change it, is this meant?", "Ich sehe das hier:", "Voici ce que j'obtiens :", "こうなっています。",
    "我看到的是这样：", "Вот что вижу:", "هذا ما أراه:", "זה מה שיש:", "Task {n}, second try.", "#{n}: reproduced.",
    "@architect this blocks me:", "w{n} asked for it, here it is:",
)  # fmt: skip
CLOSINGS = (
    "Ideas?", "I take it unless you object.", "Not mine; who knows it?", "Fixed in {h}.", "The lock on {p} is mine until then.",
    "Next: {p}.", "See https://git.example.com/acme/shop/-/blob/main/{p}#L{n}", "It takes {n} ms, the bound is {m} ms.",
    "(seed {n}, {m} tests, commit {h})", "Danke!", "ありがとう。", "Спасибо.", "🙏", "", "Then {p} and {q} can go.",
    "- [ ] {p}\n- [x] {q}", "Same for `{p}`?",
)  # fmt: skip


def messages() -> Iterator[str]:
    """All of them; none twice."""
    chosen = random.Random(29)
    parts = [*sources(), *outputs(), *tracebacks(), *differences(chosen)]
    seen: set[str] = set()
    for text in (*talk(), *corpus.honest(), *parts, *letters(chosen, [*talk(), *parts])):
        if text not in seen and len(text.encode("utf-8", "surrogatepass")) < MOST:
            seen.add(text)
            yield text


def talk() -> list[str]:
    with open(os.path.join(TEXTS, "talk.txt"), encoding="utf-8") as file:
        lines = file.read().splitlines()
    return [line.replace("\\n", "\n").replace("\\t", "\t").replace("\\\\", "\\") for line in lines]


def good_lines() -> list[str]:
    """Lines in many scripts that must come through unchanged, sign by sign."""
    with open(os.path.join(TEXTS, "good_lines.txt"), encoding="utf-8") as file:
        return [line for line in file.read().split("\n") if line and not line.startswith("# ")]


def functions() -> Iterator[Callable[..., Any]]:
    """Three functions or methods of each module, as far as there are any."""
    for name in MODULES:
        with contextlib.suppress(ImportError):  # not on this system
            module = importlib.import_module(name)
            owners = [module, *(one for one in vars(module).values() if inspect.isclass(one) and one.__module__ == name)]
            found = [one for owner in owners for one in vars(owner).values() if inspect.isfunction(one) and one.__module__ == name]
            yield from found[:: max(1, len(found) // 3)][:3]


def sources() -> Iterator[str]:
    for function in functions():
        with contextlib.suppress(OSError, TypeError):  # no source here
            yield textwrap.dedent(inspect.getsource(function))


def outputs() -> Iterator[str]:
    """What programs print about functions, digests, addresses and data."""
    for number, function in enumerate(functions()):
        match number % 6:
            case 0:
                said = io.StringIO()
                dis.dis(function, file=said)
                yield said.getvalue()[:3000]
            case 1:
                yield pydoc.plain(pydoc.render_doc(function))
            case 2:
                with contextlib.suppress(OSError, TypeError, SyntaxError):
                    yield ast.dump(ast.parse(textwrap.dedent(inspect.getsource(function))), indent=1)[:2500]
            case 3:
                kind = ("md5", "sha1", "sha256", "sha512", "blake2b")[number % 5]
                digests = [hashlib.new(kind, str(k).encode(), usedforsecurity=False).hexdigest() for k in range(number % 4 + 1)]
                yield "\n".join(f"{digest}  {function.__module__}.{k}.tar.gz" for k, digest in enumerate(digests))
            case 4:
                about = {"module": function.__module__, "name": function.__qualname__, "args": list(inspect.signature(function).parameters),
                         "line": function.__code__.co_firstlineno, "id": str(uuid.UUID(int=number * 7919 << 64 | 1 << 63))}  # fmt: skip
                yield json.dumps(about, indent=number % 3 or None)
            case _:
                query = urllib.parse.urlencode({"q": function.__qualname__, "page": number, "lang": "é日本"})
                yield f"https://docs.example.org/{function.__module__.replace('.', '/')}/index.html?{query}#{function.__name__}"


def tracebacks() -> Iterator[str]:
    of = importlib.import_module
    wrong: tuple[Callable[[], object], ...] = (
        lambda: json.loads('{"a": 1,}'), lambda: int("twelve"), lambda: open("/no/such/file.txt"), lambda: {}["orders"], lambda: [][3],
        lambda: str.join(1, []), lambda: inspect.getattr_static(None, "strip"), lambda: 1 / 0,
        lambda: ast.parse("def f(:"), lambda: of("no.such.module"),
        lambda: b"\xff".decode(), lambda: "é".encode("ascii"), lambda: base64.b64decode("a"), lambda: uuid.UUID("x"),
        lambda: next(iter(())), lambda: of("re").compile("("), lambda: of("datetime").date(2024, 13, 1), lambda: of("decimal").Decimal("x"),
        lambda: of("graphlib").TopologicalSorter({1: [1]}).prepare(), lambda: of("tomllib").loads("a = "),
        lambda: of("zipfile").ZipFile(io.BytesIO(b"x")), lambda: of("configparser").ConfigParser().get("a", "b"),
        lambda: of("socket").create_connection(("127.0.0.1", 1), 0.2), lambda: of("subprocess").run(["/no/such"]),
        lambda: of("struct").unpack(">I", b"x"), lambda: of("xml.etree.ElementTree").fromstring("<a>"),
        lambda: of("argparse").ArgumentParser(exit_on_error=False).parse_args(["--x"]), lambda: of("locale").setlocale(0, "xx"),
        lambda: of("pathlib").Path("/no/such").read_text(), lambda: of("csv").reader(1), lambda: sorted([1, None]),
    )  # fmt: skip
    for deed in wrong:
        try:
            with contextlib.redirect_stderr(io.StringIO()):
                deed()
        except (Exception, SystemExit):
            yield traceback.format_exc()


def differences(chosen: random.Random) -> Iterator[str]:
    texts = [text for text in sources() if 8 < text.count("\n") < 60]
    for number, text in enumerate(texts[::3]):
        before = text.splitlines(keepends=True)
        after = list(before)
        for _ in range(chosen.randrange(1, 4)):
            at = chosen.randrange(len(after))
            after[at : at + chosen.randrange(2)] = [chosen.choice(("    # why?\n", "    pass\n", after[at].replace("self", "this"), "\n"))]
        path = f"{chosen.choice(('src', 'lib', 'web/app', 'services/api/handlers'))}/{chosen.choice(('orders', 'cart', 'pool'))}{number}.py"
        maker = (difflib.unified_diff, difflib.context_diff)[number % 2]
        found = "".join(maker(before, after, f"a/{path}", f"b/{path}", n=2))
        if found:
            yield (f"diff --git a/{path} b/{path}\n" if number % 4 == 0 else "") + found


def letters(chosen: random.Random, parts: list[str]) -> Iterator[str]:
    """A sentence, one to three parts as people quote them, another sentence."""
    frames = (
        "```\n{}\n```",
        "```python\n{}\n```",
        "{}",
        "> {}",
        "<details>\n\n{}\n\n</details>",
        "    {}",
        "1. {}",
        "~~~\n{}\n~~~",
        '"""{}"""',
    )
    words = ("orders", "cart", "pool", "pager", "sink", "retry", "ledger", "mailer", "schema", "session", "queue", "clock")
    for _ in range(420):
        filled = {
            "n": chosen.randrange(2, 999), "m": chosen.randrange(2, 9999), "h": f"{chosen.getrandbits(28):07x}",
            "p": f"src/{chosen.choice(words)}/{chosen.choice(words)}.{chosen.choice(('py', 'ts', 'go', 'rs', 'md', 'sql'))}",
            "q": f"{chosen.choice(words)}_{chosen.choice(words)}",
        }  # fmt: skip
        body = []
        for part in chosen.sample(parts, chosen.randrange(1, 4)):
            frame = chosen.choice(frames)
            body.append(frame.format(part[: chosen.randrange(200, 2500)].replace("\n", "\n> ") if frame[0] == ">" else part[:2500]))
        yield "\n\n".join([chosen.choice(OPENINGS).format(**filled), *body, chosen.choice(CLOSINGS).format(**filled)])
