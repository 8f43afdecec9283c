"""Copies of published files, made when nobody waits for them: a tenant's next publish changes the copy and is done.

To copy a snapshot takes time that grows with its history, and disks are slow while a build computes. So the copy is
made at the end of a publish, for the next one, and belongs to exactly the version whose name it bears.
"""

import os
import shutil
from pathlib import Path


def make_spare(path: Path) -> None:
    """Copy a file that will not change, whole and on the disk or not at all; raises OSError as copying does."""
    spare = _spare_of(path)
    partial = spare.with_name(f"{spare.name}.part")
    partial.touch(mode=0o600)
    try:
        shutil.copyfile(path, partial)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(partial, spare)
    finally:
        partial.unlink(missing_ok=True)


def take_copy(path: Path, target: Path) -> None:
    """Make `target`, in the same folder, a copy of the file: its spare, if there is one.

    Raises OSError as copying does.
    """
    spare = _spare_of(path)
    if spare.exists():
        os.replace(spare, target)
    else:
        shutil.copyfile(path, target)


def remove_spares(folder: Path) -> None:
    """Remove all spares in the folder, and what broken-off copying left of them."""
    for left_over in folder.glob(".*.spare*"):
        left_over.unlink()


def spare_bytes(folder: Path) -> int:
    """What the spares in the folder take."""
    return sum(path.stat().st_size for path in folder.glob(".*.spare"))


def _spare_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.spare")
