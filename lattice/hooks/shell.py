"""What a shell command line would write, told without running anything; and whether that is held by somebody else.

    reading = read("cd src && sed -i s/a/b/ auth.py", "/repo/app")
    reading.writes      (Write("file", "/repo/app/src/auth.py", "sed -i"),)
    verdict(reading, [("file", "/repo/app/src/auth.py", "ann")]).word       "deny"

A write that is named is sure: `deny`. One that may touch what is held, a glob, a formatter over a folder, a git operation on the
whole tree, is for the person to decide: `ask`. A part that cannot be read (a script, `make`, `eval "$x"`, a variable in a path) is
let run and compared with the tree afterwards: `watch`. Everything else: `pass`.

It is a guard against accidents, not a jail: whoever wants around it finds a way (`python -c`), and is seen afterwards.
Paths are absolute and without `..`, but symlinks, case and normal forms are not looked up: the caller brings both sides, writes and
locks, into the one spelling (`reach.of` takes the paths of Write as they are). On disk nothing is asked but whether a path is
there: `.git` to find the root of a work tree, and whether `git checkout NAME` names a file. Time and depth are bounded: a line
of 50 KB takes some tens of milliseconds, whatever is in it; from 512 KB on it is `watch`.
"""

from __future__ import annotations

import os
from collections import namedtuple

from lattice import reach
from lattice.hooks import shell_syntax
from lattice.hooks.shell_programs import PROGRAMS
from lattice.hooks.shell_walk import Place, Walk, Write, below, normal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Reading", "Verdict", "Write", "read", "verdict"]

# writes: tuple[Write, ...], the files and directories that are named, and the globs of those that may be meant
# tree: tuple[Write, ...], work trees of which any file may be written
# unknown: bool, a part that may write cannot be read;  reads_only: bool, every part is known to write nothing at all
Reading = namedtuple("Reading", "writes tree unknown reads_only")
# word: deny, ask, watch or pass;  why: a sentence;  write: Write | None;  lock: the (kind, path, holder) that it meets, or None
Verdict = namedtuple("Verdict", "word why write lock")

_MAX_COMMAND = 512 * 1024
_NOTHING = Reading((), (), True, False)


def read(command: str, cwd: str, home: str = "", there: Callable[[str], bool] = os.path.lexists) -> Reading:
    """What the line would write when it runs in `cwd` (absolute; "" when it is not known). Never raises; reads no file."""
    if len(command) > _MAX_COMMAND:
        return _NOTHING
    walk = Walk(PROGRAMS, there, 6 * len(command) + 100_000)
    cwd = cwd.replace("\\", "/") if os.name == "nt" else cwd
    try:
        if "\0" in command:
            walk.cannot_tell()
        walk.script(shell_syntax.cleaned(command), Place(normal(cwd) if cwd else None, home.rstrip("/")))
    except RecursionError:  # the caller was deep already; what was found counts
        walk.cannot_tell()
    return Reading(tuple(walk.writes), tuple(walk.tree), walk.unknown, walk.reads_only)


def verdict(reading: Reading, held: Sequence[tuple[str, str, str]]) -> Verdict:
    """May the line run? `held`: (kind, path, holder) of the locks of others, in the one spelling, as is the reading."""
    asks = None
    for write in reading.writes:
        for lock in held:
            if not reach.overlap(write.kind, write.path, lock[0], lock[1]):
                continue
            if _is_sure(write, lock):
                return Verdict("deny", f"`{write.how}` would write {write.path}; {lock[2]} holds {_said(lock)}", write, lock)
            asks = asks or Verdict("ask", f"`{write.how}` may write {_said(lock)}, which {lock[2]} holds", write, lock)
    for write in reading.tree:
        for lock in held:
            if asks is None and reach.overlap(write.kind, write.path, lock[0], lock[1]):
                asks = Verdict("ask", f"`{write.how}` may change any file in {write.path}; {lock[2]} holds {_said(lock)}", write, lock)
    if asks is not None:
        return asks
    if held and reading.unknown:
        return Verdict("watch", "not every part of the line can be read: the tree is compared afterwards", None, None)
    return Verdict("pass", "", None, None)


def _is_sure(write: Write, lock: tuple[str, str, str]) -> bool:
    """Does a write that could be in the lock's reach lie in it for certain?"""
    kind, path, _ = lock
    if write.kind == "glob":  # all that it means, whatever that is, lies in what is held
        return (kind == "file" and write.path == below(path)) or reach.covers(kind, path, write.kind, write.path)
    if write.kind == "dir" and kind == "glob":
        return _fixed(path).startswith(write.path.rstrip("/") + "/") or reach.overlap("file", write.path, kind, path)
    return True


def _fixed(pattern: str) -> str:
    """The part of a glob in front of its first sign, to the slash."""
    first = next((at for at, letter in enumerate(pattern) if letter in "*?["), len(pattern))
    return pattern[: pattern.rfind("/", 0, first) + 1]


def _said(lock: tuple[str, str, str]) -> str:
    return lock[1] + "/" if lock[0] == "dir" and not lock[1].endswith("/") else lock[1]
