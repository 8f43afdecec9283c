"""What passed the gate becomes what people see: one immutable file per tenant, swapped in at once.

A tenant's snapshot is copied from the warehouse; the operator's is put together from the tenants'
current snapshots, so the operator's staff see exactly what each tenant sees, and nothing unproven.
"""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from expectations.gate import changed_tenants, verdict_of
from orchestration.build import latest_build
from orchestration.errors import FleetmartError
from orchestration.ledger import ledger, now, rows
from orchestration.settings import Settings
from orchestration.writer_lock import writer

OPERATOR = "operator"
SNAPSHOTS_KEPT = 10


class GateNotPassed(FleetmartError):
    """There is no passing verdict for exactly this tenant and build."""


@dataclass(frozen=True)
class Mart:
    """A published table: its columns and types, and which rows a tenant gets beside its own."""

    name: str
    columns: dict[str, str]
    published_where: str | None
    in_ledger: bool

    @property
    def has_tenant(self) -> bool:
        return "tenant_id" in self.columns


@dataclass(frozen=True)
class Snapshot:
    """One published file; `published_at` is UTC."""

    tenant_id: str
    build_id: int
    file_bytes: int
    published_at: str


@dataclass(frozen=True)
class Published:
    """What a call of publish did: new snapshots, and why tenants were withheld."""

    snapshots: list[Snapshot]
    withheld: list[str]


def publish_all(settings: Settings, report: Callable[[str], None] = lambda line: None) -> Published:
    """Publish every changed tenant that passed, then the operator's snapshot of what is current.

    Raises FleetmartError when there is no finished build.
    """
    with writer(settings, "publish"):
        build_id = _standing_build(settings)
        snapshots, withheld = [], []
        for tenant_id in changed_tenants(settings):
            try:
                snapshots.append(publish(settings, tenant_id, build_id))
                report(f"publish {tenant_id}: v{build_id}, {snapshots[-1].file_bytes:,} bytes")
            except GateNotPassed as error:
                withheld.append(str(error))
        if snapshots or _operator_is_behind(settings):
            snapshots.append(_publish_operator(settings, build_id))
            report(f"publish operator: v{build_id}, {snapshots[-1].file_bytes:,} bytes")
        return Published(snapshots, withheld)


def publish(settings: Settings, tenant_id: str, build_id: int) -> Snapshot:
    """Make this build what the tenant sees, if the gate passed this very build.

    Raises GateNotPassed without a passing verdict, FleetmartError when the warehouse holds another build.
    """
    with writer(settings, "publish"):
        if build_id != _standing_build(settings):
            raise FleetmartError(f"Build {build_id} is not what the warehouse holds; publish the latest build.")
        verdict = verdict_of(settings, tenant_id, build_id)
        if verdict is None:
            raise GateNotPassed(
                f"{tenant_id} was withheld: build {build_id} has no verdict. Run `fleetmart gate`, then publish again."
            )
        if not verdict.passed:
            raise GateNotPassed(
                f"{tenant_id} was withheld: build {build_id} failed {verdict.critical_failures} critical "
                "expectations; the last good snapshot stays. "
                f"See {settings.quality / tenant_id / 'docs' / 'index.html'}."
            )
        marts = published_marts(settings)
        with _new_snapshot(settings, tenant_id, build_id) as connection:
            connection.execute(f"attach {_quoted(settings.warehouse)} as warehouse (read_only)")
            connection.execute("set variable tenant_id = $1", [tenant_id])
            connection.execute("set variable detail_days = $1", [settings.detail_days])
            _create_tables(connection, marts)
            for mart in sorted(marts, key=lambda mart: mart.published_where is not None):
                _copy_mart(settings, connection, mart, tenant_id)
        return _record(settings, tenant_id, build_id)


def published_marts(settings: Settings) -> list[Mart]:
    """The marts and ledger tables that snapshots carry, from dbt's manifest of the last build."""
    manifest = json.loads((settings.dbt_target / "manifest.json").read_text())
    nodes = [node for node in manifest["nodes"].values() if node["resource_type"] == "model"]
    marts = [node for node in nodes if node["path"].startswith("marts/")]
    tables = [node for node in manifest["sources"].values() if node["source_name"] == "ledger"]
    return [
        Mart(
            name=node["name"],
            columns={name: column["data_type"] for name, column in node["columns"].items()},
            published_where=node["config"].get("meta", {}).get("published_where"),
            in_ledger=node in tables,
        )
        for node in marts + tables
    ]


def current_snapshot(settings: Settings, tenant_id: str) -> Path | None:
    """The file that the tenant's readers open now; None before the first publish."""
    link = settings.serving / tenant_id / "current"
    return link.resolve() if link.exists() else None


def _standing_build(settings: Settings) -> int:
    build = latest_build(settings)
    if build is None:
        raise FleetmartError("There is no finished build to publish. Run `fleetmart build`, then `fleetmart gate`.")
    return build.build_id


def _operator_is_behind(settings: Settings) -> bool:
    """True when a run was stopped between a tenant's snapshot and the operator's."""
    found = rows(
        settings,
        "select coalesce(max(build_id) filter (where tenant_id <> 'operator'), 0) > "
        "coalesce(max(build_id) filter (where tenant_id = 'operator'), 0) as behind from snapshots",
    )
    return bool(found and found[0]["behind"])


def _publish_operator(settings: Settings, build_id: int) -> Snapshot:
    marts = published_marts(settings)
    tenants = [
        path
        for folder in sorted(settings.serving.iterdir())
        if folder.name != OPERATOR and (path := current_snapshot(settings, folder.name))
    ]
    with _new_snapshot(settings, OPERATOR, build_id) as connection:
        _create_tables(connection, marts)
        for path in tenants:
            connection.execute(f"attach {_quoted(path)} as one (read_only)")
            for mart in marts:
                rows_of_one = f"select * from one.{mart.name}"
                if not mart.has_tenant:
                    rows_of_one += f" except select * from snapshot.{mart.name}"
                connection.execute(f"insert into snapshot.{mart.name} by name {rows_of_one}")
            connection.execute("detach one")
        for mart in marts:
            if mart.in_ledger:
                _copy_ledger_table(settings, connection, mart, OPERATOR)
    return _record(settings, OPERATOR, build_id)


@contextmanager
def _new_snapshot(settings: Settings, tenant_id: str, build_id: int) -> Iterator[duckdb.DuckDBPyConnection]:
    """A new file, attached as `snapshot`; when the block ends well it is sealed and becomes `current`."""
    folder = settings.serving / tenant_id
    folder.mkdir(parents=True, exist_ok=True)
    final, partial = folder / f"v{build_id}.duckdb", folder / f".v{build_id}.duckdb.part"
    for left_over in (*folder.glob(".*.part"), *folder.glob(".*.part.wal")):
        left_over.unlink()
    with duckdb.connect(config={"memory_limit": settings.memory_limit}) as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.execute(f"attach {_quoted(partial)} as snapshot")
        yield connection
        connection.execute("checkpoint snapshot")
        connection.execute("detach snapshot")
    partial.chmod(0o440)
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(partial, final)
    link = folder / ".current.part"
    link.symlink_to(final.name)
    os.replace(link, folder / "current")


def _create_tables(connection: duckdb.DuckDBPyConnection, marts: list[Mart]) -> None:
    for mart in marts:
        columns = ", ".join(f'"{name}" {type_}' for name, type_ in mart.columns.items())
        connection.execute(f"create table snapshot.{mart.name} ({columns})")


def _copy_mart(settings: Settings, connection: duckdb.DuckDBPyConnection, mart: Mart, tenant_id: str) -> None:
    if mart.in_ledger:
        _copy_ledger_table(settings, connection, mart, tenant_id)
        return
    conditions = ["tenant_id = getvariable('tenant_id')"] if mart.has_tenant else []
    conditions += [mart.published_where] if mart.published_where else []
    where = f" where {' and '.join(conditions)}" if conditions else ""
    connection.execute(f"insert into snapshot.{mart.name} by name select * from warehouse.main.{mart.name}{where}")


LEDGER_TABLES = {
    "loads": "select l.load_id, coalesce(t.tenant_id, l.tenant_id) as tenant_id, l.source, l.file_name, l.status, "
    "l.reason, l.file_bytes, l.row_count, coalesce(t.reading_count, 0) as reading_count, "
    "coalesce(t.empty_count, 0) as empty_count, coalesce(t.rejected_count, 0) as rejected_count, "
    "t.first_measured_at, t.last_measured_at, l.received_at from loads l left join load_tenants t using (load_id) "
    "where l.status <> 'reading' and coalesce(t.tenant_id, l.tenant_id) = ?",
    "rejected_rows_summary": "select r.tenant_id, r.load_id, l.source, l.file_name, r.metric, r.reason, "
    "r.rejected_count, r.first_source_row, l.received_at from load_rejections r join loads l using (load_id) "
    "where r.tenant_id = ?",
    "quality_verdicts": "select * from quality_verdicts where tenant_id = ?",
    "quality_results": "select * from quality_results where tenant_id = ?",
}


def _copy_ledger_table(settings: Settings, connection: duckdb.DuckDBPyConnection, mart: Mart, tenant_id: str) -> None:
    found = rows(settings, LEDGER_TABLES[mart.name], tenant_id)
    if not found:
        return
    texts = pa.table(
        {
            name: pa.array([None if row[name] is None else str(row[name]) for row in found], pa.string())
            for name in mart.columns
        }
    )
    connection.register("ledger_rows", texts)
    casts = ", ".join(f'cast("{name}" as {type_}) as "{name}"' for name, type_ in mart.columns.items())
    connection.execute(f"insert into snapshot.{mart.name} select {casts} from ledger_rows")
    connection.unregister("ledger_rows")


def _record(settings: Settings, tenant_id: str, build_id: int) -> Snapshot:
    folder = settings.serving / tenant_id
    snapshot = Snapshot(tenant_id, build_id, (folder / f"v{build_id}.duckdb").stat().st_size, now())
    with ledger(settings) as connection:
        connection.execute(
            "insert or replace into snapshots values (?, ?, ?, ?)",
            (tenant_id, build_id, snapshot.file_bytes, snapshot.published_at),
        )
    versions = sorted(folder.glob("v*.duckdb"), key=lambda path: int(path.stem[1:]))
    for old in versions[:-SNAPSHOTS_KEPT]:
        old.unlink()
    return snapshot


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"
