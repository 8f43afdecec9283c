"""Who opened, queried, exported and embedded what: the dashboards' audit record as a table for the operator.

The dashboards write it (superset/security/audit_record.py) and show each tenant's administrators their own part. In a
tenant's file it would be open to everybody of the tenant with SQL Lab, so it is published to the operator alone.
"""

import sqlite3
from contextlib import closing

from orchestration.settings import Settings

TABLE = "audit_events"
COLUMNS = {
    "event_id": "bigint",
    "happened_at": "timestamp",
    "tenant_id": "varchar",
    "username": "varchar",
    "role": "varchar",
    "act": "varchar",
    "object_type": "varchar",
    "object": "varchar",
    "result": "varchar",
    "duration_ms": "bigint",
    "row_count": "bigint",
    "statement_digest": "varchar",
}


def audit_events(settings: Settings) -> list[dict]:
    """All events, the oldest first, `happened_at` in UTC; none before the dashboards were first served."""
    path = settings.home / "audit.sqlite"
    if not path.exists():
        return []
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as connection:
        connection.row_factory = sqlite3.Row
        found = connection.execute(f"select {', '.join(COLUMNS)} from events order by event_id")
        # DuckDB takes the Z for a zone, and the column has none: it is UTC.
        return [{**row, "happened_at": row["happened_at"].removesuffix("Z")} for row in map(dict, found)]
