"""The trucks' twelve questions: of the marts, and of raw rows in ClickHouse's engine and in DuckDB, within one run.

The raw tables are sorted as suits the questions best, by truck and time, and each answer must be the marts'.
"""

import importlib.util
import json
import math
import os
import random
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

from orchestration.bench import FLEETMART, Timed, machine, timed
from orchestration.errors import FleetmartError
from orchestration.questions import WAREHOUSE, questions
from orchestration.serving import current_snapshot
from orchestration.settings import Settings
from orchestration.simulate_trucks import FLEETS, SOURCES, TENANT, Trucks, simulate_trucks

TRUCKS = Trucks(trucks=0, days=6, seed=123, start=date(2016, 1, 1), interval=10)
KEPT = 0.891  # the share of the entries that TSBS's dirt does not lose
ASKED = 5
FLEET, START = "THE-FLEET", "1999-12-31 00:00:00"
OF_FLEET = f"name in (select name from trucks where fleet = '{FLEET}')"
WITHIN = "time >= {start} and time < {start} + interval"


def _driven(where: str = "true") -> str:
    """SQL of the ten minutes in which trucks drove."""
    return f"select name, {{bucket}} as bucket from readings where {where} group by all having avg(velocity) > 1"


# The questions of dbt_project/analyses, of raw rows; {bucket} is the start of a row's ten minutes.
RAW = {
    "01_last_location": f"""
        select name, driver, longitude, latitude from (
            select name, argMax(longitude, time) as longitude, argMax(latitude, time) as latitude
            from readings where {OF_FLEET} group by name
        ) as last join trucks using (name)""",
    "02_low_fuel": f"""
        select name, driver, fuel_state from (
            select name, argMax(fuel_state, time) as fuel_state from diagnostics where {OF_FLEET} group by name
        ) as last join trucks using (name) where fuel_state < 0.1""",
    "03_high_load": f"""
        select name, driver, current_load from (
            select name, argMax(current_load, time) as current_load from diagnostics where {OF_FLEET} group by name
        ) as last join trucks using (name) where current_load / load_capacity > 0.9""",
    "04_stationary_trucks": f"""
        select name, driver from (
            select name from readings where {OF_FLEET} and {WITHIN} 10 minute group by name having avg(velocity) < 1
        ) as still join trucks using (name)""",
    "05_long_driving_sessions": f"""
        select name, driver from (
            select name from ({_driven(f"{OF_FLEET} and {WITHIN} 4 hour")}) as driven
            group by name having count(*) > 22
        ) as long join trucks using (name)""",
    "06_long_daily_sessions": f"""
        select name, driver from (
            select name from ({_driven(f"{OF_FLEET} and {WITHIN} 24 hour")}) as driven
            group by name having count(*) > 60
        ) as long join trucks using (name)""",
    "07_consumption": """
        select fleet, sum(consumed) / sum(consumed_count), sum(nominal_fuel_consumption * driven) / sum(driven) from (
            select name, sum(fuel_consumption) as consumed, count(fuel_consumption) as consumed_count,
                count(*) as driven
            from readings where velocity > 1 group by name
        ) as used join trucks using (name) group by fleet""",
    "08_daily_driving_duration": f"""
        select fleet, name, driver, avg(hours) from (
            select name, cast(bucket as date) as day, floor(count(*) / 6) as hours from ({_driven()}) as driven
            group by name, day
        ) as daily join trucks using (name) group by fleet, name, driver""",
    "09_daily_driving_session": """
        select name, cast(bucket as date) as day, avg(date_diff('minute', bucket, next_change)) from (
            select name, bucket, driving, lead(bucket) over (partition by name order by bucket) as next_change from (
                select name, {nullable}(bucket) as bucket, driving,
                    lag(driving) over (partition by name order by bucket) as was_driving
                from (
                    select name, {bucket} as bucket, avg(velocity) > 5 as driving
                    from readings where velocity is not null group by name, bucket
                ) as buckets
            ) as compared where driving <> was_driving
        ) as changes where driving group by name, day""",
    "10_average_load": """
        select fleet, model, load_capacity, avg(average_load / load_capacity) from (
            select name, avg(current_load) as average_load from diagnostics group by name
        ) as loads join trucks using (name) group by fleet, model, load_capacity""",
    "11_daily_activity": """
        select fleet, model, day, sum(hours) from (
            select name, cast(bucket as date) as day, count(*) / 6 as hours from (
                select name, {bucket} as bucket from diagnostics group by name, bucket having avg(status) < 1
            ) as well group by name, day
        ) as daily join trucks using (name) group by fleet, model, day""",
    "12_breakdown_frequency": """
        select model, sum(breakdowns) from (
            select name, count(*) as breakdowns from (
                select name, broken, lag(broken) over (partition by name order by bucket) as was_broken from (
                    select name, {bucket} as bucket,
                        avg(case when status > 0 then 1 when status is not null then 0 end) >= 0.5 as broken
                    from diagnostics where status is not null group by name, bucket
                ) as buckets
            ) as compared where broken and not was_broken group by name
        ) as starts join trucks using (name) group by model""",
}
CLICKHOUSE = {
    "{bucket}": "toStartOfTenMinutes(time)",
    "{start}": f"toDateTime('{START}', 'UTC')",
    "{nullable}": "toNullable",
}
DUCKDB = {"{bucket}": "time_bucket(interval 10 minute, time)", "{start}": f"timestamp '{START}'", "{nullable}": ""}
Ask = Callable[[str], list[tuple]]


@dataclass(frozen=True)
class Asked:
    """Median milliseconds of one question."""

    question: str
    marts: float
    clickhouse: float
    duckdb: float


@dataclass(frozen=True)
class TsbsBench:
    """One size: rows of readings and of diagnostics, seconds that making the tables took, and each question."""

    readings: int
    diagnostics: int
    load: Timed
    rest: Timed
    clickhouse_seconds: float
    duckdb_seconds: float
    clickhouse_version: str
    questions: list[Asked]

    @property
    def ratios(self) -> dict[str, float]:
        """Geometric means of the marts' times as shares of the engines'."""
        return {
            f"of_{engine}": statistics.geometric_mean(one.marts / getattr(one, engine) for one in self.questions)
            for engine in ("clickhouse", "duckdb")
        }


def bench_tsbs(folder: Path, millions: float, report: Callable[[str], None]) -> TsbsBench:
    """Ask of so many million rows of readings and as many of diagnostics; `folder` needs about 1 kB for each.

    Raises FleetmartError when a step fails, two answers differ, or chdb is not installed.
    """
    if importlib.util.find_spec("chdb") is None:
        pip = Path(sys.executable).with_name("pip")
        raise FleetmartError(f"This bench needs ClickHouse's engine: {pip} install 'chdb>=4.4,<5'")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    a_truck = TRUCKS.days * 86_400 // TRUCKS.interval * KEPT
    trucks = Trucks(**{**vars(TRUCKS), "trucks": max(1, math.ceil(millions * 1e6 / a_truck))})
    truth = simulate_trucks(trucks, folder / "fleet", report)
    settings = Settings(
        home=folder / "home", sources=folder / "fleet" / "sources", registry=folder / "fleet" / "registry"
    )
    landing = folder / "fleet" / "landing"
    shutil.copytree(landing, settings.landing, copy_function=os.link)
    load = timed([FLEETMART, "load"], settings.home, may_reject=True)
    report(f"load {load.seconds:.0f} s")
    rest = timed([FLEETMART, "run"], settings.home)
    report(f"build, gate and publish {rest.seconds:.0f} s")
    compiled = questions(settings, folder / "questions", fleet=FLEET, window_start=START)
    # a process that started ClickHouse's engine must not start others: it comes last
    from chdb.session import Session

    engine = {"memory_limit": settings.memory_limit}
    with duckdb.connect(f"{folder}/raw.duckdb", config=engine) as raw, Session(f"{folder}/clickhouse") as session:
        duckdb_seconds = _duckdb_tables(raw, landing)
        clickhouse_seconds = _clickhouse_tables(session, landing)
        report(f"raw tables in DuckDB {duckdb_seconds:.0f} s, in ClickHouse's engine {clickhouse_seconds:.0f} s")
        asked = _ask_all(settings, trucks, compiled, raw, session, report)
        version = session.query("select version()", "TabSeparated").data().strip()
    rows = [truth.sources[source].rows for source in SOURCES]
    shutil.rmtree(folder)
    return TsbsBench(*rows, load, rest, clickhouse_seconds, duckdb_seconds, version, asked)


def _duckdb_tables(raw: duckdb.DuckDBPyConnection, landing: Path) -> float:
    """Raw tables of rows that name a truck, and of the trucks; returns the seconds."""
    begun = time.monotonic()
    raw.execute("set TimeZone = 'UTC'")
    for source, (fields, _) in SOURCES.items():
        columns = ", ".join(one.name for one in fields)
        raw.execute(
            f"create table {source.removeprefix('truck_')} as select cast(time as timestamp) as time, name, {columns} "
            f"from read_csv('{landing}/{source}/*.csv') where name is not null order by name, time"
        )
    raw.execute(
        "create table trucks as select name, max(fleet) as fleet, max(driver) as driver, max(model) as model, "
        "max(load_capacity) as load_capacity, max(nominal_fuel_consumption) as nominal_fuel_consumption "
        f"from read_csv('{landing}/truck_readings/*.csv') where name is not null group by name"
    )
    raw.execute(f"copy trucks to '{landing.parent}/trucks.parquet' (format parquet)")
    raw.execute("checkpoint")
    return time.monotonic() - begun


def _clickhouse_tables(session: Any, landing: Path) -> float:
    """The same tables, as TSBS declares them for ClickHouse, sorted by truck and time; returns the seconds."""
    begun = time.monotonic()
    session.query("set date_time_input_format = 'best_effort'")
    for source, (fields, _) in SOURCES.items():
        table = source.removeprefix("truck_")
        values = ", ".join(f"{one.name} Nullable(Float64)" for one in fields)
        columns = ", ".join(one.name for one in fields)
        session.query(
            f"create table {table} (time DateTime('UTC'), name LowCardinality(String), {values}) "
            "engine = MergeTree order by (name, time)"
        )
        session.query(
            f"insert into {table} select time, name, {columns} from file('{landing}/{source}/*.csv', CSVWithNames, "
            f"'time DateTime(''UTC''), name Nullable(String), {values}') where name is not null"
        )
        session.query(f"optimize table {table} final")
    session.query(
        "create table trucks engine = MergeTree order by name as "
        "select assumeNotNull(name) as name, * except (name) "
        f"from file('{landing.parent}/trucks.parquet', Parquet)"
    )
    return time.monotonic() - begun


def _ask_all(
    settings: Settings,
    trucks: Trucks,
    compiled: dict[str, str],
    raw: duckdb.DuckDBPyConnection,
    session: Any,
    report: Callable[[str], None],
) -> list[Asked]:
    """Each question several times, of other fleets and windows, each engine after the other."""
    chance = random.Random(TRUCKS.seed)
    with duckdb.connect(config={"memory_limit": settings.memory_limit}) as marts:
        marts.execute(f"attach '{current_snapshot(settings, TENANT)}' as {WAREHOUSE} (read_only)")
        results = []
        for name, sql in RAW.items():
            engines = {
                "marts": (compiled[f"tsbs_{name}"], lambda sql: marts.execute(sql).fetchall()),
                "clickhouse": (_spelled(sql, CLICKHOUSE), lambda sql: _rows(session, sql)),
                "duckdb": (_spelled(sql, DUCKDB), lambda sql: raw.execute(sql).fetchall()),
            }
            results.append(_ask(name, engines, trucks, chance))
            one = results[-1]
            report(f"{name}: {one.marts:.1f} ms, ClickHouse {one.clickhouse:.1f} ms, DuckDB {one.duckdb:.1f} ms")
    return results


def _spelled(sql: str, words: dict[str, str]) -> str:
    for word, spelling in words.items():
        sql = sql.replace(word, spelling)
    return sql


def _rows(session: Any, sql: str) -> list[tuple]:
    lines = session.query(sql, "JSONCompactEachRow").data().splitlines()
    return [tuple(json.loads(line)) for line in lines]


def _ask(name: str, engines: dict[str, tuple[str, Ask]], trucks: Trucks, chance: random.Random) -> Asked:
    """Median times, the first of each engine left out; raises FleetmartError when answers differ."""
    times: dict[str, list[float]] = {engine: [] for engine in engines}
    for number in range(ASKED + 1):
        fleet, start = chance.choice(FLEETS), _window(trucks, chance)
        answers = {}
        for engine, (sql, ask) in engines.items():
            asked = sql.replace(FLEET, fleet).replace(START, str(start))
            begun = time.perf_counter()
            answers[engine] = ask(asked)
            if number:
                times[engine].append(1000 * (time.perf_counter() - begun))
        for engine, answer in answers.items():
            if not _same(answer, answers["marts"]):
                raise FleetmartError(f"{name}: {engine} answers otherwise than the marts for {fleet} from {start}.")
    return Asked(name, **{engine: statistics.median(taken) for engine, taken in times.items()})


def _window(trucks: Trucks, chance: random.Random) -> datetime:
    """The start of a window of whole ten minutes, a day before the end at the latest."""
    buckets = 144 * max(1, trucks.days - 1)
    midnight = datetime.combine(trucks.start, datetime.min.time())
    return midnight + timedelta(minutes=10 * chance.randrange(buckets))


def _same(one: list[tuple], other: list[tuple]) -> bool:
    """Whether two answers have the same rows in any order; figures to 1e-9, since sums are added up in any order."""

    def in_order(rows: list[tuple]) -> list[tuple]:
        plain = [tuple(str(value) if isinstance(value, date) else value for value in row) for row in rows]
        return sorted(plain, key=lambda row: [str(value) for value in row if not isinstance(value, float)])

    def is_same(left: object, right: object) -> bool:
        numbers = isinstance(left, int | float) and isinstance(right, int | float)
        return math.isclose(left, right, rel_tol=1e-9, abs_tol=1e-9) if numbers else left == right

    pairs = list(zip(in_order(one), in_order(other), strict=False))
    return len(one) == len(other) and all(is_same(*values) for rows in pairs for values in zip(*rows, strict=True))


def table(result: TsbsBench) -> str:
    """The result as docs/bench-tsbs.md has it."""
    rows = "\n".join(
        f"| {one.question[:2].lstrip('0')} {one.question[3:].replace('_', ' ')} | {one.marts:.1f} "
        f"| {one.clickhouse:.1f} | {one.marts / one.clickhouse:.3f} "
        f"| {one.duckdb:.1f} | {one.marts / one.duckdb:.3f} |"
        for one in result.questions
    )
    return f"""# The field's own questions, measured

`fleetmart bench tsbs`: the twelve questions of the Time Series Benchmark Suite's trucks, which
[dbt_project/analyses](../dbt_project/analyses) asks of the marts, on {result.readings / 1e6:.1f} million rows of
readings and {result.diagnostics / 1e6:.1f} million of diagnostics, ten seconds apart, with its dirt. *Marts* is the
published snapshot, opened once. *ClickHouse* is its engine (chdb, {result.clickhouse_version}) on the raw rows as
TSBS declares them, sorted by truck and time and merged into one part; *DuckDB* is a table of the raw rows, sorted the
same way. Times are medians of {ASKED} in milliseconds, each of another fleet and window, after one that does not
count. All three answers are compared each time and must be equal.

| question | marts | ClickHouse | marts / ClickHouse | DuckDB | marts / DuckDB |
| --- | --- | --- | --- | --- | --- |
{rows}
| **geometric mean** | | | **{result.ratios["of_clickhouse"]:.3f}** | | **{result.ratios["of_duckdb"]:.3f}** |

To reach: at most 0.05 of ClickHouse and 0.1 of DuckDB, no question slower than with either.

What comes before the first question: `fleetmart load` {result.load.seconds:.0f} s
({result.load.megabytes:,} MB of memory) and building, judging and publishing all marts {result.rest.seconds:.0f} s
({result.rest.megabytes:,} MB); ClickHouse's tables {result.clickhouse_seconds:.0f} s, DuckDB's
{result.duckdb_seconds:.0f} s.

{machine()}.
"""
