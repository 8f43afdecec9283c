"""The lake: every reading and every rejected row as received, in Delta tables partitioned by tenant.

Rows of one load are appended in one commit and can be taken back as one, by `load_id`.
"""

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, write_deltalake

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


@dataclass(frozen=True)
class LakeFile:
    """One data file of the current table version; `reading_date` is the partition's UTC day."""

    tenant_id: str
    reading_date: date
    path: str
    file_bytes: int
    rows: int


def append(table: Path, rows: pa.RecordBatchReader | pa.Table, partition_by: list[str], load_id: str) -> None:
    """Append one load's rows in one atomic commit."""
    write_deltalake(
        table,
        rows,
        mode="append",
        partition_by=partition_by,
        commit_properties=CommitProperties(custom_metadata={"load_id": load_id}),
    )


def take_back(table: Path, load_id: str) -> None:
    """Remove what an interrupted load left; `load_id` is made of a source's name and a hash, never of data."""
    if DeltaTable.is_deltatable(str(table)):
        DeltaTable(table).delete(f"load_id = '{load_id}'")


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
