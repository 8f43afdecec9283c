"""How much memory a server and all that it started hold, at most."""

import threading
from pathlib import Path


class MemoryWatch:
    """Looks each second at a process and its descendants; `peak_mb` is the most that it saw.

    What processes share counts once (the kernel's proportional set size). Linux.
    """

    def __init__(self, pid: int) -> None:
        self.peak_mb = 0
        self._pid = pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> "MemoryWatch":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while True:
            self.peak_mb = max(self.peak_mb, sum(map(_kilobytes, tree(self._pid))) // 1024)
            if self._over.wait(1):
                return


def tree(pid: int) -> list[int]:
    """The process and all its descendants that are there now."""
    found = [pid]
    for one in found:
        for children in Path(f"/proc/{one}/task").glob("*/children"):
            try:
                found += map(int, children.read_text().split())
            except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
                continue
    return found


def _kilobytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
