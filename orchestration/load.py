"""Files in landing become readings in the lake, each content once.

Order within a load: rejected rows, readings, archive, ledger, and only then the landing file goes.
Killed anywhere, the next load finds the ledger's open entry, takes back what it left, and starts over.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from orchestration import lake
from orchestration.errors import FleetmartError
from orchestration.ledger import ledger, now, rows
from orchestration.read_file import ReadFile, Rejection, UnreadableFile, reading
from orchestration.settings import Settings
from orchestration.sources import Source, source_named
from orchestration.writer_lock import writer

Report = Callable[[str], None]


@dataclass
class Loaded:
    """What a call of load took in; counts are of values, `rejected` also of whole rows."""

    files: int = 0
    already_loaded: int = 0
    readings: int = 0
    empty: int = 0
    rejected: int = 0
    partitions: int = 0
    problems: list[str] = field(default_factory=list)

    def add(self, other: "Loaded") -> None:
        """Add another call's counts to these."""
        for name in ("files", "already_loaded", "readings", "empty", "rejected", "partitions"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.problems += other.problems


def waiting_files(settings: Settings) -> list[tuple[str, Path]]:
    """Files in landing as (source's name, path), in order; names being written (`.x`, `x.part`) are left alone."""
    if not settings.landing.is_dir():
        return []
    return sorted(
        (path.relative_to(settings.landing).parts[0], path)
        for path in settings.landing.glob("*/**/*")
        if path.is_file() and not path.name.startswith(".") and path.suffix not in (".part", ".tmp")
    )


def deliver(settings: Settings, source: str, files: Iterable[Path]) -> list[Path]:
    """Copy files into the source's landing folder, whole or not at all; returns the copies."""
    source_named(settings.sources, source)
    settings.prepare_home()
    folder = settings.landing / source
    folder.mkdir(parents=True, exist_ok=True)
    return [_copy(file, folder / file.name) for file in files]


def load_waiting(settings: Settings, report: Report = lambda line: None) -> Loaded:
    """Take in every file that waits in landing; one that cannot be read is set aside and the others go on.

    Raises FleetmartError when the home cannot be written. What went wrong with single files or
    rows is in the result's `problems`.
    """
    total = Loaded()
    with writer(settings, "load"):
        waiting = waiting_files(settings)
        for number, (name, path) in enumerate(waiting, start=1):
            try:
                source = source_named(settings.sources, name)
            except FleetmartError as error:
                total.problems.append(f"{path} was left where it is. {error}")
                continue
            one = load_file(settings, source, path)
            report(f"load {number}/{len(waiting)} {name}/{path.name}: {one.readings:,} readings")
            total.add(one)
    return total


def load_file(settings: Settings, source: Source, path: Path) -> Loaded:
    """Take in one landing file; a content that was loaded before changes nothing."""
    sha256 = _sha256(path)
    load_id = _load_id(source.source, sha256)
    known = rows(settings, "select status, received_at from loads where load_id = ?", load_id)
    if known and known[0]["status"] == "loaded":
        path.unlink()
        return Loaded(already_loaded=1)
    received_at = _open_load(settings, source, path, load_id, sha256, bool(known))
    try:
        with reading(source, path, load_id, received_at, settings.memory_limit) as read:
            loaded = _take_in(settings, source, path, load_id, read)
    except UnreadableFile as error:
        kept = _copy(path, settings.set_aside / source.source / f"{load_id}-{path.name}")
        _close_load(settings, load_id, "set aside", reason=str(error))
        loaded = Loaded(problems=[f"{error} It is kept as {kept}."])
    path.unlink()
    return loaded


def content_id(source: str, path: Path) -> str:
    """The load id that this file's content has as a file of `source`, whatever the file is called."""
    return _load_id(source, _sha256(path))


def _load_id(source: str, sha256: str) -> str:
    return f"{source}-{sha256[:20]}"


def _open_load(settings: Settings, source: Source, path: Path, load_id: str, sha256: str, again: bool) -> str:
    """Note that a load begins, after undoing an earlier attempt; returns when it was received."""
    if again:
        lake.take_back(settings.lake_rejected, load_id)
        lake.take_back(settings.lake_readings, load_id)
    received_at = now()
    with ledger(settings) as connection:
        connection.execute(
            "insert into loads "
            "(load_id, tenant_id, source, file_name, content_sha256, file_bytes, status, received_at) "
            "values (?, ?, ?, ?, ?, ?, 'reading', ?) on conflict (load_id) do update set "
            "status = 'reading', reason = null, received_at = excluded.received_at",
            (load_id, source.owner, source.source, path.name, sha256, path.stat().st_size, received_at),
        )
    return received_at


def _take_in(settings: Settings, source: Source, path: Path, load_id: str, read: ReadFile) -> Loaded:
    tenants, rejections, partitions = read.tenants(), read.rejections(), read.partitions()
    if rejections:
        lake.append(settings.lake_rejected, read.rejected(), ["tenant_id"], load_id)
    if partitions:
        lake.append(settings.lake_readings, read.readings(), ["tenant_id", "reading_date"], load_id)
    _copy(path, settings.archive / source.source / f"{load_id}-{path.name}")
    with ledger(settings) as connection:
        connection.executemany(
            "insert into load_tenants values (?, ?, ?, ?, ?, ?, ?)",
            [
                (load_id, t.tenant_id, t.readings, t.empty, t.rejected, t.first_measured_at, t.last_measured_at)
                for t in tenants
            ],
        )
        connection.executemany(
            "insert into load_rejections values (?, ?, ?, ?, ?, ?)",
            [(load_id, r.tenant_id, r.metric, r.reason, r.count, r.first_source_row) for r in rejections],
        )
        connection.executemany(
            "insert into load_partitions values (?, ?, ?, null)", [(load_id, *partition) for partition in partitions]
        )
        connection.execute(
            "update loads set status = 'loaded', row_count = ?, finished_at = ? where load_id = ?",
            (read.row_count, now(), load_id),
        )
    return Loaded(
        files=1,
        readings=sum(t.readings for t in tenants),
        empty=sum(t.empty for t in tenants),
        rejected=sum(t.rejected for t in tenants),
        partitions=len(partitions),
        problems=[_describe(path, rejection) for rejection in rejections],
    )


def _close_load(settings: Settings, load_id: str, status: str, reason: str) -> None:
    with ledger(settings) as connection:
        connection.execute(
            "update loads set status = ?, reason = ?, finished_at = ? where load_id = ?",
            (status, reason, now(), load_id),
        )


def _describe(path: Path, rejection: Rejection) -> str:
    what = f"value of {rejection.metric}" if rejection.metric else "row"
    example = (rejection.example or "")[:80]
    return (
        f"{path.name}: {rejection.count:,} {what}{'s' if rejection.count > 1 else ''} rejected, {rejection.reason} "
        f"(first in row {rejection.first_source_row}: {example!r}). The rest was loaded; "
        "what was rejected is kept in lake/rejected_rows."
    )


def _copy(file: Path, target: Path) -> Path:
    """Copy durably: under the final name stands the whole file or nothing."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.part")
    with file.open("rb") as read, partial.open("wb") as write:
        shutil.copyfileobj(read, write, 1 << 20)
        write.flush()
        os.fsync(write.fileno())
    os.replace(partial, target)
    return target


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
