"""What the fleet is: plans, tenants, sites, devices, models and metrics, read from CSV and checked.

A new metric, device or tenant is a row in these files, never code.
"""

import csv
import hashlib
import math
import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pint
from pydantic import ValidationError

from expectations.rules import problem_of
from orchestration.errors import FleetmartError
from orchestration.registry_rows import KEYS, NO_DATA, OPTIONAL_TABLES, REFERENCES, TABLES, Row

# read when first needed: it takes a second
UNITS = pint.LazyRegistry(kwargs={"autoconvert_offset_to_baseunit": True})
# What may be given to pint of a text that came with data: no brackets, and no number raised to a power.
UNIT_TEXT = re.compile(r"[\w°%µμΩ²³/*^·. -]{1,40}")
POWER_OF_NUMBER = re.compile(r"\d\s*(\^|\*\*)")
DUCKDB_TYPES = {date: "date", float: "double", int: "integer"}


class RegistryError(FleetmartError):
    """A row of the registry is wrong; `line` is its line in the table's CSV, `columns` where in the row."""

    def __init__(self, path: Path, line: int, columns: tuple[str, ...], problem: str, remedy: str) -> None:
        super().__init__(f"{path}, line {line}, {', '.join(columns)}: {problem}. {remedy}")
        self.table, self.line, self.columns, self.problem = path.stem, line, columns, problem


class Registry:
    """The registry's tables, checked row by row, key by key and reference by reference."""

    def __init__(self, folder: Path) -> None:
        """Read `folder`; raises FleetmartError (RegistryError for a row) naming file, line and what would be right."""
        self.folder = folder
        self.rows: dict[str, list[Row]] = {name: self._read(name, kind) for name, kind in TABLES.items()}
        for table, columns in KEYS.items():
            self._check_key(table, columns)
        for table, columns, target in REFERENCES:
            self._check_reference(table, columns, target)
        self._check_units()
        self._check_counters()
        self._check_headlines()
        self._check_ratios()
        self._check_quality_rules()

    @classmethod
    def before_the_first_row(cls, folder: Path) -> "Registry":
        """A registry without rows, for a folder that has none of the tables yet."""
        registry = cls.__new__(cls)
        registry.folder, registry.rows = folder, {name: [] for name in TABLES}
        return registry

    @staticmethod
    def is_begun(folder: Path) -> bool:
        """Whether the folder has any of the registry's tables."""
        return any((folder / f"{name}.csv").exists() for name in TABLES)

    @property
    def tenant_ids(self) -> list[str]:
        return [row.tenant_id for row in self.rows["tenants"]]

    @property
    def fingerprint(self) -> str:
        """Changes when any row does; a changed registry means a full rebuild."""
        text = "\n".join(row.model_dump_json(exclude=NO_DATA) for name in TABLES for row in self.rows[name])
        return hashlib.sha256(text.encode()).hexdigest()

    def write_to(self, connection: duckdb.DuckDBPyConnection, sent_units: list[tuple[str, str]]) -> None:
        """Replace the warehouse's `registry` schema; sent units become factors to canonical ones.

        `sent_units` are the pairs of metric and unit that came with values.
        """
        connection.execute("create schema if not exists registry")
        for name, kind in TABLES.items():
            fields = {field: info for field, info in kind.model_fields.items() if field not in NO_DATA}
            columns = {field: _duckdb_type(info.annotation) for field, info in fields.items()}
            rows = [tuple(row.model_dump(exclude=NO_DATA).values()) for row in self.rows[name]]
            if name == "device_model_metrics":
                columns |= {"unit_factor": "double", "unit_offset": "double"}
                units = self._canonical_units()
                rows = [(*row, *_factor(row[2] or units[row[1]], units[row[1]])) for row in rows]
            declared = ", ".join(f"{column} {type_}" for column, type_ in columns.items())
            connection.execute(f"create or replace table registry.{name} ({declared})")
            if rows:
                marks = ", ".join("?" for _ in columns)
                connection.executemany(f"insert into registry.{name} values ({marks})", rows)

        connection.execute(
            "create or replace table registry.sent_units "
            "(metric varchar, unit varchar, unit_factor double, unit_offset double)"
        )
        if sent_units:
            connection.executemany(
                "insert into registry.sent_units values (?, ?, ?, ?)",
                [(metric, unit, *(self.conversion(metric, unit) or (None, None))) for metric, unit in sent_units],
            )

    def conversion(self, metric: str, sent: str) -> tuple[float, float] | None:
        """Factor and offset of a unit that came with a value; None where there is no way to the canonical one."""
        found = [row.unit for row in self.rows["metrics"] if row.metric == metric]
        if not found or not UNIT_TEXT.fullmatch(sent) or POWER_OF_NUMBER.search(sent):
            return None
        try:
            return _factor(sent, found[0])
        except Exception:  # a text from data may fail pint's parser in any way, and is then no unit
            return None

    def _canonical_units(self) -> dict[str, str | None]:
        return {row.metric: row.unit for row in self.rows["metrics"]}

    def _check_units(self) -> None:
        canonical = self._canonical_units()
        for line, row in enumerate(self.rows["device_model_metrics"], start=2):
            try:
                _factor(row.unit or canonical[row.metric], canonical[row.metric])
            except Exception as error:  # pint's parser fails in many ways
                problem = (
                    f"unit {row.unit!r} of {row.model_id} cannot become {canonical[row.metric]!r}, "
                    f"the canonical unit of {row.metric} ({error})"
                )
                remedy = (
                    "Write units as pint does, such as degC, m/s, kWh, hPa, percent, ug/m^3; "
                    f"mend this one, or that of {row.metric} in metrics.csv."
                )
                raise self._wrong("device_model_metrics", line, ("unit",), problem, remedy) from error

    def _check_counters(self) -> None:
        counters = {row.metric for row in self.rows["metrics"] if row.kind == "counter"}
        for line, row in enumerate(self.rows["device_model_metrics"], start=2):
            if row.rolls_over_at and row.metric not in counters:
                problem = f"{row.metric} is no counter, so it does not roll over"
                remedy = "Leave the field empty, or make the metric a counter in metrics.csv."
                raise self._wrong("device_model_metrics", line, ("rolls_over_at",), problem, remedy)

    def _check_ratios(self) -> None:
        known = {row.metric for row in self.rows["metrics"]}
        for line, row in enumerate(self.rows["performance_ratios"], start=2):
            for column in ("numerator_metric", "denominator_metric"):
                if getattr(row, column) not in known:
                    problem = f"{getattr(row, column)} is not in metrics.csv"
                    remedy = "Add it there or correct it here."
                    raise self._wrong("performance_ratios", line, (column,), problem, remedy)

    def _check_quality_rules(self) -> None:
        metrics = {row.metric for row in self.rows["metrics"]}
        for line, row in enumerate(self.rows["quality_rules"], start=2):
            if problem := problem_of(row.expectation, metrics):
                remedy = "Name an expectation as quality_results does, or the beginning of some: readings.range."
                raise self._wrong("quality_rules", line, ("expectation",), problem, remedy)

    def _check_headlines(self) -> None:
        texts = {row.metric for row in self.rows["metrics"] if row.value_type == "text"}
        ranks: dict[tuple[str, int], int] = {}
        for line, row in enumerate(self.rows["headline_metrics"], start=2):
            if row.metric in texts:
                problem = f"{row.metric} holds texts, which have no {row.aggregation}"
                raise self._wrong("headline_metrics", line, ("metric",), problem, "Choose a metric of numbers.")
            if ranks.setdefault((row.tenant_id, row.rank), line) != line:
                problem = f"rank {row.rank} of {row.tenant_id} stands twice"
                raise self._wrong("headline_metrics", line, ("rank",), problem, "Give each headline its own rank.")

    def _read(self, name: str, kind: type[Row]) -> list[Row]:
        path = self.folder / f"{name}.csv"
        if name in OPTIONAL_TABLES and not path.exists():
            return []
        try:
            with path.open(newline="", encoding="utf-8") as file:
                records = csv.DictReader(file)
                needed = [name for name, info in kind.model_fields.items() if info.is_required()]
                missing = [column for column in needed if column not in (records.fieldnames or [])]
                if missing:
                    remedy = f"The first line names the columns {', '.join(kind.model_fields)}."
                    raise RegistryError(path, 1, (missing[0],), "there is no such column", remedy)
                return [self._row(path, line, kind, record) for line, record in enumerate(records, start=2)]
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            why = getattr(error, "strerror", None) or error
            raise FleetmartError(f"{path} cannot be read ({why}). The registry needs it as a CSV file.") from error

    @staticmethod
    def _row(path: Path, line: int, kind: type[Row], record: dict[str, Any]) -> Row:
        if None in record or None in record.values():
            problem = f"the line has {'more' if None in record else 'fewer'} fields than the first one has columns"
            raise RegistryError(path, line, ("row",), problem, 'Quote a text that has a comma: "like, this".')
        try:
            return kind(**record)
        except ValidationError as error:
            what = error.errors()[0]
            columns = tuple(map(str, what["loc"])) or ("row",)
            remedy = f"Columns are {', '.join(kind.model_fields)}."
            raise RegistryError(path, line, columns, what["msg"].removeprefix("Value error, "), remedy) from error

    def _check_key(self, table: str, columns: tuple[str, ...]) -> None:
        first: dict[tuple[str, ...], int] = {}
        for line, key in self._keys(table, columns):
            if first.setdefault(key, line) != line:
                problem = f"{'/'.join(part or '' for part in key)} stands twice"
                raise self._wrong(table, line, columns, problem, f"Keep this row or that of line {first[key]}.")

    def _check_reference(self, table: str, columns: tuple[str, ...], target: str) -> None:
        known = {key for _, key in self._keys(target, columns)}
        for line, key in self._keys(table, columns):
            if None not in key and key not in known:
                problem = f"{'/'.join(key)} is not in {target}.csv"
                raise self._wrong(table, line, columns, problem, "Add it there or correct it here.")

    def _keys(self, table: str, columns: tuple[str, ...]) -> Iterator[tuple[int, tuple[str, ...]]]:
        """The CSV's line and the values of `columns`, of each row."""
        for line, row in enumerate(self.rows[table], start=2):
            yield line, tuple(getattr(row, column) for column in columns)

    def _wrong(self, table: str, line: int, columns: tuple[str, ...], problem: str, remedy: str) -> RegistryError:
        return RegistryError(self.folder / f"{table}.csv", line, columns, problem, remedy)


def _factor(sent: str | None, canonical: str | None) -> tuple[float, float]:
    """Factor and offset from one unit to another.

    Raises ValueError, or whatever pint raises, when there is no way, or none by a factor and an offset (dBm to mW).
    """
    if sent == canonical:
        return 1.0, 0.0
    if sent is None or canonical is None:
        raise ValueError(f"{'what is sent' if sent is None else 'the metric'} has no unit")
    zero, one, two = (UNITS.Quantity(x, sent).to(canonical).magnitude for x in (0.0, 1.0, 2.0))
    if not math.isclose(two - one, one - zero, rel_tol=1e-9):
        raise ValueError(f"{sent} and {canonical} are not proportional")
    return one - zero, zero


def _duckdb_type(annotation: Any) -> str:
    for python_type, duckdb_type in DUCKDB_TYPES.items():
        if python_type.__name__ in str(annotation).replace("datetime.date", "date"):
            return duckdb_type
    return "varchar"
