"""What atheris drives: six readers of foreign bytes, each as a function that raises only what nobody promised.

    python -m tests.fuzz.targets NAME FOLDER [libFuzzer options]     with atheris installed; seeds are put into FOLDER first

`tests/nightly/test_atheris.py` runs them; `tests/fuzz/test_targets.py` holds that each takes its own seeds.
"""

from __future__ import annotations

import contextlib
import os
import random
import sys
from collections.abc import Callable, Iterator

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def head(data: bytes) -> None:
    """A head, the gate, the length of the body, the address and its query: each is a Refusal or a value."""
    from lattice.errors import Refusal
    from lattice.web import head as heads
    from lattice.web.router import decode, parse_query

    raw, _, _ = data.partition(b"\r\n\r\n")
    with contextlib.suppress(Refusal):
        heads.check_unfinished(data)
    heads.begins_a_request(data)
    with contextlib.suppress(Refusal):
        found = heads.parse(raw)
        assert found.path.startswith("/") and "\n" not in repr(found.headers).replace("\\n", ""), found
        heads.Gate(7899).check(found)
        assert 0 <= heads.body_length(found, 1 << 20) <= 1 << 20
        heads.keeps_alive(found)
        decode(found.path)
        parse_query(found.query)


def body(data: bytes) -> None:
    """The JSON gate: an object that Python's own reader reads the same, or a BadRequest."""
    import json

    from lattice.errors import BadRequest
    from lattice.web import body as strict

    with contextlib.suppress(BadRequest):
        found = strict.parse(data)
        assert repr(found) == repr(json.loads(data)), data
        json.dumps(found, allow_nan=False).encode("ascii")


def line(data: bytes) -> None:
    """A line of JSON-RPC: a message, nothing, or an RpcError that can be said; also what a hook reads."""
    import json

    from lattice.agent import jsonrpc
    from lattice.hooks import compact_json

    try:
        message = jsonrpc.read(data)
    except jsonrpc.RpcError as error:
        assert json.loads(jsonrpc.error(error))["error"]["code"] in (jsonrpc.PARSE_ERROR, jsonrpc.INVALID_REQUEST)
    else:
        if isinstance(message, jsonrpc.Request):
            assert json.loads(jsonrpc.result(message.id, {}))["id"] == message.id
    with contextlib.suppress(ValueError, TypeError):  # the second: 1e999 is JSON, and infinity is not
        compact_json.dumps(compact_json.loads(data.decode("utf-8", "replace")))


def filter(data: bytes) -> None:
    """The content filter, and how the text is shown."""
    from lattice.contract import framing
    from lattice.guard.content import CHANNELS, judge
    from lattice.visible import visible

    text = data.decode("utf-8", "surrogateescape")
    for channel in ("message", "task"):
        found = judge(text, channel, ("/code/repo",))
        assert found is None or (found.rule in CHANNELS[channel] and 0 <= found.place < len(text)), found
    shown = visible(text)
    assert visible(shown) == shown
    framing.safe_for_terminal(text)
    framing.frame(text, sender="a", role="worker", when=0.0, boundary="abcdefgh")


def path(data: bytes) -> None:
    """The grammar of paths and ids: refused, or one spelling; overlapping is mutual and covering implies it."""
    from lattice import names, reach
    from lattice.errors import BadRequest

    one, _, two = data.decode("utf-8", "replace").partition("\n")
    for check in (names.check_peer_id, names.check_address):
        with contextlib.suppress(BadRequest):
            check(one)
    with contextlib.suppress(BadRequest):
        mine, other = reach.of(one, "/r"), reach.of(two or "a*", "/r")
        together = reach.overlap(*mine, *other)
        assert together == reach.overlap(*other, *mine), (mine, other)
        assert together or not reach.covers(*mine, *other), (mine, other)
        assert reach.covers(*mine, *mine), mine


def shell(data: bytes) -> None:
    """The reader of shell lines: always a reading whose paths are absolute, and a verdict."""
    from lattice.hooks.shell import read, verdict

    found = read(data.decode("utf-8", "replace"), "/repo", "/home/x", lambda path: False)
    assert all(write.path.startswith("/") and "/../" not in write.path for write in found.writes + found.tree), found
    assert verdict(found, [("file", "/repo/a", "ann"), ("glob", "/repo/**/*.py", "ben")]).word in ("deny", "ask", "watch", "pass")


TARGETS: dict[str, Callable[[bytes], None]] = {
    "head": head, "body": body, "line": line, "filter": filter, "path": path, "shell": shell,
}  # fmt: skip


def seeds(name: str, count: int, chosen: random.Random) -> Iterator[bytes]:
    """What the grammar of the target's own kind gives."""
    from tests.fuzz import bodies, lines, requests, texts
    from tests.hooks import commands

    sends, says = requests.Requests(chosen, 7899, "x"), lines.Lines(chosen, "p")
    rows = [*(command for command, _ in commands.DENIED), *commands.ASKED, *commands.WATCHED, *commands.READS, *commands.PASSES]
    grammars: dict[str, Callable[[int], bytes]] = {
        "head": lambda _: sends.next(),
        "body": lambda number: bodies.spoiled(chosen, bodies.POSTS[number % len(bodies.POSTS)]).body,
        "line": lambda _: says.next(),
        "filter": lambda _: texts.text(chosen).encode("utf-8", "replace"),
        "path": lambda _: f"{texts.path(chosen)}\n{texts.path(chosen)}".encode(),
        "shell": lambda number: rows[number % len(rows)].encode("utf-8", "replace"),
    }
    for number in range(count):
        seed = grammars[name](number)
        if len(seed) <= 4096:
            yield seed


def main(name: str, folder: str, options: list[str]) -> None:
    import atheris  # type: ignore[import-not-found]

    with atheris.instrument_imports(include=["lattice"]):
        TARGETS[name](b"")  # imports what it needs, before anything else does
    for number, seed in enumerate(seeds(name, 300, random.Random(number_of(options)))):
        with open(os.path.join(folder, f"seed-{number}"), "wb") as file:
            file.write(seed)
    atheris.Setup([sys.argv[0], *options, folder], TARGETS[name])
    atheris.Fuzz()


def number_of(options: list[str]) -> int:
    """The seed among libFuzzer's options."""
    return next((int(option.partition("=")[2]) for option in options if option.startswith("-seed=")), 0)


if __name__ == "__main__":
    sys.path.insert(0, TOP)
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
