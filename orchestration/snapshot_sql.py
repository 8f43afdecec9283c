"""SQL over a published snapshot, under the same lock-down as the dashboards."""

from dataclasses import dataclass
from typing import Any

import duckdb

from orchestration.errors import FleetmartError, WrongUse
from orchestration.ledger import rows
from orchestration.published_records import current_records
from orchestration.published_rows import literal
from orchestration.registry import Registry
from orchestration.registry_rows import OPERATOR
from orchestration.serving import current_snapshot
from orchestration.settings import Settings

# read_only alone still lets SQL read any file of the server, attach others and write new ones.
LOCK_DOWN = "set enable_external_access = false; set lock_configuration = true"


@dataclass(frozen=True)
class Answer:
    """Columns and rows of a query."""

    columns: list[str]
    rows: list[tuple[Any, ...]]


def query(settings: Settings, statement: str, tenant_id: str = OPERATOR) -> Answer:
    """Run one statement on the tenant's current snapshot, read-only and without any access beyond it.

    Raises WrongUse for an unknown tenant, FleetmartError when nothing is published or the SQL fails.
    """
    known = [OPERATOR, *Registry(settings.registry).tenant_ids]
    if tenant_id not in known:
        raise WrongUse(f"There is no tenant {tenant_id!r}. Registered are: {', '.join(known)}.")
    path = current_snapshot(settings, tenant_id)
    if path is None:
        judged = rows(settings, "select 1 from quality_verdicts where tenant_id = ? and verdict = 'failed'", tenant_id)
        why = "what was built did not pass the gate; `fleetmart publish` says why" if judged else "run `fleetmart run`"
        raise FleetmartError(f"Nothing has been published for {tenant_id} yet: {why}.")
    try:
        with attached(settings, tenant_id) as connection:
            connection.execute(LOCK_DOWN)
            result = connection.execute(statement)
            columns = [column[0] for column in result.description or []]
            return Answer(columns, result.fetchall())
    except duckdb.Error as error:
        raise FleetmartError(f"The query failed: {error}") from error


def attached(settings: Settings, tenant_id: str, engine: dict[str, Any] | None = None) -> duckdb.DuckDBPyConnection:
    """A connection to what the tenant's readers see: its snapshot and its records, whose tables go by their names."""
    connection = duckdb.connect(config=engine or {})
    paths = {"snapshot": current_snapshot(settings, tenant_id), "records": current_records(settings, tenant_id)}
    for name, path in paths.items():
        connection.execute(f"attach {literal(str(path))} as {name} (read_only)")
    connection.execute("set search_path = 'snapshot.main,records.main'")
    return connection
