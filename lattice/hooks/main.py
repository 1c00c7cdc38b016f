"""What a coding client runs at its events, by path: `python -I -S main.py EVENT`, the event's JSON on stdin.

As little as can be: a script is compiled anew at each start, what it imports is not.
"""

import os
import sys

if __name__ == "__main__":
    # Under -I our own folder is not on the path.
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

    from lattice.hooks.events import main

    status = main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(status)  # nothing is left to be done, and taking the interpreter down takes as long as a call of the broker
