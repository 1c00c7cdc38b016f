"""Git, seen from outside: which repository a directory belongs to, and what is changed in it.

`workspace` reads git's files and starts no process. `state` runs one `git status`, bounded in time and bytes;
it is for a thread of its own. Neither changes anything in the repository.
"""

from __future__ import annotations

import os

MAX_NAMES = 200
MAX_NAMES_BYTES = 8_000  # of dirty names in one beat; names beyond are dropped whole and counted
MAX_NAME = 1_000
STATUS_S = 5.0
_MAX_CONFIG = 262_144
_MAX_STATUS = 1_048_576


def workspace(folder: str) -> str:
    """The name under which worktrees and clones of one repository meet.

    The normalised origin (`github.com/who/what`), else the git directory that all worktrees share, else the real
    path of `folder`.
    """
    folder = os.path.realpath(folder)
    return _name_of(folder, 3) or folder


def root(folder: str) -> str:
    """The top of the working tree that `folder` is in; "" outside of any."""
    return _find(os.path.realpath(folder))[0]


def _name_of(folder: str, hops: int) -> str:
    common = common_dir(folder)
    if not common:
        return ""
    origin = _origin(common)
    if not origin:
        return common
    if _is_local(origin):
        # A clone of a directory meets that directory, whatever that one calls itself.
        path = origin[7:] if origin.startswith("file://") else origin
        path = os.path.realpath(os.path.join(os.path.dirname(common), path))
        return (_name_of(path, hops - 1) if hops else "") or path
    return normal_origin(origin) or common


def normal_origin(url: str) -> str:
    """Host and path of a remote's address: no scheme, user, port, or `.git`. "" when it has none."""
    url = url.strip()
    if "://" in url:
        rest = url.split("://", 1)[1]
        host, _, path = rest.partition("/")
        host = host.rpartition("@")[2]
        host = host.partition("]")[0][1:] if host.startswith("[") else host.partition(":")[0]
    else:
        host, _, path = url.partition(":")  # the scp form, git@host:path
        host = host.rpartition("@")[2]
    path = "/".join(part for part in path.split("?")[0].split("#")[0].split("/") if part)
    if path.endswith(".git"):
        path = path[:-4].rstrip("/")
    return f"{host.lower()}/{path}" if host and path else ""


def common_dir(folder: str) -> str:
    """The git directory that all worktrees of the repository around `folder` share; "" outside of any."""
    found = _find(folder)[1]
    if not found:
        return ""
    shared = _first_line(os.path.join(found, "commondir"))
    return os.path.realpath(os.path.join(found, shared)) if shared else os.path.realpath(found)


def _find(folder: str) -> tuple[str, str]:
    """(top of the working tree, its git directory) around `folder`, or two empty texts."""
    for _ in range(64):
        entry = os.path.join(folder, ".git")
        if os.path.isdir(entry):
            return folder, entry
        if os.path.isfile(entry):
            said = _first_line(entry)  # a worktree or a submodule: "gitdir: PATH"
            if said.startswith("gitdir:"):
                found = os.path.join(folder, said[7:].strip())
                if os.path.isdir(found):
                    return folder, found
        if os.path.isfile(os.path.join(folder, "HEAD")) and os.path.isdir(os.path.join(folder, "objects")):
            return folder, folder  # a bare repository
        above = os.path.dirname(folder)
        if above == folder:
            break
        folder = above
    return "", ""


def _origin(common: str) -> str:
    """The url of [remote "origin"] in the shared config, without its includes."""
    section = ""
    for line in _text(os.path.join(common, "config")).splitlines():
        line = line.strip()
        if line.startswith("["):
            section = line.partition("]")[0].lower().replace(" ", "")
        elif section == '[remote"origin"':
            key, sign, value = line.partition("=")
            if sign and key.strip().lower() == "url":
                return value.strip().strip('"')
    return ""


def _is_local(url: str) -> bool:
    if "://" in url:
        return url.startswith("file://")
    before, colon, _ = url.partition(":")
    # git's own rule: the scp form has a colon before the first slash; `C:\repo` is a drive
    return not colon or "/" in before or (len(before) == 1 and os.name == "nt")


def _first_line(path: str) -> str:
    return _text(path).split("\n", 1)[0].strip()


def _text(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return file.read(_MAX_CONFIG).decode("utf-8", "replace")
    except OSError:
        return ""


def state(folder: str) -> dict[str, object]:
    """What a beat says of the working tree: {git_branch, git_dirty_files, git_more, git_last_commit}.

    {} outside of a repository, without git, and when git takes longer than STATUS_S.
    """
    top = root(folder)
    if not top:
        return {}
    said = _status(top)
    return shape(said) if said is not None else {}


def shape(status: bytes) -> dict[str, object]:
    """The fields of a beat, from the bytes of `git status --porcelain=v2 --branch -z`."""
    branch = commit = ""
    names: list[str] = []
    more = size = 0
    entries = iter(status.split(b"\0"))
    for entry in entries:
        text = entry.decode("utf-8", "replace")
        if text.startswith("# branch.head "):
            branch = text[14:]
        elif text.startswith("# branch.oid "):
            commit = "" if text[13:] == "(initial)" else text[13:25]
        # The path is the last field: after 8 blanks in a change, 9 in a rename, 10 in a conflict, 1 in an unknown file.
        blanks = {"1": 8, "2": 9, "u": 10, "?": 1}.get(text[:1])
        if blanks is None or text[1:2] != " ":
            continue
        if text[0] == "2":
            next(entries, b"")  # what it was called before
        name = text.split(" ", blanks)[-1]
        cost = len(name.encode("utf-8")) + 1
        if len(names) >= MAX_NAMES or size + cost > MAX_NAMES_BYTES or len(name) > MAX_NAME:
            more += 1
            continue
        names.append(name)
        size += cost
    return {"git_branch": branch[:300], "git_dirty_files": names, "git_more": more, "git_last_commit": commit}


def _status(top: str) -> bytes | None:
    import subprocess  # here: it costs more than all the rest of a session's start
    import threading

    argv = [
        "git", "--no-optional-locks", "-c", "core.fsmonitor=false", "-C", top,
        "status", "--porcelain=v2", "--branch", "-z", "--untracked-files=normal", "--ignore-submodules=dirty",
    ]  # fmt: skip
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environ.update(GIT_TERMINAL_PROMPT="0", LC_ALL="C")
    try:
        git = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environ)
    except OSError:
        return None  # no git here
    timer = threading.Timer(STATUS_S, git.kill)
    timer.daemon = True
    timer.start()
    try:
        assert git.stdout is not None
        said = git.stdout.read(_MAX_STATUS)
        if len(said) == _MAX_STATUS:  # more than anybody will look at: what is whole of it is used
            git.kill()
            said = said[: said.rfind(b"\0")]
            git.wait()
            return said
        return said if git.wait() == 0 else None
    finally:
        timer.cancel()
        if git.poll() is None:
            git.kill()
            git.wait()
        if git.stdout is not None:
            git.stdout.close()
