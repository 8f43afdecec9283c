"""What a home holds, without the times and numbers that differ from run to run: equal states are equal homes."""

from pathlib import Path
from typing import Any

import duckdb

from orchestration import lake
from orchestration.publish import published_marts
from orchestration.settings import Settings

PER_RUN = {"received_at", "finished_at", "decided_at", "checked_at", "build_id", "data_docs"}


def state_of(settings: Settings) -> dict[str, Any]:
    """Digests per table of the lake, the warehouse and every current snapshot, and the files kept."""
    state: dict[str, Any] = {"lake": _lake(settings)}
    names = [mart.name for mart in published_marts(settings) if not mart.in_ledger]
    with duckdb.connect(str(settings.warehouse), read_only=True) as connection:
        state["warehouse"] = {name: _digest(connection, f"main.{name}") for name in names}
    for folder in sorted(settings.serving.iterdir()):
        with duckdb.connect(str(folder / "current"), read_only=True) as connection:
            tables = [row[0] for row in connection.execute("show tables").fetchall()]
            per_build = {"quality_verdicts", "quality_results"}
            state[f"serving/{folder.name}"] = {
                name: _digest(connection, name) for name in tables if name not in per_build
            }
    state["archive"] = _file_names(settings.archive)
    state["landing"] = _file_names(settings.landing)
    return state


def marts_of(settings: Settings) -> dict[str, tuple]:
    """Digest per mart of the warehouse alone."""
    with duckdb.connect(str(settings.warehouse), read_only=True) as connection:
        names = [mart.name for mart in published_marts(settings) if not mart.in_ledger]
        return {name: _digest(connection, f"main.{name}") for name in names}


def _lake(settings: Settings) -> tuple:
    paths = [file.path for file in lake.files(settings.lake_readings)]
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.register("readings", connection.read_parquet(paths, hive_partitioning=True))
        return _digest(connection, "readings")


def _digest(connection: duckdb.DuckDBPyConnection, table: str) -> tuple:
    """Row count and an order-free hash; doubles to 9 digits, for sums add up in another order each time."""
    columns = connection.execute(f"describe {table}").fetchall()
    parts = [
        f"printf('%.9g', {name})" if type_ == "DOUBLE" else f"{name}::varchar"
        for name, type_, *_ in columns
        if name not in PER_RUN
    ]
    row = ", ".join(f"coalesce({part}, '∅')" for part in parts)
    return connection.execute(f"select count(*), sum(hash({row})::hugeint % 1000000007) from {table}").fetchone()


def _file_names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
