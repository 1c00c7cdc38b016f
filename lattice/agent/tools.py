"""Tools: the contract's operations, as an MCP client sees them.

One list, always in the table's order, one page, at most 8,000 bytes of compact JSON (2,000 tokens): every
session pays for it. No text of a peer ever enters it. What holds for all tools is said once, in `instructions.py`.
"""

from __future__ import annotations

from lattice.contract import operations
from lattice.contract.params import Param, object_schema


def tool_fields(name: str) -> tuple[Param, ...]:
    """What a caller of this tool may give."""
    return tuple(param for param in operations.fields_on(operations.BY_NAME[name], "mcp") if not param.identity)


def offered(toolsets: str) -> tuple[str, ...]:
    """The names of the tools for this setting: the 22, and with `all` or a set's name those that it adds."""
    asked = _words(toolsets)
    more = tuple(
        operation.name
        for operation in operations.OPERATIONS
        if operation.name not in operations.TOOLS
        and "mcp" in operation.surfaces
        and (operation.toolset in asked or "all" in asked)
        and operation.toolset != "core"
    )
    return operations.TOOLS + more


def unknown(toolsets: str) -> list[str]:
    """What the setting names and is no set."""
    return sorted(_words(toolsets).difference(operations.TOOLSETS, ("all",)))


def _words(toolsets: str) -> set[str]:
    return {word.strip() for word in toolsets.split(",") if word.strip()}


def describe(name: str) -> dict[str, object]:
    """One tool of `tools/list`."""
    operation = operations.BY_NAME[name]
    reads = name in operations.READ_ONLY_TOOLS or operation.effect == "read"
    annotations: dict[str, object] = {"readOnlyHint": reads, "openWorldHint": False}
    if not reads:
        annotations["destructiveHint"] = name in operations.DESTROYS  # unset means true there
    said: dict[str, object] = {
        "name": name,
        "description": operation.doc,
        "inputSchema": object_schema(tool_fields(name)),
        "annotations": annotations,
    }
    if name == "check_messages":
        said["_meta"] = {"anthropic/alwaysLoad": True}
    return said
