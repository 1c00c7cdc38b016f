"""Claude Code: where it keeps MCP servers, and how a session of it is opened.

Registered for the user with the client's own `claude mcp add-json` where that program is on PATH
(running sessions rewrite the file, so their own program is the safer hand), else in the file itself.
In a project: `.mcp.json`, which Claude Code asks the person about before it uses it. Hooks are the user's alone:
they stand in the user's settings (`claude_hooks`).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping

from lattice.clients import claude_hooks, config_files
from lattice.clients.base import NAME, Adapter, Entry, FileEdit, Found, Refused, as_entry, home_of, same
from lattice.clients.config_files import Unreadable

PROGRAM_TIMEOUT_S = 60.0  # it answers in 0.2 s; a first start on a cold disk takes far longer

# What a running session tells its children about itself. A session that is opened from inside another one
# must not take these for its own.
OF_ONE_SESSION = (
    "CLAUDECODE", "CLAUDE_CODE_ENTRYPOINT", "CLAUDE_CODE_SESSION_ID", "CLAUDE_CODE_SESSION_ATTENDED", "CLAUDE_PID",
    "CLAUDE_PROJECT_DIR", "CLAUDE_CODE_MESSAGING_SOCKET", "CLAUDE_CODE_MESSAGING_TOKEN", "CLAUDE_CODE_SSE_PORT", "AI_AGENT",
)  # fmt: skip


class ClaudeCode(Adapter):
    name = "claude"
    title = "Claude Code"

    def detect(self) -> str:
        program = find_program(self.environ)
        if program:
            return program
        file = user_file(self.environ)
        return file if os.path.exists(file) else ""

    def program(self) -> str:
        return find_program(self.environ)

    def find(self, project: str = "") -> Found:
        edit = self._edit(project)
        try:
            return Found(edit.path, as_entry(edit.look()))
        except Unreadable as problem:
            return Found(edit.path, None, str(problem))

    def install(self, entry: Entry, *, project: str = "", dry_run: bool = False) -> list[str]:
        edit = self._edit(project)
        wanted = as_json(entry)
        try:
            there = edit.look()
            if same(there, wanted):
                return []
            said = []
            if there is not None:
                old = as_entry(there) or Entry("", ())
                said.append(f"{NAME} pointed to {' '.join((old.command, *old.args))}: replaced")
            program = "" if project else find_program(self.environ)
            if dry_run:
                config_files.set_member(config_files.read(edit.path) or "", edit.names, wanted, edit.path)
                how = f"run: {' '.join(_add(program, wanted))}" if program else f"add {NAME} to {edit.path}"
                return [*said, how]
            if program:
                problem: list[str] = []
                kept = edit.around(wanted, lambda: problem.extend(self._by_program(program, wanted, there is not None)))
                if same(edit.look(), wanted):
                    return [*said, *kept, f"registered with `claude mcp add-json` in {edit.path}"]
                said += [*kept, f"{program} did not register it{': ' + problem[0] if problem else ''}; the file was edited instead"]
            said += edit.put(wanted)
            return [*said, f"registered in {edit.path}"]
        except (Unreadable, OSError) as problem_found:
            raise Refused(_sentence(problem_found)) from None

    def uninstall(self, entry: Entry, *, project: str = "", dry_run: bool = False) -> list[str]:
        edit = self._edit(project)
        ours = as_json(entry)
        try:
            if dry_run:
                return [f"take {NAME} out of {edit.path}"] if edit.is_ours(edit.look(), ours) else []
            program = "" if project else find_program(self.environ)
            remove = [program, "mcp", "remove", "--scope", "user", NAME]
            return edit.drop(ours, (lambda: _run(remove, self.environ)) if program else None)
        except (Unreadable, OSError) as problem:
            raise Refused(_sentence(problem)) from None

    def hooks(self) -> str:
        try:
            state = self._hooks().look()
        except Unreadable as problem:
            return str(problem)
        if state.word == "none":
            return f"none of ours in {state.file}"
        others = [script for script in state.scripts if script != claude_hooks.MAIN]
        gone = [script for script in state.scripts if not os.path.exists(script)]
        faults = [f"those of {others[0]}"] if others else ["of another version or interpreter"] if state.word == "other" else []
        faults += ["its script is gone"] if gone else []
        told = f"in {state.file}" + (", with the one that wakes an idle session" if state.rewake else "")
        if state.is_off:
            told += ", and turned off: disableAllHooks there is true, so none of them runs"
        return told + (f" ({'; '.join(faults)}: run install.py)" if faults else "")

    def install_hooks(self, *, rewake: bool = False, dry_run: bool = False) -> list[str]:
        try:
            return self._hooks().put(rewake, dry_run)
        except (Unreadable, OSError) as problem:
            raise Refused(_sentence(problem)) from None

    def uninstall_hooks(self, *, dry_run: bool = False) -> list[str]:
        try:
            return self._hooks().drop(dry_run)
        except (Unreadable, OSError) as problem:
            raise Refused(_sentence(problem)) from None

    def _hooks(self) -> claude_hooks.HooksFile:
        return claude_hooks.HooksFile(claude_hooks.settings_file(self.environ), self.home, self.stamp)

    def session(self, program: str, prompt: str, *, headless: bool, entry: Entry) -> list[str]:
        # A prompt that begins with a dash would be read as an option.
        said = " " + prompt if prompt.startswith("-") else prompt
        argv = [program, *(["-p"] if headless else []), said]
        if self.find().entry is None:
            argv += ["--mcp-config", json.dumps({"mcpServers": {NAME: as_json(entry)}})]
        # The person has allowed the session, and it begins with our tools: in a window nobody may look for long, and without
        # one nobody can be asked. It is all that we allow by ourselves.
        return [*argv, "--allowedTools", f"mcp__{NAME}"]

    def _edit(self, project: str) -> FileEdit:
        if project:
            return FileEdit(os.path.join(project, ".mcp.json"), ("mcpServers", NAME), self.home, self.stamp, 0o644)
        return FileEdit(user_file(self.environ), ("mcpServers", NAME), self.home, self.stamp)

    def _by_program(self, program: str, wanted: dict[str, object], replace: bool) -> list[str]:
        if replace:
            problem = _run([program, "mcp", "remove", "--scope", "user", NAME], self.environ)
            if problem:
                return [problem]
        problem = _run(_add(program, wanted), self.environ)
        return [problem] if problem else []


def as_json(entry: Entry) -> dict[str, object]:
    """The entry as Claude Code writes it."""
    return {"type": "stdio", "command": entry.command, "args": list(entry.args), "env": {}}


def user_file(environ: Mapping[str, str]) -> str:
    """The file of the user scope; CLAUDE_CONFIG_DIR moves it, as it does for Claude Code."""
    return os.path.join(environ.get("CLAUDE_CONFIG_DIR") or home_of(environ), ".claude.json")


def find_program(environ: Mapping[str, str]) -> str:
    """The `claude` on the environment's PATH, absolute; "" when there is none."""
    found = shutil.which("claude", path=environ.get("PATH") or os.defpath)
    return os.path.abspath(found) if found else ""


def _add(program: str, wanted: dict[str, object]) -> list[str]:
    return [program, "mcp", "add-json", "--scope", "user", NAME, json.dumps(wanted)]


def _run(argv: list[str], environ: Mapping[str, str]) -> str:
    """ "" when it went well, else what the program said."""
    try:
        done = subprocess.run(
            argv, env=dict(environ), stdin=subprocess.DEVNULL, capture_output=True, timeout=PROGRAM_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {PROGRAM_TIMEOUT_S:.0f} s"
    except OSError as problem:
        return _sentence(problem)
    if done.returncode == 0:
        return ""
    said = (done.stderr or done.stdout).decode("utf-8", "replace").strip().splitlines()
    return said[-1][:300] if said else f"exit status {done.returncode}"


def _sentence(problem: Exception) -> str:
    if isinstance(problem, OSError):
        return f"{problem.filename}: {problem.strerror}" if problem.filename else str(problem)
    return str(problem)
