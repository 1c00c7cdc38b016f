"""What the types of the official Python SDK say about each line that an MCP server of ours wrote.

    python -m tests.field.official FOLDER

reads NAME.asked and NAME.said (kept by `tapped`), and prints one JSON object: {lines, faults, versions}. Each answer is held
against the type of its method in the revision that was asked for: by the request's own `_meta`, or else by `initialize`.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Sequence

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
VERSION = "io.modelcontextprotocol/protocolVersion"


def tapped(name: str) -> str:
    """The MCP server as a line of sh, between two `tee`s that keep each line of both directions at `name`."""
    command = [getattr(sys, "_base_executable", sys.executable), "-I", "-S", os.path.join(TOP, "mcp_server.py")]
    return f"tee {shlex.quote(name + '.asked')} | {shlex.join(command)} | tee {shlex.quote(name + '.said')}"


def judge(names: Sequence[str]) -> tuple[int, list[str], list[str]]:
    """(lines seen, what the official types find wrong, the revisions spoken)"""
    from mcp_types import methods
    from mcp_types.jsonrpc import jsonrpc_message_adapter

    lines, faults, versions = 0, [], set()
    for name in names:
        asked: dict[object, tuple[str, str]] = {}
        agreed = ""
        with open(f"{name}.asked", encoding="utf-8") as file:
            for line in file:
                message = _read(line)
                if "id" in message and "method" in message:
                    params = message.get("params")
                    meta = params.get("_meta", {}) if isinstance(params, dict) else {}
                    asked[message["id"]] = (message["method"], meta.get(VERSION, ""))
        with open(f"{name}.said", encoding="utf-8") as file:
            for line in file:
                lines += 1
                try:
                    read = json.loads(line)
                    if "error" in read:
                        # The schema of MCP has the id optional, and never null; the envelope of this SDK has it the other way.
                        assert read.get("id", 0) is not None, "a null id"
                        methods.v2026.JSONRPCErrorResponse.model_validate(read)
                        continue
                    message = jsonrpc_message_adapter.validate_json(line)
                    if hasattr(message, "result"):
                        method, version = asked[message.id]
                        agreed = message.result["protocolVersion"] if method == "initialize" else agreed
                        methods.validate_server_result(method, version or agreed, message.result)
                        versions.add(version or agreed)
                    elif hasattr(message, "method"):
                        version = agreed or max(version for _, version in asked.values())
                        methods.parse_server_notification(message.method, version, message.params)
                except Exception as fault:  # each is a finding, whatever its class
                    faults.append(f"{os.path.basename(name)}: {type(fault).__name__} {fault} in {line[:300]}")
    return lines, faults, sorted(versions)


def _read(line: str) -> dict:  # type: ignore[type-arg]
    """A line of the client: one that was broken on purpose was no request."""
    try:
        message = json.loads(line)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}


if __name__ == "__main__":
    where = sys.argv[1]
    kept = sorted(os.path.join(where, entry.removesuffix(".said")) for entry in os.listdir(where) if entry.endswith(".said"))
    print(json.dumps(dict(zip(("lines", "faults", "versions"), judge(kept), strict=True))))
