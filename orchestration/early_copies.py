"""Copies of files made in the background, begun before they are needed: disks are slow while a build computes."""

import os
import shutil
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType


class EarlyCopies:
    """Copies begun with `begin` and fetched with `take`; what nobody took is removed at the end of the block."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "early copies")
        self._copies: dict[Path, Future[Path]] = {}

    def begin(self, path: Path) -> None:
        """Copy a file that will not change, beside itself and under a name of unfinished files."""
        self._copies[path] = self._pool.submit(_copy, path)

    def take(self, path: Path, target: Path) -> None:
        """Make `target`, in the same folder, a copy of the file, begun early or not; raises OSError as copying does."""
        copy = self._copies.pop(path, None)
        if copy is None:
            shutil.copyfile(path, target)
        else:
            os.replace(copy.result(), target)

    def __enter__(self) -> "EarlyCopies":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._pool.shutdown(cancel_futures=True)
        for path in self._copies:
            _name_of_copy(path).unlink(missing_ok=True)


def _copy(path: Path) -> Path:
    """Written to the disk too: whoever takes the copy then waits for no more than what is changed in it."""
    copy = _name_of_copy(path)
    with path.open("rb") as source, copy.open("wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)
        os.fsync(target.fileno())
    return copy


def _name_of_copy(path: Path) -> Path:
    return path.with_name(f".{path.name}.copy.part")
