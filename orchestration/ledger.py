"""What happened: loads, builds, verdicts and snapshots, in one small SQLite file.

It is the record of what is done, so it can be read while a writer is at work in the warehouse,
and each step's last act is one transaction here: killed before it, the step is simply done again.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from orchestration.settings import Settings

SCHEMA = """
create table if not exists loads (
    load_id text primary key, tenant_id text not null, source text not null, file_name text not null,
    content_sha256 text not null, file_bytes integer not null,
    status text not null check (status in ('reading', 'loaded', 'set aside')),
    reason text, row_count integer, received_at text not null, finished_at text
);
create table if not exists load_tenants (
    load_id text not null references loads, tenant_id text not null, reading_count integer not null,
    empty_count integer not null, rejected_count integer not null, first_measured_at text, last_measured_at text,
    primary key (load_id, tenant_id)
);
create table if not exists load_rejections (
    load_id text not null references loads, tenant_id text not null, metric text, reason text not null,
    rejected_count integer not null, first_source_row integer
);
create table if not exists load_partitions (
    load_id text not null references loads, tenant_id text not null, reading_date text not null, build_id integer,
    primary key (load_id, tenant_id, reading_date)
);
create index if not exists load_partitions_by_build on load_partitions (build_id);
create table if not exists builds (
    build_id integer primary key autoincrement,
    status text not null check (status in ('running', 'built', 'abandoned')),
    inputs text not null, full_refresh integer not null, started_at text not null, finished_at text
);
create table if not exists build_partitions (
    build_id integer not null references builds, tenant_id text not null, reading_date text not null,
    primary key (build_id, tenant_id, reading_date)
);
create table if not exists quality_verdicts (
    tenant_id text not null, build_id integer not null references builds, verdict text not null,
    expectation_count integer not null, critical_failures integer not null, warning_failures integer not null,
    decided_at text not null, data_docs text not null, primary key (tenant_id, build_id)
);
create table if not exists quality_results (
    tenant_id text not null, build_id integer not null, suite text not null, rule text not null,
    severity text not null, metric text, is_met integer not null, checked_count integer,
    unexpected_count integer, why text not null, checked_at text not null
);
create table if not exists snapshots (
    tenant_id text not null, build_id integer not null, file_bytes integer not null, published_at text not null,
    primary key (tenant_id, build_id)
);
"""


def now() -> str:
    """This instant, UTC, as the ledger writes it (ISO 8601 without offset, microseconds)."""
    return datetime.now(UTC).replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")


@contextmanager
def ledger(settings: Settings) -> Iterator[sqlite3.Connection]:
    """A connection whose block is one transaction: kept when it ends, undone when it raises."""
    settings.prepare_home()
    connection = sqlite3.connect(settings.ledger, timeout=30, isolation_level=None)
    try:
        connection.row_factory = sqlite3.Row
        connection.execute("pragma journal_mode = wal")
        connection.execute("pragma synchronous = full")
        connection.execute("pragma foreign_keys = on")
        connection.executescript(SCHEMA)
        connection.execute("begin immediate")
        try:
            yield connection
        except BaseException:
            connection.execute("rollback")
            raise
        connection.execute("commit")
    finally:
        connection.close()


def rows(settings: Settings, query: str, *parameters: Any) -> list[dict[str, Any]]:
    """The query's rows as dictionaries; empty when nothing was ever recorded."""
    if not settings.ledger.exists():
        return []
    with ledger(settings) as connection:
        return [dict(row) for row in connection.execute(query, parameters)]
