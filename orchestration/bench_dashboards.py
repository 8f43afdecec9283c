"""What every query of every dashboard costs from the cubes, against the same query from single readings."""

import json
import re
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from orchestration.published_records import current_records
from orchestration.registry import Registry
from orchestration.serving import current_snapshot
from orchestration.settings import ROOT, Settings

sys.path.insert(0, str(ROOT / "superset"))
from bundle import Bundle, Chart, Dataset

SCHEMA = "memory.from_readings"
FROM_READINGS = Path(__file__).with_name("from_readings.sql")
VIEWS = {
    "cube_device_health_daily": [
        "cube_device_health_daily",
        "cube_device_health_daily_silences",
        "cube_device_health_daily_stuck",
    ],
    "cube_devices_recent": ["cube_devices_recent"],
    "cube_fleet_recent": ["cube_fleet_recent", "cube_fleet_recent_changes"],
    "cube_headlines_recent": ["cube_headlines_recent"],
    "cube_readings_daily": ["cube_readings_daily"],
    "cube_readings_hourly": ["cube_readings_hourly"],
}
# What Superset's connections have (superset/security/tenancy.py).
ENGINE = {"memory_limit": "1GB", "threads": 2}
TIMES_ASKED = 5


@dataclass(frozen=True)
class Asked:
    """A chart's or filter's query: milliseconds from the cubes and, where readings can answer it, from readings."""

    dashboard: str
    name: str
    cube_ms: float
    readings_ms: float | None

    @property
    def ratio(self) -> float | None:
        """How many times faster the cubes are."""
        return self.readings_ms and self.readings_ms / self.cube_ms


def ask_dashboards(settings: Settings, tenant_id: str) -> list[Asked]:
    """Ask every query of every dashboard, as it opens, of a tenant's snapshot: from the cubes and from readings.

    On an open connection with what Superset's connections have: from the cubes the median of five runs after one,
    from readings one run.
    """
    with opened(settings, tenant_id) as connection:
        asked = []
        for dashboard, name, query in queries(connection):
            plain = from_readings(connection, query)
            cube_ms = statistics.median([milliseconds(connection, query) for _ in range(TIMES_ASKED + 1)][1:])
            readings_ms = milliseconds(connection, plain) if plain else None
            asked.append(Asked(dashboard, name, cube_ms, readings_ms))
        return asked


def opened(settings: Settings, tenant_id: str) -> duckdb.DuckDBPyConnection:
    """A connection to the tenant's snapshot, with the registry and the views over readings beside it."""
    connection = duckdb.connect(config=ENGINE | {"temp_directory": str(settings.staging / "dashboards")})
    connection.execute("set TimeZone = 'UTC'")
    connection.execute(f"attach '{current_snapshot(settings, tenant_id)}' as marts (read_only)")
    Registry(settings.registry).write_to(connection, [])
    connection.execute(FROM_READINGS.read_text())
    connection.execute(f"attach '{current_records(settings, tenant_id)}' as records (read_only)")
    connection.execute("set search_path = 'marts.main,records.main'")
    return connection


def queries(connection: duckdb.DuckDBPyConnection) -> Iterator[tuple[str, str, str]]:
    """Dashboard, name and SQL of every filter's and chart's query, with what is chosen when the page opens."""
    bundle = Bundle(ROOT / "superset" / "assets", ROOT / "dbt_project" / "models" / "marts")
    for board in bundle.dashboards.values():
        chosen: dict[str, Any] = {}
        for item in board.filters:
            if item.get("kind") == "time":
                continue
            query = _filter_query(bundle.datasets[item["dataset"]], item, chosen)
            yield board.title, f"Filter {item['name']}", query
            if item.get("single") or item.get("first"):
                chosen[item["column"]] = connection.execute(query).fetchone()[0]
        for slug in board.charts:
            yield board.title, bundle.charts[slug].title, _chart_query(bundle.charts[slug], chosen)


def from_readings(connection: duckdb.DuckDBPyConnection, query: str) -> str | None:
    """The same query over the views of readings; None when it asks no cube that has one."""
    cubes = set(re.findall(r"\bcube_\w+", query)) & set(VIEWS)
    missing: duckdb.Error | None = None
    for depth in range(max((len(VIEWS[cube]) for cube in cubes), default=0)):
        plain = _over_views(query, {cube: VIEWS[cube][min(depth, len(VIEWS[cube]) - 1)] for cube in cubes})
        try:
            connection.execute(f"explain {plain}")
        except duckdb.BinderException as error:  # the view lacks a column
            missing = error
        else:
            return plain
    if missing:
        raise missing
    return None


def _over_views(query: str, views: dict[str, str]) -> str:
    names = "|".join(views)
    return re.sub(rf"\b(from|join) ({names})\b", lambda found: f"{found[1]} {SCHEMA}.{views[found[2]]}", query)


def milliseconds(connection: duckdb.DuckDBPyConnection, query: str) -> float:
    """Time of asking and fetching."""
    start = time.perf_counter()
    connection.execute(query).fetchall()
    return 1000 * (time.perf_counter() - start)


def _filter_query(dataset: Dataset, item: dict[str, Any], chosen: dict[str, Any]) -> str:
    order = dataset.metrics[item["sorted_by"]].expression if item.get("sorted_by") else "1"
    return (
        f"select {item['column']} from {_table(dataset)}{_where(dataset, [], chosen)} "
        f"group by {item['column']} order by {order}"
    )


def _chart_query(chart: Chart, chosen: dict[str, Any]) -> str:
    dataset, params = chart.dataset, chart.params
    source = f"from {_table(dataset)}{_where(dataset, params['adhoc_filters'], chosen)}"
    limit = f"limit {params['row_limit']}"
    if chart.viz == "histogram_v2":
        return f"select {params['column']} {source} {limit}"
    if params.get("query_mode") == "raw":
        order = ", ".join(
            f"{column} {'asc' if ascending else 'desc'}"
            for column, ascending in map(json.loads, params["order_by_cols"])
        )
        return f"select {', '.join(params['all_columns'])} {source} order by {order} {limit}"
    keys = [_grained(dataset, params)] if params.get("x_axis") else []
    groupby = params.get("groupby") or []
    keys += [groupby] if isinstance(groupby, str) else groupby
    metrics = [_metric(dataset, each) for each in params.get("metrics") or [params["metric"]]]
    group = f"group by {', '.join(str(place + 1) for place in range(len(keys)))}" if keys else ""
    newest = params.get("timeseries_limit_metric")
    order = f"order by {_metric(dataset, newest) if newest else len(keys) + 1} desc" if keys else ""
    return f"select {', '.join([*keys, *metrics])} {source} {group} {order} {limit}"


def _table(dataset: Dataset) -> str:
    return f"({dataset.sql})" if dataset.sql else dataset.slug


def _grained(dataset: Dataset, params: dict[str, Any]) -> str:
    column = dataset.columns[params["x_axis"]]
    grain = {"P1D": "day", "PT1H": "hour"}.get(params.get("time_grain_sqla"))
    return f"date_trunc('{grain}', {column.name})" if grain and column.type in ("date", "timestamp") else column.name


def _metric(dataset: Dataset, metric: Any) -> str:
    if isinstance(metric, str):
        return dataset.metrics[metric].expression
    return f"{metric['aggregate']}({metric['column']['column_name']})"


def _where(dataset: Dataset, conditions: list[dict[str, Any]], chosen: dict[str, Any]) -> str:
    wanted = [f"{each['subject']} {each['operator']} {_literal(each['comparator'])}" for each in conditions]
    wanted += [f"{column} = {_literal(value)}" for column, value in chosen.items() if column in dataset.columns]
    return f" where {' and '.join(wanted)}" if wanted else ""


def _literal(value: Any) -> str:
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else str(value)


def dashboards_section(results: list[tuple[int, list[Asked]]]) -> str:
    """A chapter of docs/bench-cubes.md, from the tenant's readings and what was asked of them, smallest first."""
    sizes = "\n".join(_size_row(readings, asked) for readings, asked in results)
    readings, asked = results[-1]
    each = "\n".join(
        f"| {one.dashboard} | {one.name} | {one.cube_ms:.1f} ms | {one.readings_ms:,.0f} ms | {one.ratio:,.0f} |"
        for one in _compared(asked)
    )
    return f"""## Dashboards

Every query that the dashboards send as they open, filters included, to the snapshot of one of the tenants, with what
Superset's connections have: {ENGINE["threads"]} threads and {ENGINE["memory_limit"]}. *Compared* are those to which
readings have an answer as well (not the ledger, nor single readings): the same query on
[views over `fct_readings`](../orchestration/from_readings.sql), which are written by hand and give the same answers
but for days on which a device sent nothing: of these only cubes know.

| the tenant's readings | queries | slowest from cubes | compared | 50 times faster or more | least | geometric mean |
| --- | --- | --- | --- | --- | --- | --- |
{sizes}

To reach: at least 50 times faster, none over 100 ms. Each of them, with {readings / 1e6:.1f} million readings:

| dashboard | query | from cubes | from readings | times faster |
| --- | --- | --- | --- | --- |
{each}
"""


def _size_row(readings: int, asked: list[Asked]) -> str:
    slowest, compared = max(asked, key=lambda one: one.cube_ms), _compared(asked)
    ratios = [one.ratio for one in compared]
    return (
        f"| {readings / 1e6:.1f} million | {len(asked)} | {slowest.cube_ms:.0f} ms, *{slowest.name}* | {len(compared)} "
        f"| {sum(ratio >= 50 for ratio in ratios)} | {ratios[0]:.0f} | **{statistics.geometric_mean(ratios):.0f}** |"
    )


def _compared(asked: list[Asked]) -> list[Asked]:
    """What readings can answer too, that which gains least first."""
    return sorted((one for one in asked if one.ratio), key=lambda one: one.ratio)
