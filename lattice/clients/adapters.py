"""The clients we know: one line each."""

from __future__ import annotations

from lattice.clients.base import Adapter
from lattice.clients.claude import ClaudeCode

ADAPTERS: dict[str, type[Adapter]] = {adapter.name: adapter for adapter in (ClaudeCode,)}
