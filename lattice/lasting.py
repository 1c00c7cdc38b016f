"""Names in a folder that last: a file that was made, renamed or linked keeps its name through a power cut."""

from __future__ import annotations

import os


def sync_folder(folder: str) -> None:
    """Put the folder's names on the disk, where the platform can. OSError."""
    if os.name == "nt":
        return  # a folder cannot be opened there
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
