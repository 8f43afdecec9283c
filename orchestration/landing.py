"""Where files arrive: folders of the home, one per source, and below a URL of any kind that fsspec knows.

A file is taken when it is whole: names that say it is being written are left alone until it is
renamed, and a file that changed a moment ago is left until it lay unchanged for a while.
"""

import filecmp
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from orchestration.errors import FleetmartError
from orchestration.settings import Settings
from orchestration.sources import source_named

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

UNFINISHED = (".part", ".partial", ".tmp", ".filepart", ".crdownload")
COPY_BYTES = 1 << 20


@dataclass(frozen=True, order=True)
class Waiting:
    """A landing file: its source, its name below the source's folder, and where it is."""

    source: str
    name: str
    path: Path

    def __str__(self) -> str:
        return f"{self.source}/{self.name}"


def waiting_files(settings: Settings) -> list[Waiting]:
    """Files in landing, in order; those whose names say that they are being written are left out."""
    found = []
    for folder in sorted(settings.landing.glob("*")):
        for path in folder.rglob("*"):
            if path.is_file() and not _is_unfinished(path.name):
                found.append(Waiting(folder.name, path.relative_to(folder).as_posix(), path))
    return sorted(found)


def settled_files(settings: Settings, report: Callable[[str], None]) -> list[Waiting]:
    """Waiting files that lay unchanged for `settle_seconds`; those that were not are waited for once."""
    seen = {waiting: _state(waiting.path) for waiting in waiting_files(settings)}
    if any(_is_young(settings, state) for state in seen.values()):
        time.sleep(settings.settle_seconds)
    settled = []
    for waiting, before in seen.items():
        now = _state(waiting.path)
        if now is not None and (now != before or _is_young(settings, now)):
            report(f"{waiting.source}/{waiting.name} is still being written; it is left for the next load.")
        elif now is not None:
            settled.append(waiting)
    return settled


def deliver(settings: Settings, source: str, files: Iterable[Path]) -> list[Path]:
    """Copy files into the source's landing folder, whole or not at all; returns the copies."""
    source_named(settings.sources, source)
    settings.prepare_home()
    return [_deliver(file, settings.landing / source / file.name) for file in files]


def _deliver(file: Path, target: Path) -> Path:
    if target.exists() and not filecmp.cmp(file, target, shallow=False):
        raise FleetmartError(f"Another file {target.name} waits in {target.parent}. Load it first, or rename this one.")
    return copy_whole(file, target)


def files_at_url(settings: Settings) -> list[str]:
    """Names (`<source>/<file>`) of what waits below `landing_url`, in order; none without such a URL.

    Raises FleetmartError when the URL cannot be read.
    """
    if settings.landing_url is None:
        return []
    with _store(settings) as (system, root):
        found = sorted(path for path in system.find(root) if not _is_unfinished(path.rsplit("/", 1)[-1]))
        return [path[len(root) + 1 :] for path in found]


def bring_in(settings: Settings, report: Callable[[str], None]) -> int:
    """Fetch what waits below `landing_url` into landing, deleting each there once it is safely here.

    Returns the number of files. Raises FleetmartError when the URL cannot be read.
    """
    fetched = 0
    for name in files_at_url(settings):
        target = settings.landing / _safe(name)
        if target.exists():
            report(f"{name} is left there until the file of that name in landing was loaded.")
            continue
        with _store(settings) as (system, root):
            with system.open(f"{root}/{name}", "rb") as read:
                _write_whole(read, target)
            system.rm_file(f"{root}/{name}")
        fetched += 1
    return fetched


@contextmanager
def _store(settings: Settings) -> Iterator[tuple["AbstractFileSystem", str]]:
    """The file system of `landing_url` and the folder in it."""
    import fsspec

    try:
        system, root = fsspec.url_to_fs(settings.landing_url)
        system.invalidate_cache()
        yield system, root.rstrip("/")
    except (OSError, ValueError, ImportError) as error:
        raise FleetmartError(
            f"Files below {settings.landing_url} could not be fetched ({error}). "
            "What was fetched before is in landing; check FLEETMART_LANDING_URL "
            "and the credentials of the object store, then run this again."
        ) from error


def copy_whole(file: Path, target: Path) -> Path:
    """Copy durably and with its time: under the final name stands the whole file or nothing."""
    with file.open("rb") as read:
        _write_whole(read, target)
    shutil.copystat(file, target)
    return target


def _write_whole(read: IO[bytes], target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.part")
    with partial.open("wb") as write:
        shutil.copyfileobj(read, write, COPY_BYTES)
        write.flush()
        os.fsync(write.fileno())
    os.replace(partial, target)


def _safe(name: str) -> str:
    parts = name.split("/")
    if len(parts) < 2 or any(part in ("", ".", "..") for part in parts):
        raise FleetmartError(f"{name!r} below FLEETMART_LANDING_URL is not of the form <source>/<file>. Move it there.")
    return name


def _is_unfinished(name: str) -> bool:
    return name.startswith((".", "~")) or name.endswith((*UNFINISHED, "~"))


def _state(path: Path) -> tuple[int, float] | None:
    """Size and time of a file; None when it is gone."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_size, found.st_mtime


def _is_young(settings: Settings, state: tuple[int, float] | None) -> bool:
    # a time in the future says nothing about now
    return state is not None and 0 <= time.time() - state[1] < settings.settle_seconds
