"""One writer at a time: command line, sensor and scheduled runs never write the same home together."""

import fcntl
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from orchestration.errors import FleetmartError
from orchestration.settings import Settings

_held: set[str] = set()


@contextmanager
def writer(settings: Settings, step: str) -> Iterator[None]:
    """Hold the home's writer lock while `step` works; within one process it may be taken again.

    The kernel frees the lock when its holder dies, however it dies.
    Raises FleetmartError when another process still holds it after `lock_wait_seconds`.
    """
    settings.prepare_home()
    path = settings.home / "writer.lock"
    if str(path) in _held:
        yield
        return
    with path.open("a+") as file:
        _acquire(file, settings.lock_wait_seconds)
        file.seek(0)
        file.truncate()
        file.write(f"{step}, process {os.getpid()}")
        file.flush()
        _held.add(str(path))
        try:
            yield
        finally:
            _held.discard(str(path))


def _acquire(file, wait_seconds: float) -> None:
    deadline = time.monotonic() + wait_seconds
    told = False
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            file.seek(0)
            holder = file.read() or "another process"
            if time.monotonic() >= deadline:
                raise FleetmartError(
                    f"Another writer is at work ({holder}). Wait for it to end, then run this again."
                ) from None
            if not told:
                print(f"waiting for another writer: {holder}", file=sys.stderr)
                told = True
            time.sleep(0.2)
