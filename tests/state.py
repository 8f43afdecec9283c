"""What a home holds, without the times and numbers that differ from run to run: equal states are equal homes."""

from pathlib import Path

import duckdb
import numpy as np
import pandas as pd

from orchestration import lake
from orchestration.published_rows import published_marts
from orchestration.settings import Settings

PER_RUN = ("received_at", "finished_at", "decided_at", "checked_at", "build_id", "data_docs")
PER_BUILD = ("quality_verdicts", "quality_results", "quality_findings")
# bytes on the disk depend on how often and in which order files were written
MEASURED = ("cube_storage_daily",)
State = dict[str, pd.DataFrame]


def state_of(settings: Settings) -> State:
    """Every table of the lake, the warehouse and the current snapshots, and the names of the files kept."""
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        paths = [file.path for file in lake.files(settings.lake_readings)]
        connection.register("readings", connection.read_parquet(paths, hive_partitioning=True))
        state = {"lake": _rows(connection, "readings")}
    state |= marts_of(settings)
    # a tenant without data has records only
    for folder in sorted(current.parent for current in settings.serving.glob("*/current")):
        with duckdb.connect(str(folder / "current"), read_only=True) as connection:
            names = [row[0] for row in connection.execute("show tables").fetchall()]
            equal = [name for name in names if name not in PER_BUILD + MEASURED]
            state |= {f"{folder.name}/{name}": _rows(connection, name) for name in equal}
    for folder in (settings.archive, settings.landing, settings.set_aside):
        state[folder.name] = pd.DataFrame({"file": sorted(_file_names(folder))})
    return state


def marts_of(settings: Settings) -> State:
    """Every mart of the warehouse."""
    with duckdb.connect(str(settings.warehouse), read_only=True) as connection:
        names = [mart.name for mart in published_marts(settings) if mart.name not in MEASURED]
        return {name: _rows(connection, f"main.{name}") for name in names}


def assert_same(one: State, other: State) -> None:
    """Equal to the last count, text and time; figures to 1e-9, since sums are added up in any order."""
    assert one.keys() == other.keys()
    for name in one:
        left, right = one[name], other[name]
        assert list(left.columns) == list(right.columns) and len(left) == len(right), name
        for column in left.columns:
            if left[column].dtype == float:
                np.testing.assert_allclose(
                    left[column], right[column], rtol=1e-9, atol=1e-7, err_msg=f"{name}.{column}"
                )
            else:
                assert left[column].equals(right[column]), f"{name}.{column}"


def _rows(connection: duckdb.DuckDBPyConnection, table: str) -> pd.DataFrame:
    columns = [name for name, *_ in connection.execute(f"describe {table}").fetchall() if name not in PER_RUN]
    exact = [name for name, type_, *_ in connection.execute(f"describe {table}").fetchall() if type_ != "DOUBLE"]
    order = ", ".join(name for name in exact if name not in PER_RUN)
    return connection.execute(f"select {', '.join(columns)} from {table} order by {order}").df()


def _file_names(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
