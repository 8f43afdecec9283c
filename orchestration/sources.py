"""How each kind of incoming file is read: one YAML per source, checked when read; docs/sources.md tells each key."""

import codecs
import hashlib
import re
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from orchestration.errors import FleetmartError, WrongUse

ValueType = Literal["number", "text", "boolean"]
SPAN = re.compile(r"([1-9][0-9]{0,5}) (second|minute|hour|day|week)s?")
EPOCHS = {"epoch_s": 1_000_000, "epoch_ms": 1_000, "epoch_us": 1, "epoch_ns": 0.001}


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"{text!r} is no regular expression ({error})") from error
    return text


def _with_group(name: str) -> AfterValidator:
    def check(text: str) -> str:
        if name not in re.compile(_pattern(text)).groupindex:
            raise ValueError(f"the pattern needs a group (?P<{name}>…)")
        return text

    return AfterValidator(check)


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


Declared = TypeVar("Declared", bound=Part)


class Selector(Part):
    """Where a key comes from: a column (all of it, or what `pattern` finds there), the file's path, or a constant."""

    constant: str | None = None
    column: str | None = None
    pattern: Annotated[str, _with_group("value")] | None = None
    path: Annotated[str, _with_group("value")] | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_constant(cls, given: Any) -> Any:
        return {"constant": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _exactly_one(self) -> "Selector":
        if sum(value is not None for value in (self.constant, self.column, self.path)) != 1:
            raise ValueError("give a constant, {column: …} or {path: …}, exactly one")
        if self.pattern is not None and self.column is None:
            raise ValueError("pattern belongs to column; for the file's name use path alone")
        return self


class Header(Part):
    """Lines before the data: `skip` lines to ignore, then `lines` of header, of which one names the columns."""

    skip: Annotated[int, Field(ge=0)] = 0
    lines: Annotated[int, Field(ge=0)] = 1
    names: Annotated[int, Field(ge=1)] = 1
    units: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _within(self) -> "Header":
        for key in ("names", "units"):
            if self.lines and (getattr(self, key) or 1) > self.lines:
                raise ValueError(f"{key} is line {getattr(self, key)} of the header, which has {self.lines}")
        return self


CSV_KEYS = ("delimiter", "quote", "header", "columns", "comment", "repeated_headers", "encoding")


class Format(Part):
    """What a file is made of; `columns` is for files without a header, `records` the array whose elements are rows."""

    type: Literal["csv", "json", "jsonl", "parquet"]
    encoding: str = "utf-8"
    delimiter: Annotated[str, Field(min_length=1, max_length=4)] = ","
    quote: Annotated[str, Field(max_length=1)] = '"'
    header: Header = Header()
    columns: Annotated[list[str], Field(min_length=1)] | None = None
    comment: Annotated[str, Field(min_length=1)] | None = None
    repeated_headers: bool = False
    records: str | None = None
    decimal: Literal[".", ","] = "."
    thousands: Literal[",", ".", " ", "'"] | None = None
    null_tokens: list[str] = [""]
    true_tokens: list[str] = ["true", "t", "yes", "y", "on", "1"]
    false_tokens: list[str] = ["false", "f", "no", "n", "off", "0"]

    @field_validator("encoding")
    @classmethod
    def _known(cls, name: str) -> str:
        try:
            return codecs.lookup(name).name
        except LookupError as error:
            raise ValueError(f"{name!r} is no known encoding; utf-8, cp1252 and utf-16 are the usual ones") from error

    @model_validator(mode="after")
    def _fits_the_type(self) -> "Format":
        for key in CSV_KEYS:
            if self.type != "csv" and key in self.model_fields_set and not (key == "encoding" and "json" in self.type):
                raise ValueError(f"{key} is for csv, not for {self.type}")
        if self.records is not None and "json" not in self.type:
            raise ValueError("records is for json and jsonl")
        if self.type == "csv" and (self.header.lines == 0) != (self.columns is not None):
            raise ValueError("a csv without header lines needs columns, and one with a header must not name them")
        if self.thousands == self.decimal:
            raise ValueError(f"thousands and decimal are both {self.decimal!r}")
        return self


class DateParts(Part):
    year: str
    month: str
    day: str
    hour: str | None = None
    minute: str | None = None
    second: str | None = None


def _zone(name: str) -> str:
    try:
        return ZoneInfo(name).key
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError(f"{name!r} is no time zone; write one as Europe/Berlin or UTC") from error


class MeasuredAt(Part):
    """The instant of a row: a column, several joined by a space, or its parts.

    `timezone` is for times without an offset. `ambiguous` says which instant an hour that the clock shows
    twice means, `missing` what becomes of an hour that the clock skips.
    """

    column: str | None = None
    columns: Annotated[list[str], Field(min_length=2)] | None = None
    parts: DateParts | None = None
    format: str | list[str] = "iso"
    timezone: Annotated[str, AfterValidator(_zone)] = "UTC"
    ambiguous: Literal["first", "second", "reject"] = "first"
    missing: Literal["forward", "reject"] = "forward"

    @model_validator(mode="after")
    def _exactly_one(self) -> "MeasuredAt":
        if sum(given is not None for given in (self.column, self.columns, self.parts)) != 1:
            raise ValueError("give exactly one of column, columns and parts")
        for one in self.formats:
            if one not in ("iso", *EPOCHS) and "%" not in one:
                raise ValueError(f"format is iso, {', '.join(EPOCHS)} or a pattern such as %Y-%m-%d %H:%M, not {one!r}")
            if len(self.formats) > 1 and "%" not in one:
                raise ValueError("several formats must all be patterns such as %Y-%m-%d %H:%M")
        return self

    @property
    def formats(self) -> list[str]:
        return [self.format] if isinstance(self.format, str) else self.format

    @property
    def named(self) -> list[str]:
        """The columns that the instant is made of."""
        if self.parts:
            return [column for column in self.parts.model_dump().values() if column]
        return self.columns or [self.column]


class WideMetric(Part):
    """What a column of a wide file holds; `unit` is the unit as sent, where the registry does not say it."""

    metric: str
    type: ValueType = "number"
    unit: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, given: Any) -> Any:
        return {"metric": given} if isinstance(given, str) else given


class MetricColumns(Part):
    """Columns that are metrics by their names: group `metric` names it, group `unit`, where there is one, its unit."""

    pattern: Annotated[str, _with_group("metric")]
    type: ValueType = "number"


def _topic(text: str) -> str:
    levels = text.split("/")
    for place, level in enumerate(levels, start=1):
        is_last_rest = level == "#" and place == len(levels)
        if not (level == "+" or is_last_rest or re.fullmatch(r"\{[A-Za-z_][A-Za-z0-9_]*\}|[^{}+#\0]*", level)):
            raise ValueError(f"level {level!r} of the topic is neither a text, {{name}}, + nor, as the last one, #")
    names = [level for level in levels if level.startswith("{")]
    if len(set(names)) < len(names):
        raise ValueError("a {name} stands twice in the topic")
    if levels[0] == "$share":
        raise ValueError("a shared subscription divides messages among listeners; a source has one listener")
    return text


class Mqtt(Part):
    """The broker whose messages are a source's files; a level `{name}` of the topic becomes the field `topic.name`."""

    topic: Annotated[str, Field(min_length=1), AfterValidator(_topic)]
    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    port: Annotated[int, Field(gt=0, lt=65536)] = 1883
    tls: bool = False
    client_id: Annotated[str, Field(min_length=1)] | None = None
    batch_seconds: Annotated[float, Field(gt=0)] = 10
    batch_messages: Annotated[int, Field(gt=0, lt=65536)] = 5000


def _span(text: str) -> str:
    if not SPAN.fullmatch(text):
        raise ValueError(f"{text!r} is no span; write one as 10 minutes, 1 hour or 2 days")
    return text


class Source(Part):
    """One declared source: what its files look like and which metric each column is."""

    source: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
    description: str
    tenant: Selector
    site: Selector
    device: Selector
    format: Format
    measured_at: MeasuredAt
    metrics: Annotated[dict[str, WideMetric], Field(min_length=1)] | None = None
    metric_columns: MetricColumns | None = None
    metric: Selector | None = None
    value: Selector | None = None
    value_type: ValueType = "number"
    unit: Selector | None = None
    metric_names: dict[str, str] = {}
    grown: Literal["difference", "refuse"] = "difference"
    arrives_every: Annotated[str, AfterValidator(_span)] | None = None
    mqtt: Mqtt | None = None
    file: Annotated[Path, Field(exclude=True)]

    @model_validator(mode="after")
    def _wide_or_long(self) -> "Source":
        wide = self.metrics is not None or self.metric_columns is not None
        long = self.metric is not None and self.value is not None
        if wide == long or (not long and (self.metric or self.value)):
            raise ValueError("give either metrics or metric_columns (wide), or metric and value (long)")
        if self.source != self.file.stem:
            raise ValueError(f"source must equal the file's name, {self.file.stem}")
        if self.value is not None and self.value.column is None:
            raise ValueError("value needs {column: …}")
        if self.mqtt is not None and self.format.type != "jsonl":
            raise ValueError("messages land as lines of JSON: a source with mqtt needs format: {type: jsonl}")
        return self

    @property
    def is_wide(self) -> bool:
        return self.metric is None

    @property
    def columns(self) -> list[str]:
        """Every column that a file of this source must have."""
        selectors = [self.tenant, self.site, self.device, self.metric, self.value, self.unit]
        named = [selector.column for selector in selectors if selector and selector.column]
        return list(dict.fromkeys([*named, *self.measured_at.named, *(self.metrics or {})]))

    def metrics_among(self, columns: list[str]) -> dict[str, WideMetric]:
        """The metrics of a wide file with these columns: those listed, and those found by pattern."""
        found = dict(self.metrics or {})
        if self.metric_columns is None:
            return found
        taken = set(self.columns)
        for column in columns:
            match = re.search(self.metric_columns.pattern, column)
            if match and column not in taken:
                name = self.metric_names.get(match["metric"], match["metric"])
                unit = match.groupdict().get("unit")
                found[column] = WideMetric(metric=name, type=self.metric_columns.type, unit=unit)
        return found

    @property
    def arrival_interval(self) -> timedelta | None:
        """How often a file is expected; None where the source does not say."""
        if self.arrives_every is None:
            return None
        number, unit = SPAN.fullmatch(self.arrives_every).groups()
        return timedelta(**{f"{unit}s": int(number)})

    @property
    def digest(self) -> str:
        """Changes when files may be read differently."""
        said = self.model_dump_json(exclude={"description", "arrives_every"})
        return hashlib.sha256(said.encode()).hexdigest()

    @property
    def owner(self) -> str:
        """Tenant whose stewards see what has no tenant of its own: the source's, or the operator."""
        return self.tenant.constant or "operator"

    def line_of(self, text: str) -> int:
        """Line of the YAML on which `text` is first named; 1 when it is nowhere."""
        lines = self.file.read_text(encoding="utf-8").splitlines()
        return next((number for number, line in enumerate(lines, start=1) if text in line), 1)


def read_source(path: Path) -> Source:
    """The source declared in `path`; raises FleetmartError with file, line and what would be right."""
    return read_declared(path, Source, "source", file=path)


def read_declared(path: Path, kind: type[Declared], what: str, **given: Any) -> Declared:
    """`what` is declared in the YAML at `path`, as `kind`; `given` are fields that do not stand in the file.

    Raises FleetmartError with file, line and what would be right.
    """
    try:
        text = path.read_text(encoding="utf-8")
        node, content = yaml.compose(text), yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise FleetmartError(f"{path} is no readable YAML: {error}") from error
    if not isinstance(content, dict):
        raise FleetmartError(f"{path}, line 1: a {what} is a mapping with the keys {_keys(kind, (), given)}.")
    try:
        return kind.model_validate(content | given)
    except ValidationError as error:
        # A misspelt key shows twice, as unknown and as missing; the unknown one is what the reader must mend.
        first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
        where = ".".join(map(str, first["loc"])) or what
        problem = first["msg"].removeprefix("Value error, ")
        if first["type"] == "model_type":
            problem = f"must be a mapping with some of the keys {_keys(kind, (*first['loc'], ''), given)}"
        raise FleetmartError(
            f"{path}, line {_line(node, first['loc'])}, {where}: {problem}. "
            f"Keys here are {_keys(kind, first['loc'], given)}."
        ) from error


def all_sources(folder: Path) -> dict[str, Source]:
    """Every declared source by name, sorted."""
    return {path.stem: read_source(path) for path in sorted(folder.glob("*.yml"))}


def source_named(folder: Path, name: str) -> Source:
    """One declared source; raises WrongUse naming those that exist."""
    names = sorted(path.stem for path in folder.glob("*.yml"))
    if name not in names:
        raise WrongUse(
            f"There is no source {name!r} in {folder}. Declared are: {', '.join(names) or 'none'}. "
            f"To declare it, write {folder / (name + '.yml')}; `fleetmart source infer FILE` proposes one."
        )
    return read_source(folder / f"{name}.yml")


def _keys(model: type[BaseModel], loc: tuple, given: Iterable[str]) -> str:
    """The keys of the mapping that holds the key at `loc`."""
    for key in loc[:-1]:
        field = model.model_fields.get(str(key))
        inner = next(iter(_models(field.annotation)), None) if field else None
        if inner is None:
            break
        model = inner
    return ", ".join(name for name in model.model_fields if name not in given)


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The models within an annotation such as `Format | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in getattr(annotation, "__args__", ()) for model in _models(inner)]


def _line(node: yaml.Node, loc: tuple) -> int:
    """Line of the deepest key of `loc` that the YAML has."""
    line = node.start_mark.line + 1
    for key in loc:
        if not isinstance(node, yaml.MappingNode):
            break
        match = next(((k, v) for k, v in node.value if k.value == str(key)), None)
        if match is None:
            break
        line, node = match[0].start_mark.line + 1, match[1]
    return line
