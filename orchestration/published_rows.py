"""Which rows of the marts a snapshot holds, and how a copy of the last one comes to hold them.

The database that is made is attached as `snapshot`, the warehouse as `warehouse`.
"""

import json
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa

from orchestration.settings import Settings


@dataclass(frozen=True)
class Mart:
    """A published table: its columns and types, what they mean, and which rows a tenant gets beside its own."""

    name: str
    description: str
    columns: dict[str, str]
    column_descriptions: dict[str, str]
    published_where: str | None
    touched_by: dict[str, str] | None
    unique_key: list[str] | None

    @property
    def has_tenant(self) -> bool:
        return "tenant_id" in self.columns


def published_marts(settings: Settings) -> list[Mart]:
    """The marts that snapshots carry, from dbt's manifest of the last build."""
    nodes = [node for node in manifest(settings)["nodes"].values() if node["resource_type"] == "model"]
    return [
        Mart(
            name=node["name"],
            description=node["description"],
            columns=columns_of(node),
            column_descriptions=descriptions_of(node),
            published_where=node["config"].get("meta", {}).get("published_where"),
            touched_by=node["config"].get("touched_by"),
            unique_key=node["config"].get("unique_key"),
        )
        for node in nodes
        if node["path"].startswith("marts/")
    ]


def manifest(settings: Settings) -> dict[str, Any]:
    """What dbt knows of the project, of the last build."""
    return json.loads((settings.dbt_target / "manifest.json").read_text())


def columns_of(node: dict[str, Any]) -> dict[str, str]:
    """Names and types of the columns that a model's or source's YAML declares."""
    return {name: column["data_type"] for name, column in node["columns"].items()}


def descriptions_of(node: dict[str, Any]) -> dict[str, str]:
    """What the columns mean that a model's or source's YAML declares."""
    return {name: column["description"] for name, column in node["columns"].items()}


def create_tables(connection: duckdb.DuckDBPyConnection, marts: list[Mart]) -> None:
    """Every mart's table, empty, with its descriptions, in the database attached as `snapshot`; in one transaction."""
    for mart in marts:
        create(connection, f"snapshot.{mart.name}", mart.columns)
        describe(connection, f"snapshot.{mart.name}", mart.description, mart.column_descriptions)


def create(connection: duckdb.DuckDBPyConnection, table: str, types: dict[str, str]) -> None:
    """An empty table of these columns."""
    columns = ", ".join(f'"{name}" {type_}' for name, type_ in types.items())
    connection.execute(f"create table {table} ({columns})")


def describe(connection: duckdb.DuckDBPyConnection, table: str, description: str, columns: dict[str, str]) -> None:
    """Write what the YAML says of a table and its columns into the file: SQL Lab shows it beside them."""
    connection.execute(f"comment on table {table} is {literal(description)}")
    for name, meaning in columns.items():
        connection.execute(f'comment on column {table}."{name}" is {literal(meaning)}')


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


def insert_texts(connection: duckdb.DuckDBPyConnection, table: str, types: dict[str, str], found: list[dict]) -> None:
    """Insert rows of SQLite's, which has no times and truths: values go over as texts and become what `types` say."""
    columns = {
        name: pa.array([None if row[name] is None else str(row[name]) for row in found], pa.string()) for name in types
    }
    connection.register("texts", pa.table(columns))
    casts = ", ".join(f'cast("{name}" as {type_})' for name, type_ in types.items())
    connection.execute(f"insert into {table} select {casts} from texts")
    connection.unregister("texts")


def literal(text: str) -> str:
    """A text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"
