"""One file of a declared source becomes readings and rejected rows, and nothing else is changed.

Every value of the file ends in exactly one place: a reading, an empty value (a null token of the
source), or a rejected row with its reason. Identifiers come from the source's YAML and are quoted;
values and paths are parameters.
"""

import gzip
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from orchestration import lake
from orchestration.errors import FleetmartError
from orchestration.sources import DateParts, MeasuredAt, Selector, Source, WideMetric


class UnreadableFile(FleetmartError):
    """The file as a whole cannot be read; it is set aside with this reason."""


@dataclass(frozen=True)
class Rejection:
    tenant_id: str
    metric: str | None
    reason: str
    count: int
    first_source_row: int | None
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
    """What one file held. Valid while its `reading()` block is open."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    @property
    def row_count(self) -> int:
        return self._connection.execute(
            "select (select count(*) from raw_rows) + (select count(*) from broken_rows)"
        ).fetchone()[0]

    def readings(self) -> pa.RecordBatchReader:
        """Readings in the lake's schema, ordered so that a partition's rows compress well."""
        names = ", ".join(lake.READINGS.names)
        return self._arrow(
            f"select {names} from readings "
            "order by tenant_id, reading_date, device_id, metric, measured_at, source_row",
            lake.READINGS,
        )

    def rejected(self) -> pa.RecordBatchReader:
        """Rejected rows in the lake's schema; `raw` is the row or value as received."""
        names = ", ".join(lake.REJECTED.names)
        return self._arrow(f"select {names} from rejected order by source_row, metric", lake.REJECTED)

    def _arrow(self, query: str, schema: pa.Schema) -> pa.RecordBatchReader:
        reader = self._connection.execute(query).to_arrow_reader(100_000)
        return pa.RecordBatchReader.from_batches(schema, (batch.cast(schema) for batch in reader))

    def tenants(self) -> list[TenantCount]:
        """Counts per tenant, sorted; rows whose tenant is unknown are the operator's."""
        found = self._connection.execute(
            """
            with counted as (
                select tenant_id, count(*) as readings, 0 as empty, 0 as rejected,
                    min(measured_at) as first_at, max(measured_at) as last_at from readings group by tenant_id
                union all
                select coalesce(tenant_id, 'operator'), 0, count(*), 0, null, null from cells
                where outcome = 'empty' group by 1
                union all
                select tenant_id, 0, 0, count(*), null, null from rejected group by tenant_id
            )
            select tenant_id, sum(readings)::bigint, sum(empty)::bigint, sum(rejected)::bigint,
                strftime(min(first_at) at time zone 'UTC', '%Y-%m-%d %H:%M:%S.%f'),
                strftime(max(last_at) at time zone 'UTC', '%Y-%m-%d %H:%M:%S.%f')
            from counted group by tenant_id order by tenant_id
            """
        ).fetchall()
        return [TenantCount(*row) for row in found]

    def rejections(self) -> list[Rejection]:
        """Rejected rows by tenant, metric and reason, with the first row and its text."""
        found = self._connection.execute(
            "select tenant_id, metric, reason, count(*), min(source_row), arg_min(raw, source_row) "
            "from rejected group by 1, 2, 3 order by 1, 2, 3"
        ).fetchall()
        return [Rejection(*row) for row in found]

    def partitions(self) -> list[tuple[str, str]]:
        """The (tenant, UTC day) partitions that these readings touch."""
        return self._connection.execute(
            "select distinct tenant_id, reading_date::varchar from readings order by 1, 2"
        ).fetchall()


@contextmanager
def reading(source: Source, path: Path, load_id: str, received_at: str, memory_limit: str) -> Iterator[ReadFile]:
    """Read `path` as `source` says.

    Raises UnreadableFile when the file as a whole cannot be read: empty, truncated, not of its
    format, or without a column that the source names.
    """
    _check_whole(path)
    connection = duckdb.connect(config={"memory_limit": memory_limit})
    try:
        connection.execute("set TimeZone = 'UTC'")
        _read_raw(connection, source, path)
        _check_columns(connection, source, path)
        _locate(connection, source, path)
        _classify(connection, source)
        _collect(connection, source, load_id, received_at)
        yield ReadFile(connection)
    finally:
        connection.close()


def _check_whole(path: Path) -> None:
    """An empty or truncated file is refused before any of it is taken for the whole."""
    if path.stat().st_size == 0:
        raise UnreadableFile(f"{path.name} is empty (0 bytes). Ask its sender for the file again.")
    if path.suffix != ".gz":
        return
    try:
        with gzip.open(path) as file:
            while file.read(1 << 20):
                pass
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UnreadableFile(
            f"{path.name} is a broken or truncated gzip ({error}). Ask its sender for the whole file again."
        ) from error


def _read_raw(connection: duckdb.DuckDBPyConnection, source: Source, path: Path) -> None:
    """`raw_rows`: the file's rows as texts with their number; `broken_rows`: lines that are no row."""
    connection.execute("create temp table broken_rows (source_row bigint, reason varchar, raw varchar)")
    try:
        {"csv": _read_csv, "jsonl": _read_jsonl, "parquet": _read_parquet}[source.format.type](connection, source, path)
    except duckdb.Error as error:
        first_line = str(error).splitlines()[0]
        raise UnreadableFile(
            f"{path.name} cannot be read as {source.format.type} ({first_line}). "
            f"Check the format in {source.file} or ask for the file again."
        ) from error


def _read_csv(connection: duckdb.DuckDBPyConnection, source: Source, path: Path) -> None:
    connection.execute(
        """
        create temp table raw_rows as
        select row_number() over () as "source row", * from read_csv(
            $path, all_varchar = true, header = true, delim = $delimiter, quote = '"', escape = '"',
            store_rejects = true, rejects_limit = 0, strict_mode = true, auto_detect = true
        )
        """,
        {"path": str(path), "delimiter": source.format.delimiter},
    )
    connection.execute(
        "insert into broken_rows select line - 1, lower(replace(any_value(error_type)::varchar, '_', ' ')), "
        "any_value(csv_line) from reject_errors group by line"
    )


def _read_jsonl(connection: duckdb.DuckDBPyConnection, source: Source, path: Path) -> None:
    connection.execute(
        """
        create temp table lines as
        select row_number() over () as source_row, line from read_csv(
            $path, columns = {'line': 'varchar'}, header = false, delim = chr(30), quote = '', escape = '',
            auto_detect = false, max_line_size = 16000000
        )
        """,
        {"path": str(path)},
    )
    connection.execute(
        "insert into broken_rows select source_row, 'not a JSON object', line from lines "
        "where trim(line) <> '' and (not json_valid(line) or json_type(line) <> 'OBJECT')"
    )
    extracts = "".join(
        f", json_extract_string(line, {_literal(_json_path(column))}) as {_ident(column)}" for column in source.columns
    )
    connection.execute(
        f'create temp table raw_rows as select source_row as "source row"{extracts} from lines '
        "where trim(line) <> '' and source_row not in (select source_row from broken_rows)"
    )


def _read_parquet(connection: duckdb.DuckDBPyConnection, source: Source, path: Path) -> None:
    """As texts, like every other format; a float goes through double first, so that its text is its exact value."""
    described = connection.execute("describe select * from read_parquet($path)", {"path": str(path)}).fetchall()
    texts = ", ".join(
        f"{_ident(name)}::{'double::varchar' if type_ == 'FLOAT' else 'varchar'} as {_ident(name)}"
        for name, type_, *_ in described
    )
    connection.execute(
        f'create temp table raw_rows as select file_row_number + 1 as "source row", {texts} '
        "from read_parquet($path, file_row_number = true)",
        {"path": str(path)},
    )


def _check_columns(connection: duckdb.DuckDBPyConnection, source: Source, path: Path) -> None:
    found = [row[0] for row in connection.execute("describe raw_rows").fetchall()][1:]
    missing = [column for column in source.columns if column not in found]
    if missing:
        raise UnreadableFile(
            f"{source.file}, line {source.line_of(missing[0])}: column {missing[0]!r} is not in {path.name}, "
            f"whose columns are {', '.join(found)}. Correct the source or ask for the right file."
        )


def _locate(connection: duckdb.DuckDBPyConnection, source: Source, path: Path) -> None:
    """`located_rows`: each row with its keys, its values as m0, m1, …, and why it cannot be placed, if so."""
    nulls = _null_tokens(source)
    tenant, site, device = (
        _selected(selector, path, nulls) for selector in (source.tenant, source.site, source.device)
    )
    time_text, instant = _instant(source.measured_at)
    connection.execute(
        f"""
        create temp table located_rows as
        with keyed as (
            select "source row" as source_row, {tenant} as tenant_id, {site} as site_id, {device} as device_id,
                {time_text} as time_text, {instant} as measured_at, {_values(source, path)},
                to_json(raw_rows)::varchar as raw
            from raw_rows
        )
        select * exclude (raw), if(row_reason is null, null, raw) as raw from (
            select *, case
                when tenant_id is null then 'no tenant'
                when site_id is null then 'no site'
                when device_id is null then 'no device'
                when time_text is null or time_text in ({nulls}) then 'no time stamp'
                when measured_at is null then 'time stamp not understood'
            end as row_reason from keyed
        )
        """
    )


def _values(source: Source, path: Path) -> str:
    """SQL of the value columns: m0, m1, … of a wide source; metric_key and m0 of a long one."""
    if source.metrics is not None:
        return ", ".join(f"{_ident(column)} as m{number}" for number, column in enumerate(source.metrics))
    metric = _selected(source.metric, path, _null_tokens(source))
    value = _literal(source.value.constant) if source.value.constant is not None else _ident(source.value.column)
    return f"{metric} as metric_key, {value} as m0"


def _selected(selector: Selector, path: Path, nulls: str) -> str:
    """SQL of a key; null when the row or path does not give it."""
    if selector.constant is not None:
        return _literal(selector.constant)
    if selector.column is not None:
        column = _ident(selector.column)
        return f"(case when trim({column}) in ({nulls}, '') then null else trim({column}) end)"
    match = re.search(selector.path, str(path))
    return _literal(match["value"]) if match else "null::varchar"


def _instant(measured: MeasuredAt) -> tuple[str, str]:
    """SQL of the time's text and of the instant (timestamptz), null where it is not understood."""
    zone = _literal(measured.timezone)
    if measured.parts:
        text = _parts_text(measured.parts)
        return text, f"(try_strptime({text}, '%Y-%m-%d %H:%M:%S') at time zone {zone})"
    column = _ident(measured.column)
    if measured.format == "epoch_s":
        return column, f"make_timestamptz((try_cast({column} as double) * 1000000)::bigint)"
    if measured.format == "epoch_ms":
        return column, f"make_timestamptz((try_cast({column} as double) * 1000)::bigint)"
    if measured.format in ("iso", "timestamp"):
        has_offset = f"regexp_matches({column}, '(Z|[+-][0-9]{{2}}(:?[0-9]{{2}})?)$') and length({column}) > 10"
        with_offset = f"try_cast({column} as timestamptz)"
        return column, (
            f"(case when {has_offset} then {with_offset} else try_cast({column} as timestamp) at time zone {zone} end)"
        )
    parsed = f"try_strptime({column}, {_literal(measured.format)})"
    return column, f"({parsed})" if "%z" in measured.format else f"({parsed} at time zone {zone})"


def _parts_text(parts: DateParts) -> str:
    given = [
        _ident(column) if column else "'0'"
        for column in (parts.year, parts.month, parts.day, parts.hour, parts.minute, parts.second)
    ]
    return "({} || '-' || {} || '-' || {} || ' ' || {} || ':' || {} || ':' || {})".format(*given)


def _classify(connection: duckdb.DuckDBPyConnection, source: Source) -> None:
    """`cells`: one row per value of a placed row, each a reading, empty, or rejected for a reason."""
    wide = list((source.metrics or {}).values()) or [WideMetric(metric="")]
    types = _choose("name", [metric.type for metric in wide])
    metric = "metric_key" if source.metrics is None else _choose("name", [metric.metric for metric in wide])
    connection.execute(
        f"""
        create temp table cells as
        with placed as (select * from located_rows where row_reason is null),
        melted as (
            select *, {metric} as metric, {types} as value_type
            from placed unpivot include nulls (text for name in ({", ".join(f"m{i}" for i in range(len(wide)))}))
        ),
        valued as (
            select *, case value_type
                when 'number' then try_cast(trim(text) as double)
                when 'boolean' then try_cast(try_cast(trim(text) as boolean) as double)
            end as value from melted
        )
        select source_row, tenant_id, site_id, device_id, measured_at, metric, value_type, value, text, case
                when text is null or trim(text) in ({_null_tokens(source)}) then 'empty'
                when metric is null then 'no metric'
                when value_type = 'text' then 'reading'
                when value is null then 'not a ' || value_type
                when not isfinite(value) then 'not a finite number'
                else 'reading'
            end as outcome
        from valued
        """
    )


def _choose(name: str, values: list[str]) -> str:
    """SQL that gives the i-th value where `name` is 'm<i>'."""
    return f"case {name} " + " ".join(f"when 'm{i}' then {_literal(value)}" for i, value in enumerate(values)) + " end"


def _collect(connection: duckdb.DuckDBPyConnection, source: Source, load_id: str, received_at: str) -> None:
    """`readings` and `rejected` in the lake's columns."""
    stamp = {"load_id": load_id, "source": source.source, "received_at": received_at, "owner": source.owner}
    connection.execute(
        """
        create temp view readings as
        select tenant_id, (measured_at at time zone 'UTC')::date as reading_date, site_id, device_id, metric,
            measured_at, case when value_type <> 'text' then value end as value,
            case when value_type = 'text' then text end as value_text,
            getvariable('received_at')::timestamp at time zone 'UTC' as received_at,
            getvariable('load_id') as load_id, getvariable('source') as source, source_row
        from cells where outcome = 'reading'
        """
    )
    for name, value in stamp.items():
        connection.execute(f"set variable {name} = $value", {"value": value})
    connection.execute(
        """
        create temp table rejected as
        with all_rejected as (
            select tenant_id, source_row, null::varchar as metric, row_reason as reason, raw
            from located_rows where row_reason is not null
            union all
            select tenant_id, source_row, metric, outcome, text from cells where outcome not in ('reading', 'empty')
            union all
            select null, source_row, null, reason, raw from broken_rows
        )
        select coalesce(tenant_id, getvariable('owner')) as tenant_id,
            getvariable('load_id') as load_id, getvariable('source') as source, source_row, metric, reason, raw,
            getvariable('received_at')::timestamp at time zone 'UTC' as received_at
        from all_rejected
        """
    )


def _null_tokens(source: Source) -> str:
    return ", ".join(_literal(token) for token in source.format.null_tokens) or "''"


def _json_path(column: str) -> str:
    return "$" + "".join(f'."{part}"' for part in column.split("."))


def _ident(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
