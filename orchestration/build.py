"""New loads become marts: only the partitions that they touched are rebuilt, however late they are.

The record of a build is written after dbt ended well, so a killed build leaves its partitions
waiting and the next one replaces them again. A change of the registry or of the models means a
full refresh, because every partition may read differently under new rules.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime

import duckdb
import pyarrow as pa

from orchestration import lake
from orchestration.dbt_process import DBT_PROJECT, Dbt
from orchestration.errors import FleetmartError, WrongUse
from orchestration.ledger import ledger, now, rows
from orchestration.registry import Registry
from orchestration.settings import Settings
from orchestration.storage import MEASUREMENTS, measure, measurements
from orchestration.writer_lock import writer

Partition = tuple[str, str]
# Readings that one run of dbt takes: what must be put in order then fits into the memory of a step.
CHUNK_READINGS = 5_000_000
SCOPES = ("touched_partitions", "carried_partitions", "touched_days", "changed_days", "touched_months")
# Loads up to this batch are in the build; a batch that a crash broke off is closed, or begun anew, by the next load.
LAST_WHOLE_BATCH = (
    "coalesce((select min(batch_id) - 1 from loads where status in ('reading', 'staged')), "
    "(select max(batch_id) from batches), 0)"
)
LAKE_PARTITIONS = pa.schema([("tenant_id", pa.string()), ("day", pa.date32()), ("reading_count", pa.int64())])


@dataclass(frozen=True)
class Span:
    """UTC days from `first` to `last`, both included, of one tenant or of all."""

    first: date
    last: date
    tenant_id: str | None = None

    def holds(self, file: lake.LakeFile) -> bool:
        """Whether the file's partition is within the span."""
        return self.first <= file.reading_date <= self.last and self.tenant_id in (None, file.tenant_id)


@dataclass(frozen=True)
class Build:
    """One candidate in the warehouse, made in so many `chunks` of days.

    `partitions` counts tenant-days replaced; 0 means nothing was new.
    """

    build_id: int
    partitions: int
    full_refresh: bool
    chunks: int = 1


def latest_build(settings: Settings) -> Build | None:
    """The build that the warehouse holds now; None before the first, and while or after one broke off."""
    found = rows(settings, "select build_id, status, full_refresh from builds order by build_id desc limit 1")
    if not found or found[0]["status"] != "built":
        return None
    return Build(found[0]["build_id"], 0, bool(found[0]["full_refresh"]))


def candidate_digest(settings: Settings) -> str:
    """A digest that differs after any change of the warehouse, at a cost that does not grow with it.

    DuckDB numbers its checkpoints in the file's headers, its first 12 kB; what is not in a checkpoint is in the log
    beside the file (https://duckdb.org/docs/stable/internals/storage).
    """
    log = settings.warehouse.with_name(f"{settings.warehouse.name}.wal")
    with settings.warehouse.open("rb") as file:
        digest = hashlib.sha256(file.read(3 * 4096))
    digest.update(log.read_bytes() if log.exists() else b"")
    return digest.hexdigest()


def build(
    settings: Settings,
    full_refresh: bool = False,
    report: Callable[[str], None] = lambda line: None,
    span: Span | None = None,
    dbt: Dbt | None = None,
) -> Build:
    """Rebuild what new loads touched, and a span if given; without anything to do, the build that stands.

    `dbt` may have been started already.
    Raises FleetmartError when nothing was ever loaded, the registry is wrong, or dbt failed.
    """
    with candidate(settings, full_refresh, span, report) as new:
        if new.partitions:
            with dbt or Dbt(settings) as process:
                process.run(["build", *dbt_flags(new)], report)
    return new


def backfill(settings: Settings, span: Span, report: Callable[[str], None] = lambda line: None) -> list[Build]:
    """Rebuild a past span from the lake, month by month, so that memory does not grow with the span.

    Raises WrongUse when no partition of the lake lies within it.
    """
    with writer(settings, "backfill"):
        files = [file for file in lake.files(settings.lake_readings) if span.holds(file)]
        if not files:
            whose = span.tenant_id or "any tenant"
            raise WrongUse(f"The lake has no readings of {whose} from {span.first} to {span.last}.")
        months = sorted({file.reading_date.replace(day=1) for file in files})
        builds = []
        for number, month in enumerate(months, start=1):
            days = [file.reading_date for file in files if file.reading_date.replace(day=1) == month]
            builds.append(build(settings, report=report, span=Span(min(days), max(days), span.tenant_id)))
            report(f"backfill {number}/{len(months)}: {month:%Y-%m}, {builds[-1].partitions:,} tenant-days")
        return builds


@contextmanager
def candidate(
    settings: Settings,
    full_refresh: bool = False,
    span: Span | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> Iterator[Build]:
    """Prepare the warehouse for dbt and, if the block ends well, record the build as done.

    Of a build in several chunks all but the last one are made here, the oldest days first.
    """
    with writer(settings, "build"):
        registry = Registry(settings.registry)
        inputs = _fingerprint(registry)
        lake_files = lake.files(settings.lake_readings)
        if not lake_files:
            raise FleetmartError(
                "Nothing was loaded yet, so there is nothing to build. Put files into "
                f"{settings.landing}/<source>/ and run `fleetmart load`."
            )
        waiting = _waiting(settings)
        # a day that a replay emptied was the edge of the data, or within it: what was silent around it is not known
        emptied = waiting - _partitions(lake_files)
        is_other = inputs != _built_inputs(settings) or _broke_off_anew(settings)
        full_refresh = full_refresh or is_other or bool(emptied)
        touched = _touched(lake_files, waiting, full_refresh, span)
        standing = latest_build(settings)
        if not touched and standing:
            yield standing
            return
        build_id = _start(settings, inputs, [*touched, *sorted(emptied)], full_refresh)
        measure(settings)
        chunks = _chunks(touched, lake_files)
        new = Build(build_id, len(touched), full_refresh, len(chunks))
        report(f"build {build_id}: {len(touched):,} tenant-days{', all of them' if full_refresh else ''}")
        _make_all_but_the_last(settings, registry, lake_files, new, chunks, report)
        _prepare_warehouse(settings, registry, lake_files, chunks[-1], full_refresh and len(chunks) == 1)
        yield new
        if len(chunks) > 1:
            _widen_scopes(settings)
        _finish(settings, build_id)


def _chunks(touched: list[Partition], lake_files: list[lake.LakeFile]) -> list[list[Partition]]:
    """The touched partitions by day, in parts of at most CHUNK_READINGS as far as a partition is smaller."""
    counts = lake.readings_by_day(lake_files)
    chunks: list[list[Partition]] = [[]]
    readings = 0
    for tenant_id, day in sorted(touched, key=lambda partition: partition[::-1]):
        count = counts.get((tenant_id, date.fromisoformat(day)), 0)
        if chunks[-1] and readings + count > CHUNK_READINGS:
            chunks.append([])
            readings = 0
        chunks[-1].append((tenant_id, day))
        readings += count
    return chunks


def _make_all_but_the_last(
    settings: Settings,
    registry: Registry,
    lake_files: list[lake.LakeFile],
    new: Build,
    chunks: list[list[Partition]],
    report: Callable[[str], None],
) -> None:
    for number, chunk in enumerate(chunks[:-1], start=1):
        is_first = new.full_refresh and number == 1
        _prepare_warehouse(settings, registry, lake_files, chunk, is_first)
        _keep_scopes(settings, is_new=number == 1)
        report(f"build {new.build_id}: part {number}/{len(chunks)}, {chunk[0][1]} to {chunk[-1][1]}")
        with Dbt(settings) as dbt:
            dbt.run(["run", *(["--full-refresh"] if is_first else [])], lambda line: None)


def _keep_scopes(settings: Settings, is_new: bool) -> None:
    """Add a chunk's scopes to those of the whole build."""
    with duckdb.connect(str(settings.warehouse)) as connection:
        for scope in SCOPES:
            if is_new:
                connection.execute(f"create or replace table build.whole_{scope} as from build.{scope} limit 0")
            connection.execute(f"insert into build.whole_{scope} by name from build.{scope}")


def _widen_scopes(settings: Settings) -> None:
    """Let the scopes say what the whole build replaced, as publishing needs them."""
    _keep_scopes(settings, is_new=False)
    with duckdb.connect(str(settings.warehouse)) as connection:
        for scope in SCOPES:
            connection.execute(f"create or replace table build.{scope} as select distinct * from build.whole_{scope}")


def dbt_flags(new: Build) -> list[str]:
    """Flags of `dbt build` for this build; unit tests, and tests that read whole marts, belong to `make test`."""
    flags = ["--exclude-resource-type", "unit_test", "--exclude", "tag:whole"]
    return [*flags, "--full-refresh"] if new.full_refresh and new.chunks == 1 else flags


def _fingerprint(registry: Registry) -> str:
    digest = hashlib.sha256(registry.fingerprint.encode())
    for path in sorted(path for suffix in ("sql", "yml") for path in DBT_PROJECT.rglob(f"*.{suffix}")):
        if path.parent.name == "analyses":
            continue  # questions change nothing that is built
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _built_inputs(settings: Settings) -> str | None:
    found = rows(settings, "select inputs from builds where status = 'built' order by build_id desc limit 1")
    return found[0]["inputs"] if found else None


def _broke_off_anew(settings: Settings) -> bool:
    """Whether a full refresh broke off since the last build that ended: then the warehouse lacks days."""
    found = rows(
        settings,
        "select 1 from builds where full_refresh and build_id > "
        "coalesce((select max(build_id) from builds where status = 'built'), 0)",
    )
    return bool(found)


def _partitions(lake_files: Iterable[lake.LakeFile]) -> set[Partition]:
    return {(file.tenant_id, str(file.reading_date)) for file in lake_files}


def _touched(
    lake_files: list[lake.LakeFile], waiting: set[Partition], full_refresh: bool, span: Span | None
) -> list[Partition]:
    if full_refresh:
        return sorted(_partitions(lake_files))
    return sorted(waiting | _partitions(file for file in lake_files if span and span.holds(file)))


def _waiting(settings: Settings) -> set[Partition]:
    """Partitions that loads touched since they were built, or whose day has come."""
    found = rows(
        settings,
        "select distinct p.tenant_id, reading_date from load_partitions p join loads using (load_id) "
        "where build_id is null and status = 'loaded' "
        # the day of readings from the future has come
        "union select p.tenant_id, reading_date from load_partitions p join builds b using (build_id) "
        "where reading_date > substr(b.started_at, 1, 10) and reading_date <= substr(?, 1, 10)",
        now(),
    )
    return {(row["tenant_id"], row["reading_date"]) for row in found}


def _start(settings: Settings, inputs: str, touched: list[Partition], full_refresh: bool) -> int:
    with ledger(settings) as connection:
        connection.execute("update builds set status = 'abandoned' where status = 'running'")
        build_id = connection.execute(
            "insert into builds (status, inputs, full_refresh, started_at, last_batch_id) "
            f"values ('running', ?, ?, ?, {LAST_WHOLE_BATCH})",
            (inputs, full_refresh, now()),
        ).lastrowid
        connection.executemany("insert into build_partitions values (?, ?, ?)", [(build_id, *t) for t in touched])
    return build_id


def _finish(settings: Settings, build_id: int) -> None:
    with ledger(settings) as connection:
        connection.execute(
            "update load_partitions set build_id = ?1, first_build_id = coalesce(first_build_id, ?1) where "
            "(tenant_id, reading_date) in "
            "(select tenant_id, reading_date from build_partitions where build_id = ?1)",
            (build_id,),
        )
        connection.execute("update builds set status = 'built', finished_at = ? where build_id = ?", (now(), build_id))


def _prepare_warehouse(
    settings: Settings,
    registry: Registry,
    lake_files: list[lake.LakeFile],
    touched: list[Partition],
    is_anew: bool,
) -> None:
    """Registry, scopes and the view over the touched partitions' files, where dbt's sources look for them.

    `is_anew` says that whatever was built before goes, so that nothing goes on from it.
    """
    sent_units = [tuple(row.values()) for row in rows(settings, "select metric, unit from sent_units order by 1, 2")]
    today = datetime.now(UTC).date()
    with duckdb.connect(str(settings.warehouse)) as connection:
        registry.write_to(connection, sent_units)
        connection.execute("create schema if not exists build; create schema if not exists lake")
        connection.execute("create or replace table build.as_of as select $1::date as day", [today])
        known = [(*key, count) for key, count in lake.readings_by_day(lake_files).items() if key[1] <= today]
        _replace_table(connection, "build.lake_partitions", LAKE_PARTITIONS, sorted(known))
        _replace_table(connection, "build.storage_measurements", MEASUREMENTS, measurements(settings))
        connection.execute("create or replace table build.touched_partitions (tenant_id varchar, day date)")
        connection.executemany("insert into build.touched_partitions values (?, ?)", touched)
        wanted = set(touched)
        by_day = sorted(lake_files, key=lambda file: (file.reading_date, file.tenant_id))
        paths = [file.path for file in by_day if (file.tenant_id, str(file.reading_date)) in wanted]
        _create_lake_view(connection, paths)
        connection.execute(_ALL_PARTITIONS if is_anew else _CARRIED_PARTITIONS)
        connection.execute(_NO_DAYS_OF_RUNS if is_anew else _DAYS_OF_RUNS)
        for table in (_TOUCHED_DAYS, _CHANGED_DAYS, _TOUCHED_MONTHS):
            connection.execute(table)


# The first reading of a sensor's day goes on from the last one before it, however long ago that was: a touched day
# reaches as far as the day on which each of its sensors was next heard.
_CARRIED_PARTITIONS = """
create or replace table build.carried_partitions as
select tenant_id, day from build.touched_partitions
union
select touched.tenant_id, later.reading_date
from (select distinct tenant_id, device_id, metric, reading_date from lake.readings) as touched
asof join (
    from intermediate.int_sensor_days where reading_date > (select min(day) from build.touched_partitions)
) as later
    on touched.tenant_id = later.tenant_id and touched.device_id = later.device_id and touched.metric = later.metric
    and touched.reading_date < later.reading_date
"""
_ALL_PARTITIONS = "create or replace table build.carried_partitions as from build.touched_partitions"


# How long a value has been the same is counted from where its run began: a touched day reaches to the end of the runs
# that pass through it.
_DAYS_OF_RUNS = """
create or replace table build.days_of_runs as
select distinct runs.tenant_id, runs.day
from intermediate.int_stuck_readings as runs
    join build.carried_partitions as touched on runs.tenant_id = touched.tenant_id
    and runs.same_since < touched.day + 2 and runs.day > touched.day
"""
_NO_DAYS_OF_RUNS = "create or replace table build.days_of_runs as from build.carried_partitions limit 0"


# A UTC day holds readings of up to three local days. Between two partitions of a tenant may lie days on
# which every device was silent; they change when a neighbour is touched. A day is within the data when
# partitions stand before and after it; the outermost days count only where something was heard, since a
# UTC day at the edge may hold readings of one local day alone.
_TOUCHED_DAYS = """
create or replace table build.touched_days as
with neighbours as (
    select
        tenant_id,
        day,
        lag(day) over by_day as before,
        lead(day) over by_day as after
    from build.lake_partitions
    window by_day as (partition by tenant_id order by day)
),
silent as (
    select touched.tenant_id, unnest(range(neighbours.before, touched.day, interval 1 day))::date as day
    from build.carried_partitions as touched join neighbours using (tenant_id, day)
    where neighbours.before is not null
    union
    select touched.tenant_id, unnest(range(touched.day + 1, neighbours.after + 1, interval 1 day))::date as day
    from build.carried_partitions as touched join neighbours using (tenant_id, day)
    where neighbours.after is not null
),
days as (
    select tenant_id, day from silent
    union
    select tenant_id, day + unnest([-1, 0, 1]) from build.carried_partitions
    union
    from build.days_of_runs
),
spans as (select tenant_id, min(day) as first_day, max(day) as last_day from build.lake_partitions group by tenant_id)
select tenant_id, day, day > first_day and day < last_day as is_within_data
from days join spans using (tenant_id)
"""
_CHANGED_DAYS = """
create or replace table build.changed_days as
select distinct tenant_id, day + unnest([0, 7, 364]) as day from build.touched_days
"""
_TOUCHED_MONTHS = """
create or replace table build.touched_months as
select distinct tenant_id, date_trunc('month', day)::date as day from build.touched_days
"""


def _replace_table(connection: duckdb.DuckDBPyConnection, name: str, schema: pa.Schema, content: list[tuple]) -> None:
    columns = {column: [row[place] for row in content] for place, column in enumerate(schema.names)}
    connection.register("given", pa.table(columns, schema=schema))
    connection.execute(f"create or replace table {name} as select * from given")
    connection.unregister("given")


def _create_lake_view(connection: duckdb.DuckDBPyConnection, paths: list[str]) -> None:
    """The paths are the lake's own file names; a view cannot take them as parameters."""
    listed = ", ".join("'" + path.replace("'", "''") + "'" for path in paths)
    connection.execute(
        f"create or replace view lake.readings as select {', '.join(lake.READINGS.names)} "
        f"from read_parquet([{listed}], "
        "hive_partitioning = true, hive_types = {'tenant_id': varchar, 'reading_date': date})"
    )
