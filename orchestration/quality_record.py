"""Who did what to the quality of a tenant's data, when and why: appended to, never changed.

The ledger itself refuses to change or delete an entry. Times never go back, even when the machine's clock does, so that
what has expired stays expired.
"""

import sqlite3

from orchestration.errors import WrongUse
from orchestration.ledger import now, rows
from orchestration.settings import Settings

# Who acts where nobody does.
GATE, WATCH, NOTICES = "gate", "watch", "notices"
LONGEST_REASON = 2_000


def record(
    connection: sqlite3.Connection,
    tenant_id: str,
    who: str,
    action: str,
    why: str,
    case_id: int | None = None,
    build_id: int | None = None,
) -> str:
    """Append one entry within the connection's transaction; returns its time, UTC."""
    latest = connection.execute("select max(recorded_at) from quality_record").fetchone()[0]
    recorded_at = max(now(), latest or "")
    connection.execute(
        "insert into quality_record (recorded_at, tenant_id, who, action, case_id, build_id, why) "
        "values (?, ?, ?, ?, ?, ?, ?)",
        (recorded_at, tenant_id, who, action, case_id, build_id, why),
    )
    return recorded_at


def entries(settings: Settings, tenant_id: str | None = None) -> list[dict]:
    """The record of a tenant, or of all, the newest entry first."""
    return rows(
        settings,
        "select * from quality_record where ? is null or tenant_id = ? order by entry_id desc",
        tenant_id,
        tenant_id,
    )


def told(why: str) -> str:
    """The reason that a person gave, without blanks around it.

    Raises WrongUse when there is none, or it is longer than anybody reads.
    """
    if not why.strip():
        raise WrongUse("Give a reason: it is what the next person reads in the record.")
    if len(why.strip()) > LONGEST_REASON:
        raise WrongUse(f"The reason is longer than {LONGEST_REASON:,} characters. Say it shorter.")
    return why.strip()
