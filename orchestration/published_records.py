"""What happened to a tenant's data, as its readers see it: the ledger's tables, in a file beside the snapshot.

A snapshot never changes, but a verdict, a case or a waiver must be seen at once, above all where a new snapshot is
withheld. So these tables are no part of it: the small file is written anew whenever one of them changed, and swapped in
like a snapshot. Readers attach it beside the snapshot and find its tables by their names.
"""

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from orchestration import audit_events
from orchestration.ledger import rows
from orchestration.published_rows import columns_of, create, describe, descriptions_of, insert_texts, manifest
from orchestration.registry import Registry
from orchestration.registry_rows import OPERATOR
from orchestration.settings import Settings

# Whoever opened an older one goes on reading it.
VERSIONS_KEPT = 2

# A tenant's rows; the operator's file has those of all, and rows of its own where a file belonged to nobody else.
TABLES = {
    "loads": """
        with stages as (
            select
                load_id, tenant_id, case when count(first_build_id) = count(*) then max(first_build_id) end as build_id
            from load_partitions
            group by load_id, tenant_id
        ),
        published as (
            select load_id, tenant_id, build_id, (
                select min(published_at) from snapshots s
                where s.tenant_id = stages.tenant_id and s.build_id >= stages.build_id
            ) as published_at
            from stages
        )
        select
            l.load_id, coalesce(t.tenant_id, l.tenant_id) as tenant_id, l.source, l.file_name, l.status,
            case
                when l.status = 'set aside' then 'set aside'
                when l.status <> 'loaded' then 'loading'
                when p.load_id is null then 'no readings'
                when p.build_id is null then 'waits for a build'
                when p.published_at is null then 'waits to be published'
                else 'published'
            end as stage,
            l.reason, l.file_bytes, l.row_count, coalesce(t.reading_count, 0) as reading_count,
            coalesce(t.empty_count, 0) as empty_count, coalesce(t.rejected_count, 0) as rejected_count,
            coalesce(t.duplicate_count, 0) as duplicate_count,
            coalesce(t.reading_count + t.empty_count + t.rejected_count + t.duplicate_count, 0) as value_count,
            l.repeat_count, l.new_columns, t.first_measured_at, t.last_measured_at, l.received_at, p.published_at
        from loads l
        left join load_tenants t using (load_id)
        left join published p on l.load_id = p.load_id and t.tenant_id = p.tenant_id
        where coalesce(t.tenant_id, l.tenant_id) = ? and (l.replaces is null or l.status = 'loaded')""",
    "rejected_rows_summary": """
        select
            r.tenant_id, r.load_id, l.source, l.file_name, r.metric, r.reason, r.example, r.rejected_count,
            r.first_source_row, l.received_at
        from load_rejections r
        join loads l using (load_id)
        where l.status = 'loaded' and r.tenant_id = ?""",
    "quality_verdicts": "select * from quality_verdicts where tenant_id = ?",
    "quality_results": "select * from quality_results where tenant_id = ?",
    "quality_findings": """
        select f.*, r.rule, r.severity
        from quality_findings f
        join quality_results r using (tenant_id, build_id, expectation)
        where tenant_id = ?""",
    "quality_cases": """
        select c.*, w.until as waived_until, w.build_id as waived_build_id, w.why as waived_why, w.who as waived_by
        from quality_cases c
        left join quality_waivers w on c.case_id = w.case_id and w.ended_at is null
        where tenant_id = ?""",
    "quality_record": "select * from quality_record where tenant_id = ?",
    "data_state": """
        with seen as (
            select t.tenant_id, max(s.build_id) as build_id, s.published_at
            from (select ? as tenant_id) t
            left join snapshots s on t.tenant_id = s.tenant_id and s.withdrawn_at is null
            where t.tenant_id <> 'operator'
        ),
        states as (
            select
                seen.tenant_id, seen.build_id, seen.published_at, v.verdict, v.decided_at,
                (
                    select count(*) from quality_cases c join quality_waivers w using (case_id)
                    where c.tenant_id = seen.tenant_id and w.ended_at is null
                ) as waived_count,
                h.held_at, h.why as held_why,
                (
                    select min(decided_at) from quality_verdicts n
                    where n.tenant_id = seen.tenant_id and n.build_id > coalesce(seen.build_id, 0)
                    and not exists (
                        select 1 from snapshots s where s.tenant_id = n.tenant_id and s.build_id = n.build_id
                    )
                ) as under_review_since
            from seen
            left join quality_verdicts v on seen.tenant_id = v.tenant_id and seen.build_id = v.build_id
            left join held_back h on seen.tenant_id = h.tenant_id
        )
        select
            *,
            case
                when held_at is not null then 'Newer data is held back'
                when under_review_since is not null then 'Newer data is under review'
                when build_id is null then 'Nothing is published yet'
                when verdict = 'failed' then 'Passed with a waiver'
                when verdict = 'passed' then 'Passed the gate'
                else 'Passed with warnings'
            end as state,
            coalesce(held_at, under_review_since, decided_at) as state_since
        from states where tenant_id is not null""",
}


def publish_records(settings: Settings, tenants: Iterable[str] | None = None) -> None:
    """Write anew what these tenants, or all, see of their records, and what the operator sees."""
    if not (settings.dbt_target / "manifest.json").exists():
        return  # nothing was built, so nobody can look yet
    known = [*Registry(settings.registry).tenant_ids, OPERATOR]
    sources = manifest(settings)["sources"].values()
    tables = {node["name"]: node for node in sources if node["source_name"] == "ledger"}
    with _one_at_a_time(settings):
        for tenant_id in known if tenants is None else sorted({*tenants} - {OPERATOR}):
            _write(settings, tenant_id, tables, known if tenant_id == OPERATOR else [tenant_id])
        if tenants is not None:
            _write(settings, OPERATOR, tables, known)


def current_records(settings: Settings, tenant_id: str) -> Path | None:
    """The file that the tenant's readers attach now; None before the first."""
    link = settings.serving / tenant_id / "records" / "current"
    return link.resolve() if link.exists() else None


def _write(settings: Settings, tenant_id: str, tables: dict[str, dict[str, Any]], owners: list[str]) -> None:
    folder = settings.serving / tenant_id / "records"
    folder.mkdir(parents=True, exist_ok=True)
    for left_over in folder.glob(".*.part*"):
        left_over.unlink()
    versions = sorted(folder.glob("v*.duckdb"), key=lambda path: int(path.stem[1:]))
    name = f"v{int(versions[-1].stem[1:]) + 1 if versions else 1}.duckdb"
    partial = folder / f".{name}.part"
    with duckdb.connect(str(partial)) as connection:
        connection.begin()
        for table, node in tables.items():
            found = [row for owner in owners for row in rows(settings, TABLES[table], owner)]
            create(connection, table, columns_of(node))
            insert_texts(connection, table, columns_of(node), found)
            describe(connection, table, node["description"], descriptions_of(node))
        if tenant_id == OPERATOR:
            audit_events.write_events(connection, settings, before=versions[-1] if versions else None)
        connection.commit()
    partial.chmod(0o440)
    os.replace(partial, folder / name)
    link = folder / ".current.part"
    link.symlink_to(name)
    os.replace(link, folder / "current")
    for old in versions[: 1 - VERSIONS_KEPT]:
        old.unlink()


@contextmanager
def _one_at_a_time(settings: Settings) -> Iterator[None]:
    """A steward's act must not wait for a run, so this is not the writer's lock."""
    settings.serving.mkdir(parents=True, exist_ok=True)
    with (settings.home / "records.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
