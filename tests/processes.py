"""What works on a home, as the kernel tells it, and waiting for it."""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

PATIENCE_SECONDS = 600


def processes_of(home: Path) -> dict[int, str]:
    """Numbers and command lines of all processes that have this home in their environment."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended while it was looked at
            if f"FLEETMART_HOME={home}\0".encode() in (process / "environ").read_bytes():
                found[int(process.name)] = (process / "cmdline").read_text().replace("\0", " ")
    return found


def until(condition: Callable[[], bool]) -> None:
    """Wait for it; fails when it does not come."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)
