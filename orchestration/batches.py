"""A batch of files on its way into the lake, as the ledger notes it; what a crash broke off goes on from these notes.

The ledger notes what is about to be committed, the lake commits it under the batch's number, the files go to the
archive, and the ledger closes the batch.
"""

import os
import shutil
import sqlite3
from dataclasses import dataclass

from orchestration import lake
from orchestration.arrivals import Arrival
from orchestration.landing import copy_whole
from orchestration.ledger import ledger, now, rows
from orchestration.masked_text import masked
from orchestration.read_file import Rejection, TenantCount
from orchestration.replaced_loads import kept_before, kept_file, take_the_place
from orchestration.settings import Settings

LOAD_TABLES = ("load_tenants", "load_rejections", "load_partitions", "source_columns", "sent_units")


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


def open_batch(settings: Settings, arrivals: list[Arrival], replay_id: int | None) -> int:
    """Note that these files are being read; returns the batch's number."""
    with ledger(settings) as connection:
        batch_id = connection.execute(
            "insert into batches (started_at, replay_id) values (?, ?)", (now(), replay_id)
        ).lastrowid
        connection.executemany(
            "insert or replace into loads "
            "(load_id, batch_id, tenant_id, source, file_name, content_sha256, file_bytes, status, received_at, "
            "source_digest, replaces) values (?, ?, ?, ?, ?, ?, ?, 'reading', ?, ?, ?)",
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
                    one.source.digest,
                    one.replaces,
                )
                for one in arrivals
            ],
        )
    return batch_id


def note_repeat(settings: Settings, arrival: Arrival) -> None:
    """A file that came before, as part of the batch that is about to be opened."""
    with ledger(settings) as connection:
        connection.execute(
            "update loads set repeat_count = repeat_count + 1, "
            "last_repeat_batch_id = (select coalesce(max(batch_id), 0) + 1 from batches) "
            "where source = ? and content_sha256 = ?",
            (arrival.source.source, arrival.sha256),
        )
    arrival.waiting.path.unlink()


def set_aside(settings: Settings, arrival: Arrival, reason: str) -> str:
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


def leave_as_it_was(settings: Settings, arrival: Arrival, reason: str) -> str:
    """Forget that a file was read again: as its source has it now it cannot be; returns what to tell."""
    forget(settings, [arrival.load_id])
    with ledger(settings) as connection:
        connection.execute(
            "update loads set source_digest = ?, reason = iif(status = 'set aside', ?, reason) where load_id = ?",
            (arrival.source.digest, reason, arrival.replaces),
        )
    return f"{reason} What an earlier load made of it stays as it was."


def note_staged(settings: Settings, arrivals: dict[str, Arrival], contents: dict[str, Content]) -> list[str]:
    """Write down everything about the batch before the lake takes it, so that a crash after that loses no count.

    Returns what a steward should know of it.
    """
    notices = []
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
                "insert into load_rejections values (?, ?, ?, ?, ?, ?, ?)",
                [
                    (load_id, r.tenant_id, r.metric, r.reason, r.count, r.first_source_row, masked(r.example))
                    for r in content.rejections
                ],
            )
            connection.executemany(
                "insert into load_partitions values (?, ?, ?, null, null)",
                [(load_id, *partition) for partition in content.partitions],
            )
            # what loses readings is built again, too
            connection.execute(
                "insert or ignore into load_partitions select ?, tenant_id, reading_date, null, null "
                "from load_partitions where load_id = ?",
                (load_id, arrival.replaces),
            )
            connection.executemany(
                "insert or ignore into sent_units values (?, ?, ?)", [(*unit, load_id) for unit in content.units]
            )
            new_columns, missing_columns = _note_columns(connection, arrival, content.columns)
            if new_columns:
                notices.append(
                    f"{arrival.waiting.name}: columns that {arrival.source.source} did not have before: "
                    f"{', '.join(new_columns)}. Declare in {arrival.source.file} what they hold, if it matters."
                )
            connection.execute(
                "update loads set status = 'staged', row_count = ?, duplicate_row_count = ?, new_columns = ?, "
                "missing_columns = ? where load_id = ?",
                (
                    content.rows_before + content.row_count,
                    content.rows_before,
                    ", ".join(new_columns) or None,
                    ", ".join(missing_columns) or None,
                    load_id,
                ),
            )
    return notices


def _note_duplicates(connection: sqlite3.Connection, load_id: str, grown_from: str) -> None:
    """What an earlier load of a grown file took in is a duplicate in this one."""
    connection.execute(
        "insert into load_tenants select ?1, tenant_id, 0, 0, 0, "
        "reading_count + empty_count + rejected_count + duplicate_count, null, null "
        "from load_tenants where load_id = ?2 and true "
        "on conflict do update set duplicate_count = excluded.duplicate_count",
        (load_id, grown_from),
    )


def _note_columns(connection: sqlite3.Connection, arrival: Arrival, columns: list[str]) -> tuple[list[str], list[str]]:
    """Columns that no earlier file of the source had, and those of earlier ones that this lacks.

    None of either when this is the first one.
    """
    source = arrival.source.source
    known = {row[0] for row in connection.execute("select column_name from source_columns where source = ?", (source,))}
    connection.executemany(
        "insert or ignore into source_columns values (?, ?, ?)",
        [(source, column, arrival.load_id) for column in columns],
    )
    new = [column for column in columns if known and column not in known and column not in arrival.source.columns]
    return new, sorted(known - set(columns))


def commit(settings: Settings, batch_id: int, taken: dict[str, Arrival], contents: dict[str, Content]) -> None:
    rejected = {load_id: content.rejected for load_id, content in contents.items()}
    readings = {load_id: content.readings for load_id, content in contents.items()}
    lake.add(settings.lake_rejected, lake.REJECTED, rejected, batch_id)
    replaced = [arrival.replaces for arrival in taken.values() if arrival.replaces]
    if _have_readings(settings, replaced):
        days = rows(
            settings,
            "select min(reading_date) as first, max(reading_date) as last from load_partitions "
            "join loads using (load_id) where batch_id = ?",
            batch_id,
        )[0]
        lake.replace_readings(settings.lake_readings, readings, replaced, (days["first"], days["last"]), batch_id)
    else:
        lake.add(settings.lake_readings, lake.READINGS, readings, batch_id)


def _have_readings(settings: Settings, load_ids: list[str]) -> bool:
    return any(rows(settings, "select 1 from load_partitions where load_id = ? limit 1", one) for one in load_ids)


def finish(settings: Settings, batch_id: int) -> None:
    """Move the batch's files to the archive and close its loads, in the place of those that they replace."""
    staged = rows(
        settings,
        "select load_id, source, file_name, file_bytes, replaces from loads where batch_id = ? and status = 'staged'",
        batch_id,
    )
    replaced = [one["replaces"] for one in staged if one["replaces"]]
    lake.take_back_rejected(settings.lake_rejected, replaced)
    for one in staged:
        path = kept_before(settings, one) or settings.landing / one["source"] / one["file_name"]
        archived = kept_file(settings, one | {"status": "loaded"})
        # after a crash the file may be in the archive already, and another one of its name in landing
        if not archived.exists() and path.exists() and path.stat().st_size == one["file_bytes"]:
            archived.parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, archived)
    with ledger(settings) as connection:
        connection.execute(
            "update loads set status = 'loaded', finished_at = ? where batch_id = ? and status = 'staged'",
            (now(), batch_id),
        )
        for one in staged:
            if one["replaces"]:
                take_the_place(connection, batch_id, one["load_id"], one["replaces"])
    shutil.rmtree(settings.staging, ignore_errors=True)


def recover(settings: Settings) -> None:
    """End what a crash broke off: a batch whose commit is in the lake is closed, any other is forgotten."""
    for one in rows(settings, "select distinct batch_id from loads where status in ('reading', 'staged')"):
        batch_id = one["batch_id"]
        if _is_committed(settings, batch_id):
            finish(settings, batch_id)
        found = rows(
            settings, "select load_id from loads where batch_id = ? and status in ('reading', 'staged')", batch_id
        )
        load_ids = [one["load_id"] for one in found]
        if lake.has_batch(settings.lake_rejected, batch_id):
            lake.take_back_rejected(settings.lake_rejected, load_ids)
        forget(settings, load_ids)
    shutil.rmtree(settings.staging, ignore_errors=True)


def _is_committed(settings: Settings, batch_id: int) -> bool:
    """Readings are committed last; a batch without any ends with its rejected rows, or with nothing."""
    staged = rows(settings, "select load_id from loads where batch_id = ? and status = 'staged'", batch_id)
    for table, noted in ((settings.lake_readings, "load_partitions"), (settings.lake_rejected, "load_rejections")):
        if rows(settings, f"select 1 from {noted} join loads using (load_id) where batch_id = ?", batch_id):
            return lake.has_batch(table, batch_id)
    return bool(staged)


def forget(settings: Settings, load_ids: list[str]) -> None:
    """Loads that came to nothing; their files are still where they were."""
    with ledger(settings) as connection:
        for table in (*LOAD_TABLES, "loads"):
            connection.executemany(f"delete from {table} where load_id = ?", [(load_id,) for load_id in load_ids])
