"""The hooks of Claude Code: the one source of what stands in the user's settings and in the plugin folder.

Each is a program with arguments (no shell line): `sh` looks at the session's flag with nothing but builtins, and
becomes the interpreter only when there is something to ask. Our paths are arguments, never parts of the script. On
Windows it is the interpreter at once.

A hook is known as ours by the path of our script among its arguments. In the settings file everything else is left
byte for byte; a file that nobody else has written to since is restored exactly.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from typing import NamedTuple

from lattice.clients import config_files, record
from lattice.clients.base import digest, home_of

MAIN = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "hooks", "main.py")
_TAIL = os.path.join("lattice", "hooks", "main.py")

# The flag of this session. Without CLAUDE_PID (older versions) the client is our parent: nothing is between us and it.
_FLAG = 'h=${C2_LATTICE_HOME:-$HOME/.c2-lattice}; case $h in "~/"*) h=$HOME${h#"~"};; esac; p=${CLAUDE_PID:-$PPID}; f=$h/flags/$p; '
_RUN = 'exec "$0" -I -S "$1" "$2"'
# The flag says why it is up: "alice: mail locks". What is not known there is a reason to ask.
_WHY = 'why=; read -r _ why 2>/dev/null <"$f"; case $why in {idle}) exit 0;; esac; '
_ABOUT_MAIL = _WHY.format(idle='mail|proof|"mail proof"')
_ABOUT_LOCKS = _WHY.format(idle='locks|lost|"locks lost"')
_OR_AUTOLOCK = '[ -e "$f" ] || [ "$C2_LATTICE_AUTOLOCK" = on ] || exit 0; '

ALWAYS = _RUN
EDIT = _FLAG + '[ "$C2_LATTICE_AUTOLOCK" = on ] || { [ -e "$f" ] || exit 0; ' + _ABOUT_MAIL + "}; " + _RUN
BASH = _FLAG + '[ -e "$f" ] || exit 0; ' + _ABOUT_MAIL + _RUN
TOOL = _FLAG + '[ -e "$f" ] || exit 0; ' + _ABOUT_LOCKS + _RUN
AFTER_BASH = _FLAG + '[ -e "$f" ] || { set -- "$1" "$2" "$h/hooks/$p.watch."*; [ -e "$3" ] || exit 0; }; ' + _RUN
PROMPT = _FLAG + '[ -e "$f" ] || [ -e "$f.cause" ] || exit 0; ' + _RUN
STOP = _FLAG + _OR_AUTOLOCK + _RUN
PERMISSION = '[ -n "$C2_LATTICE_PERMISSIONS" ] || exit 0; ' + _RUN

_EDITS = r"Write|Edit|MultiEdit|NotebookEdit"
_FOREIGN_EDITS = r"^mcp__(?!.*c2-lattice).*(write|edit|create|move|rename|delete|remove|replace|insert|patch).*"
_OUR_MAIL = r"mcp__.*c2-lattice__check_messages"
_OTHER_TOOLS = r"^(?!Bash$|mcp__.*c2-lattice__check_messages$).*"


class Hook(NamedTuple):
    """`event` of the client, `matcher` of its tools ("" where it has none), `word` that our script gets."""

    event: str
    matcher: str
    script: str
    word: str
    timeout_s: int
    opt_in: str = ""


# The script itself ends within 1 s of asking; the time-outs are for a machine that is starved.
HOOKS = (
    Hook("SessionStart", "", ALWAYS, "SessionStart", 10),
    Hook("UserPromptSubmit", "", PROMPT, "UserPromptSubmit", 10),
    Hook("PreToolUse", _EDITS, EDIT, "PreToolUse", 10),
    Hook("PreToolUse", _FOREIGN_EDITS, EDIT, "PreToolUse", 10),
    Hook("PreToolUse", "Bash", BASH, "PreToolUse", 10),
    Hook("PostToolUse", _OTHER_TOOLS, TOOL, "PostToolUse", 10),
    Hook("PostToolUse", "Bash", AFTER_BASH, "PostToolUse", 10),
    Hook("PostToolUse", _OUR_MAIL, ALWAYS, "PostToolUse", 10),
    Hook("PostToolUseFailure", "Bash", AFTER_BASH, "PostToolUse", 10),
    Hook("Stop", "", STOP, "Stop", 10),
    Hook("PreCompact", "", ALWAYS, "PreCompact", 10),
    Hook("SessionEnd", "", ALWAYS, "SessionEnd", 2),
    Hook("PermissionRequest", "", PERMISSION, "PermissionRequest", 610),
    Hook("SessionStart", "", ALWAYS, "Wake", 86_400, "rewake"),
    Hook("Stop", "", ALWAYS, "Wake", 86_400, "rewake"),
)


def entries(*, rewake: bool = False, windows: bool = os.name == "nt", main: str = MAIN) -> dict[str, list[dict[str, object]]]:
    """What stands under `hooks`: event -> groups."""
    found: dict[str, list[dict[str, object]]] = {}
    python = os.path.realpath(sys.executable)
    for hook in HOOKS:
        if hook.opt_in == "rewake" and not rewake:
            continue
        how: dict[str, object] = {"type": "command", "command": "/bin/sh", "args": ["-c", hook.script, python, main, hook.word]}
        if windows:
            how = {"type": "command", "command": python, "args": ["-I", "-S", main, hook.word]}
        how["timeout"] = hook.timeout_s
        if hook.opt_in == "rewake":
            how["asyncRewake"] = True
        group: dict[str, object] = {"matcher": hook.matcher} if hook.matcher else {}
        found.setdefault(hook.event, []).append({**group, "hooks": [how]})
    return found


def script_of(hook: object) -> str:
    """The path of our script in a hook's arguments, of this checkout or another; "" when it is not ours."""
    args = hook.get("args") if isinstance(hook, dict) else None
    words = [word for word in args if isinstance(word, str)] if isinstance(args, list) else []
    return next((word for word in words if word.endswith(_TAIL)), "")


class State(NamedTuple):
    """`word`: ours, other (of another checkout, or of an older version), none. `is_off`: the file turns all hooks off, whosever."""

    file: str
    word: str
    rewake: bool = False
    scripts: tuple[str, ...] = ()
    is_off: bool = False


class HooksFile:
    """Our hooks in one settings file: put in, looked up, taken out. Unreadable, and the file untouched, when it does not parse."""

    def __init__(self, path: str, home: str, stamp: str) -> None:
        self.path = path
        self.home = home
        self.stamp = stamp

    def look(self) -> State:
        text = config_files.read(self.path) or ""
        found = {event: [group for group in groups if _ours(group)] for event, groups in self._groups(text).items()}
        found = {event: groups for event, groups in found.items() if groups}
        if not found:
            return State(self.path, "none")
        scripts = sorted({script for groups in found.values() for group in groups for script in _ours(group)})
        rewake = any(hook.get("asyncRewake") is True for groups in found.values() for group in groups for hook in _our_hooks(group))
        is_off = config_files.get_member(text, ("disableAllHooks",), self.path) is True
        return State(self.path, "ours" if found == entries(rewake=rewake) else "other", rewake, tuple(scripts), is_off=is_off)

    def put(self, rewake: bool, dry_run: bool = False) -> list[str]:
        """Ours as they are now, whatever of ours was there. Sentences; [] when nothing had to change."""
        state = self.look()
        rewake = rewake or state.rewake
        if state.word == "ours" and state.rewake == rewake:
            return []
        before = config_files.read(self.path)
        text = self._without(before or "", lambda script: True)
        for event, groups in entries(rewake=rewake).items():
            text = config_files.append_items(text, ("hooks", event), list(groups), self.path)
        said = f"hooks in {self.path}" + (", with the one that wakes an idle session" if rewake else "")
        others = [script for script in state.scripts if script != MAIN]
        if others:
            said += f" (instead of those of {others[0]})"
        if dry_run:
            return [f"put {said}"]
        known = record.read(self.home).get(self.path)
        new: dict[str, object] = {"made_file": before is None, "made_folder": self._missing_folder(), "backup": "", "exact": True}
        kept = []
        if known is not None:
            # Ours already: what was before the first time counts, and only while nobody else has written since.
            new = {**known, "exact": known.get("exact") is True and digest(before) == known.get("after")}
        elif before is not None:
            new["backup"] = config_files.back_up(self.path, os.path.join(self.home, "backups"), self.stamp)
            # A copy that holds hooks of ours (their record is lost) is not what to go back to.
            new["exact"] = state.word == "none"
            kept = [f"kept a copy of {self.path} as {new['backup']}"]
        config_files.write(self.path, text)
        new["after"] = digest(text)
        new["script"] = MAIN
        record.keep(self.home, self.path, new)
        return [*kept, f"put {said}"]

    def drop(self, dry_run: bool = False) -> list[str]:
        """Ours out again: those of this checkout and those that the record says we wrote. Sentences."""
        text = config_files.read(self.path)
        known = record.read(self.home).get(self.path) or {}
        ours = {MAIN, known.get("script")}
        if text is None or not ours & set(self.look().scripts):
            if not dry_run:
                record.forget(self.home, self.path)
            return []
        if dry_run:
            return [f"take the hooks out of {self.path}"]
        said = [f"took the hooks out of {self.path}"]
        if known.get("exact") and digest(text) == known.get("after"):
            before = None if known.get("made_file") else config_files.read(str(known.get("backup")))
            if before is not None or known.get("made_file"):
                self._replace(before)
                said = [f"{self.path} is again as it was before the installation"]
                if before is None:
                    said = [f"removed {self.path}, which the installation had made"]
                if known.get("backup"):
                    os.unlink(str(known["backup"]))
                return self._forget(known, said)
        changed = self._without(text, lambda script: script in ours)
        empty = config_files.parse(changed, self.path) == {}
        self._replace(None if empty and known.get("made_file") else changed)
        return self._forget(known, said)

    def _replace(self, text: str | None) -> None:
        if text is None:
            os.unlink(self.path)
        else:
            config_files.write(self.path, text)

    def _forget(self, known: Mapping[str, object], said: list[str]) -> list[str]:
        record.forget(self.home, self.path)
        if known.get("made_folder") and not os.path.exists(self.path):
            try:
                os.rmdir(os.path.dirname(self.path))
            except OSError:
                pass  # something else is in it by now
        return said

    def _missing_folder(self) -> bool:
        return not os.path.isdir(os.path.dirname(self.path))

    def _groups(self, text: str) -> dict[str, list[object]]:
        hooks = config_files.get_member(text, ("hooks",), self.path)
        if hooks is not None and not isinstance(hooks, dict):
            raise config_files.Unreadable(f"{self.path}: hooks is no object; it was not touched")
        found = hooks if isinstance(hooks, dict) else {}
        for event, groups in found.items():
            if not isinstance(groups, list):
                raise config_files.Unreadable(f"{self.path}: hooks.{event} is no list; it was not touched")
        return found

    def _without(self, text: str, is_ours: Callable[[str], bool]) -> str:
        """The text without these hooks of ours; lists and the object that are emptied by that go too."""
        had_any = False
        for event, groups in self._groups(text).items():
            left: list[object] = []
            out: list[int] = []
            mixed = False
            for index, group in enumerate(groups):
                scripts = [script for script in _ours(group) if is_ours(script)]
                if not scripts:
                    left.append(group)
                elif isinstance(group, dict) and len(scripts) == len(group["hooks"]):
                    out.append(index)
                else:
                    mixed = True  # somebody wrote a hook of theirs into our group, or ours into theirs
                    hooks = [hook for hook in group["hooks"] if not is_ours(script_of(hook))]  # type: ignore[index]
                    left.append({**group, "hooks": hooks})  # type: ignore[dict-item]
            if not out and not mixed:
                continue
            had_any = True
            if mixed:
                text = config_files.set_member(text, ("hooks", event), left, self.path)
            elif left:
                text = config_files.remove_items(text, ("hooks", event), out, self.path)
            else:
                text = config_files.remove_member(text, ("hooks", event), self.path)
        if had_any and config_files.get_member(text, ("hooks",), self.path) == {}:
            text = config_files.remove_member(text, ("hooks",), self.path)
        return text


def settings_file(environ: Mapping[str, str]) -> str:
    """The user's settings; CLAUDE_CONFIG_DIR moves them, as it does for Claude Code."""
    return os.path.join(environ.get("CLAUDE_CONFIG_DIR") or os.path.join(home_of(environ), ".claude"), "settings.json")


def _ours(group: object) -> list[str]:
    """The scripts of ours that a group runs, one for each of its hooks that is ours."""
    return [script_of(hook) for hook in _our_hooks(group)]


def _our_hooks(group: object) -> list[dict[str, object]]:
    hooks = group.get("hooks") if isinstance(group, dict) else None
    return [hook for hook in hooks if script_of(hook)] if isinstance(hooks, list) else []
