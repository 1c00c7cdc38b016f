"""git's pre-commit hook, by path: refuses a commit of files that another session holds.

The floor for clients without hooks of their own. Whose commit it is, is found as for every command: the session that
runs git, else the person. Without a broker nobody holds anything; whatever else goes wrong is said, and the
commit goes on. `git commit --no-verify` goes past it.
"""

import os
import sys

if __name__ == "__main__":
    # Under -I our own folder is not on the path.
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

import subprocess

from lattice import settings
from lattice.cli import door
from lattice.errors import Refusal

CALL_S = 2.0
AT_ONCE = 500  # paths in one question


def main() -> int:
    """1: refused."""
    try:
        top, paths = staged()
        return _judge(top, paths) if paths else 0
    except Refusal as refusal:
        if refusal.code != "unreachable":
            say(f"{refusal.message}; locks were not looked at")
    except (settings.BadSetting, OSError, subprocess.SubprocessError) as problem:
        say(f"{problem}; locks were not looked at")
    return 0


def staged() -> tuple[str, list[str]]:
    """(the top of the work tree, what the commit would change there)"""
    top = _git("rev-parse", "--show-toplevel").rstrip("\r\n")
    listed = _git("diff", "--cached", "--name-only", "--no-renames", "-z")
    return top, [name for name in listed.split("\0") if name]


def say(sentence: str) -> None:
    print(f"c2-lattice: {sentence}", file=sys.stderr, flush=True)


def _judge(top: str, paths: list[str]) -> int:
    environ = dict(os.environ)
    chosen = settings.read(environ)
    way = door.Door(chosen, environ, door.locate(chosen))
    way.client.timeout_s = CALL_S
    try:
        for start in range(0, len(paths), AT_ONCE):
            some = [os.path.join(top, path) for path in paths[start : start + AT_ONCE]]
            answer = way.call("POST", "/guard", {"paths": some, "base": top})
            if answer.get("verdict") == "deny":
                say(f"commit refused: {answer.get('file_path')}: {answer.get('reason')}")
                say(f"{answer.get('hint')}; or leave the file out of the commit. git commit --no-verify goes past this.")
                return 1
    finally:
        way.close()
    return 0


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=False)
    if done.returncode:
        raise OSError(f"git {words[0]}: {os.fsdecode(done.stderr).strip()[:200]}")
    return os.fsdecode(done.stdout)


if __name__ == "__main__":
    raise SystemExit(main())
