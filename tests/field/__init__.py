"""Real third-party programs against the real broker and MCP server. Run with `--require-field`; `.ci/run` installs what they need."""
