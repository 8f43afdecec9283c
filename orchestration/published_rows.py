"""Which rows of the marts and of the ledger a snapshot holds, and how a copy of the last one comes to hold them.

The database that is made is attached as `snapshot`, the warehouse as `warehouse`.
"""

import json
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from orchestration.ledger import rows
from orchestration.settings import Settings

LEDGER_TABLES = {
    "loads": "select l.load_id, coalesce(t.tenant_id, l.tenant_id) as tenant_id, l.source, l.file_name, l.status, "
    "l.reason, l.file_bytes, l.row_count, coalesce(t.reading_count, 0) as reading_count, "
    "coalesce(t.empty_count, 0) as empty_count, coalesce(t.rejected_count, 0) as rejected_count, "
    "coalesce(t.duplicate_count, 0) as duplicate_count, coalesce(t.reading_count + t.empty_count + t.rejected_count "
    "+ t.duplicate_count, 0) as value_count, l.repeat_count, l.new_columns, "
    "t.first_measured_at, t.last_measured_at, l.received_at from loads l left join load_tenants t using (load_id) "
    "where l.status in ('loaded', 'set aside') and coalesce(t.tenant_id, l.tenant_id) = ?",
    "rejected_rows_summary": "select r.tenant_id, r.load_id, l.source, l.file_name, r.metric, r.reason, "
    "r.rejected_count, r.first_source_row, l.received_at from load_rejections r join loads l using (load_id) "
    "where l.status = 'loaded' and r.tenant_id = ?",
    "quality_verdicts": "select * from quality_verdicts where tenant_id = ?",
    "quality_results": "select * from quality_results where tenant_id = ?",
}


@dataclass(frozen=True)
class Mart:
    """A published table: its columns and types, and which rows a tenant gets beside its own."""

    name: str
    columns: dict[str, str]
    published_where: str | None
    touched_by: dict[str, str] | None
    unique_key: list[str] | None
    in_ledger: bool

    @property
    def has_tenant(self) -> bool:
        return "tenant_id" in self.columns


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
            touched_by=node["config"].get("touched_by"),
            unique_key=node["config"].get("unique_key"),
            in_ledger=node in tables,
        )
        for node in marts + tables
    ]


def create_tables(connection: duckdb.DuckDBPyConnection, marts: list[Mart]) -> None:
    """Every mart's table, empty, in the database attached as `snapshot`."""
    for mart in marts:
        columns = ", ".join(f'"{name}" {type_}' for name, type_ in mart.columns.items())
        connection.execute(f"create table snapshot.{mart.name} ({columns})")


def replace_rows(
    connection: duckdb.DuckDBPyConnection, mart: Mart, database: str, tenant_id: str, only_touched: bool
) -> None:
    """Replace a tenant's rows of a mart by those of `database`, all of them or the slices that the build touched."""
    of_tenant = f"tenant_id = {literal(tenant_id)}" if mart.has_tenant else "true"
    slices = _touched_slices(connection, mart.touched_by, of_tenant) if only_touched and mart.touched_by else "true"
    published = mart.published_where or "true"
    if database != "warehouse.main":
        published = published.replace("snapshot.", f"{database}.")
    standing = f"select rowid as old_row, * from snapshot.{mart.name} where {of_tenant} and {slices}"
    new = f"select * from {database}.{mart.name} where {of_tenant} and {slices} and {published}"
    if only_touched and mart.unique_key:
        _replace_differing(connection, mart, standing, new)
    else:
        connection.execute(f"delete from snapshot.{mart.name} where {of_tenant} and {slices}")
        connection.execute(f"insert into snapshot.{mart.name} by name {new}")
    if only_touched:
        # the horizon moved on with the newest day
        connection.execute(f"delete from snapshot.{mart.name} where {of_tenant} and not ({published})")


def _replace_differing(connection: duckdb.DuckDBPyConnection, mart: Mart, standing: str, new: str) -> None:
    """Make the `standing` rows equal the `new` ones: to compare a day costs far less than to compress it anew."""
    same_key = " and ".join(f"old.{column} is not distinct from new.{column}" for column in mart.unique_key)
    differs = " or ".join(f"old.{column} is distinct from new.{column}" for column in mart.columns)
    connection.execute(
        "create or replace temporary table differing as select old.old_row, new.* "
        f"from ({standing}) as old full join ({new}) as new on {same_key} where {differs}"
    )
    connection.execute(f"delete from snapshot.{mart.name} where rowid in (select old_row from differing)")
    connection.execute(
        f"insert into snapshot.{mart.name} by name "
        "select * exclude (old_row) from differing where tenant_id is not null"
    )


def _touched_slices(connection: duckdb.DuckDBPyConnection, touched_by: dict[str, str], of_tenant: str) -> str:
    """The condition for rows of the days that the build touched, with bounds that spare reading the other days."""
    scope, day = f"warehouse.build.{touched_by['scope']}", touched_by["day"]
    column = touched_by.get("instant", day)
    first, end = connection.execute(f"select min(day), max(day) + 1 from {scope} where {of_tenant}").fetchone()
    if first is None:
        return "false"
    return (
        f"{day} in (select day from {scope} where {of_tenant}) "
        f"and {column} >= date '{first}' and {column} < date '{end}'"
    )


def copy_ledger_table(settings: Settings, connection: duckdb.DuckDBPyConnection, mart: Mart, tenant_id: str) -> None:
    """Add a tenant's rows of a ledger table to the database attached as `snapshot`."""
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


def literal(text: str) -> str:
    """A text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"
