"""What the desk shows, read from the files that the caller's tenant sees: its records, and names from its snapshot.

Never from the ledger, which holds all tenants': the boundary is the dashboards' own, a file per tenant. The operator's
file holds every tenant's rows, so its steward's desk is the same one, with more in it.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from tenancy import TENANT_ID, connection_to, files_of

Row = dict[str, Any]
MENDED_SHOWN = 5
ENTRIES_SHOWN = 20
NAMES = {
    "tenant_id": "select tenant_id, tenant_name from snapshot.main.dim_tenants",
    "site_id": "select site_id, site_name from snapshot.main.dim_sites where tenant_id = $tenant",
    "device_id": "select device_id, device_name from snapshot.main.dim_devices where tenant_id = $tenant",
    "metric": "select metric, metric_label from snapshot.main.dim_metrics",
}

CASES = """
    select c.*, r.why, r.checked_count, v.data_docs, coalesce(c.waived_until < current_date, false) as is_waiver_over
    from records.main.quality_cases c
    left join records.main.quality_results r
        on r.tenant_id = c.tenant_id and r.build_id = c.last_build_id and r.expectation = c.expectation
    left join records.main.quality_verdicts v on v.tenant_id = c.tenant_id and v.build_id = c.last_build_id
    where ($tenant::varchar is null or c.tenant_id = $tenant)"""


class Records:
    """A tenant's open files; `tenant` narrows the operator's to one tenant, None is all that the file holds."""

    def __init__(self, connection: Any, has_snapshot: bool) -> None:
        self._connection = connection
        self._has_snapshot = has_snapshot

    def states(self, tenant: str | None = None) -> list[Row]:
        """What each tenant sees now, what was judged last, and how many cases are to be worked on."""
        return self._rows(
            """
            with judged as (
                select tenant_id, arg_max(build_id, build_id) as judged_build_id,
                    arg_max(verdict, build_id) as judged_verdict, arg_max(data_docs, build_id) as judged_docs
                from records.main.quality_verdicts
                group by tenant_id
            ),
            worked_on as (
                select tenant_id, count(*) as case_count,
                    count(*) filter (where severity = 'critical' and state <> 'waived') as withholding_count
                from records.main.quality_cases
                where state <> 'mended'
                group by tenant_id
            )
            select s.*, j.* exclude (tenant_id), coalesce(w.case_count, 0) as case_count,
                coalesce(w.withholding_count, 0) as withholding_count
            from records.main.data_state s
            left join judged j using (tenant_id)
            left join worked_on w using (tenant_id)
            where $tenant::varchar is null or s.tenant_id = $tenant
            order by s.tenant_id""",
            tenant=tenant,
        )

    def unclosed_cases(self, tenant: str | None) -> list[Row]:
        """The cases to work on, the gravest and newest first."""
        ranked = "order by c.severity <> 'critical', c.state = 'waived', c.case_id desc"
        return self._rows(f"{CASES} and c.state <> 'mended' {ranked}", tenant=tenant)

    def mended_cases(self, tenant: str | None) -> list[Row]:
        """The few cases that were mended last."""
        latest = f"order by c.closed_at desc limit {MENDED_SHOWN}"
        return self._rows(f"{CASES} and c.state = 'mended' {latest}", tenant=tenant)

    def case(self, case_id: int) -> Row | None:
        """One case; None when the caller's file has none of this number."""
        found = self._rows(f"{CASES} and c.case_id = $case_id", tenant=None, case_id=case_id)
        return found[0] if found else None

    def entries(self, tenant: str | None) -> list[Row]:
        """The newest entries of the record."""
        return self._rows(
            "select * from records.main.quality_record where $tenant::varchar is null or tenant_id = $tenant "
            f"order by entry_id desc limit {ENTRIES_SHOWN}",
            tenant=tenant,
        )

    def history(self, case: Row) -> list[Row]:
        """All that was recorded of a case, the newest first."""
        return self._rows(
            "select * from records.main.quality_record where case_id = $case_id order by entry_id desc",
            case_id=case["case_id"],
        )

    def findings(self, case: Row) -> list[Row]:
        """Where a case failed the last time, the worst first; none of a rule that knows no place."""
        return self._rows(
            "select * from records.main.quality_findings where tenant_id = $tenant_id and build_id = $build_id "
            "and expectation = $expectation order by unexpected_count desc nulls last, site_id, device_id",
            tenant_id=case["tenant_id"],
            build_id=case["last_build_id"],
            expectation=case["expectation"],
        )

    def verdicts(self, tenant: str) -> dict[int, Row]:
        """The tenant's verdicts by build."""
        found = self._rows("select * from records.main.quality_verdicts where tenant_id = $tenant", tenant=tenant)
        return {row["build_id"]: row for row in found}

    def tenant_names(self) -> dict[str, str]:
        """Names of tenants by key."""
        return self._names("tenant_id")

    def place_names(self, tenant: str) -> dict[str, dict[str, str]]:
        """Names of a tenant's sites and devices, and of metrics, by kind and key; a source has none but its key."""
        own = {kind: self._names(kind, tenant=tenant) for kind in ("site_id", "device_id")}
        return {**own, "metric": self._names("metric"), "source": {}}

    def _names(self, kind: str, **parameters: str) -> dict[str, str]:
        """Names by key; none before the first snapshot."""
        found = self._rows(NAMES[kind], **parameters) if self._has_snapshot else []
        return dict(tuple(row.values()) for row in found)

    def _rows(self, query: str, **parameters: Any) -> list[Row]:
        cursor = self._connection.cursor()
        cursor.execute(query, parameters or None)
        columns = [column[0] for column in cursor.description]
        return [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]


@contextmanager
def records_of(home: Path, tenant_id: str) -> Iterator[Records | None]:
    """What the tenant's desk reads; None before anything was recorded.

    Raises what `tenancy.files_of` raises.
    """
    files = files_of(home, tenant_id)
    if files.records is None:
        yield None
        return
    with closing(connection_to(files)) as connection:
        yield Records(connection, files.path is not None)


def earlier_builds(home: Path, tenant_id: str) -> list[int]:
    """Builds before the one that the tenant sees of which a snapshot is kept, the newest first."""
    folder = home / "serving" / tenant_id
    if not TENANT_ID.fullmatch(tenant_id) or not (folder / "current").exists():
        return []
    shown = _build_of((folder / "current").resolve())
    return sorted((build for build in map(_build_of, folder.glob("v*.duckdb")) if build < shown), reverse=True)


def other_tenants(home: Path, tenant_id: str) -> set[str]:
    """Everybody else that is served here."""
    return {path.name for path in (home / "serving").iterdir() if path.is_dir()} - {tenant_id}


def _build_of(path: Path) -> int:
    return int(path.stem[1:])
