"""A source from which nothing comes any more is a case, although nothing arrives that could fail.

What counts is when files came, never of when their data is: a source that sends old readings on time is not silent.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from orchestration.errors import FleetmartError
from orchestration.landing import waiting_files
from orchestration.ledger import ledger, now, rows
from orchestration.notices import SILENT_SOURCE, tell
from orchestration.published_records import publish_records
from orchestration.quality_cases import close, fail
from orchestration.quality_record import WATCH
from orchestration.settings import Settings
from orchestration.sources import Source, read_source

# A file may be late by as long as it takes until the next one is due.
PATIENCE = 2


def watch(settings: Settings, report: Callable[[str], None] = lambda line: None) -> list[dict[str, Any]]:
    """Look for silent sources between runs, tell of them, and let readers see it; returns the unclosed cases."""
    changed = check_silence(settings, report)
    changed |= tell(settings, report)
    if changed:
        publish_records(settings, changed)
    return [dict(case) for case in _unclosed(settings)]


def check_silence(settings: Settings, report: Callable[[str], None] = lambda line: None) -> set[str]:
    """Open a case for each tenant of a source that is silent, and close those whose source is not.

    Returns the tenants whose cases were opened or closed.
    """
    sources, unreadable = _expected(settings, report)
    standing = {(one["tenant_id"], one["expectation"]): one for one in _unclosed(settings)}
    if not sources and not standing:
        return set()
    at, last = now(), _last_arrivals(settings)
    waiting = {one.source for one in waiting_files(settings)}
    silent = {
        (tenant_id, SILENT_SOURCE + name): sources[name]
        for (name, tenant_id), received_at in last.items()
        if name in sources and name not in waiting and _is_silent(sources[name], received_at, at)
    }
    over = [key for key in standing if key not in silent and key[1].removeprefix(SILENT_SOURCE) not in unreadable]
    with ledger(settings) as connection:
        for (tenant_id, expectation), source in silent.items():
            fail(connection, _result(tenant_id, expectation, source, at), WATCH)
        for key in over:
            source = key[1].removeprefix(SILENT_SOURCE)
            why = "A file has come." if source in sources else "Its source no longer says how often files come."
            close(connection, standing[key], at, why, who=WATCH)
    for tenant_id, expectation in sorted(silent.keys() - standing.keys()):
        source = silent[tenant_id, expectation]
        report(f"watch {tenant_id}: no file of {source.source} for more than {PATIENCE} times {source.arrives_every}")
    return {tenant_id for tenant_id, _ in [*(silent.keys() - standing.keys()), *over]}


def is_any_expected(settings: Settings) -> bool:
    """Whether any source says how often its files come, or cannot be read."""
    return any(_expected(settings, lambda line: None))


def _expected(settings: Settings, report: Callable[[str], None]) -> tuple[dict[str, Source], set[str]]:
    """Sources that say how often their files come, by name, and the names of those that are declared wrongly.

    One that is wrong stops no other: the load tells of it where it matters.
    """
    expected, unreadable = {}, set()
    for path in sorted(settings.sources.glob("*.yml")):
        try:
            source = read_source(path)
        except FleetmartError as error:
            unreadable.add(path.stem)
            report(f"watch: {error}")
            continue
        if source.arrives_every:
            expected[path.stem] = source
    return expected, unreadable


def _last_arrivals(settings: Settings) -> dict[tuple[str, str], str]:
    """When the last file came, by source and tenant: each that a file ever had a reading of, or whose own it is."""
    found = rows(
        settings,
        "select source, tenant_id, max(received_at) as received_at from ("
        "select l.source, t.tenant_id, l.received_at, t.reading_count from loads l join load_tenants t using (load_id) "
        "union all select source, tenant_id, received_at, tenant_id <> 'operator' from loads) "
        "group by source, tenant_id having max(reading_count) > 0",
    )
    return {(one["source"], one["tenant_id"]): one["received_at"] for one in found}


def _is_silent(source: Source, received_at: str, at: str) -> bool:
    since = datetime.fromisoformat(at) - datetime.fromisoformat(received_at)
    return since > PATIENCE * (source.arrival_interval or timedelta.max)


def _result(tenant_id: str, expectation: str, source: Source, at: str) -> dict[str, Any]:
    return {
        "tenant_id": tenant_id,
        "expectation": expectation,
        "rule": f"Files of {source.source} come every {source.arrives_every}",
        "severity": "warning",
        "metric": None,
        "build_id": None,
        "unexpected_count": None,
        "checked_at": at,
    }


def _unclosed(settings: Settings) -> list[dict[str, Any]]:
    return rows(
        settings,
        "select * from quality_cases where state <> 'mended' and substr(expectation, 1, ?) = ? order by case_id",
        len(SILENT_SOURCE),
        SILENT_SOURCE,
    )
