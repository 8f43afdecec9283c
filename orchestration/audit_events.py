"""Who opened, queried, exported and embedded what: the dashboards' audit record as a table for the operator.

The dashboards write it (superset/security/audit_record.py) and show each tenant's administrators their own part. In a
tenant's file it would be open to everybody of the tenant with SQL Lab, so it is published to the operator alone.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

import duckdb

from orchestration.published_rows import create, insert_texts, literal
from orchestration.settings import Settings

TABLE = "audit_events"
COLUMNS = {
    "event_id": "bigint",
    "happened_at": "timestamp",
    "tenant_id": "varchar",
    "username": "varchar",
    "role": "varchar",
    "act": "varchar",
    "object_type": "varchar",
    "object": "varchar",
    "result": "varchar",
    "duration_ms": "bigint",
    "row_count": "bigint",
    "statement_digest": "varchar",
}


# The newest of them are published; the record itself has all.
MOST_EVENTS, AT_ONCE = 1_000_000, 50_000


def write_events(
    connection: duckdb.DuckDBPyConnection, settings: Settings, before: Path | None = None, most: int = MOST_EVENTS
) -> None:
    """Create the table, of the `most` newest events, `happened_at` in UTC; empty before dashboards were first served.

    `before` is the file that was last published: what it holds is taken over, and only what came since is read.
    """
    create(connection, TABLE, COLUMNS)
    path = settings.home / "audit.sqlite"
    if not path.exists():
        return
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as record:
        record.row_factory = sqlite3.Row
        # The server makes the file, and then the table.
        if not record.execute("select 1 from sqlite_master where name = 'events'").fetchone():
            return
        newest = record.execute("select coalesce(max(event_id), 0) from events").fetchone()[0]
        known = _take_over(connection, record, before, newest - most) if before else 0
        # DuckDB takes the Z for a zone, and the column has none: it is UTC.
        columns = ", ".join(COLUMNS).replace("happened_at", "rtrim(happened_at, 'Z') as happened_at")
        events = record.execute(
            f"select {columns} from events where event_id > ? and event_id <= ? order by event_id",
            (max(known, newest - most), newest),
        )
        while rows := events.fetchmany(AT_ONCE):
            insert_texts(connection, TABLE, COLUMNS, rows)


def _take_over(connection: duckdb.DuckDBPyConnection, record: sqlite3.Connection, before: Path, beyond: int) -> int:
    """Copy what `before` has of events after number `beyond`; the last one's number, 0 if it is of another record."""
    connection.execute(f"attach {literal(str(before))} as before (read_only)")
    held = connection.execute(
        "select column_name from duckdb_columns() where database_name = 'before' and table_name = ?", [TABLE]
    ).fetchall()
    if [name for (name,) in held] != list(COLUMNS):
        return 0
    last = connection.execute(f"select max(event_id), arg_max(happened_at, event_id) from before.{TABLE}").fetchone()
    found = record.execute("select happened_at from events where event_id = ?", last[:1]).fetchone()
    if found is None or found[0] != f"{last[1]:%Y-%m-%dT%H:%M:%S.%fZ}":
        return 0
    connection.execute(f"insert into {TABLE} select * from before.{TABLE} where event_id > ?", [beyond])
    return last[0]
