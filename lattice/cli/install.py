"""install.py: register the MCP server with the coding clients, put the hooks into their settings, write the `c2-lattice` command.

Installing twice changes nothing; uninstalling leaves every file as it was, and twice is fine. Nothing is
started and nothing of others is stopped. Each sentence says what was done.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Mapping

from lattice import VERSION, settings
from lattice.cli import bin_command, git_hook, status
from lattice.clients import claude_plugin
from lattice.clients.adapters import ADAPTERS
from lattice.clients.base import NAME, Adapter, Refused, own_entry
from lattice.typed import TOP, as_typed, own_script


def main(argv: list[str] | None = None) -> int:
    """0 done (or nothing to do); 1 refused, or --status found nothing registered; 2 the line is wrong."""
    asked = _parse(argv)
    environ = dict(os.environ)
    try:
        return to_the_end(lambda: _run(asked, settings.read(environ), environ))
    except settings.BadSetting as problem:
        return fail(str(problem), 2)
    except Refused as problem:
        return fail(str(problem), 1)
    except OSError as problem:
        return fail(in_words(problem), 1)
    except KeyboardInterrupt:
        return fail("interrupted; what was begun is finished by running install.py again, and undone by --uninstall", 130)


def _run(asked: argparse.Namespace, chosen, environ: Mapping[str, str]) -> int:  # type: ignore[no-untyped-def]
    project = _folder(asked.project)
    if asked.git_hook is not None:
        return _git_hook(asked, environ)
    if asked.plugin is not None:
        return _plugin(asked)
    if asked.status:
        return _status(chosen, environ, project)
    if asked.uninstall:
        return _uninstall(chosen.home, environ, project, asked.dry_run)
    return _install(chosen.home, environ, project, asked)


def adapters(environ: Mapping[str, str], home: str, *, all_of_them: bool = False) -> list[Adapter]:
    """The clients there are on this machine; Claude Code in any case, so that the order of installing does not matter."""
    found = [kind(environ, home, time.strftime("%Y%m%d-%H%M%S")) for kind in ADAPTERS.values()]
    return [adapter for adapter in found if all_of_them or adapter.name == "claude" or adapter.detect()]


def register(environ: Mapping[str, str], home: str, project: str = "", dry_run: bool = False) -> list[str]:
    """Register with every client; what was done, in sentences. Refused."""
    said = []
    for adapter in adapters(environ, home):
        is_there = adapter.detect()
        done = adapter.install(own_entry(), project=project, dry_run=dry_run)
        said += [f"{adapter.title}: {sentence}" for sentence in done or [f"{NAME} is registered already"]]
        if not is_there:
            said.append(f"{adapter.title} was not found on this machine; it will find the entry when it comes")
    return said


def put_hooks(environ: Mapping[str, str], home: str, *, rewake: bool = False, dry_run: bool = False) -> list[str]:
    """Put the hooks into the settings of every client that has such; what was done, in sentences. Refused."""
    said = []
    for adapter in adapters(environ, home):
        done = adapter.install_hooks(rewake=rewake, dry_run=dry_run) or (["hooks are there already"] if adapter.hooks() else [])
        said += [f"{adapter.title}: {sentence}" for sentence in done]
    return said


def drop_hooks(environ: Mapping[str, str], home: str, *, dry_run: bool = False) -> list[str]:
    """Take them out again; sentences. Refused."""
    found = adapters(environ, home, all_of_them=True)
    return [f"{adapter.title}: {sentence}" for adapter in found for sentence in adapter.uninstall_hooks(dry_run=dry_run)]


def fail(sentence: str, code: int) -> int:
    print(f"{NAME}: {sentence}", file=sys.stderr, flush=True)
    return code


def to_the_end(run: Callable[[], int]) -> int:
    """What `run` answers; 1, and not a word, when whoever reads our output goes before its end."""
    try:
        code = run()
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def in_words(problem: OSError) -> str:
    """What the system said, with the file where it names one."""
    said = problem.strerror or str(problem)
    return f"{problem.filename}: {said}" if problem.filename else said


def _install(home: str, environ: Mapping[str, str], project: str, asked: argparse.Namespace) -> int:
    dry_run = asked.dry_run
    if not dry_run:
        settings.make_home(home)
    steps: list[Callable[[], list[str]]] = [lambda: register(environ, home, project, dry_run)]
    if not project:
        if asked.no_hooks:
            steps.append(lambda: drop_hooks(environ, home, dry_run=dry_run))
        else:
            steps.append(lambda: put_hooks(environ, home, rewake=asked.rewake, dry_run=dry_run))
        there = f"the command {bin_command.find(environ).path} is there already"
        steps.append(lambda: bin_command.install(environ, home, dry_run=dry_run) or [there])
    said, problems = _each(steps)
    if dry_run:
        print("would:")
    _say(said, "  " if dry_run else "")
    if problems:
        return _fail_all(problems)
    if not dry_run:
        print(f"\nNext: {own_script('launch.py')}\n  starts the broker and opens the page. Then start Claude Code in a project: claude")
        print("  Sessions that run already get the tools when they are started anew.")
        if project:
            print(f"Claude Code asks once whether it may use {os.path.join(project, '.mcp.json')}.")
            print("Hooks are the user's: install.py without --project puts them in.")
    return 0


def _uninstall(home: str, environ: Mapping[str, str], project: str, dry_run: bool) -> int:
    """What was put in is taken out; the data is the person's, and where it is is said."""
    steps: list[Callable[[], list[str]]] = [lambda: _unregister(environ, home, project, dry_run)]
    if not project:
        steps.append(lambda: drop_hooks(environ, home, dry_run=dry_run))
        steps.append(lambda: bin_command.uninstall(environ, home, dry_run=dry_run))
    said, problems = _each(steps)
    if dry_run:
        print("would:" if said else "nothing to do")
        _say(said, "  ")
        return _fail_all(problems) if problems else 0
    _say(said or ([] if problems else ["nothing was installed"]), "")
    if problems:
        return _fail_all(problems)
    for folder in (os.path.join(home, "backups"), home):
        try:
            os.rmdir(folder)
        except OSError:
            continue  # something is in it: secret, tickets, backups of data are not the installation's to remove
    database = settings.read(dict(environ)).db
    kept = [path for path in (home, database) if os.path.lexists(path)]
    if kept:
        print(f"your data stays in {' and '.join(kept)}; a broker that runs goes on until: {own_script('launch.py', '--stop')}")
    return 0


def _unregister(environ: Mapping[str, str], home: str, project: str, dry_run: bool) -> list[str]:
    said = []
    for adapter in adapters(environ, home, all_of_them=True):
        done = adapter.uninstall(own_entry(), project=project, dry_run=dry_run)
        said += [f"{adapter.title}: {sentence}" for sentence in done]
        found = adapter.find(project)
        if found.entry is not None and not dry_run:
            where = " ".join(found.entry.args) or found.entry.command
            said.append(f"{adapter.title}: {NAME} in {found.file} points to {where}: not ours, left alone")
    return said


def _each(steps: list[Callable[[], list[str]]]) -> tuple[list[str], list[str]]:
    """Every step, though one before it could not be done: (what was done, what could not), in sentences."""
    said: list[str] = []
    problems: list[str] = []
    for step in steps:
        try:
            said += step()
        except Refused as problem:
            problems.append(str(problem))
        except OSError as problem:
            problems.append(in_words(problem))
    return said, list(dict.fromkeys(problems))


def _fail_all(problems: list[str]) -> int:
    for problem in problems:
        fail(f"{problem}. Mend that, then run the same line again", 1)
    return 1


def _status(chosen, environ: Mapping[str, str], project: str) -> int:  # type: ignore[no-untyped-def]
    is_registered = False
    for adapter in adapters(environ, chosen.home):
        found = adapter.find(project)
        is_registered |= found.entry is not None
        print(f"{adapter.title}: {registration(adapter, project)}")
        where = adapter.detect()
        print(f"  program: {adapter.program() or 'not on PATH'}" if where else "  no sign of it on this machine")
        if adapter.hooks():
            print(f"  hooks: {adapter.hooks()}")
    command = bin_command.find(environ)
    words = {"ours": "installed", "other": "of another checkout", "foreign": "not ours", "none": "not installed"}
    print(f"command: {command.path}: {words[command.state]}{'' if command.on_path else '; its folder is not on PATH'}")
    print(f"broker: {status.broker_line(chosen)}")
    print(f"this is {NAME} {VERSION} in {TOP}")
    return 0 if is_registered else 1


def registration(adapter: Adapter, project: str = "") -> str:
    """What is registered, in a sentence."""
    found = adapter.find(project)
    if found.problem:
        return found.problem
    if found.entry is None:
        return f"not registered (in {found.file})"
    faults = []
    if found.entry != own_entry():
        faults.append("another checkout or interpreter than this one")
    if os.path.isabs(found.entry.command) and not os.path.exists(found.entry.command):
        faults.append("its interpreter is gone")
    server = next((word for word in found.entry.args if word.endswith(".py")), "")
    if server and not os.path.exists(server):
        faults.append("its server file is gone")
    said = f"registered in {found.file}: {' '.join((found.entry.command, *found.entry.args))}"
    return said + (f" ({'; '.join(faults)}: run install.py)" if faults else "")


def _git_hook(asked: argparse.Namespace, environ: Mapping[str, str]) -> int:
    folder = _folder(asked.git_hook)
    if asked.status:
        print(git_hook.look(folder, environ))
        return 0
    change = git_hook.remove if asked.uninstall else git_hook.add
    _say(change(folder, environ, dry_run=asked.dry_run) or ["nothing to do"], "")
    return 0


def _plugin(asked: argparse.Namespace) -> int:
    if not asked.plugin:
        raise Refused("--plugin needs the name of a folder")
    folder = os.path.abspath(asked.plugin)
    if asked.status:
        print(claude_plugin.look(folder, rewake=asked.rewake))
        return 0
    if asked.uninstall:
        _say(claude_plugin.remove(folder, dry_run=asked.dry_run) or ["nothing to do"], "")
        return 0
    _say(claude_plugin.write(folder, rewake=asked.rewake, dry_run=asked.dry_run) or ["nothing to do"], "")
    if not asked.dry_run:
        print(f"\nTry it: {as_typed('claude', '--plugin-dir', folder)}")
        print("  Use either the plugin or what install.py puts into your settings: with both, each hook runs twice.")
    return 0


def _folder(asked: str | None) -> str:
    if asked is None:
        return ""
    folder = os.path.abspath(asked)
    if not os.path.isdir(folder):
        raise Refused(f"{folder} is no folder")
    return folder


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="install.py", description="Register c2-lattice with Claude Code, put its hooks in, and write the c2-lattice command."
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--status", action="store_true", help="what is registered and installed; changes nothing")
    what.add_argument("--uninstall", action="store_true", help="take everything out again")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, do nothing")
    parser.add_argument("--no-hooks", action="store_true", help="without hooks in the user's settings; those that are there go")
    parser.add_argument("--rewake", action="store_true", help="with a hook that wakes an idle session, for Claude Code before 2.1.224")
    parser.add_argument("--plugin", metavar="DIR", help="write the same as a Claude Code plugin folder instead; changes no settings")
    parser.add_argument("--git-hook", nargs="?", const=".", metavar="DIR", help="only the pre-commit hook of the repository in DIR (here)")
    parser.add_argument("--project", nargs="?", const=".", metavar="DIR", help="only for the project in DIR (here), in its .mcp.json")
    return parser.parse_args(argv)


def _say(sentences: list[str], margin: str) -> None:
    for sentence in sentences:
        print(margin + sentence)
