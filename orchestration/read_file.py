"""One file of a declared source becomes readings and rejected rows, and nothing else is changed.

Every value of the file ends in exactly one place: a reading, an empty value (a null token of the
source), or a rejected row with its reason. Parsing, judging and writing are one pass through DuckDB
into Parquet files of the lake's own layout, so memory does not grow with the file. Identifiers come
from the source's YAML and the file's header and are quoted; paths are parameters or quoted.
"""

import json
import re
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
from orchestration.sources import EPOCHS, DateParts, MeasuredAt, Selector, Source, WideMetric

ROW = '"source row"'
NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
SEVERAL_PARTITIONS = "the file holds several partitions"
# Each partition that is written at the same time takes about 130 kB.
PARTITIONS_AT_ONCE = 256
# An instant outside is no clock that runs wrong but a time stamp that was misread, such as milliseconds as seconds.
FIRST_YEAR, LAST_YEAR = 1900, 2199


@dataclass(frozen=True)
class Incoming:
    """One file to read: where it is, its name below the source's landing folder, and what it becomes part of."""

    path: Path
    name: str
    load_id: str
    received_at: str
    rows_before: int = 0


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
            readings = _write(connection, _all_cells(source, incoming, files, columns, metrics), folder)
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
        query = f"with {_documents(source, files)} select json_group_structure(doc::json)::varchar, {inner}"
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


def _all_cells(
    source: Source, incoming: Incoming, files: list[Path], columns: Columns, metrics: dict[str, WideMetric]
) -> str:
    """SQL: one row per value of the file, readings and others, in the order of the file."""
    return f"""
        with {_raw_rows(source, files, columns, metrics)},
        located as ({_located(source, incoming, metrics)}),
        cells as ({_cells(source, metrics)}),
        judged as ({_judged(source, columns, metrics)})
        select
            coalesce(tenant_id, {_literal(source.owner)}) as tenant_id,
            if(refused is null, make_timestamp(epoch_us(measured_at))::date, null) as reading_date,
            site_id, coalesce(refused, device_id) as device_id, metric, measured_at,
            if(refused is null, value, null) as value,
            if(refused is null and value_type <> 'text', null, text) as value_text,
            unit,
            timestamptz {_literal(incoming.received_at + "+00")} as received_at,
            {_constant(incoming.load_id)} as load_id,
            {_constant(source.source)} as source,
            source_row + {incoming.rows_before} as source_row
        from judged
    """


def _raw_rows(source: Source, files: list[Path], columns: Columns, metrics: dict[str, WideMetric]) -> str:
    """SQL of `raw_rows`: the rows as texts, numbered, under the names that the source knows them by."""
    form = source.format
    if form.type == "csv":
        names = ", ".join(f"{_literal(name)}: 'varchar'" for name in columns.names)
        rows = (
            f"read_csv({_literals(files)}, columns = {{{names}}}, header = false, skip = {columns.lines_before}, "
            f"delim = {_literal(form.delimiter)}, quote = {_literal(form.quote)}, escape = {_literal(form.quote)}, "
            "auto_detect = false, strict_mode = true, store_rejects = true, rejects_limit = 0)"
        )
        where = f" where not ({_is_header(columns.names)})" if form.repeated_headers else ""
        return f"raw_rows as (select row_number() over () as {ROW}, * from {rows}{where})"
    if form.type == "parquet":
        # a float goes through double first, so that its text is its exact value
        texts = ", ".join(f"{_as_text(name)} as {_ident(name)}" for name in columns.names)
        return (
            f"raw_rows as (select file_row_number + 1 as {ROW}, {texts} "
            f"from read_parquet({_literals(files)}, file_row_number = true))"
        )
    wanted = list(dict.fromkeys([*source.columns, *metrics]))
    paths = ", ".join(_literal(_json_path(name)) for name in wanted)
    inner = ", ".join(
        f"{'outer_values' if name.startswith('/') else 'inner_values'}[{place}] as {_ident(name)}"
        for place, name in enumerate(wanted, start=1)
    )
    return (
        f"{_documents(source, files)}, extracted as (select {ROW}, broken, raw, "
        f"json_extract_string(record, [{paths}]) as inner_values, json_extract_string(doc, [{paths}]) as outer_values "
        f"from records), raw_rows as (select {ROW}, broken, raw, {inner} from extracted)"
    )


def _documents(source: Source, files: list[Path]) -> str:
    """SQL of `documents`, one per line or file, and `records`, the rows within them; `broken` says what is none."""
    form = source.format
    if form.type == "jsonl":
        lines = f"read_csv({_literals(files)}, columns = {{'line': 'varchar'}}, header = false"
        texts = (
            f"select line as text from {lines}, delim = chr(30), quote = '', escape = '', auto_detect = false, "
            "max_line_size = 16000000) "
            "where trim(line) <> ''"
        )
    else:
        texts = (
            "select unnest(if(json_valid(content), if(json_type(content) = 'ARRAY', json_extract(content, '$[*]')"
            f"::varchar[], [content]), [content])) as text from read_text({_literals(files)})"
        )
    documents = (
        f"texts as ({texts}), documents as (select text, "
        "if(json_valid(text), if(json_type(text) = 'OBJECT', text, null), null) as doc from texts)"
    )
    if form.records is None:
        # a message whose payload could not be read has a topic and a time of receipt, which must not make it a row
        no_payload = "when json_type(doc, '$.payload') is null then 'payload not a JSON object' " if source.mqtt else ""
        return (
            f"{documents}, records as (select row_number() over () as {ROW}, text as raw, doc, doc as record, "
            f"case when doc is null then 'not a JSON object' {no_payload}end as broken from documents)"
        )
    # a document without the array stands for itself, with the reason; an empty array holds nothing
    path, elements = (_literal(_json_path(form.records) + end) for end in ("", "[*]"))
    return (
        f"{documents}, arrays as (select text, doc, "
        f"if(json_type(doc, {path}) = 'ARRAY', json_extract(doc, {elements})::varchar[], null) as elements "
        "from documents), "
        "opened as (select text, doc, elements is null as is_broken, "
        "unnest(coalesce(elements, [null])) as record from arrays), "
        f"records as (select row_number() over () as {ROW}, if(is_broken, text, record) as raw, doc, record, "
        f"case when doc is null then 'not a JSON object' when is_broken then {_literal('no array ' + form.records)} "
        "end as broken from opened)"
    )


def _is_header(names: list[str]) -> str:
    return " and ".join(f"trim({_ident(name)}) is not distinct from {_literal(name)}" for name in names)


def _as_text(name: str) -> str:
    return f"if(typeof({_ident(name)}) = 'FLOAT', try_cast({_ident(name)} as double)::varchar, {_ident(name)}::varchar)"


def _located(source: Source, incoming: Incoming, metrics: dict[str, WideMetric]) -> str:
    """SQL: each row with its keys, its values as m0, m1, …, and why it cannot be placed, if so."""
    nulls = _null_tokens(source)
    tenant, site, device = (
        _selected(selector, incoming, nulls) for selector in (source.tenant, source.site, source.device)
    )
    time_text, instant = _instant(source.measured_at)
    is_json = "json" in source.format.type
    or_null_token = f" or trim(time_text) in ({nulls})" if _has_number_as_null(source) else ""
    raw = "received" if is_json else "to_json(received)::varchar"
    if source.is_wide:
        values = ", ".join(f"{_ident(column)} as m{number}" for number, column in enumerate(metrics))
    else:
        values = (
            f"{_renamed(source, _selected(source.metric, incoming, nulls))} as metric_key, "
            f"{_selected(source.unit, incoming, nulls) if source.unit else 'null::varchar'} as row_unit, "
            f"{_ident(source.value.column)} as m0"
        )
    return f"""
        select * exclude (received), if(row_reason is null, null, {raw}) as raw
        from (select * exclude (broken), case
            when broken is not null then broken
            when tenant_id is null then 'no tenant'
            when site_id is null then 'no site'
            when device_id is null then 'no device'
            when measured_at is null{or_null_token}
                then if(trim(coalesce(time_text, '')) in ({nulls}, ''), 'no time stamp', 'time stamp not understood')
            when measured_at not between '{FIRST_YEAR}-01-01'::timestamptz and '{LAST_YEAR}-12-31'::timestamptz
                then 'time stamp out of range'
        end as row_reason
        from (
            select {ROW} as source_row, {tenant} as tenant_id, {site} as site_id, {device} as device_id,
                {time_text} as time_text, {instant} as measured_at, {values},
                {"broken" if is_json else "null::varchar"} as broken,
                {"raw" if is_json else "raw_rows"} as received
            from raw_rows
        ))
    """


def _cells(source: Source, metrics: dict[str, WideMetric]) -> str:
    """SQL: one row per value of a placed row, and one per row that cannot be placed."""
    kept = "source_row, tenant_id, site_id, device_id, measured_at, row_reason"
    if not source.is_wide:
        return f"select {kept}, metric_key, row_unit, if(row_reason is null, m0, raw) as text from located"
    values = ", ".join(f"m{number}" for number in range(len(metrics)))
    return (
        f"select {kept}, unnest(if(row_reason is null, range({len(metrics)}), [null])) as place, "
        f"unnest(if(row_reason is null, [{values}], [raw])) as text from located"
    )


def _judged(source: Source, columns: Columns, metrics: dict[str, WideMetric]) -> str:
    """SQL: each value with its metric, unit, number, and why it is refused: empty, or a reason; null for readings."""
    wide = list(metrics.values())
    types = [metric.type for metric in wide] if source.is_wide else [source.value_type]
    units = [metric.unit or columns.units.get(column) for column, metric in (metrics.items() if source.is_wide else ())]
    metric = _choose([metric.metric for metric in wide]) if source.is_wide else "metric_key"
    unit = _choose(units) if source.is_wide else "row_unit"
    value_type = _choose(types)
    value = {kind: _value(kind, source) for kind in dict.fromkeys(types)}
    number = (
        next(iter(value.values()))
        if len(value) == 1
        else "case value_type " + " ".join(f"when {_literal(kind)} then {sql}" for kind, sql in value.items()) + " end"
    )
    # looked at first because it is what most values are
    is_number = "when value is not null and isfinite(value) and metric is not null then null"
    if _has_number_as_null(source):
        is_number = ""
    return f"""
        select *, case
            when row_reason is not null then row_reason
            {is_number}
            when text is null or trim(text) in ({_null_tokens(source)}) then 'empty'
            when metric is null then 'no metric'
            when value_type = 'text' then null
            when value is null then 'not a ' || value_type
            when not isfinite(value) then 'not a finite number'
        end as refused
        from (
            select *, {number} as value
            from (select *, {metric} as metric, {unit} as unit, {value_type} as value_type from cells)
        )
    """


def _value(kind: str, source: Source) -> str:
    """SQL of a value as a double; a truth value is 1 or 0, a text has none."""
    form = source.format
    if kind == "text":
        return "null::double"
    if kind == "boolean":
        true, false = (
            ", ".join(_literal(token.lower()) for token in tokens) for tokens in (form.true_tokens, form.false_tokens)
        )
        return f"(case when lower(trim(text)) in ({true}) then 1.0 when lower(trim(text)) in ({false}) then 0.0 end)"
    text = "text"
    if form.thousands:
        text = f"replace({text}, {_literal(form.thousands)}, '')"
    if form.decimal == ",":
        text = f"replace({text}, ',', '.')"
    return f"try_cast({text} as double)"


def _choose(values: list[str | None]) -> str:
    """SQL that gives the i-th value where `place` is i; null for a row that could not be placed."""
    if len(set(values)) == 1 and values[0] is None:
        return "null::varchar"
    listed = ", ".join("null" if value is None else _literal(value) for value in values)
    return _literal(values[0]) if len(values) == 1 else f"[{listed}][place + 1]"


def _renamed(source: Source, metric: str) -> str:
    if not source.metric_names:
        return metric
    names = ", ".join(f"{_literal(sent)}: {_literal(name)}" for sent, name in source.metric_names.items())
    return f"coalesce(map_extract_value(map {{{names}}}, {metric}), {metric})"


def _selected(selector: Selector, incoming: Incoming, nulls: str) -> str:
    """SQL of a key; null when the row or path does not give it."""
    if selector.constant is not None:
        return _literal(selector.constant)
    if selector.column is not None:
        column = _trimmed(_ident(selector.column))
        if selector.pattern is not None:
            # DuckDB's engine knows the group by its number only
            group = re.compile(selector.pattern).groupindex["value"]
            column = f"regexp_extract({column}, {_literal(selector.pattern)}, {group})"
        return f"(case when {column} not in ({nulls}, '') then {column} end)"
    match = re.search(selector.path, incoming.name)
    return _literal(match["value"]) if match and match["value"] else "null::varchar"


def _trimmed(text: str) -> str:
    """SQL of a text without blanks around it; most have none, and looking is cheaper than trimming."""
    return f"if(prefix({text}, ' ') or suffix({text}, ' '), trim({text}), {text})"


def _instant(measured: MeasuredAt) -> tuple[str, str]:
    """SQL of the time's text and of the instant (timestamptz), null where it is not understood."""
    if measured.parts:
        text = _parts_text(measured.parts)
        return text, _placed(f"try_strptime({text}, '%Y-%m-%d %H:%M:%S')", measured)
    text = " || ' ' || ".join(_ident(column) for column in measured.named)
    text = f"({text})" if measured.columns else text
    if measured.formats[0] in EPOCHS:
        # whole numbers stay exact; a double has no room for today's nanoseconds
        factor = EPOCHS[measured.formats[0]]
        whole = f"try_cast({text} as bigint) {'// 1000' if factor < 1 else f'* {factor}'}"
        return text, f"make_timestamptz(coalesce({whole}, (try_cast({text} as double) * {factor})::bigint))"
    if measured.formats == ["iso"]:
        local = _placed(f"try_cast({text} as timestamp)", measured)
        return text, (
            f"(case when length({text}) > 10 and (suffix({text}, 'Z') "
            f"or substr({text}, length({text}) - 5, 1) in ('+', '-') "
            f"or regexp_matches({text}, ':[0-9.]+[+-][0-9:]+$')) "
            f"then try_cast({text} as timestamptz) else {local} end)"
        )
    formats = ", ".join(_literal(one) for one in measured.formats)
    parsed = f"try_strptime({text}, [{formats}])"
    return text, f"({parsed})" if any("%z" in one for one in measured.formats) else _placed(parsed, measured)


def _placed(local: str, measured: MeasuredAt) -> str:
    """SQL of the instant at which the zone's clock shows `local`.

    The offsets a day before and a day after give at most two candidates: where both show that time it is
    ambiguous, where neither does it is missing, and the earlier offset moves it forward by the gap.
    """
    if measured.timezone == "UTC":
        return f"make_timestamptz(epoch_us({local}))"
    zone = _literal(measured.timezone)
    both = {"first": "least(c[1], c[2])", "second": "greatest(c[1], c[2])", "reject": "null::timestamp"}
    none = {"forward": "c[1]", "reject": "null::timestamp"}
    candidate = f"l - ((l {{}} interval 1 day) at time zone 'UTC' at time zone {zone} - (l {{}} interval 1 day))"
    candidates = f"[{candidate.format('-', '-')}, {candidate.format('+', '+')}]"
    shows = f"(c[{{}}] at time zone 'UTC' at time zone {zone}) = l"
    one, two = shows.format(1), shows.format(2)
    chosen = (
        f"case when c[1] = c[2] then c[1] when {one} and {two} then {both[measured.ambiguous]} "
        f"when {one} then c[1] when {two} then c[2] else {none[measured.missing]} end"
    )
    return (
        f"(list_transform(list_transform([{local}], lambda l: {{'l': l, 'c': {candidates}}}), "
        f"lambda s: {chosen.replace('c[', 's.c[').replace('= l', '= s.l')})[1] at time zone 'UTC')"
    )


def _parts_text(parts: DateParts) -> str:
    given = [
        _ident(column) if column else "'0'"
        for column in (parts.year, parts.month, parts.day, parts.hour, parts.minute, parts.second)
    ]
    return "({} || '-' || {} || '-' || {} || ' ' || {} || ':' || {} || ':' || {})".format(*given)


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
    connection.execute(f"copy ({query}) to {_literal(parsed)} (format parquet)")
    cells = f"(select *, coalesce(reading_date, date '9999-12-31') as day from read_parquet({_literal(parsed)}))"
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
    is_in_it = f"tenant_id = {_literal(tenant_id)} and reading_date is not distinct from {_literal(day)}::date"
    found = connection.execute(
        f"copy (select * exclude (tenant_id, reading_date) from ({query}) "
        f"where if({is_in_it}, true, error({_literal(SEVERAL_PARTITIONS)}))) to {_literal(path)} "
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
        f"copy ({query}) to {_literal(folder)} (format parquet, compression zstd, "
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
            f"read_parquet({_literals(files)}, hive_partitioning = true, "
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


def _has_number_as_null(source: Source) -> bool:
    """Whether a null token, such as -999, would pass for a value."""
    return any(re.fullmatch(r"[-+]?[0-9.,]+(e[-+]?[0-9]+)?", token, re.I) for token in source.format.null_tokens)


def _null_tokens(source: Source) -> str:
    return ", ".join(_literal(token) for token in source.format.null_tokens) or "''"


def _json_path(column: str) -> str:
    """JSONPath of a dotted name; a number is an array's element, a leading slash means the whole document."""
    parts = column.removeprefix("/").split(".")
    return "$" + "".join(f"[{part}]" if part.isdigit() else '."' + part.replace('"', '\\"') + '"' for part in parts)


def _constant(text: str) -> str:
    """SQL of a text that is the same in every row, as an enum: it is not hashed row by row when it is written."""
    return f"{_literal(text)}::enum({_literal(text)})"


def _ident(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: object) -> str:
    return "'" + str(text).replace("'", "''") + "'"


def _literals(paths: list[Path]) -> str:
    return "[" + ", ".join(_literal(path) for path in paths) + "]"
