"""The record of an installation: what was changed, so that it can be undone exactly.

One JSON file in the state directory, one member for each file that was touched. It goes when its last
member goes. A lost record only means that undoing takes out what is plainly ours and no more.
"""

from __future__ import annotations

import json
import os

from lattice.clients import config_files


def read(home: str) -> dict[str, dict[str, object]]:
    """Every member of the record, by the path of the file that it is about."""
    try:
        with open(_file(home), encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError):
        return {}
    return {path: one for path, one in found.items() if isinstance(one, dict)} if isinstance(found, dict) else {}


def keep(home: str, path: str, member: dict[str, object]) -> None:
    config_files.write(_file(home), json.dumps({**read(home), path: member}, indent=1) + "\n")


def forget(home: str, path: str) -> None:
    records = read(home)
    if path not in records:
        return
    del records[path]
    if records:
        config_files.write(_file(home), json.dumps(records, indent=1) + "\n")
    else:
        os.unlink(_file(home))


def _file(home: str) -> str:
    return os.path.join(home, "installed.json")
