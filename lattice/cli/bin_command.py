"""The `c2-lattice` command in the person's bin folder: a script of two lines that starts our command line.

It names the real interpreter, quoted for the shell that reads it. A file of that name which is not ours is
never overwritten and never removed.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from typing import NamedTuple

from lattice.clients import config_files, record
from lattice.clients.base import home_of

MARK = "written by c2-lattice install.py; removed by install.py --uninstall"
LAUNCHER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "command.py")


class Command(NamedTuple):
    """Where the command is or would be, and what is there: ours, other (ours of another place), foreign, none."""

    path: str
    state: str
    on_path: bool


def find(environ: Mapping[str, str], windows: bool = os.name == "nt") -> Command:
    folder = bin_folder(environ, windows)
    path = os.path.join(folder, "c2-lattice.cmd" if windows else "c2-lattice")
    on_path = any(_same_folder(folder, part) for part in environ.get("PATH", "").split(os.pathsep) if part)
    return Command(path, _state(path, windows), on_path)


def bin_folder(environ: Mapping[str, str], windows: bool = os.name == "nt") -> str:
    """The folder for a person's own commands."""
    if not windows:
        return os.path.join(home_of(environ), ".local", "bin")
    local = environ.get("LOCALAPPDATA") or os.path.join(home_of(environ), "AppData", "Local")
    apps = os.path.join(local, "Microsoft", "WindowsApps")  # on every user's PATH since Windows 10
    return apps if os.path.isdir(apps) else os.path.join(local, "c2-lattice", "bin")


def text(windows: bool = os.name == "nt") -> str:
    """What the script says."""
    python = os.path.realpath(sys.executable)
    if windows:
        quoted = [f'"{word.replace("%", "%%")}"' for word in (python, LAUNCHER)]  # a name there has no quotes in it
        return f"@echo off\r\nrem {MARK}\r\n{quoted[0]} -I -S {quoted[1]} %*\r\n"
    return f'#!/bin/sh\n# {MARK}\nexec {shlex.quote(python)} -I -S {shlex.quote(LAUNCHER)} "$@"\n'


def install(environ: Mapping[str, str], home: str, *, dry_run: bool = False, windows: bool = os.name == "nt") -> list[str]:
    """Write the command; sentences, [] when it is there already."""
    command = find(environ, windows)
    if command.state == "ours":
        return []
    if command.state == "foreign":
        return [f"{command.path} is there and not ours: left alone (run it as: {sys.executable} -I -S {LAUNCHER})"]
    if dry_run:
        return [f"write the command {command.path}"]
    folder = os.path.dirname(command.path)
    made = record.read(home).get(command.path, {}).get("made_folders")
    new_folders = made if isinstance(made, list) else _missing(folder)
    os.makedirs(folder, exist_ok=True)
    config_files.write(command.path, text(windows), 0o755)
    record.keep(home, command.path, {"made_folders": new_folders})
    said = [f"wrote the command {command.path}"]
    if not command.on_path:
        said.append(f"{folder} is not on your PATH: add it, or call {command.path} in full")
    return said


def uninstall(environ: Mapping[str, str], home: str, *, dry_run: bool = False, windows: bool = os.name == "nt") -> list[str]:
    """Remove the command if it is ours, and the folders that were made for it if they are empty."""
    command = find(environ, windows)
    if command.state not in ("ours", "other"):
        return []
    if dry_run:
        return [f"remove the command {command.path}"]
    os.unlink(command.path)
    made = record.read(home).get(command.path, {}).get("made_folders")
    for folder in made if isinstance(made, list) else []:
        try:
            os.rmdir(folder)
        except OSError:
            break  # somebody else uses it by now
    record.forget(home, command.path)
    return [f"removed the command {command.path}"]


def _state(path: str, windows: bool) -> str:
    if not os.path.lexists(path):
        return "none"
    if os.path.islink(path) or not os.path.isfile(path):
        return "foreign"
    try:
        with open(path, encoding="utf-8", newline="") as file:
            found = file.read(65_536)
    except (OSError, UnicodeDecodeError):
        return "foreign"
    return "ours" if found == text(windows) else "other" if MARK in found else "foreign"


def _missing(folder: str) -> list[str]:
    """The folders that are not there yet, innermost first."""
    found = []
    while folder and not os.path.isdir(folder):
        found.append(folder)
        folder = os.path.dirname(folder)
    return found


def _same_folder(one: str, other: str) -> bool:
    return os.path.normcase(os.path.normpath(one)) == os.path.normcase(os.path.normpath(other))
