"""A new snapshot is shown once what its tenant's people ask of late was answered of it: nobody waits for that then.

The dashboards' server answers (superset/answer_ahead.py); where none does, nobody waits for one.
"""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestration.settings import Settings

# Each tenant waits for its own answers, and the tenants after it, too.
PATIENCE_SECONDS = 15.0
LOOK_SECONDS = 0.1
# Links beside the tenant's file, by which the two tell each other: superset/security/tenancy.py.
NEXT, ANSWERED = "next", "answered"
LOCK = "answering-ahead.lock"


@contextmanager
def answered_ahead(settings: Settings, file: Path) -> Iterator[None]:
    """Wait until the questions to this new file of a tenant are answered, PATIENCE_SECONDS at most; show it within."""
    links = [file.with_name(name) for name in (NEXT, ANSWERED)]
    try:
        _remove(links)
        if _is_somebody_there(settings):
            links[0].symlink_to(file.name)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while links[0].is_symlink() and time.monotonic() < deadline and _is_somebody_there(settings):
            time.sleep(LOOK_SECONDS)
        yield
    finally:
        _remove(links)


def _remove(links: list[Path]) -> None:
    for link in links:
        link.unlink(missing_ok=True)


def _is_somebody_there(settings: Settings) -> bool:
    """Whoever answers holds a lock as long as it lives."""
    try:
        with (settings.home / "superset" / LOCK).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
