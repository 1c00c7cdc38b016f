"""Start c2-lattice and open its page: python launch.py"""

import os
import sys

if sys.version_info < (3, 11):  # noqa: UP036  this line is for the older ones
    sys.exit("c2-lattice needs Python 3.11 or newer; this is " + sys.version.split()[0] + " at " + sys.executable)
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # -I leaves our own folder out

if __name__ == "__main__":
    try:
        from lattice.cli.launch import main

        raise SystemExit(main())
    except KeyboardInterrupt:
        raise SystemExit(130) from None
