"""The registry's tables from the company's own SQL database, so that nobody keeps devices and sites twice.

What builds read stays the CSV: it shows what changed, it can be kept in version control, and a build needs
no database. A pull replaces the declared tables as one, after the whole new registry proved right, or nothing.
"""

import csv
import io
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from uuid import UUID

import duckdb
import sqlalchemy
from pydantic import Field, ValidationInfo, field_validator, model_validator
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, NoSuchTableError, SQLAlchemyError

from orchestration.errors import FleetmartError
from orchestration.registry import Registry, RegistryError
from orchestration.registry_rows import KEYS, TABLES
from orchestration.settings import Settings
from orchestration.sources import Part, read_declared
from orchestration.writer_lock import writer

NAMED_AT_MOST = 5
Record = dict[str, str]
Records = dict[str, list[Record]]
Report = Callable[[str], None]


class PulledTable(Part):
    """Where one registry table comes from: registry column → database column, and what is the same in every row."""

    name: str
    table: Annotated[str, Field(min_length=1)]
    columns: Annotated[dict[str, str], Field(min_length=1)]
    constants: dict[str, str | int | float | date] = {}

    @field_validator("columns", "constants")
    @classmethod
    def _known(cls, given: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        fields = TABLES[info.data["name"]].model_fields
        if unknown := [column for column in given if column not in fields]:
            raise ValueError(f"{unknown[0]} is no column of {info.data['name']}, which are {', '.join(fields)}")
        return given

    @model_validator(mode="after")
    def _complete(self) -> "PulledTable":
        if twice := self.columns.keys() & self.constants.keys():
            raise ValueError(f"{min(twice)} stands in columns and in constants; keep one")
        fields = TABLES[self.name].model_fields.items()
        for column, info in fields:
            needed = type(None) not in get_args(info.annotation)
            if needed and column not in self.columns | self.constants:
                raise ValueError(f"{column} is needed; name its column in columns, or its value in constants")
        return self

    @property
    def schema_name(self) -> str | None:
        return self.table.rpartition(".")[0] or None

    @property
    def table_name(self) -> str:
        return self.table.rpartition(".")[2]

    def origin_of(self, column: str) -> str:
        """Where a reader finds what stands in this column."""
        if column in self.constants:
            return f"constants of {self.name}"
        return f"{self.table}.{self.columns[column]}" if column in self.columns else self.table


class Database(Part):
    """The database that the registry comes from. Its URL holds a password, so it stands in the environment only."""

    url_variable: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
    tables: Annotated[dict[Literal[tuple(TABLES)], PulledTable], Field(min_length=1)]

    @field_validator("tables", mode="before")
    @classmethod
    def _named(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        if unknown := [name for name in given if name not in TABLES]:
            raise ValueError(f"{unknown[0]} is no table of the registry, which are {', '.join(TABLES)}")
        return {name: table | {"name": name} if isinstance(table, dict) else table for name, table in given.items()}


@dataclass(frozen=True)
class TableChange:
    """What a pull does to one table: counts of rows, and the keys of the first few that leave."""

    table: str
    rows: int
    added: int
    changed: int
    removed: int
    removed_keys: list[str]


@dataclass(frozen=True)
class Pull:
    """One pull of all declared tables; with `dry_run`, what it would have done."""

    dry_run: bool
    tables: list[TableChange]

    @property
    def changes(self) -> int:
        return sum(table.added + table.changed + table.removed for table in self.tables)


def pull(settings: Settings, dry_run: bool = False, report: Report = lambda line: None) -> Pull:
    """Replace the registry's declared tables by what the database says now, all of them or none.

    Raises FleetmartError naming table, column and row when the declaration, the connection or the registry
    that would result is wrong; the registry's folder is then as it was.
    """
    declared_in = settings.registry / "database.yml"
    if not declared_in.is_file():
        raise FleetmartError(
            f"{declared_in} does not exist, so no table of the registry comes from a database. "
            "docs/registry.md says what to write there."
        )
    database = read_declared(declared_in, Database, "database")
    with writer(settings, "registry pull"), _workshop(settings) as folder:
        pulled = _pulled(database, folder, report)
        before = {name: _read_csv(settings.registry / f"{name}.csv") for name in pulled}
        _refuse_emptied(settings, database, before, pulled)
        after = _checked(settings, database, pulled, folder / "candidate")
        done = Pull(dry_run, [_change(name, before[name], after[name]) for name in after])
        if not dry_run:
            _swap(settings.registry, {name: rows for name, rows in after.items() if _differ(name, before[name], rows)})
    return done


@contextmanager
def _workshop(settings: Settings) -> Iterator[Path]:
    """A folder that lives as long as the pull: copies of the company's rows that stay must be erased some day."""
    folder = settings.home / "registry-pull"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "candidate").mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _pulled(database: Database, folder: Path, report: Report) -> Records:
    """Every declared table as text under the registry's column names, sorted by key."""
    engine = _engine(database)
    try:
        with warnings.catch_warnings():
            # About types of columns that are not read, and decimals of SQLite, which the row's model makes numbers.
            warnings.simplefilter("ignore", sqlalchemy.exc.SAWarning)
            sources = {}
            for name, spec in database.tables.items():
                report(f"{name}: reading {spec.table}")
                sources[name] = _reflected(engine, database, spec)
            _stage(engine, database, sources, folder)
    finally:
        engine.dispose()
    return {name: _staged(folder, spec) for name, spec in database.tables.items()}


def _engine(database: Database) -> sqlalchemy.engine.Engine:
    """No message here may quote the URL: it holds the password."""
    variable = database.url_variable
    text = os.environ.get(variable, "").strip()
    example = "such as postgresql://reader:secret@db.example.com:5432/assets"
    if not text:
        raise FleetmartError(f"{variable} is not set. Set it to the database's URL, {example}.")
    if text.count("@") > 1 and not text.startswith("sqlite"):
        raise FleetmartError(f"The URL in {variable} has more than one @. Write an @ of the password as %40.")
    try:
        engine = sqlalchemy.create_engine(text)
    except (NoSuchModuleError, ImportError) as error:
        raise FleetmartError(
            f"No driver for the URL in {variable}: {error}. PostgreSQL and SQLite are built in."
        ) from None
    except (ArgumentError, ValueError):
        raise FleetmartError(f"{variable} holds no database URL, {example}.") from None
    file = engine.url.database or ""
    if engine.name == "sqlite" and not file.startswith("file:") and not Path(file).is_file():
        raise FleetmartError(f"The SQLite file that {variable} names does not exist. Give its absolute path.")
    return engine


def _reflected(engine: sqlalchemy.engine.Engine, database: Database, spec: PulledTable) -> sqlalchemy.Table:
    """The table as the database describes it, with the named columns alone."""
    try:
        found = [column["name"] for column in sqlalchemy.inspect(engine).get_columns(spec.table_name, spec.schema_name)]
        if not found:  # SQLite knows no such error
            raise NoSuchTableError
        for column, origin in spec.columns.items():
            if origin not in found:
                raise FleetmartError(
                    f"{spec.table} has no column {origin}, which {spec.name}.{column} comes from. "
                    f"It has {', '.join(found)}. Correct database.yml."
                )
        return sqlalchemy.Table(
            spec.table_name,
            sqlalchemy.MetaData(schema=spec.schema_name),
            autoload_with=engine,
            include_columns=list(spec.columns.values()),
            resolve_fks=False,
        )
    except NoSuchTableError:
        raise FleetmartError(
            f"The database has no table or view {spec.table}, which {spec.name} comes from. Correct database.yml."
        ) from None
    except SQLAlchemyError as error:
        raise _unreadable(engine, database, spec.table, error) from None


def _unreadable(
    engine: sqlalchemy.engine.Engine, database: Database, what: str, error: BaseException
) -> FleetmartError:
    """What the driver says, on one line; its own words never hold the password, and here none can."""
    error = _cause(error)
    if isinstance(error, FleetmartError):
        return error
    said = _one_line(error)
    if engine.url.password:
        said = said.replace(engine.url.password, "***")
    return FleetmartError(
        f"{what} cannot be read: {said}. Nothing was changed. "
        f"Check that the database of {database.url_variable} answers and that its user may select there."
    )


def _cause(error: BaseException) -> BaseException:
    while error.__cause__:
        error = error.__cause__
    return error


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()).rstrip(".")


def _stage(
    engine: sqlalchemy.engine.Engine, database: Database, sources: dict[str, sqlalchemy.Table], folder: Path
) -> None:
    """Load the tables into a DuckDB file in `folder`, as text under the registry's names."""
    # Read by dlt when it starts: it would report its use to its maker, and warn of what a message here says.
    os.environ |= {"RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "CRITICAL"}
    import dlt
    from dlt.pipeline.exceptions import PipelineStepFailed
    from dlt.sources.sql_database import sql_table

    pipeline = dlt.pipeline(
        "registry",
        pipelines_dir=str(folder / "dlt"),
        destination=dlt.destinations.duckdb(str(folder / "pulled.duckdb")),
        dataset_name="staged",
    )
    resources = []
    for name, spec in database.tables.items():
        table = sources[name]
        # The engine, not the URL: what dlt never gets, it cannot write into its state, trace or log.
        read = sql_table(credentials=engine, table=table.name, schema=table.schema, metadata=table.metadata)
        columns = {column: {"data_type": "text"} for column in TABLES[name].model_fields}
        resources.append(read | dlt.transformer(_as_text(spec), name=name, columns=columns))
    try:
        pipeline.run(resources, write_disposition="replace", loader_file_format="parquet")
    except PipelineStepFailed as error:
        if error.step != "extract":
            why = _one_line(_cause(error))
            raise FleetmartError(f"Writing to {folder} broke off: {why}. Nothing was changed.") from error
        what = ", ".join(spec.table for spec in database.tables.values())
        raise _unreadable(engine, database, what, error) from None


def _as_text(spec: PulledTable) -> Callable[[list[dict[str, Any]]], list[Record]]:
    constants = {column: str(value) for column, value in spec.constants.items()}
    fields = TABLES[spec.name].model_fields
    empty = dict.fromkeys(fields, "")

    def mapped(rows: list[dict[str, Any]]) -> list[Record]:
        return [
            empty | constants | {column: _text(spec, column, row[origin]) for column, origin in spec.columns.items()}
            for row in rows
        ]

    return mapped


def _text(spec: PulledTable, column: str, value: Any) -> str:
    """A database's value as the CSV would hold it; an instant becomes its date, in UTC if it has a zone."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return (value.astimezone(UTC) if value.tzinfo else value).date().isoformat()
    if isinstance(value, (str, int, float, Decimal, date, UUID)):
        return str(value)
    raise FleetmartError(
        f"{spec.origin_of(column)}, which {spec.name}.{column} comes from, holds a {type(value).__name__}, no text, "
        "number or date. Nothing was changed. Cast it to text in a view, and name the view in database.yml."
    )


def _staged(folder: Path, spec: PulledTable) -> list[Record]:
    columns = list(TABLES[spec.name].model_fields)
    with duckdb.connect(str(folder / "pulled.duckdb"), read_only=True) as connection:
        made = connection.execute(
            "select 1 from information_schema.tables where table_schema = 'staged' and table_name = ?", [spec.name]
        ).fetchone()
        if made is None:  # dlt makes no table for a table without rows
            return []
        # Names of a closed list, the registry's own.
        found = connection.execute(f"select {', '.join(columns)} from staged.{spec.name}").fetchall()
    return sorted((dict(zip(columns, row, strict=True)) for row in found), key=lambda record: _key(spec.name, record))


def _refuse_emptied(settings: Settings, database: Database, before: Records, pulled: Records) -> None:
    """A fleet does not end from one day to the next: a view that lost its rows is far likelier."""
    for name, spec in database.tables.items():
        if before[name] and not pulled[name]:
            raise FleetmartError(
                f"{spec.table} gave no rows, where {name}.csv has {len(before[name]):,}. Nothing was changed. "
                f"If this is meant, first take the rows out of {settings.registry / name}.csv by hand."
            )


def _checked(settings: Settings, database: Database, pulled: Records, candidate: Path) -> Records:
    """The pulled tables as the CSV will hold them, out of a whole registry that proved right."""
    for name in TABLES:
        path = settings.registry / f"{name}.csv"
        if name in pulled:
            (candidate / path.name).write_text(_csv(name, pulled[name]), encoding="utf-8", newline="")
        elif path.is_file():
            shutil.copyfile(path, candidate / path.name)
    try:
        registry = Registry(candidate)
    except RegistryError as wrong:
        raise _refused(settings, database, pulled, wrong) from wrong
    except FleetmartError as wrong:
        raise FleetmartError(str(wrong).replace(str(candidate), str(settings.registry))) from wrong
    return {
        name: [{column: _written(value) for column, value in row.model_dump().items()} for row in registry.rows[name]]
        for name in pulled
    }


def _refused(settings: Settings, database: Database, pulled: Records, wrong: RegistryError) -> FleetmartError:
    """The same problem, said of the row in the database if it comes from there."""
    spec = database.tables.get(wrong.table)
    if spec is None:
        return FleetmartError(
            f"{settings.registry / wrong.table}.csv, line {wrong.line}, {', '.join(wrong.columns)}: {wrong.problem} "
            "after this pull. Nothing was changed. Correct it there or in the database."
        )
    row = pulled[wrong.table][wrong.line - 2]
    origins = ", ".join(dict.fromkeys(spec.origin_of(column) for column in wrong.columns))
    return FleetmartError(
        f"{origins}: {wrong.table} {'/'.join(_key(wrong.table, row))!r}, {', '.join(wrong.columns)}: {wrong.problem}. "
        "Nothing was changed. Correct the row in the database or its columns in database.yml."
    )


def _written(value: Any) -> str:
    """Whole numbers without the `.0` of Python's floats, as people write them."""
    if value is None:
        return ""
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)


def _change(name: str, before: list[Record], after: list[Record]) -> TableChange:
    old, new = ({_key(name, record): record for record in records} for records in (before, after))
    gone = sorted(old.keys() - new.keys())
    return TableChange(
        table=name,
        rows=len(after),
        added=len(new.keys() - old.keys()),
        changed=sum(old[key] != new[key] for key in old.keys() & new.keys()),
        removed=len(gone),
        removed_keys=["/".join(key) for key in gone[:NAMED_AT_MOST]],
    )


def _differ(name: str, before: list[Record], after: list[Record]) -> bool:
    """Whether any row does; another order alone would rebuild every partition for nothing."""
    return sorted(before, key=lambda record: _key(name, record)) != after


def _key(name: str, record: Record) -> tuple[str, ...]:
    return tuple(record.get(column) or "" for column in KEYS[name])


def _read_csv(path: Path) -> list[Record]:
    """The rows as they stand, right or wrong; none when there is no file yet."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        return list(csv.DictReader(file))


def _csv(name: str, records: list[Record]) -> str:
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, list(TABLES[name].model_fields), lineterminator="\n")
    table.writeheader()
    table.writerows(records)
    return text.getvalue()


def _swap(folder: Path, tables: Records) -> None:
    """Put the tables in place of the old ones, when all are safely on disk; what fails midway is taken back.

    Killed between two files, the folder holds some tables of this pull and some of before, each whole;
    the next pull completes them.
    """
    paths = {name: (folder / f"{name}.csv").resolve() for name in TABLES if name in tables}
    old = {path: path.read_bytes() if path.is_file() else None for path in paths.values()}
    try:
        for name, path in paths.items():
            _write_beside(path, _csv(name, tables[name]).encode())
        try:
            for path in paths.values():
                os.replace(_beside(path), path)
        except BaseException:
            _put_back(old)
            raise
    finally:
        for path in paths.values():
            _beside(path).unlink(missing_ok=True)


def _put_back(old: dict[Path, bytes | None]) -> None:
    for path, content in old.items():
        if content is None:
            path.unlink(missing_ok=True)
        elif path.read_bytes() != content:
            _write_beside(path, content)
            os.replace(_beside(path), path)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.pulled")


def _write_beside(path: Path, content: bytes) -> None:
    with _beside(path).open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    if path.is_file():
        shutil.copymode(path, _beside(path))
