"""One MCP server process and the talk with it over stdio, as a coding client leads it: JSON-RPC, a line each way.

One question at a time, each answered within its time or `Gone`. The process is in a session of its own, so that a
Ctrl-C in the terminal ends its owner only, which then ends the process by its own handle: `close`, or `kill`.
"""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from lattice import VERSION

PROTOCOL = "2025-11-25"
ANSWER_S = 20.0
LEAVE_S = 2.0
# Its own process group: what the terminal sends to ours does not reach it.
DETACHED: dict[str, Any] = {"creationflags": 0x08000000 | 0x00000200} if sys.platform == "win32" else {"start_new_session": True}


class Gone(Exception):
    """The process has ended, or does not answer."""


class ToolFailed(Exception):
    """A tool's result with isError. `said` is its structured form: error, code, and more."""

    def __init__(self, said: Mapping[str, Any]) -> None:
        super().__init__(str(said.get("error") or said))
        self.said = said
        self.code = str(said.get("code") or "")


class McpClient:
    """Starts the process; its standard error goes to the file `log`. Used by one thread, but for `kill` and `hang_up`."""

    def __init__(self, command: Sequence[str], *, environ: Mapping[str, str], folder: str, log: str) -> None:
        self._log = log
        with open(log, "ab") as errors:
            self._process = subprocess.Popen(
                list(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env=dict(environ), cwd=folder, **DETACHED
            )
        self._answers: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()  # None: no more will come
        self._last_id = 0
        self._end = ""
        self._reader = threading.Thread(target=self._read, name=f"read {self._process.pid}", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def initialize(self) -> list[str]:
        """Shake hands; the names of the tools on offer."""
        who = {"name": "c2-lattice demo", "version": VERSION}
        self.request("initialize", {"protocolVersion": PROTOCOL, "capabilities": {}, "clientInfo": who})
        self._send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return [str(tool["name"]) for tool in self.request("tools/list")["tools"]]

    def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """What the tool answers, in its structured form. ToolFailed when it refuses."""
        result = self.request("tools/call", {"name": tool, "arguments": arguments})
        said: dict[str, Any] = result["structuredContent"]
        if result.get("isError"):
            raise ToolFailed(said)
        return said

    def request(self, method: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The result of a request. Gone when there is none."""
        self._last_id += 1
        self._send({"jsonrpc": "2.0", "id": self._last_id, "method": method, **({} if params is None else {"params": params})})
        while True:
            try:
                message = self._answers.get(timeout=ANSWER_S)
            except queue.Empty:
                raise Gone(f"no answer to {method} within {ANSWER_S:g} s") from None
            if message is None:
                self._answers.put(None)  # for whoever asks again
                raise Gone(self._how_it_ended())
            if message.get("id") != self._last_id:
                continue
            if "result" not in message:
                raise Gone(f"{method} is refused: {message.get('error')}")
            result: dict[str, Any] = message["result"]
            return result

    def kill(self) -> None:
        """End the process at once, with no chance to take leave (on POSIX by SIGKILL). Returns when it is gone."""
        self._process.kill()
        self._process.wait()

    def hang_up(self) -> None:
        """Close its standard input: it takes its leave of the broker and ends. Does not wait."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()

    def close(self) -> None:
        """Hang up, wait, and end it if it does not go by itself."""
        self.hang_up()
        try:
            self._process.wait(LEAVE_S)
        except subprocess.TimeoutExpired:
            self.kill()
        self._reader.join(LEAVE_S)
        if self._process.stdout is not None and not self._reader.is_alive():
            self._process.stdout.close()

    def _send(self, message: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()
        except (OSError, ValueError) as problem:  # ValueError: hung up
            raise Gone(self._how_it_ended()) from problem

    def _read(self) -> None:
        assert self._process.stdout is not None
        try:
            for line in self._process.stdout:
                message = json.loads(line)
                if isinstance(message, dict) and "method" not in message:
                    self._answers.put(message)
        except (OSError, ValueError) as problem:  # not a line of JSON-RPC: as good as the end
            self._end = f"what it says cannot be read: {problem}"
        self._answers.put(None)

    def _how_it_ended(self) -> str:
        if self._end:
            return self._end
        try:
            how = f"with {self._process.wait(LEAVE_S)}"
        except subprocess.TimeoutExpired:
            how = "to talk"
        try:
            with open(self._log, encoding="utf-8", errors="replace") as file:
                words = file.read()[-300:].strip().splitlines()
        except OSError:
            words = []
        return f"its process {self._process.pid} ended {how}" + (f": {words[-1]}" if words else "")
