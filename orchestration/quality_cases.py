"""Each failing expectation of a tenant is a case: opened by the gate, worked on by a steward, closed when it is met.

A case is open, acknowledged, explained or waived until the expectation is met again; then it is mended, and a later
failure opens another. A waiver lets publishing go on, of one build or until a day (UTC, included), and expires.
"""

import sqlite3
from datetime import date
from typing import Any

from orchestration.errors import WrongUse
from orchestration.ledger import ledger, now, rows
from orchestration.quality_record import GATE, record, told
from orchestration.settings import Settings

# What a steward may say of a case that is not mended; `waived` needs an end and comes by `waive`.
STATES = ("acknowledged", "explained")
# Those of lesser severity are only kept.
WORTH_A_CASE = ("critical", "warning")

# Waivers that stand at a day, for a build; the parameters are the day and the build.
STANDING = "ended_at is null and (until >= ? or build_id = ?)"


def take_results(connection: sqlite3.Connection, results: list[dict[str, Any]]) -> None:
    """Open, join and close cases by the results of one tenant's judged build, within the gate's transaction."""
    for result in results:
        if not result["is_met"] and result["severity"] in WORTH_A_CASE:
            fail(connection, result)
        elif result["is_met"]:
            _mend(connection, result)


def fail(connection: sqlite3.Connection, result: dict[str, Any], who: str = GATE) -> None:
    """Open or join the case of an expectation that is not met; what no build showed has no `build_id`."""
    case = _unclosed(connection, result["tenant_id"], result["expectation"])
    build_id, tenant_id = result["build_id"], result["tenant_id"]
    if case is None:
        case_id = connection.execute(
            "insert into quality_cases (tenant_id, expectation, rule, severity, metric, state, opened_build_id, "
            "last_build_id, failed_builds, unexpected_count, opened_at, last_failed_at) values (:tenant_id, "
            ":expectation, :rule, :severity, :metric, 'open', :build_id, :build_id, :build_id is not null, "
            ":unexpected_count, "
            ":checked_at, :checked_at)",
            result,
        ).lastrowid
        record(connection, tenant_id, who, "opened", result["rule"], case_id, build_id)
        return
    connection.execute(
        "update quality_cases set rule = :rule, severity = :severity, last_build_id = :build_id, "
        "failed_builds = failed_builds + (last_build_id is not :build_id), unexpected_count = :unexpected_count, "
        "last_failed_at = :checked_at where case_id = :case_id",
        result | {"case_id": case["case_id"]},
    )
    if case["last_build_id"] != build_id:
        record(connection, tenant_id, who, "failed again", result["rule"], case["case_id"], build_id)
    if case["state"] == "waived" and not _standing_waivers(connection, case["case_id"], build_id):
        _end_waivers(connection, case["case_id"])
        connection.execute("update quality_cases set state = 'open' where case_id = ?", (case["case_id"],))
        record(connection, tenant_id, who, "waiver expired", result["rule"], case["case_id"], build_id)


def _mend(connection: sqlite3.Connection, result: dict[str, Any]) -> None:
    case = _unclosed(connection, result["tenant_id"], result["expectation"])
    if case is not None:
        close(connection, case, result["checked_at"], "The expectation is met.", result["build_id"])


def close(
    connection: sqlite3.Connection,
    case: sqlite3.Row,
    at: str,
    why: str,
    build_id: int | None = None,
    who: str = GATE,
) -> None:
    """Close a case as mended, its waivers with it."""
    _end_waivers(connection, case["case_id"])
    connection.execute(
        "update quality_cases set state = 'mended', closed_at = ? where case_id = ?", (at, case["case_id"])
    )
    record(connection, case["tenant_id"], who, "mended", why, case["case_id"], build_id)


def cases(settings: Settings, tenant_id: str | None = None, closed: bool = False) -> list[dict[str, Any]]:
    """Cases of a tenant, or of all, the gravest and newest first; with `closed`, the mended ones too."""
    return rows(
        settings,
        "select * from quality_cases where (? is null or tenant_id = ?) and (? or state <> 'mended') "
        "order by state = 'mended', severity <> 'critical', case_id desc",
        tenant_id,
        tenant_id,
        closed,
    )


def triage(settings: Settings, case_id: int, state: str, who: str, why: str) -> dict[str, Any]:
    """Acknowledge or explain a case with a comment; returns the case.

    Raises WrongUse for an unknown or mended case, another state, or no comment.
    """
    if state not in STATES:
        raise WrongUse(f"A case is made {' or '.join(STATES)} by a steward, not {state!r}.")
    why = told(why)
    with ledger(settings) as connection:
        case = _workable(connection, case_id)
        if case["state"] != "waived":
            connection.execute("update quality_cases set state = ? where case_id = ?", (state, case_id))
        record(connection, case["tenant_id"], who, state, why, case_id, case["last_build_id"])
    return _case(settings, case_id)


def waive(
    settings: Settings, case_id: int, who: str, why: str, until: date | None = None, build_id: int | None = None
) -> dict[str, Any]:
    """Let publishing go on although a case's expectation fails: for one build, or until a day; returns the case.

    Raises WrongUse for an unknown or mended case, a day that is over, a build in which it did not fail, no reason.
    """
    why = told(why)
    if (until is None) == (build_id is None):
        raise WrongUse("Say until when, or for which build, the case is waived.")
    with ledger(settings) as connection:
        case = _workable(connection, case_id)
        today = _today(connection)
        if until is not None and str(until) < today:
            raise WrongUse(f"{until} is over; a waiver ends today ({today} UTC) or later.")
        failed = "select 1 from quality_results where tenant_id = ? and expectation = ? and build_id = ? and not is_met"
        asked = (case["tenant_id"], case["expectation"], build_id)
        if build_id is not None and not connection.execute(failed, asked).fetchone():
            raise WrongUse(f"Case {case_id} did not fail in build {build_id}; it last did in {case['last_build_id']}.")
        _end_waivers(connection, case_id)
        end = f"until {until}" if until else f"for build {build_id}"
        at = record(connection, case["tenant_id"], who, f"waived {end}", why, case_id, case["last_build_id"])
        connection.execute(
            "insert into quality_waivers (case_id, build_id, until, why, who, waived_at) values (?, ?, ?, ?, ?, ?)",
            (case_id, build_id, until and str(until), why, who, at),
        )
        connection.execute("update quality_cases set state = 'waived' where case_id = ?", (case_id,))
    return _case(settings, case_id)


def unwaived_failures(settings: Settings, tenant_id: str, build_id: int) -> list[dict[str, Any]]:
    """Rule and count of the critical failures of a tenant's build that no standing waiver lets pass."""
    with ledger(settings) as connection:
        found = connection.execute(
            "select rule, unexpected_count from quality_results r where tenant_id = ? and build_id = ? "
            "and severity = 'critical' and not is_met and not exists (select 1 from quality_waivers "
            "join quality_cases c using (case_id) where c.tenant_id = r.tenant_id and c.expectation = r.expectation "
            f"and {STANDING.replace('build_id', 'quality_waivers.build_id')}) order by rule",
            (tenant_id, build_id, _today(connection), build_id),
        )
        return [dict(row) for row in found]


def _today(connection: sqlite3.Connection) -> str:
    """The UTC day; a clock that was set back does not bring back what has expired."""
    latest = connection.execute("select max(recorded_at) from quality_record").fetchone()[0]
    return max(now(), latest or "")[:10]


def _standing_waivers(connection: sqlite3.Connection, case_id: int, build_id: int | None) -> list[sqlite3.Row]:
    return connection.execute(
        f"select * from quality_waivers where case_id = ? and {STANDING}", (case_id, _today(connection), build_id)
    ).fetchall()


def _end_waivers(connection: sqlite3.Connection, case_id: int) -> None:
    connection.execute(
        "update quality_waivers set ended_at = ? where case_id = ? and ended_at is null", (now(), case_id)
    )


def _unclosed(connection: sqlite3.Connection, tenant_id: str, expectation: str) -> sqlite3.Row | None:
    return connection.execute(
        "select * from quality_cases where tenant_id = ? and expectation = ? and state <> 'mended'",
        (tenant_id, expectation),
    ).fetchone()


def _workable(connection: sqlite3.Connection, case_id: int) -> sqlite3.Row:
    case = connection.execute("select * from quality_cases where case_id = ?", (case_id,)).fetchone()
    if case is None:
        raise WrongUse(f"There is no case {case_id}. `fleetmart quality cases` lists them.")
    if case["state"] == "mended":
        raise WrongUse(f"Case {case_id} is mended since {case['closed_at']} UTC; nothing is left to do.")
    return case


def _case(settings: Settings, case_id: int) -> dict[str, Any]:
    return rows(settings, "select * from quality_cases where case_id = ?", case_id)[0]
