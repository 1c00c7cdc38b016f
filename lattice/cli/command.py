"""What the `c2-lattice` command in the person's bin folder runs, by path: `python -I -S command.py VERB ...`."""

import os
import sys

# Under -I our own folder is not on the path.
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from lattice.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
