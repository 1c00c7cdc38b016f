"""An architect and two workers, each on the official Python SDK, finish a diamond of tasks. Run by test_python_sdk.

    python -m tests.field.sdk_walk MODE HOME PORT

Prints one JSON object: what happened, and what the official types say about every line that the servers wrote.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from typing import Any

from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from tests.field import official

PEERS = (("arch", "architect"), ("w1", "worker"), ("w2", "worker"))


def server(home: str, port: str, peer: str, role: str) -> StdioServerParameters:
    """The MCP server of one peer, with each line of both directions kept."""
    line = official.tapped(os.path.join(home, peer))
    environ = {
        "HOME": home, "PATH": os.environ.get("PATH", ""), "C2_LATTICE_HOME": os.path.join(home, "state"),
        "C2_LATTICE_DB": os.path.join(home, "lattice.db"), "C2_LATTICE_PORT": port, "PEER_ID": peer, "PEER_ROLE": role,
    }  # fmt: skip
    return StdioServerParameters(command="/bin/sh", args=["-c", line], env=environ, cwd=home)


async def call(client: Any, tool: str, **arguments: Any) -> dict[str, Any]:
    result = await client.call_tool(tool, arguments)
    if result.is_error:
        raise RuntimeError(f"{tool}: {result.content[0].text}")
    if json.loads(json.dumps(result.structured_content)) != result.structured_content:
        raise RuntimeError(f"{tool}: structuredContent is no plain JSON")
    return dict(result.structured_content)


async def work(client: Any, peer: str, ended: list[str]) -> None:
    """Claim whatever is free until nothing is left to be done."""
    for _ in range(400):
        tasks = (await call(client, "list_tasks"))["tasks"]
        if all(task["status"] == "completed" for task in tasks):
            return
        free = [task for task in tasks if task["status"] == "pending" and task.get("claimable")]
        taken = await client.call_tool("claim_task", {"task_id": free[0]["id"]}) if free else None
        if taken is None or taken.is_error:  # nothing free, or the other worker was quicker
            await asyncio.sleep(0.02)
            continue
        await call(client, "lock_file", file_path=f"{free[0]['title']}.py")
        await call(client, "complete_task", task_id=free[0]["id"], artifacts={"summary": f"{free[0]['title']} by {peer}"})
        await call(client, "unlock_file", file_path=f"{free[0]['title']}.py")
        ended.append(str(free[0]["title"]))
    raise RuntimeError("the tasks did not come to an end")


async def walk(mode: str, home: str, port: str) -> dict[str, Any]:
    async with contextlib.AsyncExitStack() as stack:
        log = stack.enter_context(open(os.path.join(home, "stderr"), "w", encoding="utf-8"))
        clients: dict[str, Any] = {}
        for peer, role in PEERS:
            transport = stdio_client(server(home, port, peer, role), errlog=log)
            clients[peer] = await stack.enter_async_context(Client(transport, mode=mode))
        tools = [tool.name for tool in (await clients["arch"].list_tools()).tools]
        for peer, _ in PEERS:
            await clients[peer].list_tools()
            await call(clients[peer], "set_summary", summary=f"{peer} at work")
        made = await call(
            clients["arch"], "create_task",
            tasks=[
                {"title": "base", "priority": "high"}, {"title": "left", "blocked_by": [-1]}, {"title": "right", "blocked_by": [-1]},
                {"title": "roof", "blocked_by": [-2, -3]},
            ],
            run_id="diamond",
        )  # fmt: skip
        early = await clients["w1"].call_tool("claim_task", {"task_id": made["task_ids"][3]})
        ended: list[str] = []
        await asyncio.gather(*(work(clients[peer], peer, ended) for peer in ("w1", "w2")))
        await call(clients["w1"], "send_message", recipient_id="arch", category="finding", content="the diamond is done")
        mail = await call(clients["arch"], "check_messages")
        run = await call(clients["arch"], "resume_run", run_id="diamond")
        version = {client.protocol_version for client in clients.values()}
        peers = (await call(clients["arch"], "list_peers"))["peers"]
    return {
        "tools": tools, "early_is_error": early.is_error, "ended": ended, "versions": sorted(version),
        "mail": [[letter["from"], letter["content"]] for letter in mail["messages"]],
        "run": sorted([task["title"], task["status"]] for task in run["tasks"]), "peers": sorted(peer["id"] for peer in peers),
    }  # fmt: skip


if __name__ == "__main__":
    chosen, where, at = sys.argv[1:4]
    told = asyncio.run(walk(chosen, where, at))
    told["lines"], told["faults"], spoken = official.judge([os.path.join(where, peer) for peer, _ in PEERS])
    assert spoken == told["versions"], spoken
    print(json.dumps(told))
