"""Start c2-lattice and open its page: python launch.py"""

import os
import sys

if sys.version_info < (3, 11):
    sys.exit("c2-lattice needs Python 3.11 or newer; this is %d.%d (%s)" % (sys.version_info[0], sys.version_info[1], sys.executable))

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lattice.cli.launch import main

if __name__ == "__main__":
    raise SystemExit(main())
