"""Start the c2-lattice broker: python broker.py [--port N] [--db FILE]."""

import os
import sys

if sys.version_info < (3, 11):  # noqa: UP036  an older one shall say so
    raise SystemExit("c2-lattice needs Python 3.11 or newer; this is " + sys.version.split()[0])
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lattice.broker.main import main

if __name__ == "__main__":
    raise SystemExit(main())
