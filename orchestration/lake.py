"""The lake: every reading and every rejected row as received, in Delta tables partitioned by tenant.

Files of one batch of loads are added in one commit, which carries the batch's number as a Delta
transaction: after a crash, the table itself says whether the batch is in it.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Schema, Transaction, WriterProperties, write_deltalake
from deltalake.transaction import AddAction

INSTANT = pa.timestamp("us", tz="UTC")
READINGS = pa.schema(
    [
        ("tenant_id", pa.string()),
        ("reading_date", pa.date32()),
        ("site_id", pa.string()),
        ("device_id", pa.string()),
        ("metric", pa.string()),
        ("measured_at", INSTANT),
        ("value", pa.float64()),
        ("value_text", pa.string()),
        ("unit", pa.string()),
        ("received_at", INSTANT),
        ("load_id", pa.string()),
        ("source", pa.string()),
        ("source_row", pa.int64()),
    ]
)
REJECTED = pa.schema(
    [
        ("tenant_id", pa.string()),
        ("load_id", pa.string()),
        ("source", pa.string()),
        ("source_row", pa.int64()),
        ("metric", pa.string()),
        ("reason", pa.string()),
        ("raw", pa.string()),
        ("received_at", INSTANT),
    ]
)
PARTITION_BY = ["tenant_id", "reading_date"]
APPLICATION = "fleetmart"


@dataclass(frozen=True)
class Staged:
    """A Parquet file of one partition that is not in its table yet; instants are UTC texts, none in rejected rows."""

    path: Path
    partition: dict[str, str]
    rows: int
    file_bytes: int
    first_at: str | None = None
    last_at: str | None = None


@dataclass(frozen=True)
class LakeFile:
    """One data file of the current table version; `reading_date` is the partition's UTC day."""

    tenant_id: str
    reading_date: date
    path: str
    file_bytes: int
    rows: int


def add(table: Path, schema: pa.Schema, staged: dict[str, list[Staged]], batch_id: int) -> None:
    """Move the loads' staged files, by load, into the table's folders and add them in one atomic commit."""
    actions = [
        _action(table, _move(table, load_id, number, one), one)
        for load_id, files_of_one in staged.items()
        for number, one in enumerate(files_of_one)
    ]
    if not actions:
        return
    partition_by = [name for name in schema.names if name in PARTITION_BY]
    if not DeltaTable.is_deltatable(str(table)):
        DeltaTable.create(table, schema, partition_by=partition_by)
    DeltaTable(table).create_write_transaction(
        actions,
        mode="append",
        schema=Schema.from_arrow(schema),
        partition_by=partition_by,
        commit_properties=_numbered(batch_id),
    )


def replace_readings(
    table: Path, staged: dict[str, list[Staged]], replaced: list[str], days: tuple[str, str], batch_id: int
) -> None:
    """Add the loads' staged readings and remove those of the loads that they replace, in one atomic commit.

    `days` are the first and last that either has readings of: only there are rows looked for. Load ids are made of a
    source's name and a hash, and days are dates: neither is data.
    """
    listed = ", ".join(f"'{load_id}'" for load_id in [*replaced, *staged])
    files_of_all = [one for files_of_one in staged.values() for one in files_of_one]
    write_deltalake(
        table,
        pa.RecordBatchReader.from_batches(READINGS, _batches(files_of_all)),
        mode="overwrite",
        predicate=f"load_id in ({listed}) and reading_date >= '{days[0]}' and reading_date <= '{days[1]}'",
        writer_properties=WriterProperties(compression="ZSTD"),
        commit_properties=_numbered(batch_id),
    )


def _batches(staged: list[Staged]) -> Iterator[pa.RecordBatch]:
    """The rows of staged readings, with the columns that their folders stand for."""
    for one in staged:
        keys = {
            "tenant_id": one.partition["tenant_id"],
            "reading_date": date.fromisoformat(one.partition["reading_date"]),
        }
        for batch in pq.ParquetFile(one.path).iter_batches():
            columns = [
                pa.repeat(pa.scalar(keys[field.name], field.type), len(batch))
                if field.name in keys
                else batch.column(field.name).cast(field.type)
                for field in READINGS
            ]
            yield pa.record_batch(columns, schema=READINGS)


def _numbered(batch_id: int) -> CommitProperties:
    return CommitProperties(app_transactions=[Transaction(APPLICATION, batch_id)])


def has_batch(table: Path, batch_id: int) -> bool:
    """Whether this batch's commit is in the table."""
    if not DeltaTable.is_deltatable(str(table)):
        return False
    return (DeltaTable(table).transaction_version(APPLICATION) or 0) >= batch_id


def take_back_rejected(table: Path, load_ids: list[str]) -> None:
    """Remove rejected rows of these loads; load ids are made of a source's name and a hash, never of data."""
    if not load_ids or not DeltaTable.is_deltatable(str(table)):
        return
    listed = ", ".join(f"'{load_id}'" for load_id in load_ids)
    DeltaTable(table).delete(f"load_id in ({listed})")


def files(table: Path) -> list[LakeFile]:
    """Every file of the readings table's current version; empty before the first load."""
    if not DeltaTable.is_deltatable(str(table)):
        return []
    actions = pa.table(DeltaTable(table).get_add_actions(flatten=True)).to_pylist()
    return [
        LakeFile(
            tenant_id=action["partition.tenant_id"],
            reading_date=action["partition.reading_date"],
            path=str(table / unquote(action["path"])),
            file_bytes=action["size_bytes"],
            rows=action["num_records"],
        )
        for action in actions
    ]


def totals(table: Path) -> dict[str, tuple[int, int]]:
    """Bytes and rows of the files of the table's current version, by tenant, whatever else it is partitioned by."""
    if not DeltaTable.is_deltatable(str(table)):
        return {}
    actions = pa.table(DeltaTable(table).get_add_actions(flatten=True))
    summed = actions.group_by("partition.tenant_id").aggregate([("size_bytes", "sum"), ("num_records", "sum")])
    return {one["partition.tenant_id"]: (one["size_bytes_sum"], one["num_records_sum"]) for one in summed.to_pylist()}


def readings_by_day(lake_files: list[LakeFile]) -> dict[tuple[str, date], int]:
    """Rows of each tenant's UTC day; a reading that was received twice counts twice."""
    counts: dict[tuple[str, date], int] = {}
    for file in lake_files:
        key = (file.tenant_id, file.reading_date)
        counts[key] = counts.get(key, 0) + file.rows
    return counts


def compact(table: Path, most_files: int) -> int:
    """Rewrite each partition of more than `most_files` files as one; returns how many files that spared.

    Rows stay as they are, so whatever was built from them stays right.

    Readers of an earlier version keep its files until `vacuum` removes them.
    """
    counts: dict[tuple[str, str], int] = {}
    for file in files(table):
        key = (file.tenant_id, str(file.reading_date))
        counts[key] = counts.get(key, 0) + 1
    spared = 0
    for (tenant_id, day), count in counts.items():
        if count > most_files:
            done = DeltaTable(table).optimize.compact([("tenant_id", "=", tenant_id), ("reading_date", "=", day)])
            spared += done["numFilesRemoved"] - done["numFilesAdded"]
    return spared


def vacuum(table: Path, hours: int) -> int:
    """Delete files that no version of the last `hours` holds; returns how many."""
    if not DeltaTable.is_deltatable(str(table)):
        return 0
    return len(DeltaTable(table).vacuum(hours, dry_run=False, enforce_retention_duration=False, full=True))


def _move(table: Path, load_id: str, number: int, staged: Staged) -> Path:
    """The same name every time, so that a batch done again after a crash replaces what the crash left."""
    depth = len(staged.partition)
    folder = table.joinpath(*staged.path.parts[-1 - depth : -1])
    folder.mkdir(parents=True, exist_ok=True)
    with staged.path.open("rb") as file:
        os.fsync(file.fileno())
    target = folder / f"{load_id}-{number}.parquet"
    os.replace(staged.path, target)
    return target


def _action(table: Path, path: Path, staged: Staged) -> AddAction:
    statistics: dict[str, object] = {"numRecords": staged.rows}
    if staged.first_at and staged.last_at:
        statistics["minValues"] = {"measured_at": staged.first_at.replace(" ", "T") + "Z"}
        statistics["maxValues"] = {"measured_at": staged.last_at.replace(" ", "T") + "Z"}
    return AddAction(
        path=str(path.relative_to(table)),
        size=staged.file_bytes,
        partition_values=staged.partition,
        modification_time=int(path.stat().st_mtime * 1000),
        data_change=True,
        stats=json.dumps(statistics),
    )
