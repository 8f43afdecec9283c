"""What is loaded, built, gated, published and served, with times and counts."""

import urllib.error
import urllib.request
from typing import Any

from orchestration.landing import waiting_files
from orchestration.ledger import rows
from orchestration.serving import current_snapshot
from orchestration.settings import Settings


def status(settings: Settings) -> dict[str, Any]:
    """One object with the keys home, loaded, built, gated, published and served; times are UTC."""
    return {
        "home": str(settings.home),
        "loaded": _loaded(settings),
        "built": _first(rows(settings, _BUILT)),
        "gated": rows(settings, _GATED),
        "published": [_with_current(settings, row) for row in rows(settings, _PUBLISHED)],
        "served": {
            "superset": _answers(f"http://127.0.0.1:{settings.superset_port}", "/health"),
            "dagster": _answers(f"http://127.0.0.1:{settings.dagster_port}", "/server_info"),
        },
    }


_LOADED = """
select source, tenant_id, count(*) as files, sum(reading_count) as readings, sum(empty_count) as empty,
    sum(rejected_count) as rejected, min(first_measured_at) as first_measured_at,
    max(last_measured_at) as last_measured_at, max(finished_at) as last_loaded_at
from load_tenants join (select load_id, source, status, finished_at from loads) using (load_id)
where status = 'loaded' group by source, tenant_id order by source, tenant_id
"""
_BUILT = """
select build_id, status, full_refresh, started_at, finished_at,
    (select count(*) from build_partitions p where p.build_id = b.build_id) as partitions
from builds b order by build_id desc limit 1
"""
_GATED = """
select tenant_id, build_id, verdict, expectation_count, critical_failures, warning_failures, decided_at
from quality_verdicts v
where build_id = (select max(build_id) from quality_verdicts w where w.tenant_id = v.tenant_id) order by tenant_id
"""
_PUBLISHED = """
select tenant_id, max(build_id) as build_id, file_bytes, published_at from snapshots
group by tenant_id order by tenant_id
"""


def _loaded(settings: Settings) -> dict[str, Any]:
    sources = rows(settings, _LOADED)
    set_aside = rows(settings, "select count(*) as files from loads where status = 'set aside'")
    unbuilt = rows(
        settings,
        "select count(*) as partitions from "
        "(select distinct tenant_id, reading_date from load_partitions where build_id is null)",
    )
    return {
        "files": sum(source["files"] for source in sources),
        "readings": sum(source["readings"] for source in sources),
        "rejected": sum(source["rejected"] for source in sources),
        "set_aside_files": set_aside[0]["files"] if set_aside else 0,
        "waiting_files": len(waiting_files(settings)),
        "partitions_not_built": unbuilt[0]["partitions"] if unbuilt else 0,
        "sources": sources,
    }


def _with_current(settings: Settings, row: dict[str, Any]) -> dict[str, Any]:
    path = current_snapshot(settings, row["tenant_id"])
    return row | {"current": path.name if path else None}


def _first(found: list[dict[str, Any]]) -> dict[str, Any] | None:
    return found[0] if found else None


def _answers(address: str, path: str) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(address + path, timeout=5) as response:
            return {"url": address, "answers": response.status == 200}
    except (urllib.error.URLError, OSError):
        return {"url": address, "answers": False}
