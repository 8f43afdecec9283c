"""Files in landing become readings in the lake, each content once.

Files are read side by side into staging, then a batch of them is taken in as one: the ledger notes
what is about to be committed, the lake commits it under the batch's number, the files go to the
archive, and the ledger closes the batch. Killed anywhere, the next load asks the lake whether the
batch's commit is in it, and goes on from there or starts it over.
"""

import hashlib
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import SimpleQueue

import duckdb

from orchestration import lake
from orchestration.errors import FleetmartError
from orchestration.landing import Waiting, bring_in, copy_whole, settled_files
from orchestration.ledger import ledger, now, rows
from orchestration.plain_text import COMPRESSED, UnreadableFile
from orchestration.read_file import Rejection, TenantCount, reader, reading
from orchestration.settings import Settings
from orchestration.source_sql import Incoming
from orchestration.sources import Source, source_named
from orchestration.writer_lock import writer

Report = Callable[[str], None]
BATCH_FILES = 200
BATCH_BYTES = 4 << 30
LOAD_TABLES = ("load_tenants", "load_rejections", "load_partitions", "source_columns", "sent_units")


@dataclass
class Loaded:
    """What a call of load took in; counts are of values, `rejected` also of whole rows.

    `duplicate_rows` are those of grown files that an earlier load took in.

    `problems` says what was not taken in, `notices` what a steward should know besides.
    """

    files: int = 0
    already_loaded: int = 0
    rows: int = 0
    readings: int = 0
    empty: int = 0
    rejected: int = 0
    duplicate_rows: int = 0
    partitions: int = 0
    problems: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Arrival:
    """A landing file that is to be read: as a whole, or from where an earlier load of it ended."""

    waiting: Waiting
    source: Source
    sha256: str
    file_bytes: int
    incoming: Incoming
    grown_from: str | None = None

    @property
    def load_id(self) -> str:
        return self.incoming.load_id


@dataclass(frozen=True)
class Content:
    """What a file held, in staging; `rows_before` are those that an earlier load of it took in."""

    row_count: int
    rows_before: int
    columns: list[str]
    units: list[tuple[str, str]]
    readings: list[lake.Staged]
    rejected: list[lake.Staged]
    tenants: list[TenantCount]
    rejections: list[Rejection]
    partitions: list[tuple[str, str]]


def load_waiting(settings: Settings, report: Report = lambda line: None) -> Loaded:
    """Take in every file that waits in landing; one that cannot be read is set aside and the others go on.

    Raises FleetmartError when the home cannot be written or is full. What went wrong with single files
    or rows is in the result's `problems`.
    """
    total = Loaded()
    with writer(settings, "load"):
        _recover(settings)
        bring_in(settings, report)
        waiting = list(_of_declared_sources(settings, settled_files(settings, report), total))
        done, touched = 0, set()
        for batch in _batches(waiting):
            for line in _load_batch(settings, batch, total, touched):
                done += 1
                report(f"load {done}/{len(waiting)} {line}")
        total.partitions = len(touched)
        if total.files:
            # a partition that is appended to every minute would otherwise be read from ever more files
            lake.compact(settings.lake_readings, settings.lake_files)
    return total


def content_id(source: str, path: Path) -> str:
    """The load id that this file's content has as a file of `source`, whatever the file is called."""
    return _load_id(source, _digests(path, None)[0])


def _of_declared_sources(settings: Settings, waiting: list[Waiting], total: Loaded) -> Iterator[tuple[Waiting, Source]]:
    """Landing files with their sources; those of a source that is not declared, or wrongly, stay where they are."""
    sources: dict[str, Source | None] = {}
    for one in waiting:
        if one.source not in sources:
            try:
                sources[one.source] = source_named(settings.sources, one.source)
            except FleetmartError as error:
                sources[one.source] = None
                total.problems.append(f"{one.path.parent} was left where it is. {error}")
        if source := sources[one.source]:
            yield one, source


def _batches(waiting: list[tuple[Waiting, Source]]) -> Iterator[list[tuple[Waiting, Source]]]:
    """Files taken in together: many small ones cost one commit, and no batch needs more room than a few large ones."""
    batch: list[tuple[Waiting, Source]] = []
    size = 0
    for one in waiting:
        batch.append(one)
        size += one[0].path.stat().st_size
        if len(batch) >= BATCH_FILES or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _load_batch(
    settings: Settings, batch: list[tuple[Waiting, Source]], total: Loaded, touched: set[tuple[str, str]]
) -> Iterator[str]:
    """Take in one batch, adding it up in `total` and its partitions to `touched`; yields a line per file."""
    with ThreadPoolExecutor(settings.readers) as readers:
        looked_at = readers.map(lambda one: _arrival(settings, *one), batch)
        arrivals: dict[str, Arrival] = {}
        for arrival in looked_at:
            if _is_loaded(settings, arrival.load_id) or arrival.load_id in arrivals:
                _note_repeat(settings, arrival)
                total.already_loaded += 1
                yield f"{arrival.waiting}: loaded before"
            else:
                # in the order of their names: of two values for one instant that of the later file stands
                arrivals[arrival.load_id] = replace(arrival, incoming=replace(arrival.incoming, received_at=now()))
        batch_id = _open_batch(settings, list(arrivals.values()))
        contents: dict[str, Content] = {}
        engines = _engines(settings)
        found = readers.map(lambda arrival: _read(settings, arrival, engines), arrivals.values())
        for arrival, content in zip(arrivals.values(), found, strict=True):
            if isinstance(content, Content):
                contents[arrival.load_id] = content
                yield f"{arrival.waiting}: {sum(one.readings for one in content.tenants):,} readings"
            elif isinstance(content, UnreadableFile):
                total.problems.append(_set_aside(settings, arrival, str(content)))
                yield f"{arrival.waiting}: set aside"
            else:
                _forget(settings, [arrival.load_id])
                yield f"{arrival.waiting}: changed while it was read; it is left for the next load"
    taken = {load_id: arrivals[load_id] for load_id in contents}
    _note_staged(settings, taken, contents, total)
    _commit(settings, batch_id, contents)
    _finish(settings, batch_id)
    for load_id, content in contents.items():
        _add_up(total, taken[load_id], content)
        touched.update(content.partitions)


def _arrival(settings: Settings, waiting: Waiting, source: Source) -> Arrival:
    """What is to be read of a landing file."""
    earlier = _earlier(settings, waiting, source)
    size = waiting.path.stat().st_size
    is_longer = earlier is not None and earlier["file_bytes"] < size
    sha256, begins_with = _digests(waiting.path, earlier["file_bytes"] if is_longer else None)
    incoming = Incoming(waiting.path, waiting.name, _load_id(source.source, sha256), now())
    is_grown = is_longer and begins_with == earlier["content_sha256"]
    return Arrival(waiting, source, sha256, size, incoming, earlier["load_id"] if is_grown else None)


def _is_loaded(settings: Settings, load_id: str) -> bool:
    return bool(rows(settings, "select 1 from loads where load_id = ? and status = 'loaded'", load_id))


def _earlier(settings: Settings, waiting: Waiting, source: Source) -> dict | None:
    """The last load of a file of this name that can have grown: a text file of lines."""
    is_lines = source.format.type in ("csv", "jsonl") and not source.format.encoding.startswith("utf-16")
    if not is_lines or waiting.path.suffix in COMPRESSED:
        return None
    found = rows(
        settings,
        "select load_id, file_bytes, content_sha256, row_count from loads "
        "where source = ? and file_name = ? and status = 'loaded' order by received_at desc limit 1",
        source.source,
        waiting.name,
    )
    return found[0] if found else None


def _read(settings: Settings, arrival: Arrival, engines: SimpleQueue) -> Content | UnreadableFile | None:
    """What the file holds, or why it cannot be read; None when it changed meanwhile."""
    folder = settings.staging / arrival.load_id
    shutil.rmtree(folder, ignore_errors=True)
    engine = engines.get()
    try:
        part = _unread_part(settings, arrival)
        with reading(arrival.source, part, folder, engine) as read:
            if read.refusal and not arrival.grown_from and not arrival.source.mqtt:
                raise UnreadableFile(
                    f"{arrival.waiting.name}: {read.refusal}. It is another kind of file than {arrival.source.file} "
                    "declares, or that is wrong. `fleetmart source check` shows more."
                )
            content = Content(
                read.row_count,
                part.rows_before,
                read.columns,
                read.units(),
                read.readings,
                read.rejected,
                read.tenants(),
                read.rejections(),
                read.partitions,
            )
    except UnreadableFile as error:
        content = error
    finally:
        engines.put(engine)
    return content if arrival.waiting.path.stat().st_size == arrival.file_bytes else None


def _unread_part(settings: Settings, arrival: Arrival) -> Incoming:
    """The file, or of a grown one its header and the lines that are new.

    An unfinished last line of the earlier load is read again, now whole.
    """
    if arrival.grown_from is None:
        return arrival.incoming
    earlier = rows(settings, "select file_bytes, row_count from loads where load_id = ?", arrival.grown_from)[0]
    if arrival.source.grown == "refuse":
        raise UnreadableFile(
            f"{arrival.waiting.name} grew since it was loaded ({earlier['file_bytes']:,} bytes then, "
            f"{arrival.file_bytes:,} now), which its source refuses. "
            "Deliver only what is new, or write `grown: difference`."
        )
    form = arrival.source.format
    lines_before = form.header.skip + form.header.lines if form.type == "csv" else 0
    part = settings.staging / f"{arrival.load_id}-new{arrival.waiting.path.suffix}"
    part.parent.mkdir(exist_ok=True)
    with arrival.waiting.path.open("rb") as read, part.open("wb") as write:
        write.writelines(read.readline() for _ in range(lines_before))
        read.seek(earlier["file_bytes"] - 1)
        is_unfinished = read.read(1) != b"\n"
        if is_unfinished:
            read.seek(_start_of_last_line(arrival.waiting.path, earlier["file_bytes"]))
        shutil.copyfileobj(read, write, 1 << 20)
    before = earlier["row_count"] - (1 if is_unfinished else 0)
    return Incoming(part, arrival.waiting.name, arrival.load_id, arrival.incoming.received_at, before)


def _start_of_last_line(path: Path, end: int) -> int:
    with path.open("rb") as file:
        step = 1 << 16
        for start in range(max(0, end - step), -step, -step):
            file.seek(max(0, start))
            found = file.read(min(step, end)).rfind(b"\n")
            if found >= 0:
                return max(0, start) + found + 1
    return 0


def _engines(settings: Settings) -> SimpleQueue:
    """As many engines as files are read at a time, which share the memory that a step may take."""
    with duckdb.connect() as connection:
        limit = connection.execute("select parse_formatted_bytes($1)", [settings.memory_limit]).fetchone()[0]
    engines: SimpleQueue = SimpleQueue()
    for _ in range(settings.readers):
        engines.put(reader(f"{limit // settings.readers}B", settings.staging / "spill"))
    return engines


def _open_batch(settings: Settings, arrivals: list[Arrival]) -> int:
    """Note that these files are being read; returns the batch's number."""
    with ledger(settings) as connection:
        batch_id = connection.execute("insert into batches (started_at) values (?)", (now(),)).lastrowid
        connection.executemany(
            "insert or replace into loads "
            "(load_id, batch_id, tenant_id, source, file_name, content_sha256, file_bytes, status, received_at) "
            "values (?, ?, ?, ?, ?, ?, ?, 'reading', ?)",
            [
                (
                    one.load_id,
                    batch_id,
                    one.source.owner,
                    one.source.source,
                    one.waiting.name,
                    one.sha256,
                    one.file_bytes,
                    one.incoming.received_at,
                )
                for one in arrivals
            ],
        )
    return batch_id


def _note_repeat(settings: Settings, arrival: Arrival) -> None:
    with ledger(settings) as connection:
        connection.execute("update loads set repeat_count = repeat_count + 1 where load_id = ?", (arrival.load_id,))
    arrival.waiting.path.unlink()


def _set_aside(settings: Settings, arrival: Arrival, reason: str) -> str:
    """Keep a file that cannot be read, with its reason; returns what to tell."""
    path = arrival.waiting.path
    kept = copy_whole(path, settings.set_aside / arrival.source.source / f"{arrival.load_id}-{path.name}")
    with ledger(settings) as connection:
        connection.execute(
            "update loads set status = 'set aside', reason = ?, finished_at = ? where load_id = ?",
            (reason, now(), arrival.load_id),
        )
    path.unlink()
    return f"{reason} It is kept as {kept}."


def _note_staged(settings: Settings, arrivals: dict[str, Arrival], contents: dict[str, Content], total: Loaded) -> None:
    """Write down everything about the batch before the lake takes it, so that a crash after that loses no count."""
    with ledger(settings) as connection:
        for load_id, content in contents.items():
            arrival = arrivals[load_id]
            connection.executemany(
                "insert into load_tenants values (?, ?, ?, ?, ?, 0, ?, ?)",
                [
                    (load_id, t.tenant_id, t.readings, t.empty, t.rejected, t.first_measured_at, t.last_measured_at)
                    for t in content.tenants
                ],
            )
            if arrival.grown_from:
                _note_duplicates(connection, load_id, arrival.grown_from)
            connection.executemany(
                "insert into load_rejections values (?, ?, ?, ?, ?, ?)",
                [(load_id, r.tenant_id, r.metric, r.reason, r.count, r.first_source_row) for r in content.rejections],
            )
            connection.executemany(
                "insert into load_partitions values (?, ?, ?, null)",
                [(load_id, *partition) for partition in content.partitions],
            )
            connection.executemany(
                "insert or ignore into sent_units values (?, ?, ?)", [(*unit, load_id) for unit in content.units]
            )
            new_columns = _note_columns(connection, arrival, content.columns)
            if new_columns:
                total.notices.append(
                    f"{arrival.waiting.name}: columns that {arrival.source.source} did not have before: "
                    f"{', '.join(new_columns)}. Declare in {arrival.source.file} what they hold, if it matters."
                )
            connection.execute(
                "update loads set status = 'staged', row_count = ?, duplicate_row_count = ?, new_columns = ? "
                "where load_id = ?",
                (
                    content.rows_before + content.row_count,
                    content.rows_before,
                    ", ".join(new_columns) or None,
                    load_id,
                ),
            )


def _note_duplicates(connection: sqlite3.Connection, load_id: str, grown_from: str) -> None:
    """What an earlier load of a grown file took in is a duplicate in this one."""
    connection.execute(
        "insert into load_tenants select ?1, tenant_id, 0, 0, 0, "
        "reading_count + empty_count + rejected_count + duplicate_count, null, null "
        "from load_tenants where load_id = ?2 and true "
        "on conflict do update set duplicate_count = excluded.duplicate_count",
        (load_id, grown_from),
    )


def _note_columns(connection: sqlite3.Connection, arrival: Arrival, columns: list[str]) -> list[str]:
    """Columns that no earlier file of the source had; none when this is the first one."""
    source = arrival.source.source
    known = {row[0] for row in connection.execute("select column_name from source_columns where source = ?", (source,))}
    connection.executemany(
        "insert or ignore into source_columns values (?, ?, ?)",
        [(source, column, arrival.load_id) for column in columns],
    )
    return [column for column in columns if known and column not in known and column not in arrival.source.columns]


def _commit(settings: Settings, batch_id: int, contents: dict[str, Content]) -> None:
    rejected = {load_id: content.rejected for load_id, content in contents.items()}
    readings = {load_id: content.readings for load_id, content in contents.items()}
    lake.add(settings.lake_rejected, lake.REJECTED, rejected, batch_id)
    lake.add(settings.lake_readings, lake.READINGS, readings, batch_id)


def _finish(settings: Settings, batch_id: int) -> None:
    """Move the batch's files to the archive and close its loads."""
    staged = rows(
        settings,
        "select load_id, source, file_name, file_bytes from loads where batch_id = ? and status = 'staged'",
        batch_id,
    )
    for one in staged:
        path = settings.landing / one["source"] / one["file_name"]
        archived = settings.archive / one["source"] / f"{one['load_id']}-{path.name}"
        # after a crash the file may be in the archive already, and another one of its name in landing
        if not archived.exists() and path.exists() and path.stat().st_size == one["file_bytes"]:
            archived.parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, archived)
    with ledger(settings) as connection:
        connection.execute(
            "update loads set status = 'loaded', finished_at = ? where batch_id = ? and status = 'staged'",
            (now(), batch_id),
        )
    shutil.rmtree(settings.staging, ignore_errors=True)


def _recover(settings: Settings) -> None:
    """End what a crash broke off: a batch whose commit is in the lake is closed, any other is forgotten."""
    for one in rows(settings, "select distinct batch_id from loads where status in ('reading', 'staged')"):
        batch_id = one["batch_id"]
        if _is_committed(settings, batch_id):
            _finish(settings, batch_id)
        found = rows(
            settings, "select load_id from loads where batch_id = ? and status in ('reading', 'staged')", batch_id
        )
        load_ids = [one["load_id"] for one in found]
        if load_ids and lake.has_batch(settings.lake_rejected, batch_id):
            lake.take_back_rejected(settings.lake_rejected, load_ids)
        _forget(settings, load_ids)
    shutil.rmtree(settings.staging, ignore_errors=True)


def _is_committed(settings: Settings, batch_id: int) -> bool:
    """Readings are committed last; a batch without any ends with its rejected rows, or with nothing."""
    staged = rows(settings, "select load_id from loads where batch_id = ? and status = 'staged'", batch_id)
    for table, noted in ((settings.lake_readings, "load_partitions"), (settings.lake_rejected, "load_rejections")):
        if rows(settings, f"select 1 from {noted} join loads using (load_id) where batch_id = ?", batch_id):
            return lake.has_batch(table, batch_id)
    return bool(staged)


def _forget(settings: Settings, load_ids: list[str]) -> None:
    """Loads that came to nothing; their files are still in landing."""
    with ledger(settings) as connection:
        for table in (*LOAD_TABLES, "loads"):
            connection.executemany(f"delete from {table} where load_id = ?", [(load_id,) for load_id in load_ids])


def _add_up(total: Loaded, arrival: Arrival, content: Content) -> None:
    total.files += 1
    total.rows += content.row_count
    total.readings += sum(t.readings for t in content.tenants)
    total.empty += sum(t.empty for t in content.tenants)
    total.rejected += sum(t.rejected for t in content.tenants)
    total.duplicate_rows += content.rows_before
    total.problems += [describe(arrival.waiting.name, rejection) for rejection in content.rejections]


def describe(name: str, rejection: Rejection) -> str:
    """What was rejected of a file, in a sentence, with the first row as an example."""
    what = f"value of {rejection.metric}" if rejection.metric else "row"
    example = (rejection.example or "")[:80]
    return (
        f"{name}: {rejection.count:,} {what}{'s' if rejection.count > 1 else ''} rejected, {rejection.reason} "
        f"(first in row {rejection.first_source_row}: {example!r}). "
        "Everything else was loaded; what was rejected is kept in lake/rejected_rows."
    )


def _load_id(source: str, sha256: str) -> str:
    return f"{source}-{sha256[:20]}"


def _digests(path: Path, first_bytes: int | None) -> tuple[str, str | None]:
    """SHA-256 of the file and, if asked for, of its first bytes, in one pass."""
    whole, begin, left = hashlib.sha256(), hashlib.sha256(), first_bytes or 0
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            whole.update(chunk)
            begin.update(chunk[:left])
            left -= min(left, len(chunk))
    return whole.hexdigest(), begin.hexdigest() if first_bytes else None
