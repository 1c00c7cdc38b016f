"""The MCP server of c2-lattice, as a coding client starts it: python mcp_server.py"""

import os
import sys

if sys.version_info < (3, 11):  # noqa: UP036 - an older one shall say so
    sys.stderr.write("c2-lattice needs Python 3.11 or newer; this is %d.%d\n" % sys.version_info[:2])  # noqa: UP031 - so that an older one can read it
    raise SystemExit(78)
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # -I leaves our own folder out

from lattice.agent.main import main

raise SystemExit(main())
