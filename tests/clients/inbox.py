"""An inbox like that of a coding session: a socket that takes lines from the session's children, and answers nothing."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from typing import Any


class Inbox:
    """`lines` holds what was posted, as (monotonic time, auth token, text), in order."""

    def __init__(self, folder: str) -> None:
        self.path = os.path.join(folder, "inbox.sock")
        self.token = "the-token-of-the-inbox"
        self.lines: list[tuple[float, str, str]] = []
        self.news = threading.Condition()
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(self.path)
        self.listener.listen()
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    @property
    def environ(self) -> dict[str, str]:
        return {"CLAUDE_CODE_MESSAGING_SOCKET": self.path, "CLAUDE_CODE_MESSAGING_TOKEN": self.token}

    def __enter__(self) -> Inbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Nobody listens any more; the path is gone, as after the client's end."""
        with contextlib.suppress(OSError):
            os.unlink(self.path)
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(5)

    def texts(self, count: int = 0, within_s: float = 10.0) -> list[str]:
        """What was posted, once there is so much."""
        with self.news:
            if not self.news.wait_for(lambda: len(self.lines) >= count, within_s):
                raise AssertionError(f"the inbox got {len(self.lines)} notices, not {count}: {self.lines}")
            return [text for _, _, text in self.lines]

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(5)
                data = b""
                while chunk := connection.recv(65536):
                    data += chunk
            said: list[dict[str, Any]] = [json.loads(line) for line in data.splitlines()]
            with self.news:
                if len(said) == 2:  # a connection without lines only looked whether somebody is there
                    self.lines.append((time.monotonic(), said[0]["token"], said[1]["message"]["content"]))
                self.news.notify_all()
