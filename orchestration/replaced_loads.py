"""A load that takes the place of an earlier one of the same content: its file, its rows in the ledger, its record."""

import sqlite3
from pathlib import Path

from orchestration.ledger import rows
from orchestration.quality_record import record
from orchestration.settings import Settings


def kept_file(settings: Settings, load: dict) -> Path:
    """Where the file of a load is kept as received."""
    folder = settings.set_aside if load["status"] == "set aside" else settings.archive
    return folder / load["source"] / f"{load['load_id']}-{Path(load['file_name']).name}"


def kept_before(settings: Settings, load: dict) -> Path | None:
    """Where the file is kept of the load that this one replaces, if it replaces any."""
    found = rows(settings, "select * from loads where load_id = ?", load["replaces"])
    return kept_file(settings, found[0]) if found else None


def take_the_place(connection: sqlite3.Connection, batch_id: int, load_id: str, replaced: str) -> None:
    """Let a load stand where one of the same content stood, and record for whom."""
    replay = connection.execute(
        "select r.* from replays r join batches using (replay_id) where batch_id = ?", (batch_id,)
    )
    _record_replay(connection, replay.fetchone(), (load_id, replaced))
    connection.execute(
        "update loads set (repeat_count, last_repeat_batch_id) = "
        "(select repeat_count, last_repeat_batch_id from loads where load_id = ?) where load_id = ?",
        (replaced, load_id),
    )
    for table in ("source_columns", "sent_units"):
        connection.execute(f"update {table} set load_id = ? where load_id = ?", (load_id, replaced))
    for table in ("load_tenants", "load_rejections", "load_partitions", "loads"):
        connection.execute(f"delete from {table} where load_id = ?", (replaced,))


def _record_replay(connection: sqlite3.Connection, replay: sqlite3.Row, load_ids: tuple[str, str]) -> None:
    """One entry for each tenant whose rows these are, however many files of it are read again."""
    tenants = connection.execute(
        "select distinct tenant_id from load_tenants where load_id in (?, ?)", load_ids
    ).fetchall()
    for (tenant_id,) in tenants:
        new = connection.execute("insert or ignore into replay_tenants values (?, ?)", (replay["replay_id"], tenant_id))
        if new.rowcount:
            record(connection, tenant_id, replay["who"], "replayed", f"{replay['why']} (source {replay['source']})")
