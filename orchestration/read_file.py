"""One file of a declared source becomes readings and rejected rows, and nothing else is changed.

Every value of the file ends in exactly one place: a reading, an empty value (a null token of the
source), or a rejected row with its reason. DuckDB parses and judges the file once and writes Parquet files
of the lake's own layout, some partitions at a time, so memory grows neither with the file nor with its days.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import duckdb
import pyarrow as pa

from orchestration import lake
from orchestration.errors import FleetmartError, is_for_want_of_room
from orchestration.plain_text import Columns, UnreadableFile, csv_columns, plain_files
from orchestration.source_sql import Incoming, cells_sql, documents_sql, literal, literals
from orchestration.sources import Source, WideMetric

NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
SEVERAL_PARTITIONS = "the file holds several partitions"
# Each partition that is written at the same time takes about 130 kB.
PARTITIONS_AT_ONCE = 256


@dataclass(frozen=True)
class Rejection:
    tenant_id: str
    metric: str | None
    reason: str
    count: int
    first_source_row: int
    example: str | None


@dataclass(frozen=True)
class TenantCount:
    tenant_id: str
    readings: int
    empty: int
    rejected: int
    first_measured_at: str | None
    last_measured_at: str | None


class ReadFile:
    """What one file held: Parquet files of readings by partition, and counts and rows of everything else."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        readings: list[lake.Staged],
        rejected: list[lake.Staged],
        row_count: int,
        columns: list[str],
    ) -> None:
        self._connection = connection
        self.readings = readings
        self.rejected = rejected
        self.row_count = row_count
        self.columns = columns

    @property
    def refusal(self) -> str | None:
        """Why the file is none of its source's, when not a single value of it could be taken in; else None."""
        if self.readings or any(one.empty for one in self.tenants()):
            return None
        rejections = self.rejections()
        if not rejections:
            return None
        reasons = ", ".join(f"{one.count:,} times {one.reason}" for one in rejections)
        return f"none of its {self.row_count:,} rows could be taken in ({reasons})"

    @property
    def partitions(self) -> list[tuple[str, str]]:
        """The (tenant, UTC day) partitions that these readings touch."""
        return sorted({(one.partition["tenant_id"], one.partition["reading_date"]) for one in self.readings})

    def tenants(self) -> list[TenantCount]:
        """Counts per tenant, sorted; rows whose tenant is unknown are the source's owner's."""
        counts: dict[str, dict] = {}
        for staged in self.readings:
            tenant_id = staged.partition["tenant_id"]
            one = counts.setdefault(tenant_id, {"readings": 0, "first": staged.first_at, "last": staged.last_at})
            one["readings"] += staged.rows
            one["first"], one["last"] = min(one["first"], staged.first_at), max(one["last"], staged.last_at)
        for tenant_id, empty, rejected in self._ask(
            "select tenant_id, count(*) filter (where device_id = 'empty'), "
            "count(*) filter (where device_id <> 'empty') from others group by tenant_id"
        ):
            counts.setdefault(tenant_id, {}).update(empty=empty, rejected=rejected)
        return [
            TenantCount(
                tenant_id,
                one.get("readings", 0),
                one.get("empty", 0),
                one.get("rejected", 0),
                one.get("first"),
                one.get("last"),
            )
            for tenant_id, one in sorted(counts.items())
        ]

    def rejections(self) -> list[Rejection]:
        """Rejected rows by tenant, metric and reason, with the first row and its text."""
        found = self._ask(
            "select tenant_id, metric, device_id, count(*), min(source_row), arg_min(value_text, source_row) "
            "from others where device_id <> 'empty' group by all order by 1, 2, 3"
        )
        return [Rejection(*row) for row in found]

    def units(self) -> list[tuple[str, str]]:
        """The (metric, unit) pairs that the readings came with."""
        return self._ask("select distinct metric, unit from readings where unit is not null order by all")

    def metrics(self) -> list[tuple[str, int]]:
        """The number of readings per metric."""
        return self._ask("select metric, count(*) from readings group by metric order by metric")

    def series(self) -> list[tuple[str, str, str, str]]:
        """The different (tenant, site, device, metric) of the readings."""
        return self._ask("select distinct tenant_id, site_id, device_id, metric from readings order by all")

    def first_readings(self, count: int) -> tuple[list[str], list[tuple]]:
        """Column names and the first `count` readings, in the file's order."""
        names = [name for name in lake.READINGS.names if name not in ("received_at", "load_id", "source")]
        return names, self._ask(f"select {', '.join(names)} from readings order by source_row, metric limit {count:d}")

    def _ask(self, query: str) -> list[tuple]:
        return self._connection.execute(query).fetchall()


def reader(memory_limit: str, spill: Path) -> duckdb.DuckDBPyConnection:
    """An engine that reads one file after the other.

    One thread keeps the rows' order without sorting; several files are read side by side by several readers.
    """
    return duckdb.connect(config={"memory_limit": memory_limit, "threads": 1, "temp_directory": str(spill)})


@contextmanager
def reading(source: Source, incoming: Incoming, folder: Path, engine: duckdb.DuckDBPyConnection) -> Iterator[ReadFile]:
    """Read a file as its source says, writing below `folder`; valid while the block is open.

    `engine` comes from `reader`; nothing of this file stays in it.

    Raises UnreadableFile when the file as a whole cannot be read: empty, truncated, not of its
    format, or without a column that the source names.
    """
    folder.mkdir(parents=True)
    with engine.cursor() as connection:
        connection.execute("set TimeZone = 'UTC'")
        files = plain_files(incoming.path, source.format, folder)
        columns = _columns(connection, source, incoming, files)
        _check_columns(source, incoming, columns.names)
        metrics = source.metrics_among(columns.names) if source.is_wide else {"value": WideMetric(metric="")}
        if not metrics:
            raise UnreadableFile(
                f"{source.file}, line {source.line_of('metric_columns')}: no column of {incoming.name} matches the "
                f"pattern of metric_columns; its columns are {', '.join(columns.names)}."
            )
        try:
            readings = _write(connection, cells_sql(source, incoming, files, columns, metrics), folder)
            broken = _broken_lines(connection, source, incoming, columns)
            _create_views(connection, readings, folder)
            rejected = _write_rejected(connection, folder)
        except duckdb.Error as error:
            raise _unreadable(source, incoming, error) from error
        rows = _count_rows(connection, incoming, len(metrics))
        yield ReadFile(connection, readings, rejected, rows + broken, columns.names)


def _columns(connection: duckdb.DuckDBPyConnection, source: Source, incoming: Incoming, files: list[Path]) -> Columns:
    """The file's columns; of JSON, the dotted paths of all its values."""
    form = source.format
    if form.type == "csv":
        return csv_columns(files[0], form)
    try:
        if form.type == "parquet":
            described = connection.execute("describe select * from read_parquet($path)", {"path": str(files[0])})
            return Columns([row[0] for row in described.fetchall()], {}, 0)
        inner = "json_group_structure(record::json)::varchar from records" if form.records else "null from documents"
        query = f"with {documents_sql(source, files)} select json_group_structure(doc::json)::varchar, {inner}"
        documents, records = connection.execute(query).fetchone()
    except duckdb.Error as error:
        raise _unreadable(source, incoming, error) from error
    outer = _leaves(json.loads(documents or "{}"))
    if form.records is None:
        return Columns(outer, {}, 0)
    inner = _leaves(json.loads(records or "{}"))
    return Columns([*inner, *(f"/{path}" for path in outer if not path.startswith(form.records))], {}, 0)


def _leaves(structure: object, prefix: str = "") -> list[str]:
    """Dotted paths of a JSON structure's values; an array counts as one value and as its elements by number."""
    if isinstance(structure, dict):
        return [
            leaf for key, inner in structure.items() for leaf in _leaves(inner, f"{prefix}.{key}" if prefix else key)
        ]
    return [prefix] if prefix else []


def _check_columns(source: Source, incoming: Incoming, found: list[str]) -> None:
    """CSV and Parquet files must have every column that the source names; JSON may leave any out."""
    if "json" in source.format.type:
        return
    missing = [column for column in source.columns if column not in found]
    if missing:
        raise UnreadableFile(
            f"{source.file}, line {source.line_of(missing[0])}: column {missing[0]!r} is not in {incoming.name}, "
            f"whose columns are {', '.join(found)}. Correct the source or ask for the right file."
        )


def _write(connection: duckdb.DuckDBPyConnection, query: str, folder: Path) -> list[lake.Staged]:
    """Write every value below `folder` by partition, what is no reading without a day.

    Returns the files of readings.
    """
    first = connection.execute(f"select tenant_id, reading_date from ({query}) limit 1").fetchone()
    # no partition can be told by its first row for sure, so another one stops the shorter way
    _forget_broken_lines(connection)
    if first is not None and first[1] is not None:
        try:
            return [_write_one_partition(connection, query, folder, *map(str, first))]
        except duckdb.InvalidInputException as error:
            if SEVERAL_PARTITIONS not in str(error):
                raise
            _forget_broken_lines(connection)
    return list(_scatter(connection, query, folder))


def _scatter(connection: duckdb.DuckDBPyConnection, query: str, folder: Path) -> Iterator[lake.Staged]:
    """Parse the file once, then write its values some partitions at a time: memory does not grow with its days."""
    parsed = folder / "parsed.parquet"
    connection.execute(f"copy ({query}) to {literal(parsed)} (format parquet)")
    cells = f"(select *, coalesce(reading_date, date '9999-12-31') as day from read_parquet({literal(parsed)}))"
    count = connection.execute(
        "create or replace temp table partitions as select *, row_number() over (order by tenant_id, day) as number "
        f"from (select distinct tenant_id, day from {cells})"
    ).fetchone()[0]
    for first in range(1, count + 1, PARTITIONS_AT_ONCE):
        some = f"(from partitions where number between {first} and {first + PARTITIONS_AT_ONCE - 1})"
        rows = f"select * exclude (day) from {cells} semi join {some} using (tenant_id, day)"
        for path, written, size, _, statistics, keys in _copy(connection, rows, folder, lake.PARTITION_BY):
            if keys["reading_date"] is not None:
                yield _staged(path, keys, written, size, statistics)
    parsed.unlink()


def _write_one_partition(
    connection: duckdb.DuckDBPyConnection, query: str, folder: Path, tenant_id: str, day: str
) -> lake.Staged:
    """Write a file whose values are all readings of one partition, which saves a fifth of the time of scattering them.

    Raises duckdb.InvalidInputException with SEVERAL_PARTITIONS when they are not.
    """
    keys = {"tenant_id": tenant_id, "reading_date": day}
    path = folder / f"tenant_id={quote(tenant_id, safe='')}" / f"reading_date={day}" / "data_0.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    is_in_it = f"tenant_id = {literal(tenant_id)} and reading_date is not distinct from {literal(day)}::date"
    found = connection.execute(
        f"copy (select * exclude (tenant_id, reading_date) from ({query}) "
        f"where if({is_in_it}, true, error({literal(SEVERAL_PARTITIONS)}))) to {literal(path)} "
        "(format parquet, compression zstd, return_stats)"
    ).fetchone()
    return _staged(path, keys, found[1], found[2], found[4])


def _staged(path: str | Path, keys: dict[str, str], rows: int, size: int, statistics: dict) -> lake.Staged:
    first, last = (statistics['"measured_at"'][end].removesuffix("+00") for end in ("min", "max"))
    return lake.Staged(Path(path), keys, rows, size, first, last)


def _forget_broken_lines(connection: duckdb.DuckDBPyConnection) -> None:
    """Lines that an earlier pass over the file noted as broken would be counted twice."""
    connection.execute("drop table if exists reject_errors; drop table if exists reject_scans")


def _write_rejected(connection: duckdb.DuckDBPyConnection, folder: Path) -> list[lake.Staged]:
    """Rejected rows in the lake's schema; `raw` is the row or value as received."""
    query = (
        "select tenant_id, load_id, source, source_row, metric, device_id as reason, "
        "value_text as raw, received_at from others where device_id <> 'empty' order by source_row, metric"
    )
    written = _copy(connection, query, folder / "rejected", ["tenant_id"])
    return [lake.Staged(Path(path), keys, rows, size) for path, rows, size, _, _, keys in written]


def _copy(connection: duckdb.DuckDBPyConnection, query: str, folder: Path, partition_by: list[str]) -> list[tuple]:
    return connection.execute(
        f"copy ({query}) to {literal(folder)} (format parquet, compression zstd, "
        f"partition_by ({', '.join(partition_by)}), overwrite_or_ignore, return_stats)"
    ).fetchall()


def _broken_lines(connection: duckdb.DuckDBPyConnection, source: Source, incoming: Incoming, columns: Columns) -> int:
    """`broken`: the lines that are no row of the CSV, in the columns of the staged rows; returns how many."""
    connection.execute(f"create temp table broken ({', '.join(f'{f.name} {_duckdb_type(f)}' for f in lake.READINGS)})")
    if source.format.type != "csv" or not connection.execute("select count(*) from reject_errors").fetchone()[0]:
        return 0
    return connection.execute(
        """
        insert into broken by name
        select $owner as tenant_id, $source as source, trim(any_value(csv_line), chr(10)) as value_text,
            $received_at::timestamp at time zone 'UTC' as received_at, $load_id as load_id,
            lower(replace(any_value(error_type)::varchar, '_', ' ')) as device_id,
            line - $lines_before + $rows_before as source_row
        from reject_errors group by line
        """,
        {
            "owner": source.owner,
            "source": source.source,
            "received_at": incoming.received_at,
            "load_id": incoming.load_id,
            "lines_before": columns.lines_before,
            "rows_before": incoming.rows_before,
        },
    ).fetchone()[0]


def _create_views(connection: duckdb.DuckDBPyConnection, staged: list[lake.Staged], folder: Path) -> None:
    """`readings`, and `others`: there `device_id` is the reason and `value_text` the row as received."""
    others = sorted(folder.glob(f"*/reading_date={NO_VALUE}/*.parquet"))
    names = ", ".join(lake.READINGS.names)
    for view, files in (("readings", [one.path for one in staged]), ("placed_others", others)):
        rows = (
            f"read_parquet({literals(files)}, hive_partitioning = true, "
            "hive_types = {'tenant_id': varchar, 'reading_date': date})"
            if files
            else "broken where false"
        )
        connection.execute(f"create temp view {view} as select {names} from {rows}")
    connection.execute(f"create temp view others as from placed_others union all select {names} from broken")


def _count_rows(connection: duckdb.DuckDBPyConnection, incoming: Incoming, metrics: int) -> int:
    """Rows that were read; raises FleetmartError unless each of their values ended in exactly one place."""
    last, values, rows = connection.execute(
        "select max(source_row), count(*) filter (where placed), count(*) filter (where not placed) from ("
        "select source_row, true as placed from readings "
        "union all select source_row, metric is not null from placed_others)"
    ).fetchone()
    read = (last or incoming.rows_before) - incoming.rows_before
    if values + rows * metrics != read * metrics:
        raise FleetmartError(
            f"{incoming.name}: {read:,} rows of {metrics} values were read, but {values:,} values "
            f"and {rows:,} whole rows "
            "were accounted for. Nothing was kept; the file stays in landing."
        )
    return read


def _duckdb_type(field: pa.Field) -> str:
    types = {pa.string(): "varchar", pa.date32(): "date", lake.INSTANT: "timestamptz", pa.float64(): "double"}
    return types.get(field.type, "bigint")


def _unreadable(source: Source, incoming: Incoming, error: duckdb.Error) -> FleetmartError:
    """The file's fault, unless it is the machine's: then the load stops and the file stays where it is."""
    first_line = str(error).splitlines()[0]
    if isinstance(error, duckdb.OutOfMemoryException) or is_for_want_of_room(error):
        return FleetmartError(
            f"{incoming.name} could not be taken in ({first_line}). It stays in landing; nothing half done was kept. "
            "Make room, then run this again."
        )
    return UnreadableFile(
        f"{incoming.name} cannot be read as {source.format.type} ({first_line}). "
        f"Check the format in {source.file} or ask for the file again."
    )
