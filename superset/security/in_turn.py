"""Who asks what somebody else is being answered waits for that answer: after a publish, a tenant's people all ask.

Files are locked, so that it holds among the server's processes too; the kernel frees them however a process ends.
"""

import fcntl
import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

# Questions that share a file wait for each other without need: so many files make that rare.
FILES = 4096
PATIENCE_SECONDS = 30
LOOK_SECONDS = 0.01


@contextmanager
def in_turn(folder: Path, question: str) -> Iterator[None]:
    """Nobody else is in such a block for the same question; who waited for PATIENCE_SECONDS goes on all the same."""
    folder.mkdir(parents=True, exist_ok=True)
    number = int.from_bytes(hashlib.sha256(question.encode()).digest()[:8]) % FILES
    with (folder / f"{number}.lock").open("a") as file:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not _is_locked(file) and time.monotonic() < deadline:
            time.sleep(LOOK_SECONDS)
        yield


def _is_locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
