"""c2-lattice: a localhost broker and one stdio MCP server beside each coding session."""

VERSION = "5.0.0"
WIRE = 5  # grows when a session and a broker of different numbers could misunderstand each other
