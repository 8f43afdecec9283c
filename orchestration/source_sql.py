"""What a source declares, as SQL: one row per value of a file, judged.

Identifiers come from the source's YAML and the file's header and are quoted; so are paths and texts.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from orchestration.plain_text import Columns
from orchestration.sources import EPOCHS, DateParts, MeasuredAt, Selector, Source, WideMetric

ROW = '"source row"'
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


def cells_sql(
    source: Source, incoming: Incoming, files: list[Path], columns: Columns, metrics: dict[str, WideMetric]
) -> str:
    """SQL: one row per value of the file, readings and others, in the order of the file."""
    return f"""
        with {_raw_rows(source, files, columns, metrics)},
        located as ({_located(source, incoming, metrics)}),
        cells as ({_cells(source, metrics)}),
        judged as ({_judged(source, columns, metrics)})
        select
            coalesce(tenant_id, {literal(source.owner)}) as tenant_id,
            if(refused is null, make_timestamp(epoch_us(measured_at))::date, null) as reading_date,
            site_id, coalesce(refused, device_id) as device_id, metric, measured_at,
            if(refused is null, value, null) as value,
            if(refused is null and value_type <> 'text', null, text) as value_text,
            unit,
            timestamptz {literal(incoming.received_at + "+00")} as received_at,
            {_constant(incoming.load_id)} as load_id,
            {_constant(source.source)} as source,
            source_row + {incoming.rows_before} as source_row
        from judged
    """


def _raw_rows(source: Source, files: list[Path], columns: Columns, metrics: dict[str, WideMetric]) -> str:
    """SQL of `raw_rows`: the rows as texts, numbered, under the names that the source knows them by."""
    form = source.format
    if form.type == "csv":
        names = ", ".join(f"{literal(name)}: 'varchar'" for name in columns.names)
        rows = (
            f"read_csv({literals(files)}, columns = {{{names}}}, header = false, skip = {columns.lines_before}, "
            f"delim = {literal(form.delimiter)}, quote = {literal(form.quote)}, escape = {literal(form.quote)}, "
            "auto_detect = false, strict_mode = true, store_rejects = true, rejects_limit = 0)"
        )
        where = f" where not ({_is_header(columns.names)})" if form.repeated_headers else ""
        return f"raw_rows as (select row_number() over () as {ROW}, * from {rows}{where})"
    if form.type == "parquet":
        # a float goes through double first, so that its text is its exact value
        texts = ", ".join(f"{_as_text(name)} as {ident(name)}" for name in columns.names)
        return (
            f"raw_rows as (select file_row_number + 1 as {ROW}, {texts} "
            f"from read_parquet({literals(files)}, file_row_number = true))"
        )
    wanted = list(dict.fromkeys([*source.columns, *metrics]))
    paths = ", ".join(literal(_json_path(name)) for name in wanted)
    inner = ", ".join(
        f"{'outer_values' if name.startswith('/') else 'inner_values'}[{place}] as {ident(name)}"
        for place, name in enumerate(wanted, start=1)
    )
    return (
        f"{documents_sql(source, files)}, extracted as (select {ROW}, broken, raw, "
        f"json_extract_string(record, [{paths}]) as inner_values, json_extract_string(doc, [{paths}]) as outer_values "
        f"from records), raw_rows as (select {ROW}, broken, raw, {inner} from extracted)"
    )


def documents_sql(source: Source, files: list[Path]) -> str:
    """SQL of `documents`, one per line or file, and `records`, the rows within them; `broken` says what is none."""
    form = source.format
    if form.type == "jsonl":
        lines = f"read_csv({literals(files)}, columns = {{'line': 'varchar'}}, header = false"
        texts = (
            f"select line as text from {lines}, delim = chr(30), quote = '', escape = '', auto_detect = false, "
            "max_line_size = 16000000) "
            "where trim(line) <> ''"
        )
    else:
        texts = (
            "select unnest(if(json_valid(content), if(json_type(content) = 'ARRAY', json_extract(content, '$[*]')"
            f"::varchar[], [content]), [content])) as text from read_text({literals(files)})"
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
    path, elements = (literal(_json_path(form.records) + end) for end in ("", "[*]"))
    return (
        f"{documents}, arrays as (select text, doc, "
        f"if(json_type(doc, {path}) = 'ARRAY', json_extract(doc, {elements})::varchar[], null) as elements "
        "from documents), "
        "opened as (select text, doc, elements is null as is_broken, "
        "unnest(coalesce(elements, [null])) as record from arrays), "
        f"records as (select row_number() over () as {ROW}, if(is_broken, text, record) as raw, doc, record, "
        f"case when doc is null then 'not a JSON object' when is_broken then {literal('no array ' + form.records)} "
        "end as broken from opened)"
    )


def _is_header(names: list[str]) -> str:
    return " and ".join(f"trim({ident(name)}) is not distinct from {literal(name)}" for name in names)


def _as_text(name: str) -> str:
    return f"if(typeof({ident(name)}) = 'FLOAT', try_cast({ident(name)} as double)::varchar, {ident(name)}::varchar)"


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
        values = ", ".join(f"{ident(column)} as m{number}" for number, column in enumerate(metrics))
    else:
        values = (
            f"{_renamed(source, _selected(source.metric, incoming, nulls))} as metric_key, "
            f"{_selected(source.unit, incoming, nulls) if source.unit else 'null::varchar'} as row_unit, "
            f"{ident(source.value.column)} as m0"
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
        else "case value_type " + " ".join(f"when {literal(kind)} then {sql}" for kind, sql in value.items()) + " end"
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
            ", ".join(literal(token.lower()) for token in tokens) for tokens in (form.true_tokens, form.false_tokens)
        )
        return f"(case when lower(trim(text)) in ({true}) then 1.0 when lower(trim(text)) in ({false}) then 0.0 end)"
    text = "text"
    if form.thousands:
        text = f"replace({text}, {literal(form.thousands)}, '')"
    if form.decimal == ",":
        text = f"replace({text}, ',', '.')"
    return f"try_cast({text} as double)"


def _choose(values: list[str | None]) -> str:
    """SQL that gives the i-th value where `place` is i; null for a row that could not be placed."""
    if len(set(values)) == 1 and values[0] is None:
        return "null::varchar"
    listed = ", ".join("null" if value is None else literal(value) for value in values)
    return literal(values[0]) if len(values) == 1 else f"[{listed}][place + 1]"


def _renamed(source: Source, metric: str) -> str:
    if not source.metric_names:
        return metric
    names = ", ".join(f"{literal(sent)}: {literal(name)}" for sent, name in source.metric_names.items())
    return f"coalesce(map_extract_value(map {{{names}}}, {metric}), {metric})"


def _selected(selector: Selector, incoming: Incoming, nulls: str) -> str:
    """SQL of a key; null when the row or path does not give it."""
    if selector.constant is not None:
        return literal(selector.constant)
    if selector.column is not None:
        column = _trimmed(ident(selector.column))
        if selector.pattern is not None:
            # DuckDB's engine knows the group by its number only
            group = re.compile(selector.pattern).groupindex["value"]
            column = f"regexp_extract({column}, {literal(selector.pattern)}, {group})"
        return f"(case when {column} not in ({nulls}, '') then {column} end)"
    match = re.search(selector.path, incoming.name)
    return literal(match["value"]) if match and match["value"] else "null::varchar"


def _trimmed(text: str) -> str:
    """SQL of a text without blanks around it; most have none, and looking is cheaper than trimming."""
    return f"if(prefix({text}, ' ') or suffix({text}, ' '), trim({text}), {text})"


def _instant(measured: MeasuredAt) -> tuple[str, str]:
    """SQL of the time's text and of the instant (timestamptz), null where it is not understood."""
    if measured.parts:
        text = _parts_text(measured.parts)
        return text, _placed(f"try_strptime({text}, '%Y-%m-%d %H:%M:%S')", measured)
    text = " || ' ' || ".join(ident(column) for column in measured.named)
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
    formats = ", ".join(literal(one) for one in measured.formats)
    parsed = f"try_strptime({text}, [{formats}])"
    return text, f"({parsed})" if any("%z" in one for one in measured.formats) else _placed(parsed, measured)


def _placed(local: str, measured: MeasuredAt) -> str:
    """SQL of the instant at which the zone's clock shows `local`.

    The offsets a day before and a day after give at most two candidates: where both show that time it is
    ambiguous, where neither does it is missing, and the earlier offset moves it forward by the gap.
    """
    if measured.timezone == "UTC":
        return f"make_timestamptz(epoch_us({local}))"
    zone = literal(measured.timezone)
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
        ident(column) if column else "'0'"
        for column in (parts.year, parts.month, parts.day, parts.hour, parts.minute, parts.second)
    ]
    return "({} || '-' || {} || '-' || {} || ' ' || {} || ':' || {} || ':' || {})".format(*given)


def _has_number_as_null(source: Source) -> bool:
    """Whether a null token, such as -999, would pass for a value."""
    return any(re.fullmatch(r"[-+]?[0-9.,]+(e[-+]?[0-9]+)?", token, re.I) for token in source.format.null_tokens)


def _null_tokens(source: Source) -> str:
    return ", ".join(literal(token) for token in source.format.null_tokens) or "''"


def _json_path(column: str) -> str:
    """JSONPath of a dotted name; a number is an array's element, a leading slash means the whole document."""
    parts = column.removeprefix("/").split(".")
    return "$" + "".join(f"[{part}]" if part.isdigit() else '."' + part.replace('"', '\\"') + '"' for part in parts)


def _constant(text: str) -> str:
    """SQL of a text that is the same in every row, as an enum: it is not hashed row by row when it is written."""
    return f"{literal(text)}::enum({literal(text)})"


def ident(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def literal(text: object) -> str:
    return "'" + str(text).replace("'", "''") + "'"


def literals(paths: list[Path]) -> str:
    return "[" + ", ".join(literal(path) for path in paths) + "]"
