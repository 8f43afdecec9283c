"""What happened: loads, builds, verdicts, snapshots and measured bytes, in one small SQLite file.

It is the record of what is done, so it can be read while a writer is at work in the warehouse,
and each step's last act is one transaction here: killed before it, the step is simply done again.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import Any

from orchestration.settings import Settings

SCHEMA = """
create table if not exists replays (
    replay_id integer primary key autoincrement, source text not null, who text not null, why text not null,
    started_at text not null
);
create table if not exists replay_tenants (
    replay_id integer not null references replays, tenant_id text not null, primary key (replay_id, tenant_id)
);
create table if not exists batches (
    batch_id integer primary key autoincrement, started_at text not null, replay_id integer references replays
);
create table if not exists loads (
    load_id text primary key, batch_id integer not null references batches,
    tenant_id text not null, source text not null,
    file_name text not null, content_sha256 text not null, file_bytes integer not null,
    status text not null check (status in ('reading', 'staged', 'loaded', 'set aside')),
    reason text, row_count integer, duplicate_row_count integer not null default 0,
    repeat_count integer not null default 0, last_repeat_batch_id integer, new_columns text, missing_columns text,
    received_at text not null, finished_at text, source_digest text, replaces text
);
create index if not exists loads_by_file on loads (source, file_name);
create table if not exists load_tenants (
    load_id text not null references loads, tenant_id text not null, reading_count integer not null,
    empty_count integer not null, rejected_count integer not null, duplicate_count integer not null,
    first_measured_at text, last_measured_at text, primary key (load_id, tenant_id)
);
create table if not exists source_columns (
    source text not null, column_name text not null, load_id text not null references loads,
    primary key (source, column_name)
);
create table if not exists sent_units (
    metric text not null, unit text not null, load_id text not null references loads, primary key (metric, unit)
);
create table if not exists load_rejections (
    load_id text not null references loads, tenant_id text not null, metric text, reason text not null,
    rejected_count integer not null, first_source_row integer, example text
);
create table if not exists load_partitions (
    load_id text not null references loads, tenant_id text not null, reading_date text not null, build_id integer,
    first_build_id integer, primary key (load_id, tenant_id, reading_date)
);
create index if not exists load_partitions_by_build on load_partitions (build_id);
create table if not exists builds (
    build_id integer primary key autoincrement,
    status text not null check (status in ('running', 'built', 'abandoned')),
    inputs text not null, full_refresh integer not null, started_at text not null, finished_at text,
    last_batch_id integer not null default 0
);
create table if not exists build_partitions (
    build_id integer not null references builds, tenant_id text not null, reading_date text not null,
    primary key (build_id, tenant_id, reading_date)
);
create table if not exists quality_verdicts (
    tenant_id text not null, build_id integer not null references builds, verdict text not null,
    expectation_count integer not null, critical_failures integer not null, warning_failures integer not null,
    decided_at text not null, data_docs text not null, candidate text not null, primary key (tenant_id, build_id)
);
create table if not exists quality_results (
    tenant_id text not null, build_id integer not null, suite text not null, expectation text not null,
    rule text not null, severity text not null, metric text, is_met integer not null, checked_count integer,
    unexpected_count integer, why text not null, checked_at text not null
);
create table if not exists quality_findings (
    tenant_id text not null, build_id integer not null, expectation text not null, source text, site_id text,
    device_id text, metric text, unexpected_count integer not null
);
create table if not exists snapshots (
    tenant_id text not null, build_id integer not null, file_bytes integer not null, published_at text not null,
    base_build_id integer, compact_bytes integer not null, detail_days integer not null, withdrawn_at text,
    primary key (tenant_id, build_id)
);
create table if not exists held_back (
    tenant_id text primary key, held_at text not null, who text not null, why text not null
);
create table if not exists quality_cases (
    case_id integer primary key autoincrement, tenant_id text not null, expectation text not null, rule text not null,
    severity text not null, metric text,
    state text not null check (state in ('open', 'acknowledged', 'explained', 'waived', 'mended')),
    opened_build_id integer, last_build_id integer, failed_builds integer not null, unexpected_count integer,
    opened_at text not null, last_failed_at text not null, closed_at text, notified_at text
);
create unique index if not exists quality_cases_unclosed on quality_cases (tenant_id, expectation)
    where state <> 'mended';
create table if not exists notices (
    case_id integer not null references quality_cases, channel text not null, delivered_at text, failed_why text,
    primary key (case_id, channel)
);
create table if not exists quality_waivers (
    waiver_id integer primary key autoincrement, case_id integer not null references quality_cases,
    build_id integer, until text, why text not null, who text not null, waived_at text not null, ended_at text,
    check ((build_id is null) <> (until is null))
);
create table if not exists quality_record (
    entry_id integer primary key autoincrement, recorded_at text not null, tenant_id text not null, who text not null,
    action text not null, case_id integer, build_id integer, why text not null
);
create trigger if not exists quality_record_is_not_changed before update on quality_record
    begin select raise(abort, 'the record is append-only'); end;
create trigger if not exists quality_record_is_not_deleted before delete on quality_record
    begin select raise(abort, 'the record is append-only'); end;
create table if not exists storage_measurements (
    day text not null, tenant_id text not null, layer text not null, bytes integer not null,
    reading_count integer not null, primary key (day, tenant_id, layer)
);
create table if not exists operator_parts (
    build_id integer not null, tenant_id text not null, tenant_build_id integer not null,
    primary key (build_id, tenant_id)
);
"""


def now() -> str:
    """This instant, UTC, as the ledger writes it (ISO 8601 without offset, microseconds)."""
    return datetime.now(UTC).replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")


@contextmanager
def ledger(settings: Settings) -> Iterator[sqlite3.Connection]:
    """A connection whose block is one transaction: kept when it ends, undone when it raises."""
    settings.prepare_home()
    with closing(_connect(settings)) as connection:
        connection.execute("pragma journal_mode = wal")
        connection.executescript(f"begin immediate; {SCHEMA} commit;")
        connection.execute("begin immediate")
        try:
            yield connection
        except BaseException:
            connection.execute("rollback")
            raise
        connection.execute("commit")


def rows(settings: Settings, query: str, *parameters: Any) -> list[dict[str, Any]]:
    """The query's rows as dictionaries; empty when nothing was ever recorded."""
    if not settings.ledger.exists():
        return []
    with closing(_connect(settings)) as connection:
        if connection.execute("select count(*) from sqlite_master").fetchone()[0] == 0:
            return []
        return [dict(row) for row in connection.execute(query, parameters)]


def _connect(settings: Settings) -> sqlite3.Connection:
    connection = sqlite3.connect(settings.ledger, timeout=30, isolation_level=None)
    connection.row_factory = sqlite3.Row
    connection.execute("pragma synchronous = full")
    connection.execute("pragma foreign_keys = on")
    return connection
