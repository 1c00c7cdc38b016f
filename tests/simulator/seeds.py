"""Seeds that once failed, each with what it found. All of them are run each time.

A seed is a history only as long as the town's script stays as it is; after a change of that it is one more seed among many.
"""

from __future__ import annotations

SEEDS: tuple[tuple[int, str], ...] = ()
