"""How each kind of incoming file is read: one YAML per source, checked when it is read."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from orchestration.errors import FleetmartError, WrongUse


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Selector(Part):
    """Where a key comes from: a column, the file's path by pattern, or a constant."""

    constant: str | None = None
    column: str | None = None
    path: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_constant(cls, given: Any) -> Any:
        return {"constant": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _exactly_one(self) -> "Selector":
        if sum(value is not None for value in (self.constant, self.column, self.path)) != 1:
            raise ValueError("give a constant, {column: …} or {path: …}, exactly one")
        if self.path is not None and "value" not in re.compile(self.path).groupindex:
            raise ValueError("the path pattern needs a group (?P<value>…)")
        return self


class Format(Part):
    type: Literal["csv", "jsonl", "parquet"]
    delimiter: Annotated[str, Field(min_length=1, max_length=4)] = ","
    null_tokens: list[str] = [""]


class DateParts(Part):
    year: str
    month: str
    day: str
    hour: str | None = None
    minute: str | None = None
    second: str | None = None


class MeasuredAt(Part):
    """The instant of a row: one column with a format, or its parts; `timezone` is for times without an offset."""

    column: str | None = None
    parts: DateParts | None = None
    format: str = "iso"
    timezone: str = "UTC"

    @model_validator(mode="after")
    def _exactly_one(self) -> "MeasuredAt":
        if (self.column is None) == (self.parts is None):
            raise ValueError("give either column or parts")
        if self.format not in ("iso", "timestamp", "epoch_s", "epoch_ms") and "%" not in self.format:
            raise ValueError("format is iso, timestamp, epoch_s, epoch_ms or a pattern such as %Y-%m-%d %H:%M")
        return self


class WideMetric(Part):
    metric: str
    type: Literal["number", "text", "boolean"] = "number"

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, given: Any) -> Any:
        return {"metric": given} if isinstance(given, str) else given


class Source(Part):
    """One declared source: what its files look like and which metric each column is."""

    source: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
    description: str
    tenant: Selector
    site: Selector
    device: Selector
    format: Format
    measured_at: MeasuredAt
    metrics: dict[str, WideMetric] | None = None
    metric: Selector | None = None
    value: Selector | None = None
    file: Annotated[Path, Field(exclude=True)]

    @field_validator("metrics")
    @classmethod
    def _not_empty(cls, metrics: dict | None) -> dict | None:
        if metrics is not None and not metrics:
            raise ValueError("name at least one column")
        return metrics

    @model_validator(mode="after")
    def _wide_or_long(self) -> "Source":
        wide, long = self.metrics is not None, self.metric is not None and self.value is not None
        if wide == long:
            raise ValueError("give either metrics (wide), or metric and value (long)")
        if self.source != self.file.stem:
            raise ValueError(f"source must equal the file's name, {self.file.stem}")
        return self

    @property
    def columns(self) -> list[str]:
        """Every column that a file of this source must have."""
        selectors = [self.tenant, self.site, self.device, self.metric, self.value]
        named = [selector.column for selector in selectors if selector and selector.column]
        if self.measured_at.column:
            named.append(self.measured_at.column)
        else:
            named += [column for column in self.measured_at.parts.model_dump().values() if column]
        return list(dict.fromkeys([*named, *(self.metrics or {})]))

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
    try:
        text = path.read_text(encoding="utf-8")
        node, content = yaml.compose(text), yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise FleetmartError(f"{path} is no readable YAML: {error}") from error
    if not isinstance(content, dict):
        raise FleetmartError(f"{path}, line 1: a source is a mapping with the keys {_keys()}.")
    try:
        return Source(**content, file=path)
    except ValidationError as error:
        # A misspelt key shows twice, as unknown and as missing; the unknown one is what the reader must mend.
        first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
        where = ".".join(map(str, first["loc"])) or "source"
        raise FleetmartError(
            f"{path}, line {_line(node, first['loc'])}, {where}: {first['msg']}. Keys of a source are {_keys()}."
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
            f"To declare it, write {folder / (name + '.yml')}."
        )
    return read_source(folder / f"{name}.yml")


def _keys() -> str:
    return ", ".join(name for name in Source.model_fields if name != "file")


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
