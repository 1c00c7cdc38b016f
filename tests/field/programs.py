"""Where the field tests' programs are: the cache that `.ci/run` fills (C2_LATTICE_FIELD), else the PATH.

Each function raises SkipTest with what would install the program; under --require-field the runner counts that as a failure.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import unittest

CACHE = os.environ.get("C2_LATTICE_FIELD", "")
CLAUDE_VERSION = "2.1.328"
INSPECTOR_VERSION = "2.12.0"


def claude() -> tuple[str, str]:
    """(the program, the PATH with the node it runs on)"""
    return _of_npm("claude", "claude", f"Claude Code: npm install @anthropic-ai/claude-code@{CLAUDE_VERSION}")


def inspector() -> tuple[str, str]:
    """(the MCP Inspector, the PATH with the node it runs on)"""
    return _of_npm("inspector", "mcp-inspector", f"the MCP Inspector: npm install @modelcontextprotocol/inspector@{INSPECTOR_VERSION}")


def _of_npm(folder: str, name: str, what: str) -> tuple[str, str]:
    program = os.path.join(CACHE, folder, "node_modules", ".bin", name)
    node = os.path.join(CACHE, "node", "node_modules", ".bin")
    if not os.path.exists(program):
        raise unittest.SkipTest(f"needs {what} (.ci/run does)")
    return program, os.pathsep.join((node, "/usr/local/bin", "/usr/bin", "/bin"))


def python_with(*modules: str) -> str:
    """A Python that can import these: this one, else that of the cache."""
    if all(importlib.util.find_spec(module) for module in modules):
        return sys.executable
    python = os.path.join(CACHE, "venv", "bin", "python")
    if os.path.exists(python):
        tried = subprocess.run([python, "-c", "import " + ", ".join(modules)], capture_output=True, timeout=60, check=False)
        if tried.returncode == 0:
            return python
    raise unittest.SkipTest(f"needs the Python packages {', '.join(modules)}: .ci/run installs them")


def on_path(program: str, package: str) -> str:
    found = shutil.which(program)
    if not found:
        raise unittest.SkipTest(f"needs {program}: apt-get install {package}")
    return found
