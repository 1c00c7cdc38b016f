"""After the fact: did a command that could not be read change what others hold?

Before it: size, time and identity of each held file, as far as LOOK_AT goes below a held directory or glob; where
that is not far enough, git's own list of what is dirty there. After it: the same again. What differs is a breach:
the broker tells the holder and this session, and logs it. A file that its holder changed at the same moment
cannot be told from one that the command changed; whoever is told looks at it.
"""

from __future__ import annotations

import os

from lattice import reach

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lattice.hooks.events import Hook

LOOK_AT = 5_000  # directory entries in all: some 20 ms
GIT_S = 2.0
MAX_TOLD = 100
_NEVER = (".git", "node_modules", "__pycache__", ".venv")


def look(hook: Hook, held: list[tuple[str, str, str]], command: str) -> None:
    """Before the command. `held`: (kind, path, holder)."""
    places = [[kind, path] for kind, path, _ in held]
    if places:
        state = states(places, hook.cwd)
        hook.traces.keep("watch", hook.text("tool_use_id"), {"places": places, "states": state, "cwd": hook.cwd, "command": command[:2000]})


def compare(hook: Hook) -> None:
    """After it. What it changed the session hears as mail, as the holder does. Refusal."""
    before = hook.traces.take("watch", hook.text("tool_use_id"))
    if not isinstance(before, dict):
        return
    then, now = before["states"], states(before["places"], before["cwd"])
    changed = sorted(path for path in {*then, *now} if then.get(path) != now.get(path))
    if changed:
        hook.call("POST", "/guard/breach", {"paths": changed[:MAX_TOLD], "base": before["cwd"], "command": before["command"]})


def states(places: list[list[str]], cwd: str) -> dict[str, list[int]]:
    """path -> [size, time, inode] of every file within these places that is there."""
    found: dict[str, list[int]] = {}
    left = LOOK_AT
    for kind, path in places:
        if kind == "file":
            _add(found, path)
            continue
        left = _walk(found, kind, path, left)
    if left <= 0:
        for path in _dirty(cwd):
            if any(reach.overlap("file", path, kind, place) for kind, place in places):
                _add(found, path)
                found.setdefault(path, [])  # dirty by being gone
    return found


def _walk(found: dict[str, list[int]], kind: str, place: str, left: int) -> int:
    """The files below a directory, or below the fixed part of a glob; how many entries may still be looked at."""
    folders = [place if kind == "dir" else _fixed_part(place)]
    while folders and left > 0:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    left -= 1
                    if left <= 0:
                        break
                    if entry.is_dir(follow_symlinks=False):
                        if entry.name not in _NEVER:
                            folders.append(entry.path)
                    elif kind == "dir" or reach.overlap("file", entry.path, kind, place):
                        _add(found, entry.path)
        except OSError:
            continue  # gone, or closed to us: nothing to compare
    return left


def _fixed_part(glob: str) -> str:
    """The folder above the first segment with a sign."""
    segments: list[str] = []
    for segment in glob.split("/"):
        if any(sign in segment for sign in "*?["):
            break
        segments.append(segment)
    return "/".join(segments) or "/"


def _add(found: dict[str, list[int]], path: str) -> None:
    try:
        state = os.lstat(path)
    except OSError:
        return
    found[path] = [state.st_size, state.st_mtime_ns, state.st_ino]


def _dirty(cwd: str) -> list[str]:
    """What git calls changed, added or gone in the work tree; [] where there is no git to ask."""
    import subprocess

    ask = ["git", "-c", "core.fsmonitor=false", "-C", cwd]
    run: dict[str, Any] = {"stdin": subprocess.DEVNULL, "capture_output": True, "timeout": GIT_S, "check": False}
    environ = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        top = subprocess.run([*ask, "rev-parse", "--show-toplevel"], env=environ, **run)
        listed = subprocess.run([*ask, "status", "--porcelain", "-z", "--no-renames"], env=environ, **run)
    except (OSError, subprocess.SubprocessError):
        return []
    if top.returncode or listed.returncode:
        return []
    root = os.fsdecode(top.stdout).strip("\n")
    return [os.path.join(root, os.fsdecode(line[3:])) for line in listed.stdout.split(b"\0") if len(line) > 3]
